//! One span of a class as a reader works through it. No I/O and no time: only seqs and what became of them.

use std::collections::VecDeque;

use tidegate_core::{clock::Timestamp, id::LeafId};

use crate::{
    gap::GapReason,
    place::{MOST_SPANS, OPEN, Span},
};

/// A span being worked through: `low()..next` is leased or settled, `next..end` is not leased.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) next: u64,
    pub(crate) end: u64,
    pub(crate) leased: VecDeque<Entry>,
}

/// A row that was leased.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) size: u64,
    pub(crate) leaf: LeafId,
    pub(crate) wall: Timestamp,
    pub(crate) state: State,
}

/// What is known of a leased row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Its fate is open.
    Out,
    /// To be leased again.
    Again,
    /// The hub has it.
    Delivered,
    /// To be counted in the gap ledger when it is passed.
    GivenUp(GapReason),
    /// No longer there, and counted already.
    Gone,
}

impl State {
    fn is_settled(self) -> bool {
        matches!(self, State::Delivered | State::GivenUp(_) | State::Gone)
    }
}

impl From<&Span> for Cursor {
    fn from(span: &Span) -> Self {
        Self { next: span.low, end: span.end, leased: VecDeque::new() }
    }
}

impl Cursor {
    /// Everything of the span below is settled.
    pub(crate) fn low(&self) -> u64 {
        self.leased.front().map_or(self.next, |entry| entry.seq)
    }

    pub(crate) fn span(&self) -> Span {
        Span { low: self.low(), end: self.end }
    }

    /// First and last seq of what is leased.
    pub(crate) fn reach(&self) -> Option<(u64, u64)> {
        Some((self.leased.front()?.seq, self.leased.back()?.seq))
    }

    pub(crate) fn find(&mut self, seq: u64) -> Option<&mut Entry> {
        let at = self.leased.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.leased.get_mut(at)
    }

    /// Lets go of what is settled at the lower end, and returns it, oldest first.
    pub(crate) fn pass(&mut self) -> Vec<Entry> {
        let settled = self.leased.iter().take_while(|entry| entry.state.is_settled()).count();
        self.leased.drain(..settled).collect()
    }

    /// Forgets what is leased without a fate. What was settled out of turn is leased again too.
    pub(crate) fn rewind(&mut self) {
        self.next = self.low();
        self.leased.clear();
    }

    /// Nothing is left of it.
    pub(crate) fn is_done(&self) -> bool {
        self.leased.is_empty() && self.next >= self.end
    }
}

/// The open-ended span up to `head` becomes backlog; what comes is live. Spans that touch are joined first.
pub(crate) fn split_off_live(lane: &mut Vec<Cursor>, head: u64) {
    lane.retain(|cursor| !cursor.is_done());
    let mut joined: Vec<Cursor> = Vec::with_capacity(lane.len() + 1);
    for cursor in lane.drain(..) {
        match joined.last_mut() {
            // Nothing of the later one is passed, so the two are one.
            Some(before) if before.end == cursor.next => before.end = cursor.end,
            _ => joined.push(cursor),
        }
    }
    *lane = joined;
    let full = lane.len() >= MOST_SPANS;
    if let Some(last) = lane.last_mut().filter(|last| last.end == OPEN && last.next < head && !full) {
        last.end = head;
        lane.push(Cursor { next: head, end: OPEN, leased: VecDeque::new() });
    }
}
