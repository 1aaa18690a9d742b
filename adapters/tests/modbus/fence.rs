//! Whatever command comes, no frame leaves the port that the guard would not have let through.
//!
//! A unit keeps every request that writes. Random commands, sane and not, go through guard and adapter as the router
//! sends them; then each request is taken apart and held against the declarations, without the guard's help.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_adapters::modbus::{KIND, plan::Table, simulator::Simulator, transport::Framing};
use tidegate_core::{
    clock::{Clock as _, HandClock, Timestamp},
    command::{Action, Command, Outcome},
    guard::{Guard, Seen},
    id::{LeafId, PointName},
    problem::Problems,
    reading::{Quality, Value},
    scale::Shown,
};
use tokio::net::TcpListener;

const SECTION: &str = r#"
transport = "tcp"
address = "PEER"
[[device]]
id = "u1"
unit = 1
interval = "1h"
point = [
    { name = "setpoint", register = "holding", address = 0, type = "i16", scale = 0.1, writable = true, write_min = 5, write_max = 80, write_step = 0.5 },
    { name = "next", register = "holding", address = 1, type = "u16", writable = true, write_max = 100 },
    { name = "gain", register = "holding", address = 10, type = "f32", writable = true, write_min = -1.5, write_max = 1.5 },
    { name = "mode", register = "holding", address = 20, writable = true, labels = { "0" = "off", "3" = "auto" } },
    { name = "alarm", register = "holding", address = 30, bit = 4, writable = true },
    { name = "relay", register = "coil", address = 5, writable = true },
    { name = "locked", register = "holding", address = 40, writable = true, interlock = { point = "relay", is = false } },
    { name = "level", register = "holding", address = 50 },
    { name = "counter", register = "holding", address = 31 },
]
"#;

const POINTS: [&str; 10] = ["setpoint", "next", "gain", "mode", "alarm", "relay", "locked", "level", "counter", "nobody"];

fn any_value() -> impl Strategy<Value = Json> {
    prop_oneof![
        (-50..300_i64).prop_map(Json::from),
        (-100..2000_i64).prop_map(|n| json!(n as f64 / 20.0)),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no NaN", |n| n.is_finite()).prop_map(|n| json!(n)),
        any::<bool>().prop_map(Json::from),
        prop::sample::select(vec!["off", "auto", "on", "", "3"]).prop_map(Json::from),
        Just(Json::Null),
        Just(json!([1])),
    ]
}

/// Often what the point may be set to, so that commands of several points pass as well.
fn any_write() -> impl Strategy<Value = (String, Json)> {
    let sane = (0..7_usize, 0..30_i64).prop_map(|(at, n)| {
        let value = match POINTS[at] {
            "setpoint" => json!(5.0 + n as f64 / 2.0),
            "gain" => json!(1.5 - n as f64 / 10.0),
            "mode" => json!(if n % 2 == 0 { "auto" } else { "off" }),
            "alarm" | "relay" => json!(n % 2 == 0),
            _ => json!(n),
        };
        (POINTS[at].to_owned(), value)
    });
    let wild = (prop::sample::select(POINTS.to_vec()).prop_map(str::to_owned), any_value());
    prop_oneof![3 => sane, 1 => wild]
}

fn any_command() -> impl Strategy<Value = Vec<(String, Json)>> {
    proptest::collection::vec(any_write(), 0..5)
}

/// What a request does, cell by cell: registers whole or by their bits, and coils.
fn cells(pdu: &[u8]) -> Vec<(Table, u16, u16)> {
    let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
    let from = word(1)..;
    match pdu[0] {
        5 => vec![(Table::Coil, word(1), u16::from(pdu[3] == 0xff))],
        6 => vec![(Table::Holding, word(1), word(3))],
        15 => from.zip(0..word(3)).map(|(at, i)| (Table::Coil, at, u16::from(pdu[6 + usize::from(i) / 8] >> (i % 8) & 1))).collect(),
        16 => from.zip(0..word(3)).map(|(at, i)| (Table::Holding, at, word(6 + 2 * usize::from(i)))).collect(),
        other => panic!("function {other} was not to be used"),
    }
}

