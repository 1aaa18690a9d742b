//! What one commit does to the inbox. Each step is part of the transaction that appends the messages beside it.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};
use tidegate_core::clock::Stamp;

use super::{
    audit::{self, Note},
    entry::{self, NewCommand, Origin},
    life::Verdict,
};
use crate::request::Append;

/// Commands remembered by their ids. More than wait at any time, and at the rate of a hub's queue months of them.
const KEPT_KNOWN: i64 = 65_536;
/// Dead commands kept, each with its body. The oldest go first.
const KEPT_DEAD: i64 = 200;

/// One step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Keep it, unless it is known. `again`: its sender says that it may have sent it before, so one without an id is known by its
    /// content.
    Accept { command: NewCommand, again: bool },
    /// It is over before it began; the message beside the step says so. Nothing at all happens when it is known.
    Refuse { origin: Origin, outcome: &'static str },
    /// From waiting to begun.
    Begin { seq: u64 },
    /// The end; the message beside the step says so.
    Finish { seq: u64, outcome: &'static str, dead: Option<String> },
    /// From begun back to waiting.
    Abandon { seq: u64 },
    /// A dead one goes.
    Delete { seq: u64 },
    /// Nothing but the line of the audit.
    Nothing,
}

/// A step, and its line in the audit if it happens.
pub(crate) type Work = (Step, Option<Note>);

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done; the command's place.
    Done(u64),
    /// It was known: its place, and whether it has an outcome already.
    Known {
        /// Its place.
        seq: u64,
        /// It is over.
        finished: bool,
    },
    /// It must not be begun any more.
    Expired,
    /// Whether it may still be begun is not known yet.
    Unknown,
    /// There is no such command in that state.
    Gone,
}

/// Before a commit: messages beside a step that will do nothing must not be appended. The writer's thread is the only one that
/// writes, so what is known now is known in the transaction.
pub(crate) fn withdraw(connection: &Connection, appends: &mut [Append]) -> rusqlite::Result<()> {
    let mut seen: HashSet<(String, String)> = HashSet::new();
    let mut finished: HashSet<u64> = HashSet::new();
    for append in appends {
        let Some((step, _)) = append.inbox.as_deref() else { continue };
        let idle = match step {
            // Nothing is appended beside it.
            Step::Accept { command, .. } => {
                seen.insert((command.origin.source.clone(), command.origin.id.clone()));
                false
            }
            Step::Refuse { origin, .. } if origin.id.is_empty() => false,
            Step::Refuse { origin, .. } => !seen.insert((origin.source.clone(), origin.id.clone())) || known(connection, origin)?.is_some(),
            Step::Finish { seq, .. } => !finished.insert(*seq) || !is_open(connection, *seq)?,
            _ => false,
        };
        if idle {
            append.messages.clear();
        }
    }
    Ok(())
}

/// Carries out the steps in their order. One answer for each append that has one.
pub(crate) fn apply(connection: &Connection, appends: &[Append], now: Stamp, waiting: bool) -> rusqlite::Result<Vec<Option<Answer>>> {
    let mut answers = Vec::with_capacity(appends.len());
    for append in appends {
        let Some((step, note)) = append.inbox.as_deref() else {
            answers.push(None);
            continue;
        };
        let answer = step.apply(connection, now, waiting)?;
        if let (Some(note), Answer::Done(_)) = (note, answer) {
            audit::add(connection, note, now)?;
        }
        answers.push(Some(answer));
    }
    Ok(answers)
}

impl Step {
    fn apply(&self, connection: &Connection, now: Stamp, waiting: bool) -> rusqlite::Result<Answer> {
        match self {
            Step::Accept { command, again } => {
                let earlier = match (command.origin.id.is_empty(), again) {
                    (false, _) => known(connection, &command.origin)?,
                    (true, true) => known_by_content(connection, command)?,
                    (true, false) => None,
                };
                if let Some((seq, finished)) = earlier {
                    return Ok(Answer::Known { seq, finished });
                }
                let seq = remember(connection, &command.origin, "")?;
                if command.origin.id.is_empty() {
                    let print = i64::from(command.print());
                    connection.prepare_cached("UPDATE known SET print=? WHERE seq=?")?.execute((print, seq as i64))?;
                }
                entry::insert(connection, seq, command)?;
                Ok(Answer::Done(seq))
            }
            Step::Refuse { origin, outcome } => match known(connection, origin)? {
                Some((seq, finished)) => Ok(Answer::Known { seq, finished }),
                None => remember(connection, origin, outcome).map(Answer::Done),
            },
            Step::Begin { seq } => begin(connection, *seq, now, waiting),
            Step::Finish { seq, outcome, dead } => finish(connection, *seq, outcome, dead.as_deref()),
            Step::Abandon { seq } => change(connection, "UPDATE command SET state=0 WHERE seq=? AND state=1", *seq),
            Step::Delete { seq } => change(connection, "DELETE FROM command WHERE seq=? AND state=2", *seq),
            Step::Nothing => Ok(Answer::Done(0)),
        }
    }
}

