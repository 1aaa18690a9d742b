//! A named cursor over the log: leases messages, is told their fates, and never runs further ahead of the disk than its window.

mod lease;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, MutexGuard,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use tidegate_core::{
    id::LeafId,
    message::{Class, Message},
    upstream::Fate,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Replay, StoreError,
    cursor::{Cursor, Entry, State, split_off_live},
    fetch::{Batch, Fetcher},
    gap::{self, GapReason, Loss},
    request::{ReaderShared, Request, Shared, Standing},
    share::Leaves,
};

/// How a reader reads.
#[derive(Debug, Clone, Copy)]
pub struct ReaderOptions {
    /// Messages that it may be ahead of what is durably settled: the most that is sent twice after a crash.
    pub window: usize,
    /// In which order it gets a backlog.
    pub replay: Replay,
    /// How long its messages are worth sending, beside what each says itself.
    pub ttl: Option<Duration>,
}

/// A message to send, and the ticket by which its fate is to be told.
#[derive(Debug, Clone)]
pub struct Leased {
    /// For [`Reader::settle`].
    pub ticket: u64,
    /// What to send.
    pub message: Arc<Message>,
}

/// Rows of one lease.
const ROWS: usize = 512;
/// Bytes of one lease.
const BYTES: u64 = 1 << 20;
/// Rows of one lease while live messages and a backlog share the way, so that neither waits long for the other.
const SHARED_ROWS: usize = 64;
/// How often a reader looks for gaps to report when nothing else happens.
const LOOK: Duration = Duration::from_secs(1);
/// Tickets of gaps have this bit; those of rows have their class above their seq.
const GAP: u64 = 1 << 63;
const CLASS_SHIFT: u32 = 60;

/// Owned by the one who sends.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<ReaderShared>,
    log: Arc<Shared>,
    fetcher: Fetcher,
    requests: mpsc::Sender<Request>,
    heads: watch::Receiver<[u64; 4]>,
    options: ReaderOptions,
    most_bytes: u64,
    leaves: Leaves,
    lanes: [Vec<Cursor>; 4],
    /// Bytes of rows whose fate is open.
    bytes_out: u64,
    /// Passed since it was opened, and for how much of that a commit has been asked: soon, or at once.
    passed: u64,
    asked: u64,
    asked_now: u64,
    /// Gaps leased in this session, by their place in the ledger.
    gaps: BTreeSet<i64>,
    /// Live and backlog rows leased in this session.
    shares: (u64, u64),
    /// Rows on their way to us. Kept here, so that a lease that is dropped while it waits does not ask twice.
    pending: Option<Pending>,
    /// Likewise gaps.
    pending_gaps: Option<oneshot::Receiver<Gaps>>,
    /// When it last asked for gaps. `None`: again with the next lease.
    looked: Option<tokio::time::Instant>,
}

/// Gaps to tell of, and whether there may be more.
type Gaps = Result<(Vec<crate::Gap>, bool), StoreError>;

/// A fetch that has been asked for.
#[derive(Debug)]
struct Pending {
    class: Class,
    at: usize,
    again: Option<u64>,
    head: u64,
    /// Where what was asked for ends.
    end: u64,
    evictions: u64,
    /// Whether rows with an unsynced time were held before we looked: those that we find may have been corrected since.
    hold: bool,
    answer: oneshot::Receiver<Result<Batch, StoreError>>,
}

