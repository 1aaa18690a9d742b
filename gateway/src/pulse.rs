//! Signs of life: loops that matter beat a pulse each time they go round, and the watchdog is fed only while all beat.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// All pulses.
#[derive(Debug, Clone)]
pub struct Pulses(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    all: Mutex<BTreeMap<String, (Pulse, Duration)>>,
}

/// One loop's sign of life.
#[derive(Debug, Clone)]
pub struct Pulse {
    begun: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// The loop goes round.
    pub fn beat(&self) {
        self.last_ms.store(self.begun.elapsed().as_millis() as u64, Relaxed);
    }

    fn age(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Relaxed)))
    }
}

impl Default for Pulses {
    fn default() -> Self {
        Self(Arc::new(Inner { begun: Instant::now(), all: Mutex::default() }))
    }
}

impl Pulses {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, (Pulse, Duration)>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pulse that must beat at least once in `limit`. One of the same name is replaced.
    pub fn expect(&self, name: &str, limit: Duration) -> Pulse {
        let pulse = Pulse { begun: self.0.begun, last_ms: Arc::default() };
        pulse.beat();
        self.all().insert(name.to_owned(), (pulse.clone(), limit));
        pulse
    }

    /// No longer expected.
    pub fn forget(&self, name: &str) {
        self.all().remove(name);
    }

    /// The name and silence of a loop that has not beaten in its time.
    pub fn stuck(&self) -> Option<(String, Duration)> {
        self.all().iter().find(|(_, (pulse, limit))| pulse.age() > *limit).map(|(name, (pulse, _))| (name.clone(), pulse.age()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_go_round_is_found() {
        let pulses = Pulses::default();
        pulses.expect("good", Duration::from_secs(60));
        assert_eq!(pulses.stuck(), None);
        pulses.expect("bad", Duration::ZERO);
        let limit = Instant::now() + Duration::from_secs(5);
        while pulses.stuck().is_none() {
            assert!(Instant::now() < limit);
            std::thread::yield_now();
        }
        assert_eq!(pulses.stuck().map(|(name, _)| name).as_deref(), Some("bad"));
        pulses.forget("bad");
        assert_eq!(pulses.stuck(), None);
    }
}
