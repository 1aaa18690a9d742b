//! SIGKILL on the way of a command: at each named point, and at random moments for a long time, with the unit and the hub coming and
//! going. Afterwards every command has exactly one outcome, none was written twice, and no outcome claims what the unit did not see.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use crate::{
    harness::{Ended, SOON, alone, until, until_true},
    story::commands::{PULSE, Plant, plant},
};

/// Where `gateway/src/killpoint.rs` is asked, in the order in which a command passes.
const POINTS: [&str; 6] = ["before-accept", "after-accept", "before-begin", "after-begin", "after-execute", "after-finish"];

fn kill_at(plant: &mut Plant, point: &str) {
    plant.gateway.environment.retain(|(name, _)| name != "TIDEGATE_KILL_AT");
    if !point.is_empty() {
        plant.gateway.environment.push(("TIDEGATE_KILL_AT".to_owned(), point.to_owned()));
    }
}

#[test]
fn a_power_cut_at_each_named_point_leaves_one_honest_outcome() {
    for point in POINTS {
        let Some(mut plant) = plant("") else { return };
        plant.start();
        plant.gateway.stop();
        kill_at(&mut plant, point);
        plant.gateway.spawn();
        plant.hub.send("once", "boiler", &json!({ "write": { "pulse": 7 } }));
        assert_eq!(plant.gateway.ended(SOON), Ended::Signal(9), "{point}: not passed");
        kill_at(&mut plant, "");
        plant.start();
        let told = plant.hub.outcome("once");
        let written = plant.written(PULSE).len();
        let expected = match point {
            // Nobody had begun: carried out after the restart.
            "before-accept" | "after-accept" | "before-begin" => ("done", 1),
            // Begun, and the unit shows that it did not happen; whether it ever did nobody knows.
            "after-begin" => ("uncertain", 0),
            // Begun, and the unit shows it: settled by reading back. Or finished before.
            _ => ("done", 1),
        };
        assert_eq!((told["outcome"].as_str(), written), (Some(expected.0), expected.1), "{point}: {told}");
        // The hub may not have heard our acknowledgement and send again: it is known.
        plant.hub.send("once", "boiler", &json!({ "write": { "pulse": 7 } }));
        plant.hub.send("after", "boiler", &json!({ "read": ["pulse"] }));
        plant.hub.outcome("after");
        assert_eq!(plant.hub.outcomes().len(), 2, "{point}");
        assert_eq!(plant.written(PULSE).len(), written, "{point}");
    }
}

#[test]
fn a_repeatable_write_that_was_interrupted_is_made_again() {
    for point in ["after-begin", "after-execute"] {
        let Some(mut plant) = plant("") else { return };
        plant.start();
        plant.gateway.stop();
        kill_at(&mut plant, point);
        plant.gateway.spawn();
        plant.hub.send("again", "boiler", &json!({ "write": { "setpoint": 50 } }));
        assert_eq!(plant.gateway.ended(SOON), Ended::Signal(9), "{point}: not passed");
        kill_at(&mut plant, "");
        plant.start();
        let told = plant.hub.outcome("again");
        assert_eq!((&told["outcome"], &told["values"], &told["deliveries"]), (&json!("done"), &json!({ "setpoint": 50.0 }), &json!(2)));
        assert_eq!(plant.written(0).last(), Some(&500));
    }
}

/// Kills and outages; `TIDEGATE_SOAK=500` for the long form.
const ROUNDS: usize = 15;

