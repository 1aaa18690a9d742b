//! How long a command is worth carrying out, measured so that a clock that jumps does no harm.
//!
//! Pure: time comes in as a [`Stamp`]. Within the boot in which a command came its age is the time since boot, which never jumps.
//! Across boots only a wall clock can tell, and it is asked only while it is trusted. While it may still become trusted the answer
//! is [`Verdict::Unknown`], and the command waits; a machine that never learns the time counts from its own start, because then
//! nothing better is known.

use std::time::Duration;

use tidegate_core::clock::{Stamp, TimeQuality, Timestamp};

/// When a command came and how long it may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// When it came.
    pub came: Stamp,
    /// How long it may wait from then on.
    pub ttl: Duration,
    /// The moment that the sender named, kept when it could not be turned into `ttl` because the clock was not trusted.
    pub expires: Option<Timestamp>,
}

/// Whether a command may still be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Alive,
    /// Not any more.
    Expired,
    /// It came before a restart and the time is not known yet: neither begun nor given up.
    Unknown,
}

impl Life {
    /// For a command that comes now. A moment that the sender named counts at once when the clock is trusted, and is kept for later
    /// when it is not; until then `default` holds.
    pub fn new(came: Stamp, expires: Option<Timestamp>, default: Duration) -> Self {
        match expires {
            Some(at) if came.quality == TimeQuality::Synced => Self { came, ttl: at.since(came.wall), expires: None },
            expires => Self { came, ttl: default, expires },
        }
    }

    /// `waiting` is true while the clock is not trusted and may still become so.
    pub fn verdict(&self, now: Stamp, waiting: bool) -> Verdict {
        let judge = |age: Duration| if age >= self.ttl { Verdict::Expired } else { Verdict::Alive };
        let synced = now.quality == TimeQuality::Synced;
        match self.expires {
            Some(at) if synced => return if now.wall >= at { Verdict::Expired } else { Verdict::Alive },
            _ => {}
        }
        if self.came.boot == now.boot {
            return judge(Duration::from_millis(now.since_boot_ms.saturating_sub(self.came.since_boot_ms)));
        }
        match (synced, self.came.quality) {
            (true, TimeQuality::Synced) => judge(now.wall.since(self.came.wall)),
            (false, TimeQuality::Synced) if waiting => Verdict::Unknown,
            // It came in a boot that never knew the time, or this one does not: its age is at least this.
            _ => judge(Duration::from_millis(now.since_boot_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::clock::{Clock, HandClock};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_jumps_neither_kills_a_command_nor_keeps_it_alive() {
        let clock = HandClock::at(NOW);
        let life = Life::new(clock.now(), None, HOUR);
        clock.set_wall(NOW.plus(48 * HOUR), true);
        assert_eq!(life.verdict(clock.now(), false), Verdict::Alive);
        clock.set_wall(Timestamp(0), true);
        clock.advance(HOUR);
        assert_eq!(life.verdict(clock.now(), false), Verdict::Expired);
    }

    #[test]
    fn the_moment_that_the_sender_named_counts_from_the_trusted_clock() {
        let clock = HandClock::at(NOW);
        let life = Life::new(clock.now(), Some(NOW.plus(HOUR)), 24 * HOUR);
        assert_eq!((life.ttl, life.expires), (HOUR, None));
        assert_eq!(Life::new(clock.now(), Some(Timestamp(NOW.0 - 1)), HOUR).verdict(clock.now(), false), Verdict::Expired);
    }

    #[test]
    fn a_moment_named_to_a_clock_that_is_not_set_waits_until_it_is() {
        let clock = HandClock::at(Timestamp(5_000));
        clock.set_wall(Timestamp(5_000), false);
        let life = Life::new(clock.now(), Some(NOW), HOUR);
        assert_eq!(life.verdict(clock.now(), true), Verdict::Alive);
        clock.set_wall(NOW, true);
        assert_eq!(life.verdict(clock.now(), false), Verdict::Expired);
    }

    #[test]
    fn after_a_restart_a_command_waits_for_the_time_to_be_known() {
        let clock = HandClock::at(NOW);
        let life = Life::new(clock.now(), None, HOUR);
        clock.reboot(Timestamp(0), false);
        assert_eq!(life.verdict(clock.now(), true), Verdict::Unknown);
        // The time never comes: counted from the start of this boot.
        assert_eq!(life.verdict(clock.now(), false), Verdict::Alive);
        clock.advance(HOUR);
        assert_eq!(life.verdict(clock.now(), false), Verdict::Expired);
    }

    #[test]
    fn after_a_restart_with_a_trusted_clock_the_time_switched_off_counts() {
        let clock = HandClock::at(NOW);
        let life = Life::new(clock.now(), None, HOUR);
        clock.reboot(NOW.plus(HOUR / 2), true);
        assert_eq!(life.verdict(clock.now(), false), Verdict::Alive);
        clock.reboot(NOW.plus(HOUR), true);
        assert_eq!(life.verdict(clock.now(), false), Verdict::Expired);
    }
}
