//! Modbus: TCP, RTU on a serial line, RTU over TCP.
//!
//! Promises: each point is read at its interval without drift; each poll of a unit is one harvest in which every point
//! that was due is a value or a miss with its reason; a late answer is never taken for the next question's; a unit that
//! is silent costs the others at most its time limits, and after three polls is only asked now and then. Reads with
//! functions 1 to 4 and asks who is there with 43/14. Functions that also write (23 among them) are never used to read.
//! Writes with 5, 6, 15, 16 and 22, only points that are declared writable, only in [`Adapter::execute`], and says
//! `done` only of what it has read back (`write`).
//!
//! Scale, offset, labels and report policies are `normalise`'s, limits of what may be written the guard's. Reconnecting after a loss is the supervisor's.
//! A power cut takes what was read and not yet appended; nothing is kept here that would have to survive.
//!
//! The modules stand in the order in which a reading meets them.

pub mod change;
mod check;
mod config;
mod debt;
pub mod fault;
mod harvest;
pub mod link;
pub mod plan;
mod question;
mod rtu;
mod scan;
pub mod simulator;
mod tap;
mod template;
pub mod transport;
pub mod unit;
mod write;

use std::{fmt, future::pending, sync::Arc};

use async_trait::async_trait;
use tidegate_core::{
    adapter::{Adapter, AdapterError, Harvest, Look},
    catalogue::AdapterKind,
    clock::Clock,
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    reading::Value,
    scan::ScanKind,
};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

pub use crate::{schedule, value};
pub use check::Checked;
pub use tap::Wire;

use harvest::{Looker, Reaper};
use link::Link;
use schedule::Schedule;
use unit::{Standing, Unit};

/// The row in the catalogue.
pub const KIND: AdapterKind = AdapterKind {
    name: "modbus",
    summary: "Modbus TCP, RTU on a serial line, RTU over TCP",
    readme: include_str!("README.md"),
    example: include_str!("example.toml"),
    schema: || schemars::schema_for!(config::RawBus).into(),
    check: check::check,
    templates: template::ALL,
    scan: Some(ScanKind { options: scan::options, longest: scan::longest, run: scan::run }),
    pair: None,
};

/// One bus and its units.
pub struct Modbus {
    checked: Arc<Checked>,
    clock: Arc<dyn Clock>,
    link: Link,
    units: Vec<Unit>,
    schedule: Schedule,
    /// The bus went while a harvest was half done: the harvest was handed over first, this is next.
    lost: Option<AdapterError>,
    told_too_slow: bool,
}

impl Modbus {
    /// Opens nothing.
    pub fn new(checked: Arc<Checked>, clock: Arc<dyn Clock>) -> Self {
        let link = Link::new(checked.bus.clone());
        let schedule = Schedule::new(checked.devices.iter().map(|device| device.intervals()), Instant::now());
        let units = checked.devices.iter().cloned().map(Unit::new).collect();
        Self { checked, clock, link, units, schedule, lost: None, told_too_slow: false }
    }

    fn unit_of(&self, leaf: &LeafId) -> Option<usize> {
        self.units.iter().position(|unit| unit.device.id == *leaf)
    }

    /// Slots are skipped when the bus cannot keep up. Said once for each connection.
    fn tell_if_too_slow(&mut self) {
        let skipped = self.schedule.take_skipped();
        if skipped > 0 && !self.told_too_slow && !self.units.iter().any(Unit::is_aside) {
            self.told_too_slow = true;
            warn!(bus = %self.checked.bus.transport, skipped, "the bus is slower than the intervals ask for, polls are skipped");
        }
    }

