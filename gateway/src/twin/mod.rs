//! The gateway's own twin: what the hub wants of it, and what it says about itself.
//!
//! Desired properties are a document with a version; the newest wins, and one that was missed is caught up by asking for the whole at
//! every connect. They drive the settings on the list `twin.allow`, of one upstream; [`settings`] says which. Settings go live on trial:
//! when something is worse after `twin.trial` than before, they are rolled back by themselves. What became of each version is reported,
//! with the reason in words; so are the gateway's version and the state of its adapters and leaves. [`file`] says what survives.
//!
//! Values that points are to have (`set`) become commands like any other, once for each version, and are not undone by a roll-back.

mod file;
mod report;
mod settings;
mod side;

use std::{collections::BTreeMap, collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Map, Value as Json};
use tidegate_core::{
    health::Health,
    id::{LeafId, Name},
    upstream::Reply,
};
use tidegate_store::inbox::Origin;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{file::Kept, report::Verdict, settings::Settings, side::Side};
use crate::{
    board::Board,
    config::{LogLevel, Overlay, Setting, TwinSection},
    control::{Ask, Request},
    request::write_request,
    router::{Asked, Router, Sign},
    unit::UnitError,
};

/// Events that wait; the uplink waits when there are more.
const EVENTS: usize = 64;
/// How often the state is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Health entries that count as worse when they are there after a trial and were not before it.
const TROUBLES: [&str; 10] = [
    "bus-down",
    "leaf-silent",
    "leaf-garbled",
    "leaf-refuses",
    "hub-unreachable",
    "hub-refused",
    "hub-taken-over",
    "upstream-unusable",
    "message-rejected",
    "unit-restarted",
];

/// What an uplink tells.
#[derive(Debug)]
pub enum Event {
    /// A session has begun.
    Begun {
        /// With this upstream.
        upstream: Name,
        /// What we say goes here.
        replies: mpsc::Sender<Reply>,
        /// Whether its desired properties drive our settings.
        obeyed: bool,
    },
    /// An answer or a notification.
    Came {
        /// From this upstream.
        upstream: Name,
        /// As it came.
        topic: String,
        /// JSON or empty.
        body: Bytes,
    },
}

/// Settings that are laid over the configuration's files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Laid {
    /// Keys of devices and points.
    pub overlay: Overlay,
    /// `None`: as the files say.
    pub log_level: Option<LogLevel>,
}

/// The parts that twins work with.
#[derive(Debug)]
pub struct Parts {
    /// `[twin]`
    pub section: TwinSection,
    /// Who this gateway is.
    pub gateway: LeafId,
    /// Where settings survive a restart.
    pub state_dir: PathBuf,
    /// States.
    pub board: Board,
    /// The way to the leaves.
    pub router: Router,
    /// What is wrong.
    pub health: Health,
    /// The main loop, which applies settings; `None` where there is none, and then no setting is obeyed.
    pub control: Option<mpsc::Sender<Request>>,
}

/// All twins. One task runs it; it is kept across its runs.
#[derive(Debug)]
pub struct Twins {
    keeper: Mutex<(Keeper, mpsc::Receiver<Event>)>,
}

#[derive(Debug)]
struct Keeper {
    parts: Parts,
    sides: BTreeMap<Name, Side>,
    kept: Kept,
    laid: Settings,
    verdict: Verdict,
    trial: Option<Trial>,
}

#[derive(Debug)]
struct Trial {
    until: Instant,
    version: u64,
    desired: Map<String, Json>,
    before: BTreeSet<(String, String)>,
    good: Settings,
}

/// The settings that proved themselves before the last restart, as far as they are still allowed.
pub fn kept_settings(state_dir: &std::path::Path, allowed: &[Setting]) -> Laid {
    let settings = settings::read(&file::read(state_dir).good, allowed).unwrap_or_default();
    Laid { overlay: settings.overlay, log_level: settings.log_level }
}

