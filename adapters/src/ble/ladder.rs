//! A radio that has gone deaf, and the way out of it, step by step.
//!
//! Controllers and their firmware stop hearing now and then, with no error. The rate of advertisements tells: after a silence that the
//! longest pause so far does not explain, the scan is begun anew, then the radio is switched off and on, then all is opened
//! anew and a person is told. Never looks at a clock.

use std::time::Duration;

use tokio::time::Instant;

/// A silence that was never seen before is explained up to this.
const SHORTEST: Duration = Duration::from_secs(30);
/// Nothing is waited for longer: a site with one sensor that speaks once an hour is scanned anew now and then, which costs it little.
const LONGEST: Duration = Duration::from_secs(600);
/// So many of the longest pauses are a stall.
const PAUSES: u32 = 5;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    RestartScan,
    PowerCycle,
    Reopen,
}

#[derive(Debug)]
pub(super) struct Ladder {
    heard: Instant,
    stepped: Instant,
    longest: Duration,
    steps: usize,
    /// Nothing has been heard since it was opened: then nothing is known about the site either.
    learned: bool,
}

impl Ladder {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, stepped: now, longest: Duration::ZERO, steps: 0, learned: false }
    }

    /// Something was heard, from anybody.
    pub(super) fn heard(&mut self, now: Instant) {
        // A pause that we ended ourselves says nothing about the site.
        if self.learned && self.steps == 0 {
            self.longest = self.longest.max(now - self.heard);
        }
        (self.heard, self.stepped, self.steps, self.learned) = (now, now, 0, true);
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Instant {
        let patience = if self.learned { (self.longest * PAUSES).clamp(SHORTEST, LONGEST) } else { LONGEST };
        self.stepped + patience
    }

    /// The step that is due now. Radios on which nothing has ever been heard only begin their scan anew.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        if now < self.due() {
            return None;
        }
        self.stepped = now;
        if !self.learned {
            return Some(Step::RestartScan);
        }
        self.steps += 1;
        Some(match self.steps {
            1 => Step::RestartScan,
            2 => Step::PowerCycle,
            _ => Step::Reopen,
        })
    }

    /// How long nothing was heard.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now - self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silence_that_is_explained_is_waited_for_and_one_that_is_not_is_climbed_out_of() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        (0..5).for_each(|i| ladder.heard(start + 20 * SECOND * i));
        let last = start + 80 * SECOND;
        assert_eq!(ladder.step(last + 99 * SECOND), None, "five pauses of twenty seconds");
        let steps: Vec<_> = [100, 200, 300].into_iter().filter_map(|s| ladder.step(last + SECOND * s)).collect();
        assert_eq!(steps, [Step::RestartScan, Step::PowerCycle, Step::Reopen]);
    }

    #[test]
    fn who_hears_again_begins_at_the_lowest_step() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        ladder.heard(start);
        assert_eq!(ladder.step(start + 30 * SECOND), Some(Step::RestartScan));
        ladder.heard(start + 31 * SECOND);
        assert_eq!(ladder.step(start + 60 * SECOND), None);
        assert_eq!(ladder.step(start + 61 * SECOND), Some(Step::RestartScan), "the pause of the stall was not learned");
    }

    #[test]
    fn where_nothing_was_ever_heard_the_radio_is_not_switched_off_and_on() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        let steps: Vec<_> = (1..5).filter_map(|i| ladder.step(start + LONGEST * i)).collect();
        assert_eq!(steps, [Step::RestartScan; 4]);
    }
}
