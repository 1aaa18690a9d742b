//! What waits for each leaf: places in the inbox, in their order. The commands themselves stay on disk.

use std::collections::{BTreeMap, VecDeque};

use tidegate_core::id::LeafId;
use tidegate_store::inbox::{Entry, Life};
use tokio::time::Instant;

/// Commands that may wait for one leaf. A hub queues 50 for a device; a site's own broker may queue a day's work.
pub(super) const MOST_PER_LEAF: usize = 10_000;
/// Commands that may wait in all.
pub(super) const MOST: usize = 50_000;
/// Their bytes in all; they share the disk with the messages.
pub(super) const MOST_BYTES: u64 = 16 << 20;

/// A command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// Its place in the inbox.
    pub(super) seq: u64,
    /// How long it is worth carrying out.
    pub(super) life: Life,
    /// Bytes of its body.
    pub(super) size: u32,
}

impl Pending {
    pub(super) fn of(entry: &Entry) -> Self {
        let size = u32::try_from(entry.command.body.len()).unwrap_or(u32::MAX);
        Self { seq: entry.seq, life: entry.command.life, size }
    }
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Pending>,
    /// One is being carried out.
    busy: bool,
    not_before: Option<Instant>,
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    of: BTreeMap<LeafId, Lane>,
    waiting: usize,
    bytes: u64,
    /// The leaf that was served last: the next one has its turn first.
    last: Option<LeafId>,
}

impl Lanes {
    /// Commands that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Leaves that something waits for or that are busy.
    pub(super) fn leaves(&self) -> usize {
        self.of.len()
    }

    /// Why another command of this size cannot be taken.
    pub(super) fn full(&self, leaf: &LeafId, size: usize) -> Option<String> {
        let here = self.of.get(leaf).map_or(0, |lane| lane.waiting.len());
        if here >= MOST_PER_LEAF {
            return Some(format!("{here} commands already wait for this leaf"));
        }
        let full = self.waiting >= MOST || self.bytes + size as u64 > MOST_BYTES;
        full.then(|| format!("the inbox is full: {} commands of {} bytes wait", self.waiting, self.bytes))
    }

    /// Adds a command at its place; one that is there already stays once.
    pub(super) fn add(&mut self, leaf: &LeafId, pending: Pending) {
        let lane = self.of.entry(leaf.clone()).or_default();
        // Nearly always it is the last.
        let at = match lane.waiting.back() {
            Some(last) if last.seq < pending.seq => Err(lane.waiting.len()),
            _ => lane.waiting.binary_search_by_key(&pending.seq, |other| other.seq),
        };
        if let Err(at) = at {
            lane.waiting.insert(at, pending);
            self.waiting += 1;
            self.bytes += u64::from(pending.size);
        }
    }

    /// The next command of a leaf that is free and for which `reach` finds a way; the lane is busy from now on. Leaves take turns.
    pub(super) fn take<R>(&mut self, now: Instant, reach: impl Fn(&LeafId) -> Option<R>) -> Option<(LeafId, Pending, R)> {
        let after = self.last.clone();
        let later = self.of.iter_mut().filter(|(leaf, _)| after.as_ref().is_none_or(|after| *leaf > after));
        let mut found = pick(later, now, &reach);
        if found.is_none() {
            found = pick(self.of.iter_mut(), now, &reach);
        }
        let (leaf, pending, way) = found?;
        self.count_out(pending);
        self.last = Some(leaf.clone());
        Some((leaf, pending, way))
    }

    /// The leaf is free again. A command that is to be tried again comes back to its place.
    pub(super) fn free(&mut self, leaf: &LeafId, again: Option<(Pending, Instant)>) {
        if let Some(lane) = self.of.get_mut(leaf) {
            lane.busy = false;
            lane.not_before = again.map(|(_, at)| at);
        }
        match again {
            Some((pending, _)) => self.add(leaf, pending),
            None if self.of.get(leaf).is_some_and(|lane| lane.waiting.is_empty()) => drop(self.of.remove(leaf)),
            None => {}
        }
    }

    /// After a restart of the router nothing is being carried out.
    pub(super) fn free_all(&mut self) {
        self.of.values_mut().for_each(|lane| lane.busy = false);
    }

    /// Takes out up to `most` that wait and for which this is so, in any lane.
    pub(super) fn take_where(&mut self, most: usize, is_so: impl Fn(&Pending) -> bool) -> Vec<(LeafId, Pending)> {
        let mut taken = Vec::new();
        for (leaf, lane) in &mut self.of {
            lane.waiting.retain(|pending| {
                let take = taken.len() < most && is_so(pending);
                if take {
                    taken.push((leaf.clone(), *pending));
                }
                !take
            });
        }
        taken.iter().for_each(|(_, pending)| self.count_out(*pending));
        self.of.retain(|_, lane| lane.busy || !lane.waiting.is_empty());
        taken
    }

    fn count_out(&mut self, pending: Pending) {
        self.waiting -= 1;
        self.bytes -= u64::from(pending.size);
    }
}

fn pick<'a, R>(
    lanes: impl Iterator<Item = (&'a LeafId, &'a mut Lane)>,
    now: Instant,
    reach: impl Fn(&LeafId) -> Option<R>,
) -> Option<(LeafId, Pending, R)> {
    for (leaf, lane) in lanes {
        if lane.busy || lane.waiting.is_empty() || lane.not_before.is_some_and(|at| at > now) {
            continue;
        }
        if let Some(way) = reach(leaf)
            && let Some(pending) = lane.waiting.pop_front()
        {
            lane.busy = true;
            return Some((leaf.clone(), pending, way));
        }
    }
    None
}
