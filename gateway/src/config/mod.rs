//! The configuration: from files to something that the program can run on, or to everything that is wrong with them.
//!
//! ```text
//! files ─▶ source ─▶ parse ─▶ tree ─▶ migrate ─▶ schema ─▶ own, section (raw → checked, each kind's check) ─▶ whole ─▶ Config
//!                                                                                 problems, each with file and line ◀─┘
//! ```
//!
//! What is promised: a [`Loaded`] has a configuration, or at least one error, never neither and never both; all problems come at
//! once, each with its file, line, place and next step; after the check nothing is "maybe valid". Only the configuration's own
//! files are opened, and they are only read: a power cut finds them as the person left them. Nothing of what the files say is
//! repeated where it could be a secret. Hostile files end in a problem, soon and in bounded memory.
//!
//! What kinds of adapters and upstreams there are is not known here; they come as [`Kinds`].

mod difference;
pub mod draft;
mod endpoint;
mod full;
mod load;
mod migrate;
mod overlay;
mod own;
mod parse;
mod raw;
mod rest;
mod schema;
mod section;
mod site;
mod source;
pub mod template;
mod tree;
mod whole;

#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    catalogue::{AdapterKind, AdapterPlan, UpstreamKind, UpstreamPlan},
    id::{LeafId, Name},
};
use tidegate_store::Replay;

use crate::{normalise::BodyStyle, router::Sign};

pub use difference::{Changes, Difference, difference};
pub use endpoint::Endpoint;
pub use full::full_schema;
pub use load::{Loaded, check_text, load, load_with, state_dir};
pub use overlay::{DeviceKeys, Keys, Overlay};

/// The kinds that sections may be of: the catalogues.
#[derive(Debug, Clone, Copy)]
pub struct Kinds {
    /// For `[[adapter]]`.
    pub adapters: &'static [AdapterKind],
    /// For `[[upstream]]`.
    pub upstreams: &'static [UpstreamKind],
}

/// What the program runs on.
#[derive(Debug)]
pub struct Config {
    /// Who this gateway is.
    pub gateway: Gateway,
    /// The log of messages.
    pub log: LogSection,
    /// What a message tells beside the values.
    pub body: BodyStyle,
    /// How far the clock is trusted.
    pub clock: Clock,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// The local page.
    pub web: WebSection,
    /// What the program says about itself.
    pub diagnostics: Diagnostics,
    /// What may be done here.
    pub commands: Commands,
    /// The hub for devices that speak MQTT.
    pub endpoint: Endpoint,
    /// What may be set from afar.
    pub twin: TwinSection,
    /// Those that run, in the files' order. Their names, leaf ids and exclusive resources are each used once.
    pub adapters: Vec<AdapterSection>,
    /// Those that run, in the files' order. Their names are each used once.
    pub upstreams: Vec<UpstreamSection>,
    /// Upstreams that are configured and switched off: they keep their place in the log.
    pub idle_upstreams: Vec<Name>,
}

impl Config {
    /// Leaves with an identity of their own at some upstream.
    pub fn leaf_identities(&self) -> Vec<LeafId> {
        self.upstreams.iter().flat_map(|section| &section.plan.leaves).map(|identity| identity.leaf.clone()).collect()
    }

    /// Whether a leaf has an identity of its own there. One that is switched off keeps what waits for it.
    pub fn knows_identity(&self, upstream: &Name, leaf: &LeafId) -> bool {
        let of = |section: &UpstreamSection| section.name == *upstream && section.plan.leaves.iter().any(|identity| identity.leaf == *leaf);
        self.idle_upstreams.contains(upstream) || self.upstreams.iter().any(of)
    }

    /// Whether an upstream of this name is configured, running or switched off. If not, nobody will ever read for it again.
    pub fn knows_upstream(&self, name: &Name) -> bool {
        self.upstreams.iter().map(|section| &section.name).chain(&self.idle_upstreams).any(|known| known == name)
    }
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name at hubs and in messages.
    pub id: LeafId,
    /// Where the log lives. Absolute; it may not exist yet.
    pub state_dir: PathBuf,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSection {
    /// Bytes; `None`: a tenth of the file system, at least 64 MiB, to be found out at start.
    pub max_size: Option<u64>,
    /// 10 ms to 60 s.
    pub commit_interval: Duration,
    /// How long messages are kept after every upstream has them.
    pub keep_delivered: Duration,
}

/// `[clock]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// How long messages wait for the clock to be set before they leave with `time_quality` unsynced.
    pub wait: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where to serve them; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

/// `[commands]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// How long a command is worth carrying out when its sender does not say.
    pub ttl: Duration,
    /// How often a repeatable command may be begun.
    pub max_deliveries: u32,
    /// The direct methods that a hub may call.
    pub methods: Vec<Method>,
    /// How long a method may take.
    pub method_timeout: Duration,
}