/// The rules of the section once more, written down by hand. `alarm` and `relay` are what the unit had before.
fn is_allowed(registers: &BTreeMap<(Table, u16), u16>, alarm: u16, relay: u16) -> Result<(), String> {
    for ((table, address), word) in registers {
        let fine = match (table, address) {
            (Table::Holding, 0) => (50..=800).contains(word) && (word - 50) % 5 == 0,
            (Table::Holding, 1) => *word <= 100,
            (Table::Holding, 10 | 11) => {
                let other = |at: u16| registers.get(&(Table::Holding, at)).copied().unwrap_or(0);
                (-1.5..=1.5).contains(&f32::from_bits(u32::from(other(10)) << 16 | u32::from(other(11))))
            }
            (Table::Holding, 20) => matches!(word, 0 | 3),
            (Table::Holding, 30) => (word ^ alarm) & !(1 << 4) == 0,
            (Table::Holding, 40) => relay == 0,
            (Table::Coil, 5) => true,
            _ => false,
        };
        if !fine {
            return Err(format!("{table} {address} was set to {word}"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    fn fence(commands in proptest::collection::vec(any_command(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        PASSED.fetch_add(runtime.block_on(play(&commands))?, Ordering::Relaxed);
    }
}

#[test]
fn no_frame_outside_the_guard_leaves_the_port_and_what_may_be_written_does() {
    fence();
    assert!(PASSED.load(Ordering::Relaxed) > 200, "a fence without a gate proves nothing");
}

/// Commands that the guard let through.
static PASSED: AtomicUsize = AtomicUsize::new(0);

async fn play(commands: &[Vec<(String, Json)>]) -> Result<usize, TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let section = SECTION.replace("PEER", &listener.local_addr().expect("bound").to_string());
    let simulator = Simulator::new();
    simulator.set(1, Table::Holding, 0, &[0xabcd; 60]);
    simulator.set(1, Table::Coil, 0, &[0; 10]);
    let serving = tokio::spawn(simulator.clone().serve_tcp(listener, Framing::Mbap));
    let mut problems = Problems::default();
    let plan = (KIND.check)(&toml::from_str(&section).expect("TOML"), &mut problems).expect("no problem");
    let clock = HandClock::at(Timestamp(0));
    let mut adapter = (plan.build)(clock.clone());
    let mut guard = Guard::new(&plan.leaves);
    adapter.connect().await.expect("open");
    let leaf = LeafId::new("u1").expect("valid");
    let mut passed = 0;
    for (at, command) in commands.iter().enumerate() {
        let wanted: Vec<_> = command.iter().map(|(point, value)| (PointName::new(point).expect("valid"), value.clone())).collect();
        let relay = simulator.cells(1, Table::Coil, 5, 1).expect("a coil")[0];
        let latest = |_: &LeafId, point: &PointName| {
            let shown = Shown { value: Some(Value::Bool(relay == 1)), quality: Quality::Good };
            (point.as_str() == "relay").then(|| Seen { shown, taken: clock.now() })
        };
        let Ok(raw) = guard.admit(&leaf, &wanted, clock.now(), &latest) else { continue };
        let before = simulator.writes(1).len();
        let alarm = simulator.cells(1, Table::Holding, 30, 1).expect("a register")[0];
        let command = Command { id: at.to_string(), leaf: leaf.clone(), action: Action::Write(raw) };
        let outcome = adapter.execute(&command).await.expect("the bus is there");
        prop_assert!(matches!(outcome, Outcome::Done(_)), "{:?}: {:?}", command, outcome);
        let frames: Vec<_> = simulator.writes(1).drain(before..).collect();
        prop_assert!(!frames.is_empty(), "what is done has been sent");
        let registers: BTreeMap<_, _> = frames.iter().flat_map(|pdu| cells(pdu)).map(|(table, at, word)| ((table, at), word)).collect();
        is_allowed(&registers, alarm, relay).map_err(TestCaseError::fail)?;
        passed += 1;
    }
    let asked = simulator.writes(1).len();
    prop_assert!(passed > 0 || asked == 0, "what was refused sent {} requests", asked);
    serving.abort();
    Ok(passed)
}
