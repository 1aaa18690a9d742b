//! Twins and methods: questions with answers. Answers go out at QoS 0, as the hub sends them.

use std::borrow::Cow;

use bytes::Bytes;
use rumqttc::mqttbytes::v4::Publish;
use tidegate_core::{
    dialect::topic::Topic,
    twin::{Change, Object},
};
use tokio::sync::oneshot;

use super::{
    Session,
    end::{Cause, End},
};
use crate::{
    error::HubError,
    limits::{MAX_CALLS_PER_DEVICE, MAX_METHOD_BODY},
    live::MethodAnswer,
    packet,
};

impl Session {
    /// Takes a publish that is no message.
    pub(super) async fn answer(&mut self, publish: Publish) -> Result<(), End> {
        // A question that cannot be kept is not acknowledged; everything else is, whatever the answer says.
        match Topic::parse(&publish.topic) {
            Some(Topic::MethodResponse { status, request }) => self.method_answered(status, request, &publish.payload)?,
            Some(Topic::TwinGet { request }) => self.read_twin(request).await?,
            Some(Topic::ReportedPatch { request, version }) => self.report(request, version, &publish.payload).await?,
            _ => match self.bus_for(&publish.topic) {
                Some(bus) => return self.publish_on_site(&bus, publish).await,
                None => return Err(End::Cause(Cause::Topic(publish.topic.chars().take(120).collect()))),
            },
        }
        self.acknowledge_later(&publish);
        Ok(())
    }

    async fn read_twin(&mut self, request: &str) -> Result<(), End> {
        match self.hub.twin(&self.identity).await {
            Ok(twin) => self.respond(200, request, None, Bytes::from(twin.for_device().to_string())),
            Err(error) => self.respond(error.status(), request, None, Bytes::new()),
        }
        Ok(())
    }

    async fn report(&mut self, request: &str, if_reported: Option<u64>, payload: &[u8]) -> Result<(), End> {
        let Ok(patch) = serde_json::from_slice::<Object>(payload) else {
            self.respond(400, request, None, Bytes::new());
            return Ok(());
        };
        let change = Change { reported: Some(patch), if_reported, ..Change::default() };
        match self.hub.apply(&self.identity, change).await {
            Ok(twin) => self.respond(204, request, Some(twin.reported.version), Bytes::new()),
            // Not acknowledged, so that it is sent again.
            Err(HubError::Records(error)) => return Err(error.into()),
            Err(error) => self.respond(error.status(), request, None, Bytes::new()),
        }
        Ok(())
    }

    fn respond(&mut self, status: u16, request: &str, version: Option<u64>, body: Bytes) {
        if self.subscriptions.twin {
            packet::publish(&mut self.output, Topic::TwinResponse { status, request, version }.to_string(), body, 0);
        }
    }

    /// A change of the desired properties, for a device that listens; the others ask when they need to know.
    pub(super) fn push_desired(&mut self, version: u64, patch: Bytes) {
        if self.subscriptions.desired {
            packet::publish(&mut self.output, Topic::DesiredPatch { version }.to_string(), patch, 0);
        }
    }

    /// Sends a call. Dropping `answer` tells the caller that there will be none.
    pub(super) fn call(&mut self, request: String, name: &str, body: Bytes, answer: oneshot::Sender<MethodAnswer>) {
        // Callers whose time is up have gone.
        self.calls.retain(|_, answer| !answer.is_closed());
        if !self.subscriptions.methods || self.calls.len() >= MAX_CALLS_PER_DEVICE {
            return;
        }
        let topic = Topic::MethodRequest { method: Cow::Borrowed(name), request: &request }.to_string();
        packet::publish(&mut self.output, topic, body, 0);
        self.calls.insert(request, answer);
    }

    /// An answer that nobody waits for (too late, or to no call of ours) is dropped.
    fn method_answered(&mut self, status: i32, request: &str, body: &Bytes) -> Result<(), End> {
        if body.len() > MAX_METHOD_BODY {
            return Err(End::Cause(Cause::Message(format!("a method's answer of {} bytes: at most {MAX_METHOD_BODY}", body.len()))));
        }
        if let Some(answer) = self.calls.remove(request) {
            // Copied: the read buffer it lies in may be larger.
            answer.send(MethodAnswer { status, body: Bytes::copy_from_slice(body) }).ok();
        }
        Ok(())
    }
}
