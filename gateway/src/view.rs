//! How the log's figures look as JSON, for `tidegate queue --json` and `tidegate status --json`.

use serde_json::{Value as Json, json};
use tidegate_core::clock::Timestamp;
use tidegate_store::{Counters, Gap, Status};

/// What is kept, for whom.
pub(crate) fn log_status(status: &Status) -> Json {
    let oldest = |oldest: Option<(u64, Timestamp)>| oldest.map(|(seq, at)| json!({ "seq": seq, "at": at.to_string() }));
    let classes = status.classes.iter().map(|c| (c.class.word().to_owned(), json!({ "depth": c.depth, "bytes": c.bytes })));
    let reader = |r: &tidegate_store::ReaderStatus| json!({ "name": r.name.as_str(), "outstanding": r.outstanding, "oldest": oldest(r.oldest), "settled": r.settled });
    json!({
        "depth": status.depth,
        "bytes": status.bytes,
        "max_size": (status.max_size > 0).then_some(status.max_size),
        "next_seq": status.next_seq,
        "file_bytes": status.file_bytes,
        "oldest": oldest(status.oldest),
        "classes": classes.collect::<serde_json::Map<_, _>>(),
        "readers": status.readers.iter().map(reader).collect::<Vec<_>>(),
        "given_up": { "gaps": status.gaps, "messages": status.gap_messages },
    })
}

/// A row of the gap ledger.
pub(crate) fn gap(gap: &Gap) -> Json {
    json!({
        "reader": gap.reader,
        "leaf": gap.leaf.as_str(),
        "class": gap.class.word(),
        "reason": gap.reason.word(),
        "count": gap.count,
        "first": gap.first.to_string(),
        "last": gap.last.to_string(),
        "first_seq": gap.first_seq,
        "last_seq": gap.last_seq,
        "told": gap.told,
    })
}

/// Counted since the process started.
pub(crate) fn counters(counters: &Counters) -> Json {
    json!({
        "appended": counters.appended,
        "appended_bytes": counters.appended_bytes,
        "commits": counters.commits,
        "settled": counters.settled,
        "given_up": counters.given_up,
        "evicted": counters.evicted,
        "refused": counters.refused,
        "leased": counters.leased,
        "leased_again": counters.leased_again,
    })
}
