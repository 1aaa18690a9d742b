//! Commands that a restart interrupted: begun, and nobody knows what happened.
//!
//! Nothing is guessed. What may be done twice is done again. Else the points are read: a leaf that shows what was wanted has it, and
//! that is `done`. A leaf that shows something else may have had it and changed since, so that is `uncertain`, with what it shows.

use std::time::Duration;

use tidegate_core::{
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    reading::Value,
};
use tidegate_store::{StoreError, inbox::Entry};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{After, Router, delivery::note, route::Route, translate};
use crate::{leaf::Order, outcome::Told, request::Request};

/// Where a taker has no room.
const AGAIN: Duration = Duration::from_millis(250);
/// For reading back; buses have their own, shorter limits.
const PATIENCE: Duration = Duration::from_secs(30);

impl Router {
    pub(super) async fn settle(
        &self,
        entry: &Entry,
        request: &Request,
        route: &Route,
        stop: &CancellationToken,
    ) -> Result<After, StoreError> {
        let may_repeat = !request.changes_something() || translate::is_repeatable(route, request);
        if may_repeat && entry.deliveries < self.0.parts.options.most_deliveries {
            let why = "begun before a restart, and may be done twice".to_owned();
            self.0.inbox.abandon(entry.seq, note(entry, request, "again", why)).await?;
            return Ok(After::Later(Duration::ZERO));
        }
        let leaf = &entry.command.leaf;
        let wanted = match translate::action(route, request) {
            Ok(Action::Write(wanted)) => wanted,
            _ => return self.end(entry, &uncertain("begun before a restart, and it cannot be read back")).await,
        };
        let names = wanted.iter().map(|(name, _)| name.clone()).collect();
        let seen = tokio::select! {
            seen = self.read_now(leaf, names, route) => seen,
            () = stop.cancelled() => return Ok(After::Later(AGAIN)),
        };
        let told = match seen {
            None => return Ok(After::Later(AGAIN)),
            Some(Outcome::Done(seen)) if shows(&seen, &wanted) => translate::told(&route.profile, &Outcome::Done(seen)),
            Some(outcome @ Outcome::Done(_)) => Told {
                word: "uncertain",
                reason: "begun before a restart; the leaf now shows other values, and whether it ever had these nobody knows".to_owned(),
                ..translate::told(&route.profile, &outcome)
            },
            Some(outcome) => {
                let reason = Told::plain(&outcome).reason;
                uncertain(&format!("begun before a restart, and it could not be read back: {reason}"))
            }
        };
        self.end(entry, &told).await
    }

    /// Reads points outside any queue. `None` when the order found no room or nobody carried it out.
    pub(super) async fn read_now(&self, leaf: &LeafId, names: Vec<PointName>, route: &Route) -> Option<Outcome> {
        let (outcome, ends) = oneshot::channel();
        let command = Command { id: String::new(), leaf: leaf.clone(), action: Action::Read(names) };
        route.taker.offer(Order { begin: Box::pin(async move { Some(command) }), outcome }).ok()?;
        tokio::time::timeout(PATIENCE, ends).await.ok()?.ok()
    }
}

fn uncertain(reason: &str) -> Told {
    Told::plain(&Outcome::Uncertain(reason.to_owned()))
}

/// Whether each wanted value was seen.
fn shows(seen: &[(PointName, Value)], wanted: &[(PointName, Value)]) -> bool {
    wanted.iter().all(|(name, value)| seen.iter().any(|(other, shown)| other == name && same(shown, value)))
}

/// Equal as numbers, whatever their types.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