fn known(connection: &Connection, origin: &Origin) -> rusqlite::Result<Option<(u64, bool)>> {
    if origin.id.is_empty() {
        return Ok(None);
    }
    connection
        .prepare_cached("SELECT seq, outcome <> '' FROM known WHERE source=? AND id=?")?
        .query_row((&origin.source, &origin.id), |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
        .optional()
}

/// Without an id only the content tells, and only among the latest: whoever sends again does so soon.
fn known_by_content(connection: &Connection, command: &NewCommand) -> rusqlite::Result<Option<(u64, bool)>> {
    /// As many as any sender keeps in flight.
    const LATEST: i64 = 1_024;
    connection
        .prepare_cached(
            "SELECT seq, outcome <> '' FROM known WHERE source=?1 AND print=?2 AND seq > (SELECT max(seq) FROM known) - ?3 ORDER BY seq DESC",
        )?
        .query_row((&command.origin.source, i64::from(command.print()), LATEST), |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
        .optional()
}

fn is_open(connection: &Connection, seq: u64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM command WHERE seq=? AND state<2")?.exists([seq as i64])
}

/// The next place. Its row is what makes the place taken for ever, so the newest is never forgotten.
fn remember(connection: &Connection, origin: &Origin, outcome: &str) -> rusqlite::Result<u64> {
    let id = (!origin.id.is_empty()).then_some(&origin.id);
    connection.prepare_cached("INSERT INTO known (source, id, outcome) VALUES (?,?,?)")?.execute(params![origin.source, id, outcome])?;
    let seq = connection.last_insert_rowid();
    connection.prepare_cached("DELETE FROM known WHERE seq <= ? AND seq NOT IN (SELECT seq FROM command)")?.execute([seq - KEPT_KNOWN])?;
    Ok(seq as u64)
}

fn begin(connection: &Connection, seq: u64, now: Stamp, waiting: bool) -> rusqlite::Result<Answer> {
    match entry::find(connection, seq)?.filter(|entry| entry.state == entry::State::Waiting) {
        None => Ok(Answer::Gone),
        Some(entry) => match entry.command.life.verdict(now, waiting) {
            Verdict::Expired => Ok(Answer::Expired),
            Verdict::Unknown => Ok(Answer::Unknown),
            Verdict::Alive => change(connection, "UPDATE command SET state=1, deliveries=deliveries+1 WHERE seq=? AND state=0", seq),
        },
    }
}

fn finish(connection: &Connection, seq: u64, outcome: &str, dead: Option<&str>) -> rusqlite::Result<Answer> {
    let changed = match dead {
        None => connection.prepare_cached("DELETE FROM command WHERE seq=? AND state<2")?.execute([seq as i64])?,
        Some(reason) => {
            let sql = "UPDATE command SET state=2, outcome=?, reason=? WHERE seq=? AND state<2";
            connection.prepare_cached(sql)?.execute(params![outcome, reason, seq as i64])?
        }
    };
    if changed == 0 {
        return Ok(Answer::Gone);
    }
    connection.prepare_cached("UPDATE known SET outcome=? WHERE seq=?")?.execute(params![outcome, seq as i64])?;
    if dead.is_some() {
        let sql = "DELETE FROM command WHERE state=2 AND seq <= (SELECT seq FROM command WHERE state=2 ORDER BY seq DESC LIMIT 1 OFFSET ?)";
        connection.prepare_cached(sql)?.execute([KEPT_DEAD])?;
    }
    Ok(Answer::Done(seq))
}

fn change(connection: &Connection, sql: &str, seq: u64) -> rusqlite::Result<Answer> {
    let changed = connection.prepare_cached(sql)?.execute([seq as i64])?;
    Ok(if changed == 1 { Answer::Done(seq) } else { Answer::Gone })
}
