//! Who had what written, when, and what became of it.

use rusqlite::{Connection, Row, params};
use tidegate_core::clock::{BootId, Stamp, TimeQuality, Timestamp};

use super::entry::Origin;

/// Rows kept: a year of thirty writes a day, a few megabytes. The oldest go first.
const KEPT: i64 = 20_000;

/// One line of the audit, before it has its place and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Who asked, from where, under which id.
    pub origin: Origin,
    /// Whose points, as the sender wrote it.
    pub leaf: String,
    /// `begun`, or the word of the outcome.
    pub event: String,
    /// What was to be written, or what was seen, in words.
    pub what: String,
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its place; rises.
    pub n: u64,
    /// When.
    pub at: Stamp,
    /// What.
    pub note: Note,
}

/// Longest text of a line: a command of 64 KiB need not be here twice in full.
const MOST_TEXT: usize = 1_000;

/// Adds a line at the end.
pub(super) fn add(connection: &Connection, note: &Note, at: Stamp) -> rusqlite::Result<()> {
    let what: String = note.what.chars().take(MOST_TEXT).collect();
    connection
        .prepare_cached(
            "INSERT INTO audit (wall_ms, boot, since_boot_ms, unsynced, source, who, id, leaf, event, what) VALUES (?,?,?,?,?,?,?,?,?,?)",
        )?
        .execute(params![
            at.wall.0,
            at.boot.0 as i64,
            at.since_boot_ms as i64,
            at.quality == TimeQuality::Unsynced,
            note.origin.source,
            note.origin.who,
            note.origin.id,
            note.leaf,
            note.event,
            what
        ])?;
    let last = connection.last_insert_rowid();
    connection.prepare_cached("DELETE FROM audit WHERE n <= ?")?.execute([last - KEPT])?;
    Ok(())
}

/// The latest lines, newest first.
pub(super) fn latest(connection: &Connection, most: usize) -> rusqlite::Result<Vec<Audited>> {
    let mut statement = connection.prepare_cached(
        "SELECT n, wall_ms, boot, since_boot_ms, unsynced, source, who, id, leaf, event, what FROM audit ORDER BY n DESC LIMIT ?",
    )?;
    statement.query_map([most as i64], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Audited> {
    Ok(Audited {
        n: row.get::<_, i64>(0)? as u64,
        at: Stamp {
            wall: Timestamp(row.get(1)?),
            boot: BootId(row.get::<_, i64>(2)? as u64),
            since_boot_ms: row.get::<_, i64>(3)? as u64,
            quality: if row.get(4)? { TimeQuality::Unsynced } else { TimeQuality::Synced },
        },
        note: Note {
            origin: Origin { source: row.get(5)?, who: row.get(6)?, id: row.get(7)? },
            leaf: row.get(8)?,
            event: row.get(9)?,
            what: row.get(10)?,
        },
    })
}
