//! The audit: who changed what. Lines are added in the transaction of the change that they tell of, and never changed.

use rusqlite::Connection;
use tidegate_core::{
    account::{Act, KeptAct},
    clock::Timestamp,
};

use super::{State, StateError};

/// Lines kept; some 10 MiB, and years of a busy gateway. The oldest give way.
const MOST_LINES: i64 = 50_000;
/// Most characters of one text of a line: whoever makes a name or a detail long must not fill the disk with it.
const MOST_TEXT: usize = 400;

impl State {
    /// Adds a line that belongs to no other change in this file.
    pub async fn record(&self, act: Act) -> Result<(), StateError> {
        self.run(move |connection| add(connection, &act)).await
    }

    /// The latest lines before this one (`None`: the very latest), newest first.
    pub async fn acts(&self, before: Option<u64>, most: usize) -> Result<Vec<KeptAct>, StateError> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, at_ms, who, origin, what, target, detail, result FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
            )?;
            let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
            let rows = statement.query_map((before, i64::try_from(most).unwrap_or(i64::MAX)), |row| {
                Ok(KeptAct {
                    id: row.get::<_, i64>(0)?.unsigned_abs(),
                    at: Timestamp(row.get(1)?),
                    who: row.get(2)?,
                    from: row.get(3)?,
                    what: row.get(4)?,
                    target: row.get(5)?,
                    detail: row.get(6)?,
                    result: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

pub(super) fn add(connection: &Connection, act: &Act) -> Result<(), StateError> {
    let short = |text: &str| text.chars().take(MOST_TEXT).collect::<String>();
    connection.prepare_cached("INSERT INTO audit (at_ms, who, origin, what, target, detail, result) VALUES (?,?,?,?,?,?,?)")?.execute((
        act.at.0,
        short(&act.who),
        short(&act.from),
        act.what,
        short(&act.target),
        short(&act.detail),
        short(&act.result),
    ))?;
    connection.prepare_cached("DELETE FROM audit WHERE id <= ?")?.execute([connection.last_insert_rowid() - MOST_LINES])?;
    Ok(())
}
