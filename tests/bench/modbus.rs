//! What reading and writing cost: `cargo bench -p tidegate-adapters`.
//!
//! - `poll`: whole turns of the adapter against simulated units on loopback, 10 registers each: planning, the wire, the
//!   codec, decoding. The simulator's work and both sides' system calls are in the figure.
//! - `wire`: the same requests and answers with nothing but sockets, for comparison: the difference is ours.
//! - `decode`, `encode`, `guard`, `plans`: the parts that can be measured alone.

use std::{
    cell::RefCell,
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use divan::{Bencher, counter::ItemsCount};
use tidegate_adapters::modbus::{
    KIND,
    plan::{Limits, Spot, Table, plan},
    simulator::Simulator,
    transport::Framing,
    value::{Kind, Order, Shape},
};
use tidegate_core::{
    adapter::Adapter,
    clock::{Clock as _, SystemClock},
    guard::Guard,
    id::{LeafId, PointName},
    message::{Class, Properties},
    problem::Problems,
    profile::{LeafProfile, RawPoint, Takes},
};
use tokio::runtime::{Builder, Runtime};

/// As many units as the target asks for: 100 units with 10 registers, each once a second.
const UNITS: u8 = 100;
const REGISTERS: u16 = 10;

fn main() {
    divan::main();
}

fn section(address: &str) -> serde_json::Value {
    let mut text = format!("transport = \"tcp\"\naddress = \"{address}\"\n");
    for unit in 1..=UNITS {
        text += &format!("[[device]]\nid = \"u{unit}\"\nunit = {unit}\ninterval = \"10ms\"\n");
        for at in 0..REGISTERS {
            text += &format!("[[device.point]]\nname = \"h{at}\"\nregister = \"holding\"\naddress = {at}\n");
        }
    }
    toml::from_str(&text).expect("TOML")
}

/// The simulator on a thread of its own, so that it does not share the adapter's.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound").to_string();
    let simulator = Simulator::new();
    (1..=UNITS).for_each(|unit| simulator.set(unit, Table::Holding, 0, &[7; REGISTERS as usize]));
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            simulator.serve_tcp(listener, Framing::Mbap).await.expect("loopback");
        });
    });
    address
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn adapter(address: &str) -> Box<dyn Adapter> {
    let mut problems = Problems::default();
    let plan = (KIND.check)(&section(address), &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list()));
    (plan.build)(SystemClock::new("bench"))
}

// One turn to a sample: waiting until the next unit is due is not part of it.
#[divan::bench(sample_count = 3000, sample_size = 1)]
fn poll(bencher: Bencher) {
    let address = serve();
    let (runtime, adapter) = (runtime(), RefCell::new(adapter(&address)));
    runtime.block_on(adapter.borrow_mut().connect()).expect("loopback");
    let due = || runtime.block_on(adapter.borrow_mut().ready());
    bencher.with_inputs(due).counter(ItemsCount::new(REGISTERS)).bench_local_values(|()| {
        let harvest = runtime.block_on(adapter.borrow_mut().read()).expect("loopback");
        assert_eq!((harvest.readings.len(), harvest.misses.len()), (usize::from(REGISTERS), 0));
        harvest
    });
}

#[divan::bench(sample_count = 50, sample_size = 20)]
fn wire(bencher: Bencher) {
    let mut stream = TcpStream::connect(serve()).expect("loopback");
    stream.set_nodelay(true).expect("a socket");
    let mut answer = [0; 9 + 2 * REGISTERS as usize];
    bencher.counter(ItemsCount::new(REGISTERS)).bench_local(|| {
        stream.write_all(&[0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, REGISTERS as u8]).expect("loopback");
        stream.read_exact(&mut answer).expect("loopback");
    });
}

#[divan::bench(args = [Kind::Whole { words: 1, signed: false }, Kind::Whole { words: 2, signed: true }, Kind::F32, Kind::F64, Kind::Bcd { words: 2 }])]
fn decode(bencher: Bencher, kind: Kind) {
    let shape = Shape { kind, order: Order::Cdab };
    let words = [0x0012, 0x3456, 0x1234, 0x4321];
    bencher.bench_local(|| shape.decode(black_box(&words[..usize::from(shape.words())])));
}

#[divan::bench(args = [Kind::Whole { words: 1, signed: false }, Kind::Whole { words: 2, signed: true }, Kind::F32, Kind::F64, Kind::Bcd { words: 2 }])]
fn encode(bencher: Bencher, kind: Kind) {
    let shape = Shape { kind, order: Order::Cdab };
    let value = shape.decode(&[0x0012, 0x3456, 0x1234, 0x4321][..usize::from(shape.words())]).expect("a value");
    bencher.bench_local(|| shape.encode(black_box(&value)));
}

// What a command costs before it is on the bus: limits, step, the inverse of the scale.
#[divan::bench]
fn guard(bencher: Bencher) {
    let keys = r#"{"scale":0.1,"writable":true,"write_min":5,"write_max":80,"write_step":0.5}"#;
    let raw: RawPoint = serde_json::from_str(keys).expect("keys");
    let takes = Takes::Whole { least: i64::from(i16::MIN), most: i16::MAX as u64 };
    let name = PointName::new("setpoint").expect("a name");
    let points = vec![raw.check_with(name.clone(), takes, &mut Problems::default())];
    let leaf = LeafId::new("boiler").expect("an id");
    let profile = LeafProfile { id: leaf.clone(), points, class: Class::Telemetry, ttl: None, properties: Properties::default() };
    let (guard, now, wanted) = (Guard::new([&profile]), SystemClock::new("bench").now(), [(name, serde_json::Value::from(21.5))]);
    bencher.bench_local(|| guard.check(&leaf, black_box(&wanted), now, &|_, _| None).expect("allowed"));
}

#[divan::bench(args = [10, 1000])]
fn plans(bencher: Bencher, points: u16) {
    let limits = Limits { registers: 125, bits: 2000, gap: 8 };
    let spots: Vec<_> = (0..points).map(|at| (usize::from(at), Spot { table: Table::Holding, address: at * 7, count: 2 })).collect();
    bencher.bench_local(|| plan(black_box(spots.clone()), &limits));
}
