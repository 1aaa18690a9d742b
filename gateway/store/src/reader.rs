//! A named cursor over the log: leases messages, is told their fates, and never runs further ahead of the disk than its window.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
    time::Duration,
};

use tidegate_core::{
    clock::{Stamp, TimeQuality},
    id::LeafId,
    message::{Class, Message},
    upstream::Fate,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Replay, StoreError,
    cursor::{Cursor, Entry, State, split_off_live},
    fetch::{Fetcher, Want},
    gap::{self, GapReason, Loss, UNKNOWN_LEAF},
    request::{ReaderShared, Request, Shared, Standing},
    row::Found,
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
}

/// Gaps to tell of, and whether there may be more.
type Gaps = Result<(Vec<crate::Gap>, bool), StoreError>;

/// A fetch that has been asked for.
#[derive(Debug)]
struct Pending {
    class: Class,
    at: usize,
    rows: usize,
    again: Option<u64>,
    head: u64,
    evictions: u64,
    answer: oneshot::Receiver<Result<Vec<Found>, StoreError>>,
}

/// The parts of the log that a reader works with.
pub(crate) struct Ends {
    pub(crate) log: Arc<Shared>,
    pub(crate) fetcher: Fetcher,
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Reader {
    /// `most_bytes` bounds what is in flight.
    pub(crate) fn new(shared: Arc<ReaderShared>, ends: Ends, options: ReaderOptions, most_bytes: u64) -> Self {
        let lanes = shared.standing().spans.each_ref().map(|spans| spans.iter().map(Cursor::from).collect());
        Self {
            heads: ends.log.heads.subscribe(),
            shared,
            log: ends.log,
            fetcher: ends.fetcher,
            requests: ends.requests,
            options,
            most_bytes: most_bytes.max(1),
            lanes,
            bytes_out: 0,
            passed: 0,
            asked: 0,
            asked_now: 0,
            gaps: BTreeSet::new(),
            shares: (0, 0),
            pending: None,
            pending_gaps: None,
        }
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
        (self.pending, self.pending_gaps) = (None, None);
        self.gaps.clear();
        self.shared.gaps.store(true, Release);
        self.publish();
    }

    /// At least one message, at most `most`. May be dropped while it waits: nothing is lost by it.
    pub async fn lease(&mut self, most: usize) -> Result<Vec<Leased>, StoreError> {
        let mut failed = self.log.failed.subscribe();
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
            let look = self.shared.gaps.load(Acquire);
            tokio::select! {
                changed = self.heads.changed() => changed.map_err(|_| StoreError::Closed)?,
                () = self.shared.bell.notified() => {}
                _ = failed.wait_for(Option::is_some) => {}
                () = tokio::time::sleep(LOOK), if look => {}
            }
        }
    }

