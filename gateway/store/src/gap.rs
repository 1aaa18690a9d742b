//! What was given up: a span of messages of one leaf that one reader will never get, with the reason and the count.

use rusqlite::{Connection, Row, params};
use serde_json::json;
use tidegate_core::{
    clock::{Stamp, TimeQuality, Timestamp},
    id::{LeafId, MessageId},
    message::{Body, Class, Message, Properties, SystemProperties},
};

/// Why messages were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GapReason {
    /// Nobody wants them any more.
    Ttl,
    /// There was no room for them.
    Room,
    /// They were damaged on the disk.
    Corrupt,
    /// The hub can never take them.
    Rejected,
}

impl GapReason {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            GapReason::Ttl => "ttl",
            GapReason::Room => "room",
            GapReason::Corrupt => "corrupt",
            GapReason::Rejected => "rejected",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "ttl" => GapReason::Ttl,
            "room" => GapReason::Room,
            "rejected" => GapReason::Rejected,
            _ => GapReason::Corrupt,
        }
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its place in the ledger.
    pub id: i64,
    /// The id of the message that tells the hub.
    pub uuid: MessageId,
    /// The reader that will not get them; empty when there was none.
    pub reader: String,
    /// Their leaf; `gateway` where it is not known (damage).
    pub leaf: LeafId,
    /// Their class.
    pub class: Class,
    /// Why.
    pub reason: GapReason,
    /// How many. With reason `corrupt` and no leaf an estimate: as many as the seqs between readable rows.
    pub count: u64,
    /// The first one's seq.
    pub first_seq: u64,
    /// The last one's seq.
    pub last_seq: u64,
    /// The first one's time.
    pub first: Timestamp,
    /// The last one's time.
    pub last: Timestamp,
    /// Whether the hub has been told.
    pub told: bool,
}

/// What a leaf is called in the ledger where the damaged rows do not say.
pub(crate) const UNKNOWN_LEAF: &str = "gateway";

/// One message given up, before it is counted into a row.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) reader: String,
    pub(crate) leaf: LeafId,
    pub(crate) class: Class,
    pub(crate) reason: GapReason,
    pub(crate) count: u64,
    pub(crate) seqs: (u64, u64),
    pub(crate) times: (Timestamp, Timestamp),
}

pub(crate) const COLUMNS: &str = "id, uuid, reader, leaf, class, reason, count, first_seq, last_seq, first_ms, last_ms, state";

pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Gap> {
    let leaf: String = row.get(3)?;
    Ok(Gap {
        id: row.get(0)?,
        uuid: MessageId::from_bytes(row.get(1)?),
        reader: row.get(2)?,
        leaf: LeafId::new(leaf).or_else(|_| LeafId::new(UNKNOWN_LEAF)).map_err(|_| rusqlite::Error::InvalidQuery)?,
        class: Class::from_index(row.get::<_, u32>(4)? as usize).unwrap_or_default(),
        reason: GapReason::from_word(&row.get::<_, String>(5)?),
        count: row.get::<_, i64>(6)? as u64,
        first_seq: row.get::<_, i64>(7)? as u64,
        last_seq: row.get::<_, i64>(8)? as u64,
        first: Timestamp(row.get(9)?),
        last: Timestamp(row.get(10)?),
        told: row.get::<_, i64>(11)? == 2,
    })
}

/// Rows of the ledger kept after the hub was told; the oldest go first.
pub(crate) const KEPT_TOLD: i64 = 10_000;

/// Counts a loss into the open row of its kind, or into a new one. Open rows are few: one per reader, leaf, class and reason.
pub(crate) fn record(connection: &Connection, loss: &Loss) -> rusqlite::Result<()> {
    let key = params![loss.reader, loss.leaf.as_str(), loss.class as i64, loss.reason.word()];
    let open: Option<i64> = connection
        .prepare_cached("SELECT id FROM gap WHERE state=0 AND reader=? AND leaf=? AND class=? AND reason=?")?
        .query_row(key, |row| row.get(0))
        .map(Some)
        .or_else(|e| if e == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(e) })?;
    let (count, first, last) = (loss.count as i64, loss.seqs.0 as i64, loss.seqs.1 as i64);
    match open {
        Some(id) => connection
            .prepare_cached(
                "UPDATE gap SET count=count+?, first_seq=min(first_seq,?), last_seq=max(last_seq,?), first_ms=min(first_ms,?), last_ms=max(last_ms,?) WHERE id=?",
            )?
            .execute(params![count, first, last, loss.times.0.0, loss.times.1.0, id])?,
        None => connection
            .prepare_cached("INSERT INTO gap (uuid, reader, leaf, class, reason, count, first_seq, last_seq, first_ms, last_ms, state) VALUES (?,?,?,?,?,?,?,?,?,?,0)")?
            .execute(params![
                &MessageId::fresh().as_bytes()[..], loss.reader, loss.leaf.as_str(), loss.class as i64, loss.reason.word(),
                count, first, last, loss.times.0.0, loss.times.1.0
            ])?,
    };
    Ok(())
}

/// Adds a loss to a list, joined with the last one where both are of one kind.
pub(crate) fn push(losses: &mut Vec<Loss>, loss: Loss) {
    let same = |a: &Loss| a.reader == loss.reader && a.leaf == loss.leaf && a.class == loss.class && a.reason == loss.reason;
    match losses.iter_mut().find(|a| same(a)) {
        Some(a) => {
            a.count += loss.count;
            a.seqs = (a.seqs.0.min(loss.seqs.0), a.seqs.1.max(loss.seqs.1));
            a.times = (a.times.0.min(loss.times.0), a.times.1.max(loss.times.1));
        }
        None => losses.push(loss),
    }
}

/// The message by which the hub learns of the gap. Its id is the row's, so it is the same however often it is sent.
pub(crate) fn message(gap: &Gap, now: Stamp) -> Message {
    let mut properties = Properties::default();
    properties.insert("tidegate-kind", "gap").ok();
    let body = json!({ "gap": {
        "leaf": gap.leaf.as_str(), "class": gap.class.word(), "reason": gap.reason.word(), "count": gap.count,
        "first": gap.first.to_string(), "last": gap.last.to_string(), "first_seq": gap.first_seq, "last_seq": gap.last_seq,
    }});
    Message {
        id: gap.uuid,
        leaf: gap.leaf.clone(),
        class: Class::Status,
        taken: Stamp { wall: gap.last, quality: TimeQuality::Synced, ..now },
        ttl: None,
        system: SystemProperties::json(),
        properties,
        body: Body::Whole(body.to_string().into()),
    }
}
