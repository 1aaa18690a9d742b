//! The promise that matters most: an answer that comes late is never taken for the next question's.

use std::time::Duration;

use futures_util::future::join_all;
use tidegate_adapters::modbus::simulator::Behaviour;
use tidegate_core::reading::Reason;

use crate::site::{LIMIT, WAYS, Way, adapter, assert_true, device, serve, turn, turns_until, units};

/// Two units with points far apart: many different questions whose answers all have the same length.
async fn late_by(way: Way, by: Duration) {
    let simulator = units([1, 2]);
    let served = serve(&simulator, way).await;
    let points = [0, 10, 20, 30];
    let section = format!(
        "{}timeout = \"{}ms\"\n{}{}",
        served.place,
        LIMIT.as_millis(),
        device(1, "interval = \"20ms\"", points),
        device(2, "interval = \"20ms\"", points)
    );
    let mut adapter = adapter(&section);
    adapter.connect().await.expect("open");
    turns_until("both answer", &mut adapter, |harvest| assert_true(harvest) == 4).await;

    simulator.behave(1, Behaviour::Late(by));
    let mut neighbour = 0;
    let missed = turns_until("the late unit is missed", &mut adapter, |harvest| {
        let seen = assert_true(harvest);
        neighbour += seen * usize::from(harvest.readings.iter().any(|reading| reading.leaf.as_str() == "u2"));
        neighbour > 8 && harvest.misses.iter().any(|miss| miss.leaf.as_str() == "u1")
    });
    missed.await;
    for _ in 0..6 {
        assert_true(&turn(&mut adapter).await);
    }
    simulator.behave(1, Behaviour::Answer);
    turns_until("the late unit is in time again", &mut adapter, |harvest| {
        assert_true(harvest) == 4 && harvest.readings[0].leaf.as_str() == "u1"
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_a_little_late_is_never_taken_for_another() {
    join_all(WAYS.map(|way| late_by(way, LIMIT * 3 / 2))).await;
}

#[tokio::test]
async fn an_answer_that_is_very_late_is_never_taken_for_another() {
    join_all(WAYS.map(|way| late_by(way, LIMIT * 7 / 2))).await;
}

#[tokio::test]
async fn a_unit_that_is_late_now_and_then_never_gives_a_wrong_value() {
    for way in [Way::RtuOverTcp, Way::Pty] {
        let simulator = units([1]);
        let served = serve(&simulator, way).await;
        let section =
            format!("{}timeout = \"40ms\"\nretries = 2\n{}", served.place, device(1, "interval = \"10ms\"", (0..10).map(|at| at * 10)));
        let mut adapter = adapter(&section);
        adapter.connect().await.expect("open");
        let mut dice = fastrand::Rng::with_seed(7);
        let (mut seen, mut missed) = (0, 0);
        for _ in 0..12 {
            simulator.behave(
                1,
                match dice.u8(0..3) {
                    0 => Behaviour::Answer,
                    1 => Behaviour::Late(Duration::from_millis(dice.u64(30..90))),
                    _ => Behaviour::Late(Duration::from_millis(dice.u64(90..250))),
                },
            );
            let harvest = turn(&mut adapter).await;
            seen += assert_true(&harvest);
            missed += harvest.misses.len();
        }
        assert!(seen > 0 && missed > 0, "{way:?}: {seen} values, {missed} misses");
    }
}

#[tokio::test]
async fn a_unit_that_was_silent_is_first_asked_what_cannot_be_mistaken() {
    let simulator = units([1]);
    let served = serve(&simulator, Way::RtuOverTcp).await;
    let mut adapter = adapter(&format!("{}timeout = \"{}ms\"\n{}", served.place, LIMIT.as_millis(), device(1, "interval = \"1s\"", [0])));
    adapter.connect().await.expect("open");
    assert_eq!(assert_true(&turn(&mut adapter).await), 1);
    simulator.behave(1, Behaviour::Silent);
    let harvest = turn(&mut adapter).await;
    assert_eq!(harvest.misses[0].reason, Reason::Timeout);
    let functions = |from: usize| simulator.heard(1).iter().skip(from).map(|heard| heard.function).collect::<Vec<_>>();
    assert_eq!(functions(1), [3, 4], "the question, and then only what cannot be mistaken");
    simulator.behave(1, Behaviour::Answer);
    assert_eq!(assert_true(&turn(&mut adapter).await), 1);
    assert_eq!(functions(3), [2, 3], "neither 3 nor 4, which it owes answers to");
}
