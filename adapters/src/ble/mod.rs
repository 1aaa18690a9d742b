//! Bluetooth LE sensors: what they advertise, decoded, from BlueZ or from a receiver on a socket.
//!
//! Promises: only sensors that are configured are taken; an advertisement that cannot be read is counted by its cause and
//! never a reading; a sensor says at most one message in its interval, with the newest values, and an event at once; one that
//! is silent for longer than its own pauses explain is bad with the reason; a radio that has gone deaf is climbed out of
//! ([`ladder`]); the end of bluetoothd, of the bus or of the radio is an error of the bus in bounded time.
//! Memory: one advertisement for each sensor, and a bounded queue.
//!
//! It listens and connects to nothing. What was heard and not yet appended is lost with the power; nothing here would have to survive it
//! but the replay counters, which are learned anew from the first advertisement after a start.

pub mod advert;
mod check;
mod config;
pub mod decode;
mod ladder;
mod leaf;
mod radio;
mod scan;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tidegate_core::{
    adapter::{Adapter, AdapterError, Harvest, Look, LookLine},
    catalogue::AdapterKind,
    clock::Clock,
    command::{Action, Command, Outcome},
    id::LeafId,
    reading::{Quality, Reason},
    scan::ScanKind,
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};

use advert::{Address, Advert};
use check::{Checked, Sensor};
use decode::Key;
use ladder::{Ladder, Step};
use leaf::Leaf;
use radio::{BlueZ, Feed, Radio};

/// The row in the catalogue.
pub const KIND: AdapterKind = AdapterKind {
    name: "ble",
    summary: "Bluetooth LE sensors: BTHome, Ruuvi, ATC and pvvx, Xiaomi MiBeacon, iBeacon, Eddystone",
    readme: include_str!("README.md"),
    example: include_str!("example.toml"),
    schema: || schemars::schema_for!(config::RawRadio).into(),
    check: check::check,
    templates: &[],
    scan: Some(ScanKind { options: scan::options, longest: scan::longest, run: scan::run }),
};

/// Most advertisements taken in one read, so that a read is short however full the air is.
const MOST: usize = 256;
/// How long a person who looks waits for sensors that have not been heard yet.
const LOOK: Duration = Duration::from_secs(15);

/// One radio and the sensors that it listens to.
struct Ble {
    checked: Arc<Checked>,
    clock: Arc<dyn Clock>,
    radio: Box<dyn Radio>,
    leaves: Vec<Leaf>,
    by_address: HashMap<Address, usize>,
    ladder: Ladder,
    /// Heard while waiting, for the next read.
    next: Option<Result<Advert, AdapterError>>,
}

impl Ble {
    fn new(checked: Arc<Checked>, clock: Arc<dyn Clock>) -> Self {
        let radio: Box<dyn Radio> = match checked.radio.starts_with('/') {
            true => Box::new(Feed::new(checked.radio.clone().into())),
            false => Box::new(BlueZ::new(checked.radio.clone(), checked.bus.clone())),
        };
        let by_address = checked.sensors.iter().enumerate().map(|(at, sensor)| (sensor.address, at)).collect();
        Self { checked, clock, radio, leaves: Vec::new(), by_address, ladder: Ladder::new(Instant::now()), next: None }
    }

    fn due(&self) -> Instant {
        self.leaves.iter().filter_map(Leaf::due).fold(self.ladder.due(), Instant::min)
    }

    fn take(&mut self, advert: Advert, harvest: &mut Harvest) {
        let now = Instant::now();
        self.ladder.heard(now);
        let stamp = self.clock.now();
        if let Some(leaf) = self.leaf_of(&advert) {
            harvest.misses.extend(leaf.take(advert, now, stamp));
        }
    }

    fn leaf_of(&mut self, advert: &Advert) -> Option<&mut Leaf> {
        self.by_address.get(&advert.address).and_then(|at| self.leaves.get_mut(*at))
    }

    async fn climb(&mut self, step: Step) -> Result<(), AdapterError> {
        let silence = self.ladder.silence(Instant::now()).as_secs();
        warn!(radio = %self.checked.radio, ?step, silence_s = silence, "nothing is heard any more");
        match step {
            Step::RestartScan => self.radio.restart_scan().await,
            Step::PowerCycle => self.radio.power_cycle().await,
            Step::Reopen => Err(AdapterError::Lost {
                what: format!("Bluetooth adapter {}", self.checked.radio),
                why: format!(
                    "nothing heard for {silence} s, although the scan was restarted and the radio switched off and on; unplug it if this stays"
                ),
            }),
        }
    }
}

async fn key_of(sensor: &Sensor) -> Result<Option<Key>, AdapterError> {
    let Some(path) = &sensor.key_file else { return Ok(None) };
    let what = || path.display().to_string();
    let text = tokio::fs::read_to_string(path).await.map_err(|source| AdapterError::Open { what: what(), source })?;
    let wrong = || AdapterError::Open { what: what(), source: std::io::Error::other("not a key: write its 32 hexadecimal digits") };
    Key::parse(&text).map(Some).ok_or_else(wrong)
}