/// `[twin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinSection {
    /// Whose desired properties are obeyed; `None`: those of the first `iothub` upstream.
    pub upstream: Option<Name>,
    /// What they may set.
    pub allow: Vec<Setting>,
    /// How long settings are on trial.
    pub trial: Duration,
}

/// What a hub may set by its twin's desired properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// How often devices and points are read.
    Interval,
    /// When values are worth a message.
    Report,
    /// Values that points are to have.
    Set,
    /// How much the program says about itself.
    LogLevel,
}

/// A direct method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Reads points now.
    Read,
    /// Writes points now.
    Write,
    /// Lists a leaf's points, or all leaves.
    Points,
    /// Reads a leaf now and sends what it shows as a message.
    Refresh,
    /// Answers.
    Ping,
    /// Tells what the gateway does.
    Status,
    /// Applies the changed configuration files.
    Reload,
    /// The latest lines of the program's own log.
    Logs,
}

/// `[web]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSection {
    /// Whether the page is served.
    pub enabled: bool,
    /// Where.
    pub listen: SocketAddr,
    /// Over HTTPS. Plain HTTP is for loopback only.
    pub tls: bool,
    /// Certificate and key that were brought; `None`: ours, made at first start.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Where plain HTTP is sent on to HTTPS.
    pub redirect: Option<SocketAddr>,
}

/// `[diagnostics]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    /// The least important lines that are still written.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
}

/// How important a line of the program's own log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data was lost, or a person is needed.
    Error,
    /// Something surprising; nothing was lost.
    Warn,
    /// What happens at starts, stops and changes.
    #[default]
    Info,
    /// What happens in between.
    Debug,
    /// Everything, values included.
    Trace,
}

/// In tracing's words.
impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        })
    }
}

/// Rules of the site bus that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyMade {
    /// tele/{leaf}/SENSOR and STATE; cmnd/{leaf}/{point}.
    Tasmota,
    /// zigbee2mqtt/{leaf}, and /set below it.
    Zigbee2mqtt,
    /// Shelly's first generation: shellies/{leaf}/{point}, and /command below it.
    Shelly,
    /// From the second on: {leaf}/status/{point}; {leaf}/command/{point}.
    ShellyPlus,
}

impl ReadyMade {
    fn word(self) -> &'static str {
        match self {
            ReadyMade::Tasmota => "tasmota",
            ReadyMade::Zigbee2mqtt => "zigbee2mqtt",
            ReadyMade::Shelly => "shelly",
            ReadyMade::ShellyPlus => "shelly-plus",
        }
    }
}

/// How lines of the program's own log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

/// An `[[adapter]]` that runs.
#[derive(Debug)]
pub struct AdapterSection {
    /// Its name.
    pub name: Name,
    /// The word of its row in the catalogue.
    pub kind: &'static str,
    /// What its kind made of it.
    pub plan: AdapterPlan,
    /// The section in one form whatever its order and comments: equal means that nothing has to be restarted.
    pub fingerprint: String,
}

/// An `[[upstream]]` that runs.
#[derive(Debug)]
pub struct UpstreamSection {
    /// Its name, and that of its reader in the log.
    pub name: Name,
    /// The word of its row in the catalogue.
    pub kind: &'static str,
    /// Most messages leased and not settled; 16 to 8192.
    pub window: usize,
    /// What goes first after an outage.
    pub replay: Replay,
    /// How long messages are worth sending here; `None`: as long as they are kept.
    pub ttl: Option<Duration>,
    /// When its commands are acknowledged.
    pub sign: Sign,
    /// What its kind made of it.
    pub plan: UpstreamPlan,
    /// As for adapters.
    pub fingerprint: String,
}
