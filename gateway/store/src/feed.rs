//! The log by partition, for consumers: the next messages, and where to begin. Like all of the past it settles nothing and holds nothing up.

use rusqlite::{Connection, OptionalExtension};
use tidegate_core::{
    clock::{BootId, TimeQuality, Timestamp},
    id::MessageId,
    message::{Class, Message},
};

use crate::{
    StoreError,
    history::{BYTES, SPAN, ends, table},
    partition::{Numbered, PARTITIONS},
    row::{self, Found},
};

/// Places looked at to find where to begin: seconds from a slow card, once.
const MOST_LOOKED_AT: u64 = 2_000_000;

/// Which messages.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Of this partition.
    pub partition: usize,
    /// From this place on.
    pub from: u64,
    /// At most so many.
    pub most: usize,
    /// Ends before a message of this boot whose time is not known yet.
    pub hold: Option<BootId>,
}

/// A message of a partition.
#[derive(Debug)]
pub struct Item {
    /// Its place in the log.
    pub seq: u64,
    /// Its number in the partition: the one before it had one less, or was given up in between.
    pub number: u64,
    /// It.
    pub message: Message,
}

/// An answer.
#[derive(Debug)]
pub struct Fed {
    /// In their order. Damaged rows are left out; their numbers are missing.
    pub items: Vec<Item>,
    /// Where to go on.
    pub next: u64,
    /// There may be more already.
    pub more: bool,
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind the message of this number.
    After(u64),
    /// Behind the last message that was enqueued at this time or before.
    Since(Timestamp),
}

/// When a message came to us: when it was made, as far as the clock was right then, or as its corrected time says.
pub fn enqueued(message: &Message) -> Timestamp {
    match &message.system.origin {
        Some(origin) => origin.enqueued,
        None => came(&message.id, message.taken.wall),
    }
}

fn came(id: &MessageId, taken: Timestamp) -> Timestamp {
    Timestamp(id.made_ms()).max(taken)
}

/// One place behind the last of all classes.
fn end(connection: &Connection) -> rusqlite::Result<u64> {
    let mut end = 0;
    for class in Class::ALL {
        end = end.max(ends(connection, class)?.map_or(0, |(_, last)| last + 1));
    }
    Ok(end)
}

pub(crate) fn feed(connection: &Connection, feed: &Feed) -> rusqlite::Result<Fed> {
    // What is committed now has all places below: what comes meanwhile is for the next time.
    let end = end(connection)?;
    let last = end.min(feed.from.saturating_add(SPAN));
    let mut items = Vec::new();
    for class in Class::ALL {
        let sql = format!(
            "SELECT {} FROM {} WHERE seq >= ?1 AND seq < ?2 AND number % {PARTITIONS} = ?3 ORDER BY seq LIMIT ?4",
            row::COLUMNS,
            table(class)
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query((feed.from as i64, last as i64, feed.partition as i64, feed.most as i64 + 1))?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let Found::Message { seq, message, number: Some(number), size } = row::read(row, class)? else { continue };
            bytes += size;
            items.push((size, Item { seq, number: number.number(), message: *message }));
            if bytes > BYTES {
                break;
            }
        }
    }
    items.sort_by_key(|(_, item)| item.seq);
    let (mut fed, mut bytes) = (Fed { items: Vec::new(), next: last.max(feed.from), more: last < end }, 0);
    for (size, item) in items {
        bytes += size;
        let is_held = item.message.taken.quality == TimeQuality::Unsynced && feed.hold == Some(item.message.taken.boot);
        if is_held || fed.items.len() >= feed.most || (bytes > BYTES && !fed.items.is_empty()) {
            (fed.next, fed.more) = (item.seq, !is_held);
            break;
        }
        fed.items.push(item);
    }
    Ok(fed)
}

/// The first place for a consumer that begins there.
pub(crate) fn find(connection: &Connection, partition: usize, start: Start) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, end(connection)?);
    for class in Class::ALL {
        if let Some((first, _)) = ends(connection, class)? {
            low = if low == 0 { first } else { first.min(low) };
        }
    }
    let mut looked_at = 0;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = match start {
            Start::After(_) => numbered_from(connection, partition, (middle, high), &mut looked_at)?,
            Start::Since(_) => timed_from(connection, middle)?,
        };
        let is_behind = |value: i64| match start {
            Start::After(number) => value.unsigned_abs() > number,
            Start::Since(time) => value > time.0,
        };
        match found {
            Some((seq, value)) if !is_behind(value) => low = seq + 1,
            _ => high = middle,
        }
        if looked_at > MOST_LOOKED_AT {
            return Err(StoreError::Failed("the log is too long to find that number in it: begin at an offset or a time".to_owned()));
        }
    }
    Ok(low)
}

/// The first message of the partition in these places, and its number.
fn numbered_from(
    connection: &Connection,
    partition: usize,
    (mut from, to): (u64, u64),
    looked_at: &mut u64,
) -> rusqlite::Result<Option<(u64, i64)>> {
    while from < to {
        let until = to.min(from.saturating_add(SPAN));
        *looked_at += until - from;
        let mut first: Option<(u64, i64)> = None;
        for class in Class::ALL {
            let sql = format!(
                "SELECT seq, number FROM {} WHERE seq >= ?1 AND seq < ?2 AND number % {PARTITIONS} = ?3 ORDER BY seq LIMIT 1",
                table(class)
            );
            let row: Option<(i64, i64)> = connection
                .prepare_cached(&sql)?
                .query_row((from as i64, until as i64, partition as i64), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let found = row.map(|(seq, number)| (seq.unsigned_abs(), Numbered(number).number() as i64));
            first = [first, found].into_iter().flatten().min();
        }
        if first.is_some() || *looked_at > MOST_LOOKED_AT {
            return Ok(first);
        }
        from = until;
    }
    Ok(None)
}

/// The first message from this place on, and when it came.
fn timed_from(connection: &Connection, from: u64) -> rusqlite::Result<Option<(u64, i64)>> {
    let mut first: Option<(u64, i64)> = None;
    for class in Class::ALL {
        let sql = format!("SELECT seq, id, wall_ms FROM {} WHERE seq >= ? ORDER BY seq LIMIT 1", table(class));
        let row: Option<(i64, [u8; 16], i64)> =
            connection.prepare_cached(&sql)?.query_row([from as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let found = row.map(|(seq, id, wall)| (seq.unsigned_abs(), came(&MessageId::from_bytes(id), Timestamp(wall)).0));
        first = [first, found].into_iter().flatten().min();
    }
    Ok(first)
}

#[cfg(test)]
mod tests;
