//! `tidegate device …` and `tidegate send`: the service side of the hub for devices, asked of the gateway that runs.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value as Json;
use tidegate_core::{quantity::Span, twin::Object};

use super::{complain, output::table, say};
use crate::{
    control,
    desk::{DeskAsk, ProofAsk},
    exit::Exit,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    /// JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// The state folder of a hub that runs without a configuration.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Register a device, and print what it needs to connect.
    Add {
        /// Its id, or device/module.
        device: String,
        #[command(flatten)]
        proof: Proof,
        /// Not to be let in yet.
        #[arg(long)]
        disabled: bool,
        /// The name by which the device reaches this machine.
        #[arg(long)]
        host: Option<String>,
    },
    /// List registered devices, and who is connected.
    List,
    /// Show a device, its keys and its connection string.
    Show {
        /// Its id.
        device: String,
        /// The name by which the device reaches this machine.
        #[arg(long)]
        host: Option<String>,
    },
    /// Let a device in.
    Enable {
        /// Its id.
        device: String,
    },
    /// Keep a device out; its session ends at once.
    Disable {
        /// Its id.
        device: String,
        /// Why, for whoever looks later.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Give a device another proof: fresh keys, if nothing else is said.
    Renew {
        /// Its id.
        device: String,
        #[command(flatten)]
        proof: Proof,
        /// The name by which the device reaches this machine.
        #[arg(long)]
        host: Option<String>,
    },
    /// Take a device out, with its modules, twin and queue.
    Remove {
        /// Its id.
        device: String,
    },
    /// Read a device's twin, or change it first.
    Twin {
        /// Its id.
        device: String,
        /// A JSON object for the desired properties; null deletes.
        #[arg(long)]
        desired: Option<String>,
        /// A JSON object for the tags.
        #[arg(long)]
        tags: Option<String>,
        /// Replace what is given whole, instead of merging it.
        #[arg(long)]
        replace: bool,
    },
    /// Call a method and print the answer.
    Call {
        /// The device's id.
        device: String,
        /// The method's name.
        method: String,
        /// JSON for it.
        payload: Option<String>,
        /// How long the device has to answer.
        #[arg(long, default_value = "30s")]
        timeout: Span,
        /// How long to wait for a device that is not connected.
        #[arg(long, default_value = "0s")]
        wait: Span,
    },
    /// Take away the messages that wait for a device.
    Purge {
        /// Its id.
        device: String,
    },
    /// Show what became of messages whose sender asked for it.
    Feedback {
        /// Forget what is shown.
        #[arg(long)]
        take: bool,
    },
    /// Show who came, went and was refused, and why.
    Events {
        /// Only those after this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Print the certificate that devices must trust.
    Authority,
}

/// How a device proves itself. Left out: by keys that are made for it.
#[derive(Debug, Default, clap::Args)]
#[group(multiple = true)]
pub(super) struct Proof {
    /// A key of one's own, in base64.
    #[arg(long, conflicts_with_all = ["thumbprint", "authority", "password_file"])]
    key: Option<String>,
    /// Its certificate's SHA-1 or SHA-256; twice for a second certificate.
    #[arg(long, conflicts_with_all = ["authority", "password_file"])]
    thumbprint: Vec<String>,
    /// A certificate of an authority in endpoint.client_ca_file.
    #[arg(long, conflicts_with = "password_file")]
    authority: bool,
    /// A file with its password; its user name is its id.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

impl Proof {
    fn ask(self) -> Result<ProofAsk, String> {
        let mut prints = self.thumbprint.into_iter();
        if let Some(primary) = prints.next() {
            return Ok(ProofAsk::Thumbprints { primary, secondary: prints.next() });
        }
        if self.authority {
            return Ok(ProofAsk::Authority);
        }
        let Some(file) = self.password_file else { return Ok(ProofAsk::Keys { primary: self.key, secondary: None }) };
        let password = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(ProofAsk::Password { password: password.trim_end_matches(['\r', '\n']).to_owned() })
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct SendArgs {
    /// The device's id.
    device: String,
    /// What to send.
    body: String,
    /// A property, as name=value.
    #[arg(long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// Its message id; made when left out.
    #[arg(long)]
    id: Option<String>,
    /// Which feedback is wanted: none, positive, negative or full.
    #[arg(long, default_value = "none")]
    ack: String,
    /// How long it waits for the device; as configured when left out.
    #[arg(long)]
    ttl: Option<Span>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
    /// The state folder of a hub that runs without a configuration.
    #[arg(long, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
}

pub(super) fn send(state_dir: &Path, args: SendArgs) -> Exit {
    let mut properties = Vec::new();
    for property in &args.properties {
        let Some((name, value)) = property.split_once('=') else {
            complain(&format!("'{property}' is not name=value"));
            return Exit::Usage;
        };
        properties.push((name.to_owned(), value.to_owned()));
    }
    let ask = DeskAsk::Send {
        device: args.device,
        body: BASE64_STANDARD.encode(args.body),
        message_id: args.id,
        ack: args.ack,
        ttl_ms: args.ttl.map(|ttl| u64::try_from(ttl.0.as_millis()).unwrap_or(u64::MAX)),
        properties,
    };
    with_answer(state_dir, &ask, args.json, |answer| {
        vec![format!("kept as {}, waits until {}", text(&answer["message_id"]), text(&answer["expires"]))]
    })
}

pub(super) fn device(state_dir: &Path, args: Args) -> Exit {
    match ask(args.what) {
        Err(why) => {
            complain(&why);
            Exit::Usage
        }
        Ok((Shown::List, _)) => list(state_dir, args.json),
        Ok((what, ask)) => with_answer(state_dir, &ask, args.json, |answer| what.lines(answer)),
    }
}

/// How an answer is shown.
enum Shown {
    List,
    Device(Option<String>),
    Done(&'static str),
    Json,
    Table(&'static [&'static str]),
    Plain(&'static str),
}

fn ask(what: What) -> Result<(Shown, DeskAsk), String> {
    let object = |text: Option<String>| {
        let parse = |text: String| serde_json::from_str::<Object>(&text).map_err(|error| format!("not a JSON object: {error}"));
        text.map(parse).transpose()
    };
    let ms = |span: Span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
    let change = |device, enabled, proof, reason| DeskAsk::Change { device, enabled, proof, reason };
    Ok(match what {
        What::Add { device, proof, disabled, host } => (Shown::Device(host), DeskAsk::Add { device, proof: proof.ask()?, disabled }),
        What::List => (Shown::List, DeskAsk::List { after: None }),
        What::Show { device, host } => (Shown::Device(host), DeskAsk::Show { device }),
        What::Enable { device } => (Shown::Done("enabled"), change(device, Some(true), None, None)),
        What::Disable { device, reason } => (Shown::Done("disabled"), change(device, Some(false), None, reason)),
        What::Renew { device, proof, host } => (Shown::Device(host), change(device, None, Some(proof.ask()?), None)),
        What::Remove { device } => (Shown::Done("removed"), DeskAsk::Remove { device }),
        What::Twin { device, desired, tags, replace } => {
            (Shown::Json, DeskAsk::Twin { device, tags: object(tags)?, desired: object(desired)?, replace })
        }
        What::Call { device, method, payload, timeout, wait } => {
            let payload = payload.map(|text| serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))).transpose()?;
            (Shown::Json, DeskAsk::Call { device, method, payload, response_ms: ms(timeout), connect_ms: ms(wait) })
        }
        What::Purge { device } => (Shown::Plain("purged"), DeskAsk::Purge { device }),
        What::Feedback { take } => (Shown::Table(&["at", "device", "message_id", "code"]), DeskAsk::Feedback { take }),
        What::Events { after } => {
            (Shown::Table(&["number", "at", "kind", "device", "remote", "count", "detail"]), DeskAsk::Events { after })
        }
        What::Authority => (Shown::Plain("authority"), DeskAsk::Authority),
    })
}

impl Shown {
    fn lines(&self, answer: &Json) -> Vec<String> {
        match self {
            Shown::List => Vec::new(),
            Shown::Device(host) => device_lines(answer, host.as_deref()),
            Shown::Done(word) => vec![format!("{} {word}", text(&answer["device"]))],
            Shown::Json => serde_json::to_string_pretty(answer).unwrap_or_default().lines().map(str::to_owned).collect(),
            Shown::Table(columns) => {
                let head = columns.iter().map(|column| (*column).to_owned()).collect();
                let rows = answer.as_array().into_iter().flatten().map(|row| columns.iter().map(|column| text(&row[*column])).collect());
                table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
            }
            Shown::Plain(key) => text(&answer[*key]).lines().map(str::to_owned).collect(),
        }
    }
}

fn device_lines(answer: &Json, host: Option<&str>) -> Vec<String> {
    let state = if answer["enabled"] == true { "enabled" } else { "disabled" };
    let mut rows = vec![
        vec!["device".to_owned(), text(&answer["device"])],
        vec!["state".to_owned(), state.to_owned()],
        vec!["proves itself by".to_owned(), text(&answer["proof"])],
    ];
    for (key, shown) in [("connected", "connected since"), ("waiting", "messages waiting")] {
        if !answer[key].is_null() {
            rows.push(vec![shown.to_owned(), text(&answer[key])]);
        }
    }
    let mut lines = table(&rows);
    if let Some(string) = answer["connection_string"].as_str() {
        let own = text(&answer["host"]);
        lines.push(host.map_or_else(|| string.to_owned(), |host| string.replacen(&own, host, 1)));
    }
    lines
}

/// All of them, page by page.
fn list(state_dir: &Path, as_json: bool) -> Exit {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = match answer(state_dir, &DeskAsk::List { after }) {
            Ok(page) => page,
            Err(exit) => return exit,
        };
        let Some(page) = page.as_array().filter(|page| !page.is_empty()) else { break };
        after = page.last().map(|last| text(&last["device"]));
        all.extend(page.iter().cloned());
    }
    if as_json {
        say(&Json::Array(all).to_string());
        return Exit::Fine;
    }
    let head = ["device", "state", "proof", "connected since", "from"].map(str::to_owned).to_vec();
    let rows = all.iter().map(|device| {
        let state = if device["enabled"] == true { "enabled" } else { "disabled" };
        vec![text(&device["device"]), state.to_owned(), text(&device["proof"]), text(&device["connected"]), text(&device["remote"])]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()).iter().for_each(|line| say(line));
    Exit::Fine
}

fn with_answer(state_dir: &Path, ask: &DeskAsk, as_json: bool, lines: impl FnOnce(&Json) -> Vec<String>) -> Exit {
    match answer(state_dir, ask) {
        Err(exit) => exit,
        Ok(answer) => {
            if as_json {
                say(&answer.to_string());
            } else {
                lines(&answer).iter().for_each(|line| say(line));
            }
            Exit::Fine
        }
    }
}

fn answer(state_dir: &Path, ask: &DeskAsk) -> Result<Json, Exit> {
    let answer = control::ask_hub(state_dir, ask).map_err(|error| {
        complain(&format!("no gateway answers on {}: {error}; is it running, and are you its user?", state_dir.display()));
        Exit::Unavailable
    })?;
    match answer.get("error").and_then(Json::as_str) {
        Some(error) => {
            complain(&format!("{error} ({})", text(&answer["code"])));
            Err(Exit::Negative)
        }
        None => Ok(answer),
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
