//! A message as a row, and back.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use rusqlite::{CachedStatement, Row, params};
use tidegate_core::{
    clock::{BootId, Stamp, TimeQuality, Timestamp},
    id::{LeafId, MessageId},
    message::{Body, Class, Message},
    wire,
};

use crate::partition::Numbered;

/// Bytes that a row counts beside its text and body: id, numbers, and SQLite's own headers, rounded up.
pub(crate) const OVERHEAD: u64 = 64;

/// The columns, in the order of [`read`]. The checksum covers what never changes; the stamp may be corrected.
pub(crate) const COLUMNS: &str = "seq, id, leaf, wall_ms, boot, since_boot_ms, unsynced, ttl_ms, properties, untimed, body, crc, number";

/// The place of the leaf among [`COLUMNS`].
pub(crate) const LEAF: usize = 2;

/// What a row counts against the room: exactly what [`SIZE`] computes in SQL.
pub(crate) fn size(message: &Message, properties: &str) -> u64 {
    OVERHEAD + (message.leaf.as_str().len() + properties.len() + message.body.stored().len()) as u64
}

/// As [`size`], of a stored row.
pub(crate) const SIZE: &str = "64 + length(CAST(leaf AS BLOB)) + length(CAST(properties AS BLOB)) + length(body)";

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

fn checksum(seq: u64, id: &[u8], leaf: &str, properties: &str, body: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&seq.to_le_bytes());
    digest.update(id);
    digest.update(leaf.as_bytes());
    digest.update(properties.as_bytes());
    digest.update(body);
    digest.finalize()
}

/// One of the two tables of a class. To read, there is a view of both: `message_0` and so on.
pub(crate) fn table(class: Class, half: usize) -> String {
    format!("message_{}_{}", class as usize, if half == 0 { 'a' } else { 'b' })
}

/// The INSERT that [`write`] binds to.
pub(crate) fn insert(class: Class, half: usize) -> String {
    format!("INSERT INTO {} ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", table(class, half))
}

/// Adds the message at this place.
pub(crate) fn write(
    statement: &mut CachedStatement<'_>,
    seq: u64,
    message: &Message,
    taken: Stamp,
    properties: &str,
    number: Option<Numbered>,
) -> rusqlite::Result<()> {
    let (body, untimed) = match &message.body {
        Body::Whole(bytes) => (bytes, false),
        Body::Untimed(bytes) => (bytes, true),
    };
    let leaf = message.leaf.as_str();
    let ttl = message.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    statement.execute(params![
        seq as i64,
        &message.id.as_bytes()[..],
        leaf,
        taken.wall.0,
        taken.boot.0 as i64,
        taken.since_boot_ms as i64,
        taken.quality == TimeQuality::Unsynced,
        ttl,
        properties,
        untimed,
        &body[..],
        checksum(seq, message.id.as_bytes(), leaf, properties, body),
        number.map(|number| number.0),
    ])?;
    Ok(())
}

/// A row that was read: a message, or damage where one was.
#[derive(Debug)]
pub(crate) enum Found {
    Message { seq: u64, message: Box<Message>, size: u64, number: Option<Numbered> },
    Damaged { seq: u64 },
}

/// Reads a row of [`COLUMNS`]. A row whose content cannot be right is [`Found::Damaged`], never an error.
pub(crate) fn read(row: &Row<'_>, class: Class) -> rusqlite::Result<Found> {
    let seq = row.get::<_, i64>(0)? as u64;
    Ok(decode(row, seq, class).unwrap_or(Found::Damaged { seq }))
}

fn decode(row: &Row<'_>, seq: u64, class: Class) -> Option<Found> {
    let id: [u8; 16] = row.get(1).ok()?;
    let leaf: String = row.get(2).ok()?;
    let properties: Cow<'_, str> = Cow::Owned(row.get::<_, String>(8).ok()?);
    let body: Vec<u8> = row.get(10).ok()?;
    if row.get::<_, u32>(11).ok()? != checksum(seq, &id, &leaf, &properties, &body) {
        return None;
    }
    let (system, application) = wire::properties_from_text(&properties)?;
    let quality = if row.get(6).ok()? { TimeQuality::Unsynced } else { TimeQuality::Synced };
    let taken = Stamp {
        wall: Timestamp(row.get(3).ok()?),
        boot: BootId(row.get::<_, i64>(4).ok()? as u64),
        since_boot_ms: row.get::<_, i64>(5).ok()? as u64,
        quality,
    };
    let ttl: Option<i64> = row.get(7).ok()?;
    let untimed: bool = row.get(9).ok()?;
    let body = Bytes::from(body);
    let message = Message {
        id: MessageId::from_bytes(id),
        leaf: LeafId::new(leaf).ok()?,
        class,
        taken,
        ttl: ttl.map(|ms| Duration::from_millis(ms.unsigned_abs())),
        system,
        properties: application,
        body: if untimed { Body::Untimed(body) } else { Body::Whole(body) },
    };
    let size = size(&message, &properties);
    // Not below the checksum: what cannot be a number is none.
    let number = row.get::<_, Option<i64>>(12).ok().flatten().filter(|number| *number >= 0).map(Numbered);
    Some(Found::Message { seq, message: Box::new(message), size, number })
}
