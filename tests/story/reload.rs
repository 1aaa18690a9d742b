//! A changed configuration is applied to what changed, and to nothing else.

use serde_json::Value as Json;

use crate::harness::{SCENE, SOON, Scene, TcpSlave, counting_adapter, have, until_true};

fn row<'a>(status: &'a Json, what: &str, name: &str) -> Option<&'a Json> {
    status[what].as_array()?.iter().find(|row| row["name"] == name)
}

/// Two adapters on two slaves, so that connections can be told apart.
fn two_plants() -> (Scene, TcpSlave) {
    let mut other = None;
    let scene = Scene::counting(1..=1, "50ms", "");
    let mut slave = TcpSlave::start(&scene.site);
    slave.add(9, &[]);
    scene.gateway.rewrite(|text| text.to_owned() + &counting_adapter("annexe", &slave.address, [9], "50ms"));
    other.replace(slave);
    (scene, other.expect("just made"))
}

fn connections(slave: &mut TcpSlave, unit: u8) -> u64 {
    slave.tell(&serde_json::json!({ "unit": unit, "ask": true }))["connections"].as_u64().expect("a number")
}

#[test]
fn only_what_changed_is_started_again_and_nothing_is_lost() {
    if !have(SCENE) {
        return;
    }
    let (mut scene, mut annexe) = two_plants();
    scene.gateway.start();
    scene.arrive(20);
    let (plant_before, annexe_before) = (connections(&mut scene.slave, 1), connections(&mut annexe, 9));
    let hub_from = scene.broker.log.len();

    // A slower poll for the plant alone.
    scene.gateway.rewrite(|text| text.replace("unit = 1\ninterval = \"50ms\"", "unit = 1\ninterval = \"60ms\""));
    let told = scene.gateway.cli(&["reload"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && text.contains("changed adapter plant"), "{told:?}");
    assert!(!text.contains("annexe") && !text.contains("hub"), "{text}");
    scene.arrive(20);
    assert_eq!(connections(&mut annexe, 9), annexe_before, "the annexe's connection was left alone");
    assert_eq!(connections(&mut scene.slave, 1), plant_before + 1, "the plant's was made anew");
    assert!(scene.broker.connected(hub_from, "gw-01").is_none(), "the upstream's was left alone");

    let again = scene.gateway.cli(&["reload"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing changed"), "{again:?}");

    // An adapter goes, by SIGHUP this time.
    scene.gateway.rewrite(|text| {
        let at = text.find("[[adapter]]\nname = \"annexe\"").expect("added at the end");
        text[..at].to_owned()
    });
    scene.gateway.hang_up();
    let status = scene.gateway.json(&["status", "--json"]);
    assert!(row(&status, "adapters", "annexe").is_none() && row(&status, "adapters", "plant").is_some(), "{status}");
    let annexe_last = annexe.counter(9);

    scene.gateway.stop();
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    assert_eq!(*tally.assert_unbroken("plant-1").end(), scene.slave.counter(1));
    assert_eq!(*tally.assert_unbroken("annexe-9").end(), annexe_last);
    assert_eq!(tally.duplicates(), 0);
}

#[test]
fn a_wrong_change_is_refused_and_everything_goes_on() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "50ms", "");
    scene.gateway.start();
    scene.arrive(5);
    let before = connections(&mut scene.slave, 1);
    scene.gateway.rewrite(|text| text.replace("type = \"u32\"", "type = \"u33\""));
    let told = scene.gateway.cli(&["reload"]);
    assert_eq!(told.status.code(), Some(78), "{told:?}");
    scene.gateway.hang_up();
    scene.gateway.until_health("reload-refused", true);
    scene.arrive(5);
    assert_eq!(connections(&mut scene.slave, 1), before);
    scene.gateway.rewrite(|text| text.replace("type = \"u33\"", "type = \"u32\""));
    scene.gateway.hang_up();
    scene.gateway.until_health("reload-refused", false);
    scene.gateway.stop();
    let tally = scene.deliver_the_rest();
    assert_eq!(*tally.assert_unbroken("plant-1").end(), scene.slave.counter(1));
}

#[test]
fn an_upstream_that_is_added_gets_what_is_kept_and_one_that_is_removed_holds_nothing_back() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "50ms", "");
    let upstream = |name: &str, topic: &str, address: &str| {
        crate::harness::mqtt_upstream(address).replace("\"hub\"", &format!("\"{name}\"")).replace("gw-01", name).replace("t/{leaf}", topic)
    };
    let second = upstream("second", "elsewhere/{leaf}", &scene.broker.address);
    scene.gateway.start();
    scene.arrive(5);
    let from = scene.broker.log.len();
    scene.gateway.rewrite(|text| text.to_owned() + &second);
    scene.gateway.hang_up();
    until_true("the second is connected", SOON, || scene.broker.connected(from, "second").is_some());
    until_true("the second delivers", SOON, || {
        let status = scene.gateway.json(&["status", "--json"]);
        row(&status, "upstreams", "second").and_then(|row| row["delivered"].as_u64()).is_some_and(|n| n > 5)
    });
    scene.gateway.rewrite(|text| text.replace(&second, ""));
    scene.gateway.hang_up();
    let queue = scene.gateway.json(&["queue", "--json"]);
    let readers: Vec<_> = queue["readers"].as_array().expect("a list").iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(readers, ["hub"]);
    scene.arrive(5);
}
