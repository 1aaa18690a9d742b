//! Corners of the promise: where counting, giving way and grouping meet.

use super::*;

fn heavy(clock: &HandClock, class: Class, numbers: std::ops::Range<u64>, bytes: usize) -> Vec<Message> {
    numbers.map(|n| message(clock, class, n, bytes)).collect()
}

/// Leases and settles as delivered until nothing comes for a moment. The numbers that came, and how many gaps told of.
async fn drain_with_gaps(reader: &mut Reader, patience: Duration) -> (Vec<u64>, u64) {
    let (mut came, mut told) = (Vec::new(), 0);
    while let Ok(leased) = tokio::time::timeout(patience, reader.lease(256)).await {
        for leased in leased.expect("leases") {
            match number(&leased.message) {
                Some(n) => came.push(n),
                None => told += gap_count(&leased.message),
            }
            reader.settle(leased.ticket, Fate::Delivered);
        }
    }
    (came, told)
}

fn gap_count(message: &Message) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(message.body.stored()).expect("JSON");
    body["gap"]["count"].as_u64().expect("a count")
}

#[tokio::test]
async fn a_request_that_comes_when_the_group_is_full_goes_into_the_next_one() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { commit_interval: Duration::from_secs(60), ..options() });
    const SLOTS: u64 = 3000;
    for n in 0..SLOTS {
        log.reserve().await.expect("room").append(heavy(&clock, Class::Telemetry, n..n + 1, 0), Urgency::Lazy, None);
    }
    fill(&log, &clock, SLOTS..SLOTS + 1).await;
    assert_eq!(log.counters().appended, SLOTS + 1);
}

#[tokio::test]
async fn large_rows_that_expired_do_not_hide_those_behind_them() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 256 << 20, ..options() });
    let mut old = heavy(&clock, Class::Telemetry, 0..600, 8_000);
    old.iter_mut().for_each(|m| m.ttl = Some(Duration::from_secs(60)));
    log.append(old, Urgency::Now).await.expect("appended");
    clock.advance(Duration::from_secs(61));
    log.append(heavy(&clock, Class::Telemetry, 600..700, 8_000), Urgency::Now).await.expect("appended");
    let mut reader = log.reader(&name("hub"), ReaderOptions { window: 1000, ..reading() }).await.expect("a reader");
    reader.begin();
    let (came, told) = drain_with_gaps(&mut reader, Duration::from_millis(2500)).await;
    assert_eq!((came.len(), told), (100, 600));
}

#[tokio::test]
async fn telemetry_never_pushes_out_an_alert() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 100_000, ..options() });
    let _reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    log.append(heavy(&clock, Class::Alert, 0..90, 1_000), Urgency::Now).await.expect("appended");
    for n in 0..20 {
        log.append(heavy(&clock, Class::Telemetry, n * 10..n * 10 + 10, 1_000), Urgency::Now).await.expect("appended");
    }
    let status = log.status().await.expect("a status");
    assert_eq!(status.classes[Class::Alert as usize].depth, 90);
}

#[tokio::test]
async fn the_newest_of_a_batch_larger_than_the_room_is_kept() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 20_000, ..options() });
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    log.append(heavy(&clock, Class::Telemetry, 0..100, 1_000), Urgency::Now).await.expect("appended");
    assert!(log.status().await.expect("a status").bytes <= 20_000);
    reader.begin();
    let (came, told) = drain_with_gaps(&mut reader, Duration::from_millis(2500)).await;
    assert_eq!(came.len() as u64 + told, 100);
    assert!(came.contains(&99) && !came.contains(&0), "the oldest went: {came:?}");
}

#[tokio::test]
async fn what_was_given_up_out_of_turn_is_counted_once() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut batch = heavy(&clock, Class::Telemetry, 0..3, 0);
    batch[1].ttl = Some(Duration::from_secs(60));
    log.append(batch, Urgency::Now).await.expect("appended");
    clock.advance(Duration::from_secs(61));
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    for _ in 0..3 {
        // The first one stays without a fate, the second has expired, the third can never be sent.
        reader.begin();
        let leased = reader.lease(10).await.expect("leases");
        if let Some(third) = leased.iter().find(|l| number(&l.message) == Some(2)) {
            reader.settle(third.ticket, Fate::Rejected("too large".into()));
        }
        fill(&log, &clock, 100..101).await;
    }
    drop(reader);
    log.close().await;
    let log = open(dir.path(), &clock, options());
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    let (came, told) = drain_with_gaps(&mut reader, Duration::from_millis(2500)).await;
    // What was settled out of turn is leased again in a new session; this time the third one is taken.
    assert_eq!(came.iter().filter(|n| **n < 3).collect::<Vec<_>>(), [&0, &2]);
    assert_eq!(told, 1, "the expired one, once");
}

#[tokio::test]
async fn a_gap_that_keeps_growing_is_told_all_the_same() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 100_000, ..options() });
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    let grow = async {
        for n in 0.. {
            fill(&log, &clock, n * 100..(n + 1) * 100).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let told = async {
        loop {
            // A slow hub: what it takes is less than what comes.
            for leased in reader.lease(1).await.expect("leases") {
                if number(&leased.message).is_none() {
                    return gap_count(&leased.message);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                reader.settle(leased.ticket, Fate::Delivered);
            }
        }
    };
    let told = tokio::select! {
        () = grow => 0,
        told = told => told,
        () = tokio::time::sleep(Duration::from_secs(30)) => 0,
    };
    assert!(told > 0, "not told within 30 s");
}

#[tokio::test]
async fn what_is_settled_while_a_commit_runs_is_durable_soon_though_nothing_else_happens() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { commit_interval: Duration::from_millis(1), ..options() });
    let mut reader = log.reader(&name("hub"), ReaderOptions { window: 8, ..reading() }).await.expect("a reader");
    reader.begin();
    for round in 0..300 {
        fill(&log, &clock, round * 8..round * 8 + 8).await;
        let mut open = Vec::new();
        while open.len() < 8 {
            open.extend(reader.lease(8).await.expect("leases"));
        }
        for leased in open {
            reader.settle(leased.ticket, Fate::Delivered);
            tokio::time::sleep(Duration::from_micros(fastrand::u64(0..300))).await;
        }
        // Nobody asks the log anything, nobody appends, nobody leases.
        tokio::time::timeout(Duration::from_secs(5), async {
            while reader.unsettled() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("durable without another request");
    }
}
