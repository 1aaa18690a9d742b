//! The site bus, as a session uses it.

use std::sync::Arc;

use rumqttc::mqttbytes::{
    QoS,
    v4::{LastWill, Publish},
};
use tokio::sync::Notify;

use super::{
    Session,
    d2c::Batch,
    end::{Cause, End},
};
use crate::{
    event::EventKind,
    limits::READ,
    packet,
    site::{Delivery, SITE_WINDOW, Seat, SiteBus},
};

/// Whether a topic or filter is the hub's dialect or another broker's own, and never the site's.
fn is_reserved(text: &str) -> bool {
    text.starts_with('$') || text.starts_with("devices/")
}

impl Session {
    /// The bus, if this device may use it for something like this.
    pub(super) fn bus_for(&self, text: &str) -> Option<Arc<SiteBus>> {
        let bus = self.hub.site().filter(|bus| !is_reserved(text) && bus.has_rights(&self.identity))?;
        Some(bus.clone())
    }

    /// A publish that is none of the dialect. What a rule takes, and what is retained at QoS 1, is on disk before it is acknowledged.
    pub(super) async fn publish_on_site(&mut self, bus: &SiteBus, publish: Publish) -> Result<(), End> {
        if !bus.may_publish(&self.identity, &publish.topic) {
            return Err(End::Cause(Cause::Topic(publish.topic.chars().take(120).collect())));
        }
        let (topic, payload, qos) = (&publish.topic, &publish.payload, u8::from(publish.qos != QoS::AtMostOnce));
        if publish.retain {
            bus.retain(topic, payload, qos).map_err(|error| End::Cause(Cause::Message(error.to_string())))?;
            if qos > 0 || payload.is_empty() {
                self.hub.0.records.keep_retained(topic, Some(payload.clone()).filter(|payload| !payload.is_empty())).await?;
            }
        }
        let messages = bus.messages(&self.identity, topic, payload, self.now()).unwrap_or_else(|why| {
            let topic: String = topic.chars().take(120).collect();
            self.tell(EventKind::SiteMessageRefused, format!("what it published to '{topic}' is no message of a leaf: {why}"));
            Vec::new()
        });
        if messages.is_empty() {
            self.acknowledge_later(&publish);
        } else {
            let acks = if qos > 0 { vec![publish.pkid] } else { Vec::new() };
            self.append(&mut Batch { messages, acks }).await?;
        }
        bus.publish(&publish.topic, &publish.payload, qos, None);
        Ok(())
    }

    /// The will of a device that is gone, on the site.
    pub(super) async fn publish_site_will(&mut self, will: LastWill) {
        let Some(bus) = self.bus_for(&will.topic) else { return };
        let qos = if will.qos == QoS::AtMostOnce { 0 } else { 1 };
        let mut publish = Publish::from_bytes(will.topic, QoS::AtMostOnce, will.message);
        publish.retain = will.retain;
        if will.retain && qos > 0 {
            let payload = Some(publish.payload.clone()).filter(|payload| !payload.is_empty());
            if let Err(error) = self.hub.0.records.keep_retained(&publish.topic, payload).await {
                tracing::warn!(device = %self.identity, %error, "a retained will could not be kept");
            }
        }
        if let Err(end) = self.publish_on_site(&bus, publish).await {
            tracing::warn!(device = %self.identity, why = ?end, "a will could not be published");
        }
    }

    /// Listens on the site, or no more. `false`: it may not.
    pub(super) fn listen_on_site(&mut self, bus: &Arc<SiteBus>, filter: &str, qos: Option<u8>) -> bool {
        match qos {
            Some(qos) if bus.may_subscribe(&self.identity, filter) => {
                self.site.get_or_insert_with(|| Box::new(bus.join(&self.identity))).subscribe(filter, qos)
            }
            Some(_) => false,
            None => {
                if let Some(seat) = &mut self.site {
                    seat.unsubscribe(filter);
                }
                true
            }
        }
    }

    /// Writes what it listens to, as far as its window and a buffer reach. Whether there may be more for the buffer.
    pub(super) fn deliver_site(&mut self) -> bool {
        while self.site_window.len() < SITE_WINDOW {
            if self.output.len() >= READ.1 {
                return true;
            }
            let Some(delivery) = self.site.as_mut().and_then(|seat| seat.next()) else { return false };
            let packet = if delivery.qos == 0 { 0 } else { self.next_packet() };
            if packet != 0 {
                self.site_window.insert(packet);
            }
            packet::publish_retained(&mut self.output, delivery.topic.to_string(), delivery.payload, packet, delivery.retained);
        }
        false
    }
}

/// The next message for a listener. Cancelling it loses none.
pub(super) async fn hear(site: &mut Option<Box<Seat>>) -> Option<Delivery> {
    match site {
        Some(seat) => seat.waiting.recv().await,
        None => std::future::pending().await,
    }
}

/// Until a listener is too far behind.
pub(super) async fn falls_behind(behind: Option<Arc<Notify>>) {
    match behind {
        Some(behind) => behind.notified().await,
        None => std::future::pending().await,
    }
}
