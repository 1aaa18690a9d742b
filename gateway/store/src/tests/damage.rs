//! Damaged files: the log opens, keeps what was readable, says what was lost, and never panics.

use std::fs;

use super::*;

const ROWS: u64 = 400;

async fn filled(dir: &Path, clock: &Arc<HandClock>) {
    let log = open(dir, clock, options());
    let reader = log.reader(&name("hub"), ReaderOptions { window: 1000, ..reading() }).await.expect("a reader");
    let messages = (0..ROWS).map(|n| message(clock, Class::Telemetry, n, 100)).collect();
    log.append(messages, Urgency::Now).await.expect("appended");
    drop(reader);
    log.close().await;
}

/// Reads all that can be read. Damage that only shows while rows are read ends the log; the next start salvages.
/// Returns what came, and how many the hub was told are gone.
async fn read_all(dir: &Path, clock: &Arc<HandClock>) -> (BTreeSet<u64>, u64) {
    let (mut came, mut told) = (BTreeSet::new(), 0);
    for _ in 0..3 {
        let (log, _) = Log::open(dir, options(), clock.clone()).expect("opens whatever is there");
        log.hold_unsynced(false);
        let mut reader = log.reader(&name("hub"), ReaderOptions { window: 1000, ..reading() }).await.expect("a reader");
        reader.begin();
        let mut broken = false;
        while let Ok(leased) = tokio::time::timeout(Duration::from_millis(1300), reader.lease(64)).await {
            let Ok(leased) = leased else {
                broken = true;
                break;
            };
            for leased in leased {
                match number(&leased.message) {
                    Some(n) => drop(came.insert(n)),
                    None => {
                        let body: serde_json::Value = serde_json::from_slice(leased.message.body.stored()).expect("JSON");
                        told += body["gap"]["count"].as_u64().expect("a count");
                    }
                }
                reader.settle(leased.ticket, Fate::Delivered);
            }
        }
        drop(reader);
        log.close().await;
        if !broken {
            return (came, told);
        }
    }
    panic!("still broken after three starts");
}

#[tokio::test]
async fn flipped_bytes_are_noticed_and_the_rest_is_delivered() {
    for turn in 0..12_usize {
        let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
        filled(dir.path(), &clock).await;
        let path = dir.path().join("log.db");
        let mut bytes = fs::read(&path).expect("readable");
        let at = bytes.len() * (2 * turn + 1) / 24;
        for byte in &mut bytes[at..at + 16] {
            *byte ^= 0x5A;
        }
        fs::write(&path, bytes).expect("writable");
        let (came, told) = read_all(dir.path(), &clock).await;
        assert!(came.iter().all(|n| *n < ROWS), "no message that never was");
        assert!(came.len() as u64 + told >= ROWS || came.len() as u64 == ROWS, "turn {turn}: {} came, {told} told", came.len());
    }
}

#[tokio::test]
async fn a_truncated_file_is_put_aside_and_the_log_goes_on() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    filled(dir.path(), &clock).await;
    let path = dir.path().join("log.db");
    let bytes = fs::read(&path).expect("readable");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("writable");
    let (came, told) = read_all(dir.path(), &clock).await;
    assert!(!came.is_empty() && told > 0, "{} came, {told} told", came.len());
    let kept =
        fs::read_dir(dir.path()).expect("listed").filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains("damaged")));
    assert!(kept.count() >= 1, "never deleted");
}

/// The page above all others of the messages is gone: without it no tree leads to any of them.
#[tokio::test]
async fn messages_are_found_in_their_pages_when_the_tree_above_them_is_gone() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let reader = log.reader(&name("hub"), ReaderOptions { window: 1000, ..reading() }).await.expect("a reader");
    let of = |n: u64| match n % 40 {
        // Longer than a page, so that it goes on in others.
        7 => message(&clock, Class::Telemetry, n, 3000),
        11 => message(&clock, Class::Outcome, n, 100),
        _ => message(&clock, Class::Telemetry, n, 100),
    };
    log.append((0..ROWS).map(of).collect(), Urgency::Now).await.expect("appended");
    drop(reader);
    log.close().await;
    let path = dir.path().join("log.db");
    let root = |table: &str| {
        let connection = rusqlite::Connection::open(&path).expect("opens");
        let root = connection.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table], |row| row.get::<_, u32>(0));
        root.expect("is there") as usize - 1
    };
    let roots = [root("message_0_a"), root("message_0_b")];
    let mut bytes = fs::read(&path).expect("readable");
    for root in roots {
        bytes[root * 1024..(root + 1) * 1024].fill(0);
    }
    fs::write(&path, bytes).expect("writable");
    let (log, opening) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    let salvage = opening.salvaged.expect("it was damaged");
    assert_eq!((salvage.saved, salvage.lost), (ROWS, 0), "{salvage}");
    log.close().await;
    assert_eq!(read_all(dir.path(), &clock).await, ((0..ROWS).collect(), 0));
}

/// Nobody knows any more how many there were: what is missing between those that are left is lost, and is told.
#[tokio::test]
async fn what_is_missing_is_counted_when_the_totals_are_gone_as_well() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    filled(dir.path(), &clock).await;
    let path = dir.path().join("log.db");
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let note: u32 = connection.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'note'", [], |row| row.get(0)).expect("is there");
    drop(connection);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[(note as usize - 1) * 1024..note as usize * 1024].fill(0);
    let middle = bytes.len() / 1024 * 3 / 4;
    bytes[middle * 1024..(middle + 6) * 1024].fill(0xA5);
    fs::write(&path, bytes).expect("writable");
    let (log, opening) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    let salvage = opening.salvaged.expect("it was damaged");
    assert!(salvage.lost > 0 && salvage.saved + salvage.lost == ROWS, "{salvage}");
    log.close().await;
    let (came, told) = read_all(dir.path(), &clock).await;
    assert_eq!((came.len() as u64, told), (salvage.saved, salvage.lost));
}

#[tokio::test]
async fn garbage_and_an_empty_file_are_a_fresh_start() {
    for content in [vec![], vec![0xA7; 50_000], b"SQLite format 3\0".to_vec()] {
        let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
        fs::write(dir.path().join("log.db"), content).expect("writable");
        let log = open(dir.path(), &clock, options());
        fill(&log, &clock, 0..5).await;
        log.close().await;
        assert_eq!(read_all(dir.path(), &clock).await.0.len(), 5);
    }
}

#[tokio::test]
async fn a_truncated_wal_loses_only_what_was_never_acknowledged_or_says_so() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    for batch in 0..20 {
        fill(&log, &clock, batch * 10..(batch + 1) * 10).await;
    }
    let copy = tempfile::tempdir().expect("a folder");
    for file in ["log.db", "log.db-wal"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).expect("copied");
    }
    drop(reader);
    log.close().await;
    let wal = copy.path().join("log.db-wal");
    let bytes = fs::read(&wal).expect("readable");
    fs::write(&wal, &bytes[..bytes.len() * 2 / 3]).expect("writable");
    let (came, _) = read_all(copy.path(), &clock).await;
    assert_eq!(came, (0..came.len() as u64).collect(), "a beginning, whole");
    assert!(came.len() > 50);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    filled(dir.path(), &clock).await;
    let connection = rusqlite::Connection::open(dir.path().join("log.db")).expect("opens");
    connection.pragma_update(None, "user_version", 99).expect("set");
    drop(connection);
    assert!(matches!(Log::open(dir.path(), options(), clock), Err(StoreError::Newer { found: 99, .. })));
}
