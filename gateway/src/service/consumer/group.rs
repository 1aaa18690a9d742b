//! Consumer groups: who reads which partitions, and how far the group has come.
//!
//! Each partition has one reader at a time. Readers of a group share the partitions evenly; one that joins gets its share when the others
//! have asked again, because what they were given last may not be dealt with yet. One that has not asked for [`LEASE`] has gone, and
//! the others get what it had, from where the *group* has come: what it was given and did not deal with comes again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_core::clock::Timestamp;
use tidegate_store::{MAX_GROUPS, PARTITIONS, Progress};
use tokio::{sync::Notify, time::Instant};

use super::cursor::{Cursor, Place};

/// A reader that has not asked for so long has gone.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// Why somebody may not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody of this name is asking already.
    Busy,
    /// Each partition has a reader: these.
    Full(Vec<String>),
    /// There are as many groups as there may be.
    TooMany,
}

#[derive(Debug)]
struct Member {
    partitions: BTreeSet<usize>,
    seen: Instant,
    waiting: bool,
}

#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<String, Member>,
    places: [Option<(Place, Timestamp)>; PARTITIONS],
    /// Places that are not on disk yet.
    dirty: BTreeSet<usize>,
}

/// All groups of this gateway.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Mutex<BTreeMap<String, Group>>,
    /// Somebody came, or gave partitions up.
    changed: Notify,
}

/// Somebody who is reading now. Dropped, they are away, and keep their partitions for a while.
#[derive(Debug)]
pub(super) struct Seat {
    groups: Arc<Groups>,
    group: String,
    consumer: String,
    /// What they read.
    pub(super) partitions: BTreeSet<usize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut groups = self.groups.lock();
        if let Some(member) = groups.get_mut(&self.group).and_then(|group| group.members.get_mut(&self.consumer)) {
            (member.waiting, member.seen) = (false, Instant::now());
        }
    }
}

/// Of so many readers, how many partitions the one at this place has.
fn share(readers: usize, at: usize) -> usize {
    PARTITIONS / readers + usize::from(at < PARTITIONS % readers)
}

impl Group {
    fn share_of(&self, consumer: &str) -> usize {
        let at = self.members.keys().position(|name| name == consumer).unwrap_or(0);
        share(self.members.len().max(1), at)
    }

    fn free(&self) -> BTreeSet<usize> {
        (0..PARTITIONS).filter(|partition| self.members.values().all(|member| !member.partitions.contains(partition))).collect()
    }

    /// Those who have gone. Whether anybody has.
    fn let_go(&mut self, now: Instant) -> bool {
        let before = self.members.len();
        self.members.retain(|_, member| member.waiting || now.saturating_duration_since(member.seen) < LEASE);
        self.members.len() != before
    }
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what is on disk, without what is known already.
    pub(super) fn learn(&self, known: Vec<(String, Vec<Progress>)>) {
        let mut groups = self.lock();
        for (name, progress) in known {
            let group = groups.entry(name).or_default();
            for one in progress.into_iter().filter(|one| one.partition < PARTITIONS) {
                group.places[one.partition].get_or_insert((Place { seq: one.seq, number: one.number }, one.changed));
            }
        }
    }

