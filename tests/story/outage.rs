//! The hub goes away and comes back: nothing is lost, order is kept, and little is sent twice.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::harness::{FaultProxy, Flow, SCENE, SOON, Scene, alone, have, outstanding, until, until_true};

/// The promise of the uplink: the hub's return is noticed within this time.
const RETURN: Duration = Duration::from_secs(5);
/// What mosquitto may send its subscriber again after a restart of its own: its `max_inflight_messages`.
const WITNESS_WINDOW: usize = 20;

const WINDOW: usize = 64;

fn windows() -> String {
    format!("window = {WINDOW}\nin_flight = 32\n")
}

/// Everything that the units handed out has arrived, in order.
#[track_caller]
fn assert_whole(scene: &mut Scene, units: u8) {
    scene.gateway.stop();
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    for unit in 1..=units {
        let range = tally.assert_unbroken(&format!("plant-{unit}"));
        assert_eq!((*range.start(), *range.end()), (1, scene.slave.counter(unit)), "unit {unit}: from the first read to the last");
    }
    assert!(tally.gaps().is_empty(), "nothing was given up: {:?}", tally.gaps());
}

#[test]
fn mosquitto_may_be_stopped_and_started_and_nothing_is_missing() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut scene = Scene::counting(1..=3, "50ms", &windows());
    scene.gateway.start();
    scene.arrive(30);
    const STOPS: usize = 3;
    for _ in 0..STOPS {
        scene.broker.stop();
        scene.gateway.until_health("hub-unreachable", true);
        // The outage is as long as it takes to fill more than one window.
        until_true("more waits than one window", SOON, || outstanding(&scene.gateway) > WINDOW as u64 * 2);
        let from = scene.broker.log.len();
        let back = Instant::now();
        scene.broker.start_again();
        let connected = until("the gateway is back", RETURN + SOON, || scene.broker.connected(from, "gw-01"));
        assert!(connected - back < RETURN, "noticed after {:?}", connected - back);
        scene.gateway.until_health("hub-unreachable", false);
        until_true("it catches up", SOON, || outstanding(&scene.gateway) < WINDOW as u64);
    }
    assert_whole(&mut scene, 3);
    let duplicates = scene.witness.tally().duplicates();
    assert!(duplicates <= STOPS * (WINDOW + WITNESS_WINDOW), "{duplicates} came twice");
}

#[test]
fn a_connection_that_is_cut_costs_at_most_one_window_of_duplicates_each_time() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut proxy = None;
    let mut scene = scene_behind(&mut proxy, &windows());
    let proxy = proxy.expect("made with the scene");
    scene.gateway.start();
    const CUTS: usize = 6;
    for _ in 0..CUTS {
        scene.arrive(20);
        proxy.set(Flow::Cut);
        until_true("some wait", SOON, || outstanding(&scene.gateway) > 20);
        proxy.set(Flow::Open);
    }
    scene.arrive(20);
    assert_whole(&mut scene, 3);
    let duplicates = scene.witness.tally().duplicates();
    assert!(duplicates <= CUTS * WINDOW, "{duplicates} came twice");
}

#[test]
fn a_hub_that_takes_everything_and_acknowledges_nothing_gets_one_window_and_no_more() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut proxy = None;
    let mut scene = scene_behind(&mut proxy, &format!("{}keep_alive = \"5s\"\n", windows()));
    let proxy = proxy.expect("made with the scene");
    scene.gateway.start();
    scene.arrive(20);
    proxy.set(Flow::Deaf);
    let before = scene.witness.count();
    until_true("more waits than three windows", SOON, || outstanding(&scene.gateway) > WINDOW as u64 * 3);
    // What is in flight arrived; beyond it nothing is sent without an acknowledgement.
    let unacknowledged = scene.witness.count() - before;
    assert!(unacknowledged <= WINDOW, "{unacknowledged} were sent without one acknowledgement");
    let memory = scene.gateway.resident();
    assert!(memory < 64 << 20, "{memory} bytes resident");
    // The gateway itself finds the hub deaf (no answer to its ping) and would connect again; now it may succeed.
    proxy.set(Flow::Open);
    until_true("it catches up", SOON, || outstanding(&scene.gateway) < WINDOW as u64);
    assert_whole(&mut scene, 3);
    let duplicates = scene.witness.tally().duplicates();
    assert!(duplicates <= WINDOW * 2, "{duplicates} came twice");
}

#[test]
fn a_link_that_is_dead_without_a_word_is_noticed_by_keep_alive() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut proxy = None;
    let mut scene = scene_behind(&mut proxy, &format!("{}keep_alive = \"5s\"\n", windows()));
    let proxy = proxy.expect("made with the scene");
    scene.gateway.start();
    scene.arrive(20);
    proxy.set(Flow::Frozen);
    scene.gateway.until_health("hub-unreachable", true);
    // Whoever had connected to the dead link has to be let go by a time-out of its own.
    proxy.set(Flow::Cut);
    thread::sleep(Duration::from_millis(50));
    let back = Instant::now();
    proxy.set(Flow::Open);
    scene.gateway.until_health("hub-unreachable", false);
    assert!(back.elapsed() < RETURN + Duration::from_secs(1), "back after {:?}", back.elapsed());
    until_true("it catches up", SOON, || outstanding(&scene.gateway) < WINDOW as u64);
    assert_whole(&mut scene, 3);
}

#[test]
fn a_broker_that_stands_still_for_a_moment_loses_nothing_and_gets_nothing_twice() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut scene = Scene::counting(1..=3, "50ms", &windows());
    scene.gateway.start();
    for _ in 0..3 {
        scene.arrive(10);
        scene.broker.pause();
        until_true("some wait", SOON, || outstanding(&scene.gateway) > 40);
        scene.broker.resume();
    }
    scene.arrive(10);
    assert_whole(&mut scene, 3);
    assert_eq!(scene.witness.tally().duplicates(), 0, "no connection was lost");
}

/// Three units, with a proxy between gateway and broker.
fn scene_behind(proxy: &mut Option<FaultProxy>, more: &str) -> Scene {
    let scene = Scene::counting(1..=3, "50ms", more);
    let made = FaultProxy::start(&scene.site, &scene.broker.address);
    scene.readdress(&made.address);
    *proxy = Some(made);
    scene
}
