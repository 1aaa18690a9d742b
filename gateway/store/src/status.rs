//! What is kept and for whom, from inside and from another process.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;
use tidegate_core::{clock::Timestamp, id::Name, message::Class};

use crate::{
    Gap, StoreError, gap,
    place::Place,
    schema, share,
    writer::{Totals, load},
};

/// What the log keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Messages kept, delivered ones that are still there included.
    pub depth: u64,
    /// What they count against the room.
    pub bytes: u64,
    /// The room. 0 when asked from another process.
    pub max_size: u64,
    /// The next message gets this seq, or a higher one.
    pub next_seq: u64,
    /// Seq and time of the oldest message kept.
    pub oldest: Option<(u64, Timestamp)>,
    /// Each class.
    pub classes: Vec<ClassStatus>,
    /// Each reader.
    pub readers: Vec<ReaderStatus>,
    /// Rows of the gap ledger.
    pub gaps: u64,
    /// Messages given up, ever, summed over readers.
    pub gap_messages: u64,
    /// The file without its WAL.
    pub file_bytes: u64,
}

/// One class of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassStatus {
    /// Which.
    pub class: Class,
    /// Messages kept.
    pub depth: u64,
    /// What they count against the room.
    pub bytes: u64,
}

/// One reader.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderStatus {
    /// Its name, an upstream's.
    pub name: Name,
    /// Messages that it has not durably settled.
    pub outstanding: u64,
    /// Seq and time of the oldest of them.
    pub oldest: Option<(u64, Timestamp)>,
    /// Messages delivered, ever.
    pub settled: u64,
}

/// The log as another process sees it.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// What is kept.
    pub status: Status,
    /// The latest gaps, newest first.
    pub gaps: Vec<Gap>,
}

/// Reads the log in this folder without disturbing the gateway that may be running on it.
pub fn inspect(dir: &Path, most_gaps: usize) -> Result<Inspection, StoreError> {
    let path = schema::file(dir);
    let connection = schema::open_reading(&path).map_err(|e| StoreError::open(&path, e))?;
    // One view of all tables.
    connection.execute_batch("BEGIN")?;
    let (totals, places) = load(&connection)?;
    let status = read(&connection, &totals, &places, 0)?;
    Ok(Inspection { status, gaps: gaps(&connection, most_gaps)? })
}

pub(crate) fn gaps(connection: &Connection, most: usize) -> rusqlite::Result<Vec<Gap>> {
    let sql = format!("SELECT {} FROM gap ORDER BY id DESC LIMIT ?", gap::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([most as i64], gap::read)?.collect()
}

pub(crate) fn read(connection: &Connection, totals: &Totals, places: &BTreeMap<String, Place>, max_size: u64) -> rusqlite::Result<Status> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|n| n as u64);
    let mut readers: Vec<ReaderStatus> = Vec::new();
    // The shares of a reader come right behind it, and count as its own.
    for (name, place) in places {
        let of = share::parts(name).map_or(name.as_str(), |(of, _)| of);
        let mut oldest = None;
        for class in Class::ALL.into_iter().filter(|class| of == name || place.lane(*class).waiting > 0) {
            for span in &place.lane(class).spans {
                oldest = earlier(oldest, first(connection, class, span.low, span.end)?);
            }
        }
        let Ok(of) = Name::new(of) else { continue };
        match readers.iter_mut().find(|reader| reader.name == of) {
            Some(reader) => {
                reader.outstanding += place.waiting();
                reader.settled += place.settled;
                reader.oldest = earlier(reader.oldest, oldest);
            }
            None => readers.push(ReaderStatus { name: of, outstanding: place.waiting(), oldest, settled: place.settled }),
        }
    }
    let mut oldest = None;
    for class in Class::ALL {
        oldest = earlier(oldest, first(connection, class, 0, u64::MAX)?);
    }
    Ok(Status {
        depth: totals.rows.iter().sum(),
        bytes: totals.bytes(),
        max_size,
        next_seq: totals.next_seq,
        oldest,
        classes: Class::ALL
            .map(|class| ClassStatus { class, depth: totals.rows[class as usize], bytes: totals.bytes[class as usize] })
            .into(),
        readers,
        gaps: number("SELECT count(*) FROM gap")?,
        gap_messages: totals.given_up,
        file_bytes: number("PRAGMA page_count")? * schema::page_size(connection)?,
    })
}

fn earlier(a: Option<(u64, Timestamp)>, b: Option<(u64, Timestamp)>) -> Option<(u64, Timestamp)> {
    [a, b].into_iter().flatten().min_by_key(|(seq, _)| *seq)
}

fn first(connection: &Connection, class: Class, low: u64, end: u64) -> rusqlite::Result<Option<(u64, Timestamp)>> {
    let sql = format!("SELECT seq, wall_ms FROM message_{} WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT 1", class as usize);
    let end = i64::try_from(end).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((low as i64, end))?;
    rows.next()?.map(|row| Ok((row.get::<_, i64>(0)? as u64, Timestamp(row.get(1)?)))).transpose()
}
