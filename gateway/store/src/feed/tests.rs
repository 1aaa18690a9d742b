//! Partitions keep the order of each device and number without a hole, whatever happens in between.

use std::collections::BTreeMap;

use tidegate_core::clock::{Clock, HandClock};

use super::*;
use crate::{
    History, Log, Urgency, partition,
    tests::{NOW, message, name, options, reading},
};

async fn all(history: &History, partition: usize, from: u64) -> Vec<Item> {
    let (mut items, mut from) = (Vec::new(), from);
    loop {
        let fed = history.feed(Feed { partition, from, most: 7, hold: None }).await.expect("readable");
        items.extend(fed.items);
        from = fed.next;
        if !fed.more {
            return items;
        }
    }
}

fn body(item: &Item) -> u64 {
    std::str::from_utf8(item.message.body.stored()).expect("text").trim().parse().expect("a number")
}

#[tokio::test]
async fn each_device_is_in_one_partition_in_its_order_and_numbers_have_no_hole_across_restarts() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let options = crate::LogOptions { keep_delivered: std::time::Duration::from_secs(3600), ..options() };
    for run in 0..3_u64 {
        let (log, _) = Log::open(dir.path(), options.clone(), clock.clone()).expect("opens");
        let class = |n: u64| if n.is_multiple_of(5) { Class::Alert } else { Class::Telemetry };
        for n in 0..20 {
            let messages = (0..5).map(|m| run * 100 + n * 5 + m).map(|n| message(&clock, class(n), n, 3)).collect();
            log.append(messages, Urgency::Now).await.expect("kept");
        }
        log.close().await;
    }
    let history = History::open(dir.path()).expect("opens");
    let mut by_device: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for of in 0..PARTITIONS {
        let items = all(&history, of, 0).await;
        assert_eq!(items.iter().map(|item| item.number).collect::<Vec<_>>(), (0..items.len() as u64).collect::<Vec<_>>());
        assert!(items.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        for item in &items {
            assert_eq!(partition(item.message.leaf.as_str()), of);
            by_device.entry(item.message.leaf.to_string()).or_default().push(body(item));
        }
        for item in &items {
            let begin = history.find(of, Start::After(item.number)).await.expect("found");
            let next = all(&history, of, begin).await.first().map(|item| item.number);
            assert_eq!(next, (item.number + 1 < items.len() as u64).then_some(item.number + 1));
        }
        if !items.is_empty() {
            assert_eq!(all(&history, of, history.find(of, Start::Since(Timestamp(0))).await.expect("found")).await.len(), items.len());
            let last = items.iter().map(|item| enqueued(&item.message)).max().expect("some");
            assert_eq!(all(&history, of, history.find(of, Start::Since(last)).await.expect("found")).await.len(), 0);
        }
    }
    assert_eq!(by_device.values().map(Vec::len).sum::<usize>(), 300);
    assert!(by_device.values().all(|numbers| numbers.is_sorted()));
}

#[tokio::test]
async fn what_was_given_up_is_a_hole_and_never_a_number_again() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let (log, _) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    let (mut appended, of) = (0, partition("leaf-0"));
    // More than there is room for: the oldest go.
    for n in 0..400_u64 {
        log.append(vec![message(&clock, Class::Telemetry, n * 3, 50_000)], Urgency::Now).await.expect("kept");
        appended += 1;
    }
    let history = History::open(dir.path()).expect("opens");
    let items = all(&history, of, 0).await;
    assert!(!items.is_empty() && items.len() < 400, "{}", items.len());
    assert_eq!(items.last().map(|item| item.number + 1), Some(appended));
    assert!(items.iter().all(|item| body(item) == item.number * 3), "a number stays with its message");
    log.close().await;
}

#[tokio::test]
async fn a_time_that_is_not_known_yet_is_waited_for() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(Timestamp(1_000)));
    clock.set_wall(Timestamp(1_000), false);
    let (log, _) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    log.append(vec![message(&clock, Class::Telemetry, 0, 0)], Urgency::Now).await.expect("kept");
    let history = History::open(dir.path()).expect("opens");
    let of = partition("leaf-0");
    let feed = Feed { partition: of, from: 0, most: 10, hold: Some(clock.now().boot) };
    let fed = history.feed(feed.clone()).await.expect("readable");
    assert!(fed.items.is_empty() && !fed.more, "{fed:?}");
    clock.set_wall(NOW, true);
    log.correct_time(clock.now()).await.expect("corrected");
    let fed = history.feed(Feed { from: fed.next, ..feed }).await.expect("readable");
    assert_eq!(fed.items.len(), 1);
    assert!(fed.items[0].message.taken.wall >= NOW);
    log.close().await;
}

#[tokio::test]
async fn numbers_stay_with_their_messages_when_a_damaged_log_is_salvaged() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let options = crate::LogOptions { keep_delivered: std::time::Duration::from_secs(3600), ..options() };
    let (log, _) = Log::open(dir.path(), options.clone(), clock.clone()).expect("opens");
    let messages = (0..400_u64).map(|n| message(&clock, Class::Telemetry, n * 3, 100)).collect();
    log.append(messages, Urgency::Now).await.expect("kept");
    log.close().await;
    let path = dir.path().join("log.db");
    let mut bytes = std::fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&path, bytes).expect("written");
    let (log, opening) = Log::open(dir.path(), options, clock.clone()).expect("opens");
    let salvaged = opening.salvaged.expect("was damaged").saved;
    log.append(vec![message(&clock, Class::Telemetry, 0, 0)], Urgency::Now).await.expect("kept");
    let items = all(&History::open(dir.path()).expect("opens"), partition("leaf-0"), 0).await;
    let (new, old) = items.split_last().expect("some");
    assert!(salvaged > 100 && old.len() as u64 == salvaged, "{salvaged} {}", old.len());
    assert!(old.iter().all(|item| body(item) == item.number * 3), "a number stays with its message");
    assert_eq!(new.number, 400, "and none is given again");
    log.close().await;
}
