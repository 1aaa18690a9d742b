//! The database is damaged between two runs: it opens, keeps what was readable, says what was lost, deletes nothing.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use crate::harness::{Delivery, SCENE, SOON, Scene, Snapshot, alone, have, outstanding, until_true};

/// How a database is damaged.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// A run of bytes in the middle is not what it was.
    FlippedBytes,
    /// The file ends early.
    CutShort,
    /// The write-ahead log ends early: a commit was torn.
    TornWal,
    /// It is no database at all.
    Garbage,
    /// It is there and empty.
    Emptied,
}

fn damage(state: &Path, how: Damage) {
    let (database, wal) = (state.join("log.db"), state.join("log.db-wal"));
    let length = fs::metadata(&database).expect("a database").len();
    let open = |path: &Path| OpenOptions::new().write(true).open(path).expect("our own file");
    match how {
        Damage::FlippedBytes => {
            let mut file = open(&database);
            file.seek(SeekFrom::Start(length / 2)).expect("inside");
            file.write_all(&[0xA5; 6_000]).expect("written");
        }
        Damage::CutShort => open(&database).set_len(length * 2 / 3 + 100).expect("shorter"),
        Damage::TornWal => {
            let wal_length = fs::metadata(&wal).map(|file| file.len()).unwrap_or_default();
            assert!(wal_length > 0, "after a kill there is a write-ahead log");
            open(&wal).set_len(wal_length - wal_length / 10 - 7).expect("shorter");
        }
        Damage::Garbage => fs::write(&database, [0x5A; 10_000]).expect("written"),
        Damage::Emptied => open(&database).set_len(0).expect("shorter"),
    }
}

/// Damaged databases that were put aside.
fn kept(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state).expect("the state folder").flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains(".damaged-")).collect()
}

/// A scene whose log holds some hundred waiting messages, damaged; then started again.
fn through(how: Damage) {
    let mut scene = Scene::counting(1..=3, "20ms", "");
    scene.broker.stop();
    scene.gateway.start();
    until_true("messages wait", SOON, || outstanding(&scene.gateway) > 400);
    // The torn write-ahead log needs one, which an ordered stop would have emptied; the others need a whole database.
    if matches!(how, Damage::TornWal) {
        scene.gateway.kill();
    } else {
        scene.gateway.stop();
    }
    let before = Snapshot::take(&scene.gateway.state).rows;
    damage(&scene.gateway.state, how);

    scene.broker.start_again();
    let begun = Instant::now();
    scene.gateway.start();
    assert!(begun.elapsed() < SOON, "{how:?}: open within seconds");
    let first_new = scene.slave.counter(1);
    until_true("new readings arrive", SOON, || scene.witness.tally().of("plant-1").filter_map(Delivery::number).any(|n| n > first_new));
    let aside = kept(&scene.gateway.state);
    let status = scene.gateway.json(&["status", "--json"]);
    let told = status["health"].as_array().expect("a list").iter().any(|entry| entry["code"] == "log-salvaged");
    assert_eq!(told, !aside.is_empty(), "{how:?}: what was put aside is told: {aside:?}, {status}");
    scene.gateway.stop();

    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    let delivered: BTreeSet<&str> = tally.ids();
    let saved = before.keys().filter(|id| delivered.contains(id.as_str())).count();
    match how {
        // Everything but the rows on a few pages.
        Damage::FlippedBytes => assert!(saved >= before.len() / 3, "{how:?}: {saved} of {} saved", before.len()),
        // What waits is the newest, and the newest stands at the end of the file, which is what is cut off: the file begins with the
        // empty tables of everything else.
        Damage::CutShort => assert!(saved >= before.len() / 6, "{how:?}: {saved} of {} saved", before.len()),
        // A torn commit was never acknowledged; SQLite itself goes back to the last whole one.
        Damage::TornWal => assert!(saved >= before.len() / 2, "{how:?}: {saved} of {} saved", before.len()),
        Damage::Garbage | Damage::Emptied => assert_eq!(saved, 0),
    }
    if matches!(how, Damage::FlippedBytes | Damage::CutShort | Damage::Garbage) {
        assert!(!aside.is_empty(), "{how:?}: the damaged file is kept");
        assert!(tally.gaps().iter().any(|gap| gap["reason"] == "corrupt"), "{how:?}: the hub is told: {:?}", tally.gaps());
    }
}

#[test]
fn a_damaged_database_is_salvaged_and_the_gateway_goes_on() {
    if !have(&[SCENE, &["sqlite3"]].concat()) {
        return;
    }
    let _turn = alone();
    for how in [Damage::FlippedBytes, Damage::CutShort, Damage::TornWal, Damage::Garbage, Damage::Emptied] {
        through(how);
    }
}