    /// Comes to read, or goes on with it.
    pub(super) fn enter(self: &Arc<Self>, name: &str, consumer: &str) -> Result<Seat, Refusal> {
        let now = Instant::now();
        let mut groups = self.lock();
        if !groups.contains_key(name) && groups.len() >= MAX_GROUPS {
            return Err(Refusal::TooMany);
        }
        let group = groups.entry(name.to_owned()).or_default();
        let mut changed = group.let_go(now);
        match group.members.get(consumer) {
            Some(member) if member.waiting => return Err(Refusal::Busy),
            Some(_) => {}
            None if group.members.len() >= PARTITIONS => return Err(Refusal::Full(group.members.keys().cloned().collect())),
            None => {
                let member = Member { partitions: BTreeSet::new(), seen: now, waiting: false };
                group.members.insert(consumer.to_owned(), member);
                changed = true;
            }
        }
        let (share, mut free) = (group.share_of(consumer), group.free());
        let Some(member) = group.members.get_mut(consumer) else { return Err(Refusal::Busy) };
        member.waiting = true;
        while member.partitions.len() > share {
            member.partitions.pop_last();
            changed = true;
        }
        while member.partitions.len() < share
            && let Some(partition) = free.pop_first()
        {
            member.partitions.insert(partition);
        }
        let partitions = member.partitions.clone();
        drop(groups);
        if changed {
            self.changed.notify_waiters();
        }
        Ok(Seat { groups: self.clone(), group: name.to_owned(), consumer: consumer.to_owned(), partitions })
    }

    /// Whether it would read others if it asked anew.
    pub(super) fn is_stale(&self, seat: &Seat) -> bool {
        let mut groups = self.lock();
        let Some(group) = groups.get_mut(&seat.group) else { return true };
        group.let_go(Instant::now());
        let share = group.share_of(&seat.consumer);
        let holds = group.members.get(&seat.consumer).map_or(0, |member| member.partitions.len());
        holds > share || (holds < share && !group.free().is_empty())
    }

