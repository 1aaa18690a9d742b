//! Bluetooth LE sensors: what they advertise, decoded, from BlueZ or from a receiver on a socket; and what they say when connected to.
//!
//! Promises: only sensors that are configured are taken; an advertisement that cannot be read is counted by its cause and
//! never a reading; a sensor says at most one message in its interval, with the newest values, and an event at once; one that
//! is silent for longer than its own pauses explain is bad with the reason; a radio that has gone deaf is climbed out of
//! ([`ladder`]); the end of bluetoothd, of the bus or of the radio is an error of the bus in bounded time.
//! Memory: one advertisement for each sensor, and a bounded queue.
//!
//! Devices with characteristics are connected to beside that ([`gatt`]); a command to one of them goes on listening while it waits.
//!
//! What was heard and not yet appended is lost with the power; nothing here would have to survive it but the replay counters, which are
//! learned anew from the first advertisement after a start, and bonds, which BlueZ keeps.

pub mod advert;
mod agenda;
mod agent;
mod check;
mod config;
pub mod decode;
mod execute;
mod gatt;
mod host;
mod ladder;
mod leaf;
mod look;
mod pair;
mod radio;
mod reset;
mod scan;

use std::{collections::HashMap, fmt, io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tidegate_core::{
    adapter::{Adapter, AdapterError, Harvest, Look, Miss, Remark},
    catalogue::AdapterKind,
    clock::Clock,
    command::{Command, Outcome},
    id::LeafId,
    pair::PairKind,
    scan::ScanKind,
};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, sleep_until},
};
use tracing::warn;

use advert::{Address, Advert};
use agenda::Agenda;
use agent::{Agent, Answers};
use check::{Checked, Sensor, Source};
use decode::{Key, WANTED};
use gatt::{Links, News};
use ladder::{Ladder, Step};
use leaf::Leaf;
use radio::{BlueZ, Feed, Radio, Wanted};

/// The row in the catalogue.
pub const KIND: AdapterKind = AdapterKind {
    name: "ble",
    summary: "Bluetooth LE: sensors that advertise (BTHome, Ruuvi, ATC and pvvx, MiBeacon, beacons, own maps), and GATT devices",
    readme: include_str!("README.md"),
    example: include_str!("example.toml"),
    schema: || schemars::schema_for!(config::RawRadio).into(),
    check: check::check,
    templates: &[],
    scan: Some(ScanKind { options: scan::options, longest: scan::longest, run: scan::run }),
    pair: Some(PairKind { options: pair::options, check: pair::check, run: pair::run }),
};

/// Most advertisements taken in one read, so that a read is short however full the air is.
const MOST: usize = 256;
/// What is heard waits so long for company: a turn costs as much as an advertisement, and nobody sees the difference.
const GATHER: Duration = Duration::from_millis(20);
/// Misses that are kept while a command is carried out; more say nothing new.
const MOST_MISSES: usize = 256;
/// A key file holds 32 digits, and maybe the end of a line; a passkey file six.
const LONGEST_KEY: usize = 128;
const LONGEST_PASSKEY: usize = 16;

/// One radio and the sensors that it listens to.
struct Ble {
    checked: Arc<Checked>,
    clock: Arc<dyn Clock>,
    radio: Box<dyn Radio>,
    leaves: Vec<Leaf>,
    by_address: HashMap<Address, usize>,
    agenda: Agenda,
    ladder: Ladder,
    /// Heard while waiting, for the next read.
    next: Option<Result<Advert, AdapterError>>,
    /// Devices that are connected to; `None` where there are none.
    links: Option<Links>,
    /// As `next`.
    news: Option<News>,
    /// How many devices are connected now.
    connected: usize,
    /// Misses of a command's time, for the next read.
    misses: Vec<Miss>,
    /// Something has been heard since it was opened or since the last step of the ladder, and that has been told. Not before: it may have
    /// been a stall that it was opened anew for.
    is_well: bool,
}

impl Ble {
    fn new(checked: Arc<Checked>, clock: Arc<dyn Clock>) -> Self {
        let radio: Box<dyn Radio> = match checked.radio.starts_with('/') {
            true => Box::new(Feed::new(checked.radio.clone().into())),
            false => Box::new(BlueZ::new(checked.radio.clone(), checked.bus.clone(), checked.passive.then(|| wanted(&checked)))),
        };
        let by_address = checked.sensors.iter().enumerate().map(|(at, sensor)| (sensor.address, at)).collect();
        Self {
            checked,
            clock,
            radio,
            leaves: Vec::new(),
            by_address,
            agenda: Agenda::default(),
            ladder: Ladder::new(Instant::now()),
            next: None,
            links: None,
            news: None,
            connected: 0,
            misses: Vec::new(),
            is_well: false,
        }
    }

