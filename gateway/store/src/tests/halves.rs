//! A class lies in two tables: what that saves, and that nothing is lost by it.

use rusqlite::Connection;
use tidegate_core::clock::Clock;

use super::*;
use crate::{row, schema};

fn rows_of(dir: &Path) -> [i64; 2] {
    let connection = schema::open_reading(&schema::file(dir)).expect("readable");
    [0, 1].map(|half| {
        let sql = format!("SELECT count(*) FROM {}", row::table(Class::Telemetry, half));
        connection.query_row(&sql, [], |row| row.get(0)).expect("a count")
    })
}

#[tokio::test]
async fn what_has_been_passed_goes_at_a_stroke_and_the_halves_change_places() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut reader = log.reader(&name("hub"), ReaderOptions { window: 1000, ..reading() }).await.expect("a reader");
    reader.begin();
    let (mut seen, mut came) = ([false; 2], Vec::new());
    for round in 0..40_u64 {
        fill(&log, &clock, round * 50..(round + 1) * 50).await;
        while came.len() < (round as usize + 1) * 50 {
            for leased in reader.lease(50).await.expect("leases") {
                came.extend(number(&leased.message));
                reader.settle(leased.ticket, Fate::Delivered);
            }
        }
        let rows = rows_of(dir.path());
        (0..2).for_each(|half| seen[half] |= rows[half] > 0);
        let status = log.status().await.expect("a status");
        assert_eq!(status.depth as i64, rows[0] + rows[1]);
        assert!(status.depth < 1_000, "{status:?}");
    }
    assert_eq!(seen, [true; 2]);
    assert_eq!(came, (0..2_000).collect::<Vec<_>>());
    drop(reader);
    log.close().await;
    // What is left lies in both halves, and all counts still agree after a restart.
    let log = open(dir.path(), &clock, options());
    let rows = rows_of(dir.path());
    assert_eq!(log.status().await.expect("a status").depth as i64, rows[0] + rows[1]);
}

#[tokio::test]
async fn a_backlog_across_both_halves_is_delivered_in_order_and_corrected() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    let log = open(dir.path(), &clock, options());
    let mut hub = log.reader(&name("hub"), ReaderOptions { window: 1000, ..reading() }).await.expect("a reader");
    hub.begin();
    fill(&log, &clock, 0..300).await;
    assert_eq!(drain(&mut hub).await.len(), 300);
    // The halves have changed places, or do so now; a second reader holds what comes from here on.
    fill(&log, &clock, 300..301).await;
    clock.set_wall(Timestamp(5_000), false);
    fill(&log, &clock, 301..900).await;
    clock.set_wall(NOW, true);
    assert!(log.correct_time(clock.now()).await.expect("corrected") > 0);
    assert_eq!(drain(&mut hub).await, (300..900).collect::<Vec<_>>());
}

/// A log as the format before the halves kept it.
fn of_format_2(dir: &Path, clock: &HandClock, rows: u64) {
    let mut connection = Connection::open(schema::file(dir)).expect("created");
    connection.execute_batch("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL").expect("set");
    connection.execute_batch(include_str!("../schema/1.sql")).expect("format 1");
    connection.execute_batch(include_str!("../inbox/schema.sql")).expect("format 2");
    connection.pragma_update(None, "user_version", 2).expect("set");
    let step = connection.transaction().expect("begins");
    let mut bytes = 0;
    {
        let columns = row::COLUMNS.replace(", number", "");
        let sql = format!("INSERT INTO message_0 ({columns}) SELECT ?,?,?,?,?,?,?,?,?,?,?,? WHERE ? IS NULL");
        let mut insert = step.prepare_cached(&sql).expect("prepared");
        for n in 0..rows {
            let message = message(clock, Class::Telemetry, n, 10);
            row::write(&mut insert, n + 1, &message, message.taken, "", None).expect("inserted");
            bytes += row::size(&message, "");
        }
    }
    let totals = format!(
        r#"{{"next_seq":{},"rows":[{rows},0,0,0],"bytes":[{bytes},0,0,0],"time_floor":{},"unsynced_from":null,"given_up":0}}"#,
        rows + 1,
        NOW.0
    );
    step.execute("INSERT INTO note VALUES ('totals', ?)", [totals]).expect("noted");
    step.commit().expect("committed");
}

#[tokio::test]
async fn a_log_of_the_format_before_keeps_all_its_messages() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    of_format_2(dir.path(), &clock, 700);
    let (log, opening) = Log::open(dir.path(), options(), clock.clone()).expect("opens");
    assert!(opening.salvaged.is_none() && opening.messages == 700, "{opening:?}");
    log.hold_unsynced(false);
    let mut reader = log.reader(&name("hub"), reading()).await.expect("a reader");
    reader.begin();
    fill(&log, &clock, 700..1_000).await;
    assert_eq!(drain(&mut reader).await, (0..1_000).collect::<Vec<_>>());
    let status = log.status().await.expect("a status");
    assert!(status.depth < 700 && status.file_bytes >= 4096, "{status:?}");
}

#[tokio::test]
async fn a_damaged_log_of_the_format_before_is_salvaged() {
    let (dir, clock) = (tempfile::tempdir().expect("a folder"), HandClock::at(NOW));
    of_format_2(dir.path(), &clock, 700);
    let path = schema::file(dir.path());
    Connection::open(&path).expect("opens").query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("copied");
    let mut bytes = std::fs::read(&path).expect("readable");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xFF);
    std::fs::write(&path, bytes).expect("writable");
    let (_, opening) = Log::open(dir.path(), options(), clock.clone()).expect("opens whatever is there");
    let salvage = opening.salvaged.expect("damage is noticed");
    assert!(salvage.saved > 600 && salvage.saved + salvage.lost == 700, "{salvage:?}");
}
