//! Commands from the hub to a unit that is not ours, and what the hub is told: verified on the unit itself.

use std::{fs, time::Duration};

use serde_json::{Value as Json, json};

use crate::harness::{Broker, Gateway, Hub, QUICK_LOG, SCENE, SOON, Site, Subscriber, TcpSlave, have, until_true};

/// A hub, a gateway with the device `boiler`, and its unit: a set-point in tenths at 0 that may be written twice, a pulse at 1 that may
/// not, a temperature at 2 that may not be written, a coil at 10, and a counter that is polled.
pub(crate) struct Plant {
    pub(crate) gateway: Gateway,
    pub(crate) hub: Hub,
    pub(crate) slave: TcpSlave,
    pub(crate) broker: Broker,
    pub(crate) site: Site,
}

pub(crate) fn plant(more: &str) -> Option<Plant> {
    if !have(SCENE) {
        return None;
    }
    let site = Site::new();
    let broker = Broker::start(&site);
    let hub = Hub::start(&broker);
    let mut slave = TcpSlave::start(&site);
    slave.add(1, &[0, 0, 215]);
    slave.tell(&json!({ "unit": 1, "set": { "coil": { "10": [false] } } }));
    let gateway = Gateway::new(&site, &sections(&site, &broker, &slave, more));
    Some(Plant { gateway, hub, slave, broker, site })
}

fn sections(site: &Site, broker: &Broker, slave: &TcpSlave, more: &str) -> String {
    fs::write(site.path("key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").expect("a new file");
    let (host, port) = broker.address.split_once(':').expect("host:port");
    let point = |name: &str, register: &str, address: u16, more: &str| {
        format!("[[adapter.device.point]]\nname = \"{name}\"\nregister = \"{register}\"\naddress = {address}\n{more}\n")
    };
    let points = [
        point("setpoint", "holding", 0, "scale = 0.1\nmin = 0\nmax = 80\nwritable = true\nrepeatable = true"),
        point("pulse", "holding", 1, "writable = true"),
        point("temperature", "holding", 2, "scale = 0.1"),
        point("pump", "coil", 10, "writable = true"),
        point("n", "holding", 200, "type = \"u32\""),
    ];
    format!(
        "{QUICK_LOG}{more}[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{}\"\ntimeout = \"300ms\"\n\
         [[adapter.device]]\nid = \"boiler\"\nunit = 1\ninterval = \"200ms\"\n{}\
         [[upstream]]\nname = \"cloud\"\nkind = \"iothub\"\nhost = \"{host}\"\nport = {port}\ntls = false\ndevice_id = \"gw-01\"\nkey_file = \"{}\"\n",
        slave.address,
        points.concat(),
        site.path("key").display(),
    )
}

impl Plant {
    /// Starts the gateway and waits until the hub hears of it: from then on the broker queues for it.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        let before = self.hub.telemetry();
        self.gateway.start();
        until_true("the gateway is connected", SOON, || self.hub.telemetry() > before);
    }

    /// The values that were written at a register, in order.
    pub(crate) fn written(&mut self, address: u64) -> Vec<u64> {
        self.slave.writes(1).into_iter().filter(|(_, at, _)| *at == address).map(|(_, _, values)| values[0]).collect()
    }

    fn inbox(&self) -> Vec<Json> {
        self.gateway.json(&["inbox", "--json"])["commands"].as_array().expect("a list").clone()
    }
}

/// The register of the pulse.
pub(crate) const PULSE: u64 = 1;

#[test]
fn what_the_hub_sends_is_written_on_the_unit_and_the_hub_is_told() {
    let Some(mut plant) = plant("") else { return };
    plant.start();
    plant.hub.send("m1", "boiler", &json!({ "write": { "setpoint": 21.5, "pump": true } }));
    let told = plant.hub.outcome("m1");
    assert_eq!((&told["outcome"], &told["values"]), (&json!("done"), &json!({ "setpoint": 21.5, "pump": true })));
    let writes = plant.slave.writes(1);
    assert!(
        writes.iter().any(|(_, at, values)| *at == 0 && values == &[215]) && writes.iter().any(|(_, _, values)| values == &[1]),
        "{writes:?}"
    );
    plant.hub.send("m2", "boiler", &json!({ "read": ["temperature"] }));
    assert_eq!(plant.hub.outcome("m2")["values"], json!({ "temperature": 21.5 }));
    let audit = plant.gateway.json(&["inbox", "audit", "--json"]);
    let lines: Vec<_> =
        audit["audit"].as_array().expect("a list").iter().map(|line| (line["event"].clone(), line["source"].clone())).collect();
    assert_eq!(lines, [(json!("begun"), json!("cloud")), (json!("done"), json!("cloud"))], "{audit}");
}