#[async_trait]
impl Adapter for Ble {
    async fn connect(&mut self) -> Result<(), AdapterError> {
        self.next = None;
        let mut keys = Vec::with_capacity(self.checked.sensors.len());
        for sensor in &self.checked.sensors {
            keys.push(key_of(sensor).await?);
        }
        self.radio.open().await?;
        let now = Instant::now();
        self.leaves = self.checked.sensors.iter().cloned().zip(keys).map(|(sensor, key)| Leaf::new(sensor, key, now)).collect();
        self.ladder = Ladder::new(now);
        Ok(())
    }

    async fn ready(&mut self) {
        if self.next.is_some() {
            return;
        }
        let due = self.due();
        tokio::select! {
            heard = self.radio.hear() => self.next = Some(heard),
            () = sleep_until(due) => {}
        }
    }

    async fn read(&mut self) -> Result<Harvest, AdapterError> {
        let mut harvest = Harvest::default();
        let mut taken = 0;
        while let Some(heard) = self.next.take().or_else(|| self.radio.heard().map(Ok)) {
            let advert = heard?;
            if self.leaf_of(&advert).is_some_and(|leaf| leaf.holds_event()) {
                self.next = Some(Ok(advert));
                break;
            }
            self.take(advert, &mut harvest);
            taken += 1;
            if taken == MOST {
                break;
            }
        }
        let now = Instant::now();
        for leaf in &mut self.leaves {
            harvest.readings.extend(leaf.hand_over(now));
            harvest.misses.extend(leaf.missed(now, self.clock.now()));
        }
        if let Some(step) = self.ladder.step(now) {
            self.climb(step).await?;
        }
        Ok(harvest)
    }

    async fn execute(&mut self, command: &Command) -> Result<Outcome, AdapterError> {
        let Some(leaf) = self.leaves.iter().find(|leaf| leaf.sensor.id == command.leaf) else {
            return Ok(Outcome::Rejected(format!("no device '{}' on this radio", command.leaf)));
        };
        let Action::Read(names) = &command.action else {
            return Ok(Outcome::Rejected("a sensor that advertises takes no commands".to_owned()));
        };
        if let Some(unknown) = names.iter().find(|name| !leaf.sensor.points.iter().any(|(point, _)| point == *name)) {
            return Ok(Outcome::Rejected(format!("'{}' has no point '{unknown}'", command.leaf)));
        }
        Ok(Outcome::Rejected("a sensor that advertises cannot be asked; it speaks when it likes".to_owned()))
    }

    async fn close(&mut self) {
        self.radio.close().await;
    }

    /// Listens until each has been heard, or the time is over.
    async fn look(&mut self, wanted: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        let (start, mut details) = (Instant::now(), HashMap::new());
        let asked = |leaf: &Leaf| wanted.is_none_or(|id| leaf.sensor.id == *id);
        while self.leaves.iter().any(|leaf| asked(leaf) && !leaf.was_heard()) {
            let Ok(heard) = timeout_at(start + LOOK, self.radio.hear()).await else { break };
            let mut harvest = Harvest::default();
            self.take(heard?, &mut harvest);
            details.extend(harvest.misses.into_iter().map(|miss| (miss.leaf.clone(), miss)));
        }
        info!(radio = %self.checked.radio, "listened");
        let look = |leaf: &Leaf| {
            let readings = leaf.readings();
            let line = |(point, field): &(tidegate_core::id::PointName, String)| {
                let known = readings.iter().find(|reading| reading.point == *point);
                let miss = details.get(&leaf.sensor.id);
                let (reason, detail) = match (miss, leaf.was_heard()) {
                    (Some(miss), _) => (miss.reason.clone(), miss.detail.clone()),
                    (None, true) => (Reason::Other("no-such-field"), format!("it was heard and says no '{field}'")),
                    (None, false) => (Reason::Timeout, format!("not heard within {} s", LOOK.as_secs())),
                };
                LookLine {
                    point: point.clone(),
                    value: known.and_then(|reading| reading.value.clone()),
                    quality: if known.is_some() { Quality::Good } else { Quality::Bad(reason) },
                    request: format!("listened for {}", leaf.sensor.address),
                    raw: leaf.raw(),
                    detail: if known.is_some() { String::new() } else { detail },
                    took: start.elapsed(),
                }
            };
            Look { leaf: leaf.sensor.id.clone(), identity: vec![], lines: leaf.sensor.points.iter().map(line).collect() }
        };
        Ok(self.leaves.iter().filter(|leaf| asked(leaf)).map(look).collect())
    }
}

impl fmt::Debug for Ble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ble").field("radio", &self.radio).field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}
