//! Leasing: which rows come next, fetched without waiting twice, and what is skipped on the way.

use std::sync::{
    Arc,
    atomic::Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::time::Duration;

use tidegate_core::{
    clock::{Stamp, TimeQuality, Timestamp},
    id::LeafId,
    message::{Class, Message},
};
use tokio::sync::oneshot;

use super::{BYTES, GAP, LOOK, Leased, Pending, Reader, SHARED_ROWS, ticket};
use crate::{
    Replay, StoreError,
    cursor::{Cursor, Entry, State},
    fetch::{Batch, Want},
    gap::{self, GapReason, UNKNOWN_LEAF},
    request::Request,
    row::Found,
    share::Leaves,
};

/// Seqs that a share looks through in one go.
const SPAN: u64 = 20_000;

impl Reader {
    /// Whatever comes first: gaps, then classes from the highest. Waits for one thing only, and takes it without waiting
    /// again, so that a lease that is dropped has taken nothing.
    pub(super) async fn try_lease(&mut self, room: usize) -> Result<Vec<Leased>, StoreError> {
        if self.pending.is_some() {
            return self.lease_pending().await;
        }
        if self.pending_gaps.is_some() || (self.shared.gaps.load(Acquire) && self.looked.is_none_or(|at| at.elapsed() >= LOOK)) {
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
            self.log.urgent.notify_one();
            self.pending_gaps = Some(answer);
        }
        let Some(answer) = &mut self.pending_gaps else { return Ok(Vec::new()) };
        let answered = answer.await.map_err(|_| StoreError::Closed);
        (self.pending_gaps, self.looked) = (None, Some(tokio::time::Instant::now()));
        let (gaps, more) = answered??;
        let fresh: Vec<_> = gaps.into_iter().filter(|gap| !self.gaps.contains(&gap.id)).collect();
        self.shared.gaps.store(more || fresh.len() > room, Release);
        if fresh.len() > room {
            self.looked = None;
        }
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
        // A share looks through what is not its own: a bounded part of it at a time, so that others are served in between.
        let look = if matches!(self.leaves, Leaves::Only(_)) { SPAN } else { u64::MAX };
        let (from, end) = match again {
            Some(seq) => (seq, seq + 1),
            None => (cursor.next, cursor.end.min(cursor.next.saturating_add(look))),
        };
        let want = Want { class, from, end, rows: if again.is_some() { 1 } else { rows }, bytes, leaves: self.leaves.clone() };
        let (evictions, hold) = (self.log.evictions.load(SeqCst), self.log.hold.load(Acquire));
        let answer = self.fetcher.fetch(want).await?;
        self.pending = Some(Pending { class, at, again, head, end, evictions, hold, answer });
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
        let leased = match pending.again {
            Some(seq) => self.take_again(class, pending.at, seq, found.rows),
            None => self.take(class, pending.at, found, (pending.head, pending.end), pending.hold),
        };
        let mut standing = standing;
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
            Some(Found::Damaged { .. }) => {
                entry.state = State::GivenUp(GapReason::Corrupt);
                Vec::new()
            }
            None => {
                entry.state = State::Gone;
                Vec::new()
            }
        }
    }

    /// `head` was committed, `end` asked for, and `hold` the case before we looked.
    fn take(&mut self, class: Class, at: usize, found: Batch, (head, end): (u64, u64), hold: bool) -> Vec<Leased> {
        let now = self.log.clock.now();
        let (mut leased, mut held) = (Vec::with_capacity(found.rows.len()), false);
        for row in found.rows {
            let (entry, message) = match row {
                Found::Damaged { seq } => (damaged(seq), None),
                Found::Message { message, .. } if hold && is_held(&message, now) => {
                    held = true;
                    break;
                }
                Found::Message { seq, message, size, .. } => {
                    let late = expired(&message, self.options.ttl, now);
                    let state = if late { State::GivenUp(GapReason::Ttl) } else { State::Out };
                    (Entry { seq, size, leaf: message.leaf.clone(), wall: message.taken.wall, state }, Some(message))
                }
            };
            let cursor = &mut self.lanes[class as usize][at];
            cursor.next = entry.seq + 1;
            if let Some(message) = message.filter(|_| entry.state == State::Out) {
                self.bytes_out += entry.size;
                leased.push(Leased { ticket: ticket(class, entry.seq), message: Arc::new(*message) });
            }
            cursor.leased.push_back(entry);
        }
        let cursor = &mut self.lanes[class as usize][at];
        if !held {
            cursor.next = cursor.next.max(found.reached);
        }
        if found.all && !held && leased.is_empty() {
            // No row of this class lies between here and the head that was committed before we looked.
            cursor.next = cursor.next.max(head.min(end));
        }
        if leased.is_empty() && !held && cursor.next < head.min(cursor.end) {
            // Only others' rows so far: look on.
            self.shared.bell.notify_one();
        }
        if held && !self.log.hold.load(Acquire) {
            // The time became known while we looked: look again, at times that are right.
            self.shared.bell.notify_one();
        }
        let is_live = at + 1 == self.lanes[class as usize].len();
        let share = if is_live { &mut self.shares.0 } else { &mut self.shares.1 };
        *share += leased.len() as u64;
        leased
    }
}

/// A row that does not say what it was.
fn damaged(seq: u64) -> Entry {
    let leaf = LeafId::new(UNKNOWN_LEAF).expect("a valid id, as its own test says");
    Entry { seq, size: 0, leaf, wall: Timestamp(0), state: State::GivenUp(GapReason::Corrupt) }
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
