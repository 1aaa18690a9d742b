//! Device to cloud: a PUBLISH becomes a message of the log.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use rumqttc::mqttbytes::{QoS, v4::Publish};
use tidegate_core::{
    adapter::Receipt,
    clock::{Stamp, TimeQuality, Timestamp},
    dialect::{bag, sas::CLOCK_SKEW, topic::Topic},
    id::{HubDeviceId, LeafId, MessageId},
    message::{Body, Class, Message, Origin, Properties, SystemProperties},
};

use super::{
    Session, Waiting,
    end::{Cause, End},
};

/// Messages from one read, and what is to be acknowledged for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) acks: Vec<u16>,
}

/// Creation times before this are of clocks that were not set.
const EARLIEST: Timestamp = Timestamp(1_577_836_800_000);
/// Characters shown of a topic that is refused.
const SHOWN: usize = 120;

impl Session {
    /// Puts a message into the batch; returns a publish that is something else.
    pub(super) fn message(&self, publish: Publish, batch: &mut Batch) -> Result<Option<Publish>, End> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(End::Cause(Cause::Qos2));
        }
        let module = self.identity.module.as_ref().map(HubDeviceId::as_str);
        match Topic::parse(&publish.topic) {
            Some(Topic::Event { device, module: of, bag }) if device == self.identity.device.as_str() && of == module => {
                let properties = self.properties(bag, publish.retain)?;
                batch.messages.push(self.envelope(properties, Body::Whole(publish.payload))?);
                if publish.qos == QoS::AtLeastOnce {
                    batch.acks.push(publish.pkid);
                }
                Ok(None)
            }
            Some(Topic::MethodResponse { .. } | Topic::TwinGet { .. } | Topic::ReportedPatch { .. }) => Ok(Some(publish)),
            None if self.bus_for(&publish.topic).is_some() => Ok(Some(publish)),
            // Another device's, the hub's own, or none that it may use.
            _ => Err(End::Cause(Cause::Topic(publish.topic.chars().take(SHOWN).collect()))),
        }
    }

    fn properties(&self, bag: &str, retain: bool) -> Result<(SystemProperties, Properties, Option<Timestamp>), End> {
        let (mut system, mut properties, mut created) = (SystemProperties::default(), Properties::default(), None);
        let (mut own, mut places) = (Vec::<(String, String)>::new(), HashMap::new());
        for (name, value) in bag::decode(bag) {
            let value = value.unwrap_or_default();
            match name.as_str() {
                bag::MESSAGE_ID => system.message_id = Some(value),
                bag::CORRELATION_ID => system.correlation_id = Some(value),
                bag::USER_ID => system.user_id = Some(value),
                bag::CONTENT_TYPE => system.content_type = Some(value.into()),
                bag::CONTENT_ENCODING => system.content_encoding = Some(value.into()),
                bag::SUBJECT => system.subject = Some(value),
                bag::CREATION_TIME => created = value.parse::<Timestamp>().ok(),
                // What is the hub's to say, and what is yet to be invented.
                name if name.starts_with("$.") => {}
                // Names that differ by case only are one; the last one counts, as within a bag.
                _ => match places.entry(name.to_ascii_lowercase()) {
                    Entry::Occupied(place) => own[*place.get()] = (name, value),
                    Entry::Vacant(place) => {
                        place.insert(own.len());
                        own.push((name, value));
                    }
                },
            }
        }
        for (name, value) in own {
            properties.insert(&name, &value).map_err(|error| End::Cause(Cause::Message(error.to_string())))?;
        }
        if retain {
            // The hub stores no retained messages and says that it was asked to. Err when the device has said so itself.
            properties.insert("mqtt-retain", "true").ok();
        }
        Ok((system, properties, created))
    }

    fn envelope(
        &self,
        (mut system, properties, created): (SystemProperties, Properties, Option<Timestamp>),
        body: Body,
    ) -> Result<Message, End> {
        let now = self.now();
        system.origin = Some(Arc::new(Origin {
            module: self.identity.module.as_ref().map(ToString::to_string),
            auth: self.who.auth.into(),
            generation: self.who.generation.clone(),
            model: self.who.model.clone(),
            enqueued: now.wall,
        }));
        let bad = |error: String| End::Cause(Cause::Message(error));
        let message = Message {
            id: MessageId::fresh(),
            leaf: LeafId::new(self.identity.device.as_str()).map_err(|error| bad(error.to_string()))?,
            class: Class::Telemetry,
            taken: taken(created, now),
            ttl: None,
            system,
            properties,
            body,
        };
        message.check().map_err(|error| bad(error.to_string()))?;
        Ok(message)
    }

    /// Hands the batch to the log. Waits while the log has no room for it.
    pub(super) async fn append(&mut self, batch: &mut Batch) -> Result<(), End> {
        let Batch { messages, acks } = std::mem::take(batch);
        if messages.is_empty() {
            return Ok(());
        }
        let tally = &self.hub.0.tally;
        tally.messages.fetch_add(messages.len() as u64, Relaxed);
        tally.bytes.fetch_add(messages.iter().map(|message| message.body.stored().len() as u64).sum(), Relaxed);
        if acks.is_empty() {
            return Ok(self.hub.0.outlet.append(messages, None).await?);
        }
        let (receipt, signed) = Receipt::new();
        self.hub.0.outlet.append(messages, Some(receipt)).await?;
        self.unacknowledged += acks.len();
        self.waiting.push_back(Waiting { acks, receipt: Some(signed) });
        Ok(())
    }

    /// Acknowledges what needs no disk, behind what does.
    pub(super) fn acknowledge_later(&mut self, publish: &Publish) {
        if publish.qos == QoS::AtLeastOnce {
            self.unacknowledged += 1;
            self.waiting.push_back(Waiting { acks: vec![publish.pkid], receipt: None });
        }
    }

    /// The device is gone without a word: its will is a message like any other.
    pub(super) async fn publish_will(&mut self) {
        let Some(will) = self.who.will.take() else { return };
        let Some(Topic::Event { bag, .. }) = Topic::parse(&will.topic) else {
            return self.publish_site_will(will).await;
        };
        let message = self.properties(bag, will.retain).and_then(|(system, mut properties, created)| {
            // Err when the device has said so itself.
            properties.insert("iothub-MessageType", "Will").ok();
            self.envelope((system, properties, created), Body::Whole(will.message))
        });
        let kept = match message {
            Ok(message) => self.hub.0.outlet.append(vec![message], None).await.map_err(|error| error.0),
            Err(_) => Err("it is no message".to_owned()),
        };
        if let Err(why) = kept {
            tracing::warn!(device = %self.identity, %why, "a will could not be kept");
        }
    }
}

/// The device's own time where it can be right, so that what waited below us keeps the time when it happened.
fn taken(created: Option<Timestamp>, now: Stamp) -> Stamp {
    match created {
        Some(created) if now.quality == TimeQuality::Synced && created >= EARLIEST && created <= now.wall.plus(CLOCK_SKEW) => {
            Stamp { wall: created, ..now }
        }
        _ => now,
    }
}