    /// What became of a leased message. Cheap; on disk with a later commit. A ticket of an earlier session is passed over.
    pub fn settle(&mut self, ticket: u64, fate: Fate) {
        if ticket & GAP != 0 {
            return self.settle_gap((ticket & !GAP) as i64, &fate);
        }
        let (class, seq) = ((ticket >> CLASS_SHIFT) as usize, ticket & ((1 << CLASS_SHIFT) - 1));
        let Some(lane) = self.lanes.get_mut(class) else { return };
        let Some(entry) = lane.iter_mut().find_map(|cursor| cursor.find(seq)) else { return };
        if entry.state != State::Out {
            return;
        }
        entry.state = match fate {
            Fate::Delivered => State::Delivered,
            Fate::Retry => State::Again,
            Fate::Rejected(_) => State::GivenUp,
        };
        let rejected = (entry.state == State::GivenUp).then(|| self.shared.loss(class, entry, GapReason::Rejected));
        self.bytes_out = self.bytes_out.saturating_sub(entry.size);
        if let Some(loss) = rejected {
            gap::push(&mut self.shared.standing().losses, loss);
        }
        self.pass(class);
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

    /// Whatever comes first: gaps, then classes from the highest. Waits for one thing only, and takes it without waiting
    /// again, so that a lease that is dropped has taken nothing.
    async fn try_lease(&mut self, room: usize) -> Result<Vec<Leased>, StoreError> {
        if self.pending.is_some() {
            return self.lease_pending().await;
        }
        if self.shared.gaps.load(Acquire) {
            let gaps = self.lease_gaps(room).await?;
            if !gaps.is_empty() {
                return Ok(gaps);
            }
        }
        for class in Class::ALL.into_iter().rev() {
            for (at, rows) in self.order(class, room) {
                self.ask(class, at, rows).await?;
                let leased = self.lease_pending().await?;
                if !leased.is_empty() {
                    return Ok(leased);
                }
            }
        }
        Ok(Vec::new())
    }

    async fn lease_gaps(&mut self, room: usize) -> Result<Vec<Leased>, StoreError> {
        if self.pending_gaps.is_none() {
            let (reply, answer) = oneshot::channel();
            self.requests.send(Request::TakeGaps(self.shared.name.clone(), reply)).await.map_err(|_| StoreError::Closed)?;
            self.pending_gaps = Some(answer);
        }
        let Some(answer) = &mut self.pending_gaps else { return Ok(Vec::new()) };
        let answered = answer.await.map_err(|_| StoreError::Closed);
        self.pending_gaps = None;
        let (gaps, more) = answered??;
        let fresh: Vec<_> = gaps.into_iter().filter(|gap| !self.gaps.contains(&gap.id)).collect();
        self.shared.gaps.store(more || fresh.len() > room, Release);
        let now = self.log.clock.now();
        let lease = |gap: crate::Gap| Leased { ticket: GAP | gap.id as u64, message: Arc::new(gap::message(&gap, now)) };
        let leased: Vec<Leased> = fresh.into_iter().take(room).map(lease).collect();
        self.gaps.extend(leased.iter().map(|leased| (leased.ticket & !GAP) as i64));
        Ok(leased)
    }

    /// Which spans of the class to try, in which order, and for how many rows.
    fn order(&self, class: Class, room: usize) -> Vec<(usize, usize)> {
        let (lane, head) = (&self.lanes[class as usize], self.heads.borrow()[class as usize]);
        let again = |c: &Cursor| c.leased.iter().any(|e| e.state == State::Again);
        let with_rows: Vec<usize> = (0..lane.len()).filter(|&at| lane[at].next < head.min(lane[at].end) || again(&lane[at])).collect();
        let (Replay::LiveFirst { backfill_percent }, [first, .., live]) = (self.options.replay, &with_rows[..]) else {
            return with_rows.into_iter().map(|at| (at, room)).collect();
        };
        let (live_sent, backlog_sent) = self.shares;
        let backlog_turn = backlog_sent * 100 < u64::from(backfill_percent) * (live_sent + backlog_sent);
        let (one, other) = if backlog_turn { (*first, *live) } else { (*live, *first) };
        vec![(one, room.min(SHARED_ROWS)), (other, room.min(SHARED_ROWS))]
    }

    async fn ask(&mut self, class: Class, at: usize, rows: usize) -> Result<(), StoreError> {
        let head = self.heads.borrow()[class as usize];
        let cursor = &self.lanes[class as usize][at];
        let again = cursor.leased.iter().find(|entry| entry.state == State::Again).map(|entry| entry.seq);
        let bytes = BYTES.min(self.most_bytes.saturating_sub(self.bytes_out));
        let want = match again {
            Some(seq) => Want { class, from: seq, end: seq + 1, rows: 1, bytes },
            None => Want { class, from: cursor.next, end: cursor.end, rows, bytes },
        };
        let evictions = self.log.evictions.load(SeqCst);
        let answer = self.fetcher.fetch(want).await?;
        self.pending = Some(Pending { class, at, rows, again, head, evictions, answer });
        Ok(())
    }

    async fn lease_pending(&mut self) -> Result<Vec<Leased>, StoreError> {
        let Some(pending) = &mut self.pending else { return Ok(Vec::new()) };
        let found = (&mut pending.answer).await.map_err(|_| StoreError::Closed);
        // From here on nothing is waited for.
        let Some(pending) = self.pending.take() else { return Ok(Vec::new()) };
        let (found, class) = (found??, pending.class);
        let shared = self.shared.clone();
        let standing = shared.standing();
        let evictions = self.log.evictions.load(SeqCst);
        if !evictions.is_multiple_of(2) || evictions != pending.evictions {
            // Rows may have been given up while we looked at them: look again.
            drop(standing);
            self.shared.bell.notify_one();
            return Ok(Vec::new());
        }
        let (leased, losses) = match pending.again {
            Some(seq) => (self.take_again(class, pending.at, seq, found), Vec::new()),
            None => self.take(class, pending.at, found, pending.head, pending.rows),
        };
        let mut standing = standing;
        losses.into_iter().for_each(|loss| gap::push(&mut standing.losses, loss));
        self.show_leased(&mut standing);
        drop(standing);
        self.pass(class as usize);
        Ok(leased)
    }

    /// One row once more. If it is gone it was given up meanwhile, and the ledger has it.
    fn take_again(&mut self, class: Class, at: usize, seq: u64, found: Vec<Found>) -> Vec<Leased> {
        let Some(entry) = self.lanes[class as usize][at].find(seq) else { return Vec::new() };
        match found.into_iter().next() {
            Some(Found::Message { message, .. }) => {
                entry.state = State::Out;
                self.bytes_out += entry.size;
                self.log.tally.leased_again.fetch_add(1, Relaxed);
                vec![Leased { ticket: ticket(class, seq), message: Arc::new(*message) }]
            }
            _ => {
                entry.state = State::GivenUp;
                Vec::new()
            }
        }
    }

    fn take(&mut self, class: Class, at: usize, found: Vec<Found>, head: u64, asked: usize) -> (Vec<Leased>, Vec<Loss>) {
        let now = self.log.clock.now();
        let hold = self.log.hold.load(Acquire);
        let (mut leased, mut losses, mut held) = (Vec::with_capacity(found.len()), Vec::new(), false);
        let all = found.len() < asked;
        for row in found {
            let (entry, message) = match row {
                Found::Damaged { seq } => (damaged(seq), None),
                Found::Message { message, .. } if hold && is_held(&message, now) => {
                    held = true;
                    break;
                }
                Found::Message { seq, message, size } => {
                    let state = if expired(&message, self.options.ttl, now) { State::GivenUp } else { State::Out };
                    (Entry { seq, size, leaf: message.leaf.clone(), wall: message.taken.wall, state }, Some(message))
                }
            };
            let cursor = &mut self.lanes[class as usize][at];
            cursor.next = entry.seq + 1;
            match message {
                Some(message) if entry.state == State::Out => {
                    self.bytes_out += entry.size;
                    leased.push(Leased { ticket: ticket(class, entry.seq), message: Arc::new(*message) });
                }
                Some(_) => losses.push(self.shared.loss(class as usize, &entry, GapReason::Ttl)),
                None => losses.push(self.shared.loss(class as usize, &entry, GapReason::Corrupt)),
            }
            cursor.leased.push_back(entry);
        }
        let cursor = &mut self.lanes[class as usize][at];
        let bytes_left = self.bytes_out < self.most_bytes;
        if all && !held && leased.is_empty() && bytes_left {
            // No row of this class lies between here and the head that was committed before we looked.
            cursor.next = cursor.next.max(head.min(cursor.end));
        }
        let is_live = at + 1 == self.lanes[class as usize].len();
        let share = if is_live { &mut self.shares.0 } else { &mut self.shares.1 };
        *share += leased.len() as u64;
        (leased, losses)
    }

    /// Moves on over what is settled, and has it written down.
    fn pass(&mut self, class: usize) {
        let (mut rows, mut delivered) = (0, 0);
        for cursor in &mut self.lanes[class] {
            let (r, d) = cursor.pass();
            rows += r;
            delivered += d;
        }
        self.passed += rows;
        {
            let mut standing = self.shared.standing();
            standing.passed.rows[class] += rows;
            standing.passed.delivered += delivered;
        }
        self.publish();
        self.ask_for_a_commit();
    }

    /// Shows the writer where we stand.
    fn publish(&self) {
        let mut standing = self.shared.standing();
        // Spans that are done stay in memory until the next session, so that their places in the list hold; nobody else needs them.
        let open = |lane: &Vec<Cursor>| lane.iter().filter(|cursor| !cursor.is_done()).map(Cursor::span).collect::<Vec<_>>();
        let spans = self.lanes.each_ref().map(open);
        if spans != standing.spans || standing.passed != standing.committed || !standing.losses.is_empty() {
            standing.spans = spans;
            standing.version += 1;
        }
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

/// A row that does not say what it was.
fn damaged(seq: u64) -> Entry {
    let leaf = LeafId::new(UNKNOWN_LEAF).expect("a valid id, as its own test says");
    Entry { seq, size: 0, leaf, wall: tidegate_core::clock::Timestamp(0), state: State::GivenUp }
}

/// Its time may still be corrected.
fn is_held(message: &Message, now: Stamp) -> bool {
    message.taken.quality == TimeQuality::Unsynced && message.taken.boot == now.boot
}

/// Within a boot by the time that never jumps; across boots by the wall clock, if both ends are to be believed.
fn expired(message: &Message, route: Option<Duration>, now: Stamp) -> bool {
    let Some(ttl) = [message.ttl, route].into_iter().flatten().min() else { return false };
    let taken = message.taken;
    let age = if taken.boot == now.boot {
        Duration::from_millis(now.since_boot_ms.saturating_sub(taken.since_boot_ms))
    } else if taken.quality == TimeQuality::Synced && now.quality == TimeQuality::Synced {
        now.wall.since(taken.wall)
    } else {
        return false;
    };
    age >= ttl
}
