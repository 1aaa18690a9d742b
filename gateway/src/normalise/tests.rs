//! What normalising promises, on readings made by hand.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::{
    clock::{Clock, HandClock, Timestamp},
    message::{Class, Properties},
    problem::Problems,
    profile::{RawDeadband, RawPoint, RawReport},
    reading::{Reason, Value},
    wire,
};

use super::*;

fn leaf_id() -> LeafId {
    LeafId::new("boiler").expect("valid")
}

fn point(name: &str, raw: &RawPoint) -> tidegate_core::profile::PointProfile {
    let mut problems = Problems::default();
    let profile = raw.check(PointName::new(name).expect("valid"), &mut problems);
    assert!(problems.list().is_empty(), "{:?}", problems.list());
    profile
}

fn normaliser(points: &[(&str, RawPoint)], style: BodyStyle) -> Normaliser {
    let points = points.iter().map(|(name, raw)| point(name, raw)).collect();
    let leaf = LeafProfile { id: leaf_id(), points, class: Class::Telemetry, ttl: None, properties: Properties::default() };
    Normaliser::new([leaf], style)
}

struct Bench {
    normaliser: Normaliser,
    clock: Arc<HandClock>,
}

impl Bench {
    fn new(points: &[(&str, RawPoint)], style: BodyStyle) -> Self {
        Self { normaliser: normaliser(points, style), clock: HandClock::at(Timestamp(1_767_225_600_000)) }
    }

    fn reading(&self, name: &str, value: Value) -> Reading {
        let point = PointName::new(name).expect("valid");
        Reading { leaf: leaf_id(), point, value: Some(value), quality: Quality::Good, taken: self.clock.now() }
    }

    fn take(&mut self, values: &[(&str, Value)]) -> Vec<String> {
        let readings = values.iter().map(|(name, value)| self.reading(name, value.clone())).collect();
        texts(self.normaliser.take(readings, &[]))
    }

    fn miss(&mut self, reason: Reason) -> Vec<String> {
        let miss = Miss { leaf: leaf_id(), points: vec![], reason, detail: String::new(), taken: self.clock.now() };
        texts(self.normaliser.take(vec![], &[miss]))
    }

    fn wait(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }
}

fn texts(messages: Vec<Message>) -> Vec<String> {
    messages.iter().map(|m| String::from_utf8(wire::body(m).to_vec()).expect("JSON is UTF-8")).collect()
}

fn scaled(scale: f64, offset: f64) -> RawPoint {
    RawPoint { scale: Some(scale), offset: Some(offset), ..RawPoint::default() }
}

fn on_change(deadband: Option<RawDeadband>) -> RawPoint {
    RawPoint { report: Some(RawReport::Change), deadband, ..RawPoint::default() }
}

