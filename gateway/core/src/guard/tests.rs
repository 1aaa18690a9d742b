//! Cases in `cases.txt`, as a reviewer reads them; and for any point and any number: what passes reads back as asked, within all limits.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    clock::{Clock as _, HandClock, Timestamp},
    message::{Class, Properties},
    problem::Problems,
    profile::{RawPoint, Real, Takes},
    reading::Reason,
};

const CASES: &str = include_str!("cases.txt");

fn name(text: &str) -> PointName {
    PointName::new(text).expect("valid")
}

fn leaf(text: &str) -> LeafId {
    LeafId::new(text).expect("valid")
}

fn takes(word: &str) -> Takes {
    match word {
        "bit" => Takes::Bit,
        "i16" => Takes::Whole { least: -32_768, most: 32_767 },
        "u16" => Takes::Whole { least: 0, most: 65_535 },
        "u64" => Takes::Whole { least: 0, most: u64::MAX },
        "i64" => Takes::Whole { least: i64::MIN, most: i64::MAX as u64 },
        "f16" => Takes::Real(Real::Half),
        "f32" => Takes::Real(Real::Single),
        "f64" => Takes::Real(Real::Double),
        "text4" => Takes::Text { most_bytes: 4 },
        "bytes2" => Takes::Bytes { count: 2 },
        "any" => Takes::Any,
        other => panic!("{other}"),
    }
}

fn point(id: &str, keys: &Json, takes: Takes) -> PointProfile {
    let raw: RawPoint = serde_json::from_value(keys.clone()).expect("keys of a point");
    let mut problems = Problems::default();
    let profile = raw.check_with(name(id), takes, &mut problems);
    assert_eq!(problems.list(), [], "{keys}");
    profile
}

fn guard(points: Vec<PointProfile>) -> Guard {
    let profile = LeafProfile { id: leaf("boiler"), points, class: Class::Telemetry, ttl: None, properties: Properties::default() };
    Guard::new([&profile])
}

fn nothing(_: &LeafId, _: &PointName) -> Option<Seen> {
    None
}

fn clock() -> std::sync::Arc<HandClock> {
    HandClock::at(Timestamp(1_767_225_600_000))
}

/// One write of one point, now.
fn ask(guard: &Guard, point: &str, value: Json) -> Result<Value, String> {
    let raw = guard.check(&leaf("boiler"), &[(name(point), value)], clock().now(), &nothing);
    raw.map(|raw| raw[0].1.clone()).map_err(|refusal| refusal.to_string())
}

#[test]
fn every_case_is_as_written() {
    let mut seen = String::new();
    let mut guard = Guard::default();
    for line in CASES.lines() {
        if let Some(head) = line.strip_prefix("== ") {
            let (word, keys) = head.split_once(' ').expect("type and keys");
            let mut keys: Json = serde_json::from_str(keys).expect("JSON");
            keys["writable"] = json!(true);
            guard = self::guard(vec![point("p", &keys, takes(word))]);
        }
        match line.split_once(" -> ") {
            Some((wanted, _)) => {
                let answer = match ask(&guard, "p", serde_json::from_str(wanted).expect("JSON")) {
                    Ok(raw) => format!("raw {raw:?}"),
                    Err(why) => why,
                };
                seen += &format!("{wanted} -> {answer}\n");
            }
            None => seen += &format!("{line}\n"),
        }
    }
    assert_eq!(seen, CASES, "all of it:\n{seen}");
}

#[test]
fn a_command_passes_whole_or_not_at_all() {
    let writable = point("a", &json!({ "writable": true }), takes("u16"));
    let guard = guard(vec![writable, point("b", &json!({}), Takes::Nothing("no input register can be written"))]);
    let refused = |leaf_id: &str, wanted: &[(&str, Json)]| {
        let wanted: Vec<_> = wanted.iter().map(|(point, value)| (name(point), value.clone())).collect();
        guard.check(&leaf(leaf_id), &wanted, clock().now(), &nothing).expect_err("refused").to_string()
    };
    assert_eq!(refused("boiler", &[("a", json!(1)), ("b", json!(1))]), "b: may not be written: it is not declared writable");
    assert_eq!(refused("boiler", &[("a", json!(1)), ("c", json!(1))]), "c: 'boiler' has no such point");
    assert_eq!(refused("boiler", &[("a", json!(1)), ("a", json!(2))]), "a: is named twice in one command");
    assert_eq!(refused("boiler", &[]), "names no point to write");
    assert_eq!(refused("other", &[("a", json!(1))]), "no device 'other' with points");
    let many: Vec<_> = (0..65).map(|_| ("a", json!(1))).collect();
    assert_eq!(refused("boiler", &many), "names 65 points, and one command may write 64");
}

