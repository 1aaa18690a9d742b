//! Starts units, stops them in the order of the data, and replaces single ones when the configuration changes.
//!
//! Each unit runs in a task of its own. Stopping goes stage by stage, each stage having finished what it holds before
//! the next is told: who asks for work, then leaves, then the middle, then the hub. A stage that does not end within
//! its limit is left behind with a line in the log; the log's own promise does not depend on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidegate_core::{clock::Clock, health::Health};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::unit::{Stage, Unit};

/// How long one stage may take to stop. Longer than any request on a bus (seconds) and any orderly farewell to a hub;
/// four stages stay well below systemd's default of 90 s.
const STAGE_LIMIT: Duration = Duration::from_secs(10);

/// All units that run.
#[derive(Debug)]
pub struct Supervisor {
    running: BTreeMap<String, Running>,
    health: Health,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Running {
    stage: Stage,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// With nothing running yet.
    pub fn new(health: Health, clock: Arc<dyn Clock>) -> Self {
        Self { running: BTreeMap::new(), health, clock }
    }

    /// Starts a unit. One of the same name must have been stopped before.
    pub fn start(&mut self, unit: Unit) {
        let (name, stage, stop) = (unit.name.clone(), unit.stage, CancellationToken::new());
        debug!(unit = %name, "starting");
        let task = tokio::spawn(unit.keep_running(stop.clone(), self.health.clone(), self.clock.clone()));
        self.running.insert(name, Running { stage, stop, task });
    }

    /// Stops one unit and waits for its end.
    pub async fn stop(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name) {
            running.stop.cancel();
            finish(name, running.task, STAGE_LIMIT).await;
        }
    }

    /// As [`Supervisor::stop`], all of these at once.
    pub async fn stop_together(&mut self, names: &[String]) {
        let stopping: Vec<_> = names.iter().filter_map(|name| Some((name, self.running.remove(name)?))).collect();
        stopping.iter().for_each(|(_, running)| running.stop.cancel());
        let until = tokio::time::Instant::now() + STAGE_LIMIT;
        for (name, running) in stopping {
            finish(name, running.task, until - tokio::time::Instant::now()).await;
        }
    }

    /// Stops all, stage by stage.
    pub async fn stop_all(mut self) {
        for stage in Stage::ALL {
            let (of_stage, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
                std::mem::take(&mut self.running).into_iter().partition(|(_, r)| r.stage == stage);
            self.running = rest;
            of_stage.values().for_each(|running| running.stop.cancel());
            let until = tokio::time::Instant::now() + STAGE_LIMIT;
            for (name, running) in of_stage {
                finish(&name, running.task, until - tokio::time::Instant::now()).await;
            }
        }
    }
}

async fn finish(name: &str, mut task: JoinHandle<()>, limit: Duration) {
    if tokio::time::timeout(limit, &mut task).await.is_err() {
        warn!(unit = %name, ?limit, "did not stop in time, left behind");
        task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tidegate_core::clock::{HandClock, Timestamp};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_follows_the_data_and_a_stubborn_unit_does_not_hold_it_up() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut supervisor = Supervisor::new(Health::default(), HandClock::at(Timestamp(0)));
        for (name, stage) in [("hub", Stage::Hub), ("bus", Stage::Leaf), ("socket", Stage::Control), ("stubborn", Stage::Leaf)] {
            let order = order.clone();
            let factory = Box::new(move |stop: CancellationToken| -> crate::unit::Run {
                let order = order.clone();
                Box::pin(async move {
                    stop.cancelled().await;
                    if name == "stubborn" {
                        std::future::pending::<()>().await;
                    }
                    order.lock().expect("not poisoned").push(name);
                    Ok(())
                })
            });
            supervisor.start(Unit { name: name.into(), stage, factory });
        }
        tokio::task::yield_now().await;
        supervisor.stop_all().await;
        assert_eq!(*order.lock().expect("not poisoned"), ["socket", "bus", "hub"]);
    }
}