#[test]
fn bad_commands_are_rejected_in_words_and_nothing_reaches_the_unit() {
    let Some(mut plant) = plant("") else { return };
    plant.start();
    let large = format!("{{\"write\":{{\"setpoint\":\"{}\"}}}}", "x".repeat(70_000));
    for (n, (leaf, body, part)) in [
        ("nobody", r#"{"write":{"setpoint":1}}"#, "no leaf 'nobody'"),
        ("boiler", r#"{"write":{"nothing":1}}"#, "no such point"),
        ("boiler", r#"{"write":{"temperature":1}}"#, "not declared writable"),
        ("boiler", r#"{"write":{"setpoint":80.5}}"#, "80"),
        ("boiler", r#"{"write":{"setpoint":"warm"}}"#, "setpoint"),
        ("boiler", r#"{"write":{"pulse":1.5}}"#, "pulse"),
        ("boiler", r#"{"write":{"setpoint":"#, "not understood"),
        ("boiler", &large, "at most 65536"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("bad-{n}");
        plant.hub.send_with(&[("$.mid", &id), ("leaf", leaf)], body.as_bytes());
        let told = plant.hub.outcome(&id);
        assert_eq!(told["outcome"], "rejected", "{told}");
        assert!(told["reason"].as_str().expect("a reason").contains(part), "{part}: {told}");
    }
    plant.hub.send_with(&[("$.mid", "late"), ("leaf", "boiler"), ("$.exp", "2026-01-01T00:00:00Z")], br#"{"write":{"pulse":1}}"#);
    assert_eq!(plant.hub.outcome("late")["outcome"], "expired");
    assert!(plant.slave.writes(1).is_empty());
}

#[test]
fn a_unit_that_acknowledges_and_does_not_change_is_not_done() {
    let Some(mut plant) = plant("") else { return };
    plant.start();
    plant.slave.behave(1, "pretend");
    plant.hub.send("m1", "boiler", &json!({ "write": { "setpoint": 21.5 } }));
    let told = plant.hub.outcome("m1");
    assert_eq!(told["outcome"], "failed", "{told}");
    let dead = plant.inbox();
    assert_eq!((dead.len(), &dead[0]["dead"], &dead[0]["state"]), (1, &json!(true), &json!("failed")));
    // A person has it carried out after all, once the unit is right again.
    plant.slave.behave(1, "answer");
    let answer = plant.gateway.json(&["inbox", "retry", &dead[0]["seq"].to_string(), "--json"]);
    assert_eq!(answer["outcome"], "done", "{answer}");
    assert!(plant.inbox().is_empty());
    assert_eq!(plant.written(0), [215, 215]);
}

#[test]
fn a_duplicate_is_carried_out_once_also_after_a_restart() {
    let Some(mut plant) = plant("") else { return };
    plant.start();
    for _ in 0..5 {
        plant.hub.send("m1", "boiler", &json!({ "write": { "pulse": 7 } }));
    }
    assert_eq!(plant.hub.outcome("m1")["outcome"], "done");
    plant.gateway.kill();
    plant.hub.send("m1", "boiler", &json!({ "write": { "pulse": 7 } }));
    plant.hub.send("m2", "boiler", &json!({ "write": { "pulse": 8 } }));
    plant.gateway.start();
    assert_eq!(plant.hub.outcome("m2")["outcome"], "done");
    assert_eq!(plant.written(PULSE), [7, 8]);
    assert_eq!(plant.hub.outcomes().len(), 2);
}

#[test]
fn commands_wait_for_a_gateway_or_a_unit_that_is_away_and_for_both() {
    let Some(mut plant) = plant("") else { return };
    plant.start();
    // The gateway is away.
    plant.gateway.stop();
    plant.hub.send("gateway-away", "boiler", &json!({ "write": { "pulse": 1 } }));
    plant.gateway.start();
    assert_eq!(plant.hub.outcome("gateway-away")["outcome"], "done");
    // The unit is away.
    plant.slave.behave(1, "silent");
    plant.gateway.until_health("leaf-silent", true);
    plant.hub.send("unit-away", "boiler", &json!({ "write": { "pulse": 2 } }));
    until_true("the command waits", SOON, || plant.inbox().iter().any(|command| command["state"] == "waiting"));
    plant.slave.behave(1, "answer");
    assert_eq!(plant.hub.outcome("unit-away")["outcome"], "done");
    // Both, with a restart of the gateway while the command waits.
    plant.slave.behave(1, "silent");
    plant.gateway.until_health("leaf-silent", true);
    plant.gateway.kill();
    plant.hub.send("both-away", "boiler", &json!({ "write": { "pulse": 3 } }));
    plant.gateway.start();
    plant.slave.behave(1, "answer");
    let told = plant.hub.outcome("both-away");
    // The first poll after the start may not have shown yet that the unit was silent; then the write was tried, and nobody knows.
    assert!(matches!(told["outcome"].as_str(), Some("done" | "uncertain")), "{told}");
    assert_eq!(plant.hub.outcomes().len(), 3);
}

#[test]
fn a_command_for_a_unit_that_stays_away_expires_and_is_never_written() {
    let Some(mut plant) = plant("[commands]\nttl = \"2s\"\n") else { return };
    plant.start();
    plant.slave.behave(1, "silent");
    plant.gateway.until_health("leaf-silent", true);
    plant.hub.send("m1", "boiler", &json!({ "write": { "pulse": 1 } }));
    assert_eq!(plant.hub.outcome("m1")["outcome"], "expired");
    plant.slave.behave(1, "answer");
    plant.gateway.until_health("leaf-silent", false);
    assert!(plant.written(PULSE).is_empty());
}

#[test]
fn with_ack_leaf_the_hub_keeps_a_command_until_it_has_its_outcome() {
    let Some(mut plant) = plant("") else { return };
    plant.gateway.rewrite(|text| text.replace("kind = \"iothub\"\n", "kind = \"iothub\"\nack = \"leaf\"\n"));
    plant.start();
    plant.slave.behave(1, "silent");
    plant.gateway.until_health("leaf-silent", true);
    plant.hub.send("m1", "boiler", &json!({ "write": { "pulse": 5 } }));
    until_true("the command waits", SOON, || !plant.inbox().is_empty());
    plant.gateway.kill();
    // The inbox is gone with the disk; the hub still has the command.
    fs::remove_dir_all(&plant.gateway.state).expect("our own folder");
    plant.slave.behave(1, "answer");
    plant.gateway.start();
    assert_eq!(plant.hub.outcome("m1")["outcome"], "done");
    assert_eq!(plant.written(PULSE), [5]);
}

#[test]
fn writes_of_people_on_this_machine_need_no_cloud() {
    let Some(mut plant) = plant("") else { return };
    plant.start();
    plant.broker.stop();
    let answer = plant.gateway.json(&["write", "boiler", "setpoint=40", "pump=true", "--json"]);
    assert_eq!((&answer["outcome"], &answer["values"]), (&json!("done"), &json!({ "setpoint": 40.0, "pump": true })), "{answer}");
    assert_eq!(plant.written(0).last(), Some(&400));
    let refused = plant.gateway.cli(&["write", "boiler", "setpoint=99"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).starts_with("rejected: setpoint"), "{refused:?}");
    let audit = plant.gateway.json(&["inbox", "audit", "--json"]);
    assert!(audit["audit"].as_array().expect("a list").iter().all(|line| line["source"] == "local"), "{audit}");
    assert_eq!(audit["audit"].as_array().map(Vec::len), Some(3), "begun, done, rejected: {audit}");
    // The cloud hears of it when it is back.
    plant.broker.start_again();
    until_true("both outcomes arrive", SOON, || plant.hub.outcomes().len() == 2);
    drop(plant.site);
}

#[test]
fn any_broker_can_send_commands_and_hears_what_became_of_them() {
    let Some(mut plant) = plant("") else { return };
    let replies = Subscriber::to(&plant.broker, "reply/#", &[]);
    plant.gateway.rewrite(|text| {
        let (kept, _) = text.split_once("[[upstream]]").expect("one");
        format!(
            "{kept}[[upstream]]\nname = \"broker\"\nkind = \"mqtt\"\naddress = \"{}\"\nclient_id = \"gw-01\"\n\
             birth_topic = \"state\"\ncommand_topic = \"command\"\nreply_topic = \"reply/{{leaf}}\"\n",
            plant.broker.address
        )
    });
    plant.gateway.start();
    until_true("subscribed", SOON, || plant.broker.log.find(0, "gw-01 1 command").is_some());
    for body in
        [r#"{"id":"42","leaf":"boiler","write":{"setpoint":21.5}}"#, r#"{"id":"42","leaf":"boiler","write":{"setpoint":21.5}}"#, "nonsense"]
    {
        plant.hub.publish("command", body);
    }
    until_true("both are told", SOON, || replies.lines().len() >= 2);
    let line = |leaf: &str| replies.lines().into_iter().find(|line| line.starts_with(&format!("reply/{leaf} "))).expect("told");
    assert!(
        line("boiler").ends_with(r#""command":"42","leaf":"boiler","outcome":"done","values":{"setpoint":21.5}}"#),
        "{}",
        line("boiler")
    );
    assert!(line("gw-01").contains(r#""outcome":"rejected","reason":"it names no leaf"#), "{}", line("gw-01"));
    assert_eq!(plant.written(0), [215]);
}

#[test]
fn methods_are_answered_while_the_bus_is_busy_and_honour_their_time() {
    let Some(mut plant) = plant(
        "[commands]\nmethods = [\"read\", \"write\", \"points\", \"refresh\", \"ping\", \"status\", \"logs\"]\nmethod_timeout = \"1s\"\n",
    ) else {
        return;
    };
    plant.start();
    let (status, body, _) = plant.hub.call("ping", &json!({}));
    assert_eq!((status, &body["version"]), (200, &json!(env!("CARGO_PKG_VERSION"))));
    let (status, body, _) = plant.hub.call("read", &json!({ "leaf": "boiler", "read": ["temperature"] }));
    assert_eq!((status, body), (200, json!({ "outcome": "done", "values": { "temperature": 21.5 } })));
    let (status, body, _) = plant.hub.call("write", &json!({ "leaf": "boiler", "write": { "setpoint": 30 } }));
    assert_eq!((status, &body["values"]), (200, &json!({ "setpoint": 30.0 })), "{body}");
    assert_eq!(plant.written(0), [300]);
    let before = plant.hub.telemetry();
    let (status, body, _) = plant.hub.call("refresh", &json!({ "leaf": "boiler" }));
    assert_eq!((status, &body["points"]), (200, &json!(5)), "{body}");
    until_true("the message arrives", SOON, || plant.hub.telemetry() > before);
    let (status, body, _) = plant.hub.call("points", &json!({ "leaf": "boiler" }));
    assert_eq!(status, 200);
    assert_eq!(
        body["points"][0],
        json!({ "name": "setpoint", "min": 0.0, "max": 80.0, "writable": true, "write_min": 0.0, "write_max": 80.0 })
    );
    let (status, body, _) = plant.hub.call("status", &json!(null));
    assert_eq!((status, &body["gateway"]), (200, &json!("gw-01")));
    let (status, body, _) = plant.hub.call("logs", &json!({ "lines": 5 }));
    assert_eq!((status, body["lines"].as_array().map(Vec::len)), (200, Some(5)), "{body}");
    for (method, payload, expected, code) in [
        ("reload", json!({}), 403, "not-allowed"),
        ("dance", json!({}), 501, "no-method"),
        ("read", json!({ "leaf": "nobody", "read": [] }), 404, "no-leaf"),
        ("write", json!({ "leaf": "boiler", "write": { "setpoint": 99 } }), 422, "rejected"),
        ("write", json!([1]), 400, "malformed"),
    ] {
        let (status, body, _) = plant.hub.call(method, &payload);
        assert_eq!((status, &body["error"]["code"]), (expected, &json!(code)), "{method} {payload}: {body}");
    }
    // Each request takes most of the unit's time-out; the bus always has one under way.
    plant.slave.behave(1, "late:0.15");
    let (status, _, took) = plant.hub.call("read", &json!({ "leaf": "boiler", "read": ["temperature"] }));
    assert_eq!(status, 200);
    assert!(took < Duration::from_secs(2), "{took:?}");
    plant.slave.behave(1, "silent");
    until_true("the unit is known to be away", SOON, || plant.hub.call("points", &json!({})).1["leaves"][0]["away"].is_string());
    let (status, body, took) = plant.hub.call("write", &json!({ "leaf": "boiler", "write": { "setpoint": 31 } }));
    assert_eq!((status, &body["error"]["code"]), (503, &json!("away")), "{body}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(plant.hub.outcomes().is_empty(), "methods are not stored");
}
