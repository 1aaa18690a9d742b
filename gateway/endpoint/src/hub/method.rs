//! Direct methods: call and answer, nothing stored.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tidegate_core::dialect::identity::Identity;
use tokio::{sync::oneshot, time::Instant};

use super::Hub;
use crate::{
    error::HubError,
    limits::{MAX_CALLS, MAX_METHOD_BODY, MAX_METHOD_NAME},
    live::{MethodAnswer, Order},
};

/// The shortest and longest time for an answer.
const RESPONSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The longest time to wait for the device to come.
const CONNECT: Duration = Duration::from_secs(300);

/// A call.
#[derive(Debug, Clone)]
pub struct MethodCall {
    /// Its name: 1 to 100 characters.
    pub name: String,
    /// Any JSON, or empty.
    pub payload: Bytes,
    /// How long the device has: 5 to 300 s.
    pub response_timeout: Duration,
    /// How long to wait for a device that is not there: 0 to 300 s.
    pub connect_timeout: Duration,
}

impl MethodCall {
    /// With the hub's defaults: 30 s for the answer, none for a device that is not there.
    pub fn new(name: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { name: name.into(), payload: payload.into(), response_timeout: Duration::from_secs(30), connect_timeout: Duration::ZERO }
    }

    fn check(&self) -> Result<(), HubError> {
        let bad = |what: &str| Err(HubError::Bad(what.to_owned()));
        let fits = |b: u8| b.is_ascii_graphic() && !br#"$()<>@,;:\"/[]?={}"#.contains(&b);
        if self.name.is_empty() || self.name.len() > MAX_METHOD_NAME || !self.name.bytes().all(fits) {
            return bad("method name: 1 to 100 printable ASCII characters without $ ( ) < > @ , ; : \\ \" / [ ] ? = { } or space");
        }
        if self.payload.len() > MAX_METHOD_BODY {
            return Err(HubError::TooLarge { what: "method payload", size: self.payload.len(), most: MAX_METHOD_BODY });
        }
        if !self.payload.is_empty() && serde_json::from_slice::<serde::de::IgnoredAny>(&self.payload).is_err() {
            return bad("method payload is not JSON");
        }
        if !(RESPONSE.0..=RESPONSE.1).contains(&self.response_timeout) {
            return bad("responseTimeoutInSeconds is from 5 to 300");
        }
        if self.connect_timeout > CONNECT {
            return bad("connectTimeoutInSeconds is from 0 to 300");
        }
        Ok(())
    }
}

/// Counts a call while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Hub {
    /// Calls a method and waits for its answer. At most once: a device that answers too late, or whose session ends meanwhile, may have
    /// carried it out all the same.
    pub async fn call(&self, identity: &Identity, call: MethodCall) -> Result<MethodAnswer, HubError> {
        call.check()?;
        self.device(identity).await?;
        let waiting = Waiting(&self.0.calls);
        if waiting.0.fetch_add(1, Relaxed) >= MAX_CALLS {
            return Err(HubError::TooManyCalls);
        }
        let orders = self.reach(identity, Instant::now() + call.connect_timeout).await?;
        let request = format!("{:x}", self.0.requests.fetch_add(1, Relaxed) + 1);
        let (answer, answered) = oneshot::channel();
        let order = Order::Method { request, name: call.name, body: call.payload, answer };
        orders.try_send(order).map_err(|error| match error {
            tokio::sync::mpsc::error::TrySendError::Full(_) => HubError::TooManyCalls,
            tokio::sync::mpsc::error::TrySendError::Closed(_) => HubError::NotOnline(identity.to_string()),
        })?;
        match tokio::time::timeout(call.response_timeout, answered).await {
            Ok(Ok(answer)) => {
                self.0.tally.calls.fetch_add(1, Relaxed);
                Ok(answer)
            }
            // The session ended: what became of the call is not known, and the hub says that in the same words.
            Ok(Err(_)) | Err(_) => Err(HubError::NoAnswer(identity.to_string())),
        }
    }

    /// The session of a device that listens to methods, now or before the time is up.
    async fn reach(&self, identity: &Identity, until: Instant) -> Result<tokio::sync::mpsc::Sender<Order>, HubError> {
        loop {
            // Registered before the look, so that nothing is missed between the two.
            let listening = self.0.live.listening.notified();
            let found = self.0.live.with(identity, |entry| entry.methods.load(Relaxed).then(|| entry.orders.clone())).flatten();
            if let Some(orders) = found {
                return Ok(orders);
            }
            if tokio::time::timeout_at(until, listening).await.is_err() {
                return Err(HubError::NotOnline(identity.to_string()));
            }
        }
    }
}
