//! What the hub sends down, on its way to the leaves.
//!
//! Until commands can be carried out, nothing that arrives is acknowledged: its receipt is dropped unsigned, so the hub
//! keeps it and sends it again, and a health entry says so. Nothing is claimed that did not happen.

use std::sync::Arc;

use tidegate_core::{
    clock::Clock,
    health::{Condition, Health},
    id::Name,
    upstream::{Arrival, ArrivalKind},
};
use tracing::{debug, warn};

/// Takes the arrivals of one upstream.
#[derive(Debug)]
pub struct Downlink {
    name: Name,
    health: Health,
    clock: Arc<dyn Clock>,
}

impl Downlink {
    /// For the upstream of this name.
    pub fn new(name: Name, health: Health, clock: Arc<dyn Clock>) -> Self {
        Self { name, health, clock }
    }

    /// Reports the arrival and leaves it unacknowledged.
    pub async fn take(&self, arrival: Arrival) {
        let Arrival { kind, receipt } = arrival;
        // Unsigned: the hub sends it again.
        drop(receipt);
        let what = match &kind {
            ArrivalKind::CloudToDevice { system, body, .. } => {
                format!("message {} of {} bytes", system.message_id.as_deref().unwrap_or("without id"), body.len())
            }
            ArrivalKind::Method { name, .. } => format!("method {name}"),
            ArrivalKind::Twin { topic, .. } => {
                debug!(upstream = %self.name, %topic, "twin not used");
                return;
            }
        };
        warn!(upstream = %self.name, %what, "arrived and cannot be carried out: not acknowledged");
        self.health.raise(Condition::CommandNotHandled, self.name.as_str(), what, self.clock.now().wall);
    }
}
