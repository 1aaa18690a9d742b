//! Decides when to believe the wall clock, and has the log corrected once it does.
//!
//! A board without a battery-backed clock starts in 1970, or at the moment it was last switched off. So the wall clock
//! is believed when the system's time service says that it has been set; without such a service, or where a battery keeps
//! the clock, when it is past everything we know to be over (the newest time in the log). A time before the release of
//! this program is never believed. Until then readings are
//! stamped `unsynced` and wait in the log; after `clock.wait` they leave all the same, marked, because a site without any
//! source of time must still deliver.

use std::{path::Path, sync::Arc, time::Duration};

use tidegate_core::{
    clock::{Clock, SystemClock, Timestamp},
    health::{Condition, Health},
};
use tidegate_store::Log;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::unit::UnitError;

/// No clock of a working gateway can be before the release of its own program: 2026-01-01.
pub const RELEASED: Timestamp = Timestamp(1_767_225_600_000);
/// How often we look. A second, because the first messages wait for it.
const LOOK: Duration = Duration::from_secs(1);
/// Wall and monotonic time drifting apart by this much between two looks is a jump worth a line in the log.
const JUMP_MS: i64 = 5_000;

/// What the system offers to judge its clock by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// A hardware clock is there.
    pub hardware_clock: bool,
    /// systemd-timesyncd is in charge of the time.
    pub time_service: bool,
    /// …and has set it since boot.
    pub service_has_set_it: bool,
}

impl Witness {
    /// As the system is now.
    pub fn ask() -> Self {
        Self::at(Path::new("/"))
    }

    /// As a system is whose files are below `root`.
    pub fn at(root: &Path) -> Self {
        let timesync = root.join("run/systemd/timesync");
        Self {
            hardware_clock: root.join("sys/class/rtc/rtc0").exists(),
            time_service: timesync.exists(),
            service_has_set_it: timesync.join("synchronized").exists(),
        }
    }

    /// Whether a wall clock that shows `now` is to be believed, when everything up to `floor` is known to be past.
    pub fn believes(self, now: Timestamp, floor: Timestamp) -> bool {
        let plausible = now >= floor && (self.hardware_clock || !self.time_service);
        now >= RELEASED && (self.service_has_set_it || plausible)
    }
}

/// The parts that it works with.
#[derive(Debug)]
pub struct Timekeeper {
    /// The clock that it declares trusted.
    pub clock: Arc<SystemClock>,
    /// The log that it has corrected.
    pub log: Log,
    /// What is wrong.
    pub health: Health,
    /// How long messages wait for the clock.
    pub wait: Duration,
}

impl Timekeeper {
    /// One look at once, so that a good clock is believed before the first reading.
    pub async fn look(&self) -> Result<bool, UnitError> {
        let floor = self.log.time_floor().unwrap_or(RELEASED);
        let believed = Witness::ask().believes(self.clock.now().wall, floor);
        if believed {
            self.clock.trust(true);
            let rows = self.log.correct_time(self.clock.now()).await?;
            self.log.hold_unsynced(false);
            if self.health.clear(Condition::ClockUntrusted, "") || rows > 0 {
                info!(now = %self.clock.now().wall, corrected = rows, "clock believed");
            }
        } else if self.health.raise(
            Condition::ClockUntrusted,
            "",
            format!("the clock shows {}", self.clock.now().wall),
            self.clock.now().wall,
        ) {
            warn!(shows = %self.clock.now().wall, newest_known = %floor, wait = ?self.wait, "clock not set: messages wait for it in the log");
        }
        Ok(believed)
    }

    /// Until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), UnitError> {
        let begun = tokio::time::Instant::now();
        let mut believed = self.look().await?;
        let mut gave_up = false;
        let mut before = self.clock.now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = self.clock.now();
            let jump = (now.wall.0 - before.wall.0) - (now.since_boot_ms as i64 - before.since_boot_ms as i64);
            before = now;
            if jump.abs() > JUMP_MS {
                info!(jump_ms = jump, now = %now.wall, "the wall clock was set");
            }
            if !believed {
                believed = self.look().await?;
                if !believed && !gave_up && begun.elapsed() >= self.wait {
                    gave_up = true;
                    self.log.hold_unsynced(false);
                    warn!(wait = ?self.wait, "clock still not set: messages leave with time_quality = unsynced");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI: Witness = Witness { hardware_clock: false, time_service: true, service_has_set_it: false };
    const SET: Witness = Witness { service_has_set_it: true, ..PI };
    const PC: Witness = Witness { hardware_clock: true, time_service: false, service_has_set_it: false };

    #[test]
    fn a_clock_from_before_this_program_is_never_believed() {
        for witness in [PI, SET, PC] {
            assert!(!witness.believes(Timestamp(0), RELEASED));
        }
    }

    #[test]
    fn a_clock_behind_the_newest_message_is_believed_only_if_the_time_service_set_it() {
        let (now, floor) = (Timestamp(RELEASED.0 + 5), Timestamp(RELEASED.0 + 10));
        assert!(!PI.believes(now, floor) && !PC.believes(now, floor));
        assert!(SET.believes(now, floor), "a clock that was once far ahead must not spoil the log for years");
    }

    #[test]
    fn a_board_without_a_hardware_clock_waits_for_the_time_service() {
        let later = Timestamp(RELEASED.0 + 1);
        assert!(!PI.believes(later, RELEASED));
        assert!(SET.believes(later, RELEASED));
        assert!(PC.believes(later, RELEASED));
    }
}
