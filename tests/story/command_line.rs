//! What a person asks on the command line, beside a running gateway and without one.

use serde_json::json;

use crate::harness::{SCENE, SOON, Scene, have, outstanding, until_true};

#[test]
fn a_device_can_be_read_without_any_hub() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=2, "1s", "");
    scene.broker.stop();
    let read = scene.gateway.cli(&["read", "plant", "plant-2", "--json"]);
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success() && text.contains("plant-2") && !text.contains("plant-1"), "{read:?}");
    assert!(scene.slave.counter(2) >= 1 && scene.slave.counter(1) == 0, "only the one that was asked for");
    scene.slave.behave(2, "silent");
    let read = scene.gateway.cli(&["read", "plant", "plant-2"]);
    assert_eq!(read.status.code(), Some(1), "no answer is told by the exit code: {read:?}");
}

#[test]
fn the_queue_can_be_looked_at_while_the_gateway_runs_and_while_it_does_not() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=2, "50ms", "");
    scene.broker.stop();
    scene.gateway.start();
    until_true("messages wait", SOON, || outstanding(&scene.gateway) > 20);
    let queue = scene.gateway.json(&["queue", "--json"]);
    assert!(queue["depth"].as_u64().is_some_and(|depth| depth > 20), "{queue}");
    assert!(queue["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{queue}");
    let text = String::from_utf8_lossy(&scene.gateway.cli(&["queue"]).stdout).into_owned();
    assert!(text.contains("hub"), "readers are named: {text}");
    scene.gateway.stop();
    assert!(outstanding(&scene.gateway) > 20, "the same is seen without a gateway");
    assert_eq!(scene.gateway.cli(&["status"]).status.code(), Some(69), "but there is no status");
    scene.broker.start_again();
    scene.deliver_the_rest();
    assert_eq!(outstanding(&scene.gateway), 0);
}

#[test]
fn the_status_names_adapters_upstreams_and_what_is_wrong() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=2, "50ms", "");
    scene.slave.behave(2, "silent");
    scene.gateway.start();
    scene.arrive(20);
    let status = scene.gateway.until_health("leaf-silent", true);
    assert_eq!(status["gateway"], json!("gw-01"));
    assert_eq!((&status["adapters"][0]["name"], &status["adapters"][0]["connected"]), (&json!("plant"), &json!(true)), "{status}");
    assert_eq!((&status["upstreams"][0]["name"], &status["upstreams"][0]["connected"]), (&json!("hub"), &json!(true)), "{status}");
    assert!(status["upstreams"][0]["delivered"].as_u64().is_some_and(|n| n > 0), "{status}");
    let entry = status["health"].as_array().and_then(|all| all.iter().find(|e| e["code"] == "leaf-silent")).cloned().expect("just seen");
    for key in ["title", "detail", "cause", "next"] {
        assert!(entry[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {entry}");
    }
    let text = String::from_utf8_lossy(&scene.gateway.cli(&["status"]).stdout).into_owned();
    assert!(text.contains("leaf-silent") && text.contains("plant-2"), "{text}");
}

#[test]
fn every_kind_of_adapter_shows_an_example_that_passes_the_check() {
    let site = crate::harness::Site::new();
    let gateway = crate::harness::Gateway::new(&site, "");
    let kinds = String::from_utf8_lossy(&gateway.cli(&["adapters"]).stdout).into_owned();
    assert!(kinds.contains("modbus"), "{kinds}");
    let modbus = gateway.cli(&["adapters", "modbus"]);
    assert!(modbus.status.success() && String::from_utf8_lossy(&modbus.stdout).contains("[[adapter]]"), "{modbus:?}");
    let schema = gateway.json(&["adapters", "modbus", "--schema"]);
    assert!(schema["properties"].is_object(), "{schema}");
    assert_ne!(gateway.cli(&["adapters", "nonsense"]).status.code(), Some(0));
}

#[test]
fn the_demo_runs_an_outage_on_one_machine_and_loses_nothing() {
    let site = crate::harness::Site::new();
    let gateway = crate::harness::Gateway::new(&site, "");
    let demo = gateway.json(&["demo", "--for", "8s", "--json"]);
    assert!(demo.is_object(), "{demo}");
    assert_eq!(demo["lost"], json!(0), "{demo}");
}
