//! Commands that write: what really changes in a unit, and what is said about it.

use std::time::Duration;

use serde_json::json;
use tidegate_adapters::modbus::{
    plan::Table,
    simulator::{Behaviour, Simulator},
    transport::Framing,
};
use tidegate_core::{
    adapter::Adapter,
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    reading::Value,
};

use crate::site::{LIMIT, WAYS, Way, adapter, assert_true, device, serve, serve_at, turn, turns_until, units};

fn name(text: &str) -> PointName {
    PointName::new(text).expect("valid")
}

pub(crate) async fn write(adapter: &mut Box<dyn Adapter>, points: &[(&str, Value)]) -> Outcome {
    let points = points.iter().map(|(point, value)| (name(point), value.clone())).collect();
    let command = Command { id: "c".to_owned(), leaf: LeafId::new("u1").expect("valid"), action: Action::Write(points) };
    adapter.execute(&command).await.expect("the bus is there")
}

fn done(points: &[(&str, Value)]) -> Outcome {
    Outcome::Done(points.iter().map(|(point, value)| (name(point), value.clone())).collect())
}

/// Unit 1 with writable u16 points `h<address>`, and whatever else is said.
fn writable(keys: &str, addresses: impl IntoIterator<Item = u16>) -> String {
    device(1, &format!("interval = \"1h\"\n{keys}"), addresses).replace("register = \"holding\"", "register = \"holding\"\nwritable = true")
}

fn functions(simulator: &Simulator) -> Vec<u8> {
    simulator.writes(1).iter().map(|pdu| pdu[0]).collect()
}

fn held(simulator: &Simulator, address: u16, count: u16) -> Vec<u16> {
    simulator.cells(1, Table::Holding, address, count).expect("cells")
}

#[tokio::test]
async fn every_type_in_every_order_is_written_over_every_wire_and_read_back() {
    let kinds: [(&str, &str, Value); 20] = [
        ("bool", "", Value::Bool(true)),
        ("u8-high", "", Value::Int(200)),
        ("i8-low", "", Value::Int(-100)),
        ("u16", "", Value::Int(65_000)),
        ("i16", "", Value::Int(-2)),
        ("u32", "", Value::Int(0x0a0b_0c0d)),
        ("i32", "", Value::Int(-3)),
        ("u48", "", Value::Int(1 << 40)),
        ("i48", "", Value::Int(-(1 << 40))),
        ("u64", "", Value::Uint(u64::MAX)),
        ("i64", "", Value::Int(i64::MIN)),
        ("f16", "", Value::Float(1.5)),
        ("f32", "", Value::Float(21.3)),
        ("f64", "", Value::Float(0.1)),
        ("bcd16", "", Value::Int(9876)),
        ("bcd32", "", Value::Int(12_345_678)),
        ("bcd64", "", Value::Int(9_999_999_999_999_999)),
        ("string", "length = 4\n", Value::Text("Tide 7".into())),
        ("string", "length = 4\nlayout = \"low-only\"\n", Value::Text("Tide".into())),
        ("bytes", "length = 2\n", Value::Bytes(vec![1, 2, 3, 4])),
    ];
    for (way, order) in WAYS.into_iter().chain([Way::Tcp]).zip(["abcd", "cdab", "badc", "dcba"]) {
        let simulator = units([1]);
        let served = serve(&simulator, way).await;
        let mut section = format!("{}{}order = \"{order}\"\n", served.place, device(1, "interval = \"1h\"", []));
        for (at, (kind, keys, _)) in kinds.iter().enumerate() {
            let address = 10 * at;
            section += &format!(
                "[[device.point]]\nname = \"p{at}\"\nregister = \"holding\"\naddress = {address}\ntype = \"{kind}\"\nwritable = true\n{keys}"
            );
        }
        let mut adapter = adapter(&section);
        adapter.connect().await.expect("open");
        for (at, (kind, _, value)) in kinds.iter().enumerate() {
            let point = format!("p{at}");
            assert_eq!(write(&mut adapter, &[(&point, value.clone())]).await, done(&[(&point, value.clone())]), "{way:?} {order} {kind}");
        }
        let number = held(&simulator, 50, 2);
        let expected = match order {
            "abcd" => [0x0a0b, 0x0c0d],
            "cdab" => [0x0c0d, 0x0a0b],
            "badc" => [0x0b0a, 0x0d0c],
            _ => [0x0d0c, 0x0b0a],
        };
        assert_eq!(number, expected, "{order}: what the unit holds, not what we say");
    }
}

