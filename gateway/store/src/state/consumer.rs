//! How far consumer groups have come. A place is what a consumer has said that it has dealt with, never what it was given.

use std::collections::BTreeSet;

use rusqlite::Connection;
use tidegate_core::clock::Timestamp;

use super::{State, StateError};

/// Groups that are kept: IoT Hub's limit.
pub const MAX_GROUPS: usize = 20;

/// How far a group has come in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which partition.
    pub partition: usize,
    /// The next place in the log.
    pub seq: u64,
    /// The number of the next message, where it is known: what lies between was given up.
    pub number: Option<u64>,
    /// When it last went on.
    pub changed: Timestamp,
}

impl State {
    /// Groups by name, each with the partitions in which it has a place.
    pub async fn groups(&self) -> Result<Vec<(String, Vec<Progress>)>, StateError> {
        self.run(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, partition, seq, number, changed_ms FROM consumer ORDER BY name, partition")?;
            let mut rows = statement.query([])?;
            let mut groups: Vec<(String, Vec<Progress>)> = Vec::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                let progress = Progress {
                    partition: row.get::<_, i64>(1)?.unsigned_abs() as usize,
                    seq: row.get::<_, i64>(2)?.unsigned_abs(),
                    number: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                    changed: Timestamp(row.get(4)?),
                };
                match groups.last_mut().filter(|(last, _)| *last == name) {
                    Some((_, all)) => all.push(progress),
                    None => groups.push((name, vec![progress])),
                }
            }
            Ok(groups)
        })
        .await
    }

    /// Keeps how far groups have come. `false` when there would be too many groups: then nothing is kept.
    pub async fn keep_progress(&self, progress: Vec<(String, Progress)>) -> Result<bool, StateError> {
        self.run(move |connection| {
            let mut new = BTreeSet::new();
            for (name, _) in &progress {
                if !is_known(connection, name)? {
                    new.insert(name);
                }
            }
            if !new.is_empty() && count(connection)? + new.len() > MAX_GROUPS {
                return Ok(false);
            }
            for (name, one) in &progress {
                connection
                    .prepare_cached(
                        "INSERT INTO consumer VALUES (?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET seq=?3, number=?4, changed_ms=?5",
                    )?
                    .execute((name, one.partition as i64, one.seq as i64, one.number.map(|number| number as i64), one.changed.0))?;
            }
            Ok(true)
        })
        .await
    }

    /// Forgets a group. Whether there was one.
    pub async fn forget_group(&self, name: String) -> Result<bool, StateError> {
        self.run(move |connection| Ok(connection.prepare_cached("DELETE FROM consumer WHERE name=?")?.execute([name])? > 0)).await
    }
}

fn is_known(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM consumer WHERE name=?")?.exists([name])
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    connection.prepare_cached("SELECT count(DISTINCT name) FROM consumer")?.query_row([], |row| row.get::<_, i64>(0)).map(|n| n as usize)
}
