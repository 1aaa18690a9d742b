//! C2D messages from the service's side: send, purge, feedback.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tidegate_core::{
    c2d::{Ack, Enqueued, Feedback, LOCK, MAX_BODY, MAX_TTL, NewC2d},
    clock::Timestamp,
    dialect::{bag, identity::Identity},
    id::MessageId,
    message::is_id_property,
};

use tokio::sync::oneshot;

use super::Hub;
use crate::{
    error::HubError,
    live::{Handed, Order},
    session::c2d::topic_of,
};

/// Records of feedback at once: IoT Hub's batch.
const FEEDBACK: usize = 64;
/// The largest sum of names and values, so that the bag fits its topic even where each byte takes three.
const MAX_PROPERTIES: usize = 16 * 1024;

/// Until when a message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// As the hub's rules say.
    #[default]
    Default,
    /// For this long.
    After(Duration),
    /// Until then.
    At(Timestamp),
}

/// A message that is in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// As given, or as made.
    pub message_id: String,
    /// Until when it waits.
    pub expires: Timestamp,
}

impl Hub {
    /// Puts a message into a device's queue and wakes the device. One without a message id gets one.
    pub async fn send(&self, identity: &Identity, mut new: NewC2d, expiry: Expiry) -> Result<Sent, HubError> {
        if identity.module.is_some() {
            return Err(HubError::Bad("modules take no C2D messages: call a method or change the twin".to_owned()));
        }
        check(&new)?;
        let message_id = new.message_id.get_or_insert_with(|| MessageId::fresh().to_string()).clone();
        if new.ack != Ack::None {
            // Where the device can see it, as the hub does.
            new.properties.push((bag::ACK.to_owned(), new.ack.word().to_owned()));
        }
        let now = self.now();
        let expires = match expiry {
            Expiry::Default => now.plus(self.0.rules.default_ttl),
            Expiry::After(ttl) => now.plus(ttl),
            Expiry::At(at) => at,
        };
        if expires <= now || expires.since(now) > MAX_TTL {
            return Err(HubError::Expiry);
        }
        match self.0.records.enqueue_c2d(identity, new, expires, now).await? {
            Enqueued::Accepted(_) => {}
            Enqueued::Full => return Err(HubError::QueueFull(identity.to_string())),
            Enqueued::Missing => return Err(HubError::NotFound(identity.to_string())),
        }
        self.0.live.with(identity, |entry| entry.bell.notify_one());
        Ok(Sent { message_id, expires })
    }

    /// Hands a message that the caller keeps to a device that is here, past its queue, and waits for its acknowledgement. At least once:
    /// after [`HubError::NoAnswer`] the device may have it.
    pub async fn hand(&self, identity: &Identity, new: NewC2d) -> Result<Handed, HubError> {
        check(&new)?;
        let away = || HubError::NotOnline(identity.to_string());
        let orders = self.0.live.with(identity, |entry| entry.messages.load(Relaxed).then(|| entry.orders.clone()));
        let orders = orders.flatten().ok_or_else(away)?;
        let topic = topic_of(identity.device.as_str(), new.message_id.as_deref(), None, &new.properties);
        let (answer, answered) = oneshot::channel();
        orders.try_send(Order::Message { topic, body: new.body, answer }).map_err(|_| away())?;
        match tokio::time::timeout(LOCK, answered).await {
            Ok(Ok(handed)) => {
                self.0.tally.c2d_delivered.fetch_add(1, Relaxed);
                Ok(handed)
            }
            Ok(Err(_)) | Err(_) => Err(HubError::NoAnswer(identity.to_string())),
        }
    }

    /// Whether a device is here and listens to its messages.
    pub fn listens(&self, identity: &Identity) -> bool {
        self.0.live.with(identity, |entry| entry.messages.load(Relaxed)).unwrap_or(false)
    }

    /// Takes away what waits for a device. Returns how many messages it was.
    pub async fn purge(&self, identity: &Identity) -> Result<u64, HubError> {
        self.0.records.purge_c2d(identity, self.now()).await?.ok_or_else(|| HubError::NotFound(identity.to_string()))
    }

    /// How many messages wait for a device.
    pub async fn waiting(&self, identity: &Identity) -> Result<u64, HubError> {
        Ok(self.0.records.c2d_depth(identity).await?)
    }

    /// Feedback that nobody has taken yet, oldest first, at most 64 records. It comes again until it is taken.
    pub async fn feedback(&self) -> Result<Vec<Feedback>, HubError> {
        Ok(self.0.records.feedback(FEEDBACK).await?)
    }

    /// Feedback up to this record has been read and is not wanted again.
    pub async fn take_feedback(&self, up_to: i64) -> Result<u64, HubError> {
        Ok(self.0.records.take_feedback(up_to).await?)
    }
}

fn check(new: &NewC2d) -> Result<(), HubError> {
    if new.body.len() > MAX_BODY {
        return Err(HubError::TooLarge { what: "C2D message", size: new.body.len(), most: MAX_BODY });
    }
    let size: usize = new.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_PROPERTIES {
        return Err(HubError::TooLarge { what: "C2D properties", size, most: MAX_PROPERTIES });
    }
    if new.message_id.as_ref().is_some_and(|id| !is_id_property(id)) {
        return Err(HubError::Bad("message id: 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '".to_owned()));
    }
    // What the hub itself says about a message is not the sender's to say.
    let ours = [bag::MESSAGE_ID, bag::TO, bag::EXPIRES, bag::ACK];
    if let Some((name, _)) = new.properties.iter().find(|(name, _)| name.is_empty() || ours.contains(&name.as_str())) {
        return Err(HubError::Bad(format!("property '{name}' is set by the hub: use the message's own fields")));
    }
    Ok(())
}
