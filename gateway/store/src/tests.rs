//! What the log promises, on a real file in a folder of its own.

mod damage;
mod halves;
mod model;
mod promise;
mod share;

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use tidegate_core::{
    clock::{HandClock, Timestamp},
    id::{LeafId, MessageId, Name},
    message::{Body, Class, Message, Properties, SystemProperties},
    upstream::Fate,
};

use super::*;

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn options() -> LogOptions {
    LogOptions { max_size: 8 << 20, commit_interval: Duration::from_millis(5), keep_delivered: Duration::ZERO }
}

pub(crate) fn reading() -> ReaderOptions {
    ReaderOptions { window: 64, replay: Replay::InOrder, ttl: None }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("valid")
}

/// A message whose body is its number.
pub(crate) fn message(clock: &HandClock, class: Class, number: u64, padding: usize) -> Message {
    use tidegate_core::clock::Clock;
    Message {
        id: MessageId::fresh(),
        leaf: LeafId::new(format!("leaf-{}", number % 3)).expect("valid"),
        class,
        taken: clock.now(),
        ttl: None,
        system: SystemProperties::json(),
        properties: Properties::default(),
        body: Body::Whole(format!("{number}{}", " ".repeat(padding)).into()),
    }
}

/// The number in a body; `None` for a gap's message.
pub(crate) fn number(message: &Message) -> Option<u64> {
    std::str::from_utf8(message.body.stored()).ok()?.trim().parse().ok()
}

pub(crate) fn open(dir: &Path, clock: &Arc<HandClock>, options: LogOptions) -> Log {
    let (log, _) = Log::open(dir, options, clock.clone()).expect("opens");
    log.hold_unsynced(false);
    log
}

async fn fill(log: &Log, clock: &HandClock, numbers: std::ops::Range<u64>) {
    let messages = numbers.map(|n| message(clock, Class::Telemetry, n, 0)).collect();
    log.append(messages, Urgency::Now).await.expect("appended");
}

/// Leases and settles as delivered until nothing comes for a moment; what came.
pub(crate) async fn drain(reader: &mut Reader) -> Vec<u64> {
    let mut came = Vec::new();
    while let Ok(leased) = tokio::time::timeout(Duration::from_millis(300), reader.lease(50)).await {
        for leased in leased.expect("leases") {
            came.extend(number(&leased.message));
            reader.settle(leased.ticket, Fate::Delivered);
        }
    }
    came
}

#[tokio::test]
async fn what_was_appended_is_delivered_in_order_and_once_across_restarts() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    fill(&log, &clock, 0..500).await;
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    for leased in reader.lease(30).await.expect("leases") {
        reader.settle(leased.ticket, Fate::Delivered);
    }
    drop(reader);
    log.close().await;
    let log = open(dir.path(), &clock, options());
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    assert_eq!(drain(&mut reader).await, (30..500).collect::<Vec<_>>());
    let status = log.status().await.expect("a status");
    assert_eq!((status.readers[0].outstanding, status.readers[0].settled), (0, 500));
}

#[tokio::test]
async fn a_lazy_append_is_durable_within_the_commit_interval_and_an_urgent_one_at_once() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { commit_interval: Duration::from_secs(3600), ..options() });
    let (receipt, signed) = tidegate_core::adapter::Receipt::new();
    let slot = log.reserve().await.expect("room");
    slot.append(vec![message(&clock, Class::Telemetry, 1, 0)], Urgency::Lazy, Some(receipt));
    assert_eq!(log.counters().commits, 0);
    fill(&log, &clock, 2..3).await;
    signed.await.expect("the lazy one rode along");
    assert_eq!((log.counters().commits, log.counters().appended), (1, 2));
}