    async fn read_points(&mut self, leaf: &LeafId, names: &[PointName]) -> Result<Outcome, AdapterError> {
        let Some(at) = self.unit_of(leaf) else { return Ok(Outcome::Rejected(format!("no device '{leaf}' on this bus"))) };
        let device = self.units[at].device.clone();
        let mut points = Vec::with_capacity(names.len());
        for name in names {
            match device.points.iter().position(|point| point.name == *name) {
                Some(point) => points.push(point),
                None => return Ok(Outcome::Rejected(format!("'{leaf}' has no point '{name}'"))),
            }
        }
        points.sort_unstable();
        points.dedup();
        let requests = if names.is_empty() { device.plan(0..device.points.len()) } else { device.plan(points) };
        let mut reaper = Reaper::new(&*self.clock);
        self.units[at].ask_now(&mut self.link, requests, &mut reaper).await?;
        Ok(reaper.into_outcome())
    }
}

impl Modbus {
    async fn write_points(&mut self, leaf: &LeafId, wanted: &[(PointName, Value)]) -> Outcome {
        let Some(at) = self.unit_of(leaf) else { return Outcome::Rejected(format!("no device '{leaf}' on this bus")) };
        let (outcome, lost) = write::write(&self.units[at], &mut self.link, wanted).await;
        if self.checked.close_after_poll {
            self.link.close();
        }
        // The outcome says more than the loss: that is told by the next read.
        self.lost = self.lost.take().or(lost);
        outcome
    }
}

#[async_trait]
impl Adapter for Modbus {
    async fn connect(&mut self) -> Result<(), AdapterError> {
        self.lost = None;
        self.told_too_slow = false;
        self.link.connect().await?;
        // What was learned about refusals may have been about another device at the same address.
        self.units = self.checked.devices.iter().cloned().map(Unit::new).collect();
        self.schedule.start(Instant::now());
        Ok(())
    }

    async fn ready(&mut self) {
        match self.schedule.next() {
            _ if self.lost.is_some() => {}
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// One unit's due points.
    async fn read(&mut self) -> Result<Harvest, AdapterError> {
        if let Some(lost) = self.lost.take() {
            return Err(lost);
        }
        let Some(turn) = self.schedule.take(Instant::now()) else { return Ok(Harvest::default()) };
        self.tell_if_too_slow();
        let Some(unit) = self.units.get_mut(turn.unit) else { return Ok(Harvest::default()) };
        let mut reaper = Reaper::new(&*self.clock);
        let standing = unit.poll(&mut self.link, &turn.polls, &mut reaper).await;
        if self.checked.close_after_poll {
            self.link.close();
        }
        let harvest = reaper.into_harvest();
        match standing {
            Ok(Standing::Aside(pause)) => self.schedule.put_aside(turn.unit, Instant::now() + pause),
            Ok(Standing::Present) => {}
            Err(lost) if harvest.readings.is_empty() => return Err(lost),
            Err(lost) => self.lost = Some(lost),
        }
        Ok(harvest)
    }

    async fn execute(&mut self, command: &Command) -> Result<Outcome, AdapterError> {
        match &command.action {
            Action::Read(names) => self.read_points(&command.leaf, names).await,
            Action::Write(wanted) => Ok(self.write_points(&command.leaf, wanted).await),
            Action::Raw(_) | Action::Message { .. } => {
                Ok(Outcome::Rejected("a Modbus unit takes no raw bytes: name points to write".to_owned()))
            }
        }
    }

    async fn close(&mut self) {
        self.link.close();
    }

    async fn look(&mut self, leaf: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        let mut looks = Vec::new();
        for unit in self.units.iter().filter(|unit| leaf.is_none_or(|leaf| unit.device.id == *leaf)) {
            let mut looker = Looker::default();
            let all = unit.device.plan(0..unit.device.points.len());
            unit.ask_now(&mut self.link, all, &mut looker).await?;
            let identity = match looker.found_somebody() {
                // Who does not know the function refuses it, or says nothing; both are fine.
                true => self.link.identify(&unit.device.asked).await.unwrap_or_default(),
                false => Vec::new(),
            };
            looks.push(Look { leaf: unit.device.id.clone(), identity, lines: looker.into_lines(&unit.device) });
        }
        Ok(looks)
    }
}

impl fmt::Debug for Modbus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modbus").field("link", &self.link).field("units", &self.units).finish_non_exhaustive()
    }
}