#[tokio::test]
async fn parts_of_a_register_leave_the_rest_of_it_alone() {
    for (keys, expected) in [("", vec![6, 6]), ("mask_write = true", vec![22, 22]), ("write_functions = \"multiple\"", vec![16, 16])] {
        let simulator = units([1]);
        simulator.set(1, Table::Holding, 7, &[0x1234]);
        let served = serve(&simulator, Way::Tcp).await;
        let point = |name: &str, what: &str| {
            format!("[[device.point]]\nname = \"{name}\"\nregister = \"holding\"\naddress = 7\n{what}\nwritable = true\n")
        };
        let section = format!(
            "{}{}{}{}{}",
            served.place,
            device(1, &format!("interval = \"1h\"\n{keys}"), []),
            point("low", "type = \"u8-low\""),
            point("b15", "bit = 15"),
            point("b12", "bit = 12")
        );
        let mut adapter = adapter(&section);
        adapter.connect().await.expect("open");
        let values = [("b15", Value::Bool(true)), ("b12", Value::Bool(false))];
        assert_eq!(write(&mut adapter, &values).await, done(&values), "two bits of one register are one request");
        assert_eq!(held(&simulator, 7, 1), [0x8234]);
        assert_eq!(write(&mut adapter, &[("low", Value::Int(0xff))]).await, done(&[("low", Value::Int(0xff))]));
        assert_eq!((held(&simulator, 7, 1), functions(&simulator)), (vec![0x82ff], expected));
    }
}

#[tokio::test]
async fn functions_are_those_that_the_device_has() {
    let coil = |at: u16| format!("[[device.point]]\nname = \"c{at}\"\nregister = \"coil\"\naddress = {at}\nwritable = true\n");
    for (word, known, expected) in [
        ("either", vec![1, 3, 5, 6, 15, 16], vec![6, 16, 5, 15]),
        ("single", vec![1, 3, 5, 6], vec![6, 6, 6, 5, 5, 5]),
        ("multiple", vec![1, 3, 15, 16], vec![16, 16, 15, 15]),
    ] {
        let simulator = units([1]);
        simulator.set(1, Table::Coil, 0, &[0; 20]);
        simulator.know(1, &known);
        let served = serve(&simulator, Way::RtuOverTcp).await;
        let coils: String = [3, 10, 11].map(coil).concat();
        let keys = format!("write_functions = \"{word}\"");
        let mut adapter = adapter(&format!("{}{}{coils}", served.place, writable(&keys, [0, 50, 51])));
        adapter.connect().await.expect("open");
        let (on, number) = (Value::Bool(true), Value::Int);
        let values =
            [("h0", number(1)), ("h50", number(2)), ("h51", number(3)), ("c3", on.clone()), ("c10", on.clone()), ("c11", on.clone())];
        assert_eq!(write(&mut adapter, &values).await, done(&values), "{word}");
        assert_eq!(functions(&simulator), expected, "{word}: in the order of the command");
        assert_eq!((held(&simulator, 0, 1), held(&simulator, 50, 2)), (vec![1], vec![2, 3]));
        assert_eq!(simulator.cells(1, Table::Coil, 9, 3), Some(vec![0, 1, 1]));
    }
}

