//! Serial lines: any device that speaks in frames, whether by itself or when it is asked.
//!
//! Promises: a good frame becomes the readings that its message declares, each with a value or a reason; zero, false and
//! the empty text are values; what is no good frame is never a reading, it is counted for its cause with the bytes
//! of the last one, and the next good frame is found; a device that should speak and does not gives bad readings, and so
//! does one that is asked and does not answer; a late answer is never taken for the next question's, because
//! after a failure the line is listened to until it has been silent for the time limit; a flood is cut at `max_rate` and counted.
//! Nothing is written but points that are declared writable (and raw bytes where a device takes them), only in
//! [`Adapter::execute`], and `done` is said only of what the device said back (`write`).
//!
//! Scale, labels and report policies are `normalise`'s, limits of what may be written the guard's. Reconnecting after a
//! loss is the supervisor's: a read of nothing, or an error, ends the connection, and the next opens the port again by its name.
//! A power cut takes what was read and not yet appended; nothing is kept here that would have to survive. What a device
//! says while the gateway is off is lost with it: serial lines do not wait.
//!
//! The modules stand in the order in which a reading meets them.

mod ask;
mod check;
pub mod checksum;
mod config;
mod device;
mod ear;
pub mod frame;
mod line;
mod look;
pub mod parse;
pub mod port;
pub(crate) mod scan;
pub mod simulator;
pub mod tally;
pub mod template;
mod write;

use std::{fmt, future::pending, sync::Arc};

use async_trait::async_trait;
use tidegate_core::{
    adapter::{Adapter, AdapterError, Harvest, Look},
    catalogue::AdapterKind,
    clock::Clock,
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    scan::ScanKind,
};
use tokio::time::{Instant, sleep_until};

pub use check::checked;
pub use device::Checked;
pub use scan::holders;

use crate::{modbus::Wire, schedule::Schedule};
use ear::Ear;
use line::Line;

/// The row in the catalogue.
pub const KIND: AdapterKind = AdapterKind {
    name: "serial",
    summary: "Anything on a serial line: lines of text, frames, questions and answers",
    readme: include_str!("README.md"),
    example: include_str!("example.toml"),
    schema: || schemars::schema_for!(config::RawLine).into(),
    check: check::check,
    templates: &[],
    scan: Some(ScanKind { options: scan::options, longest: scan::longest, run: scan::run }),
    pair: None,
};

/// Polls of a device without an answer after which it is put aside.
const ASIDE_AFTER: u32 = 3;

/// One line and the devices on it.
pub struct Serial {
    checked: Arc<Checked>,
    line: Line,
    ear: Ear,
    schedule: Schedule,
    /// For each device, polls in a row without an answer.
    silent: Vec<u32>,
    /// An answer may still come that nobody waits for.
    owes: bool,
    /// The line went while a harvest was half done: the harvest was handed over first, this is next.
    lost: Option<AdapterError>,
}

impl Serial {
    /// Opens nothing.
    pub fn new(checked: Arc<Checked>, clock: Arc<dyn Clock>) -> Self {
        let schedule = Schedule::new(checked.devices.iter().map(|device| device.intervals()), Instant::now());
        Self {
            line: Line::new(checked.port.path.clone(), checked.spec.clone(), checked.gap),
            ear: Ear::new(checked.clone(), clock),
            schedule,
            silent: vec![0; checked.devices.len()],
            owes: false,
            lost: None,
            checked,
        }
    }

    /// Over a wire that is already open, for tests and measurements.
    pub fn attach(&mut self, wire: Box<dyn Wire>) {
        self.lost = None;
        self.owes = false;
        self.line.attach(wire);
        self.ear.start();
        self.schedule.start(Instant::now());
        self.silent.fill(0);
    }

    /// What came that was no message.
    pub fn tally(&self) -> &tally::Tally {
        &self.ear.tally
    }

    fn device_of(&self, leaf: &LeafId) -> Option<usize> {
        self.checked.devices.iter().position(|device| device.id == *leaf)
    }

