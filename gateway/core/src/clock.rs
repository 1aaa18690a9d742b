//! What time it is, and whether to believe it.
//!
//! A gateway may start in 1970 and learn the time an hour later. So every [`Stamp`] carries the wall
//! time *and* the boot it was taken in with the time since that boot, which never jumps: once the wall
//! clock is trusted, an earlier stamp of the same boot can be corrected exactly. Nothing in Tidegate
//! takes its order from a wall clock.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Wall time: milliseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later by a duration; stays at the ends of the range instead of wrapping.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-01T00:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(|t| Self(t.as_millisecond()))
    }
}

/// One run of the kernel. Two stamps of the same boot can be compared by their time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u64);

/// Whether the wall clock was believed when a stamp was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeQuality {
    /// The clock was set, or the stamp has been corrected since.
    Synced,
    /// The clock had not been set; the wall time may be years off.
    Unsynced,
}

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The wall clock then.
    pub wall: Timestamp,
    /// Which boot it was.
    pub boot: BootId,
    /// Milliseconds since that boot, suspended time included.
    pub since_boot_ms: u64,
    /// Whether `wall` is to be believed.
    pub quality: TimeQuality,
}

impl Stamp {
    /// What `wall` of an unsynced stamp should have been, given a later trusted stamp.
    /// `None` when the two are not of one boot, or nothing needs to be corrected.
    pub fn corrected_by(&self, trusted: &Stamp) -> Option<Stamp> {
        let applies = self.boot == trusted.boot && self.quality == TimeQuality::Unsynced && trusted.quality == TimeQuality::Synced;
        applies.then(|| Stamp {
            wall: Timestamp(trusted.wall.0 - (trusted.since_boot_ms as i64 - self.since_boot_ms as i64)),
            quality: TimeQuality::Synced,
            ..*self
        })
    }
}

/// Tells the time. Parts that need it receive an `Arc<dyn Clock>` in their constructor.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Stamp;
}

/// The kernel's clocks. Starts untrusted; whoever decides that the wall clock is right calls [`SystemClock::trust`].
#[derive(Debug)]
pub struct SystemClock {
    boot: BootId,
    trusted: AtomicBool,
}

impl SystemClock {
    /// `boot_text` is the content of `/proc/sys/kernel/random/boot_id`: any text that differs from boot to boot.
    pub fn new(boot_text: &str) -> Arc<Self> {
        // FNV-1a: stable across versions of this program, which std's hasher does not promise.
        let hash = boot_text.trim().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Arc::new(Self { boot: BootId(hash), trusted: AtomicBool::new(false) })
    }

    /// From now on stamps are [`TimeQuality::Synced`] (or no longer, if the clock was found to be wrong).
    pub fn trust(&self, trusted: bool) {
        self.trusted.store(trusted, Ordering::Release);
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let boottime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let quality = if self.trusted.load(Ordering::Acquire) { TimeQuality::Synced } else { TimeQuality::Unsynced };
        Stamp {
            wall: wall_clock(),
            boot: self.boot,
            since_boot_ms: (boottime.tv_sec * 1000 + boottime.tv_nsec / 1_000_000).unsigned_abs(),
            quality,
        }
    }
}

/// Through std and so through the C library, not by a system call of our own: there a test can set it for one process.
fn wall_clock() -> Timestamp {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp(ms(after)),
        Err(before) => Timestamp(-ms(before.duration())),
    }
}

/// A clock that a test turns by hand.
#[derive(Debug)]
pub struct HandClock {
    wall: AtomicI64,
    since_boot: AtomicI64,
    boot: AtomicI64,
    trusted: AtomicBool,
}

impl HandClock {
    /// Trusted, boot 1, one second after it.
    pub fn at(wall: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicI64::new(wall.0),
            since_boot: AtomicI64::new(1_000),
            boot: AtomicI64::new(1),
            trusted: AtomicBool::new(true),
        })
    }

    /// Time passes: both clocks go on.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.since_boot.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; time since boot is not moved.
    pub fn set_wall(&self, wall: Timestamp, trusted: bool) {
        self.wall.store(wall.0, Ordering::SeqCst);
        self.trusted.store(trusted, Ordering::SeqCst);
    }

    /// The machine restarts, with this on its wall clock.
    pub fn reboot(&self, wall: Timestamp, trusted: bool) {
        self.boot.fetch_add(1, Ordering::SeqCst);
        self.since_boot.store(1_000, Ordering::SeqCst);
        self.set_wall(wall, trusted);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Stamp {
        Stamp {
            wall: Timestamp(self.wall.load(Ordering::SeqCst)),
            boot: BootId(self.boot.load(Ordering::SeqCst).unsigned_abs()),
            since_boot_ms: self.since_boot.load(Ordering::SeqCst).unsigned_abs(),
            quality: if self.trusted.load(Ordering::SeqCst) { TimeQuality::Synced } else { TimeQuality::Unsynced },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp(1_767_225_600_000).to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!("2026-01-01T00:00:00.120Z".parse::<Timestamp>().expect("valid"), Timestamp(1_767_225_600_120));
        assert_eq!(Timestamp(i64::MAX).to_string(), format!("{}ms", i64::MAX));
    }

    #[test]
    fn a_stamp_from_1970_is_corrected_once_the_time_is_known() {
        let clock = HandClock::at(Timestamp(5_000));
        clock.set_wall(Timestamp(5_000), false);
        let early = clock.now();
        clock.advance(Duration::from_secs(60));
        clock.set_wall(Timestamp(1_767_225_660_000), true);
        let corrected = early.corrected_by(&clock.now()).expect("same boot");
        assert_eq!(corrected.wall, Timestamp(1_767_225_600_000));
        assert_eq!(corrected.quality, TimeQuality::Synced);
    }

    #[test]
    fn a_stamp_of_an_earlier_boot_is_left_alone() {
        let clock = HandClock::at(Timestamp(5_000));
        clock.set_wall(Timestamp(5_000), false);
        let early = clock.now();
        clock.reboot(Timestamp(1_767_225_660_000), true);
        assert_eq!(early.corrected_by(&clock.now()), None);
    }

    #[test]
    fn the_system_clock_is_not_believed_at_first() {
        let clock = SystemClock::new("5f1d7a3e-0000");
        assert_eq!(clock.now().quality, TimeQuality::Unsynced);
        clock.trust(true);
        assert_eq!(clock.now().quality, TimeQuality::Synced);
        assert!(clock.now().since_boot_ms >= clock.now().since_boot_ms.saturating_sub(1));
    }
}
