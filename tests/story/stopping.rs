//! Stopping in good order loses nothing and sends nothing twice; who insists is obeyed at once.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Ended, FaultProxy, Flow, SCENE, SOON, Scene, have, until, until_true};

#[test]
fn an_ordered_stop_loses_nothing_and_sends_nothing_twice() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=3, "20ms", "");
    for _ in 0..5 {
        scene.gateway.start();
        scene.arrive(30);
        scene.gateway.stop();
    }
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    for unit in 1..=3 {
        let range = tally.assert_unbroken(&format!("plant-{unit}"));
        assert_eq!((*range.start(), *range.end()), (1, scene.slave.counter(unit)), "unit {unit}");
    }
    assert_eq!(tally.duplicates(), 0);
}

#[test]
fn a_stop_is_orderly_while_the_hub_is_away_and_while_it_is_deaf() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=2, "50ms", "");
    let proxy = FaultProxy::start(&scene.site, &scene.broker.address);
    scene.readdress(&proxy.address);
    for trouble in [Flow::Cut, Flow::Deaf, Flow::Frozen] {
        proxy.set(Flow::Open);
        scene.gateway.start();
        scene.arrive(10);
        proxy.set(trouble);
        let polled = scene.slave.counter(1);
        until_true("polls go on", SOON, || scene.slave.counter(1) > polled + 10);
        let asked = Instant::now();
        scene.gateway.stop();
        assert!(asked.elapsed() < Duration::from_secs(15), "{trouble:?}: took {:?}", asked.elapsed());
    }
    proxy.set(Flow::Open);
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    for unit in 1..=2 {
        assert_eq!(*tally.assert_unbroken(&format!("plant-{unit}")).end(), scene.slave.counter(unit));
    }
}

/// A hub that takes the connection and then says nothing holds the first stop up for a while, but never the second.
#[test]
fn a_second_stop_request_ends_at_once() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "50ms", "");
    let proxy = FaultProxy::start(&scene.site, &scene.broker.address);
    scene.readdress(&proxy.address);
    scene.gateway.start();
    scene.arrive(5);
    // Something has to be in flight, or the farewell has nothing to wait for.
    proxy.set(Flow::Deaf);
    let polled = scene.slave.counter(1);
    until_true("polls go on", SOON, || scene.slave.counter(1) > polled + 10);
    let from = scene.gateway.log.len();
    scene.gateway.signal(Signal::TERM);
    until("it says that it stops", SOON, || scene.gateway.log.find(from, "stopping"));
    let asked = Instant::now();
    scene.gateway.signal(Signal::TERM);
    assert_eq!(scene.gateway.ended(SOON), Ended::Code(130));
    assert!(asked.elapsed() < Duration::from_millis(1_500), "took {:?}", asked.elapsed());
    proxy.set(Flow::Open);
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    tally.assert_unbroken("plant-1");
}

/// A device that accepts and never answers keeps a read busy for its time-out; stopping waits for that and no longer.
#[test]
fn a_device_that_never_answers_does_not_hold_up_the_stop() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "50ms", "");
    let mute = TcpListener::bind((scene.site.address(), 5020)).expect("an address of our own");
    let address = mute.local_addr().expect("bound").to_string();
    let taken = std::thread::spawn(move || {
        let mut connection: TcpStream = mute.accept().expect("the gateway connects").0;
        let mut first = [0; 1];
        connection.read_exact(&mut first).expect("it asks");
        connection
    });
    scene.gateway.rewrite(|text| {
        text.replace(&scene.slave.address, &address).replace("transport = \"tcp\"", "transport = \"tcp\"\ntimeout = \"2s\"")
    });
    scene.gateway.start();
    let _connection = taken.join().expect("asked");
    let asked = Instant::now();
    scene.gateway.stop();
    assert!(asked.elapsed() < Duration::from_secs(12), "took {:?}", asked.elapsed());
}
