//! The handle that everybody holds.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicI64, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tidegate_core::{
    adapter::Receipt,
    clock::{Clock, Stamp, Timestamp},
    id::{LeafId, Name},
    message::Message,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    Inbox, Reader, ReaderOptions, Salvage, StoreError,
    fetch::Fetcher,
    gap::Gap,
    reader::Ends,
    request::{Append, REQUESTS, Reply, Request, Shared, Tally},
    share::{self, Leaves},
    status::Status,
    writer::Writer,
};

/// Bytes that one share has in flight, beside one message however large: there may be hundreds of shares.
const SHARE_BYTES: u64 = 64 << 10;

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes that rows may take, counted exactly: 64 for a row, and its texts and body. The file is at most twice as large, when
    /// each message is a little larger than half a page of it.
    pub max_size: u64,
    /// The longest that a lazily appended message waits for its commit: the loss window of a power cut.
    pub commit_interval: Duration,
    /// Rows that every reader has passed are kept this long, as far as there is room. Zero: they may go at once.
    pub keep_delivered: Duration,
}

/// What was found when the log was opened.
#[derive(Debug, Default)]
pub struct Opening {
    /// Messages that were there.
    pub messages: u64,
    /// Set when the file was damaged.
    pub salvaged: Option<Salvage>,
}

/// When a commit starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for it: at once.
    Now,
    /// With the next one, at most `commit_interval` later.
    Lazy,
}

/// Counted since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages whose commit is on disk.
    pub appended: u64,
    /// Their bytes: texts and bodies.
    pub appended_bytes: u64,
    /// Commits; each is one flush.
    pub commits: u64,
    /// Messages settled as delivered, over all readers.
    pub settled: u64,
    /// Messages given up, over all readers.
    pub given_up: u64,
    /// Of them, those that had to go for want of room.
    pub evicted: u64,
    /// Commits for which the disk had no room at all.
    pub refused: u64,
    /// Messages leased, over all readers.
    pub leased: u64,
    /// Of them, leased once more after a session had ended without their fate: each may be a duplicate at the hub.
    pub leased_again: u64,
}

/// The log. Clones share it.
#[derive(Clone)]
pub struct Log {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    fetcher: Fetcher,
    max_size: u64,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

/// A place in the writer's queue, kept before something is read, so that what was read always finds room.
#[derive(Debug)]
pub struct Slot {
    permit: mpsc::OwnedPermit<Request>,
    shared: Arc<Shared>,
}

impl Slot {
    /// Hands messages over without waiting. The receipt is signed once they are on disk, and dropped if they never will be.
    pub fn append(self, messages: Vec<Message>, urgency: Urgency, receipt: Option<Receipt>) {
        let now = urgency == Urgency::Now;
        let requests = self.permit.send(Request::Append(Append { messages, now, receipt, ..Append::default() }));
        // Lazy ones are found when their commit is due, or when the queue is half full.
        if now || requests.capacity() < REQUESTS / 2 {
            self.shared.urgent.notify_one();
        }
    }
}

impl Log {
    /// Opens or creates `log.db` in the folder, migrates it, salvages it if it is damaged, and starts its threads. Blocks.
    pub fn open(dir: &Path, options: LogOptions, clock: Arc<dyn Clock>) -> Result<(Log, Opening), StoreError> {
        let shared = Arc::new(Shared {
            clock,
            tally: Tally::default(),
            hold: AtomicBool::new(true),
            time_floor: AtomicI64::new(0),
            heads: watch::Sender::new([0; 4]),
            urgent: Notify::new(),
            evictions: AtomicU64::new(0),
            failed: watch::Sender::new(None),
            readers: std::sync::Mutex::default(),
        });
        let (requests, queue) = mpsc::channel(REQUESTS);
        let max_size = options.max_size;
        let opening = Writer::start(dir, options, shared.clone(), queue)?;
        let fetcher = Fetcher::start(dir, shared.clone())?;
        Ok((Log { requests, shared, fetcher, max_size }, opening))
    }

    /// Waits for a place in the writer's queue.
    pub async fn reserve(&self) -> Result<Slot, StoreError> {
        let permit = self.requests.clone().reserve_owned().await.map_err(|_| self.why_closed())?;
        Ok(Slot { permit, shared: self.shared.clone() })
    }

    /// Appends and returns the first and the last seq once the messages are on disk.
    pub async fn append(&self, messages: Vec<Message>, urgency: Urgency) -> Result<(u64, u64), StoreError> {
        self.ask(|done| Request::Append(Append { messages, now: urgency == Urgency::Now, done: Some(done), ..Append::default() })).await
    }

    /// The reader of this name; a new one begins before the oldest message kept. One at a time.
    pub async fn reader(&self, name: &Name, options: ReaderOptions) -> Result<Reader, StoreError> {
        // A reader never has more in flight than an eighth of the room, so that making room always finds other rows.
        self.open_reader(name.to_string(), options, self.max_size / 8, Leaves::All).await
    }

    /// A leaf's own part of a reader, which gets that leaf's messages no longer: see [`Reader::leave_to_shares`]. A new share
    /// begins where the reader stands; open it while the reader is idle.
    pub async fn share(&self, reader: &Name, leaf: &LeafId, options: ReaderOptions) -> Result<Reader, StoreError> {
        self.open_reader(share::name(reader.as_str(), leaf.as_str()), options, SHARE_BYTES, Leaves::Only(leaf.clone())).await
    }

