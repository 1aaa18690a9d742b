//! What a device listens to. Anything but its own filters ends the session, as the hub does it; one of the site that it may not have is refused.

use std::sync::atomic::Ordering::Relaxed;

use rumqttc::mqttbytes::{
    QoS,
    v4::{Subscribe, Unsubscribe},
};
use tidegate_core::{dialect::topic::Filter, id::HubDeviceId};

use super::{
    Session,
    end::{Cause, End},
};
use crate::{limits::MAX_FILTERS, packet};

/// What it listens to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Its C2D messages, at this QoS.
    pub(super) c2d: Option<u8>,
    pub(super) methods: bool,
    pub(super) twin: bool,
    pub(super) desired: bool,
}

impl Session {
    pub(super) async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        if subscribe.filters.len() > MAX_FILTERS {
            return Err(End::Cause(Cause::Filters));
        }
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        for filter in &subscribe.filters {
            // QoS 2 is granted as QoS 1.
            let qos = filter.qos.min_one();
            let may = self.set(&filter.path, Some(qos as u8)).await?;
            granted.push(may.then_some(qos));
        }
        packet::suback(&mut self.output, subscribe.pkid, granted);
        Ok(())
    }

    /// A filter that was never there is no fault: bridges take theirs back before they set them.
    pub(super) async fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Result<(), End> {
        for filter in &unsubscribe.topics {
            match self.set(filter, None).await {
                Ok(_) | Err(End::Cause(Cause::Filter(_))) => {}
                Err(end) => return Err(end),
            }
        }
        packet::unsuback(&mut self.output, unsubscribe.pkid);
        Ok(())
    }

    /// `false`: it may not listen to that part of the site.
    async fn set(&mut self, filter: &str, qos: Option<u8>) -> Result<bool, End> {
        let (device, module) = (self.identity.device.as_str(), self.identity.module.as_ref().map(HubDeviceId::as_str));
        match Filter::parse(filter) {
            Some(Filter::CloudToDevice { device: of }) if of == device && module.is_none() => {
                if self.subscriptions.c2d != qos && !self.who.clean {
                    self.hub.0.records.subscribe_session(&self.identity, qos).await?;
                }
                self.subscriptions.c2d = qos;
                self.place.messages.store(qos.is_some(), Relaxed);
                self.stirred = qos.is_some();
            }
            // Inputs are the business of routes between modules, which we have none of; listening to them is allowed.
            Some(Filter::ModuleInputs { device: of, module: m }) if of == device && Some(m) == module => {}
            Some(Filter::Methods) => {
                self.subscriptions.methods = qos.is_some();
                self.place.methods.store(qos.is_some(), Relaxed);
                if qos.is_some() {
                    self.hub.0.live.listening.notify_waiters();
                }
            }
            Some(Filter::TwinResponses) => self.subscriptions.twin = qos.is_some(),
            Some(Filter::DesiredPatches) => self.subscriptions.desired = qos.is_some(),
            _ => match self.bus_for(filter) {
                Some(bus) => return Ok(self.listen_on_site(&bus, filter, qos)),
                None => return Err(End::Cause(Cause::Filter(filter.chars().take(120).collect()))),
            },
        }
        Ok(true)
    }
}

trait MinOne {
    fn min_one(self) -> QoS;
}

impl MinOne for QoS {
    fn min_one(self) -> QoS {
        if self == QoS::AtMostOnce { self } else { QoS::AtLeastOnce }
    }
}
