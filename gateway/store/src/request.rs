//! What the writer is asked, and what it shares with everybody else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Acquire},
    },
};

use tidegate_core::{
    adapter::Receipt,
    clock::{Clock, Stamp, TimeQuality},
    message::Message,
};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    StoreError,
    gap::{Gap, Loss},
    inbox,
    place::{Place, Span},
    status::Status,
};

/// Requests that wait for the writer. Each adapter keeps one place while it waits for its bus, so there are far more places
/// than adapters; beyond them the bus waits.
pub(crate) const REQUESTS: usize = 1024;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Messages that belong into one commit.
#[derive(Default)]
pub(crate) struct Append {
    pub(crate) messages: Vec<Message>,
    pub(crate) now: bool,
    pub(crate) receipt: Option<Receipt>,
    pub(crate) done: Option<Reply<(u64, u64)>>,
    /// What the same transaction does to the inbox, and its line in the audit.
    pub(crate) inbox: Option<Box<inbox::Work>>,
    pub(crate) told: Option<Reply<inbox::Answer>>,
}

pub(crate) enum Request {
    Append(Append),
    /// A reader has settled something; at once when half its window is used.
    Settled {
        now: bool,
    },
    Open(String, oneshot::Sender<Result<Arc<ReaderShared>, StoreError>>),
    /// Returns how many rows waited for it.
    Forget(String, Reply<u64>),
    Readers(Reply<Vec<String>>),
    TakeGaps(String, Reply<(Vec<Gap>, bool)>),
    Told(i64),
    Correct(Stamp, Reply<u64>),
    Status(Reply<Status>),
    Gaps(usize, Reply<Vec<Gap>>),
    /// A question of the inbox.
    Look(inbox::Look),
    Close(oneshot::Sender<()>),
}

impl Request {
    /// Nothing that waits for a commit matters to it.
    pub(crate) fn only_asks(&self) -> bool {
        matches!(
            self,
            Request::Readers(_) | Request::TakeGaps(..) | Request::Told(_) | Request::Status(_) | Request::Gaps(..) | Request::Look(_)
        )
    }
}

/// Counted since the process started; see [`crate::Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) appended: AtomicU64,
    pub(crate) appended_bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) settled: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) leased: AtomicU64,
    pub(crate) leased_again: AtomicU64,
}

/// Shared by the handle, the threads and the readers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tally: Tally,
    /// Rows with an unsynced time of this boot are not leased.
    pub(crate) hold: AtomicBool,
    /// Newest trusted wall time seen; 0 for none.
    pub(crate) time_floor: AtomicI64,
    /// The highest committed seq of each class; changes with each commit that adds rows.
    pub(crate) heads: watch::Sender<[u64; 4]>,
    /// Rung when the writer is to look into its queue before the group that it gathers is due. What is lazy does not ring: waking a
    /// thread for each reading costs more than the reading.
    pub(crate) urgent: Notify,
    /// Odd while rows are being given up for want of room, and one higher afterwards: a lease that overlapped is repeated.
    pub(crate) evictions: AtomicU64,
    /// Set once, when the promise can no longer be kept.
    pub(crate) failed: watch::Sender<Option<StoreError>>,
    pub(crate) readers: Mutex<BTreeMap<String, Arc<ReaderShared>>>,
}

impl Shared {
    pub(crate) fn readers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ReaderShared>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock is not trusted and may still become so.
    pub(crate) fn waits_for_time(&self, now: Stamp) -> bool {
        self.hold.load(Acquire) && now.quality == TimeQuality::Unsynced
    }

    pub(crate) fn fail(&self, error: StoreError) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(error);
            first
        });
    }
}

/// What a reader and the writer tell each other.
#[derive(Debug)]
pub(crate) struct ReaderShared {
    pub(crate) name: String,
    pub(crate) now: Mutex<Standing>,
    /// Rows of which the settling is on disk, counted since this reader was opened.
    pub(crate) durable: AtomicU64,
    /// Rung when `durable` has grown, or the gap ledger has something for this reader.
    pub(crate) bell: Notify,
    /// The ledger has something for this reader.
    pub(crate) gaps: AtomicBool,
}

/// Where a reader stands in memory. The writer takes it along with each commit.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Rises with each change.
    pub(crate) version: u64,
    /// The version that is on disk.
    pub(crate) committed_version: u64,
    /// As in [`Place`], moved on by what has been settled.
    pub(crate) spans: [Vec<Span>; 4],
    /// What has been passed since this reader was opened, and how much of it is on disk.
    pub(crate) passed: Passed,
    pub(crate) committed: Passed,
    /// What the reader gave up: expired, damaged, rejected.
    pub(crate) losses: Vec<Loss>,
    /// Leased and not settled: these rows are not given up for want of room. Class, first and last seq, per span.
    pub(crate) leased: Vec<(usize, u64, u64)>,
}

/// Rows settled, none before them being outstanding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) rows: [u64; 4],
    /// Of them, delivered.
    pub(crate) delivered: u64,
}

impl ReaderShared {
    pub(crate) fn new(name: &str, place: &Place) -> Self {
        let spans = place.lanes.clone().map(|lane| lane.spans);
        Self {
            name: name.to_owned(),
            now: Mutex::new(Standing { spans, version: 1, ..Standing::default() }),
            durable: AtomicU64::new(0),
            bell: Notify::new(),
            gaps: AtomicBool::new(true),
        }
    }

    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
