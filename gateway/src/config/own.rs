//! The gateway's own sections, from what the file says to what the program runs on.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::de::DeserializeOwned;
use tidegate_core::{
    id::{LeafId, Name},
    problem::{Problems, Step},
    quantity::ByteSize,
};

use super::{
    Clock, Commands, Diagnostics, Endpoint, Gateway, LogSection, Metrics, TwinSection, WebSection, endpoint, raw, schema,
    tree::{Node, Table, Value, table_to_json},
};
use crate::normalise::{BodyStyle, QualityStyle};

/// Smallest room for messages: below this a single batch of readings may not fit.
const LEAST_LOG: ByteSize = ByteSize(1 << 20);
/// Shortest wait for the disk: below this each reading is a write of its own, which SD cards do not survive.
const LEAST_COMMIT: Duration = Duration::from_millis(10);
/// Longest: more than a minute of readings lost in a power cut is not what anybody means.
const MOST_COMMIT: Duration = Duration::from_secs(60);

/// A command that is worth less than a second is a direct method.
const LEAST_TTL: Duration = Duration::from_secs(1);
/// Longer than any hub queues, and short enough that nobody is surprised by what they asked for.
const MOST_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest time in which a slow bus can answer.
const LEAST_METHOD: Duration = Duration::from_secs(1);
/// IoT Hub waits for 300 s at most (reference §4.1).
const MOST_METHOD: Duration = Duration::from_secs(290);

/// A poll must fit into a trial.
const LEAST_TRIAL: Duration = Duration::from_secs(1);
/// Settings that are on trial for longer are a way of life.
const MOST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// The checked sections of the gateway itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) gateway: Gateway,
    pub(super) log: LogSection,
    pub(super) body: BodyStyle,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) web: WebSection,
    pub(super) diagnostics: Diagnostics,
    pub(super) commands: Commands,
    pub(super) endpoint: Endpoint,
    pub(super) twin: TwinSection,
}

/// Checks everything of the root but the entries of `adapter` and `upstream`. `None` exactly when an error was recorded.
pub(super) fn check(root: &Node, problems: &mut Problems) -> Option<Own> {
    let mut found = Problems::default();
    schema::check(&raw::schema_of::<raw::Raw>(), root, "tidegate.toml", &mut found);
    let own = own(root, &mut found).filter(|_| !found.any_error());
    if own.is_none() && !found.any_error() {
        found.error("the gateway's own sections are not understood", "compare them with the shipped tidegate.toml");
    }
    problems.adopt(found);
    own
}

/// A section without the keys that are wrong, so that what is wrong with the others shows too; the whole is refused anyway.
fn section<T: DeserializeOwned>(root: &Node, name: &str, found: &Problems) -> Option<T> {
    let mut keys = root.table()?.get(name).and_then(Node::table).cloned().unwrap_or_default();
    for problem in found.list() {
        if let [Step::Key(section), way @ ..] = problem.path.0.as_slice()
            && section == name
        {
            // A key that nobody knows is not missed, however deep it stands; a value that is wrong takes its whole key with it.
            let deep = if problem.what == schema::UNKNOWN_KEY { way.len() } else { 1 };
            cut(&mut keys, &way[..deep.min(way.len())]);
        }
    }
    serde_json::from_value(table_to_json(&keys)).ok()
}

fn cut(table: &mut Table, way: &[Step]) {
    match way {
        [Step::Key(key)] => drop(table.remove(key)),
        [Step::Key(key), rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(key).map(|node| &mut node.value) {
                cut(inner, rest);
            }
        }
        _ => {}
    }
}

fn own(root: &Node, problems: &mut Problems) -> Option<Own> {
    let gateway = section(root, "gateway", problems).and_then(|raw| gateway(raw, &mut problems.key("gateway")));
    let log = section(root, "log", problems).map(|raw| log(&raw, &mut problems.key("log")));
    let metrics = section(root, "metrics", problems).and_then(|raw| metrics(&raw, &mut problems.key("metrics")));
    let commands = section(root, "commands", problems).map(|raw| commands(raw, &mut problems.key("commands")));
    let endpoint = section(root, "endpoint", problems).map(|raw| endpoint::check(&raw, &mut problems.key("endpoint")));
    let twin = section(root, "twin", problems).and_then(|raw| twin(raw, &mut problems.key("twin")));
    let web = section(root, "web", problems).and_then(|raw| web(&raw, &mut problems.key("web")));
    let body: raw::RawBody = section(root, "body", problems)?;
    let clock: raw::RawClock = section(root, "clock", problems)?;
    let diagnostics: raw::RawDiagnostics = section(root, "diagnostics", problems)?;
    let quality = match body.quality {
        raw::RawQuality::Always => QualityStyle::Always,
        raw::RawQuality::WhenNotGood => QualityStyle::WhenNotGood,
        raw::RawQuality::Never => QualityStyle::Never,
    };
    Some(Own {
        gateway: gateway?,
        log: log?,
        body: BodyStyle { quality, units: body.units, times: body.times },
        clock: Clock { wait: clock.wait.0 },
        metrics: metrics?,
        commands: commands?,
        twin: twin?,
        web: web?,
        diagnostics: Diagnostics { level: diagnostics.level, format: diagnostics.format },
        endpoint: endpoint?,
    })
}

