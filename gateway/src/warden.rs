//! Watches the log's room, and says when messages are being given up for want of it.

use std::time::Duration;

use tidegate_core::{clock::Clock, health::Condition};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{unit::UnitError, wiring::Parts};

/// How often the log's counters are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Nothing given up for this long: there is room again. Longer than the pause that a full log makes after it has made room.
const QUIET: Duration = Duration::from_secs(60);

/// Until stopped.
pub async fn watch(parts: Parts, stop: CancellationToken) -> Result<(), UnitError> {
    let (mut full, mut disk) = (Watched::new(Condition::LogFull), Watched::new(Condition::DiskFull));
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return Ok(()),
        }
        let counters = parts.log.counters();
        full.look(&parts, counters.evicted, "messages given up to make room");
        disk.look(&parts, counters.refused, "times the disk took nothing");
    }
}

struct Watched {
    condition: Condition,
    seen: u64,
    since: Option<tokio::time::Instant>,
}

impl Watched {
    fn new(condition: Condition) -> Self {
        Self { condition, seen: 0, since: None }
    }

    fn look(&mut self, parts: &Parts, count: u64, what: &str) {
        if count > self.seen {
            (self.seen, self.since) = (count, Some(tokio::time::Instant::now()));
            let detail = format!("{count} {what} since the start");
            if parts.health.raise(self.condition, "", detail, parts.clock.now().wall) {
                error!(code = self.condition.code(), count, "{what}");
            }
        } else if self.since.is_some_and(|since| since.elapsed() >= QUIET) {
            self.since = None;
            if parts.health.clear(self.condition, "") {
                info!(code = self.condition.code(), "there is room again");
            }
        }
    }
}