    /// One device's due messages.
    async fn poll(&mut self, at: usize, polls: &[usize]) -> Result<(), AdapterError> {
        let device = self.checked.devices[at].clone();
        let mut answered = false;
        for (message, asked) in polls.iter().filter_map(|poll| device.asked().nth(*poll)) {
            match self.ask(&device, message, asked).await? {
                Ok(answer) => {
                    answered = true;
                    self.ear.take(&device, message, answer.got);
                }
                Err(fault) => {
                    answered |= !fault.is_silence();
                    self.ear.miss(&device, message.points(), &fault);
                }
            }
        }
        self.silent[at] = if answered { 0 } else { self.silent[at].saturating_add(1) };
        if self.silent[at] >= ASIDE_AFTER {
            self.schedule.put_aside(at, Instant::now() + ask::aside(self.silent[at], &device));
        }
        Ok(())
    }

    async fn read_points(&mut self, leaf: &LeafId, names: &[PointName]) -> Result<Outcome, AdapterError> {
        let Some(at) = self.device_of(leaf) else { return Ok(Outcome::Rejected(format!("no device '{leaf}' on this line"))) };
        let device = self.checked.devices[at].clone();
        if let Some(unknown) = names.iter().find(|name| device.find(name).is_none()) {
            return Ok(Outcome::Rejected(format!("'{leaf}' has no point '{unknown}'")));
        }
        if device.asked().next().is_none() {
            return Ok(Outcome::Rejected(format!("'{leaf}' cannot be asked: it speaks when it likes")));
        }
        let wanted = |name: &PointName| names.is_empty() || names.contains(name);
        let mut values = Vec::new();
        for (message, asked) in device.asked().filter(|(message, _)| message.points().iter().any(wanted)) {
            match self.ask(&device, message, asked).await? {
                Ok(answer) => {
                    for (at, got) in answer.got {
                        let name = &message.pattern.fields[at].name;
                        match got {
                            Ok(value) if wanted(name) => values.push((name.clone(), value)),
                            Err(reason) if wanted(name) => return Ok(Outcome::Failed(format!("{name}: {reason}"))),
                            _ => {}
                        }
                    }
                }
                Err(fault) => return Ok(Outcome::Failed(fault.to_string())),
            }
        }
        match names.iter().find(|name| !values.iter().any(|(got, _)| got == *name)) {
            Some(missing) => Ok(Outcome::Failed(format!("{missing}: cannot be asked for"))),
            None => Ok(Outcome::Done(values)),
        }
    }
}

#[async_trait]
impl Adapter for Serial {
    async fn connect(&mut self) -> Result<(), AdapterError> {
        // Before it is opened again: it is ours alone.
        self.line.close();
        let port = self.checked.port.open()?;
        self.attach(Box::new(port));
        Ok(())
    }

    async fn ready(&mut self) {
        while self.lost.is_none() && !self.ear.has_news() {
            let due = [self.schedule.next(), self.ear.next_check()].into_iter().flatten().min();
            tokio::select! {
                event = self.line.next() => match event {
                    Ok(event) => self.ear.hear(event),
                    Err(error) => self.lost = Some(error),
                },
                () = until(due) => return,
            }
        }
    }

    async fn read(&mut self) -> Result<Harvest, AdapterError> {
        self.ear.check_silence();
        if self.lost.is_none()
            && !self.ear.has_news()
            && let Some(turn) = self.schedule.take(Instant::now())
            && let Err(error) = self.poll(turn.unit, &turn.polls).await
        {
            self.lost = Some(error);
        }
        let harvest = self.ear.harvest();
        match self.lost.take() {
            Some(error) if harvest.readings.is_empty() && harvest.misses.is_empty() => Err(error),
            lost => {
                self.lost = lost;
                Ok(harvest)
            }
        }
    }

    async fn execute(&mut self, command: &Command) -> Result<Outcome, AdapterError> {
        let ended = match &command.action {
            Action::Read(names) => self.read_points(&command.leaf, names).await,
            Action::Write(wanted) => self.write_points(&command.leaf, wanted).await,
            Action::Raw(bytes) => self.write_raw(&command.leaf, bytes).await,
            Action::Message { .. } => Ok(Outcome::Rejected("a device on a serial line takes no messages: name points to write".to_owned())),
        };
        if ended.is_err() {
            self.owes = true;
        }
        ended
    }

    async fn close(&mut self) {
        self.line.close();
    }

    async fn look(&mut self, leaf: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        self.look_at(leaf).await
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").field("port", &self.checked.port.path).field("tally", &self.ear.tally).finish_non_exhaustive()
    }
}
