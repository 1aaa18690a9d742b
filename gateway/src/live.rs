//! The latest value of every point, for those who look on: the page, above all. Kept in memory, and begins empty.
//!
//! Writing costs the line one short lock and one addition for each reading; nobody is woken. Whoever looks on remembers the version up
//! to which it has seen everything, and asks for what is newer: between two looks a point counts once, however often it changed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
};

use tidegate_core::{clock::Timestamp, id::Name, profile::LeafProfile};

use crate::normalise::Shown;

/// The latest values of all leaves that are configured.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The version of the newest value.
    version: Arc<AtomicU64>,
    leaves: Mutex<BTreeMap<String, Arc<LiveLeaf>>>,
}

/// One leaf's latest values.
#[derive(Debug)]
pub struct LiveLeaf {
    /// The adapter that it is on.
    pub adapter: Name,
    /// What that speaks.
    pub kind: &'static str,
    /// The leaf and its points.
    pub profile: LeafProfile,
    version: Arc<AtomicU64>,
    points: Mutex<Vec<Option<Seen>>>,
}

/// The latest of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// As it would leave.
    pub shown: Shown,
    /// When it was taken.
    pub at: Timestamp,
    /// Higher than that of every value before it, of any point.
    pub version: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere while the lock was held leaves values that are still values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// A leaf is configured from now on, with nothing seen yet. One of the same name gives way.
    pub fn add(&self, adapter: &Name, kind: &'static str, profile: &LeafProfile) -> Arc<LiveLeaf> {
        let points = Mutex::new(vec![None; profile.points.len()]);
        let version = self.0.version.clone();
        let leaf = Arc::new(LiveLeaf { adapter: adapter.clone(), kind, profile: profile.clone(), version, points });
        lock(&self.0.leaves).insert(profile.id.to_string(), leaf.clone());
        leaf
    }

    /// The leaves of an adapter are not configured any more.
    pub fn forget(&self, adapter: &Name) {
        lock(&self.0.leaves).retain(|_, leaf| leaf.adapter != *adapter);
    }

    /// The version of the newest value. Every value up to it can be seen once this has returned.
    pub fn version(&self) -> u64 {
        self.0.version.load(Acquire)
    }

    /// One leaf.
    pub fn leaf(&self, id: &str) -> Option<Arc<LiveLeaf>> {
        lock(&self.0.leaves).get(id).cloned()
    }

    /// Leaves by id, those after this one, at most so many.
    pub fn leaves(&self, after: Option<&str>, most: usize) -> Vec<Arc<LiveLeaf>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        lock(&self.0.leaves).range::<str, _>((from, Unbounded)).take(most).map(|(_, leaf)| leaf.clone()).collect()
    }
}

impl LiveLeaf {
    /// A value came, or the news that there is none.
    pub fn put(&self, point: usize, shown: &Shown, at: Timestamp) {
        let mut points = lock(&self.points);
        if let Some(slot) = points.get_mut(point) {
            // Inside the lock: whoever has seen this version finds the value behind the lock.
            let version = self.version.fetch_add(1, Relaxed) + 1;
            *slot = Some(Seen { shown: shown.clone(), at, version });
        }
    }

    /// What was last seen of each point, in the profile's order.
    pub fn points(&self) -> Vec<Option<Seen>> {
        lock(&self.points).clone()
    }

    /// What is newer than a version: places in the profile, and what was seen.
    pub fn newer(&self, version: u64) -> Vec<(usize, Seen)> {
        let points = lock(&self.points);
        let newer = points.iter().enumerate().filter_map(|(at, seen)| Some((at, seen.as_ref().filter(|seen| seen.version > version)?)));
        newer.map(|(at, seen)| (at, seen.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        id::{LeafId, PointName},
        message::{Class, Properties},
        problem::Problems,
        profile::RawPoint,
        reading::{Quality, Value},
    };

    use super::*;

    fn leaf(id: &str) -> LeafProfile {
        let point = |name: &str| RawPoint::default().check(PointName::new(name).expect("valid"), &mut Problems::default());
        let id = LeafId::new(id).expect("valid");
        LeafProfile { id, points: vec![point("a"), point("b")], class: Class::Telemetry, ttl: None, properties: Properties::default() }
    }

    fn shown(n: i64) -> Shown {
        Shown { value: Some(Value::Int(n)), quality: Quality::Good }
    }

    #[test]
    fn who_looks_on_sees_each_point_once_and_misses_none() {
        let (live, bus) = (Live::default(), Name::new("bus").expect("valid"));
        let one = live.add(&bus, "modbus", &leaf("one"));
        for n in 0..100 {
            one.put(0, &shown(n), Timestamp(n));
        }
        let version = live.version();
        assert_eq!(one.newer(0), [(0, Seen { shown: shown(99), at: Timestamp(99), version })]);
        assert_eq!(one.newer(version), []);
        one.put(1, &shown(7), Timestamp(7));
        assert_eq!(one.newer(version).len(), 1);
        one.put(2, &shown(7), Timestamp(7));
        assert_eq!(live.version(), version + 1, "a point that is not there is no news");
    }

    #[test]
    fn leaves_come_in_pages_and_go_with_their_adapter() {
        let (live, bus) = (Live::default(), Name::new("bus").expect("valid"));
        for id in ["c", "a", "b"] {
            live.add(&bus, "modbus", &leaf(id));
        }
        let ids = |after| live.leaves(after, 2).iter().map(|leaf| leaf.profile.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(None), ["a", "b"]);
        assert_eq!(ids(Some("b")), ["c"]);
        live.forget(&bus);
        assert_eq!(ids(None), [""; 0]);
    }

    #[test]
    fn nothing_is_missed_while_others_write() {
        let (live, bus) = (Live::default(), Name::new("bus").expect("valid"));
        let one = live.add(&bus, "modbus", &leaf("one"));
        let writer = std::thread::spawn({
            let one = one.clone();
            move || (1..=50_000).for_each(|n| one.put((n % 2) as usize, &shown(n), Timestamp(n)))
        });
        let (mut seen, mut last) = (0, [0; 2]);
        while last.iter().max() < Some(&50_000) {
            let version = live.version();
            for (at, value) in one.newer(seen) {
                last[at] = value.at.0;
            }
            // Everything up to the version that was read before is now known.
            assert!(last.iter().max().is_some_and(|newest| *newest >= version as i64), "{last:?} {version}");
            seen = version;
        }
        writer.join().expect("no panic");
    }
}