#[tokio::test]
async fn a_lease_never_runs_further_ahead_of_the_disk_than_the_window() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    fill(&log, &clock, 0..1000).await;
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    let mut out = Vec::new();
    while let Ok(leased) = tokio::time::timeout(Duration::from_millis(200), reader.lease(50)).await {
        out.extend(leased.expect("leases"));
        assert!(reader.unsettled() <= 64);
    }
    assert_eq!(out.len(), 64);
    // A killed process is a copy of its files at any moment.
    let copy = tempfile::tempdir().expect("a folder");
    for leased in &out {
        reader.settle(leased.ticket, Fate::Delivered);
    }
    for entry in std::fs::read_dir(dir.path()).expect("listed") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    let log = open(copy.path(), &clock, options());
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    let came = drain(&mut reader).await;
    assert!(came[0] <= 64 && came.len() >= 1000 - 64, "at most a window again, nothing lost");
    assert_eq!(came, (came[0]..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_session_leases_again_what_has_no_fate() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    fill(&log, &clock, 0..10).await;
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    let first = reader.lease(10).await.expect("leases");
    reader.settle(first[0].ticket, Fate::Delivered);
    reader.settle(first[1].ticket, Fate::Retry);
    let again = reader.lease(10).await.expect("leases");
    assert_eq!(number(&again[0].message), Some(1), "a retried one comes again in the same session");
    reader.begin();
    assert_eq!(drain(&mut reader).await, (1..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn higher_classes_leave_first() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let classes = [Class::Telemetry, Class::Alert, Class::Status, Class::Outcome];
    let messages = classes.iter().enumerate().map(|(n, class)| message(&clock, *class, n as u64, 0)).collect();
    log.append(messages, Urgency::Now).await.expect("appended");
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    assert_eq!(drain(&mut reader).await, [1, 3, 2, 0]);
}

#[tokio::test]
async fn live_first_sends_what_comes_and_fills_up_behind() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut reader = log
        .reader(&name("hub"), ReaderOptions { replay: Replay::LiveFirst { backfill_percent: 50 }, ..reading() })
        .await
        .expect("a reader");
    fill(&log, &clock, 0..1000).await;
    reader.begin();
    fill(&log, &clock, 1000..1200).await;
    let came = drain(&mut reader).await;
    let at = came.iter().position(|n| *n == 1000);
    assert!(at.is_some_and(|at| at < 130), "live ones do not wait for the backlog: {at:?} of {}", came.len());
    let (live, old): (Vec<u64>, Vec<u64>) = came.iter().partition(|n| **n >= 1000);
    assert_eq!((live, old), ((1000..1200).collect(), (0..1000).collect()), "each in its own order");
    assert_eq!(log.status().await.expect("a status").readers[0].outstanding, 0);
}

#[tokio::test]
async fn what_gives_way_is_counted_exactly_and_the_hub_is_told() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 100_000, ..options() });
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    log.append(vec![message(&clock, Class::Alert, 5_000, 0)], Urgency::Now).await.expect("appended");
    for batch in 0..50 {
        fill(&log, &clock, batch * 100..(batch + 1) * 100).await;
        assert!(log.status().await.expect("a status").bytes <= 100_000);
    }
    reader.begin();
    let (mut came, mut told) = (BTreeSet::new(), 0);
    while let Ok(leased) = tokio::time::timeout(Duration::from_secs(2), reader.lease(50)).await {
        for leased in leased.expect("leases") {
            match number(&leased.message) {
                Some(n) => assert!(came.insert(n)),
                None => {
                    let body: serde_json::Value = serde_json::from_slice(leased.message.body.stored()).expect("JSON");
                    told += body["gap"]["count"].as_u64().expect("a count");
                }
            }
            reader.settle(leased.ticket, Fate::Delivered);
        }
    }
    assert!(came.contains(&5_000), "the alert did not give way");
    assert_eq!(came.len() as u64 + told, 5_001);
    assert!(came.contains(&4_999) && !came.contains(&0), "the oldest went");
    assert!(log.gaps(10).await.expect("gaps").iter().all(|gap| gap.told && gap.reason == GapReason::Room));
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_counted_and_not_sent() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut old = message(&clock, Class::Telemetry, 1, 0);
    old.ttl = Some(Duration::from_secs(60));
    log.append(vec![old], Urgency::Now).await.expect("appended");
    clock.advance(Duration::from_secs(61));
    fill(&log, &clock, 2..3).await;
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    assert_eq!(drain(&mut reader).await, [2]);
    let gaps = log.gaps(10).await.expect("gaps");
    assert_eq!((gaps.len(), gaps[0].count, gaps[0].reason), (1, 1, GapReason::Ttl));
}

#[tokio::test]
async fn readings_from_1970_wait_and_are_corrected() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    clock.set_wall(Timestamp(7_000), false);
    let (log, _) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    fill(&log, &clock, 0..3).await;
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    assert!(tokio::time::timeout(Duration::from_millis(100), reader.lease(9)).await.is_err(), "held");
    clock.advance(Duration::from_secs(10));
    clock.set_wall(NOW, true);
    use tidegate_core::clock::Clock;
    assert_eq!(log.correct_time(clock.now()).await.expect("corrected"), 3);
    log.hold_unsynced(false);
    let leased = reader.lease(9).await.expect("leases");
    assert_eq!(leased.len(), 3);
    assert!(leased.iter().all(|l| l.message.taken.wall == Timestamp(NOW.0 - 10_000)));
}

