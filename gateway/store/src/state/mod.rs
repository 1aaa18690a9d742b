//! What is kept beside the log: the device registry, twins, C2D queues, users, audit. One file, `state.db`.
//!
//! # The promise
//!
//! An operation that has returned `Ok` is on disk (WAL, `synchronous=FULL`) and stays there, whatever is cut off afterwards. One that
//! returned an error changed nothing. Operations are carried out one after the other, in the order in which they were asked.
//!
//! | power is cut … | then |
//! |---|---|
//! | before an operation returned | all of it is there, or nothing of it |
//! | after it returned | it is there |
//! | inside a group of operations | the whole group is there, or nothing of it; nobody of it had been told |
//!
//! # How it is kept
//!
//! One thread owns the connection. It takes what waits as one transaction, each operation in a savepoint of its own, and tells
//! everybody after the commit: a thousand twins that change at once cost a handful of flushes. Each kind of thing has a file here with
//! its typed operations (`impl State`), made of [`State::run`], and its tables in the next file of `schema/`. Rows are never found by
//! scanning more than belongs to one device.
//!
//! A damaged file is never deleted: it is renamed, what is readable is carried over, and [`StateOpening`] says so.

use std::{fmt, path::Path};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

mod account;
mod audit;
mod c2d;
mod consumer;
mod device;
mod error;
mod keeper;
mod salvage;
mod schema;
mod session;
mod site;
#[cfg(test)]
mod tests;
mod twin;

pub use consumer::{MAX_GROUPS, Progress};
pub use error::StateError;
pub use salvage::StateSalvage;

use keeper::{FailOnDrop, JOBS, Job, Keeper, Request, Tell};

/// What was found when the state was opened.
#[derive(Debug, Default)]
pub struct StateOpening {
    /// Set when the file was damaged.
    pub salvaged: Option<StateSalvage>,
}

/// The state. Clones share it.
#[derive(Clone)]
pub struct State {
    requests: mpsc::Sender<Request>,
    failed: watch::Receiver<Option<StateError>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Opens or creates `state.db` in the folder, migrates it, salvages it if it is damaged, and starts its thread. Blocks.
    pub fn open(dir: &Path) -> Result<(State, StateOpening), StateError> {
        std::fs::create_dir_all(dir).map_err(|e| StateError::open(dir, e))?;
        let (connection, salvaged) = salvage::open_or_salvage(dir)?;
        let (requests, queue) = mpsc::channel(JOBS);
        let (failed, watched) = watch::channel(None);
        let keeper = Keeper { connection, dir: dir.to_owned(), failed: failed.clone() };
        std::thread::Builder::new().name("state-keeper".into()).spawn(move || {
            let guard = FailOnDrop(failed);
            keeper.run(queue);
            drop(guard);
        })?;
        Ok((State { requests, failed: watched }, StateOpening { salvaged }))
    }

    /// Carries out one operation, alone or together with others that wait, and returns its answer once it is on disk. An operation
    /// that errs leaves nothing behind and does not disturb its neighbours.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let done = connection.and_then(|connection| apart(connection, operation));
            let error = done.as_ref().err().cloned();
            // Nobody may be waiting any more. An operation's own error says more than the group's.
            let tell: Tell = Box::new(move |committed| drop(reply.send(done.and_then(|done| committed.map(|()| done)))));
            (tell, error)
        });
        self.requests.send(Request::Do(job)).await.map_err(|_| self.why_closed())?;
        answer.await.map_err(|_| self.why_closed())?
    }

    /// Resolves when changes can no longer be kept in this process.
    pub async fn failed(&self) -> StateError {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(StateError::Closed),
            Err(_) => StateError::Closed,
        }
    }

    /// Carries out what waits and closes the file. Other handles find it closed.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // Err only if the thread is gone already.
            closed.await.ok();
        }
    }

    fn why_closed(&self) -> StateError {
        self.failed.borrow().clone().unwrap_or(StateError::Closed)
    }
}

/// In a savepoint of its own, so that an operation which errs half-way is undone alone.
fn apart<T>(connection: &Connection, operation: impl FnOnce(&Connection) -> Result<T, StateError>) -> Result<T, StateError> {
    connection.execute_batch("SAVEPOINT operation")?;
    let done = operation(connection);
    match &done {
        Ok(_) => connection.execute_batch("RELEASE operation")?,
        // After a full disk the whole transaction may be gone, and with it the savepoint.
        Err(_) => drop(connection.execute_batch("ROLLBACK TO operation; RELEASE operation")),
    }
    done
}
