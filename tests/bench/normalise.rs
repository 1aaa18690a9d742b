//! Normalising and encoding: `cargo bench --bench normalise`.
//!
//! `poll_of_10` is what one poll of ten scaled registers costs from raw readings to a message; `encode` is what the message
//! costs as it leaves.

use divan::{Bencher, black_box};
use tidegate::normalise::{BodyStyle, Normaliser, QualityStyle};
use tidegate_core::{
    clock::{Clock, HandClock, Timestamp},
    id::{LeafId, PointName},
    message::{Class, Message, Properties},
    problem::Problems,
    profile::{LeafProfile, RawPoint, RawReport},
    reading::{Quality, Reading, Value},
    wire,
};

fn main() {
    divan::main();
}

const POINTS: usize = 10;

fn leaf() -> LeafId {
    LeafId::new("boiler").expect("valid")
}

fn names() -> Vec<PointName> {
    (0..POINTS).map(|i| PointName::new(format!("register-{i}")).expect("valid")).collect()
}

fn normaliser(raw: &RawPoint, style: BodyStyle) -> Normaliser {
    let points = names().into_iter().map(|name| raw.check(name, &mut Problems::default())).collect();
    Normaliser::new([LeafProfile { id: leaf(), points, class: Class::Telemetry, ttl: None, properties: Properties::default() }], style)
}

fn poll(names: &[PointName], turn: i64) -> Vec<Reading> {
    let taken = HandClock::at(Timestamp(1_767_225_600_000)).now();
    let reading = |(i, point): (usize, &PointName)| Reading {
        leaf: leaf(),
        point: point.clone(),
        value: Some(Value::Int(200 + i as i64 + turn % 50)),
        quality: Quality::Good,
        taken,
    };
    names.iter().enumerate().map(reading).collect()
}

fn run(bencher: Bencher<'_, '_>, raw: &RawPoint, style: BodyStyle) {
    let (mut normaliser, names, mut turn) = (normaliser(raw, style), names(), 0);
    bencher
        .counter(divan::counter::ItemsCount::new(POINTS))
        .with_inputs(move || {
            turn += 1;
            poll(&names, turn)
        })
        .bench_local_values(|readings| normaliser.take(readings, &[]));
}

fn scaled() -> RawPoint {
    RawPoint { scale: Some(0.1), ..RawPoint::default() }
}

#[divan::bench]
fn poll_of_10(bencher: Bencher<'_, '_>) {
    run(bencher, &scaled(), BodyStyle::default());
}

#[divan::bench]
fn poll_of_10_whole_numbers(bencher: Bencher<'_, '_>) {
    run(bencher, &RawPoint::default(), BodyStyle::default());
}

#[divan::bench]
fn poll_of_10_on_change(bencher: Bencher<'_, '_>) {
    run(bencher, &RawPoint { report: Some(RawReport::Change), ..scaled() }, BodyStyle::default());
}

#[divan::bench]
fn poll_of_10_with_everything(bencher: Bencher<'_, '_>) {
    let raw = RawPoint { unit: Some("°C".into()), ..scaled() };
    run(bencher, &raw, BodyStyle { quality: QualityStyle::Always, units: true, times: true });
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let mut normaliser = normaliser(&scaled(), BodyStyle::default());
    let message: Message = normaliser.take(poll(&names(), 1), &[]).remove(0);
    bencher.bench_local(|| wire::body(black_box(&message)));
}