/// The parts of the log that a reader works with.
pub(crate) struct Ends {
    pub(crate) log: Arc<Shared>,
    pub(crate) fetcher: Fetcher,
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Reader {
    /// `most_bytes` bounds what is in flight.
    pub(crate) fn new(shared: Arc<ReaderShared>, ends: Ends, options: ReaderOptions, most_bytes: u64, leaves: Leaves) -> Self {
        let lanes = shared.standing().spans.each_ref().map(|spans| spans.iter().map(Cursor::from).collect());
        Self {
            heads: ends.log.heads.subscribe(),
            shared,
            log: ends.log,
            fetcher: ends.fetcher,
            requests: ends.requests,
            options,
            most_bytes: most_bytes.max(1),
            leaves,
            lanes,
            bytes_out: 0,
            passed: 0,
            asked: 0,
            asked_now: 0,
            gaps: BTreeSet::new(),
            shares: (0, 0),
            pending: None,
            pending_gaps: None,
            looked: None,
        }
    }

    /// These leaves have shares ([`crate::Log::share`]): their messages are passed over from the next session on.
    pub fn leave_to_shares(&mut self, leaves: Arc<BTreeSet<LeafId>>) {
        self.leaves = if leaves.is_empty() { Leaves::All } else { Leaves::Except(leaves) };
    }

    /// A new session begins: what is leased and has no fate is available again. With [`Replay::LiveFirst`], what is in the
    /// log now becomes backlog and what comes is live.
    pub fn begin(&mut self) {
        let heads = *self.heads.borrow_and_update();
        let out = |cursor: &Cursor| cursor.leased.iter().filter(|entry| entry.state == State::Out).count();
        let again: usize = self.lanes.iter().flatten().map(out).sum();
        self.log.tally.leased_again.fetch_add(again as u64, Relaxed);
        for (class, lane) in self.lanes.iter_mut().enumerate() {
            lane.iter_mut().for_each(Cursor::rewind);
            lane.retain(|cursor| !cursor.is_done());
            if matches!(self.options.replay, Replay::LiveFirst { .. }) {
                split_off_live(lane, heads[class]);
            }
        }
        (self.bytes_out, self.shares) = (0, (0, 0));
        (self.pending, self.pending_gaps, self.looked) = (None, None, None);
        self.gaps.clear();
        self.shared.gaps.store(true, Release);
        self.publish();
    }

    /// At least one message, at most `most`. May be dropped while it waits: nothing is lost by it.
    pub async fn lease(&mut self, most: usize) -> Result<Vec<Leased>, StoreError> {
        let mut failed = self.log.failed.subscribe();
        let is_share = matches!(self.leaves, Leaves::Only(_));
        loop {
            if let Some(error) = failed.borrow().clone() {
                return Err(error);
            }
            self.heads.borrow_and_update();
            let room = self.room().min(most);
            if room > 0 {
                let leased = self.try_lease(room).await?;
                if !leased.is_empty() {
                    self.log.tally.leased.fetch_add(leased.len() as u64, Relaxed);
                    return Ok(leased);
                }
            }
            // What was asked for before may have been answered by a commit that had begun already.
            self.ask_for_a_commit();
            let look = self.shared.gaps.load(Acquire);
            tokio::select! {
                // A share is rung when there is something for it.
                changed = self.heads.changed(), if !is_share => changed.map_err(|_| StoreError::Closed)?,
                () = self.shared.bell.notified() => {}
                _ = failed.wait_for(Option::is_some) => {}
                () = tokio::time::sleep(LOOK), if look => {}
            }
        }
    }

    /// What became of a leased message. Cheap; on disk with a later commit. A ticket of an earlier session is passed over.
    pub fn settle(&mut self, ticket: u64, fate: Fate) {
        self.settle_all([(ticket, fate)]);
    }

    /// As [`Reader::settle`], for what a hub has acknowledged together.
    pub fn settle_all(&mut self, fates: impl IntoIterator<Item = (u64, Fate)>) {
        let mut touched = [false; 4];
        for (ticket, fate) in fates {
            if ticket & GAP != 0 {
                self.settle_gap((ticket & !GAP) as i64, &fate);
            } else if let Some(class) = self.note(ticket, &fate) {
                touched[class] = true;
            }
        }
        (0..touched.len()).filter(|&class| touched[class]).for_each(|class| self.pass(class));
    }

    /// Notes a fate; returns the class if it was open.
    fn note(&mut self, ticket: u64, fate: &Fate) -> Option<usize> {
        let (class, seq) = ((ticket >> CLASS_SHIFT) as usize, ticket & ((1 << CLASS_SHIFT) - 1));
        let entry = self.lanes.get_mut(class)?.iter_mut().find_map(|cursor| cursor.find(seq))?;
        if entry.state != State::Out {
            return None;
        }
        entry.state = match fate {
            Fate::Delivered => State::Delivered,
            Fate::Retry => State::Again,
            Fate::Rejected(_) => State::GivenUp(GapReason::Rejected),
        };
        self.bytes_out = self.bytes_out.saturating_sub(entry.size);
        Some(class)
    }

    fn settle_gap(&mut self, id: i64, fate: &Fate) {
        if !self.gaps.remove(&id) {
            return;
        }
        match fate {
            Fate::Retry => self.shared.gaps.store(true, Release),
            // A full queue means that the hub is told once more, under the same id.
            Fate::Delivered | Fate::Rejected(_) => drop(self.requests.try_send(Request::Told(id))),
        }
    }

    /// Messages leased whose settling is not on disk: what a crash now would send twice, at most the window.
    pub fn unsettled(&self) -> usize {
        let leased: usize = self.lanes.iter().flatten().map(|cursor| cursor.leased.len()).sum();
        let behind = self.passed - self.shared.durable.load(Acquire);
        leased + usize::try_from(behind).unwrap_or(usize::MAX)
    }

    fn room(&self) -> usize {
        if self.bytes_out >= self.most_bytes { 0 } else { self.options.window.saturating_sub(self.unsettled()).min(ROWS) }
    }

    /// Moves on over what is settled, and has it written down.
    fn pass(&mut self, class: usize) {
        let passed: Vec<Entry> = self.lanes[class].iter_mut().flat_map(Cursor::pass).collect();
        self.passed += passed.len() as u64;
        // One lock for all of it: a commit that has the place has the losses below it too.
        let mut standing = self.shared.standing();
        standing.passed.rows[class] += passed.len() as u64;
        for entry in &passed {
            match entry.state {
                State::Delivered => standing.passed.delivered += 1,
                State::GivenUp(reason) => gap::push(&mut standing.losses, self.shared.loss(class, entry, reason)),
                State::Out | State::Again | State::Gone => {}
            }
        }
        self.publish_in(standing);
        self.ask_for_a_commit();
    }

    /// Shows the writer where we stand.
    fn publish(&self) {
        self.publish_in(self.shared.standing());
    }

    fn publish_in(&self, mut standing: MutexGuard<'_, Standing>) {
        let mut moved = standing.passed != standing.committed || !standing.losses.is_empty();
        for (lane, shown) in self.lanes.iter().zip(&mut standing.spans) {
            // Spans that are done stay in memory until the next session, so that their places in the list hold; nobody else needs them.
            let open = lane.iter().filter(|cursor| !cursor.is_done()).map(Cursor::span);
            if !open.clone().eq(shown.iter().copied()) {
                shown.clear();
                shown.extend(open);
                moved = true;
            }
        }
        standing.version += u64::from(moved);
        self.show_leased(&mut standing);
    }

    fn show_leased(&self, standing: &mut Standing) {
        standing.leased.clear();
        for (class, lane) in self.lanes.iter().enumerate() {
            standing.leased.extend(lane.iter().filter_map(Cursor::reach).map(|(first, last)| (class, first, last)));
        }
    }

    /// Soon once something is passed; at once when half the window is. One request is enough until its commit.
    fn ask_for_a_commit(&mut self) {
        let durable = self.shared.durable.load(Acquire);
        let behind = self.passed - durable;
        let now = behind * 2 >= self.options.window as u64;
        let asked = if now { &mut self.asked_now } else { &mut self.asked };
        // A full queue means that a commit is coming anyway.
        if behind > 0 && *asked <= durable && self.requests.try_send(Request::Settled { now }).is_ok() {
            *asked = self.passed;
            if now {
                self.log.urgent.notify_one();
            }
        }
    }
}

impl ReaderShared {
    fn loss(&self, class: usize, entry: &Entry, reason: GapReason) -> Loss {
        Loss {
            reader: self.name.clone(),
            leaf: entry.leaf.clone(),
            class: Class::from_index(class).unwrap_or_default(),
            reason,
            count: 1,
            seqs: (entry.seq, entry.seq),
            times: (entry.wall, entry.wall),
        }
    }
}

fn ticket(class: Class, seq: u64) -> u64 {
    (class as u64) << CLASS_SHIFT | seq
}