#[test]
fn random_kills_and_outages_lose_no_command_and_repeat_none() {
    let Some(mut plant) = plant("") else { return };
    let _turn = alone();
    let rounds = std::env::var("TIDEGATE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    plant.start();
    for round in 0..rounds {
        outage(&mut plant, &mut dice);
        for _ in 0..dice.usize(1..6) {
            let value = sent.len() as u64 + 1;
            let id = format!("c{value}");
            for _ in 0..dice.usize(1..3) {
                plant.hub.send(&id, "boiler", &json!({ "write": { "pulse": value } }));
            }
            sent.insert(id, value);
        }
        if dice.bool() {
            // By itself at a point; or never, if it does not pass there so often.
            let limit = Instant::now() + Duration::from_secs(3);
            while plant.gateway.is_running() && Instant::now() < limit {
                thread::sleep(Duration::from_millis(10));
            }
        } else {
            // Any moment is as good as any other: this wait is the dice.
            thread::sleep(Duration::from_millis(dice.u64(0..400)));
        }
        if plant.gateway.is_running() {
            plant.gateway.kill();
        } else {
            plant.gateway.ended(SOON);
        }
        let point = POINTS[dice.usize(..POINTS.len())];
        kill_at(&mut plant, &format!("{point}:{}", dice.usize(1..5)));
        plant.gateway.spawn();
        assert!(round < rounds, "seed {seed}");
    }
    // Everything is there again, and stays.
    if plant.gateway.is_running() {
        plant.gateway.kill();
    } else {
        plant.gateway.ended(SOON);
    }
    kill_at(&mut plant, "");
    plant.slave.behave(1, "answer");
    plant.start();
    let limit = SOON * 3;
    until(&format!("seed {seed}: every one of {} commands has its outcome", sent.len()), limit, || {
        let told = plant.hub.outcomes();
        sent.keys().all(|id| told.iter().any(|told| told.id == *id)).then_some(())
    });
    account(&mut plant, &sent, seed);
}

/// The unit or the hub goes away or comes back, or nothing happens.
fn outage(plant: &mut Plant, dice: &mut fastrand::Rng) {
    match dice.u8(0..10) {
        0 => plant.slave.behave(1, "silent"),
        1..=4 => plant.slave.behave(1, "answer"),
        5 => {
            plant.broker.stop();
            plant.broker.start_again();
        }
        _ => {}
    }
}

/// Each command: one outcome, at most one write, and the two agree.
fn account(plant: &mut Plant, sent: &BTreeMap<String, u64>, seed: u64) {
    let written = plant.written(PULSE);
    let outcomes = plant.hub.outcomes();
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    for (id, value) in sent {
        let told: Vec<&Json> = outcomes.iter().filter(|told| told.id == *id).map(|told| &told.body).collect();
        assert_eq!(told.len(), 1, "seed {seed}: {id} has {told:?}");
        let writes = written.iter().filter(|written| *written == value).count();
        let word = told[0]["outcome"].as_str().expect("a word");
        let honest = match word {
            "done" => writes == 1,
            "uncertain" => writes <= 1,
            "failed" | "expired" | "rejected" => writes == 0,
            _ => false,
        };
        assert!(honest, "seed {seed}: {id} was written {writes} times and is told as {}", told[0]);
        *words.entry(word.to_owned()).or_default() += 1;
    }
    use std::io::Write as _;
    // Not by a print macro: the test runner would keep it from the eyes of whoever runs it.
    writeln!(std::io::stderr(), "commands through kills and outages: {words:?} of {}, seed {seed}", sent.len()).ok();
    assert!(words.get("done").is_some_and(|done| *done * 2 > sent.len()), "most are done: {words:?}");
}

#[test]
fn ten_thousand_queued_commands_are_kept_in_order_and_each_gets_its_outcome() {
    const COUNT: usize = 10_000;
    let Some(mut plant) = plant("[commands]\nttl = \"45s\"\n") else { return };
    let _turn = alone();
    plant.start();
    plant.slave.behave(1, "silent");
    plant.gateway.until_health("leaf-silent", true);
    let before = plant.gateway.resident();
    for n in 0..COUNT {
        plant.hub.send(&format!("q{n}"), "boiler", &json!({ "write": { "pulse": n % 60_000 } }));
    }
    let waiting = |plant: &Plant| plant.gateway.json(&["status", "--json"])["inbox"]["waiting"].as_u64().expect("a number");
    until_true("all are kept", SOON * 2, || waiting(&plant) + plant.hub.outcomes().len() as u64 >= COUNT as u64);
    let grown = plant.gateway.resident().saturating_sub(before);
    assert!(grown < 24 << 20, "ten thousand waiting commands take {grown} bytes");
    plant.slave.behave(1, "answer");
    until_true("each has its outcome", SOON * 6, || plant.hub.outcomes().len() == COUNT);
    let outcomes = plant.hub.outcomes();
    let done: Vec<u64> =
        outcomes.iter().filter(|told| told.body["outcome"] == "done").map(|told| told.id[1..].parse().expect("ours")).collect();
    assert!(done.len() > 20, "{} done", done.len());
    assert_eq!(plant.written(PULSE), done, "written in the order of the commands, each once, and only what is told as done");
    assert!(outcomes.iter().all(|told| matches!(told.body["outcome"].as_str(), Some("done" | "expired"))), "nothing else");
}
