//! What the write guard must know at the last moment: the points that interlocks look at, read for this very write.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_core::{
    clock::Stamp,
    command::Outcome,
    guard::Seen,
    id::{LeafId, PointName},
    reading::{Quality, Value},
    scale::show,
};

use super::{Router, route::Route};
use crate::request::Request;

/// A request with what its guard needs to judge it.
pub(super) struct Guarded {
    pub(super) route: Route,
    pub(super) request: Request,
    /// What interlocks look at.
    pub(super) seen: BTreeMap<(LeafId, PointName), Seen>,
}

impl Guarded {
    fn wanted(&self) -> Option<&[(PointName, Json)]> {
        match &self.request {
            // Points that nobody has declared have no guard.
            Request::Write(_) if self.route.taker.takes_any_point() => None,
            Request::Write(wanted) => Some(wanted),
            Request::Read(_) | Request::Raw(_) | Request::Message { .. } => None,
        }
    }

    /// Whether it may be made now; the reason in words when not.
    pub(super) fn check(&self, now: Stamp) -> Result<(), String> {
        let Some(wanted) = self.wanted() else { return Ok(()) };
        let latest = |leaf: &LeafId, point: &PointName| self.seen.get(&(leaf.clone(), point.clone())).cloned();
        self.route.guard().check(&self.route.profile.id, wanted, now, &latest).map(drop).map_err(|refusal| refusal.to_string())
    }

    /// The raw values, for a write that is made now and counts as made. `None` for what is no write.
    pub(super) fn admit(&self, now: Stamp) -> Result<Option<Vec<(PointName, Value)>>, String> {
        let Some(wanted) = self.wanted() else { return Ok(None) };
        let latest = |leaf: &LeafId, point: &PointName| self.seen.get(&(leaf.clone(), point.clone())).cloned();
        let admitted = self.route.guard().admit(&self.route.profile.id, wanted, now, &latest);
        admitted.map(Some).map_err(|refusal| refusal.to_string())
    }
}

impl Router {
    /// Reads what the interlocks of these points look at. What cannot be read is not there, and then the guard permits nothing.
    pub(super) async fn look_at_interlocks(&self, leaf: &LeafId, request: &Request, route: &Route) -> BTreeMap<(LeafId, PointName), Seen> {
        let mut seen = BTreeMap::new();
        let Request::Write(wanted) = request else { return seen };
        let looked_at = route.guard().interlocks(leaf, wanted.iter().map(|(name, _)| name));
        let mut by_leaf: BTreeMap<LeafId, Vec<PointName>> = BTreeMap::new();
        for (leaf, point) in looked_at {
            by_leaf.entry(leaf).or_default().push(point);
        }
        for (leaf, names) in by_leaf {
            let Some(route) = self.0.routes.find(&leaf).filter(|route| route.taker.away(&leaf).is_none()) else { continue };
            let Some(Outcome::Done(values)) = self.read_now(&leaf, names, &route).await else { continue };
            let taken = self.0.parts.clock.now();
            for (name, value) in values {
                let Some(point) = route.profile.points.iter().find(|point| point.name == name) else { continue };
                let shown = show(Some(value), Quality::Good, point);
                seen.insert((leaf.clone(), name), Seen { shown, taken });
            }
        }
        seen
    }
}
