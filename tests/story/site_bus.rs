//! The site bus: a lamp that knows nothing of a hub (paho), programs of the site (mosquitto's clients), and a broker above.

use std::{collections::BTreeSet, fs};

use serde_json::{Value as Json, json};

use crate::harness::{Lines, Process, SCENE, SOON, Scene, command, have, project, until, until_true};

pub(super) const PASSWORD: &str = "sesame-seeds";
pub(super) const BUS: &str = "\
[endpoint.site_bus]\nmirror = \"tidegate/{leaf}\"\n\
[[endpoint.site_bus.access]]\ndevice = \"*\"\npublish = [\"tele/{device}/#\"]\nsubscribe = [\"cmnd/{device}/#\"]\n\
[[endpoint.site_bus.access]]\ndevice = \"panel\"\nsubscribe = [\"#\"]\n\
[[endpoint.site_bus.rule]]\nuse = \"tasmota\"\n";

pub(super) struct Lamp(Process);

impl Lamp {
    pub(super) fn start(door: &str, count: u32) -> Self {
        let (host, port) = door.rsplit_once(':').expect("host:port");
        let mut start = command(&project().join("tests/.tools/sdk/bin/python").display().to_string());
        start.arg(project().join("tests/peer/lamp.py")).args([host, port, "lamp-1", PASSWORD, &count.to_string()]);
        let lamp = Self(Process::start(start, Lines::default(), Lines::default()));
        until_true("the lamp has subscribed", SOON, || lamp.0.out.find(0, "ready").is_some());
        lamp
    }

    fn said(&self) -> Vec<Json> {
        self.0.out.since(0).into_iter().filter_map(|(_, line)| serde_json::from_str(&line).ok()).collect()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.said().iter().filter_map(|line| line["acknowledged"].as_u64()).max().unwrap_or(0)
    }

    fn until_told(&self, body: &str) {
        let told = until(&format!("the lamp is told {body}"), SOON, || self.said().into_iter().find(|line| line["body"] == body));
        assert_eq!(told["topic"], "cmnd/lamp-1/POWER");
    }
}

#[test]
fn a_lamp_and_a_panel_of_the_site_work_together_and_nothing_that_was_acknowledged_is_lost() {
    if !have(&[SCENE, &["mosquitto_pub", "device-sdk"]].concat()) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "200ms", "");
    let door = format!("{}:1885", scene.site.address());
    scene.gateway.rewrite(|text| format!("{text}[endpoint]\nplain = \"{door}\"\n{BUS}"));
    fs::write(scene.site.path("password"), PASSWORD).expect("a new file");
    let password = scene.site.path("password").display().to_string();
    scene.gateway.start();
    for device in ["lamp-1", "panel"] {
        scene.gateway.json(&["device", "add", device, "--password-file", &password, "--json"]);
    }
    let (host, port) = door.rsplit_once(':').expect("host:port");
    let client = |program: &str, arguments: &[&str]| {
        let mut start = command(program);
        start.args(["-h", host, "-p", port, "-u", "panel", "-P", PASSWORD]).args(arguments);
        start
    };
    let panel = Process::start(client("mosquitto_sub", &["-i", "p", "-t", "#", "-F", "%t %p"]), Lines::default(), Lines::default());
    // What an adapter reads is on the bus as well.
    until_true("the panel sees a reading of the bus", SOON, || panel.out.find(0, "tidegate/plant-1 {").is_some());

    // The power goes twice while the lamp speaks.
    let mut lamp = Lamp::start(&door, 300);
    for limit in [60, 160] {
        until_true(&format!("{limit} are acknowledged"), SOON, || lamp.acknowledged() >= limit);
        scene.gateway.kill();
        scene.gateway.start();
    }
    until_true("all are acknowledged", SOON * 2, || lamp.acknowledged() == 300);
    until_true("the panel is back", SOON, || panel.out.find(0, "tele/lamp-1/SENSOR {\"n\": 300}").is_some());
    let came = until("all have arrived above", SOON * 2, || {
        let tally = scene.witness.tally();
        // What was on its way when the power went comes again.
        let mut seen = BTreeSet::new();
        let numbers = tally.of("lamp-1").filter_map(crate::harness::Delivery::number).filter(|number| seen.insert(*number));
        let numbers: Vec<u64> = numbers.collect();
        (numbers.last() == Some(&300)).then_some(numbers)
    });
    assert_eq!(came, (1..=300).collect::<Vec<_>>(), "in order, and none is missing");

    // Commands: to one who is there, and to one who will be.
    let write = |value: &str, wait: &str| scene.gateway.cli(&["write", "lamp-1", value, "--wait", wait, "--json"]);
    let told = |output: std::process::Output| serde_json::from_slice::<Json>(&output.stdout).expect("JSON");
    let sent = told(write("POWER=true", "10s"));
    assert_eq!(sent["outcome"], "sent", "{sent}");
    lamp.until_told("ON");
    lamp.0.kill();
    until_true("its will is heard", SOON, || panel.out.find(0, "tele/lamp-1/LWT Offline").is_some());
    let waits = told(write("POWER=false", "0s"));
    assert_eq!(waits["outcome"], Json::Null, "nothing is claimed: {waits}");
    let lamp = Lamp::start(&door, 0);
    lamp.until_told("OFF");
    let unknown = told(write("POWER=1", "10s"));
    assert_eq!(unknown["outcome"], "sent");
    let nobody = told(scene.gateway.cli(&["write", "lamp-2", "POWER=true", "--wait", "10s", "--json"]));
    assert_eq!(nobody["outcome"], "rejected", "a leaf that nobody has heard of: {nobody}");

    // The panel only listens: who it is does not help it to speak for the lamp.
    let mut forged = Process::start(
        client("mosquitto_pub", &["-i", "q", "-q", "1", "-t", "tele/lamp-1/SENSOR", "-m", "{\"n\":999}"]),
        Lines::default(),
        Lines::default(),
    );
    let refused = until("the attempt is told", SOON, || {
        let events = scene.gateway.json(&["device", "events", "--json"]);
        events.as_array().into_iter().flatten().find(|event| event["detail"].to_string().contains("tele/lamp-1/SENSOR")).cloned()
    });
    assert_eq!((&refused["kind"], &refused["device"]), (&json!("deviceDisconnected"), &json!("panel")));
    forged.kill();
    assert!(scene.witness.tally().of("lamp-1").all(|delivery| delivery.number() != Some(999)));
    let status = scene.gateway.json(&["status", "--json"]);
    assert!(status["endpoint"]["site_bus"]["retained"].as_u64().is_some_and(|kept| kept == 1), "the will: {status}");
    scene.gateway.stop();
}
