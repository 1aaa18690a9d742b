//! Cloud to device: what waits in the queue is given out, at most [`C2D_WINDOW`] at once, and is complete with the device's PUBACK.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tidegate_core::{
    c2d::{C2d, Settled, Settlement},
    clock::Timestamp,
    dialect::{bag, topic::Topic},
};
use tokio::sync::oneshot;

use super::{Session, end::End};
use crate::{limits::C2D_WINDOW, live::Handed, packet, queue::Verdict};

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
        let packet = self.next_packet();
        self.window.insert(packet, message);
        packet
    }

    pub(super) fn next_packet(&mut self) -> u16 {
        loop {
            self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
            // There are far fewer in use than there are.
            let in_use = self.window.contains_key(&self.last_packet)
                || self.handed.contains_key(&self.last_packet)
                || self.site_window.contains(&self.last_packet);
            if !in_use {
                return self.last_packet;
            }
        }
    }

    /// Gives out a message that is not in the queue. When the session ends before the device has it, its answer is dropped.
    pub(super) fn hand_over(&mut self, topic: String, body: Bytes, answer: oneshot::Sender<Handed>) {
        // Those whose time was over before the device acknowledged them leave their ids.
        self.handed.retain(|_, answer| !answer.is_closed());
        match self.subscriptions.c2d {
            None => {}
            Some(0) => {
                packet::publish(&mut self.output, topic, body, 0);
                self.leaving.push(answer);
            }
            Some(_) => {
                let packet = self.next_packet();
                packet::publish(&mut self.output, topic, body, packet);
                self.handed.insert(packet, answer);
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
    topic_of(device, message.message_id.as_deref(), Some(message.expires), &message.properties)
}

/// The topic of a C2D message with its bag.
pub(crate) fn topic_of(device: &str, id: Option<&str>, expires: Option<Timestamp>, properties: &[(String, String)]) -> String {
    let to = format!("/devices/{device}/messages/devicebound");
    let expires = expires.map(|at| at.to_string());
    let id = id.map(|id| (bag::MESSAGE_ID, id));
    let own = [(bag::TO, Some(to.as_str())), (bag::EXPIRES, expires.as_deref())];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given = properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let bag = bag::encode_all(id.into_iter().chain(own).chain(given).map(|(name, value)| (name, Some(value))));
    Topic::CloudToDevice { device, bag: &bag }.to_string()
}
