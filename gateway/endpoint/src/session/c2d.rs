//! Cloud to device: what waits in the queue is given out, at most [`C2D_WINDOW`] at once, and is complete with the device's PUBACK.

use std::sync::atomic::Ordering::Relaxed;

use tidegate_core::{
    c2d::{C2d, Settled, Settlement},
    dialect::{bag, topic::Topic},
};

use super::{Session, end::End};
use crate::{limits::C2D_WINDOW, packet, queue::Verdict};

impl Session {
    /// Gives out what waits, if the device listens and has room.
    pub(super) async fn deliver(&mut self) -> Result<(), End> {
        let Some(qos) = self.subscriptions.c2d.filter(|_| self.stirred) else { return Ok(()) };
        let room = C2D_WINDOW.saturating_sub(self.window.len());
        if room == 0 {
            // A PUBACK makes room, and then it comes here again.
            return Ok(());
        }
        let given = self.queue.deliver(self.now(), room).await?;
        self.stirred = given.len() == room;
        let mut sent = Vec::new();
        for message in given {
            let packet = if qos == 0 { 0 } else { self.free_packet(message.id) };
            let topic = topic(self.identity.device.as_str(), &message);
            packet::publish(&mut self.output, topic, message.body, packet);
            if qos == 0 {
                sent.push(message.id);
            }
        }
        if !sent.is_empty() {
            // At QoS 0 there is nothing to wait for but the bytes having left.
            self.flush().await?;
            self.settle(sent).await?;
        }
        Ok(())
    }

    /// A packet id that is not in use, for this message.
    fn free_packet(&mut self, message: i64) -> u16 {
        loop {
            self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
            // The window is far smaller than the ids.
            if let std::collections::hash_map::Entry::Vacant(free) = self.window.entry(self.last_packet) {
                free.insert(message);
                return self.last_packet;
            }
        }
    }

    /// The device has these.
    pub(super) async fn settle(&mut self, ids: Vec<i64>) -> Result<(), End> {
        if ids.is_empty() {
            return Ok(());
        }
        let verdicts = self.queue.settle(&ids, Settlement::Complete, self.now()).await?;
        let completed = verdicts.iter().filter(|verdict| **verdict == Verdict::Settled(Settled::Completed)).count();
        self.hub.0.tally.c2d_delivered.fetch_add(completed as u64, Relaxed);
        // One whose lock had run out is free again and is given out once more.
        self.stirred |= verdicts.contains(&Verdict::LockLost);
        Ok(())
    }
}

fn topic(device: &str, message: &C2d) -> String {
    let to = format!("/devices/{device}/messages/devicebound");
    let expires = message.expires.to_string();
    let id = message.message_id.as_deref().map(|id| (bag::MESSAGE_ID, id));
    let own = [(bag::TO, to.as_str()), (bag::EXPIRES, expires.as_str())];
    let given = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let bag = bag::encode_all(id.into_iter().chain(own).chain(given).map(|(name, value)| (name, Some(value))));
    Topic::CloudToDevice { device, bag: &bag }.to_string()
}
