//! Reads what `append_load` left behind and prints JSON: `rows`, `highest_contiguous` (every number from 1 up to it is there),
//! `missing` (numbers below the highest that are not there), `salvaged`, and the gap ledger's count.

use std::{collections::BTreeSet, io::Write, path::Path, time::Duration};

use tidegate_core::{clock::SystemClock, id::Name, upstream::Fate};
use tidegate_store::{Log, LogOptions, ReaderOptions, Replay};

/// Nothing more comes once nothing came for this long.
const QUIET: Duration = Duration::from_millis(1500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("append_verify DIR")?;
    let clock = SystemClock::new("power-cut");
    clock.trust(true);
    let options = LogOptions { max_size: 1 << 30, commit_interval: Duration::from_millis(5), keep_delivered: Duration::ZERO };
    let (log, opening) = Log::open(Path::new(&dir), options, clock)?;
    log.hold_unsynced(false);
    let mut reader = log.reader(&Name::new("hub")?, ReaderOptions { window: 8192, replay: Replay::InOrder, ttl: None }).await?;
    reader.begin();
    let mut numbers = BTreeSet::new();
    // The last row is known by the status, so that a long file is not waited for at its end.
    while log.status().await?.readers.first().is_some_and(|reader| reader.outstanding > 0) {
        let Ok(leased) = tokio::time::timeout(QUIET, reader.lease(512)).await else { break };
        for leased in leased? {
            let text = String::from_utf8_lossy(leased.message.body.stored()).trim().to_owned();
            numbers.extend(text.parse::<u64>().ok());
            reader.settle(leased.ticket, Fate::Delivered);
        }
    }
    let highest = numbers.last().copied().unwrap_or(0);
    let contiguous = (1..=highest).take_while(|n| numbers.contains(n)).count();
    let found = serde_json::json!({
        "rows": opening.messages,
        "highest_contiguous": contiguous,
        "missing": highest - numbers.len() as u64,
        "salvaged": opening.salvaged.map(|salvage| salvage.to_string()),
        "gaps": log.status().await?.gap_messages,
    });
    writeln!(std::io::stdout(), "{found}")?;
    Ok(())
}