#[tokio::test]
async fn a_unit_that_acknowledges_and_does_not_change_has_not_done_it() {
    for way in WAYS {
        let simulator = units([1]);
        simulator.behave(1, Behaviour::Pretend);
        let served = serve(&simulator, way).await;
        let mut adapter = adapter(&format!("{}{}", served.place, writable("", [7])));
        adapter.connect().await.expect("open");
        let outcome = write(&mut adapter, &[("h7", Value::Int(5))]).await;
        let why = "h7: acknowledged and not changed: h7 was set to raw 5 and holds raw 1007";
        assert_eq!(outcome, Outcome::Failed(why.to_owned()), "{way:?}");
    }
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_sent_once_and_settled_by_reading() {
    for way in WAYS {
        for behaviour in [Behaviour::Mute, Behaviour::DeafToWrites] {
            let simulator = units([1]);
            let served = serve(&simulator, way).await;
            let mut adapter = adapter(&format!("{}timeout = \"{}ms\"\n{}", served.place, LIMIT.as_millis(), writable("", [7])));
            adapter.connect().await.expect("open");
            assert_eq!(assert_true(&turn(&mut adapter).await), 1);
            simulator.behave(1, behaviour);
            let outcome = write(&mut adapter, &[("h7", Value::Int(5))]).await;
            let held = "h7 was set to raw 5 and holds raw 1007";
            let silent = "h7: no answer from unit 1 within 120 ms";
            let expected = match (behaviour, way) {
                (Behaviour::Mute, _) => done(&[("h7", Value::Int(5))]),
                (_, Way::Tcp) => Outcome::Uncertain(format!("{silent}, and has not happened so far: {held}")),
                _ => Outcome::Failed(format!("{silent}, and did not happen: {held}")),
            };
            assert_eq!((outcome, simulator.writes(1).len()), (expected, 1), "{way:?} {behaviour:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_unit_that_was_silent_until_it_answers_a_question() {
    for way in WAYS {
        let simulator = units([1]);
        let served = serve(&simulator, way).await;
        let section = writable("", [7]).replace("1h", "50ms");
        let mut adapter = adapter(&format!("{}timeout = \"{}ms\"\n{section}", served.place, LIMIT.as_millis()));
        adapter.connect().await.expect("open");
        simulator.behave(1, Behaviour::Silent);
        turns_until("it is missed", &mut adapter, |harvest| !harvest.misses.is_empty()).await;
        let outcome = write(&mut adapter, &[("h7", Value::Int(5))]).await;
        let why = "no answer from unit 1 within 120 ms; nothing was written";
        assert_eq!((outcome, functions(&simulator)), (Outcome::Failed(why.to_owned()), vec![]), "{way:?}");
        simulator.behave(1, Behaviour::Answer);
        assert_eq!(write(&mut adapter, &[("h7", Value::Int(5))]).await, done(&[("h7", Value::Int(5))]), "{way:?}");
    }
}

#[tokio::test]
async fn a_unit_that_goes_silent_in_the_middle_leaves_it_uncertain() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::RtuOverTcp).await;
    let mut adapter = adapter(&format!("{}timeout = \"{}ms\"\n{}", served.place, LIMIT.as_millis(), writable("", [7])));
    adapter.connect().await.expect("open");
    simulator.behave(1, Behaviour::Silent);
    let outcome = write(&mut adapter, &[("h7", Value::Int(5))]).await;
    let silent = "no answer from unit 1 within 120 ms";
    assert_eq!(outcome, Outcome::Uncertain(format!("h7: {silent}, and then {silent}")));
}

#[tokio::test]
async fn after_a_step_that_is_not_done_no_other_is_begun_and_it_is_said_which_were() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let mut adapter = adapter(&format!("{}{}", served.place, writable("", [0, 20, 500, 40])));
    adapter.connect().await.expect("open");
    let values: Vec<_> = ["h0", "h20", "h500", "h40"].map(|point| (point, Value::Int(1))).into();
    let outcome = write(&mut adapter, &values).await;
    let why = "h500: unit 1 refused holding register 500: illegal data address (exception 2); done before: h0, h20; not begun: h40";
    assert_eq!(outcome, Outcome::Failed(why.to_owned()));
    assert_eq!((held(&simulator, 0, 1), held(&simulator, 20, 1), held(&simulator, 40, 1)), (vec![1], vec![1], vec![1040]));
}

#[tokio::test]
async fn a_register_that_cannot_be_read_back_is_sent_at_best() {
    let simulator = units([1]);
    simulator.behave(1, Behaviour::Pretend);
    let served = serve(&simulator, Way::Tcp).await;
    let mut adapter = adapter(&format!("{}{}read_back = false\n", served.place, writable("", [7])));
    adapter.connect().await.expect("open");
    assert_eq!(write(&mut adapter, &[("h7", Value::Int(5))]).await, Outcome::Sent);
    assert_eq!(simulator.heard(1).len(), 1, "it is not read");
}

#[tokio::test]
async fn a_busy_unit_is_written_to_again_and_a_connection_that_was_closed_while_idle_is_opened_before() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let address = served.address.expect("tcp").to_string();
    let mut adapter = adapter(&format!("{}retries = 3\n{}", served.place, writable("", [7])));
    adapter.connect().await.expect("open");
    turn(&mut adapter).await;
    drop(served);
    let _served = serve_at(&simulator, Framing::Mbap, &address).await;
    assert_eq!(write(&mut adapter, &[("h7", Value::Int(5))]).await, done(&[("h7", Value::Int(5))]));
    simulator.behave(1, Behaviour::Exception(6));
    let free = tokio::spawn({
        let simulator = simulator.clone();
        async move {
            while simulator.writes(1).len() < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            simulator.behave(1, Behaviour::Answer);
        }
    });
    assert_eq!(write(&mut adapter, &[("h7", Value::Int(6))]).await, done(&[("h7", Value::Int(6))]));
    free.await.expect("no panic");
}