#[test]
fn a_second_write_waits_for_the_interval_and_a_look_ahead_counts_for_nothing() {
    let clock = clock();
    let mut guard = guard(vec![point("p", &json!({ "writable": true, "write_interval": "10s" }), takes("u16"))]);
    let wanted = [(name("p"), json!(1))];
    let boiler = leaf("boiler");
    guard.check(&boiler, &wanted, clock.now(), &nothing).expect("a look");
    guard.admit(&boiler, &wanted, clock.now(), &nothing).expect("the first");
    clock.advance(Duration::from_secs(4));
    clock.set_wall(Timestamp(0), false);
    let refusal = guard.admit(&boiler, &wanted, clock.now(), &nothing).expect_err("too soon");
    assert_eq!(refusal.to_string(), "p: was written 4s ago, and may be written once in 10s");
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(6)));
    let mut reloaded = self::guard(vec![point("p", &json!({ "writable": true, "write_interval": "5s" }), takes("u16"))]);
    reloaded.remember(&guard);
    assert!(reloaded.check(&boiler, &wanted, clock.now(), &nothing).is_err(), "a reload does not forget");
    clock.advance(Duration::from_secs(6));
    guard.admit(&boiler, &wanted, clock.now(), &nothing).expect("in time");
}

#[test]
fn an_interlock_permits_only_what_is_known_for_certain() {
    let clock = clock();
    let lock = |needs: Json| {
        let mut keys = json!({ "writable": true, "interlock": { "point": "pump", "max_age": "5s" } });
        needs.as_object().expect("an object").iter().for_each(|(key, value)| keys["interlock"][key] = value.clone());
        guard(vec![point("p", &keys, takes("u16"))])
    };
    let taken = clock.now();
    let judge = |guard: &Guard, value: Option<Value>, quality: Quality| {
        let latest = |_: &LeafId, _: &PointName| Some(Seen { shown: Shown { value: value.clone(), quality: quality.clone() }, taken });
        guard.check(&leaf("boiler"), &[(name("p"), json!(1))], clock.now(), &latest).map(|_| ()).map_err(|refusal| refusal.to_string())
    };
    let off = lock(json!({ "is": false }));
    assert_eq!(judge(&off, Some(Value::Bool(false)), Quality::Good), Ok(()));
    assert_eq!(judge(&off, Some(Value::Bool(true)), Quality::Good), Err("p: interlock: 'pump' is true, and must be false".into()));
    assert_eq!(judge(&off, None, Quality::Bad(Reason::Timeout)), Err("p: interlock: 'pump' is bad: timeout".into()));
    let doubtful = judge(&off, Some(Value::Bool(false)), Quality::Uncertain(Reason::OutOfRange));
    assert_eq!(doubtful, Err("p: interlock: 'pump' is uncertain: out-of-range".into()));
    let unread = off.check(&leaf("boiler"), &[(name("p"), json!(1))], clock.now(), &nothing).expect_err("unread").to_string();
    assert_eq!(unread, "p: interlock: 'pump' has not been read yet");
    let manual = lock(json!({ "is_not": "auto", "leaf": "panel" }));
    assert_eq!(judge(&manual, Some(Value::Text("manual".into())), Quality::Good), Ok(()));
    let auto = judge(&manual, Some(Value::Text("auto".into())), Quality::Good);
    assert_eq!(auto, Err("p: interlock: 'pump' of 'panel' is auto, and must not be".into()));
    let range = lock(json!({ "min": 1, "max": 3 }));
    assert_eq!(judge(&range, Some(Value::Int(3)), Quality::Good), Ok(()));
    assert_eq!(judge(&range, Some(Value::Float(3.1)), Quality::Good), Err("p: interlock: 'pump' is 3.1, and must be from 1 to 3".into()));
    assert_eq!(off.interlocks(&leaf("boiler"), &[name("p")]), [(leaf("boiler"), name("pump"))]);
    assert_eq!(manual.interlocks(&leaf("boiler"), &[name("p")]), [(leaf("panel"), name("pump"))]);
    clock.advance(Duration::from_secs(6));
    assert_eq!(judge(&off, Some(Value::Bool(false)), Quality::Good), Err("p: interlock: 'pump' was read longer ago than 5s".into()));
}

#[test]
fn what_came_back_is_shown_as_readings_are() {
    let guard = guard(vec![
        point("t", &json!({ "scale": 0.1, "repeatable": true, "writable": true }), takes("i16")),
        point("m", &json!({ "labels": { "0": "off", "2": "auto" }, "writable": true }), takes("u16")),
    ]);
    let boiler = leaf("boiler");
    assert_eq!(guard.shown(&boiler, &name("t"), Value::Int(215)).value, Some(Value::Float(21.5)));
    assert_eq!(guard.shown(&boiler, &name("m"), Value::Int(2)).value, Some(Value::Text("auto".into())));
    assert_eq!(guard.shown(&boiler, &name("x"), Value::Int(2)).value, Some(Value::Int(2)));
    assert!(guard.is_repeatable(&boiler, &[name("t")]) && !guard.is_repeatable(&boiler, &[name("t"), name("m")]));
}

