//! Leaves with a reader of their own: each message is for exactly one of a reader and its shares.

use super::*;

fn leaf(number: u64) -> LeafId {
    LeafId::new(format!("leaf-{number}")).expect("valid")
}

fn all(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    numbers.into_iter().collect()
}

async fn whole(log: &Log, shared: impl IntoIterator<Item = u64>) -> Reader {
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.leave_to_shares(Arc::new(shared.into_iter().map(leaf).collect()));
    reader.begin();
    reader
}

async fn share(log: &Log, of: u64) -> Reader {
    let mut reader = log.share(&name("hub"), &leaf(of), reading()).await.expect("a share");
    reader.begin();
    reader
}

#[tokio::test]
async fn a_new_share_takes_along_what_waits_for_its_leaf_and_no_message_is_lost_or_sent_twice() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    fill(&log, &clock, 0..300).await;
    let mut alone = whole(&log, []).await;
    let mut early = Vec::new();
    while early.len() < 90 {
        for leased in alone.lease(30).await.expect("leases") {
            early.extend(number(&leased.message));
            alone.settle(leased.ticket, Fate::Delivered);
        }
    }
    drop(alone);
    let mut own = share(&log, 1).await;
    let mut rest = whole(&log, [1]).await;
    fill(&log, &clock, 300..400).await;
    let (of_leaf, of_others) = (drain(&mut own).await, drain(&mut rest).await);
    assert!(of_leaf.iter().all(|n| n % 3 == 1) && of_others.iter().all(|n| n % 3 != 1));
    assert!(of_leaf.is_sorted() && of_others.is_sorted());
    assert_eq!(early.len() + of_leaf.len() + of_others.len(), 400, "none twice");
    assert_eq!(all(early.into_iter().chain(of_leaf).chain(of_others)), all(0..400));
    let status = log.status().await.expect("asked");
    assert_eq!((status.readers.len(), status.readers[0].outstanding), (1, 0), "shares count as their reader's own");
}

#[tokio::test]
async fn a_share_that_cannot_send_holds_up_nobody_and_has_all_of_its_own_after_a_restart() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut stuck = share_of_new(&log, 2).await;
    let mut rest = whole(&log, [2]).await;
    let mut others = Vec::new();
    for round in 0..10 {
        fill(&log, &clock, 100 * round..100 * (round + 1)).await;
        others.extend(drain(&mut rest).await);
        for leased in stuck.lease(5).await.expect("leases") {
            stuck.settle(leased.ticket, Fate::Retry);
        }
    }
    assert_eq!(all(others), all((0..1000).filter(|n| n % 3 != 2)));
    drop((stuck, rest));
    log.close().await;
    let log = open(dir.path(), &clock, options());
    assert_eq!(log.shares().await.expect("asked"), [(name("hub"), leaf(2))]);
    let mut rest = whole(&log, [2]).await;
    let mut own = share(&log, 2).await;
    let came = drain(&mut own).await;
    assert_eq!(came, (0..1000).filter(|n| n % 3 == 2).collect::<Vec<_>>(), "in order");
    assert_eq!(drain(&mut rest).await, Vec::<u64>::new());
}

async fn share_of_new(log: &Log, of: u64) -> Reader {
    drop(whole(log, []).await);
    share(log, of).await
}

#[tokio::test]
async fn what_a_full_log_gives_up_is_counted_for_the_one_it_was_for() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, LogOptions { max_size: 64 << 10, ..options() });
    let stuck = share_of_new(&log, 0).await;
    let mut rest = whole(&log, [0]).await;
    let mut others = BTreeSet::new();
    for round in 0..40 {
        let messages = (50 * round..50 * (round + 1)).map(|n| message(&clock, Class::Telemetry, n, 100)).collect();
        log.append(messages, Urgency::Now).await.expect("appended");
        others.extend(drain_now(&mut rest, 33).await);
    }
    assert_eq!(others, all((0..2000).filter(|n| n % 3 != 0)), "others lose nothing: theirs are delivered in time");
    drop((stuck, rest));
    let gaps = log.gaps(100).await.expect("asked");
    assert!(gaps.iter().all(|gap| gap.reader == "hub/leaf-0" && gap.leaf == leaf(0)), "{gaps:?}");
    let given_up: u64 = gaps.iter().map(|gap| gap.count).sum();
    let mut own = share(&log, 0).await;
    let kept = drain(&mut own).await;
    assert_eq!(given_up + kept.len() as u64, 667, "each is delivered or counted");
}

