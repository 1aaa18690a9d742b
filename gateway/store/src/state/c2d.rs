//! Queues of C2D messages, and the feedback about them.
//!
//! A message leaves its queue in the same operation that writes the feedback its sender wants. Locks are not kept here: they end with
//! the process, and then the message is given out again, which is what a device must expect anyway.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use tidegate_core::{
    c2d::{Ack, C2d, Enqueued, Feedback, FeedbackCode, MAX_DEPTH, NewC2d, Settled, Settlement},
    clock::Timestamp,
    dialect::identity::Identity,
};

use super::{State, StateError, device::row_of};

/// Feedback kept for all devices; the oldest goes first. A sender that never reads must not fill the disk.
const MAX_FEEDBACK: i64 = 100_000;
/// Messages given up for their age in one operation; whoever comes next goes on.
const EXPIRED_AT_ONCE: i64 = 500;

const COLUMNS: &str = "id, enqueued_ms, expires_ms, deliveries, ack, message_id, properties, body, device";

impl State {
    /// Puts a message at the end of a device's queue, if there is room.
    pub async fn enqueue_c2d(&self, identity: Identity, new: NewC2d, expires: Timestamp, now: Timestamp) -> Result<Enqueued, StateError> {
        self.run(move |connection| {
            let Some(device) = row_of(connection, &identity)? else { return Ok(Enqueued::Missing) };
            let depth: i64 = connection.prepare_cached("SELECT count(*) FROM c2d WHERE device=?")?.query_row([device], |row| row.get(0))?;
            if depth >= MAX_DEPTH as i64 {
                return Ok(Enqueued::Full);
            }
            let properties = serde_json::to_string(&new.properties).map_err(|error| StateError::Refused(error.to_string()))?;
            connection
                .prepare_cached(
                    "INSERT INTO c2d (device, enqueued_ms, expires_ms, deliveries, ack, message_id, properties, body)
                     VALUES (?,?,?,0,?,?,?,?)",
                )?
                .execute((device, now.0, expires.0, new.ack.word(), new.message_id, properties, &new.body[..]))?;
            Ok(Enqueued::Accepted(connection.last_insert_rowid()))
        })
        .await
    }

    /// A device's messages behind this id, oldest first, at most so many.
    pub async fn c2d_after(&self, identity: Identity, after: i64, most: usize) -> Result<Vec<C2d>, StateError> {
        self.run(move |connection| {
            let Some(device) = row_of(connection, &identity)? else { return Ok(Vec::new()) };
            let sql = format!("SELECT {COLUMNS} FROM c2d WHERE device=? AND id>? ORDER BY id LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query((device, after, i64::try_from(most).unwrap_or(i64::MAX)))?;
            let mut messages = Vec::new();
            while let Some(row) = rows.next()? {
                messages.push(read(row)?);
            }
            Ok(messages)
        })
        .await
    }

    /// How many messages wait for a device.
    pub async fn c2d_depth(&self, identity: Identity) -> Result<u64, StateError> {
        self.run(move |connection| {
            let Some(device) = row_of(connection, &identity)? else { return Ok(0) };
            let mut statement = connection.prepare_cached("SELECT count(*) FROM c2d WHERE device=?")?;
            Ok(statement.query_row([device], |row| row.get::<_, i64>(0))?.unsigned_abs())
        })
        .await
    }

    /// What a device says about messages that it was given. One answer for each.
    pub async fn settle_c2d(
        &self,
        identity: Identity,
        ids: Vec<i64>,
        settlement: Settlement,
        most_deliveries: u32,
        now: Timestamp,
    ) -> Result<Vec<Settled>, StateError> {
        self.run(move |connection| {
            let Some(device) = row_of(connection, &identity)? else { return Ok(vec![Settled::Gone; ids.len()]) };
            ids.into_iter().map(|id| settle(connection, device, id, settlement, most_deliveries, now)).collect()
        })
        .await
    }

    /// Takes away what waits for a device. Returns how many messages it was; `None` when there is no such device.
    pub async fn purge_c2d(&self, identity: Identity, now: Timestamp) -> Result<Option<u64>, StateError> {
        self.run(move |connection| {
            let Some(device) = row_of(connection, &identity)? else { return Ok(None) };
            let sql = format!("SELECT {COLUMNS} FROM c2d WHERE device=? ORDER BY id");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([device])?;
            let mut purged = 0;
            while let Some(row) = rows.next()? {
                feed_back(connection, device, &read(row)?, FeedbackCode::Purged, now)?;
                purged += 1;
            }
            connection.prepare_cached("DELETE FROM c2d WHERE device=?")?.execute([device])?;
            Ok(Some(purged))
        })
        .await
    }

    /// Gives up what nobody took in time, some of it at once, and forgets feedback from before `feedback_before`. Returns how many
    /// messages were given up, and when the next one will be due.
    pub async fn expire_c2d(&self, now: Timestamp, feedback_before: Timestamp) -> Result<(u64, Option<Timestamp>), StateError> {
        self.run(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM c2d WHERE expires_ms<=? ORDER BY expires_ms LIMIT {EXPIRED_AT_ONCE}");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([now.0])?;
            let mut expired = Vec::new();
            while let Some(row) = rows.next()? {
                expired.push((row.get::<_, i64>(8)?, read(row)?));
            }
            for (device, message) in &expired {
                feed_back(connection, *device, message, FeedbackCode::Expired, now)?;
                connection.prepare_cached("DELETE FROM c2d WHERE id=?")?.execute([message.id])?;
            }
            connection.prepare_cached("DELETE FROM feedback WHERE at_ms<?")?.execute([feedback_before.0])?;
            let next: Option<i64> = connection.prepare_cached("SELECT min(expires_ms) FROM c2d")?.query_row([], |row| row.get(0))?;
            Ok((expired.len() as u64, next.map(Timestamp)))
        })
        .await
    }