impl Twins {
    /// With nothing known, and the end that uplinks tell their events to.
    pub fn new(parts: Parts) -> (Arc<Self>, mpsc::Sender<Event>) {
        let (events, came) = mpsc::channel(EVENTS);
        let mut kept = file::read(&parts.state_dir);
        if kept.tried > 0 && kept.error.is_empty() {
            kept.error = "the gateway ended while they were on trial".to_owned();
        }
        let laid = settings::read(&kept.good, &parts.section.allow).unwrap_or_default();
        let keeper = Keeper { parts, sides: BTreeMap::new(), kept, laid, verdict: Verdict::default(), trial: None };
        (Arc::new(Self { keeper: Mutex::new((keeper, came)) }), events)
    }

    /// Until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), UnitError> {
        let mut guard = self.keeper.lock().await;
        let (keeper, events) = &mut *guard;
        let mut tick = tokio::time::interval(LOOK);
        loop {
            let turn = async {
                tokio::select! {
                    Some(event) = events.recv() => keeper.take(event).await,
                    _ = tick.tick() => {}
                }
                keeper.look().await;
            };
            // A turn may wait for the main loop, which does not answer any more when we are stopping.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = turn => {}
            }
        }
    }
}

impl Keeper {
    async fn take(&mut self, event: Event) {
        match event {
            Event::Begun { upstream, replies, obeyed } => drop(self.sides.insert(upstream, Side::new(replies, obeyed))),
            Event::Came { upstream, topic, body } => {
                let Some(side) = self.sides.get_mut(&upstream) else { return };
                if side.came(&topic, &body)
                    && side.obeyed
                    && let Some((version, desired)) = side.desired.clone()
                {
                    self.consider(&upstream, version, desired).await;
                }
            }
        }
    }

    async fn look(&mut self) {
        if self.trial.as_ref().is_some_and(|trial| Instant::now() >= trial.until) {
            self.judge().await;
        }
        let Parts { gateway, board, router, .. } = &self.parts;
        for side in self.sides.values_mut() {
            let verdict = if side.obeyed { self.verdict.clone() } else { Verdict::default() };
            side.tick(&report::report(gateway.as_str(), board, router, &verdict));
        }
    }

    /// The hub wants this.
    async fn consider(&mut self, upstream: &Name, version: u64, desired: Map<String, Json>) {
        if self.kept.upstream != upstream.as_str() {
            self.kept =
                Kept { upstream: upstream.to_string(), good: self.kept.good.clone(), set: self.kept.set.clone(), ..Kept::default() };
        }
        if self.verdict.version == version {
            return;
        }
        let told = |state, error: Option<String>| Verdict { version, state, error };
        if version == self.kept.version {
            self.verdict = told("applied", None);
            return;
        }
        if version == self.kept.tried {
            self.verdict = told("rolled-back", Some(self.kept.error.clone()));
            return;
        }
        let wanted = match settings::read(&desired, &self.parts.section.allow) {
            Ok(wanted) => wanted,
            Err(reason) => return self.refuse(version, reason),
        };
        // A newer version takes the place of one that is on trial; what that one would have gone back to stays.
        let good = self.trial.take().map_or_else(|| self.laid.clone(), |trial| trial.good);
        self.kept.tried = version;
        self.kept.error.clear();
        self.keep();
        let before = self.troubles();
        let changes_nothing = wanted.overlay == good.overlay && wanted.log_level == good.log_level;
        if !(changes_nothing && self.laid.overlay == good.overlay && self.laid.log_level == good.log_level)
            && let Err(reason) = self.lay(&wanted).await
        {
            self.lay(&good).await.ok();
            self.laid = good;
            return self.refuse(version, reason);
        }
        self.set(upstream, version, &wanted).await;
        self.laid = wanted;
        self.trial = Some(Trial { until: Instant::now() + self.parts.section.trial, version, desired, before, good });
        if changes_nothing {
            return self.prove();
        }
        self.verdict = told("trial", None);
        info!(version, "the hub's settings are on trial");
    }

