//! Everything that runs is a unit: a name, a stage, and a factory that can be called again.
//!
//! A unit's run ends by itself with an error (it is started again after a pause), by a panic (likewise: a panic is one
//! failed run of one unit), or with `Ok` because it was asked to stop. Units are never given up on: a bus may come
//! back after a week.

use std::{fmt, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tidegate_core::{
    backoff::Backoff,
    clock::Clock,
    health::{Condition, Health},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// When a unit is stopped: who asks for work first, the hub last. Starting goes the other way.
/// The log is no unit; it is opened before all of them and closed after all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Asks for work: control socket, watchdog.
    Control,
    /// Reads leaves.
    Leaf,
    /// Watches and corrects: the timekeeper.
    Middle,
    /// Talks to a hub.
    Hub,
}

impl Stage {
    /// In the order of stopping.
    pub const ALL: [Stage; 4] = [Stage::Control, Stage::Leaf, Stage::Middle, Stage::Hub];
}

/// Why one run of a unit ended before it was asked to.
#[derive(Debug)]
pub struct UnitError {
    /// For people.
    pub why: String,
    /// Whether the unit has told about it itself, so that the supervisor only makes the pause.
    pub told: bool,
}

impl<E: std::error::Error> From<E> for UnitError {
    fn from(error: E) -> Self {
        Self { why: error.to_string(), told: false }
    }
}

/// One run: ends with `Ok` once the token is cancelled.
pub type Run = BoxFuture<'static, Result<(), UnitError>>;

/// Makes a run; called again after each failure.
pub type Factory = Box<dyn FnMut(CancellationToken) -> Run + Send>;

/// Something that runs.
pub struct Unit {
    /// For logs and health entries, such as `adapter plant`.
    pub name: String,
    /// When it is stopped.
    pub stage: Stage,
    /// Makes its runs.
    pub factory: Factory,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("name", &self.name).field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// First pause after a failed run, and the longest one. Five seconds at most, because a person who has plugged a cable
/// back in is watching.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// A run that lasted this long begins with short pauses again.
const STEADY: Duration = Duration::from_secs(20);

impl Unit {
    /// Runs it again and again until the token is cancelled.
    pub async fn keep_running(mut self, stop: CancellationToken, health: Health, clock: std::sync::Arc<dyn Clock>) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while !stop.is_cancelled() {
            let begun = tokio::time::Instant::now();
            let ended = std::panic::AssertUnwindSafe((self.factory)(stop.clone())).catch_unwind().await;
            if stop.is_cancelled() {
                self.say_goodbye(&ended);
                break;
            }
            match ended {
                Ok(Ok(())) => break,
                Ok(Err(error)) if error.told => debug!(unit = %self.name, why = %error.why, "run ended"),
                Ok(Err(error)) => {
                    warn!(unit = %self.name, why = %error.why, "run ended, starting again");
                    health.raise(Condition::UnitRestarted, &self.name, error.why, clock.now().wall);
                }
                Err(panic) => {
                    let why = panic_text(panic.as_ref());
                    error!(unit = %self.name, %why, "panicked, starting again");
                    health.raise(Condition::UnitRestarted, &self.name, format!("panic: {why}"), clock.now().wall);
                }
            }
            if begun.elapsed() >= STEADY {
                backoff.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = stop.cancelled() => {}
            }
        }
        debug!(unit = %self.name, "stopped");
    }

    fn say_goodbye(&self, ended: &Result<Result<(), UnitError>, Box<dyn std::any::Any + Send>>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(unit = %self.name, why = %error.why, "ended with an error while stopping"),
            Err(panic) => error!(unit = %self.name, why = %panic_text(panic.as_ref()), "panicked while stopping"),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tidegate_core::clock::{HandClock, Timestamp};

    use super::*;

    fn counted(run: impl Fn(usize, CancellationToken) -> Run + Send + 'static) -> (Unit, Arc<AtomicUsize>) {
        let runs = Arc::new(AtomicUsize::new(0));
        let seen = runs.clone();
        let factory = Box::new(move |stop| run(seen.fetch_add(1, Ordering::SeqCst), stop));
        (Unit { name: "test".into(), stage: Stage::Leaf, factory }, runs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_one_failed_run() {
        let stop = CancellationToken::new();
        let (unit, runs) = counted(|n, stop| {
            Box::pin(async move {
                assert!(n >= 2, "on purpose");
                stop.cancelled().await;
                Ok(())
            })
        });
        let health = Health::default();
        let task = tokio::spawn(unit.keep_running(stop.clone(), health.clone(), HandClock::at(Timestamp(0))));
        while runs.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
        task.await.expect("the supervisor's own task does not panic");
        assert_eq!(health.list()[0].code, "unit-restarted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_is_never_given_up_on() {
        let stop = CancellationToken::new();
        let (unit, runs) = counted(|_, _| Box::pin(async { Err(UnitError { why: "no bus".into(), told: true }) }));
        let task = tokio::spawn(unit.keep_running(stop.clone(), Health::default(), HandClock::at(Timestamp(0))));
        tokio::time::sleep(Duration::from_secs(7 * 24 * 3600)).await;
        let so_far = runs.load(Ordering::SeqCst);
        assert!(so_far > 100_000, "{so_far}");
        stop.cancel();
        task.await.expect("ends when asked");
    }
}
