//! A device below the gateway and a hub above it: what the hub sends to the device reaches it as it is, whenever it is there, and the hub
//! is told the truth. The hub is our own, the device is paho.

use std::fs;

use serde_json::{Value as Json, json};

use super::own_hub::OwnHub;
use crate::harness::{Gateway, Lines, Process, QUICK_LOG, SOON, Site, command, have, project, until, until_true};

const DEVICE: &str = "pump-7";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

struct Device(Process);

impl Device {
    fn start(door: &str) -> Self {
        let (host, port) = door.rsplit_once(':').expect("host:port");
        let mut start = command(&project().join("tests/.tools/sdk/bin/python").display().to_string());
        start.arg(project().join("tests/peer/device.py")).args([host, port, DEVICE, "sesame-seeds"]);
        let device = Self(Process::start(start, Lines::default(), Lines::default()));
        until_true("the device has subscribed", SOON, || device.0.out.find(0, "ready").is_some());
        device
    }

    /// Topics and bodies of what came, methods aside.
    fn came(&self) -> Vec<(String, String)> {
        let all = self.0.out.since(0).into_iter().filter_map(|(_, line)| serde_json::from_str::<Json>(&line).ok());
        let text = |line: &Json, key: &str| line[key].as_str().map(str::to_owned);
        all.filter_map(|line| Some((text(&line, "topic")?, text(&line, "body")?)))
            .filter(|(topic, _)| topic.starts_with("devices/"))
            .collect()
    }

    fn until_came(&self, body: &str) -> String {
        until(&format!("'{body}' has come"), SOON, || self.came().into_iter().find(|(_, came)| came == body)).0
    }
}

#[test]
fn what_a_hub_sends_to_a_device_below_reaches_it_as_it_is_and_the_hub_is_told_the_truth() {
    if !have(&["sqlite3", "device-sdk"]) {
        return;
    }
    let site = Site::new();
    fs::write(site.path("key"), KEY).expect("a new file");
    fs::write(site.path("password"), "sesame-seeds").expect("a new file");
    let hub = OwnHub::start(&site, format!("{}:1883", site.address()));
    hub.json(&["device", "add", "gw-01", "--key", KEY]);
    hub.json(&["device", "add", DEVICE, "--key", KEY]);
    let (host, port) = hub.address.rsplit_once(':').expect("host:port");
    let door = format!("{}:1884", site.address());
    let key = site.path("key").display().to_string();
    let sections = format!(
        "{QUICK_LOG}[commands]\nttl = \"1h\"\n[endpoint]\nplain = \"{door}\"\n[[upstream]]\nname = \"cloud\"\nkind = \"iothub\"\nhost = \"{host}\"\n\
         port = {port}\ntls = false\ndevice_id = \"gw-01\"\nkey_file = \"{key}\"\n[[upstream.leaf]]\nid = \"{DEVICE}\"\nkey_file = \"{key}\"\n",
    );
    let mut gateway = Gateway::new(&site, &sections);
    gateway.start();
    let password = site.path("password").display().to_string();
    gateway.json(&["device", "add", DEVICE, "--password-file", &password, "--json"]);

    // It is not there yet: kept, and nothing is claimed.
    hub.ask(&[
        "send",
        "gw-01",
        "{\"valve\":\"open\"}",
        "--property",
        "leaf=pump-7",
        "--property",
        "color=red",
        "--id",
        "m1",
        "--ack",
        "full",
    ]);
    until_true("the inbox has it", SOON, || gateway.json(&["status", "--json"])["inbox"]["waiting"] == 1);
    assert!(hub.outcomes("m1").is_empty());
    // The power goes while it waits, and again while the device is there.
    gateway.kill();
    gateway.start();
    let device = Device::start(&door);
    let topic = device.until_came("{\"valve\":\"open\"}");
    assert!(topic.contains("%24.mid=m1") && topic.contains("color=red") && !topic.contains("leaf"), "{topic}");
    assert_eq!(hub.outcome("m1")["outcome"], "done");
    gateway.kill();
    hub.ask(&["send", DEVICE, "plain words", "--id", "m2"]);
    gateway.start();
    // Under its own identity nothing has to name it.
    device.until_came("plain words");
    assert_eq!(hub.outcome("m2")["outcome"], "done");
    // A method is the device's own.
    let answer = until("the device answers a method", SOON, || {
        let answer = hub.ask(&["device", "call", DEVICE, "blink", "{\"times\":3}"]);
        serde_json::from_slice::<Json>(&answer.stdout).ok().filter(|answer| answer["status"] == 299)
    });
    assert_eq!(answer["payload"], json!({ "asked": { "times": 3 } }), "{answer}");
    // Points are not its language.
    hub.ask(&["send", "gw-01", "x", "--property", "leaf=nobody", "--id", "m3"]);
    assert_eq!(hub.outcome("m3")["outcome"], "rejected");
    for id in ["m1", "m2", "m3"] {
        // The same message may come twice when the gateway ends behind it.
        let mut told: Vec<String> = hub.outcomes(id).iter().map(Json::to_string).collect();
        told.dedup();
        assert_eq!(told.len(), 1, "{id}: exactly one outcome: {told:?}");
    }
    gateway.stop();
}
