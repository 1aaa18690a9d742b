//! The service side of a hub, on a broker that knows nothing of hubs: sends C2D messages, calls methods, keeps the twin, and remembers
//! every outcome. It speaks the dialect's topics; the broker queues for a gateway that is away, as a hub does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::{Map, Value as Json, json};
use tidegate_core::{
    dialect::{bag, topic::Topic},
    twin,
};

use super::{Broker, SOON, until};

/// An outcome as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// The correlation id.
    pub(crate) id: String,
    /// This message's own id: the same when it comes twice.
    pub(crate) message: String,
    /// The body.
    pub(crate) body: Json,
}

#[derive(Debug, Default)]
struct Seen {
    outcomes: Vec<Told>,
    telemetry: usize,
    answers: BTreeMap<String, (u16, Json)>,
    desired: Map<String, Json>,
    version: u64,
    reported: Map<String, Json>,
    patches: usize,
    gets: usize,
}

/// The hub's service side for the device `gw-01`.
pub(crate) struct Hub {
    client: Client,
    seen: Arc<Mutex<Seen>>,
    calls: u64,
}

const DEVICE: &str = "gw-01";

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Hub {
    /// At work when this returns.
    pub(crate) fn start(broker: &Broker) -> Self {
        let (host, port) = broker.address.split_once(':').expect("host:port");
        let mut options = MqttOptions::new("service", host, port.parse().expect("a port"));
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(30)).set_max_packet_size(1 << 20, 1 << 20);
        options.set_inflight(1000);
        let (client, mut connection) = Client::new(options, 20_000);
        let filters = [
            format!("devices/{DEVICE}/messages/events/#"),
            "$iothub/methods/res/#".to_owned(),
            "$iothub/twin/GET/#".to_owned(),
            "$iothub/twin/PATCH/properties/reported/#".to_owned(),
        ];
        let seen = Arc::new(Mutex::new(Seen { version: 1, ..Seen::default() }));
        let (shared, back) = (seen.clone(), client.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let wanted = filters.len();
        for filter in filters {
            client.subscribe(filter, QoS::AtLeastOnce).expect("a request");
        }
        thread::spawn(move || {
            let mut granted = 0;
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::Publish(publish))) => take(&shared, &back, &publish.topic, &publish.payload),
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        granted += 1;
                        if granted == wanted {
                            ready.send(()).ok();
                        }
                    }
                    Ok(_) => {}
                    // The broker is away, or the test is over.
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        is_ready.recv_timeout(SOON).expect("the broker grants the subscriptions");
        Self { client, seen, calls: 0 }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a C2D message.
    pub(crate) fn send(&self, id: &str, leaf: &str, body: &Json) {
        self.send_with(&[("$.mid", id), ("leaf", leaf)], body.to_string().as_bytes());
    }

    /// With these properties, as they are.
    pub(crate) fn send_with(&self, properties: &[(&str, &str)], body: &[u8]) {
        let bag = bag::encode_all(properties.iter().map(|(name, value)| (*name, Some(*value))));
        let topic = Topic::CloudToDevice { device: DEVICE, bag: &bag }.to_string();
        self.client.publish(topic, QoS::AtLeastOnce, false, body).expect("a request");
    }

    /// To any topic, for brokers that are no hub.
    pub(crate) fn publish(&self, topic: &str, body: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, false, body).expect("a request");
    }

    /// Calls a method and returns the answer with how long it took.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, payload: &Json) -> (u16, Json, Duration) {
        self.calls += 1;
        let request = format!("{:x}", self.calls);
        let topic = Topic::MethodRequest { method: method.into(), request: &request }.to_string();
        let start = Instant::now();
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.to_string()).expect("a request");
        let (status, body) = until(&format!("an answer to {method}"), SOON * 2, || self.seen().answers.remove(&request));
        (status, body, start.elapsed())
    }

    /// Changes the desired properties, and tells the device.
    pub(crate) fn desire(&self, patch: &Json) -> u64 {
        let mut seen = self.seen();
        let version = self.change(&mut seen, patch);
        let mut patch = patch.clone();
        patch["$version"] = json!(version);
        let topic = Topic::DesiredPatch { version }.to_string();
        drop(seen);
        self.client.publish(topic, QoS::AtMostOnce, false, patch.to_string()).expect("a request");
        version
    }

    /// Changes them without a word, as for a device that is away.
    pub(crate) fn desire_silently(&self, patch: &Json) -> u64 {
        let mut seen = self.seen();
        self.change(&mut seen, patch)
    }

    fn change(&self, seen: &mut Seen, patch: &Json) -> u64 {
        twin::merge(&mut seen.desired, patch.as_object().expect("an object"));
        seen.version += 1;
        seen.version
    }

    /// What the device reports.
    pub(crate) fn reported(&self) -> Json {
        Json::Object(self.seen().reported.clone())
    }

    /// How often it reported, and how often it asked.
    pub(crate) fn twin_counts(&self) -> (usize, usize) {
        let seen = self.seen();
        (seen.patches, seen.gets)
    }

    /// Waits until a version of the desired properties is reported to be in this state; returns what is said of it.
    #[track_caller]
    pub(crate) fn until_desired(&self, version: u64, state: &str) -> Json {
        until(&format!("version {version} is {state}; last: {}", self.reported()), SOON * 2, || {
            let desired = self.seen().reported.get("tidegate")?.get("desired")?.clone();
            (desired["version"] == version && desired["state"] == state).then_some(desired)
        })
    }

    /// Telemetry messages that have arrived.
    pub(crate) fn telemetry(&self) -> usize {
        self.seen().telemetry
    }

    /// All outcomes so far, each message once.
    pub(crate) fn outcomes(&self) -> Vec<Told> {
        let mut messages = std::collections::BTreeSet::new();
        self.seen().outcomes.iter().filter(|told| messages.insert(told.message.clone())).cloned().collect()
    }

    /// The outcome of a command, once it is there.
    #[track_caller]
    pub(crate) fn outcome(&self, id: &str) -> Json {
        until(&format!("the outcome of {id}"), SOON * 2, || self.outcomes().into_iter().find(|told| told.id == id)).body
    }
}

