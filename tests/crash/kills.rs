//! SIGKILL at random moments under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use crate::harness::{Delivery, SCENE, Scene, Snapshot, Tally, alone, have};

const KILLS: usize = 55;
const UNITS: u8 = 4;
const INTERVAL: Duration = Duration::from_millis(20);
const WINDOW: usize = 64;

/// Polled readings that a kill may take: `commit_interval` (50 ms) worth, and a commit that the busy disk holds up
/// for as long again several times over.
const LOSS_WINDOW: Duration = Duration::from_millis(500);

#[test]
fn every_accepted_reading_is_accounted_for_after_fifty_kills() {
    if !have(&[SCENE, &["sqlite3"]].concat()) {
        return;
    }
    let _turn = alone();
    let seed = fastrand::u64(..);
    let mut dice = fastrand::Rng::with_seed(seed);
    let interval = format!("{}ms", INTERVAL.as_millis());
    let mut scene = Scene::counting(1..=UNITS, &interval, &format!("window = {WINDOW}\nin_flight = 32\n"));
    // What has been delivered stays in the log, so that each snapshot shows everything that was ever accepted.
    scene.gateway.rewrite(|text| text.replace("[log]\n", "[log]\nkeep_delivered = \"1h\"\n"));
    let mut accepted: BTreeMap<String, String> = BTreeMap::new();
    for kill in 0..KILLS {
        scene.gateway.start();
        // Some kills come while it still connects, most while it works.
        if kill % 5 != 0 {
            scene.arrive(dice.usize(1..40));
        }
        // Any moment is as good as any other: this wait is the dice.
        thread::sleep(Duration::from_millis(dice.u64(0..250)));
        scene.gateway.kill();
        let rows = Snapshot::take(&scene.gateway.state).rows;
        let gone: Vec<_> = accepted.keys().filter(|id| !rows.contains_key(*id)).collect();
        assert!(gone.is_empty(), "kill {kill} (seed {seed}): once in the log and gone now: {gone:?}");
        accepted = rows;
    }
    let tally = scene.deliver_the_rest();
    let rows = Snapshot::take(&scene.gateway.state).rows;

    let delivered = tally.ids();
    let missing: Vec<_> = accepted.keys().filter(|id| !delivered.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "seed {seed}: of {} accepted these were never delivered: {missing:?}", accepted.len());
    let unheard: Vec<_> = delivered.iter().filter(|id| !rows.contains_key(**id)).collect();
    assert!(unheard.is_empty(), "seed {seed}: delivered and never in the log: {unheard:?}");
    assert!(tally.duplicates() <= KILLS * WINDOW, "seed {seed}: {} came twice", tally.duplicates());
    assert!(tally.gaps().is_empty(), "nothing was given up");
    tally.assert_in_order();
    for unit in 1..=UNITS {
        assert_holes_are_kills(&tally, &format!("plant-{unit}"), seed);
    }
}

/// Between two values that follow each other above, the unit was read at most as often as one kill explains.
fn assert_holes_are_kills(tally: &Tally, leaf: &str, seed: u64) {
    let numbers: BTreeSet<u64> = tally.of(leaf).filter_map(Delivery::number).collect();
    let numbers: Vec<u64> = numbers.into_iter().collect();
    let holes: Vec<u64> = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|hole| *hole > 0).collect();
    let most = u64::try_from(LOSS_WINDOW.as_millis() / INTERVAL.as_millis()).expect("small");
    assert!(holes.len() <= KILLS, "seed {seed}: {leaf}: {} holes for {KILLS} kills: {holes:?}", holes.len());
    assert!(holes.iter().all(|hole| *hole <= most), "seed {seed}: {leaf}: more than the loss window at once: {holes:?}");
}
