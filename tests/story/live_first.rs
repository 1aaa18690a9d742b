//! `replay = "live-first"`: after an outage what is fresh comes first, and what was missed is filled in beside it.

use std::time::{Duration, Instant};

use crate::harness::{FaultProxy, Flow, SCENE, SOON, Scene, alone, have, outstanding, until, until_true};

/// Within this time of being connected again a message that was read after the return is at the broker.
const LIVE: Duration = Duration::from_secs(1);

#[test]
fn live_messages_arrive_within_a_second_of_reconnecting_and_the_backlog_is_filled_in() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut scene = Scene::counting(1..=4, "20ms", "replay = \"live-first\"\nbackfill_percent = 20\nin_flight = 16\nwindow = 32\n");
    let proxy = FaultProxy::start(&scene.site, &scene.broker.address);
    scene.readdress(&proxy.address);
    scene.gateway.start();
    scene.arrive(40);
    proxy.set(Flow::Cut);
    until_true("a backlog of two thousand", SOON * 3, || outstanding(&scene.gateway) > 2_000);
    let backlog_ends: Vec<u64> = (1..=4).map(|unit| scene.slave.counter(unit)).collect();
    let (log_from, seen) = (scene.broker.log.len(), scene.witness.count());
    proxy.set(Flow::Open);
    let connected = until("the gateway is back", SOON, || scene.broker.connected(log_from, "gw-01"));
    let live = until("a live message", SOON, || {
        let tally = scene.witness.tally();
        let fresh = |leaf: &str, n: u64| {
            leaf.strip_prefix("plant-").and_then(|unit| unit.parse::<usize>().ok()).is_some_and(|unit| n > backlog_ends[unit - 1])
        };
        tally.all()[seen..].iter().find(|d| d.number().is_some_and(|n| fresh(&d.leaf, n))).map(|d| d.at)
    });
    assert!(live.saturating_duration_since(connected) < LIVE, "after {:?}", live - connected);
    // While there is a backlog, live messages keep their pace.
    let begun = Instant::now();
    until_true("the backlog is filled in", SOON * 3, || outstanding(&scene.gateway) < 50);
    assert!(begun.elapsed() < SOON * 3);
    scene.gateway.stop();
    let tally = scene.deliver_the_rest();
    for unit in 1..=4 {
        let range = tally.assert_unbroken(&format!("plant-{unit}"));
        assert_eq!(*range.end(), scene.slave.counter(unit));
    }
    assert!(tally.gaps().is_empty());
}
