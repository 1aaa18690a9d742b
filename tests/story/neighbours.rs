//! One bad unit among ten: its readings are bad and say why, and the others do not notice.

use std::{collections::BTreeSet, thread, time::Duration};

use serde_json::json;

use crate::harness::{Broker, Delivery, QUICK_LOG, SCENE, SOON, Scene, TcpSlave, alone, have, mqtt_upstream, until};

const UNITS: u8 = 10;
const BAD: u8 = 4;
/// Each unit is asked this often…
const INTERVAL: Duration = Duration::from_millis(400);
/// …and given this long.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Ten units, of which each holds 1000 + its number in register 0.
fn ten(slave: &mut TcpSlave, broker: &Broker) -> String {
    let mut adapter = format!(
        "[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{}\"\ntimeout = \"{}ms\"\nretries = 0\n",
        slave.address,
        TIMEOUT.as_millis()
    );
    for unit in 1..=UNITS {
        slave.add(unit, &[1000 + u16::from(unit)]);
        adapter += &format!(
            "[[adapter.device]]\nid = \"plant-{unit}\"\nunit = {unit}\ninterval = \"{}ms\"\n\
             [[adapter.device.point]]\nname = \"n\"\nregister = \"holding\"\naddress = 200\ntype = \"u32\"\n\
             [[adapter.device.point]]\nname = \"who\"\nregister = \"holding\"\naddress = 0\ntype = \"u16\"\n",
            INTERVAL.as_millis()
        );
    }
    format!("{QUICK_LOG}{adapter}{}", mqtt_upstream(&broker.address))
}

fn leaf(unit: u8) -> String {
    format!("plant-{unit}")
}

/// Never a value of somebody else, nor one of an earlier question.
fn assert_never_wrong(scene: &Scene) {
    let tally = scene.witness.tally();
    tally.assert_in_order();
    for unit in 1..=UNITS {
        for delivery in tally.of(&leaf(unit)) {
            let who = &delivery.body["who"];
            assert!(who.is_null() || *who == json!(1000 + u16::from(unit)), "{}: {}", delivery.leaf, delivery.body);
        }
    }
}

/// Every read of a neighbour is a value above, or on a slow machine a bad reading; never nothing.
fn assert_neighbours_whole(scene: &Scene) {
    let tally = scene.witness.tally();
    for unit in (1..=UNITS).filter(|unit| *unit != BAD) {
        let numbers: BTreeSet<u64> = tally.of(&leaf(unit)).filter_map(Delivery::number).collect();
        let bad = tally.of(&leaf(unit)).filter(|d| d.body["n"].is_null()).count() as u64;
        let missing = numbers.last().expect("read").abs_diff(numbers.len() as u64);
        assert!(missing <= bad, "unit {unit}: {missing} values are missing and {bad} readings were bad: {numbers:?}");
    }
}

#[test]
fn a_silent_unit_delays_nobody_and_says_that_it_is_silent() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut scene = Scene::with(ten);
    scene.slave.behave(BAD, "silent");
    scene.gateway.start();
    let quality = until("a bad reading of the silent unit", SOON, || {
        scene.witness.tally().of(&leaf(BAD)).next().map(|d| (d.body["n"].clone(), d.body["quality"]["n"].clone()))
    });
    assert_eq!(quality, (json!(null), json!("bad: timeout")));
    scene.gateway.until_health("leaf-silent", true);
    // Once the silent unit has been put aside, the rhythm of the others is theirs alone.
    let from = scene.slave.request_times(1).len();
    until("twenty polls of unit 1", SOON * 2, || (scene.slave.request_times(1).len() >= from + 20).then_some(()));
    for unit in (1..=UNITS).filter(|unit| *unit != BAD) {
        let times = scene.slave.request_times(unit);
        let pauses: Vec<f64> = times[from.min(times.len() - 2)..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        let longest = pauses.iter().copied().fold(0.0, f64::max);
        // A probe of the silent unit costs its time-out and a new connection; a slot that was missed is not made up for.
        let most = (INTERVAL * 2 + TIMEOUT * 2).as_secs_f64();
        assert!(longest <= most, "unit {unit}: {longest:.3} s between two polls, at most {most} s: {pauses:?}");
    }
    scene.slave.behave(BAD, "answer");
    until("the silent unit is heard again", SOON * 5, || scene.witness.tally().of(&leaf(BAD)).find_map(|d| d.number()));
    scene.gateway.until_health("leaf-silent", false);
    assert_never_wrong(&scene);
    assert_neighbours_whole(&scene);
}

#[test]
fn garbage_lateness_and_wrong_senders_are_bad_readings_and_never_wrong_ones() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut scene = Scene::with(ten);
    scene.gateway.start();
    scene.arrive(usize::from(UNITS));
    for trouble in ["garbage", "late:0.35", "wrong-unit", "wrong-transaction", "short", "refuse:4"] {
        let from = scene.witness.count();
        scene.slave.behave(BAD, trouble);
        until(&format!("a bad reading under {trouble}"), SOON, || {
            let tally = scene.witness.tally();
            tally.all()[from..].iter().find(|d| d.leaf == leaf(BAD) && d.body["n"].is_null()).map(|_| ())
        });
        until(&format!("neighbours go on under {trouble}"), SOON, || {
            let tally = scene.witness.tally();
            (1..=UNITS)
                .filter(|unit| *unit != BAD)
                .all(|unit| {
                    let name = leaf(unit);
                    tally.all()[from..].iter().filter(|d| d.leaf == name && d.number().is_some()).count() >= 3
                })
                .then_some(())
        });
        let from = scene.witness.count();
        scene.slave.behave(BAD, "answer");
        until(&format!("good readings after {trouble}"), SOON * 5, || {
            let tally = scene.witness.tally();
            tally.all()[from..].iter().find(|d| d.leaf == leaf(BAD) && d.number().is_some()).map(|_| ())
        });
    }
    // An answer that came too late must not turn up after all.
    thread::sleep(Duration::from_millis(500));
    assert_never_wrong(&scene);
    assert_neighbours_whole(&scene);
}
