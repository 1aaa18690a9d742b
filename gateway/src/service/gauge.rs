//! How fast the tide moves: messages a second, from the counters that the line keeps anyway.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tidegate_core::id::Name;
use tokio::time::Instant;

use crate::wiring::Parts;

/// How often the counters are looked at. Somebody who opens the page finds a rate, and not the beginning of one.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Looks that a rate is made of: long enough to be calm, short enough to show a link that has just come back.
const LOOKS: usize = 11;

/// The latest looks at the counters.
#[derive(Debug, Default)]
pub struct Gauge(Mutex<VecDeque<Look>>);

#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    appended: u64,
    delivered: BTreeMap<Name, u64>,
}

/// Messages a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) appended: f64,
    pub(super) delivered: BTreeMap<Name, f64>,
}

impl Gauge {
    /// Looks at the counters.
    pub(super) fn look(&self, parts: &Parts) {
        let delivered = parts.board.upstreams().into_iter().map(|(name, row)| (name, row.delivered.load(Relaxed))).collect();
        let look = Look { at: Instant::now(), appended: parts.log.counters().appended, delivered };
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= LOOKS {
            looks.pop_front();
        }
        looks.push_back(look);
    }

    /// Over the looks that there are.
    pub(super) fn rates(&self) -> Rates {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), Some(last)) = (looks.front(), looks.back()) else { return Rates::default() };
        let seconds = (last.at - first.at).as_secs_f64();
        if seconds < EVERY.as_secs_f64() / 2.0 {
            return Rates::default();
        }
        // A counter that began anew, because its upstream was started again, makes no negative rate.
        let rate = |before: u64, now: u64| ((now.saturating_sub(before)) as f64 / seconds * 10.0).round() / 10.0;
        let of = |(name, now): (&Name, &u64)| (name.clone(), rate(first.delivered.get(name).copied().unwrap_or(*now), *now));
        Rates { appended: rate(first.appended, last.appended), delivered: last.delivered.iter().map(of).collect() }
    }
}
