//! The gateway's own twin, and those of leaves with identities of their own: what the hub wants of them, and what they say.
//!
//! Desired properties are a document with a version; the newest wins, and one that was missed is caught up by asking for the whole at
//! every connect. They drive the settings on the list `twin.allow`, of one upstream; [`settings`] says which. Settings go live on trial:
//! when something is worse after `twin.trial` than before, they are rolled back by themselves. What became of each version is reported,
//! with the reason in words; so are the gateway's version and the state of its adapters and leaves. [`file`] says what survives.
//!
//! Each twin is obeyed by itself, with its own trial; what a leaf's own twin sets goes before what the gateway's says of that leaf.
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
const TROUBLES: [&str; 11] = [
    "bus-down",
    "bus-stalled",
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
        /// The leaf whose identity it has, if it is not the gateway's.
        leaf: Option<LeafId>,
        /// What we say goes here.
        replies: mpsc::Sender<Reply>,
        /// Whether its desired properties drive our settings.
        obeyed: bool,
    },
    /// An answer or a notification.
    Came {
        /// From this upstream.
        upstream: Name,
        /// The leaf whose identity it has, if it is not the gateway's.
        leaf: Option<LeafId>,
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
    /// Leaves with identities of their own.
    pub leaves: Vec<LeafId>,
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
    sides: BTreeMap<(Name, Whose), Side>,
    twins: BTreeMap<Whose, Twin>,
}

/// A leaf with an identity of its own; `None` for the gateway.
type Whose = Option<LeafId>;

/// One twin's settings.
#[derive(Debug)]
struct Twin {
    kept: Kept,
    laid: Settings,
    verdict: Verdict,
    trial: Option<Trial>,
}

impl Twin {
    fn read(parts: &Parts, whose: Option<&LeafId>) -> Self {
        let mut kept = file::read(&parts.state_dir, whose);
        if kept.tried > 0 && kept.error.is_empty() {
            kept.error = "the gateway ended while they were on trial".to_owned();
        }
        let laid = settings::read(&kept.good, &parts.section.allow).unwrap_or_default();
        Self { kept, laid, verdict: Verdict::default(), trial: None }
    }
}

#[derive(Debug)]
struct Trial {
    until: Instant,
    version: u64,
    desired: Map<String, Json>,
    before: BTreeSet<(String, String)>,
    good: Settings,
}

/// The settings that proved themselves before the last restart, as far as they are still allowed, of the gateway's twin and those of
/// these leaves.
pub fn kept_settings(state_dir: &std::path::Path, allowed: &[Setting], leaves: &[LeafId]) -> Laid {
    let read = |whose| settings::read(&file::read(state_dir, whose).good, allowed).unwrap_or_default();
    laid(std::iter::once(read(None)).chain(leaves.iter().map(|leaf| read(Some(leaf)))))
}

/// All of them together, the gateway's first.
fn laid(all: impl Iterator<Item = Settings>) -> Laid {
    all.fold(Laid::default(), |mut laid, settings| {
        settings::put_on_top(&mut laid.overlay, &settings.overlay);
        laid.log_level = laid.log_level.or(settings.log_level);
        laid
    })
}

