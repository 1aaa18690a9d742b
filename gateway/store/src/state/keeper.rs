//! The thread that owns `state.db`: takes what waits as one transaction, commits, tells.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};

use super::{StateError, salvage::mark_suspect};

/// Jobs that wait for the thread; whoever comes later waits for a place.
pub(super) const JOBS: usize = 1024;
/// Jobs in one commit: enough to spread the cost of a flush, few enough that nobody waits long for a neighbour.
const GROUP: usize = 256;

/// Does its part on the open transaction, or hears that there is none. Returns what to do once it is known whether the commit holds,
/// and its own error.
pub(super) type Job = Box<dyn FnOnce(Result<&Connection, StateError>) -> (Tell, Option<StateError>) + Send>;
pub(super) type Tell = Box<dyn FnOnce(Result<(), StateError>)>;

pub(super) enum Request {
    Do(Job),
    Close(oneshot::Sender<()>),
}

/// The thread's state.
pub(super) struct Keeper {
    pub(super) connection: Connection,
    pub(super) dir: PathBuf,
    pub(super) failed: watch::Sender<Option<StateError>>,
}

impl Keeper {
    /// Until it is told to close, every handle is gone, or the file failed.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(request) = queue.blocking_recv() {
            let mut jobs = Vec::new();
            let mut closing = None;
            let mut next = Some(request);
            // What came while the last commit ran goes into this one.
            while let Some(request) = next.take() {
                match request {
                    Request::Do(job) => jobs.push(job),
                    Request::Close(done) => closing = Some(done),
                }
                if closing.is_none() && jobs.len() < GROUP {
                    next = queue.try_recv().ok();
                }
            }
            if !jobs.is_empty() {
                self.commit(jobs);
            }
            if let Some(done) = closing {
                self.shut(done);
                return;
            }
            if self.failed.borrow().is_some() {
                return;
            }
        }
    }

    /// All jobs in one transaction. One that only read costs no flush, because then there is nothing to write.
    fn commit(&mut self, jobs: Vec<Job>) {
        let mut lost = self.connection.execute_batch("BEGIN").map_err(StateError::from).err();
        let mut tells = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (tell, error) = job(lost.clone().map_or(Ok(&self.connection), Err));
            tells.push(tell);
            // A full disk and worse things end the whole transaction at once; nobody after that may act outside of one.
            let gone = lost.is_none() && self.connection.is_autocommit();
            if gone || error.as_ref().is_some_and(StateError::is_final) {
                lost = lost.or(error).or_else(|| Some(StateError::Failed("the transaction ended by itself".into())));
            }
        }
        if lost.is_none() {
            lost = self.connection.execute_batch("COMMIT").map_err(StateError::from).err();
        }
        if lost.is_some() && !self.connection.is_autocommit() {
            // Err only when there is nothing to roll back.
            self.connection.execute_batch("ROLLBACK").ok();
        }
        if let Some(error) = lost.clone().filter(StateError::is_final) {
            error!(%error, "the state failed");
            if matches!(error, StateError::Damaged(_)) {
                mark_suspect(&self.dir);
            }
            self.failed.send_replace(Some(error));
        }
        tells.into_iter().for_each(|tell| tell(lost.clone().map_or(Ok(()), Err)));
    }

    fn shut(&mut self, done: oneshot::Sender<()>) {
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA incremental_vacuum") {
            // The WAL holds it all the same.
            warn!(%error, "the last checkpoint failed");
        }
        self.failed.send_replace(Some(StateError::Closed));
        done.send(()).ok();
    }
}

/// A panic of the thread ends the promise too: everybody is told.
pub(super) struct FailOnDrop(pub(super) watch::Sender<Option<StateError>>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| StateError::Failed("its thread ended".into()));
            first
        });
    }
}