    fn due(&self) -> Instant {
        self.agenda.first().into_iter().fold(self.ladder.due(), Instant::min)
    }

    /// Something was heard of this leaf, or of its connection.
    fn touched(&mut self, at: usize) {
        self.agenda.set(at, self.leaves.get(at).and_then(Leaf::due));
    }

    fn take(&mut self, advert: Advert, harvest: &mut Harvest) {
        let now = Instant::now();
        self.ladder.heard(now);
        let stamp = self.clock.now();
        let Some(at) = self.by_address.get(&advert.address).copied() else { return };
        if let Some(leaf) = self.leaves.get_mut(at) {
            harvest.misses.extend(leaf.take(advert, now, stamp));
            self.touched(at);
        }
    }

    fn leaf_of(&mut self, advert: &Advert) -> Option<&mut Leaf> {
        self.by_address.get(&advert.address).and_then(|at| self.leaves.get_mut(*at))
    }

    /// What a device's task has told.
    fn learn(&mut self, news: News, harvest: &mut Harvest) {
        let now = Instant::now();
        // Whoever answers shows that the radio works.
        match news {
            News::Values(at, fields, stamp) => {
                self.ladder.heard(now);
                if let Some(leaf) = self.leaves.get_mut(at) {
                    leaf.give(fields, now, stamp);
                    self.touched(at);
                }
            }
            News::Missed(miss) => {
                if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.sensor.id == miss.leaf) {
                    leaf.forget(&miss.points);
                }
                harvest.misses.push(miss);
            }
            News::Linked(at, up) => {
                self.connected = if up { self.connected + 1 } else { self.connected.saturating_sub(1) };
                if let Some(leaf) = self.leaves.get_mut(at) {
                    leaf.link(up, now);
                    self.touched(at);
                }
            }
        }
    }

    async fn climb(&mut self, step: Step) -> Result<String, AdapterError> {
        let silence = self.ladder.silence(Instant::now()).as_secs();
        warn!(radio = %self.checked.radio, silence_s = silence, "nothing is heard any more: {step}");
        let lost = |why: String| AdapterError::Lost { what: format!("Bluetooth adapter {}", self.checked.radio), why };
        let mut what = format!("nothing heard for {silence} s: {step}");
        match step {
            Step::RestartScan => self.radio.restart_scan().await?,
            Step::PowerCycle => self.radio.power_cycle().await?,
            Step::Reset if self.checked.radio.starts_with('/') => self.radio.restart_scan().await?,
            Step::Reset => match reset::reset(Path::new(reset::SYSFS), &self.checked.radio).await {
                Ok(()) => return Err(lost(format!("nothing heard for {silence} s: its device was reset"))),
                Err(error) => {
                    what = format!("{what}, which is not possible: {error}");
                    warn!(radio = %self.checked.radio, "{what}");
                }
            },
            Step::Reopen => {
                return Err(lost(format!(
                    "nothing heard for {silence} s, although the scan was restarted and the radio switched off and on; unplug it if this stays"
                )));
            }
        }
        Ok(what)
    }

    /// Begins to connect to those devices that have characteristics.
    async fn link(&mut self) -> Result<(), AdapterError> {
        let Some(host) = self.radio.host().filter(|_| self.checked.sensors.iter().any(|sensor| sensor.gatt.is_some())) else {
            return Ok(());
        };
        let bonds = || self.checked.sensors.iter().filter_map(|sensor| Some((sensor, sensor.gatt.as_ref().filter(|gatt| gatt.bond)?)));
        if bonds().next().is_some() {
            let agent = Agent::register(&host).await.map_err(|trouble| AdapterError::Open {
                what: format!("Bluetooth adapter {}", self.checked.radio),
                source: io::Error::other(format!("pairing: {trouble}")),
            })?;
            for (sensor, gatt) in bonds() {
                let passkey = match &gatt.passkey_file {
                    Some(path) => Some(secret(path, LONGEST_PASSKEY).await?),
                    None => None,
                };
                agent.answer_for(host.device(sensor.address), Answers::Fixed(passkey));
            }
        }
        self.links = Some(Links::start(&host, &self.checked.sensors, self.checked.connections, &self.clock));
        Ok(())
    }

    async fn unlink(&mut self) {
        if let Some(mut links) = self.links.take() {
            links.close().await;
        }
        (self.news, self.connected) = (None, 0);
    }
}