impl Twins {
    /// With nothing known, and the end that uplinks tell their events to.
    pub fn new(parts: Parts) -> (Arc<Self>, mpsc::Sender<Event>) {
        let (events, came) = mpsc::channel(EVENTS);
        let all = std::iter::once(None).chain(parts.leaves.iter().cloned().map(Some));
        let twins = all.map(|whose| (whose.clone(), Twin::read(&parts, whose.as_ref()))).collect();
        let keeper = Keeper { parts, sides: BTreeMap::new(), twins };
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
            Event::Begun { upstream, leaf, replies, obeyed } => drop(self.sides.insert((upstream, leaf), Side::new(replies, obeyed))),
            Event::Came { upstream, leaf, topic, body } => {
                let Some(side) = self.sides.get_mut(&(upstream.clone(), leaf.clone())) else { return };
                if side.came(&topic, &body)
                    && side.obeyed
                    && let Some((version, desired)) = side.desired.clone()
                {
                    let desired = leaf.as_ref().map_or(desired.clone(), |leaf| settings::of_leaf(leaf, &desired));
                    let mut twin = self.take_twin(&leaf);
                    self.consider(&mut twin, &leaf, &upstream, version, desired).await;
                    self.twins.insert(leaf, twin);
                }
            }
        }
    }

    /// Taken out while it is worked on, so that the others can be looked at. Should the work be cut off, it is read from its file again.
    fn take_twin(&mut self, whose: &Whose) -> Twin {
        self.twins.remove(whose).unwrap_or_else(|| Twin::read(&self.parts, whose.as_ref()))
    }

    async fn look(&mut self) {
        let now = Instant::now();
        let due = |twin: &Twin| twin.trial.as_ref().is_some_and(|trial| now >= trial.until);
        let over: Vec<Whose> = self.twins.iter().filter(|(_, twin)| due(twin)).map(|(whose, _)| whose.clone()).collect();
        for whose in over {
            let mut twin = self.take_twin(&whose);
            self.judge(&mut twin, &whose).await;
            self.twins.insert(whose, twin);
        }
        let Parts { gateway, board, router, .. } = &self.parts;
        for ((_, whose), side) in &mut self.sides {
            let verdict = self.twins.get(whose).filter(|_| side.obeyed).map(|twin| twin.verdict.clone()).unwrap_or_default();
            side.tick(&match whose {
                None => report::report(gateway.as_str(), board, router, &verdict),
                Some(leaf) => report::report_of_leaf(gateway.as_str(), leaf, router, &verdict),
            });
        }
    }

    /// The hub wants this.
    async fn consider(&self, twin: &mut Twin, whose: &Whose, upstream: &Name, version: u64, desired: Map<String, Json>) {
        if twin.kept.upstream != upstream.as_str() {
            twin.kept =
                Kept { upstream: upstream.to_string(), good: twin.kept.good.clone(), set: twin.kept.set.clone(), ..Kept::default() };
        }
        if twin.verdict.version == version {
            return;
        }
        let told = |state, error: Option<String>| Verdict { version, state, error };
        if version == twin.kept.version {
            twin.verdict = told("applied", None);
            return;
        }
        if version == twin.kept.tried {
            twin.verdict = told("rolled-back", Some(twin.kept.error.clone()));
            return;
        }
        let wanted = match settings::read(&desired, &self.parts.section.allow) {
            Ok(wanted) => wanted,
            Err(reason) => return self.refuse(twin, whose, version, reason),
        };
        // A newer version takes the place of one that is on trial; what that one would have gone back to stays.
        let good = twin.trial.take().map_or_else(|| twin.laid.clone(), |trial| trial.good);
        twin.kept.tried = version;
        twin.kept.error.clear();
        self.keep(twin, whose);
        let before = self.troubles(whose);
        let changes_nothing = wanted.overlay == good.overlay && wanted.log_level == good.log_level;
        if !(changes_nothing && twin.laid.overlay == good.overlay && twin.laid.log_level == good.log_level)
            && let Err(reason) = self.lay(whose, &wanted).await
        {
            self.lay(whose, &good).await.ok();
            twin.laid = good;
            return self.refuse(twin, whose, version, reason);
        }
        self.set(twin, whose, upstream, version, &wanted).await;
        twin.laid = wanted;
        twin.trial = Some(Trial { until: Instant::now() + self.parts.section.trial, version, desired, before, good });
        if changes_nothing {
            return self.prove(twin, whose);
        }
        twin.verdict = told("trial", None);
        info!(version, whose = self.name(whose), "the hub's settings are on trial");
    }

    fn name<'a>(&'a self, whose: &'a Whose) -> &'a str {
        whose.as_ref().unwrap_or(&self.parts.gateway).as_str()
    }

    fn refuse(&self, twin: &mut Twin, whose: &Whose, version: u64, reason: String) {
        warn!(version, whose = self.name(whose), %reason, "the hub's settings are refused");
        (twin.kept.tried, twin.kept.error) = (version, reason.clone());
        self.keep(twin, whose);
        twin.verdict = Verdict { version, state: "refused", error: Some(reason) };
    }

    /// The trial is over: better or as good as before, or back.
    async fn judge(&self, twin: &mut Twin, whose: &Whose) {
        let Some(trial) = &twin.trial else { return };
        let worse: Vec<String> =
            self.troubles(whose).difference(&trial.before).map(|(code, subject)| format!("{code} ({subject})")).take(8).collect();
        if worse.is_empty() {
            return self.prove(twin, whose);
        }
        let Some(trial) = twin.trial.take() else { return };
        let reason = format!("worse after the trial: {}", worse.join(", "));
        warn!(version = trial.version, whose = self.name(whose), %reason, "the hub's settings are rolled back");
        if let Err(error) = self.lay(whose, &trial.good).await {
            warn!(%error, "the settings from before cannot be applied again");
        }
        twin.laid = trial.good;
        twin.kept.error = reason.clone();
        self.keep(twin, whose);
        twin.verdict = Verdict { version: trial.version, state: "rolled-back", error: Some(reason) };
    }

    fn prove(&self, twin: &mut Twin, whose: &Whose) {
        let Some(trial) = twin.trial.take() else { return };
        info!(version = trial.version, whose = self.name(whose), "the hub's settings are kept");
        (twin.kept.good, twin.kept.version, twin.kept.tried) = (trial.desired, trial.version, 0);
        self.keep(twin, whose);
        twin.verdict = Verdict { version: trial.version, state: "applied", error: None };
    }

    fn keep(&self, twin: &Twin, whose: &Whose) {
        if let Err(error) = file::write(&self.parts.state_dir, whose.as_ref(), &twin.kept) {
            warn!(%error, "the hub's settings cannot be kept: after a restart they are fetched anew");
        }
    }

    /// What is wrong now; where a leaf is asked about, with it, its adapter, or its own way to the hub.
    fn troubles(&self, whose: &Whose) -> BTreeSet<(String, String)> {
        let group = whose.as_ref().and_then(|leaf| self.parts.router.routes().find(leaf)).map(|route| route.group);
        let concerns = |subject: &str| {
            let Some(leaf) = whose else { return true };
            let group = group.as_deref().unwrap_or_default();
            subject == leaf.as_str() || subject == group || subject.strip_prefix("adapter ") == Some(group)
        };
        let entries = self.parts.health.list().into_iter();
        let entries = entries.filter(|entry| TROUBLES.contains(&entry.code) && concerns(&entry.subject));
        entries.map(|entry| (entry.code.to_owned(), entry.subject)).collect()
    }

    /// Has the main loop lay these settings over the files, with those of the other twins.
    async fn lay(&self, whose: &Whose, settings: &Settings) -> Result<(), String> {
        let Some(control) = &self.parts.control else { return Err("settings cannot be changed in this program".to_owned()) };
        // The one that is worked on is not among the others.
        let mut all: BTreeMap<&Whose, &Settings> = self.twins.iter().map(|(other, twin)| (other, &twin.laid)).collect();
        all.insert(whose, settings);
        let laid = laid(all.into_values().cloned());
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
    async fn set(&self, twin: &mut Twin, whose: &Whose, upstream: &Name, version: u64, wanted: &Settings) {
        let source = whose.as_ref().map_or_else(|| upstream.to_string(), |leaf| format!("{upstream}/{leaf}"));
        for (leaf, values) in &wanted.set {
            let last = twin.kept.set.get(leaf);
            let new: Vec<(String, Json)> = values
                .iter()
                .filter(|(point, value)| last.and_then(|last| last.get(*point)) != Some(value))
                .map(|(point, value)| (point.clone(), value.clone()))
                .collect();
            if new.is_empty() {
                continue;
            }
            let origin = Origin { source: source.clone(), who: "desired".to_owned(), id: format!("desired-{version}-{leaf}") };
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
        twin.kept.set = wanted.set.clone();
        self.keep(twin, whose);
    }
}
