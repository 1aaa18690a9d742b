//! Leaves that are devices of their own at the hub: each on its own connection, and one that cannot connect disturbs nobody.

use std::{collections::BTreeMap, fs, process::Stdio};

use serde_json::Value as Json;

use super::iothub::make_certificates;
use crate::harness::{Broker, Gateway, QUICK_LOG, SCENE, SOON, Site, Subscriber, TcpSlave, counting_adapter, have, until, until_true};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

fn upstream(site: &Site, broker: &Broker, more: &str) -> String {
    fs::write(site.path("key"), KEY).expect("a new file");
    let (host, port) = broker.address.split_once(':').expect("host:port");
    format!(
        "[[upstream]]\nname = \"hub\"\nkind = \"iothub\"\nhost = \"{host}\"\nport = {port}\ntls = false\ndevice_id = \"gw-01\"\nkey_file = \"{}\"\n{more}",
        site.path("key").display()
    )
}

fn leaf(site: &Site, id: &str, key: &str) -> String {
    format!("[[upstream.leaf]]\nid = \"{id}\"\nkey_file = \"{}\"\n", site.path(key).display())
}

/// The counter values of each leaf, in the order of arrival, by the device under which they came: `gw-01 plant-3`.
fn arrived(witness: &Subscriber) -> BTreeMap<String, Vec<u64>> {
    let mut by_device: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in witness.lines() {
        let Some((topic, body)) = line.split_once(' ') else { continue };
        let mut levels = topic.split('/');
        let device = levels.nth(1).unwrap_or_default().to_owned();
        let leaf = topic.rsplit('/').next().and_then(|bag| bag.split('&').find_map(|pair| pair.strip_prefix("leaf=")));
        let number = serde_json::from_str::<Json>(body).ok().and_then(|body| body["n"].as_u64());
        if let Some(number) = number {
            by_device.entry(leaf.map_or(device.clone(), |leaf| format!("{device} {leaf}"))).or_default().push(number);
        }
    }
    by_device
}

/// From 1 on, each once or, right behind a reconnect, twice: never a gap.
#[track_caller]
fn assert_unbroken(numbers: &[u64]) {
    assert_eq!(numbers.first(), Some(&1), "{numbers:?}");
    assert!(numbers.windows(2).all(|w| w[1] <= w[0] + 1), "{numbers:?}");
}

#[test]
fn each_leaf_has_its_own_connection_and_one_without_a_key_disturbs_nobody_and_loses_nothing() {
    if !have(SCENE) {
        return;
    }
    let site = Site::new();
    let broker = Broker::start(&site);
    let witness = Subscriber::to(&broker, "devices/#", &[]);
    let mut slave = TcpSlave::start(&site);
    (1..=3).for_each(|unit| slave.add(unit, &[]));
    let leaves = leaf(&site, "plant-1", "key") + &leaf(&site, "plant-2", "missing-key");
    let sections = format!("{QUICK_LOG}{}{}", counting_adapter("plant", &slave.address, 1..=3, "100ms"), upstream(&site, &broker, &leaves));
    let mut gateway = Gateway::new(&site, &sections);
    gateway.start();
    until_true("both go on while the third waits", SOON * 2, || {
        let arrived = arrived(&witness);
        ["plant-1", "gw-01 plant-3"].iter().all(|who| arrived.get(*who).is_some_and(|numbers| numbers.len() > 20))
    });
    let status = gateway.until_health("upstream-unusable", true);
    assert!(status.to_string().contains("hub/plant-2") && status.to_string().contains("missing-key"), "{status}");
    assert!(!arrived(&witness).contains_key("plant-2"));
    // It has the key at last, and everything is still there for it, in order.
    fs::write(site.path("missing-key"), KEY).expect("a new file");
    gateway.stop();
    gateway.start();
    until_true("the third catches up", SOON * 2, || arrived(&witness).get("plant-2").is_some_and(|numbers| numbers.len() > 20));
    // A C2D message under its own identity names no leaf.
    let (host, port) = broker.address.split_once(':').expect("host:port");
    let sent = std::process::Command::new("mosquitto_pub")
        .args(["-h", host, "-p", port, "-q", "1", "-t", "devices/plant-1/messages/devicebound/%24.mid=c1", "-m", "{\"read\":[\"n\"]}"])
        .stdout(Stdio::null())
        .status();
    assert!(sent.expect("mosquitto_pub runs").success());
    let outcome = until("the outcome", SOON, || witness.lines().into_iter().find(|line| line.contains("%24.cid=c1")));
    assert!(outcome.starts_with("devices/plant-1/messages/events/") && outcome.contains("\"outcome\":\"done\""), "{outcome}");
    gateway.stop();
    let arrived = arrived(&witness);
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["gw-01 plant-3", "plant-1", "plant-2"], "each under its own device and no other");
    arrived.values().for_each(|numbers| assert_unbroken(numbers));
}

/// Over TLS, because that is what costs memory. The figure of an optimised program is in `tests/bench/README.md`.
#[test]
fn five_hundred_leaves_have_connections_of_their_own() {
    const LEAVES: u64 = 500;
    if !have(&["mosquitto"]) {
        return;
    }
    let site = Site::new();
    let address = site.address();
    make_certificates(&site, "hub", &address);
    let path = |name: &str| site.path(name).display().to_string();
    let listener = format!(
        "listener 8883 {address}\ncafile {}\ncertfile {}\nkeyfile {}\n",
        path("hub-ca.pem"),
        path("hub-cert.pem"),
        path("hub-key.pem")
    );
    let broker = Broker::with(&site, &format!("allow_anonymous true\n{listener}"));
    let leaves: String = (0..LEAVES).map(|n| leaf(&site, &format!("leaf-{n}"), "key")).collect();
    let section = upstream(&site, &broker, &format!("ca_file = \"{}\"\nconnects_per_second = 100\n{leaves}", path("hub-ca.pem")));
    let (host, port) = broker.address.split_once(':').expect("host:port");
    let plain = format!("host = \"{host}\"\nport = {port}\ntls = false\n");
    assert!(section.contains(&plain), "{section}");
    let section = section.replace(&plain, &format!("host = \"{address}\"\nport = 8883\n"));
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}{section}"));
    gateway.start();
    let end = std::time::Instant::now() + SOON * 6;
    let status = loop {
        // Its socket comes a moment after it is ready.
        let status: serde_json::Value = serde_json::from_slice(&gateway.cli(&["status", "--json"]).stdout).unwrap_or_default();
        if status["upstreams"][0]["leaves"]["connected"] == LEAVES || std::time::Instant::now() > end {
            break status;
        }
        std::thread::sleep(SOON / 100);
    };
    assert_eq!(status["upstreams"][0]["leaves"]["connected"], LEAVES, "{} {}", status["upstreams"], status["health"]);
    let resident = gateway.resident() >> 20;
    assert!(resident < 200, "{resident} MiB resident, not optimised");
    eprintln_figure(resident);
    gateway.stop();
}

fn eprintln_figure(resident: u64) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "500 leaf connections: {resident} MiB resident").ok();
}
