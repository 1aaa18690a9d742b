//! Twins from the service's side, and the one path by which any of them changes.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use serde_json::Value as Json;
use tidegate_core::{
    dialect::identity::Identity,
    twin::{Change, Changed, Twin},
};

use super::Hub;
use crate::{
    error::HubError,
    event::{Event, EventKind},
    live::Order,
};

impl Hub {
    /// A device's twin.
    pub async fn twin(&self, identity: &Identity) -> Result<Twin, HubError> {
        self.0.records.twin(identity).await?.ok_or_else(|| HubError::NotFound(identity.to_string()))
    }

    /// Changes tags and desired properties, all of it or nothing, and pushes what changed of the desired ones to the device. The
    /// device's own section is not the service's to change.
    pub async fn change_twin(&self, identity: &Identity, change: Change) -> Result<Twin, HubError> {
        if change.reported.is_some() {
            return Err(HubError::Bad("reported properties belong to the device".to_owned()));
        }
        self.apply(identity, change).await
    }

    /// A change by either side. Pushes happen in the order of the versions.
    pub(crate) async fn apply(&self, identity: &Identity, change: Change) -> Result<Twin, HubError> {
        let (replaces, in_words) = (change.replace, words(&change));
        let order = change.desired.is_some().then(|| &self.0.desired[share(identity, self.0.desired.len())]);
        let _turn = match order {
            Some(order) => Some(order.lock().await),
            None => None,
        };
        let (twin, desired) = match self.0.records.change_twin(identity, change, self.now()).await? {
            Changed::Done { twin, desired } => (*twin, desired),
            Changed::Missing => return Err(HubError::NotFound(identity.to_string())),
            Changed::Stale => return Err(HubError::Changed(format!("the twin of {identity}"))),
            Changed::Refused(why) => return Err(HubError::Twin(why)),
        };
        if let Some(mut patch) = desired {
            patch.insert("$version".to_owned(), twin.desired.version.into());
            let order = Order::Desired { version: twin.desired.version, patch: Bytes::from(Json::Object(patch).to_string()) };
            // A session that is so far behind that it has no room ends, and the device asks for its twin when it comes back.
            self.0.live.with(identity, |entry| {
                if entry.orders.try_send(order).is_err() {
                    entry.fall_behind();
                }
            });
        }
        let kind = if replaces { EventKind::ReplaceTwin } else { EventKind::UpdateTwin };
        self.tell(Event::about(kind, identity, in_words));
        Ok(twin)
    }
}

fn share(identity: &Identity, of: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    (hasher.finish() % of as u64) as usize
}

fn words(change: &Change) -> String {
    let parts = [("tags", &change.tags), ("desired", &change.desired), ("reported", &change.reported)];
    parts.iter().filter(|(_, part)| part.is_some()).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
