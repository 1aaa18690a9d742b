//! What the gateway says about itself in the twin's reported properties. States, not figures: it changes when something changes, and
//! not with every reading.

use serde_json::{Map, Value as Json, json};

use tidegate_core::id::LeafId;

use super::settings::key;
use crate::{board::Board, router::Router};

/// Leaves that are listed one by one; of more only those that are away, so that the document stays below the hub's 32 KiB.
const LISTED: usize = 200;

/// What is told of the desired properties that were last looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Verdict {
    /// Their version.
    pub(super) version: u64,
    /// `applied`, `trial`, `refused` or `rolled-back`.
    pub(super) state: &'static str,
    /// Why, for the last two.
    pub(super) error: Option<String>,
}

/// The whole of it, under one key of our own.
pub(super) fn report(gateway: &str, board: &Board, router: &Router, verdict: &Verdict) -> Map<String, Json> {
    let mut adapters = Map::new();
    for (name, row) in board.adapters() {
        let open = row.connected.load(std::sync::atomic::Ordering::Relaxed);
        adapters.insert(name.to_string(), json!({ "state": if open { "open" } else { "down" } }));
    }
    let routes = router.routes().all();
    let all = routes.len() <= LISTED;
    let (mut leaves, mut away) = (Map::new(), 0);
    for route in &routes {
        let is_away = route.taker.away(&route.profile.id).is_some();
        away += usize::from(is_away);
        if all || (is_away && leaves.len() < LISTED) {
            let state = if is_away { "away" } else { "there" };
            leaves.insert(key(route.profile.id.as_str()), json!({ "adapter": route.group, "state": state }));
        }
    }
    let mut own = json!({
        "id": gateway,
        "version": env!("CARGO_PKG_VERSION"),
        "adapters": adapters,
        "leaves": leaves,
        "leaves_away": away,
        "leaves_total": routes.len(),
    });
    tell(&mut own, verdict);
    Map::from_iter([("tidegate".to_owned(), own)])
}

/// What is said in the twin of a leaf with an identity of its own.
pub(super) fn report_of_leaf(gateway: &str, leaf: &LeafId, router: &Router, verdict: &Verdict) -> Map<String, Json> {
    let route = router.routes().find(leaf);
    let state = match &route {
        None => "unknown",
        Some(route) if route.taker.away(leaf).is_some() => "away",
        Some(_) => "there",
    };
    let mut own = json!({ "gateway": gateway, "version": env!("CARGO_PKG_VERSION"), "state": state });
    if let Some(route) = route {
        own["adapter"] = json!(route.group);
    }
    tell(&mut own, verdict);
    Map::from_iter([("tidegate".to_owned(), own)])
}

fn tell(own: &mut Json, verdict: &Verdict) {
    if verdict.version > 0 {
        own["desired"] = json!({ "version": verdict.version, "state": verdict.state });
        // A twin has no null: absent is what says that there is no error.
        if let Some(error) = &verdict.error {
            own["desired"]["error"] = json!(error);
        }
    }
}