fn take(seen: &Arc<Mutex<Seen>>, client: &Client, topic: &str, payload: &[u8]) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let body = || serde_json::from_slice::<Json>(payload).unwrap_or(Json::Null);
    match Topic::parse(topic) {
        Some(Topic::Event { bag: pairs, .. }) => {
            let pairs = bag::decode(pairs);
            let find = |name: &str| pairs.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.clone());
            if find("tidegate-kind").as_deref() == Some("outcome") {
                let (id, message) = (find(bag::CORRELATION_ID).unwrap_or_default(), find(bag::MESSAGE_ID).unwrap_or_default());
                seen.outcomes.push(Told { id, message, body: body() });
            } else {
                seen.telemetry += 1;
            }
        }
        Some(Topic::MethodResponse { status, request }) => {
            let status = u16::try_from(status).expect("a status as in HTTP");
            seen.answers.insert(request.to_owned(), (status, body()));
        }
        Some(Topic::TwinGet { request }) => {
            seen.gets += 1;
            let with = |section: &Map<String, Json>, version: u64| {
                let mut section = section.clone();
                section.insert("$version".to_owned(), json!(version));
                section
            };
            let twin = json!({ "desired": with(&seen.desired, seen.version), "reported": with(&seen.reported, 1) });
            let answer = Topic::TwinResponse { status: 200, request, version: None }.to_string();
            client.try_publish(answer, QoS::AtMostOnce, false, twin.to_string()).expect("room");
        }
        Some(Topic::ReportedPatch { request, .. }) => {
            seen.patches += 1;
            let patch = body();
            twin::check(patch.as_object().expect("an object")).unwrap_or_else(|error| panic!("the hub would refuse {patch}: {error}"));
            twin::merge(&mut seen.reported, patch.as_object().expect("an object"));
            let answer = Topic::TwinResponse { status: 204, request, version: Some(2) }.to_string();
            client.try_publish(answer, QoS::AtMostOnce, false, "").expect("room");
        }
        _ => {}
    }
}