#[tokio::test]
async fn a_late_acknowledgement_is_never_taken_for_the_next_ones_and_readings_stay_true() {
    for way in WAYS {
        let simulator = units([1]);
        let served = serve(&simulator, way).await;
        let section = writable("", [7]).replace("1h", "30ms") + "[[device.point]]\nname = \"h90\"\nregister = \"holding\"\naddress = 90\n";
        let mut adapter = adapter(&format!("{}timeout = \"60ms\"\n{section}", served.place));
        adapter.connect().await.expect("open");
        turn(&mut adapter).await;
        for n in 0..6 {
            simulator.behave(1, Behaviour::Late(Duration::from_millis(70 + 30 * n)));
            let wanted = Value::Int(i64::try_from(n).expect("small"));
            let outcome = write(&mut adapter, &[("h7", wanted.clone())]).await;
            assert!(matches!(outcome, Outcome::Uncertain(_) | Outcome::Done(_) | Outcome::Failed(_)), "{way:?} {outcome:?}");
            if outcome == done(&[("h7", wanted)]) {
                assert_eq!(held(&simulator, 7, 1), [u16::try_from(n).expect("small")]);
            }
            simulator.behave(1, Behaviour::Answer);
            let harvest = turn(&mut adapter).await;
            for reading in harvest.readings.iter().filter(|reading| reading.point.as_str() == "h90") {
                assert_eq!(reading.value, Some(Value::Int(1090)), "{way:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_may_not_be_written_never_leaves_whoever_asks() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::Tcp).await;
    let mut adapter = adapter(&format!(
        "{}{}{}",
        served.place,
        writable("", [7]),
        "[[device.point]]\nname = \"ro\"\nregister = \"holding\"\naddress = 9\n"
    ));
    adapter.connect().await.expect("open");
    for values in [
        vec![("ro", Value::Int(1))],
        vec![("h7", Value::Int(1)), ("ro", Value::Int(1))],
        vec![("h7", Value::Int(1)), ("h8", Value::Int(1))],
        vec![("h7", Value::Int(70_000))],
        vec![("h7", Value::Text("1".into()))],
        vec![("h7", Value::Float(f64::NAN))],
    ] {
        let outcome = write(&mut adapter, &values).await;
        assert!(matches!(outcome, Outcome::Rejected(_)), "{values:?}: {outcome:?}");
    }
    let raw = Command { id: "c".to_owned(), leaf: LeafId::new("u1").expect("valid"), action: Action::Raw(vec![6, 0, 7, 0, 1].into()) };
    assert!(matches!(adapter.execute(&raw).await.expect("open"), Outcome::Rejected(_)));
    assert_eq!((simulator.count(1), json!(functions(&simulator))), (0, json!([])));
}