/// So many rows, without waiting for more.
async fn drain_now(reader: &mut Reader, least: usize) -> Vec<u64> {
    let mut came = Vec::new();
    while came.len() < least {
        for leased in reader.lease(50).await.expect("leases") {
            came.extend(number(&leased.message));
            reader.settle(leased.ticket, Fate::Delivered);
        }
    }
    came
}

#[tokio::test]
async fn a_share_that_is_given_up_returns_its_leaf_and_says_what_waited() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    drop(share_of_new(&log, 1).await);
    fill(&log, &clock, 0..30).await;
    assert_eq!(log.forget_share(&name("hub"), &leaf(1)).await.expect("known"), 10);
    fill(&log, &clock, 30..60).await;
    let mut rest = whole(&log, []).await;
    let came = all(drain(&mut rest).await);
    assert!(came.is_superset(&all((0..60).filter(|n| n % 3 != 1 || *n >= 30))));
}

#[tokio::test]
async fn random_shares_random_fates_and_restarts_lose_nothing() {
    for seed in 0..12 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (mut dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
        let (mut appended, mut seen) = (0, BTreeSet::new());
        let mut shared: BTreeSet<u64> = BTreeSet::new();
        for _ in 0..6 {
            let log = open(dir.path(), &clock, options());
            // The order in which the gateway opens them: the whole, then its shares, then sessions begin.
            let mut readers = vec![log.reader(&name("hub"), reading()).await.expect("a reader")];
            if shared.len() < 3 && dice.bool() {
                shared.insert(dice.u64(0..3));
            }
            readers[0].leave_to_shares(Arc::new(shared.iter().copied().map(leaf).collect()));
            for of in &shared {
                readers.push(log.share(&name("hub"), &leaf(*of), reading()).await.expect("a share"));
            }
            readers.iter_mut().for_each(Reader::begin);
            for _ in 0..dice.u64(1..6) {
                let more = dice.u64(1..60);
                fill(&log, &clock, appended..appended + more).await;
                appended += more;
                for reader in &mut readers {
                    let Ok(leased) = tokio::time::timeout(Duration::from_millis(20), reader.lease(dice.usize(1..40))).await else {
                        continue;
                    };
                    for leased in leased.expect("leases") {
                        if dice.u8(0..4) == 0 {
                            reader.settle(leased.ticket, Fate::Retry);
                        } else {
                            seen.extend(number(&leased.message));
                            reader.settle(leased.ticket, Fate::Delivered);
                        }
                    }
                }
            }
            drop(readers);
            // As the power leaves it, or in good order.
            let copy = tempfile::tempdir().expect("a folder");
            let crash = dice.bool();
            for file in ["log.db", "log.db-wal"].iter().filter(|file| crash && dir.path().join(file).exists()) {
                std::fs::copy(dir.path().join(file), copy.path().join(file)).expect("copied");
            }
            log.close().await;
            if crash {
                dir = copy;
            }
        }
        let log = open(dir.path(), &clock, options());
        let mut readers = vec![whole(&log, shared.clone()).await];
        for of in shared {
            readers.push(share(&log, of).await);
        }
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while seen.len() < appended as usize && std::time::Instant::now() < end {
            for reader in &mut readers {
                let came = drain(reader).await;
                seen.extend(came);
            }
        }
        assert_eq!(seen, all(0..appended), "seed {seed}");
        assert_eq!(log.gaps(10).await.expect("asked"), [], "seed {seed}");
    }
}
