//! What is in a log, read by a program that is not ours (`sqlite3`).

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use tempfile::TempDir;

use super::on_path;

/// The rows of a log that nobody has open: after a kill, this is what had been accepted and not given way yet.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Message id to leaf.
    pub(crate) rows: BTreeMap<String, String>,
}

/// The log keeps one table for each class.
const ROWS: &str = "select lower(hex(id)) || ' ' || leaf from (select id, leaf from message_0 union all \
                    select id, leaf from message_1 union all select id, leaf from message_2 union all select id, leaf from message_3)";

impl Snapshot {
    /// Reads a copy: whoever opens a database after a crash repairs it, and that must stay the gateway's work.
    pub(crate) fn take(state_dir: &Path) -> Self {
        let copy = TempDir::new().expect("a temporary folder");
        for name in ["log.db", "log.db-wal"] {
            let from = state_dir.join(name);
            if from.exists() {
                fs::copy(&from, copy.path().join(name)).expect("a readable file");
            }
        }
        let rows = query(&copy.path().join("log.db"), ROWS);
        Self { rows: rows.iter().filter_map(|row| row.split_once(' ')).map(|(id, leaf)| (hyphenated(id), leaf.to_owned())).collect() }
    }
}

/// One line for each row.
fn query(database: &Path, sql: &str) -> Vec<String> {
    let sqlite = on_path("sqlite3").expect("checked by have()");
    let answer = Command::new(sqlite).arg(database).arg(sql).output().expect("sqlite3 runs");
    assert!(answer.status.success(), "sqlite3: {}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8_lossy(&answer.stdout).lines().map(ToOwned::to_owned).collect()
}

/// As ids are written on the wire.
fn hyphenated(hex: &str) -> String {
    assert_eq!(hex.len(), 32, "{hex}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
