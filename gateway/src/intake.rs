//! The last step before the log: what an adapter read becomes messages, and they go into the slot that was kept for them.
//!
//! Promise: room is taken *before* the adapter reads, so nothing read is ever thrown away; a full log slows the bus
//! down. A receipt is signed by the log once the messages are durable. A message that no hub would take is not kept:
//! it is counted and raised, never dropped in silence.

use std::sync::Arc;

use tidegate_core::{
    adapter::{Harvest, Miss},
    clock::Clock,
    health::{Condition, Health},
    id::Name,
    message::Message,
};
use tidegate_store::{Log, Slot, StoreError, Urgency};
use tracing::error;

use crate::{
    board::{AdapterRow, count},
    closeup::Closeups,
    normalise::Normaliser,
    site::Mirror,
};

/// Brings one adapter's harvests into the log. Outlives the adapter's connections, so that it remembers what was last sent.
#[derive(Debug)]
pub struct Intake {
    name: Name,
    normaliser: Normaliser,
    log: Log,
    row: Arc<AdapterRow>,
    health: Health,
    clock: Arc<dyn Clock>,
    mirror: Option<Mirror>,
    closeups: Closeups,
}

impl Intake {
    /// For the adapter of this name.
    pub fn new(name: Name, normaliser: Normaliser, log: Log, row: Arc<AdapterRow>, health: Health, clock: Arc<dyn Clock>) -> Self {
        Self { name, normaliser, log, row, health, clock, mirror: None, closeups: Closeups::default() }
    }

    /// Shows each message on the site bus as well.
    #[must_use]
    pub fn mirrored(self, mirror: Option<Mirror>) -> Self {
        Self { mirror, ..self }
    }

    /// Tells what came of devices that somebody looks at.
    #[must_use]
    pub fn looked_at(self, closeups: Closeups) -> Self {
        Self { closeups, ..self }
    }

    /// Waits for room for one harvest.
    pub async fn room(&self) -> Result<Slot, StoreError> {
        self.log.reserve().await
    }

    /// Makes messages of the harvest and hands them to the log.
    pub fn fill(&mut self, slot: Slot, harvest: Harvest) {
        count(&self.row.readings, harvest.readings.len());
        count(&self.row.misses, harvest.misses.len());
        self.closeups.tell(&harvest);
        let mut messages = self.normaliser.take(harvest.readings, &harvest.misses);
        messages.extend(harvest.messages);
        // Somebody who waits for a receipt waits for the commit.
        let urgency = if harvest.receipt.is_some() { Urgency::Now } else { Urgency::Lazy };
        self.hand_over(slot, messages, urgency, harvest.receipt);
    }

    /// The bus is down: every leaf on it is.
    pub fn fill_misses(&mut self, slot: Slot, misses: Vec<Miss>) {
        self.fill(slot, Harvest { misses, ..Harvest::default() });
    }

    /// When a value that waits for its `min_interval` is due, in milliseconds since boot.
    pub fn next_due(&self) -> Option<u64> {
        self.normaliser.next_due()
    }

    /// Sends the values whose wait is over.
    pub fn fill_waiting(&mut self, slot: Slot) {
        let messages = self.normaliser.take_waiting(self.clock.now().since_boot_ms);
        self.hand_over(slot, messages, Urgency::Lazy, None);
    }

    fn hand_over(&self, slot: Slot, mut messages: Vec<Message>, urgency: Urgency, receipt: Option<tidegate_core::adapter::Receipt>) {
        messages.retain(|message| self.fits(message));
        count(&self.row.messages, messages.len());
        if let Some(mirror) = &self.mirror {
            messages.iter().for_each(|message| mirror.show(message));
        }
        if !messages.is_empty() || receipt.is_some() {
            slot.append(messages, urgency, receipt);
        }
    }

    fn fits(&self, message: &Message) -> bool {
        let Err(why) = message.check() else { return true };
        count(&self.row.rejected, 1);
        if self.health.raise(Condition::MessageRejected, message.leaf.as_str(), why.to_string(), self.clock.now().wall) {
            error!(adapter = %self.name, leaf = %message.leaf, %why, "message can never be sent, given up");
        }
        false
    }
}