/// What was read just before the clock was set has the old time, and must not leave with it.
#[tokio::test]
async fn a_row_that_was_fetched_before_its_time_was_corrected_is_fetched_again() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    clock.set_wall(Timestamp(7_000), false);
    let (log, _) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    fill(&log, &clock, 0..3).await;
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    let mut other = log.reader(&name("other"), reading()).await.expect("a reader");
    reader.begin();
    other.begin();
    // Dropped after it has asked for rows.
    assert!(tokio::time::timeout(Duration::ZERO, reader.lease(9)).await.is_err());
    // One thread fetches for both, so when this one is told that all is held, the first answer is there.
    assert!(tokio::time::timeout(Duration::from_millis(200), other.lease(9)).await.is_err(), "held");
    clock.set_wall(NOW, true);
    use tidegate_core::clock::Clock;
    assert_eq!(log.correct_time(clock.now()).await.expect("corrected"), 3);
    log.hold_unsynced(false);
    let leased = tokio::time::timeout(Duration::from_secs(20), reader.lease(9)).await.expect("soon").expect("leases");
    assert_eq!(leased.len(), 3);
    assert!(leased.iter().all(|l| l.message.taken.wall > Timestamp(1_000_000)), "{leased:?}");
}

#[tokio::test]
async fn delivered_rows_go_and_two_readers_do_not_disturb_each_other() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let (mut a, mut b) = (log.reader(&name("a"), reading()).await.expect("a"), log.reader(&name("b"), reading()).await.expect("b"));
    assert!(matches!(log.reader(&name("a"), reading()).await, Err(StoreError::InUse(_))));
    fill(&log, &clock, 0..2000).await;
    a.begin();
    b.begin();
    assert_eq!(drain(&mut a).await.len(), 2000);
    assert_eq!(log.status().await.expect("a status").depth, 2000, "b still wants them");
    assert_eq!(drain(&mut b).await.len(), 2000);
    fill(&log, &clock, 2000..2001).await;
    assert!(log.status().await.expect("a status").depth < 600);
    drop(b);
    log.forget_reader(&name("b")).await.expect("forgotten");
    assert_eq!(log.readers().await.expect("readers"), [name("a")]);
}

#[tokio::test]
async fn a_dropped_lease_loses_nothing() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    fill(&log, &clock, 0..300).await;
    let mut came = Vec::new();
    while came.len() < 300 {
        // Polled a random number of times, then dropped.
        let turns = fastrand::u32(0..6);
        let mut left = turns;
        let mut lease = Box::pin(reader.lease(7));
        let leased = std::future::poll_fn(|context| match lease.as_mut().poll(context) {
            std::task::Poll::Ready(leased) => std::task::Poll::Ready(Some(leased)),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => {
                left -= 1;
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        })
        .await;
        drop(lease);
        for leased in leased.into_iter().flatten().flatten() {
            came.extend(number(&leased.message));
            reader.settle(leased.ticket, Fate::Delivered);
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(came, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_messages_in_little_room_are_all_delivered_or_counted() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 1 << 20, ..options() });
    let mut reader = log.reader(&name("hub"), ReaderOptions { window: 512, ..reading() }).await.expect("a reader");
    reader.begin();
    let leased = tokio::time::timeout(Duration::from_millis(50), reader.lease(256)).await;
    assert!(leased.is_err());
    let mut out = 0;
    for batch in 0..40 {
        if batch == 1 {
            // A link that is lost: these have no fate while the log fills up.
            out = reader.lease(256).await.expect("leases").len();
        }
        let messages = (0..100).map(|n| message(&clock, Class::Telemetry, batch * 100 + n, 900)).collect();
        log.append(messages, Urgency::Now).await.expect("appended");
    }
    assert!(out > 0);
    drop(reader);
    log.close().await;
    let log = open(dir.path(), &clock, LogOptions { max_size: 1 << 20, ..options() });
    let mut reader = log.reader(&name("hub"), ReaderOptions { window: 512, ..reading() }).await.expect("a reader");
    reader.begin();
    let came = drain(&mut reader).await;
    assert_eq!(log.status().await.expect("a status").readers[0].outstanding, 0, "{} came", came.len());
    let lost: u64 = log.gaps(10).await.expect("gaps").iter().map(|gap| gap.count).sum();
    assert_eq!(came.len() as u64 + lost, 4000);
}
