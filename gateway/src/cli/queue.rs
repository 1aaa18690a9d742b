//! `tidegate queue`: what waits in the log, for whom, and what was given up. Reads the log beside the gateway, or without one.

use std::{path::Path, time::Duration};

use serde_json::Value as Json;

use super::{complain, output::table, say};
use crate::{exit::Exit, view};

/// How long the rate is measured.
const SAMPLE: Duration = Duration::from_secs(1);
/// Gaps shown; the latest ones.
const GAPS: usize = 20;

pub(super) fn queue(dir: &Path, as_json: bool) -> Exit {
    let look = || tidegate_store::inspect(dir, GAPS);
    let first = match look() {
        Ok(first) => first,
        Err(error) => {
            complain(&format!("cannot read the log in {}: {error}", dir.display()));
            return Exit::Unavailable;
        }
    };
    if as_json {
        let mut all = view::log_status(&first.status);
        all["gaps"] = Json::Array(first.gaps.iter().map(view::gap).collect());
        say(&all.to_string());
        return Exit::Fine;
    }
    std::thread::sleep(SAMPLE);
    let second = look().unwrap_or_else(|_| first.clone());
    lines(&first, &second).iter().for_each(|line| say(line));
    Exit::Fine
}

fn lines(first: &tidegate_store::Inspection, now: &tidegate_store::Inspection) -> Vec<String> {
    let status = &now.status;
    let per_second = |a: u64, b: u64| (b.saturating_sub(a)) as f64 / SAMPLE.as_secs_f64();
    let oldest = status.oldest.map_or_else(|| "none".to_owned(), |(seq, at)| format!("{seq} from {at}"));
    let mut out = vec![
        format!("kept      {} messages, {} bytes of {}", status.depth, status.bytes, status.max_size),
        format!("oldest    {oldest}"),
        format!("rate in   {:.0} a second", per_second(first.status.next_seq, status.next_seq)),
    ];
    let classes = status.classes.iter().map(|c| format!("{} {}", c.class.word(), c.depth)).collect::<Vec<_>>().join(", ");
    out.push(format!("classes   {classes}"));
    let mut rows = vec![vec!["reader".to_owned(), "waiting".into(), "oldest".into(), "rate out".into(), "settled".into()]];
    for reader in &status.readers {
        let before = first.status.readers.iter().find(|r| r.name == reader.name).map_or(reader.settled, |r| r.settled);
        rows.push(vec![
            reader.name.to_string(),
            reader.outstanding.to_string(),
            reader.oldest.map_or_else(|| "-".to_owned(), |(_, at)| at.to_string()),
            format!("{:.0}/s", per_second(before, reader.settled)),
            reader.settled.to_string(),
        ]);
    }
    out.extend(table(&rows));
    if !now.gaps.is_empty() {
        out.push(format!("given up: {} messages in {} gaps", status.gap_messages, status.gaps));
        let row = |gap: &tidegate_store::Gap| {
            let g = view::gap(gap);
            let text = |key: &str| g[key].as_str().map_or_else(|| g[key].to_string(), str::to_owned);
            ["reader", "leaf", "class", "reason", "count", "first", "last"].map(text).to_vec()
        };
        out.extend(table(&now.gaps.iter().map(row).collect::<Vec<_>>()));
    }
    out
}