    async fn open_reader(&self, name: String, options: ReaderOptions, most_bytes: u64, leaves: Leaves) -> Result<Reader, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Open(name, reply)).await?;
        let shared = answer.await.map_err(|_| self.why_closed())??;
        let ends = Ends { log: self.shared.clone(), fetcher: self.fetcher.clone(), requests: self.requests.clone() };
        Ok(Reader::new(shared, ends, options, most_bytes, leaves))
    }

    /// Gives up a reader's place. Its rows no longer wait for it.
    pub async fn forget_reader(&self, name: &Name) -> Result<(), StoreError> {
        self.ask(|reply| Request::Forget(name.to_string(), reply)).await.map(drop)
    }

    /// Every share that has a place: its reader and its leaf.
    pub async fn shares(&self) -> Result<Vec<(Name, LeafId)>, StoreError> {
        let names = self.ask(Request::Readers).await?;
        let share = |name: &String| share::parts(name).and_then(|(reader, leaf)| Some((Name::new(reader).ok()?, LeafId::new(leaf).ok()?)));
        Ok(names.iter().filter_map(share).collect())
    }

    /// Gives up a share's place: from the next message on its leaf is its reader's again. Returns how many messages waited for it,
    /// which nobody gets.
    pub async fn forget_share(&self, reader: &Name, leaf: &LeafId) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Forget(share::name(reader.as_str(), leaf.as_str()), reply)).await
    }

    /// Every reader that has a place.
    pub async fn readers(&self) -> Result<Vec<Name>, StoreError> {
        let names = self.ask(Request::Readers).await?;
        Ok(names.into_iter().filter_map(|name| Name::new(name).ok()).collect())
    }

    /// The wall clock is right now: corrects every unsynced row of the stamp's boot. Returns how many.
    pub async fn correct_time(&self, trusted: Stamp) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Correct(trusted, reply)).await
    }

    /// While held (the initial state), rows with an unsynced time of this boot wait for [`Log::correct_time`] instead of being leased.
    pub fn hold_unsynced(&self, hold: bool) {
        self.shared.hold.store(hold, Release);
        self.shared.heads.send_modify(|_| {});
        self.shared.readers().values().for_each(|reader| reader.bell.notify_one());
    }

    /// The next place of the log, and a watch that changes when messages have been added.
    pub fn growth(&self) -> (u64, watch::Receiver<[u64; 4]>) {
        let heads = self.shared.heads.subscribe();
        let next = heads.borrow().iter().copied().max().unwrap_or(0);
        (next, heads)
    }

    /// The wall clock is not trusted and may still become so.
    pub fn waits_for_time(&self) -> bool {
        self.shared.waits_for_time(self.shared.clock.now())
    }

    /// The newest trusted wall time that the log has seen, across restarts.
    pub fn time_floor(&self) -> Option<Timestamp> {
        let floor = self.shared.time_floor.load(Acquire);
        (floor > 0).then_some(Timestamp(floor))
    }

    /// The commands on their way down, which are kept in the same file.
    pub fn inbox(&self) -> Inbox {
        Inbox::new(self.clone())
    }

    /// Since the process started.
    pub fn counters(&self) -> Counters {
        let tally = &self.shared.tally;
        Counters {
            appended: tally.appended.load(Relaxed),
            appended_bytes: tally.appended_bytes.load(Relaxed),
            commits: tally.commits.load(Relaxed),
            settled: tally.settled.load(Relaxed),
            given_up: tally.given_up.load(Relaxed),
            evicted: tally.evicted.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            leased: tally.leased.load(Relaxed),
            leased_again: tally.leased_again.load(Relaxed),
        }
    }

    /// What is kept, for whom.
    pub async fn status(&self) -> Result<Status, StoreError> {
        self.ask(Request::Status).await
    }

    /// The latest rows of the gap ledger, newest first.
    pub async fn gaps(&self, most: usize) -> Result<Vec<Gap>, StoreError> {
        self.ask(|reply| Request::Gaps(most, reply)).await
    }

    /// Resolves when the promise can no longer be kept in this process.
    pub async fn failed(&self) -> StoreError {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(StoreError::Closed),
            Err(_) => StoreError::Closed,
        }
    }

    /// Commits what is queued and settled, and closes the files. Other handles find the log closed.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.send(Request::Close(done)).await.is_ok() {
            // Err only if the writer is gone already.
            closed.await.ok();
        }
    }

    pub(crate) async fn send(&self, request: Request) -> Result<(), StoreError> {
        let lazy = matches!(&request, Request::Append(append) if !append.now);
        self.requests.send(request).await.map_err(|_| self.why_closed())?;
        if !lazy || self.requests.capacity() < REQUESTS / 2 {
            self.shared.urgent.notify_one();
        }
        Ok(())
    }

    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply)).await?;
        answer.await.map_err(|_| self.why_closed())?
    }

    pub(crate) fn why_closed(&self) -> StoreError {
        self.shared.failed.borrow().clone().unwrap_or(StoreError::Closed)
    }
}
