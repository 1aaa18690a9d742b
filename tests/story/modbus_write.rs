//! Set-points in units that we did not write: what is said to be done is what they hold, asked beside the wire.

use serde_json::{Value as Json, json};
use tidegate_adapters::modbus;
use tidegate_core::{
    adapter::Adapter,
    clock::{Clock as _, HandClock, Timestamp},
    command::{Action, Command, Outcome},
    guard::Guard,
    id::{LeafId, PointName},
    problem::Problems,
};

use crate::harness::{Line, RtuSlave, Site, TcpSlave, have};

/// The points of a unit `boiler`, number 7, that the tests write.
const POINTS: &str = r#"
[[device]]
id = "boiler"
unit = 7
interval = "1h"
KEYS

[[device.point]]
name = "setpoint"
register = "holding"
address = 10
type = "i16"
scale = 0.1
writable = true
write_max = 80

[[device.point]]
name = "gain"
register = "holding"
address = 11
type = "f32"
order = "cdab"
writable = true

[[device.point]]
name = "enable"
register = "holding"
address = 20
bit = 3
writable = true

[[device.point]]
name = "relay"
register = "coil"
address = 30
writable = true

[[device.point]]
name = "valve"
register = "coil"
address = 31
writable = true
"#;

struct Site7 {
    adapter: Box<dyn Adapter>,
    guard: Guard,
}

/// The adapter and the guard, as the router has them.
async fn connect(place: &str, keys: &str) -> Site7 {
    let section: Json = toml::from_str(&format!("{place}timeout = \"500ms\"\n{}", POINTS.replace("KEYS", keys))).expect("TOML");
    let mut problems = Problems::default();
    let plan = (modbus::KIND.check)(&section, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list()));
    let mut adapter = (plan.build)(HandClock::at(Timestamp(0)));
    adapter.connect().await.expect("open");
    Site7 { adapter, guard: Guard::new(&plan.leaves) }
}

impl Site7 {
    /// What came of a command, as the hub would hear it: with values in their units.
    async fn write(&mut self, wanted: Json) -> Json {
        let leaf = LeafId::new("boiler").expect("valid");
        let points = wanted.as_object().expect("points").iter();
        let wanted: Vec<_> = points.map(|(point, value)| (PointName::new(point).expect("valid"), value.clone())).collect();
        let raw = match self.guard.admit(&leaf, &wanted, HandClock::at(Timestamp(0)).now(), &|_, _| None) {
            Ok(raw) => raw,
            Err(refusal) => return json!({ "rejected": refusal.to_string() }),
        };
        let command = Command { id: "c".to_owned(), leaf: leaf.clone(), action: Action::Write(raw) };
        match self.adapter.execute(&command).await.expect("the bus is there") {
            Outcome::Done(values) => {
                let shown = |(point, raw): (PointName, _)| (point.to_string(), json!(self.guard.shown(&leaf, &point, raw).value));
                json!({ "done": values.into_iter().map(shown).collect::<serde_json::Map<_, _>>() })
            }
            Outcome::Failed(why) | Outcome::Uncertain(why) => json!({ "not": why }),
            other => json!(other.word()),
        }
    }
}

#[tokio::test]
async fn what_is_done_is_what_a_pymodbus_unit_holds() {
    if !have(&["pymodbus"]) {
        return;
    }
    let site = Site::new();
    let mut slave = TcpSlave::start(&site);
    let set = json!({ "holding": { "10": [100, 0, 0], "20": [0x00f0] }, "coil": { "30": [0, 0] } });
    for keys in ["", "mask_write = true", "write_functions = \"multiple\""] {
        slave.tell(&json!({ "unit": 7, "set": set, "behave": "answer" }));
        let mut boiler = connect(&format!("transport = \"tcp\"\naddress = \"{}\"\n", slave.address), keys).await;
        for wanted in
            [json!({ "setpoint": 21.5 }), json!({ "gain": -0.1 }), json!({ "enable": true }), json!({ "relay": true, "valve": true })]
        {
            assert_eq!(boiler.write(wanted.clone()).await, json!({ "done": wanted }), "{keys}");
        }
        assert_eq!(slave.held(7, "holding", 10, 3), [215, 0xcccd, 0xbdcc], "{keys}");
        assert_eq!((slave.held(7, "holding", 20, 1), slave.held(7, "coil", 30, 2)), (vec![0x00f8], vec![1, 1]), "{keys}");
        assert_eq!(boiler.write(json!({ "setpoint": 80.1 })).await["rejected"], "setpoint: 80.1 is above 80, the most that may be written");
        assert_eq!(slave.held(7, "holding", 10, 1), [215]);
        slave.behave(7, "pretend");
        let pretended = boiler.write(json!({ "setpoint": 30 })).await;
        assert_eq!(pretended["not"], "setpoint: acknowledged and not changed: setpoint was set to raw 300 and holds raw 215");
        slave.behave(7, "mute");
        assert_eq!(boiler.write(json!({ "setpoint": 31 })).await, json!({ "done": { "setpoint": 31.0 } }), "settled by reading");
        assert_eq!(slave.held(7, "holding", 10, 1), [310]);
        slave.behave(7, "refuse:1");
        let refused = boiler.write(json!({ "setpoint": 32 })).await;
        assert_eq!(refused["not"], "setpoint: unit 7 refused holding register 10: illegal function (exception 1)");
    }
}

#[tokio::test]
async fn what_is_done_is_what_a_libmodbus_unit_on_a_line_holds() {
    if !have(&["socat", "libmodbus"]) {
        return;
    }
    let site = Site::new();
    let line = Line::lay(&site, "bus");
    let mut slave = RtuSlave::start(&line, 7);
    let place = format!("transport = \"rtu\"\nport = \"{}\"\nbaud = 19200\n", line.gateway.display());
    for keys in ["", "mask_write = true", "write_functions = \"multiple\""] {
        let mut boiler = connect(&place, keys).await;
        for wanted in [
            json!({ "setpoint": 21.5 }),
            json!({ "gain": 1.5 }),
            json!({ "enable": true, "relay": true }),
            json!({ "enable": false, "relay": false }),
            json!({ "enable": true, "relay": true }),
        ] {
            assert_eq!(boiler.write(wanted.clone()).await, json!({ "done": wanted }), "{keys}");
        }
        assert_eq!((slave.held(10).0, slave.held(11).0, slave.held(12).0), (215, 0, 0x3fc0), "{keys}");
        assert_eq!((slave.held(20).0, slave.held(30).1), (60 | 8, true), "{keys}");
        assert_eq!(boiler.write(json!({ "setpoint": -30 })).await, json!({ "done": { "setpoint": -30.0 } }));
        assert_eq!(slave.held(10).0, (-300_i16).cast_unsigned());
        for trouble in ["silent", "noise"] {
            slave.behave(trouble);
            let why = boiler.write(json!({ "setpoint": 40 })).await["not"].as_str().expect("not done").to_owned();
            assert!(why.starts_with("setpoint: ") && why.contains(", and then "), "{why}");
            assert_eq!(slave.held(10).0, (-300_i16).cast_unsigned(), "and it did not happen");
            assert_eq!(boiler.write(json!({ "setpoint": -30 })).await, json!({ "done": { "setpoint": -30.0 } }), "after {trouble}");
        }
    }
}
