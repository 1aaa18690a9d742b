//! A gateway that starts in 1970 and learns the time later.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tidegate_core::clock::Timestamp;

use crate::harness::{Delivery, SCENE, SOON, Scene, faketime_library, have, outstanding, until_true};

/// Lets the gateway believe that the wall clock shows another time; its monotonic clocks go on.
fn fake_time(scene: &mut Scene) -> impl Fn(&str) + use<> {
    let file = scene.site.path("faketime");
    let library = faketime_library().expect("checked by have()").display().to_string();
    let settings = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("UTF-8")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    scene.gateway.environment = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |time| {
        // Moved into place: libfaketime reads it at every call.
        let new = file.with_extension("new");
        fs::write(&new, format!("{time}\n")).expect("a new file");
        fs::rename(new, &file).expect("in one folder");
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("this machine knows the time");
    i64::try_from(since.as_millis()).expect("not that far ahead")
}

fn time_of(delivery: &Delivery) -> i64 {
    let text = delivery.body["ts"].as_str().unwrap_or_else(|| panic!("no ts in {}", delivery.body));
    text.parse::<Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}")).0
}

#[test]
fn readings_of_1970_wait_for_the_clock_and_leave_with_the_right_time() {
    if !have(&[SCENE, &["faketime"]].concat()) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "100ms", "");
    let set_clock = fake_time(&mut scene);
    // Relative to now, so that time goes on from there: 1970, give or take.
    let decades = now_ms() / 1000 - 3600;
    set_clock(&format!("-{decades}s"));
    let begun = now_ms();
    scene.gateway.start();
    scene.gateway.until_health("clock-untrusted", true);
    until_true("readings wait", SOON, || outstanding(&scene.gateway) >= 15);
    assert_eq!(scene.witness.count(), 0, "nothing leaves with a time of 1970");

    let set_at = now_ms();
    set_clock("+0s");
    scene.gateway.until_health("clock-untrusted", false);
    scene.arrive(20);
    scene.gateway.stop();
    let tally = scene.witness.settle(Duration::from_millis(300));
    assert_eq!(*tally.assert_unbroken("plant-1").start(), 1);
    tally.assert_in_order();
    let (first, last) = (tally.all().first().expect("some"), tally.all().last().expect("some"));
    let (first, last) = (time_of(first), time_of(last));
    assert!((begun - 100..set_at).contains(&first), "the first was read before the clock was set: {first} in {begun}..{set_at}");
    assert!((set_at..=now_ms()).contains(&last), "the last after it: {last}");
    let times: Vec<i64> = tally.all().iter().map(time_of).collect();
    for pair in times.windows(2) {
        assert!((0..1_500).contains(&(pair[1] - pair[0])), "corrected times keep their distances: {times:?}");
    }
}

#[test]
fn without_any_clock_readings_leave_marked_after_the_configured_wait() {
    if !have(&[SCENE, &["faketime"]].concat()) {
        return;
    }
    let mut scene = Scene::counting(1..=1, "100ms", "");
    scene.gateway.rewrite(|text| format!("{text}[clock]\nwait = \"2s\"\n").replace("{body}}", "{body},\"properties\":{properties}}"));
    let set_clock = fake_time(&mut scene);
    set_clock(&format!("-{}s", now_ms() / 1000 - 3600));
    scene.gateway.start();
    scene.arrive(10);
    let tally = scene.witness.tally();
    assert!(tally.all().iter().all(|d| time_of(d) < 86_400_000), "the times are those of 1970, as the clock shows");
    assert!(tally.all().iter().all(|d| d.properties["time_quality"] == "unsynced"), "and say so");
}

#[test]
fn a_clock_that_jumps_years_back_and_forth_holds_nothing_up() {
    if !have(&[SCENE, &["faketime"]].concat()) {
        return;
    }
    let mut scene = Scene::counting(1..=2, "50ms", "");
    let set_clock = fake_time(&mut scene);
    set_clock("+0s");
    scene.gateway.start();
    scene.arrive(10);
    for jump in ["+315360000s", "-432000s", "-1500000000s", "+0s"] {
        set_clock(jump);
        scene.arrive(20);
    }
    scene.gateway.stop();
    let tally = scene.witness.settle(Duration::from_millis(300));
    for leaf in ["plant-1", "plant-2"] {
        assert_eq!(*tally.assert_unbroken(leaf).start(), 1);
    }
    tally.assert_in_order();
    assert_eq!(tally.duplicates(), 0);
}
