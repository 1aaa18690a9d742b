//! The gateway's twin: what the hub wants goes live on trial, and the hub is told what became of it.

use serde_json::json;

use super::commands::plant;
use crate::harness::{SOON, until_true};

const QUICK_TRIAL: &str = "[twin]\ntrial = \"3s\"\n";

#[test]
fn settings_go_live_and_survive_a_restart_without_the_hub() {
    let Some(mut plant) = plant(QUICK_TRIAL) else { return };
    plant.start();
    until_true("the gateway reports itself", SOON, || plant.hub.reported()["tidegate"]["leaves"]["boiler"]["state"] == "there");
    let reported = plant.hub.reported();
    assert_eq!((&reported["tidegate"]["id"], &reported["tidegate"]["version"]), (&json!("gw-01"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(reported["tidegate"]["adapters"], json!({ "plant": { "state": "open" } }));
    let wanted = json!({ "tidegate": { "log_level": "debug", "leaves": { "boiler": { "interval": "1h", "set": { "setpoint": 33 } } } } });
    let version = plant.hub.desire(&wanted);
    plant.hub.until_desired(version, "applied");
    until_true("the set-point is written", SOON, || plant.written(0) == [330]);
    // One poll at the start of the adapter, and no more for an hour.
    let requests = plant.slave.request_times(1).len();
    let before = plant.hub.twin_counts().0;
    plant.broker.stop();
    plant.gateway.kill();
    plant.gateway.start();
    until_true("it runs with the setting", SOON, || plant.gateway.log.find(0, "DEBUG").is_some());
    plant.broker.start_again();
    until_true("asked for the twin again", SOON, || plant.hub.twin_counts().1 >= 2);
    until_true("the outcome of the set-point is there", SOON, || plant.hub.outcomes().len() == 1);
    assert_eq!(plant.written(0), [330], "the same version writes once");
    assert!(plant.slave.request_times(1).len() < requests + 20, "polled once more at the start, and not five times a second");
    assert!(plant.hub.twin_counts().0 < before + 5, "no flood of reports");
}

#[test]
fn what_is_not_allowed_or_wrong_is_refused_with_the_reason() {
    let Some(mut plant) = plant("[twin]\ntrial = \"3s\"\nallow = [\"interval\", \"report\"]\n") else { return };
    plant.start();
    let version = plant.hub.desire(&json!({ "tidegate": { "leaves": { "boiler": { "set": { "setpoint": 33 } } } } }));
    let said = plant.hub.until_desired(version, "refused");
    assert!(said["error"].as_str().expect("a reason").contains("twin.allow"), "{said}");
    let version = plant.hub.desire(&json!({ "tidegate": { "leaves": { "boiler": { "set": null, "interval": "soon" } } } }));
    let said = plant.hub.until_desired(version, "refused");
    assert!(said["error"].as_str().expect("a reason").contains("interval"), "{said}");
    let version = plant.hub.desire(&json!({ "tidegate": { "leaves": { "boiler": null, "nobody": { "interval": "5s" } } } }));
    let said = plant.hub.until_desired(version, "refused");
    assert!(said["error"].as_str().expect("a reason").contains("no device 'nobody'"), "{said}");
    let version = plant.hub.desire(&json!({ "tidegate": { "leaves": { "nobody": null, "boiler": { "interval": "300ms" } } } }));
    plant.hub.until_desired(version, "applied");
    assert!(plant.written(0).is_empty());
}

#[test]
fn what_makes_things_worse_is_rolled_back_and_what_was_missed_is_caught_up() {
    let Some(mut plant) = plant("[twin]\ntrial = \"5s\"\n") else { return };
    plant.start();
    until_true("the twin is known", SOON, || plant.hub.twin_counts().1 == 1);
    let version = plant.hub.desire(&json!({ "tidegate": { "leaves": { "boiler": { "interval": "500ms" } } } }));
    plant.hub.until_desired(version, "trial");
    // Whatever the reason is: after the trial the device is worse off than before it.
    plant.slave.behave(1, "silent");
    let said = plant.hub.until_desired(version, "rolled-back");
    assert!(said["error"].as_str().expect("a reason").contains("leaf-silent (boiler)"), "{said}");
    plant.slave.behave(1, "answer");
    plant.gateway.until_health("leaf-silent", false);
    // Two versions while the gateway is away: only the newest counts.
    plant.gateway.stop();
    plant.hub.desire_silently(&json!({ "tidegate": { "leaves": { "boiler": { "interval": "700ms" } } } }));
    let newest = plant.hub.desire_silently(&json!({ "tidegate": { "leaves": { "boiler": { "interval": "900ms" } } } }));
    plant.start();
    plant.hub.until_desired(newest, "applied");
}
