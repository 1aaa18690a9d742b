//! Values of a pymodbus slave arrive at mosquitto as they are.

use serde_json::{Value as Json, json};

use crate::harness::{Delivery, Gateway, QUICK_LOG, SCENE, SOON, Scene, Subscriber, TcpSlave, have, mqtt_upstream, until};

/// Body members of the newest message of `leaf` without its time.
fn latest(witness: &Subscriber, leaf: &str) -> Option<Json> {
    let tally = witness.tally();
    let mut body = tally.of(leaf).next_back()?.body.clone();
    let time = body.as_object_mut().and_then(|members| members.remove("ts"));
    assert!(time.and_then(|ts| Some(ts.as_str()?.ends_with('Z'))) == Some(true), "each body has its time in UTC");
    Some(body)
}

fn point(name: &str, register: &str, address: u16, more: &str) -> String {
    format!("[[adapter.device.point]]\nname = \"{name}\"\nregister = \"{register}\"\naddress = {address}\n{more}\n")
}

fn every_type(slave: &mut TcpSlave) -> String {
    // 21.5 is 0x41AC_0000, -2.0 as a double is 0xC000_0000_0000_0000.
    slave.tell(&json!({ "unit": 1, "set": {
        "holding": {
            "0": [65535, 0xFFFE, 0x0001, 0x86A0, 0x41AC, 0, 0, 0x41AC, 0xC000, 0, 0, 0],
            "20": [0x5469, 0x6465, 0x2020, 0], "30": [0b1000], "40": [0x1234, 250, 2],
            "50": [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF],
        },
        "input": { "7": [0xBEEF] }, "coil": { "3": [true, false] }, "discrete": { "9": [false, true] },
    }}));
    [
        point("u16", "holding", 0, "type = \"u16\""),
        point("i16", "holding", 1, "type = \"i16\""),
        point("u32", "holding", 2, "type = \"u32\""),
        point("float", "holding", 4, "type = \"f32\""),
        point("swapped", "holding", 6, "type = \"f32\"\norder = \"cdab\""),
        point("double", "holding", 8, "type = \"f64\""),
        point("name", "holding", 20, "type = \"string\"\nlength = 4"),
        point("alarm", "holding", 30, "type = \"bool\"\nbit = 3"),
        point("quiet", "holding", 30, "type = \"bool\"\nbit = 2"),
        point("digits", "holding", 40, "type = \"bcd16\""),
        point("scaled", "holding", 41, "type = \"u16\"\nscale = 0.1\noffset = -5.0\nprecision = 1\nunit = \"°C\""),
        point("mode", "holding", 42, "type = \"u16\"\nlabels = { \"2\" = \"heating\" }"),
        point("huge", "holding", 50, "type = \"u64\""),
        point("input", "input", 7, "type = \"u16\""),
        point("pump", "coil", 3, "type = \"bool\""),
        point("door", "discrete", 10, "type = \"bool\""),
    ]
    .concat()
}

#[test]
fn values_of_every_type_reach_the_broker() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::with(|slave, broker| {
        let points = every_type(slave);
        let adapter = format!(
            "[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{}\"\n\
             [[adapter.device]]\nid = \"boiler\"\nunit = 1\ninterval = \"100ms\"\n",
            slave.address
        );
        format!("{QUICK_LOG}[body]\nunits = true\n{adapter}{points}{}", mqtt_upstream(&broker.address))
    });
    scene.gateway.start();
    let body = until("the first message", SOON, || latest(&scene.witness, "boiler"));
    let expected = json!({
        "u16": 65535, "i16": -2, "u32": 100_000, "float": 21.5, "swapped": 21.5, "double": -2.0, "name": "Tide",
        "alarm": true, "quiet": false, "digits": 1234, "scaled": 20.0, "mode": "heating", "huge": u64::MAX,
        "input": 0xBEEF, "pump": true, "door": true, "units": { "scaled": "°C" },
    });
    assert_eq!(body, expected);
}

#[test]
fn every_poll_is_one_message_and_none_is_missing() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=3, "50ms", "");
    scene.gateway.start();
    scene.arrive(60);
    scene.gateway.stop();
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    for unit in 1..=3 {
        let range = tally.assert_unbroken(&format!("plant-{unit}"));
        assert_eq!((*range.start(), *range.end()), (1, scene.slave.counter(unit)), "from the first read to the last");
    }
    assert_eq!(tally.duplicates(), 0);
}

#[test]
fn rtu_frames_over_tcp_carry_the_same_values() {
    if !have(SCENE) {
        return;
    }
    let site = crate::harness::Site::new();
    let broker = crate::harness::Broker::start(&site);
    let witness = Subscriber::start(&broker);
    let mut slave = TcpSlave::start_rtu_over_tcp(&site);
    slave.add(5, &[7, 8, 9]);
    let adapter = format!(
        "[[adapter]]\nname = \"line\"\nkind = \"modbus\"\ntransport = \"rtu-over-tcp\"\naddress = \"{}\"\n\
         [[adapter.device]]\nid = \"meter\"\nunit = 5\ninterval = \"100ms\"\n{}",
        slave.address,
        point("third", "holding", 2, "type = \"u16\"")
    );
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}{adapter}{}", mqtt_upstream(&broker.address)));
    gateway.start();
    assert_eq!(until("the first message", SOON, || latest(&witness, "meter")), json!({ "third": 9 }));
}

#[test]
fn a_device_server_that_goes_away_gives_bad_readings_and_is_read_again_when_it_is_back() {
    if !have(SCENE) {
        return;
    }
    let mut scene = Scene::counting(1..=2, "100ms", "");
    scene.gateway.start();
    scene.arrive(4);
    scene.slave.power_off();
    let is_bad =
        |delivery: &&Delivery| delivery.body["n"].is_null() && delivery.body["quality"]["n"].as_str().is_some_and(|q| q.starts_with("bad"));
    for leaf in ["plant-1", "plant-2"] {
        until(&format!("a bad reading of {leaf}"), SOON, || scene.witness.tally().of(leaf).any(|d| is_bad(&d)).then_some(()));
    }
    scene.gateway.until_health("bus-down", true);
    scene.slave.power_on();
    for unit in 1..=2 {
        scene.slave.add(unit, &[]);
    }
    scene.gateway.until_health("bus-down", false);
    let from = scene.witness.count();
    until("good readings again", SOON, || scene.witness.tally().all()[from..].iter().find(|d| d.number().is_some()).map(|_| ()));
}