fn any_takes() -> impl Strategy<Value = Takes> {
    prop::sample::select(vec!["bit", "i16", "u16", "u64", "i64", "f16", "f32", "f64", "any"]).prop_map(takes)
}

fn any_number() -> impl Strategy<Value = Json> {
    prop_oneof![
        (-40_000_i64..70_000).prop_map(Json::from),
        (-4_000_000_i64..7_000_000).prop_map(|n| json!(n as f64 / 100.0)),
        (-400_000_i64..700_000).prop_map(|n| json!(n as f64 * 0.1)),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no NaN", |n| n.is_finite()).prop_map(|n| json!(n)),
        any::<bool>().prop_map(Json::from),
    ]
}

fn any_keys() -> impl Strategy<Value = Json> {
    let scale = prop::sample::select(vec![1.0, 0.1, 0.01, 0.5, 2.0, 10.0, -0.1, 0.001, 0.03, 1e-9]);
    let offset = prop::sample::select(vec![0.0, -40.0, 0.5, 273.15]);
    (scale, offset, -100.0..50_f64, 50.0..1000_f64, prop::option::of(0_u8..4), prop::option::of(prop::sample::select(vec![0.1, 0.5, 5.0])))
        .prop_map(|(scale, offset, min, max, precision, step)| {
            let mut keys =
                json!({ "writable": true, "scale": scale, "offset": offset, "write_min": min.round(), "write_max": max.round() });
            if let Some(precision) = precision {
                keys["precision"] = precision.into();
            }
            if let Some(step) = step {
                keys["write_step"] = step.into();
            }
            keys
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn what_passes_reads_back_as_asked_and_within_all_limits(keys in any_keys(), takes in any_takes(), wanted in any_number()) {
        let guard = guard(vec![point("p", &keys, takes)]);
        let Ok(raw) = ask(&guard, "p", wanted.clone()) else { return Ok(()) };
        let shown = guard.shown(&leaf("boiler"), &name("p"), raw.clone()).value.expect("a value");
        let (min, max) = (keys["write_min"].as_f64().expect("given"), keys["write_max"].as_f64().expect("given"));
        match (&shown, wanted.as_bool()) {
            (Value::Bool(bit), Some(asked)) => prop_assert_eq!(*bit, asked),
            (shown, _) => {
                let (shown, asked) = (shown.as_f64().expect("a number"), wanted.as_f64().expect("a number"));
                prop_assert!((min..=max).contains(&shown) || matches!(raw, Value::Bool(_)), "{} is shown as {}", raw, shown);
                let places = keys["precision"].as_i64().map_or(0.0, |places| 0.500_001 * 10_f64.powi(-(places as i32)));
                let allowed = match takes {
                    Takes::Real(Real::Half) => (asked.abs() + 400.0) / 1024.0 + places,
                    Takes::Real(Real::Single) => (asked.abs() + 400.0) / 8_388_608.0 + places,
                    Takes::Real(_) | Takes::Any => (asked.abs() + 400.0) * 1e-15 + places,
                    _ => (asked.abs() + 400.0) * 1e-15,
                };
                prop_assert!((shown - asked).abs() <= allowed, "asked for {}, raw {}, shown as {}", asked, raw, shown);
            }
        }
        match takes {
            Takes::Bit => prop_assert!(matches!(raw, Value::Bool(_))),
            Takes::Whole { least, most } => match raw {
                Value::Int(n) => prop_assert!(n >= least && u64::try_from(n).unwrap_or(0) <= most),
                Value::Uint(n) => prop_assert!(n <= most),
                other => prop_assert!(false, "{:?}", other),
            },
            Takes::Real(_) => prop_assert!(matches!(raw, Value::Float(_))),
            _ => {}
        }
    }

    #[test]
    fn every_raw_number_can_be_asked_for_by_what_it_shows(raw in -32_768_i64..32_768, scale in 0_usize..5, offset in 0_usize..3) {
        let (scale, offset) = ([1.0, 0.1, 0.01, 0.025, -0.5][scale], [0.0, -40.0, 0.05][offset]);
        let keys = json!({ "writable": true, "scale": scale, "offset": offset });
        let guard = guard(vec![point("p", &keys, takes("i16"))]);
        let shown = guard.shown(&leaf("boiler"), &name("p"), Value::Int(raw)).value.expect("a value");
        prop_assert_eq!(ask(&guard, "p", json!(shown)), Ok(Value::Int(raw)));
    }

    #[test]
    fn whatever_is_asked_for_is_answered(text in ".{0,100}", takes in any_takes(), deep in 0_usize..40) {
        let guard = guard(vec![point("p", &json!({ "writable": true }), takes)]);
        let nested = (0..deep).fold(json!(text), |inner, _| json!([inner]));
        for wanted in [json!(text), nested, json!({ "a": text }), Json::Null] {
            if let Err(why) = ask(&guard, "p", wanted) {
                prop_assert!(why.chars().count() < 200, "{}", why);
            }
        }
    }
}
