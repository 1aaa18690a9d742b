//! What came that was no message: counted for each cause, with the bytes of the last one.

use std::{fmt::Write, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::frame::{Bad, Cause};

/// Each cause is told of at most once in this time: a noisy line must not fill the journal.
const TELL: Duration = Duration::from_secs(60);

/// Counts since the adapter was made.
#[derive(Debug, Default)]
pub struct Tally {
    causes: [Count; Cause::ALL.len()],
}

#[derive(Debug, Default, Clone)]
struct Count {
    count: u64,
    last: Vec<u8>,
    told: Option<(Instant, u64)>,
}

impl Tally {
    /// One more. Says so, now and then.
    pub(super) fn add(&mut self, bad: Bad, line: &str) {
        let cause = bad.cause;
        let count = &mut self.causes[cause as usize];
        count.count += 1;
        count.last = bad.sample;
        let now = Instant::now();
        if count.told.is_none_or(|(at, _)| now.duration_since(at) >= TELL) {
            let since = count.count - count.told.map_or(0, |(_, before)| before);
            count.told = Some((now, count.count));
            warn!(line, count = since, total = count.count, last = %hex(&count.last), "frames {cause}");
        }
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.causes.iter().map(|count| count.count).sum()
    }

    /// Of one cause.
    pub fn of(&self, cause: Cause) -> u64 {
        self.causes[cause as usize].count
    }

    /// `3 with a wrong checksum (last 02 31 03)`, for each cause that there was; empty when there was none.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for (cause, count) in Cause::ALL.iter().zip(&self.causes).filter(|(_, count)| count.count > 0) {
            let comma = if words.is_empty() { "" } else { ", " };
            write!(words, "{comma}{} {cause} (last {})", count.count, hex(&count.last)).ok();
        }
        words
    }
}

/// `02 31 03`.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        write!(text, "{}{byte:02x}", if at == 0 { "" } else { " " }).ok();
    }
    text
}
