//! Pauses between attempts: exponential with full jitter, so that a thousand gateways do not come back together.

use std::time::Duration;

/// Doubles from `first` to `most`; each pause is a random share of the current step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    step: Duration,
}

impl Backoff {
    /// `first` must not be zero; `most` is at least `first`.
    pub fn new(first: Duration, most: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { first, most: most.max(first), step: first }
    }

    /// The next pause: between half a `first` and the current step.
    pub fn pause(&mut self) -> Duration {
        let least = self.first / 2;
        let spread = self.step.saturating_sub(least).as_micros();
        let pause = least + Duration::from_micros(fastrand::u64(0..=u64::try_from(spread).unwrap_or(u64::MAX)));
        self.step = (self.step * 2).min(self.most);
        pause
    }

    /// It worked: the next pause is short again.
    pub fn reset(&mut self) {
        self.step = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(4));
        let pauses: Vec<_> = (0..100).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(100));
        assert!(pauses.iter().all(|p| *p >= Duration::from_millis(50) && *p <= Duration::from_secs(4)));
        assert!(pauses[20..].iter().any(|p| *p > Duration::from_secs(1)), "it grows");
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