    /// Feedback that nobody has taken yet, oldest first.
    pub async fn feedback(&self, most: usize) -> Result<Vec<Feedback>, StateError> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT f.id, d.device, d.generation, f.message_id, f.enqueued_ms, f.at_ms, f.code
                 FROM feedback f JOIN device d ON d.id=f.device ORDER BY f.id LIMIT ?",
            )?;
            let mut rows = statement.query([i64::try_from(most).unwrap_or(i64::MAX)])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                let code: String = row.get(6)?;
                let Some(code) = FeedbackCode::from_word(&code) else { continue };
                records.push(Feedback {
                    id: row.get(0)?,
                    device: row.get(1)?,
                    generation: row.get(2)?,
                    message_id: row.get(3)?,
                    enqueued: Timestamp(row.get(4)?),
                    at: Timestamp(row.get(5)?),
                    code,
                });
            }
            Ok(records)
        })
        .await
    }

    /// Feedback up to and with this id has been read. Returns how many records that was.
    pub async fn take_feedback(&self, up_to: i64) -> Result<u64, StateError> {
        self.run(move |connection| Ok(connection.prepare_cached("DELETE FROM feedback WHERE id<=?")?.execute([up_to])? as u64)).await
    }
}

fn settle(
    connection: &Connection,
    device: i64,
    id: i64,
    settlement: Settlement,
    most_deliveries: u32,
    now: Timestamp,
) -> Result<Settled, StateError> {
    let sql = format!("SELECT {COLUMNS} FROM c2d WHERE id=? AND device=?");
    let message = connection.prepare_cached(&sql)?.query_row([id, device], |row| Ok(read(row))).optional()?.transpose()?;
    let Some(message) = message else { return Ok(Settled::Gone) };
    let (deliveries, ended) = match settlement {
        Settlement::Complete => (message.deliveries, Some(FeedbackCode::Success)),
        Settlement::Reject => (message.deliveries, Some(FeedbackCode::Rejected)),
        Settlement::Abandon => {
            let deliveries = message.deliveries + 1;
            (deliveries, (deliveries >= most_deliveries).then_some(FeedbackCode::DeliveryCountExceeded))
        }
    };
    let Some(code) = ended else {
        connection.prepare_cached("UPDATE c2d SET deliveries=? WHERE id=?")?.execute((deliveries, id))?;
        return Ok(Settled::Enqueued { deliveries });
    };
    feed_back(connection, device, &message, code, now)?;
    connection.prepare_cached("DELETE FROM c2d WHERE id=?")?.execute([id])?;
    Ok(if code == FeedbackCode::Success { Settled::Completed } else { Settled::DeadLettered { deliveries } })
}

/// Without a message id there is nothing that the sender could know it by.
fn feed_back(connection: &Connection, device: i64, message: &C2d, code: FeedbackCode, now: Timestamp) -> Result<(), StateError> {
    let Some(message_id) = message.message_id.as_ref().filter(|_| message.ack.wants(code)) else { return Ok(()) };
    connection.prepare_cached("INSERT INTO feedback (device, message_id, enqueued_ms, at_ms, code) VALUES (?,?,?,?,?)")?.execute((
        device,
        message_id,
        message.enqueued.0,
        now.0,
        code.word(),
    ))?;
    connection.prepare_cached("DELETE FROM feedback WHERE id<=?")?.execute([connection.last_insert_rowid() - MAX_FEEDBACK])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<C2d, StateError> {
    let id = row.get(0)?;
    let (ack, properties): (String, String) = (row.get(4)?, row.get(6)?);
    let damaged = || StateError::Row(format!("C2D message {id}"));
    Ok(C2d {
        id,
        enqueued: Timestamp(row.get(1)?),
        expires: Timestamp(row.get(2)?),
        deliveries: row.get(3)?,
        ack: ack.parse().unwrap_or(Ack::None),
        message_id: row.get(5)?,
        properties: serde_json::from_str(&properties).map_err(|_| damaged())?,
        body: Bytes::from(row.get::<_, Vec<u8>>(7)?),
    })
}
