//! Drives one adapter, one turn at a time.
//!
//! A turn is either one command or one read; a stop request comes between turns, never inside one.
//! Room downstream is reserved *before* the adapter reads, so nothing read is ever thrown away.
//! Reconnecting is not done here: a lost bus ends the run, and the supervisor starts the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tidegate_core::{
    adapter::{Adapter, AdapterError, Harvest, Miss, Remark},
    clock::Clock,
    command::{Command, Outcome},
    health::{Condition, Health},
    id::{LeafId, Name, PointName},
    reading::{Reading, Reason},
};
use tidegate_store::StoreError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    board::{AdapterRow, count},
    intake::Intake,
    killpoint,
    look::LookOrder,
    pulse::Pulse,
    unit::UnitError,
};

/// A command and the one who waits for its outcome.
pub struct Order {
    /// Awaited just before the adapter acts, so that a command which waited here too long is not begun, and that its beginning is on
    /// disk before anything is on the bus. `None`: nobody wants it any more.
    pub begin: BoxFuture<'static, Option<Command>>,
    /// Told once; dropped untold after the beginning, the outcome is uncertain.
    pub outcome: oneshot::Sender<Outcome>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}

/// Commands waiting for one adapter. Small: a bus does a few a second, and the inbox above is where commands wait.
pub const ORDERS: usize = 16;

/// How long `ready` may wait before the loop shows that it is alive.
const BREATH: Duration = Duration::from_secs(5);

/// One adapter with what it needs, kept across its connections.
#[derive(Debug)]
pub struct Leaves {
    /// The adapter's name.
    pub name: Name,
    /// The leaves on it.
    pub leaves: Vec<LeafId>,
    /// Where harvests go.
    pub intake: Mutex<Intake>,
    /// Where commands come from.
    pub orders: Mutex<mpsc::Receiver<Order>>,
    /// Where looks are asked for.
    pub looks: Mutex<mpsc::Receiver<LookOrder>>,
    /// Counters.
    pub row: Arc<AdapterRow>,
    /// What is wrong.
    pub health: Health,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Shows that the loop goes round.
    pub pulse: Pulse,
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Bus(#[from] AdapterError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Leaves {
    /// One connection's life. `Ok` when stopped; an error when the bus is lost or cannot be opened.
    pub async fn run(self: Arc<Self>, mut adapter: Box<dyn Adapter>, stop: CancellationToken) -> Result<(), UnitError> {
        let (intake, orders, looks) = (self.intake.lock().await, self.orders.lock().await, self.looks.lock().await);
        let mut turns = Turns { intake, orders, looks, failing: BTreeMap::new(), of: &self };
        let ended = turns.drive(adapter.as_mut(), &stop).await;
        adapter.close().await;
        self.row.lost();
        match ended {
            Ok(()) => Ok(()),
            Err(RunError::Store(_)) => Err(UnitError { why: "the log is closed".into(), told: true }),
            Err(RunError::Bus(error)) => {
                turns.bus_down(&error).await;
                Err(UnitError { why: error.to_string(), told: true })
            }
        }
    }
}

/// One run of the loop.
struct Turns<'a> {
    of: &'a Leaves,
    intake: tokio::sync::MutexGuard<'a, Intake>,
    orders: tokio::sync::MutexGuard<'a, mpsc::Receiver<Order>>,
    looks: tokio::sync::MutexGuard<'a, mpsc::Receiver<LookOrder>>,
    /// Leaves that fail now.
    failing: BTreeMap<LeafId, Failing>,
}

/// How a leaf fails, and which of its points; none named means all.
struct Failing {
    condition: Condition,
    points: BTreeSet<PointName>,
}

enum Turn {
    Read,
    Execute(Order),
    Look(LookOrder),
    SendWaiting,
    Breathe,
}

