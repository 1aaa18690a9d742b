//! Kinds that stand for real ones: their schemas have every shape that real ones use, and their plans make nothing.

#![expect(dead_code, reason = "some keys are there for their schema and mean nothing to a plan that makes nothing")]

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_core::{
    catalogue::{AdapterKind, AdapterPlan, UpstreamKind, UpstreamPlan},
    id::{LeafId, PointName},
    message::{Class, Properties},
    problem::Problems,
    profile::{LeafProfile, RawPoint},
    quantity::Span,
};

use crate::config::Kinds;

pub(super) const KINDS: Kinds = Kinds { adapters: &[LINE, WIDE], upstreams: &[BROKER] };

const LINE: AdapterKind = AdapterKind {
    name: "line",
    summary: "Devices on a line",
    readme: "",
    example: "",
    schema: schema::<Line>,
    check: line,
    templates: &[],
    scan: None,
    pair: None,
};

/// A kind whose keys are all allowed.
const WIDE: AdapterKind = AdapterKind {
    name: "wide",
    summary: "Takes every key",
    readme: "",
    example: "",
    schema: || serde_json::json!({ "type": "object", "additionalProperties": true }),
    check: |_, _| {
        Some(AdapterPlan {
            leaves: Vec::new(),
            exclusive: Vec::new(),
            pace: Vec::new(),
            build: Arc::new(|_| unreachable!("a check makes nothing")),
        })
    },
    templates: &[],
    scan: None,
    pair: None,
};

const BROKER: UpstreamKind = UpstreamKind { name: "broker", summary: "A broker", example: "", schema: schema::<Broker>, check: broker };

fn schema<T: JsonSchema>() -> Json {
    schemars::schema_for!(T).to_value()
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Line {
    #[serde(flatten)]
    way: Way,
    timeout: Option<Span>,
    #[serde(default)]
    #[schemars(range(max = 10))]
    retries: u8,
    #[schemars(length(min = 1))]
    device: Vec<Device>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "transport", rename_all = "kebab-case")]
enum Way {
    Tcp {
        /// Host and port.
        #[schemars(extend("examples" = ["192.0.2.7:502"]))]
        address: String,
    },
    Rtu {
        /// The line.
        #[schemars(extend("examples" = ["/dev/ttyUSB0"]))]
        port: String,
        #[serde(default)]
        parity: Parity,
        baud: Option<u32>,
    },
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Parity {
    #[default]
    None,
    Even,
    Odd,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Device {
    id: String,
    #[schemars(range(min = 1, max = 247))]
    unit: u8,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    point: Vec<Point>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Point {
    name: String,
    address: Address,
    #[serde(flatten)]
    profile: RawPoint,
}

/// A number, or text such as "0x64".
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Address {
    Number(u16),
    Text(String),
}

fn line(json: &Json, problems: &mut Problems) -> Option<AdapterPlan> {
    let line: Line = serde_json::from_value(json.clone()).expect("it satisfies the schema");
    let mut leaves = Vec::new();
    for (at, device) in line.device.iter().enumerate() {
        let mut problems = problems.key("device");
        let mut problems = problems.entry(at, Some(&device.id));
        if device.unit == 13 {
            problems.key("unit").warning("13 is said to be unlucky", "take another");
        }
        let points = points(&device.point, &mut problems);
        match LeafId::new(&device.id) {
            Ok(id) => leaves.push(LeafProfile { id, points, class: Class::Telemetry, ttl: None, properties: Properties::default() }),
            Err(error) => problems.key("id").error("is not a device id", error.rule),
        }
    }
    let exclusive = match line.way {
        Way::Tcp { .. } => Vec::new(),
        Way::Rtu { port, .. } => vec![port],
    };
    (!problems.any_error()).then(|| AdapterPlan {
        pace: vec![None; leaves.len()],
        leaves,
        exclusive,
        build: Arc::new(|_| unreachable!("a check makes nothing")),
    })
}

fn points(points: &[Point], problems: &mut Problems) -> Vec<tidegate_core::profile::PointProfile> {
    let mut checked = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let mut problems = problems.key("point");
        let mut problems = problems.entry(at, Some(&point.name));
        if let Address::Text(text) = &point.address
            && !text.starts_with("0x")
        {
            problems.key("address").error("is not an address", "write a number, or \"0x64\"");
        }
        match PointName::new(&point.name) {
            Ok(name) => checked.push(point.profile.check(name, &mut problems)),
            Err(error) => problems.key("name").error("is not a point name", error.rule),
        }
    }
    checked
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Broker {
    #[schemars(extend("examples" = ["broker.example:8883"]))]
    address: String,
    #[schemars(range(min = 1, max = 512))]
    in_flight: Option<u16>,
    tls: Option<Tls>,
    login: Option<Login>,
    #[serde(default)]
    topics: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tls {
    ca_file: Option<String>,
    #[serde(default)]
    verify: bool,
}

/// Written as { password = { user = …, password_file = … } } or { certificate = { cert_file = … } }.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Login {
    Password { user: String, password_file: String },
    Certificate { cert_file: String },
}

fn broker(json: &Json, problems: &mut Problems) -> Option<UpstreamPlan> {
    let broker: Broker = serde_json::from_value(json.clone()).expect("it satisfies the schema");
    if !broker.address.contains(':') {
        problems.key("address").error("has no port", "write \"host:8883\"");
    }
    if broker.tls.is_none() && broker.login.is_some() && !broker.topics.is_empty() {
        problems.key("login").warning("travels unencrypted", "add [upstream.tls]");
    }
    let in_flight = usize::from(broker.in_flight.unwrap_or(128));
    (!problems.any_error()).then(|| UpstreamPlan {
        in_flight,
        build: Arc::new(|_| unreachable!("a check makes nothing")),
        leaves: Vec::new(),
    })
}
