//! The disk answers a flush or a write with an error: the promise is gone, the process ends with its own code, and a
//! fresh start goes on with everything that had been accepted.

use crate::harness::{Ended, SCENE, SOON, Scene, Snapshot, alone, have, outstanding, until_true};

#[test]
fn a_flush_that_fails_ends_the_process_and_loses_nothing_accepted() {
    through("fsync,fdatasync", 20);
}

#[test]
fn a_write_that_fails_ends_the_process_and_loses_nothing_accepted() {
    through("pwrite64", 60);
}

/// From the `after`th call on (each thread counts for itself; the log's writer gets there first) every one of these
/// system calls answers EIO.
fn through(calls: &str, after: u32) {
    if !have(&[SCENE, &["strace", "sqlite3"]].concat()) {
        return;
    }
    let _turn = alone();
    let mut scene = Scene::counting(1..=3, "20ms", "");
    // A log that exists, with messages that wait.
    scene.broker.stop();
    scene.gateway.start();
    until_true("messages wait", SOON, || outstanding(&scene.gateway) > 50);
    scene.gateway.stop();
    let before = Snapshot::take(&scene.gateway.state).rows;

    // The tracer stands aside (-D), so that the gateway keeps its process id and its exit code.
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:error=EIO:when={after}+");
    let arguments = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    scene.gateway.wrapper = arguments.map(str::to_owned).into();
    scene.gateway.start();
    assert_eq!(scene.gateway.ended(SOON * 2), Ended::Code(74), "it ends by itself: {}", scene.gateway.log.tail(20));
    let after = Snapshot::take(&scene.gateway.state).rows;
    assert!(before.keys().all(|id| after.contains_key(id)), "nothing left the log");
    assert!(after.len() > before.len(), "it worked until the disk failed");

    scene.gateway.wrapper.clear();
    scene.broker.start_again();
    scene.gateway.start();
    scene.arrive(10);
    scene.gateway.stop();
    let tally = scene.deliver_the_rest();
    let delivered = tally.ids();
    // What was written and not flushed when the disk failed had not been accepted, but it need not be lost either.
    let missing: Vec<_> = after.keys().filter(|id| !delivered.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    tally.assert_in_order();
}
