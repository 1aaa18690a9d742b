//! The inbox: every command on its way to a leaf, on disk, until there is exactly one outcome.
//!
//! # The promise
//!
//! What [`Inbox::accept`] has answered for is on disk and will have one outcome; the outcome and the message that tells the hub are
//! one transaction of the log's writer (`gateway/decisions/0011`). A command that comes again under the id of an earlier one of the same
//! source is known and nothing happens, across restarts, for the last 65,536 commands. Order is `seq`, never a clock; how a command's
//! age is measured is [`Life`]'s.
//!
//! | power is cut … | then |
//! |---|---|
//! | before `accept` returned | the sender was told nothing and sends again |
//! | after `accept`, before `begin` returned | it waits, and is carried out or expires |
//! | after `begin`, before `finish` returned | it is found as [`State::Begun`]: nobody knows what happened, and whoever carries commands out must say so or find out |
//! | after `finish` | outcome and message are both there |
//!
//! A row whose checksum does not fit says so in [`Entry::damaged`] and must not be carried out. What a command says is not looked
//! into here, and nothing here knows about leaves, hubs or buses. What is kept is bounded: of known ids, dead commands and lines of the
//! audit the oldest go; how many commands may wait is for whoever accepts them.

mod audit;
mod entry;
mod life;
mod step;
#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::{Connection, types::Value};
use tidegate_core::{clock::Stamp, message::Message};
use tokio::sync::oneshot;
use tracing::warn;

use crate::{
    Log, StoreError,
    request::{Append, Request},
    schema,
};

pub use audit::{Audited, Note};
pub use entry::{Entry, NewCommand, Origin, State};
pub use life::{Life, Verdict};
pub use step::Answer;
pub(crate) use step::{Step, Work, apply, withdraw};

/// A question that is answered on the writer's thread, between commits.
pub(crate) type Look = Box<dyn FnOnce(&Connection) + Send>;

/// The inbox. Clones share it.
#[derive(Debug, Clone)]
pub struct Inbox(Log);

/// A command in the writer's queue.
#[derive(Debug)]
pub struct Posted {
    log: Log,
    answer: oneshot::Receiver<Result<Answer, StoreError>>,
}

impl Posted {
    /// Waits for the commit.
    pub async fn answer(self) -> Result<Answer, StoreError> {
        self.answer.await.map_err(|_| self.log.why_closed())?
    }
}

/// The end of a command.
#[derive(Debug)]
pub struct Ending {
    /// The word of its outcome.
    pub outcome: &'static str,
    /// Why, when it is to be kept for a person to look at.
    pub dead: Option<String>,
    /// What the hub is told.
    pub message: Message,
    /// What the audit is told.
    pub note: Option<Note>,
}

impl Inbox {
    pub(crate) fn new(log: Log) -> Self {
        Self(log)
    }

    /// Keeps a command: [`Answer::Done`], or [`Answer::Known`] when it has come before.
    pub async fn accept(&self, command: NewCommand) -> Result<Answer, StoreError> {
        self.post(command, false).await?.answer().await
    }

    /// As [`Inbox::accept`], in two parts: returns as soon as the command has its turn in the writer's queue, so that many can be kept
    /// in one commit and yet in their order.
    /// `again`: the sender says that it may have sent it before.
    pub async fn post(&self, command: NewCommand, again: bool) -> Result<Posted, StoreError> {
        self.queue(Step::Accept { command, again }, None, Vec::new()).await
    }

    /// Remembers a command that is over before it began, and appends what the hub is told of it; nothing of both when it is known.
    pub async fn refuse(&self, origin: Origin, ending: Ending) -> Result<Answer, StoreError> {
        self.post_refusal(origin, ending).await?.answer().await
    }

    /// As [`Inbox::refuse`], in two parts as [`Inbox::post`].
    pub async fn post_refusal(&self, origin: Origin, ending: Ending) -> Result<Posted, StoreError> {
        self.queue(Step::Refuse { origin, outcome: ending.outcome }, ending.note, vec![ending.message]).await
    }

    /// From waiting to begun: only after [`Answer::Done`] may anything reach the leaf. [`Answer::Expired`] and [`Answer::Unknown`]
    /// leave it waiting.
    pub async fn begin(&self, seq: u64, note: Option<Note>) -> Result<Answer, StoreError> {
        self.step(Step::Begin { seq }, note, Vec::new()).await
    }

    /// The end of a command that waits or was begun, and what the hub is told of it, in one transaction.
    pub async fn finish(&self, seq: u64, ending: Ending) -> Result<Answer, StoreError> {
        self.step(Step::Finish { seq, outcome: ending.outcome, dead: ending.dead }, ending.note, vec![ending.message]).await
    }