impl Turns<'_> {
    async fn drive(&mut self, adapter: &mut dyn Adapter, stop: &CancellationToken) -> Result<(), RunError> {
        let of = self.of;
        of.pulse.beat();
        tokio::select! {
            connected = adapter.connect() => connected?,
            () = stop.cancelled() => return Ok(()),
        }
        of.row.opened();
        count(&of.row.connects, 1);
        if of.health.clear(Condition::BusDown, of.name.as_str()) || of.row.connects.load(Relaxed) == 1 {
            info!(adapter = %of.name, leaves = of.leaves.len(), "bus open");
        }
        loop {
            of.pulse.beat();
            let slot = tokio::select! {
                slot = self.intake.room() => slot?,
                () = stop.cancelled() => return Ok(()),
            };
            let due = self.intake.next_due().map(|due| Duration::from_millis(due.saturating_sub(of.clock.now().since_boot_ms)));
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(order) = self.orders.recv() => Turn::Execute(order),
                Some(order) = self.looks.recv() => Turn::Look(order),
                () = adapter.ready() => Turn::Read,
                () = tokio::time::sleep(due.unwrap_or(BREATH)), if due.is_some() => Turn::SendWaiting,
                () = tokio::time::sleep(BREATH) => Turn::Breathe,
            };
            match turn {
                Turn::Read => {
                    let harvest = adapter.read().await?;
                    self.tell(&harvest);
                    harvest.remark.iter().for_each(|remark| self.remark(remark));
                    count(&of.row.reads, 1);
                    self.intake.fill(slot, harvest);
                }
                Turn::Execute(order) => execute(adapter, order).await?,
                Turn::Look(order) => look(adapter, order).await?,
                Turn::SendWaiting => self.intake.fill_waiting(slot),
                Turn::Breathe => {}
            }
        }
    }

    /// Raises what is news about leaves, and clears what is right again.
    fn tell(&mut self, harvest: &Harvest) {
        self.of.row.heard(harvest);
        if !self.failing.is_empty() {
            harvest.readings.iter().for_each(|reading| self.came(reading));
        }
        harvest.misses.iter().for_each(|miss| self.fail(miss));
        let silent = self.failing.values().filter(|f| f.condition == Condition::LeafSilent).count();
        self.of.row.silent.store(silent as u64, Relaxed);
    }

    /// What the adapter says of its bus.
    fn remark(&self, remark: &Remark) {
        let of = self.of;
        match remark {
            Remark::Stalled(what) => {
                count(&of.row.recoveries, 1);
                of.health.raise(Condition::BusStalled, of.name.as_str(), what.clone(), of.clock.now().wall);
            }
            Remark::Recovered => {
                of.health.clear(Condition::BusStalled, of.name.as_str());
                info!(adapter = %of.name, "works again");
            }
        }
    }

    fn fail(&mut self, miss: &Miss) {
        let (of, condition) = (self.of, condition_of(&miss.reason));
        let failing = self.failing.entry(miss.leaf.clone()).or_insert_with(|| Failing { condition, points: BTreeSet::new() });
        failing.points.extend(miss.points.iter().cloned());
        if failing.condition != condition {
            of.health.clear(failing.condition, miss.leaf.as_str());
            failing.condition = condition;
        }
        if of.health.raise(condition, miss.leaf.as_str(), format!("{}: {}", of.name, miss.detail), of.clock.now().wall) {
            warn!(adapter = %of.name, leaf = %miss.leaf, code = condition.code(), "{}", miss.detail);
        }
    }

    /// A value came. The leaf is right again once each point that failed has come.
    fn came(&mut self, reading: &Reading) {
        let Some(failing) = self.failing.get_mut(&reading.leaf) else { return };
        failing.points.remove(&reading.point);
        if failing.points.is_empty() {
            self.of.health.clear(failing.condition, reading.leaf.as_str());
            self.failing.remove(&reading.leaf);
            info!(adapter = %self.of.name, leaf = %reading.leaf, "answers again");
        }
    }

    /// Once per loss: every leaf of the bus gives a bad reading, so that the hub hears of it.
    async fn bus_down(&mut self, error: &AdapterError) {
        let of = self.of;
        while let Ok(order) = self.looks.try_recv() {
            order.answer.send(Err(error.to_string())).ok();
        }
        for (leaf, failing) in std::mem::take(&mut self.failing) {
            of.health.clear(failing.condition, leaf.as_str());
        }
        if !of.health.raise(Condition::BusDown, of.name.as_str(), error.to_string(), of.clock.now().wall) {
            return;
        }
        warn!(adapter = %of.name, %error, "bus down");
        let taken = of.clock.now();
        let miss = |leaf: &LeafId| Miss { leaf: leaf.clone(), points: vec![], reason: Reason::BusDown, detail: error.to_string(), taken };
        if let Ok(slot) = self.intake.room().await {
            let misses = of.leaves.iter().map(miss).collect();
            self.intake.fill_misses(slot, misses);
        }
    }
}

fn condition_of(reason: &Reason) -> Condition {
    match reason {
        Reason::Timeout | Reason::PutAside => Condition::LeafSilent,
        Reason::Refused(_) => Condition::LeafRefuses,
        _ => Condition::LeafGarbled,
    }
}

async fn execute(adapter: &mut dyn Adapter, order: Order) -> Result<(), AdapterError> {
    let Some(command) = order.begin.await else { return Ok(()) };
    killpoint::pass("after-begin");
    let (outcome, lost) = match adapter.execute(&command).await {
        Ok(outcome) => (outcome, None),
        Err(error) => (Outcome::Uncertain(error.to_string()), Some(error)),
    };
    killpoint::pass("after-execute");
    // Nobody may be waiting any more; what happened, happened.
    order.outcome.send(outcome).ok();
    lost.map_or(Ok(()), Err)
}

/// For a person who waits. One who has gone away again costs the bus nothing.
async fn look(adapter: &mut dyn Adapter, order: LookOrder) -> Result<(), AdapterError> {
    if order.answer.is_closed() {
        return Ok(());
    }
    let (seen, lost) = match adapter.look(Some(&order.leaf)).await {
        Ok(looks) => (Ok(looks), None),
        Err(error) => (Err(error.to_string()), Some(error)),
    };
    order.answer.send(seen).ok();
    lost.map_or(Ok(()), Err)
}