#[test]
fn a_poll_is_one_body_with_its_points_in_order() {
    let mut bench = Bench::new(&[("t", scaled(0.1, 0.0)), ("pump", RawPoint::default()), ("n", RawPoint::default())], BodyStyle::default());
    let bodies = bench.take(&[("n", Value::Uint(7)), ("t", Value::Int(213)), ("pump", Value::Bool(false))]);
    assert_eq!(bodies, [r#"{"ts":"2026-01-01T00:00:00.000Z","t":21.3,"pump":false,"n":7}"#]);
}

#[test]
fn zero_false_and_empty_are_values() {
    let mut bench = Bench::new(&[("a", RawPoint::default()), ("b", RawPoint::default()), ("c", RawPoint::default())], BodyStyle::default());
    let bodies = bench.take(&[("a", Value::Int(0)), ("b", Value::Bool(false)), ("c", Value::Text(String::new()))]);
    assert_eq!(bodies, [r#"{"ts":"2026-01-01T00:00:00.000Z","a":0,"b":false,"c":""}"#]);
}

#[test]
fn a_silent_leaf_is_null_and_says_why() {
    let mut bench = Bench::new(&[("t", RawPoint::default())], BodyStyle::default());
    assert_eq!(bench.miss(Reason::Timeout), [r#"{"ts":"2026-01-01T00:00:00.000Z","t":null,"quality":{"t":"bad: timeout"}}"#]);
}

#[test]
fn not_a_number_is_bad_and_out_of_range_is_uncertain() {
    let ranged = RawPoint { min: Some(0.0), max: Some(100.0), ..RawPoint::default() };
    let mut bench = Bench::new(&[("t", ranged)], BodyStyle::default());
    assert!(bench.take(&[("t", Value::Float(f64::NAN))])[0].ends_with(r#""t":null,"quality":{"t":"bad: not-a-value"}}"#));
    assert!(bench.take(&[("t", Value::Float(101.5))])[0].ends_with(r#""t":101.5,"quality":{"t":"uncertain: out-of-range"}}"#));
}

#[test]
fn labels_name_whole_numbers_and_an_unnamed_one_is_uncertain() {
    let labels = [("0".to_owned(), "off".to_owned()), ("1".to_owned(), "on".to_owned())].into();
    let mut bench = Bench::new(&[("m", RawPoint { labels: Some(labels), ..RawPoint::default() })], BodyStyle::default());
    assert!(bench.take(&[("m", Value::Uint(1))])[0].ends_with(r#""m":"on"}"#));
    assert!(bench.take(&[("m", Value::Bool(false))])[0].ends_with(r#""m":"off"}"#));
    assert!(bench.take(&[("m", Value::Uint(9))])[0].ends_with(r#""m":9,"quality":{"m":"uncertain: no-label"}}"#));
}

#[test]
fn quality_units_and_times_on_request() {
    let style = BodyStyle { quality: QualityStyle::Always, units: true, times: true };
    let mut bench = Bench::new(&[("t", RawPoint { unit: Some("°C".into()), ..RawPoint::default() })], style);
    let body = bench.take(&[("t", Value::Int(5))]).remove(0);
    assert_eq!(body, r#"{"ts":"2026-01-01T00:00:00.000Z","t":5,"quality":{"t":"good"},"units":{"t":"°C"},"times":{"t":0}}"#);
}

#[test]
fn a_slow_drift_is_judged_against_the_last_value_sent() {
    let mut bench = Bench::new(&[("t", on_change(Some(RawDeadband::Absolute(1.0))))], BodyStyle::default());
    let sent: Vec<i64> = (0..10).filter(|n| !bench.take(&[("t", Value::Int(*n))]).is_empty()).collect();
    assert_eq!(sent, [0, 2, 4, 6, 8]);
}

#[test]
fn a_percentage_deadband_is_of_the_last_value_sent() {
    let mut bench = Bench::new(&[("t", on_change(Some(RawDeadband::Percent("10%".into()))))], BodyStyle::default());
    let sent: Vec<i64> = [100, 105, 110, 111, 120, 123].into_iter().filter(|n| !bench.take(&[("t", Value::Int(*n))]).is_empty()).collect();
    assert_eq!(sent, [100, 111, 123]);
}

#[test]
fn a_change_of_quality_is_always_news() {
    let mut bench = Bench::new(&[("t", on_change(Some(RawDeadband::Absolute(50.0))))], BodyStyle::default());
    assert_eq!(bench.take(&[("t", Value::Int(5))]).len(), 1);
    assert_eq!(bench.miss(Reason::Timeout).len(), 1);
    assert_eq!(bench.miss(Reason::Timeout).len(), 0, "the same failure again is no news");
    assert_eq!(bench.take(&[("t", Value::Int(5))]).len(), 1, "back again");
}

#[test]
fn the_last_change_inside_min_interval_is_sent_when_it_is_over() {
    let raw = RawPoint { min_interval: Some(tidegate_core::quantity::Span::from_millis(1_000)), ..on_change(None) };
    let mut bench = Bench::new(&[("t", raw)], BodyStyle::default());
    assert_eq!(bench.take(&[("t", Value::Int(1))]).len(), 1);
    bench.wait(100);
    assert!(bench.take(&[("t", Value::Int(2))]).is_empty());
    bench.wait(100);
    assert!(bench.take(&[("t", Value::Int(3))]).is_empty());
    let due = bench.normaliser.next_due().expect("one waits");
    assert_eq!(due, 2_000);
    assert!(bench.normaliser.take_waiting(due - 1).is_empty());
    let late = texts(bench.normaliser.take_waiting(due));
    assert_eq!(late, [r#"{"ts":"2026-01-01T00:00:00.200Z","t":3}"#], "with the time at which it was read");
    assert_eq!(bench.normaliser.next_due(), None);
}

#[test]
fn a_change_that_went_back_inside_min_interval_is_no_news() {
    let raw = RawPoint { min_interval: Some(tidegate_core::quantity::Span::from_millis(1_000)), ..on_change(None) };
    let mut bench = Bench::new(&[("t", raw)], BodyStyle::default());
    bench.take(&[("t", Value::Int(1))]);
    bench.take(&[("t", Value::Int(2))]);
    bench.take(&[("t", Value::Int(1))]);
    assert_eq!(bench.normaliser.next_due(), None);
}

#[test]
fn a_heartbeat_is_sent_without_a_change() {
    let raw = RawPoint { heartbeat: Some(tidegate_core::quantity::Span::from_millis(5_000)), ..on_change(None) };
    let mut bench = Bench::new(&[("t", raw)], BodyStyle::default());
    let mut sent = 0;
    for _ in 0..11 {
        sent += bench.take(&[("t", Value::Int(1))]).len();
        bench.wait(1_000);
    }
    assert_eq!(sent, 3);
}

#[test]
fn readings_of_unknown_leaves_and_points_are_passed_over() {
    let mut bench = Bench::new(&[("t", RawPoint::default())], BodyStyle::default());
    assert!(bench.take(&[("other", Value::Int(1))]).is_empty());
}

proptest! {
    #[test]
    fn a_scaled_whole_number_has_no_noise_behind_its_decimals(raw in -100_000i64..100_000, places in 0u32..4, offset in -500i64..500) {
        let scale = 10f64.powi(-(places as i32));
        let profile = point("p", &scaled(scale, offset as f64 / 10.0));
        let shown = show(Some(Value::Int(raw)), Quality::Good, &profile);
        let text = shown.value.expect("a value").to_string();
        prop_assert!(text.split_once('.').map_or(0, |(_, d)| d.len()) <= places.max(1) as usize, "{text}");
    }

    #[test]
    fn every_body_is_json_whatever_the_value(text in ".{0,40}", number in proptest::num::f64::ANY, bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
        let style = BodyStyle { quality: QualityStyle::Always, units: true, times: true };
        let mut bench = Bench::new(&[("a", scaled(0.5, 1.0)), ("b", RawPoint { unit: Some(text.clone()), ..RawPoint::default() }), ("c", RawPoint::default())], style);
        for body in bench.take(&[("a", Value::Float(number)), ("b", Value::Text(text)), ("c", Value::Bytes(bytes))]) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
        }
    }
}
