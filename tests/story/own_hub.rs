//! The gateway under a hub of its own kind, `tidegate hub`: commands, methods and twins from one end of the program to the other, down to
//! a unit that is not ours.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value as Json, json};

use super::commands::{PULSE, plant};
use crate::harness::{Lines, Process, SOON, Site, command, have, on_path, until, until_true};

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A hub for devices alone.
pub(super) struct OwnHub {
    state: PathBuf,
    pub(super) address: String,
    process: Process,
}

impl OwnHub {
    pub(super) fn start(site: &Site, address: String) -> Self {
        let state = site.path("hub");
        let mut start = command(BINARY);
        start.arg("hub").arg("--state").arg(&state).args(["--plain", &address]);
        let process = Process::start(start, Lines::default(), Lines::default());
        let hub = Self { state, address, process };
        until_true("the hub listens", SOON, || hub.ask(&["device", "list"]).status.success());
        hub
    }

    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    pub(super) fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY).args(arguments).arg("--json").arg("--state").arg(&self.state).output().expect("the binary runs")
    }

    #[track_caller]
    pub(super) fn json(&self, arguments: &[&str]) -> Json {
        let output = self.ask(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text} {}", String::from_utf8_lossy(&output.stderr)))
    }

    pub(super) fn send(&self, id: &str, body: &Json) {
        let sent = self.ask(&["send", "gw-01", &body.to_string(), "--property", "leaf=boiler", "--id", id, "--ack", "full"]);
        assert!(sent.status.success(), "{sent:?}");
    }

    /// The outcomes in the hub's own log, read by a program that is not ours: correlation id and body.
    pub(super) fn outcomes(&self, id: &str) -> Vec<Json> {
        let all: Vec<String> = (0..4)
            .map(|class| format!("select cast(body as text) from message_{class} where properties like '%\"$.cid\":\"{id}\"%'"))
            .collect();
        let sqlite = on_path("sqlite3").expect("checked by have()");
        let answer = Command::new(sqlite)
            .arg("-readonly")
            .arg(self.state.join("log.db"))
            .arg(all.join(" union all "))
            .output()
            .expect("sqlite3 runs");
        String::from_utf8_lossy(&answer.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[track_caller]
    pub(super) fn outcome(&self, id: &str) -> Json {
        until(&format!("the outcome of {id} is in the hub's log"), SOON, || self.outcomes(id).into_iter().next())
    }
}

#[test]
fn commands_methods_and_twins_pass_from_a_hub_of_our_own_to_the_unit_and_back() {
    if !have(&["sqlite3"]) {
        return;
    }
    let Some(mut plant) = plant("[twin]\ntrial = \"2s\"\n") else { return };
    let mut hub = OwnHub::start(&plant.site, format!("{}:1883", plant.site.address()));
    let key = std::fs::read_to_string(plant.site.path("key")).expect("written before");
    hub.json(&["device", "add", "gw-01", "--key", key.trim()]);
    let own = hub.address.rsplit_once(':').expect("host:port").0.to_owned();
    let other = plant.broker.address.rsplit_once(':').expect("host:port").0.to_owned();
    plant.gateway.rewrite(|text| text.replace(&format!("host = \"{other}\""), &format!("host = \"{own}\"")));
    plant.gateway.start();
    // A command, and the hub's own feedback: acknowledged because it is stored here.
    hub.send("m1", &json!({ "write": { "setpoint": 21.5 } }));
    let told = hub.outcome("m1");
    assert_eq!((&told["outcome"], &told["values"]), (&json!("done"), &json!({ "setpoint": 21.5 })), "{told}");
    assert_eq!(plant.written(0), [215]);
    until_true("feedback", SOON, || hub.json(&["device", "feedback"]).to_string().contains("Success"));
    // A method.
    let answer = hub.json(&["device", "call", "gw-01", "read", r#"{"leaf":"boiler","read":["temperature"]}"#]);
    assert!(answer.to_string().contains("21.5"), "{answer}");
    // The twin.
    hub.json(&["device", "twin", "gw-01", "--desired", r#"{"tidegate":{"leaves":{"boiler":{"interval":"300ms","set":{"setpoint":30}}}}}"#]);
    until_true("the settings are reported as applied", SOON, || {
        hub.json(&["device", "twin", "gw-01"]).to_string().contains(r#""state":"applied""#)
    });
    until_true("the set-point is written", SOON, || plant.written(0) == [215, 300]);
    // The gateway is away, then the hub is.
    plant.gateway.kill();
    hub.send("m2", &json!({ "write": { "pulse": 2 } }));
    plant.gateway.start();
    assert_eq!(hub.outcome("m2")["outcome"], "done");
    hub.kill();
    let written = plant.gateway.json(&["write", "boiler", "pulse=3", "--json"]);
    assert_eq!(written["outcome"], "done");
    let hub = OwnHub::start(&plant.site, hub.address.clone());
    let id = written["command"].as_str().expect("an id").to_owned();
    assert_eq!(hub.outcome(&id)["outcome"], "done", "told when the hub is back");
    assert_eq!(plant.written(PULSE), [2, 3]);
    for id in ["m1", "m2", &id] {
        assert_eq!(hub.outcomes(id).len(), 1, "{id}");
    }
}

/// What stands under `tidegate` of the reported properties.
fn reported(hub: &OwnHub, device: &str) -> Json {
    hub.json(&["device", "twin", device])["properties"]["reported"]["tidegate"].clone()
}

#[test]
fn a_leaf_with_an_identity_of_its_own_has_a_twin_of_its_own() {
    if !have(&["sqlite3"]) {
        return;
    }
    let Some(mut plant) = plant("[twin]\ntrial = \"3s\"\n") else { return };
    let hub = OwnHub::start(&plant.site, format!("{}:1883", plant.site.address()));
    let key_file = plant.site.path("key");
    let key = std::fs::read_to_string(&key_file).expect("written before");
    for device in ["gw-01", "boiler"] {
        hub.json(&["device", "add", device, "--key", key.trim()]);
    }
    let own = hub.address.rsplit_once(':').expect("host:port").0.to_owned();
    let other = plant.broker.address.rsplit_once(':').expect("host:port").0.to_owned();
    let identity = format!("[[upstream.leaf]]\nid = \"boiler\"\nkey_file = \"{}\"\n", key_file.display());
    plant.gateway.rewrite(|text| text.replace(&format!("host = \"{other}\""), &format!("host = \"{own}\"")) + &identity);
    plant.gateway.start();
    until_true("it says where it is", SOON, || reported(&hub, "boiler")["state"] == "there");
    assert_eq!(reported(&hub, "boiler")["gateway"], "gw-01");
    let desire = |device: &str, desired: &str| {
        hub.json(&["device", "twin", device, "--desired", desired]);
    };
    let until_state = |device: &str, state: &str| {
        until_true(&format!("the newest settings of {device} are {state}"), SOON * 2, || {
            let twin = hub.json(&["device", "twin", device])["properties"].take();
            let told = &twin["reported"]["tidegate"]["desired"];
            told["state"] == state && told["version"] == twin["desired"]["$version"]
        });
    };
    // Its own twin speaks of it alone, and a value becomes a command of its own.
    desire("boiler", r#"{"tidegate":{"interval":"300ms","set":{"setpoint":30}}}"#);
    until_state("boiler", "applied");
    until_true("the set-point is written", SOON, || plant.written(0) == [300]);
    // The gateway's twin may speak of it too; what its own says goes before.
    desire("gw-01", r#"{"tidegate":{"log_level":"debug","leaves":{"boiler":{"interval":"1h"}}}}"#);
    until_state("gw-01", "applied");
    let polled = |plant: &mut super::commands::Plant| plant.slave.request_times(1).len();
    let before = polled(&mut plant);
    until_true("it is still polled as its own twin says", SOON, || polled(&mut plant) > before + 20);
    // What is none of its settings is refused in its own twin, and nowhere else.
    desire("boiler", r#"{"tidegate":{"log_level":"info"}}"#);
    until_state("boiler", "refused");
    assert!(reported(&hub, "boiler")["desired"]["error"].to_string().contains("'log_level' is no setting"));
    assert_eq!(reported(&hub, "gw-01")["desired"]["state"], "applied");
    // After a power cut, and without the hub, both hold.
    desire("boiler", r#"{"tidegate":{"log_level":null}}"#);
    until_state("boiler", "applied");
    plant.gateway.kill();
    drop(hub);
    plant.gateway.start();
    let before = polled(&mut plant);
    until_true("it is polled as its own twin said", SOON, || polled(&mut plant) > before + 20);
    assert_eq!(plant.written(0), [300], "written once");
    plant.gateway.stop();
}
