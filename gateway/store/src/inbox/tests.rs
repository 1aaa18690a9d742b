//! What the inbox promises, on a real file in a folder of its own.

use std::{path::Path, sync::Arc, time::Duration};

use tidegate_core::{
    clock::{Clock, HandClock, Timestamp},
    id::LeafId,
    message::Class,
};

use super::*;
use crate::{
    ReaderOptions, Urgency,
    tests::{NOW, drain, message, name, open, options, reading},
};

const HOUR: Duration = Duration::from_secs(3600);

fn origin(id: &str) -> Origin {
    Origin { source: "cloud".to_owned(), who: "hub".to_owned(), id: id.to_owned() }
}

fn command(clock: &HandClock, id: &str) -> NewCommand {
    NewCommand {
        origin: origin(id),
        leaf: LeafId::new("boiler").expect("valid"),
        body: br#"{"write":{"setpoint":21.5}}"#.to_vec().into(),
        life: Life::new(clock.now(), None, HOUR),
    }
}

fn ending(clock: &HandClock, outcome: &'static str, number: u64) -> Ending {
    let dead = (outcome == "failed").then(|| "the leaf says no".to_owned());
    Ending { outcome, dead, message: message(clock, Class::Outcome, number, 0), note: None }
}

fn inbox(dir: &Path, clock: &Arc<HandClock>) -> (Log, Inbox) {
    let log = open(dir, clock, options());
    let inbox = log.inbox();
    (log, inbox)
}

#[tokio::test]
async fn a_command_that_comes_again_is_known_across_restarts() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    assert_eq!(inbox.accept(command(&clock, "m1")).await.expect("kept"), Answer::Done(1));
    assert_eq!(inbox.accept(command(&clock, "m1")).await.expect("asked"), Answer::Known { seq: 1, finished: false });
    let other = NewCommand { origin: Origin { source: "other".into(), ..origin("m1") }, ..command(&clock, "m1") };
    assert_eq!(inbox.accept(other).await.expect("another source's id"), Answer::Done(2));
    log.close().await;
    let (log, inbox) = inbox_of(&dir, &clock);
    assert_eq!(inbox.accept(command(&clock, "m1")).await.expect("asked"), Answer::Known { seq: 1, finished: false });
    assert_eq!(inbox.begin(1, None).await.expect("begun"), Answer::Done(1));
    assert_eq!(inbox.finish(1, ending(&clock, "done", 1)).await.expect("over"), Answer::Done(1));
    log.close().await;
    let (_log, inbox) = inbox_of(&dir, &clock);
    assert_eq!(inbox.accept(command(&clock, "m1")).await.expect("asked"), Answer::Known { seq: 1, finished: true });
}

fn inbox_of(dir: &tempfile::TempDir, clock: &Arc<HandClock>) -> (Log, Inbox) {
    inbox(dir.path(), clock)
}

#[tokio::test]
async fn commands_without_an_id_are_all_new() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (_log, inbox) = inbox_of(&dir, &clock);
    for seq in 1..=3 {
        assert_eq!(inbox.accept(command(&clock, "")).await.expect("kept"), Answer::Done(seq));
    }
}

#[tokio::test]
async fn a_command_without_an_id_that_is_said_to_come_again_is_known_by_its_content() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    let post = async |inbox: &Inbox, command, again| inbox.post(command, again).await.expect("queued").answer().await.expect("answered");
    assert_eq!(post(&inbox, command(&clock, ""), true).await, Answer::Done(1), "it came the first time all the same");
    assert_eq!(post(&inbox, command(&clock, ""), false).await, Answer::Done(2), "a new one that says the same");
    log.close().await;
    let (_log, inbox) = inbox_of(&dir, &clock);
    assert_eq!(post(&inbox, command(&clock, ""), true).await, Answer::Known { seq: 2, finished: false });
    let other = NewCommand { body: br#"{"write":{"setpoint":22}}"#.to_vec().into(), ..command(&clock, "") };
    assert_eq!(post(&inbox, other, true).await, Answer::Done(3));
}

#[tokio::test]
async fn an_outcome_is_told_once_however_often_it_is_found() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    inbox.accept(command(&clock, "m1")).await.expect("kept");
    inbox.begin(1, None).await.expect("begun");
    let ends = (0..8).map(|n| {
        let (inbox, ending) = (inbox.clone(), ending(&clock, "done", n));
        async move { inbox.finish(1, ending).await }
    });
    let answers = at_once(ends).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Answer::Done(1)).count(), 1);
    let refusals = (10..18).map(|n| {
        let (inbox, ending) = (inbox.clone(), ending(&clock, "rejected", n));
        async move { inbox.refuse(origin("m2"), ending).await }
    });
    let answers = at_once(refusals).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Answer::Done(_))).count(), 1);
    assert_eq!(inbox.refuse(origin("m1"), ending(&clock, "rejected", 20)).await.expect("known"), Answer::Known { seq: 1, finished: true });
    let came = drain(&mut reader).await;
    assert_eq!(came.len(), 2, "{came:?}");
}

/// All at once, so that several meet in one commit.
async fn at_once(all: impl Iterator<Item = impl Future<Output = Result<Answer, StoreError>> + Send + 'static>) -> Vec<Answer> {
    let running: Vec<_> = all.map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for task in running {
        answers.push(task.await.expect("no panic").expect("answered"));
    }
    answers
}

