//! The contract of an upstream, run over every row of the catalogue: what [`tidegate_core::upstream`] promises, whatever the
//! broker does.
//!
//! - `hostile`: a broker of our own that delays, refuses, closes, repeats, floods, lies and talks nonsense.
//! - `commands`: what comes down, and how it is acknowledged.
//! - `limits`: nothing waits for ever, and every end is a good one.
//! - `mosquitto`: the real thing, over every carrier (`websocket` is a front for it), and with the
//!   connection cut again and again (by `proxy`).
//!
//! `provision`: which hub it is, is said by a provisioning service.
//!
//! `broker` is the fake, `carry` drives a session as the uplink does and checks the promise.

mod broker;
mod carry;
mod commands;
mod hostile;
mod limits;
mod mosquitto;
mod provision;
mod proxy;
mod websocket;

use serde_json::Value as Json;
use tidegate_core::{catalogue::UpstreamKind, problem::Problems};

use super::CATALOGUE;

#[test]
fn every_example_passes_its_check() {
    for kind in CATALOGUE {
        let document: toml::Table = kind.example.parse().expect("TOML");
        let section = document["upstream"].as_array().and_then(|list| list[0].as_table()).expect("one [[upstream]]").clone();
        assert_eq!(section["kind"].as_str(), Some(kind.name));
        let own: toml::Table = section.into_iter().filter(|(key, _)| key != "name" && key != "kind").collect();
        let mut problems = Problems::default();
        let plan = (kind.check)(&serde_json::to_value(own).expect("JSON"), &mut problems);
        assert!(plan.is_some() && problems.list().is_empty(), "{}: {:?}", kind.name, problems.list());
    }
}

#[test]
fn every_key_is_explained_and_no_two_kinds_share_a_name() {
    for (at, kind) in CATALOGUE.iter().enumerate() {
        assert!(CATALOGUE[..at].iter().all(|other| other.name != kind.name));
        let schema = (kind.schema)();
        let keys = schema["properties"].as_object().expect("properties");
        assert!(
            keys.values().all(|key| key["description"].is_string() || key["$ref"].is_string() || key["allOf"].is_array()),
            "{schema:#}"
        );
        assert!(!keys.contains_key("name") && !keys.contains_key("kind"));
    }
}

#[test]
fn nonsense_is_a_problem_and_never_a_panic() {
    let nonsense =
        [Json::Null, Json::from(1), serde_json::json!([]), serde_json::json!({}), serde_json::json!({ "address": 1, "host": {} })];
    for kind in CATALOGUE {
        for section in &nonsense {
            let mut problems = Problems::default();
            assert!((kind.check)(section, &mut problems).is_none() && problems.any_error(), "{}: {section}", kind.name);
        }
    }
}

/// The section with which a kind reaches a broker on a port of this machine, and a topic on which commands reach it.
fn local(kind: &UpstreamKind, port: u16, folder: &std::path::Path) -> (Json, &'static str) {
    let key = folder.join("key");
    std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("written");
    match kind.name {
        "iothub" => (
            serde_json::json!({ "host": "127.0.0.1", "device_id": "gw-01", "key_file": key, "port": port, "tls": false, "in_flight": 64 }),
            "devices/gw-01/messages/devicebound/%24.mid=m1",
        ),
        "mqtt" => (
            serde_json::json!({ "address": format!("127.0.0.1:{port}"), "client_id": "gw-01", "command_topic": "command", "in_flight": 64 }),
            "command",
        ),
        other => panic!("tell this suite how {other} reaches a local broker"),
    }
}