    /// From begun back to waiting, for another delivery.
    pub async fn abandon(&self, seq: u64, note: Option<Note>) -> Result<Answer, StoreError> {
        self.step(Step::Abandon { seq }, note, Vec::new()).await
    }

    /// Lets a dead command go.
    pub async fn delete(&self, seq: u64) -> Result<Answer, StoreError> {
        self.step(Step::Delete { seq }, None, Vec::new()).await
    }

    /// A line of the audit for what is no kept command: a method's write.
    pub async fn note(&self, note: Note) -> Result<(), StoreError> {
        self.step(Step::Nothing, Some(note), Vec::new()).await.map(drop)
    }

    /// Commands from this place on, dead ones included.
    pub async fn list(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        self.look(move |connection| entry::list(connection, from, most)).await
    }

    /// The command at this place.
    pub async fn find(&self, seq: u64) -> Result<Option<Entry>, StoreError> {
        self.look(move |connection| entry::find(connection, seq)).await
    }

    /// The latest lines of the audit, newest first.
    pub async fn audit(&self, most: usize) -> Result<Vec<Audited>, StoreError> {
        self.look(move |connection| audit::latest(connection, most)).await
    }

    async fn step(&self, step: Step, note: Option<Note>, messages: Vec<Message>) -> Result<Answer, StoreError> {
        self.queue(step, note, messages).await?.answer().await
    }

    async fn queue(&self, step: Step, note: Option<Note>, messages: Vec<Message>) -> Result<Posted, StoreError> {
        let (told, answer) = oneshot::channel();
        let append = Append { messages, now: true, inbox: Some(Box::new((step, note))), told: Some(told), ..Append::default() };
        self.0.send(Request::Append(append)).await?;
        Ok(Posted { log: self.0.clone(), answer })
    }

    async fn look<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        // Whoever asked may have gone.
        self.0.ask(|reply| Request::Look(Box::new(move |connection| drop(reply.send(look(connection).map_err(StoreError::from)))))).await
    }
}

/// The inbox as another process sees it: what is kept, and the latest lines of the audit.
#[derive(Debug, Clone)]
pub struct InboxView {
    /// Commands in their order, dead ones included; not all when there are more.
    pub commands: Vec<Entry>,
    /// Newest first.
    pub audit: Vec<Audited>,
}

/// Reads the inbox in this folder without disturbing the gateway that may be running on it.
pub fn inspect(dir: &Path, most: usize) -> Result<InboxView, StoreError> {
    let path = schema::file(dir);
    let connection = schema::open_reading(&path).map_err(|e| StoreError::open(&path, e))?;
    connection.execute_batch("BEGIN")?;
    Ok(InboxView { commands: entry::list(&connection, 0, most)?, audit: audit::latest(&connection, most)? })
}

/// The wall clock is right now: corrects every unsynced time of the stamp's boot.
pub(crate) fn correct(connection: &Connection, trusted: Stamp) -> rusqlite::Result<()> {
    let offset = trusted.wall.0 - trusted.since_boot_ms as i64;
    for table in ["command", "audit"] {
        let sql = format!("UPDATE {table} SET wall_ms = since_boot_ms + ?, unsynced = 0 WHERE unsynced = 1 AND boot = ?");
        connection.prepare_cached(&sql)?.execute((offset, trusted.boot.0 as i64))?;
    }
    Ok(())
}

/// From a damaged file into a new one, as far as rows can be read. A command that cannot be read is lost, and the log of the
/// program says so.
pub(crate) fn carry_over(damaged: &Connection, fresh: &Connection) {
    for (table, columns) in [("command", 17), ("known", 5), ("audit", 11)] {
        let copy = || -> rusqlite::Result<()> {
            let mut read = damaged.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
            let mut rows = read.query([])?;
            let places = vec!["?"; columns].join(",");
            let step = fresh.unchecked_transaction()?;
            let mut write = step.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES ({places})"))?;
            let mut ended = Ok(());
            loop {
                // What was read before the damage is kept.
                let row = match rows.next() {
                    Ok(Some(row)) => row,
                    Ok(None) => break,
                    Err(error) => {
                        ended = Err(error);
                        break;
                    }
                };
                for column in 0..columns {
                    write.raw_bind_parameter(column + 1, row.get::<_, Value>(column)?)?;
                }
                write.raw_execute()?;
            }
            drop(write);
            step.commit()?;
            ended
        };
        if let Err(error) = copy() {
            warn!(%error, table, "could not be carried over whole: commands may have been lost");
        }
    }
}