    /// Resolves when somebody came or gave partitions up.
    pub(super) fn changes(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// How far the group has come in a partition.
    pub(super) fn place(&self, name: &str, partition: usize) -> Option<Place> {
        self.lock().get(name).and_then(|group| group.places[partition]).map(|(place, _)| place)
    }

    /// What came before these places is dealt with. Whoever says so was given all of it from where the group was, so it holds whoever
    /// reads the partition by now. Places only go on.
    pub(super) fn dealt_with(&self, name: &str, cursor: &Cursor, at: Timestamp) -> Result<(), Refusal> {
        let mut groups = self.lock();
        if !groups.contains_key(name) && groups.len() >= MAX_GROUPS {
            return Err(Refusal::TooMany);
        }
        let group = groups.entry(name.to_owned()).or_default();
        for (partition, place) in &cursor.0 {
            let known = &mut group.places[*partition];
            if known.is_none_or(|(known, _)| place.seq > known.seq) {
                *known = Some((*place, at));
                group.dirty.insert(*partition);
            }
        }
        Ok(())
    }

    /// Places that are to be kept, now no longer dirty.
    pub(super) fn take_dirty(&self) -> Vec<(String, Progress)> {
        let mut taken = Vec::new();
        for (name, group) in self.lock().iter_mut() {
            for partition in std::mem::take(&mut group.dirty) {
                if let Some((place, changed)) = group.places[partition] {
                    taken.push((name.clone(), Progress { partition, seq: place.seq, number: place.number, changed }));
                }
            }
        }
        taken
    }

    /// They could not be kept: next time.
    pub(super) fn give_back(&self, taken: Vec<(String, Progress)>) {
        let mut groups = self.lock();
        for (name, progress) in taken {
            if let Some(group) = groups.get_mut(&name) {
                group.dirty.insert(progress.partition);
            }
        }
    }

    /// Forgets a group that nobody reads in. `None` when there is none; `Some(false)` when somebody reads.
    pub(super) fn forget(&self, name: &str) -> Option<bool> {
        let mut groups = self.lock();
        let group = groups.get_mut(name)?;
        group.let_go(Instant::now());
        if group.members.values().any(|member| member.waiting) {
            return Some(false);
        }
        groups.remove(name);
        Some(true)
    }

    /// By name: readers with their partitions and whether they are asking, and places.
    #[expect(clippy::type_complexity, reason = "told once, to be shown")]
    pub(super) fn list(&self) -> Vec<(String, Vec<(String, BTreeSet<usize>, bool)>, Vec<(usize, Place, Timestamp)>)> {
        let mut groups = self.lock();
        let now = Instant::now();
        let one = |(name, group): (&String, &mut Group)| {
            group.let_go(now);
            let members = group.members.iter().map(|(name, member)| (name.clone(), member.partitions.clone(), member.waiting)).collect();
            let places = group.places.iter().enumerate().filter_map(|(at, place)| place.map(|(place, changed)| (at, place, changed)));
            (name.clone(), members, places.collect())
        };
        groups.iter_mut().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(seat: &Seat) -> Vec<usize> {
        seat.partitions.iter().copied().collect()
    }

    fn place(seq: u64) -> Place {
        Place { seq, number: None }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_share_the_partitions_and_none_has_two_readers() {
        let groups = Arc::new(Groups::default());
        let a = groups.enter("g", "a").expect("comes in");
        assert_eq!(partitions(&a), [0, 1, 2, 3]);
        // It is still reading: nothing is free for another one yet.
        let b = groups.enter("g", "b").expect("comes in");
        assert_eq!(partitions(&b), [0; 0]);
        assert!(groups.is_stale(&a) && !groups.is_stale(&b));
        drop(a);
        let a = groups.enter("g", "a").expect("goes on");
        assert_eq!(partitions(&a), [0, 1]);
        assert!(groups.is_stale(&b), "there is something for it now");
        drop(b);
        let b = groups.enter("g", "b").expect("goes on");
        assert_eq!(partitions(&b), [2, 3]);
        assert_eq!(groups.enter("g", "a").err(), Some(Refusal::Busy));
        let (_c, _d) = (groups.enter("g", "c").expect("comes in"), groups.enter("g", "d").expect("comes in"));
        assert_eq!(groups.enter("g", "e").err(), Some(Refusal::Full(["a", "b", "c", "d"].map(str::to_owned).to_vec())));
        assert_eq!(partitions(&groups.enter("other", "a").expect("another group")), [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_away_for_too_long_has_gone_and_what_it_had_goes_on_from_the_groups_place() {
        let groups = Arc::new(Groups::default());
        let (a, b) = (groups.enter("g", "a").expect("comes in"), groups.enter("g", "b").expect("comes in"));
        drop((a, b));
        let a = groups.enter("g", "a").expect("goes on");
        let b = groups.enter("g", "b").expect("goes on");
        assert_eq!(partitions(&b), [2, 3]);
        let dealt = |cursor: &str| groups.dealt_with("g", &cursor.parse().expect("a cursor"), Timestamp(1)).expect("there is room");
        dealt("2.10.");
        dealt("2.5.-0.7.");
        assert_eq!((groups.place("g", 2), groups.place("g", 0), groups.place("g", 1)), (Some(place(10)), Some(place(7)), None));
        drop(b);
        tokio::time::advance(LEASE + Duration::from_secs(1)).await;
        assert!(groups.is_stale(&a));
        drop(a);
        assert_eq!(partitions(&groups.enter("g", "a").expect("goes on")), [0, 1, 2, 3]);
        let dirty = groups.take_dirty();
        assert_eq!(dirty.iter().map(|(_, one)| (one.partition, one.seq)).collect::<Vec<_>>(), [(0, 7), (2, 10)]);
        assert!(groups.take_dirty().is_empty());
        groups.give_back(dirty);
        assert_eq!(groups.take_dirty().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many_groups_and_one_that_is_read_cannot_be_forgotten() {
        let groups = Arc::new(Groups::default());
        let seat = groups.enter("g0", "a").expect("comes in");
        for n in 1..MAX_GROUPS {
            groups.enter(&format!("g{n}"), "a").expect("comes in");
        }
        assert_eq!(groups.enter("one more", "a").err(), Some(Refusal::TooMany));
        assert_eq!((groups.forget("g0"), groups.forget("nobody"), groups.forget("g1")), (Some(false), None, Some(true)));
        groups.enter("one more", "a").expect("there is room now");
        drop(seat);
        assert_eq!(groups.forget("g0"), Some(true));
    }
}