/// What a passive scan listens for: the formats that are known, and what points name themselves.
fn wanted(checked: &Checked) -> Vec<Wanted> {
    let points = checked.sensors.iter().flat_map(|sensor| &sensor.points);
    let own = points.filter_map(|point| match &point.source {
        Source::Bytes(map) => Some(match map.from {
            decode::From::Company(company) => Wanted::company(company),
            decode::From::Service(service) => Wanted::service(service),
        }),
        _ => None,
    });
    let mut all: Vec<_> = WANTED.into_iter().chain(own).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A small file that holds a secret; one that is larger is none.
async fn secret(path: &Path, longest: usize) -> Result<String, AdapterError> {
    let read = async {
        let mut text = String::new();
        tokio::fs::File::open(path).await?.take(longest as u64 + 1).read_to_string(&mut text).await?;
        match text.len() <= longest {
            true => Ok(text.trim().to_owned()),
            false => Err(io::Error::other(format!("is longer than {longest} bytes"))),
        }
    };
    read.await.map_err(|source| AdapterError::Open { what: path.display().to_string(), source })
}

async fn key_of(sensor: &Sensor) -> Result<Option<Key>, AdapterError> {
    let Some(path) = &sensor.key_file else { return Ok(None) };
    let text = secret(path, LONGEST_KEY).await?;
    let wrong =
        || AdapterError::Open { what: path.display().to_string(), source: io::Error::other("not a key: write its 32 hexadecimal digits") };
    Key::parse(&text).map(Some).ok_or_else(wrong)
}

#[async_trait]
impl Adapter for Ble {
    async fn connect(&mut self) -> Result<(), AdapterError> {
        self.next = None;
        self.unlink().await;
        let mut keys = Vec::with_capacity(self.checked.sensors.len());
        for sensor in &self.checked.sensors {
            keys.push(key_of(sensor).await?);
        }
        self.radio.open().await?;
        let now = Instant::now();
        self.leaves = self.checked.sensors.iter().cloned().zip(keys).map(|(sensor, key)| Leaf::new(sensor, key, now)).collect();
        self.ladder = Ladder::new(now);
        self.agenda = Agenda::new(self.leaves.len());
        (0..self.leaves.len()).for_each(|at| self.touched(at));
        self.link().await
    }

    async fn ready(&mut self) {
        if self.next.is_some() || self.news.is_some() || !self.misses.is_empty() {
            return;
        }
        let due = self.due();
        tokio::select! {
            heard = self.radio.hear() => self.next = Some(heard),
            news = told(&mut self.links) => self.news = Some(news),
            () = sleep_until(due) => return,
        }
        // Where many speak, several are taken in one turn.
        sleep(GATHER).await;
    }

    async fn read(&mut self) -> Result<Harvest, AdapterError> {
        let mut harvest = Harvest { misses: std::mem::take(&mut self.misses), ..Harvest::default() };
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
        for _ in 0..MOST {
            let more = || self.links.as_mut().and_then(|links| links.news.try_recv().ok());
            let Some(news) = self.news.take().or_else(more) else { break };
            self.learn(news, &mut harvest);
        }
        let now = Instant::now();
        while let Some(at) = self.agenda.take(now) {
            if let Some(leaf) = self.leaves.get_mut(at) {
                harvest.readings.extend(leaf.hand_over(now));
                harvest.misses.extend(leaf.missed(now, self.clock.now()));
            }
            self.touched(at);
        }
        if let Some(step) = self.ladder.step(now, self.connected > 0) {
            let what = self.climb(step).await.unwrap_or_else(|error| {
                // What has been read is handed over first.
                let what = error.to_string();
                self.next = Some(Err(error));
                what
            });
            if self.ladder.is_climbing() {
                self.is_well = false;
                harvest.remark = Some(Remark::Stalled(what));
            }
        } else if !self.is_well && self.ladder.is_well() {
            self.is_well = true;
            harvest.remark = Some(Remark::Recovered);
        }
        Ok(harvest)
    }

    async fn execute(&mut self, command: &Command) -> Result<Outcome, AdapterError> {
        Ok(self.carry_out(command).await)
    }

    async fn close(&mut self) {
        self.unlink().await;
        self.radio.close().await;
    }

    async fn look(&mut self, wanted: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        self.look_at(wanted).await
    }
}

/// What a device's task tells next; never, where there are none.
async fn told(links: &mut Option<Links>) -> News {
    match links {
        Some(links) => match links.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Ble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ble").field("radio", &self.radio).field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}
