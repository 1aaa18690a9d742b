//! A command as the inbox keeps it, and back from its row.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use tidegate_core::{
    clock::{BootId, Stamp, TimeQuality, Timestamp},
    id::LeafId,
};

use super::life::Life;

/// A command that has come and is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// Who it came from and under which id; both together make it known again.
    pub origin: Origin,
    /// Who is to act.
    pub leaf: LeafId,
    /// What is to be done. Not looked into here.
    pub body: Bytes,
    /// How long it is worth carrying out.
    pub life: Life,
}

impl NewCommand {
    /// A number that commands of one content share.
    pub(super) fn print(&self) -> u32 {
        checksum(0, &self.origin.source, "", self.leaf.as_str(), &self.body)
    }
}

/// Where a command comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The upstream's name, or `local`.
    pub source: String,
    /// Who asked, as far as it is known: the user of this machine, the hub's user id.
    pub who: String,
    /// As the sender named it. Empty: the sender did not, and it cannot be known when it comes again.
    pub id: String,
}

/// Where a kept command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not begun.
    Waiting,
    /// Begun, and not finished: found like this after a restart, nobody knows what happened.
    Begun,
    /// Ended without being done, and kept for a person to look at.
    Dead,
}

/// A kept command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place: rises with each command, never used again.
    pub seq: u64,
    /// The command.
    pub command: NewCommand,
    /// Where it stands.
    pub state: State,
    /// How often it was begun.
    pub deliveries: u32,
    /// The word of its outcome when it is dead; else empty.
    pub outcome: String,
    /// Why, in words, when it is dead; else empty.
    pub reason: String,
    /// The row's content cannot be right: it must not be carried out.
    pub damaged: bool,
}

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

fn checksum(seq: u64, source: &str, id: &str, leaf: &str, body: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&seq.to_le_bytes());
    for text in [source, id, leaf] {
        digest.update(text.as_bytes());
        digest.update(&[0]);
    }
    digest.update(body);
    digest.finalize()
}

pub(super) const COLUMNS: &str =
    "seq, source, who, id, leaf, body, crc, wall_ms, boot, since_boot_ms, unsynced, ttl_ms, expires_ms, state, deliveries, outcome, reason";

/// Adds the command at this place, waiting.
pub(super) fn insert(connection: &Connection, seq: u64, command: &NewCommand) -> rusqlite::Result<()> {
    let (origin, leaf, came) = (&command.origin, command.leaf.as_str(), command.life.came);
    let sql = format!("INSERT INTO command ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,0,0,'','')");
    connection.prepare_cached(&sql)?.execute(params![
        seq as i64,
        origin.source,
        origin.who,
        origin.id,
        leaf,
        &command.body[..],
        checksum(seq, &origin.source, &origin.id, leaf, &command.body),
        came.wall.0,
        came.boot.0 as i64,
        came.since_boot_ms as i64,
        came.quality == TimeQuality::Unsynced,
        i64::try_from(command.life.ttl.as_millis()).unwrap_or(i64::MAX),
        command.life.expires.map(|at| at.0),
    ])?;
    Ok(())
}

/// What a row that cannot be read calls its leaf.
const UNKNOWN_LEAF: &str = "gateway";

/// Reads a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let seq = row.get::<_, i64>(0)? as u64;
    let text = |at: usize| row.get::<_, String>(at).unwrap_or_default();
    let (source, id, leaf) = (text(1), text(3), text(4));
    let body: Vec<u8> = row.get(5).unwrap_or_default();
    let sound = row.get::<_, u32>(6).is_ok_and(|crc| crc == checksum(seq, &source, &id, &leaf, &body));
    let named = LeafId::new(&leaf);
    let damaged = !sound || named.is_err();
    let leaf = named.or_else(|_| LeafId::new(UNKNOWN_LEAF)).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let command = NewCommand { origin: Origin { source, who: text(2), id }, leaf, body: Bytes::from(body), life: life(row)? };
    Ok(Entry {
        seq,
        command,
        state: match row.get::<_, i64>(13)? {
            0 => State::Waiting,
            1 => State::Begun,
            _ => State::Dead,
        },
        deliveries: row.get(14)?,
        outcome: text(15),
        reason: text(16),
        damaged,
    })
}

fn life(row: &Row<'_>) -> rusqlite::Result<Life> {
    let came = Stamp {
        wall: Timestamp(row.get(7)?),
        boot: BootId(row.get::<_, i64>(8)? as u64),
        since_boot_ms: row.get::<_, i64>(9)? as u64,
        quality: if row.get(10)? { TimeQuality::Unsynced } else { TimeQuality::Synced },
    };
    let ttl = Duration::from_millis(row.get::<_, i64>(11)?.unsigned_abs());
    Ok(Life { came, ttl, expires: row.get::<_, Option<i64>>(12)?.map(Timestamp) })
}

/// The command at this place.
pub(super) fn find(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM command WHERE seq = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([seq as i64])?;
    rows.next()?.map(read).transpose()
}

/// Commands from this place on, in order.
pub(super) fn list(connection: &Connection, from: u64, most: usize) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM command WHERE seq >= ? ORDER BY seq LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map((from as i64, most as i64), read)?.collect()
}