fn gateway(raw: raw::RawGateway, problems: &mut Problems) -> Option<Gateway> {
    let id = LeafId::new(&raw.id).map_err(|error| problems.key("id").error("is not a device id", error.rule)).ok();
    let state_dir = PathBuf::from(raw.state_dir);
    if !state_dir.is_absolute() {
        let next = "write the whole path, such as \"/var/lib/tidegate\": where the program is started from changes";
        problems.key("state_dir").error("is not a path from the root", next);
    }
    Some(Gateway { id: id?, state_dir })
}

fn log(raw: &raw::RawLog, problems: &mut Problems) -> LogSection {
    if raw.max_size.is_some_and(|size| size < LEAST_LOG) {
        problems.key("max_size").error("leaves no room for an outage", format!("write at least \"{LEAST_LOG}\""));
    }
    let commit_interval = raw.commit_interval.0;
    if !(LEAST_COMMIT..=MOST_COMMIT).contains(&commit_interval) {
        let what = format!("{} is too {}", raw.commit_interval, if commit_interval < LEAST_COMMIT { "short" } else { "long" });
        problems.key("commit_interval").error(what, "write \"10ms\" to \"60s\": short wears the flash, long loses more in a power cut");
    }
    LogSection { max_size: raw.max_size.map(|size| size.0), commit_interval, keep_delivered: raw.keep_delivered.0 }
}

fn commands(raw: raw::RawCommands, problems: &mut Problems) -> Commands {
    if !(LEAST_TTL..=MOST_TTL).contains(&raw.ttl.0) {
        problems.key("ttl").error(format!("{} is no useful life of a command", raw.ttl), "write \"1s\" to \"30d\"; \"1h\" is usual");
    }
    if !(LEAST_METHOD..=MOST_METHOD).contains(&raw.method_timeout.0) {
        let what = format!("{} is outside what hubs wait for", raw.method_timeout);
        problems.key("method_timeout").error(what, "write \"1s\" to \"290s\"; hubs wait 30 s when the caller does not say");
    }
    Commands { ttl: raw.ttl.0, max_deliveries: raw.max_deliveries, methods: raw.methods, method_timeout: raw.method_timeout.0 }
}

fn twin(raw: raw::RawTwin, problems: &mut Problems) -> Option<TwinSection> {
    if !(LEAST_TRIAL..=MOST_TRIAL).contains(&raw.trial.0) {
        problems.key("trial").error(format!("{} is no useful trial", raw.trial), "write \"1s\" to \"1d\": long enough for a few polls");
    }
    let upstream = match raw.upstream.map(Name::new) {
        None => None,
        Some(Ok(name)) => Some(name),
        Some(Err(error)) => {
            problems.key("upstream").error("is not a name", error.rule);
            return None;
        }
    };
    Some(TwinSection { upstream, allow: raw.allow, trial: raw.trial.0 })
}

fn metrics(raw: &raw::RawMetrics, problems: &mut Problems) -> Option<Metrics> {
    let Some(listen) = &raw.listen else { return Some(Metrics { listen: None }) };
    match listen.parse() {
        Ok(address) => Some(Metrics { listen: Some(address) }),
        Err(_) => {
            problems.key("listen").error("is not an address and port", "write numbers, such as \"127.0.0.1:9464\" or \"[::1]:9464\"");
            None
        }
    }
}

fn address(text: &str, key: &str, problems: &mut Problems) -> Option<SocketAddr> {
    let next = "write numbers, such as \"0.0.0.0:8443\" or \"[::]:8443\"";
    text.parse().map_err(|_| problems.key(key).error("is not an address and port", next)).ok()
}

fn web(raw: &raw::RawWeb, problems: &mut Problems) -> Option<WebSection> {
    let listen = address(&raw.listen, "listen", problems);
    let redirect = raw.redirect.as_deref().map(|text| address(text, "redirect", problems));
    if !raw.tls && listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        let next = "leave tls on, or listen on 127.0.0.1 or [::1]";
        problems.key("tls").error("cannot be off where others can listen: passwords would travel in the clear", next);
    }
    let certificate = match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (None, None) => None,
        (Some(_), None) => {
            problems.key("certificate").error("lacks its key", "name the private key's file in `key`");
            None
        }
        (None, Some(_)) => {
            problems.key("key").error("lacks its certificate", "name the chain's file in `certificate`");
            None
        }
    };
    Some(WebSection { enabled: raw.enabled, listen: listen?, tls: raw.tls, certificate, redirect: redirect.flatten() })
}