#[tokio::test]
async fn what_was_begun_is_found_begun_after_a_restart() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    for id in ["a", "b", "c"] {
        inbox.accept(command(&clock, id)).await.expect("kept");
    }
    inbox.begin(2, None).await.expect("begun");
    // No close: the file is left as a power cut leaves it.
    std::mem::forget(log);
    let copy = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(dir.path()).expect("a folder").flatten() {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
    }
    let (_log, inbox) = inbox_of(&copy, &clock);
    let entries = inbox.list(0, 10).await.expect("listed");
    let states: Vec<_> = entries.iter().map(|entry| (entry.seq, entry.state, entry.deliveries, entry.damaged)).collect();
    assert_eq!(states, [(1, State::Waiting, 0, false), (2, State::Begun, 1, false), (3, State::Waiting, 0, false)]);
    assert_eq!(inbox.abandon(2, None).await.expect("again"), Answer::Done(2));
    assert_eq!(inbox.begin(2, None).await.expect("begun"), Answer::Done(2));
    assert_eq!(inbox.find(2).await.expect("asked").expect("there").deliveries, 2);
}

#[tokio::test]
async fn an_expired_command_is_never_begun() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    inbox.accept(command(&clock, "m1")).await.expect("kept");
    clock.advance(HOUR);
    assert_eq!(inbox.begin(1, None).await.expect("asked"), Answer::Expired);
    inbox.accept(command(&clock, "m2")).await.expect("kept");
    log.close().await;
    clock.reboot(Timestamp(0), false);
    let (log, _) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    let inbox = log.inbox();
    assert_eq!(inbox.begin(2, None).await.expect("asked"), Answer::Unknown, "the time is not known yet");
    log.hold_unsynced(false);
    assert_eq!(inbox.begin(2, None).await.expect("asked"), Answer::Done(2), "and never will be");
}

#[tokio::test]
async fn dead_commands_are_kept_for_a_person_and_can_be_let_go() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (_log, inbox) = inbox_of(&dir, &clock);
    inbox.accept(command(&clock, "m1")).await.expect("kept");
    assert_eq!(inbox.delete(1).await.expect("asked"), Answer::Gone, "it still waits");
    inbox.begin(1, None).await.expect("begun");
    inbox.finish(1, ending(&clock, "failed", 1)).await.expect("over");
    let dead = inbox.find(1).await.expect("asked").expect("kept");
    assert_eq!((dead.state, dead.outcome.as_str(), dead.reason.as_str()), (State::Dead, "failed", "the leaf says no"));
    assert_eq!(inbox.begin(1, None).await.expect("asked"), Answer::Gone);
    assert_eq!(inbox.delete(1).await.expect("gone"), Answer::Done(1));
    assert_eq!(inbox.accept(command(&clock, "m1")).await.expect("known"), Answer::Known { seq: 1, finished: true });
}

#[tokio::test]
async fn the_audit_has_a_line_for_what_happened_and_none_for_what_did_not() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (_log, inbox) = inbox_of(&dir, &clock);
    let note = |event: &str| Some(Note { origin: origin("m1"), leaf: "boiler".into(), event: event.into(), what: "setpoint=21.5".into() });
    inbox.accept(command(&clock, "m1")).await.expect("kept");
    inbox.begin(1, note("begun")).await.expect("begun");
    assert_eq!(inbox.begin(1, note("begun")).await.expect("asked"), Answer::Gone);
    let end = Ending { note: note("done"), ..ending(&clock, "done", 1) };
    inbox.finish(1, end).await.expect("over");
    inbox.note(note("begun").expect("one")).await.expect("noted");
    let events: Vec<_> = inbox.audit(10).await.expect("listed").into_iter().map(|line| (line.n, line.note.event)).collect();
    assert_eq!(events, [(3, "begun".to_owned()), (2, "done".to_owned()), (1, "begun".to_owned())]);
}

#[tokio::test]
async fn a_damaged_command_says_so() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    inbox.accept(command(&clock, "m1")).await.expect("kept");
    log.close().await;
    let file = Connection::open(dir.path().join("log.db")).expect("opens");
    file.execute("UPDATE command SET body = CAST('{\"write\":{\"setpoint\":99.5}}' AS BLOB)", []).expect("changed");
    drop(file);
    let (_log, inbox) = inbox_of(&dir, &clock);
    assert!(inbox.find(1).await.expect("asked").expect("there").damaged);
}

#[tokio::test]
async fn the_inbox_survives_damage_elsewhere_in_the_file() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    for n in 0..20 {
        inbox.accept(command(&clock, &format!("m{n}"))).await.expect("kept");
    }
    log.append(vec![message(&clock, Class::Telemetry, 1, 0)], Urgency::Now).await.expect("appended");
    log.close().await;
    std::fs::write(dir.path().join("log.db.suspect"), b"").expect("written");
    let (log, opening) = Log::open(dir.path(), options(), clock.clone()).expect("salvaged");
    assert!(opening.salvaged.is_some());
    let inbox = log.inbox();
    assert_eq!(inbox.list(0, 100).await.expect("listed").len(), 20);
    assert_eq!(inbox.accept(command(&clock, "m3")).await.expect("known"), Answer::Known { seq: 4, finished: false });
    assert_eq!(inbox.accept(command(&clock, "new")).await.expect("kept"), Answer::Done(21));
}

#[tokio::test]
async fn another_process_sees_the_inbox() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, inbox) = inbox_of(&dir, &clock);
    let reader: ReaderOptions = reading();
    log.reader(&name("hub"), reader).await.expect("a reader");
    inbox.accept(command(&clock, "m1")).await.expect("kept");
    assert_eq!(inspect(dir.path(), 10).expect("read").commands[0].command, command(&clock, "m1"));
}