    fn refuse(&mut self, version: u64, reason: String) {
        warn!(version, %reason, "the hub's settings are refused");
        (self.kept.tried, self.kept.error) = (version, reason.clone());
        self.keep();
        self.verdict = Verdict { version, state: "refused", error: Some(reason) };
    }

    /// The trial is over: better or as good as before, or back.
    async fn judge(&mut self) {
        let Some(trial) = &self.trial else { return };
        let worse: Vec<String> =
            self.troubles().difference(&trial.before).map(|(code, subject)| format!("{code} ({subject})")).take(8).collect();
        if worse.is_empty() {
            return self.prove();
        }
        let Some(trial) = self.trial.take() else { return };
        let reason = format!("worse after the trial: {}", worse.join(", "));
        warn!(version = trial.version, %reason, "the hub's settings are rolled back");
        if let Err(error) = self.lay(&trial.good).await {
            warn!(%error, "the settings from before cannot be applied again");
        }
        self.laid = trial.good;
        self.kept.error = reason.clone();
        self.keep();
        self.verdict = Verdict { version: trial.version, state: "rolled-back", error: Some(reason) };
    }

    fn prove(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        info!(version = trial.version, "the hub's settings are kept");
        (self.kept.good, self.kept.version, self.kept.tried) = (trial.desired, trial.version, 0);
        self.keep();
        self.verdict = Verdict { version: trial.version, state: "applied", error: None };
    }

    fn keep(&self) {
        if let Err(error) = file::write(&self.parts.state_dir, &self.kept) {
            warn!(%error, "the hub's settings cannot be kept: after a restart they are fetched anew");
        }
    }

    fn troubles(&self) -> BTreeSet<(String, String)> {
        let entries = self.parts.health.list().into_iter().filter(|entry| TROUBLES.contains(&entry.code));
        entries.map(|entry| (entry.code.to_owned(), entry.subject)).collect()
    }

    /// Has the main loop lay these settings over the files.
    async fn lay(&self, settings: &Settings) -> Result<(), String> {
        let Some(control) = &self.parts.control else { return Err("settings cannot be changed in this program".to_owned()) };
        let laid = Laid { overlay: settings.overlay.clone(), log_level: settings.log_level };
        let (answer, answered) = oneshot::channel();
        let asked = Request { ask: Ask::Lay(Box::new(laid)), who: "hub".to_owned(), answer };
        let stopping = || "the gateway is stopping".to_owned();
        control.send(asked).await.map_err(|_| stopping())?;
        let answer = answered.await.map_err(|_| stopping())?;
        if answer["applied"] == true {
            return Ok(());
        }
        let problems: Vec<&str> = answer["problems"].as_array().into_iter().flatten().filter_map(Json::as_str).take(8).collect();
        Err(problems.join("; "))
    }

    /// Values that differ from those that were last wanted become commands; their ids make each one once.
    async fn set(&mut self, upstream: &Name, version: u64, wanted: &Settings) {
        for (leaf, values) in &wanted.set {
            let last = self.kept.set.get(leaf);
            let new: Vec<(String, Json)> = values
                .iter()
                .filter(|(point, value)| last.and_then(|last| last.get(*point)) != Some(value))
                .map(|(point, value)| (point.clone(), value.clone()))
                .collect();
            if new.is_empty() {
                continue;
            }
            let origin = Origin { source: upstream.to_string(), who: "desired".to_owned(), id: format!("desired-{version}-{leaf}") };
            let asked = Asked {
                origin,
                leaf: Some(leaf.clone()),
                request: write_request(new),
                expires: None,
                again: false,
                receipt: None,
                sign: Sign::Stored,
                teller: None,
            };
            if let Err(error) = self.parts.router.submit(asked).await {
                warn!(%error, leaf, "a value that the hub wants could not be kept");
            }
        }
        self.kept.set = wanted.set.clone();
        self.keep();
    }
}
