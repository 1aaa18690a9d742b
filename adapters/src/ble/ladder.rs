//! A radio that has gone deaf, and the way out of it, step by step.
//!
//! Controllers and their firmware stop hearing now and then, with no error. The rate of advertisements tells: after a silence that the
//! longest pause so far does not explain, the scan is begun anew, then the radio is switched off and on, then its device is reset as if it
//! were unplugged where that is permitted, then all is opened anew and a person is told. Never looks at a clock.

use std::{fmt, time::Duration};

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
    Reset,
    Reopen,
}

/// For people: what is done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::RestartScan => "the scan is begun anew",
            Step::PowerCycle => "the radio is switched off and on",
            Step::Reset => "the radio's device is reset",
            Step::Reopen => "everything is opened anew",
        })
    }
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

    /// The step that is due now. Radios on which nothing has ever been heard only begin their scan anew, and so do those that hold
    /// connections: those show that the radio works, and its devices advertise nothing while they last.
    pub(super) fn step(&mut self, now: Instant, connected: bool) -> Option<Step> {
        if now < self.due() {
            return None;
        }
        self.stepped = now;
        if !self.learned || connected {
            return Some(Step::RestartScan);
        }
        self.steps += 1;
        Some(match self.steps {
            1 => Step::RestartScan,
            2 => Step::PowerCycle,
            3 => Step::Reset,
            _ => Step::Reopen,
        })
    }

    /// Whether something has been heard, and nothing had to be done since.
    pub(super) fn is_well(&self) -> bool {
        self.learned && self.steps == 0
    }

    /// Whether steps have been taken since something was last heard.
    pub(super) fn is_climbing(&self) -> bool {
        self.steps > 0
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
        assert_eq!(ladder.step(last + 99 * SECOND, false), None, "five pauses of twenty seconds");
        let steps: Vec<_> = [100, 200, 300, 400, 500].into_iter().filter_map(|s| ladder.step(last + SECOND * s, false)).collect();
        assert_eq!(steps, [Step::RestartScan, Step::PowerCycle, Step::Reset, Step::Reopen, Step::Reopen]);
    }

    #[test]
    fn who_hears_again_begins_at_the_lowest_step() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        ladder.heard(start);
        assert_eq!(ladder.step(start + 30 * SECOND, false), Some(Step::RestartScan));
        ladder.heard(start + 31 * SECOND);
        assert_eq!(ladder.step(start + 60 * SECOND, false), None);
        assert_eq!(ladder.step(start + 61 * SECOND, false), Some(Step::RestartScan), "the pause of the stall was not learned");
    }

    #[test]
    fn where_nothing_was_ever_heard_the_radio_is_not_switched_off_and_on() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        let steps: Vec<_> = (1..5).filter_map(|i| ladder.step(start + LONGEST * i, false)).collect();
        assert_eq!(steps, [Step::RestartScan; 4]);
    }

    #[test]
    fn a_radio_with_connections_is_not_switched_off() {
        let start = Instant::now();
        let mut ladder = Ladder::new(start);
        ladder.heard(start);
        let steps: Vec<_> = (1..4).filter_map(|i| ladder.step(start + 30 * SECOND * i, true)).collect();
        assert_eq!(steps, [Step::RestartScan; 3]);
        assert!(!ladder.is_climbing());
    }
}
