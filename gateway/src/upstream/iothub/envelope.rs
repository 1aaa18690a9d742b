//! A message as IoT Hub wants it: properties in the topic, body as payload; and what the hub's topics say to us.

use bytes::Bytes;
use tidegate_core::{
    clock::TimeQuality,
    dialect::{bag, identity::Identity, topic::Topic},
    message::{MAX_MESSAGE, Message, SystemProperties},
    upstream::{ArrivalKind, Reply},
    wire,
};

use crate::upstream::letter::{Letter, Speech};

/// The application property that names the leaf a message is from.
const LEAF: &str = "leaf";
/// The application property of messages whose time is not to be believed.
const TIME_QUALITY: &str = "time_quality";

/// Writes and reads for one identity.
#[derive(Debug, Clone)]
pub struct Envelope {
    device: String,
    module: Option<String>,
    /// Everything of a message's topic before its bag.
    prefix: String,
}

impl Envelope {
    /// For the identity that the session has.
    pub fn new(identity: &Identity) -> Self {
        let (device, module) = (identity.device.to_string(), identity.module.as_ref().map(ToString::to_string));
        let prefix = Topic::Event { device: &device, module: module.as_deref(), bag: "" }.to_string();
        Self { device, module, prefix }
    }

    /// System properties first, in the order of Microsoft's SDKs, then the application's, sorted by name.
    fn topic(&self, message: &Message) -> (String, usize) {
        let mut topic = String::with_capacity(self.prefix.len() + 192 + 2 * message.properties.size());
        topic.push_str(&self.prefix);
        let mut size = 0;
        let id = message.id.to_string();
        let created = message.taken.wall.to_string();
        let system = &message.system;
        let values = [
            (bag::MESSAGE_ID, Some(system.message_id.as_deref().unwrap_or(&id))),
            (bag::CORRELATION_ID, system.correlation_id.as_deref()),
            (bag::USER_ID, system.user_id.as_deref()),
            (bag::CONTENT_TYPE, system.content_type.as_deref()),
            (bag::CONTENT_ENCODING, system.content_encoding.as_deref()),
            (bag::CREATION_TIME, Some(&created)),
            (bag::SUBJECT, system.subject.as_deref()),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                bag::push(&mut topic, name, Some(value));
                size += value.len();
            }
        }
        for (name, value) in self.application(message) {
            bag::push(&mut topic, name, Some(value));
            size += name.len() + value.len();
        }
        (topic, size)
    }

    /// The message's own and ours. Who a message is from is ours to say: a leaf cannot speak for another one.
    fn application<'a>(&self, message: &'a Message) -> Vec<(&'a str, &'a str)> {
        let is_leaf = message.leaf.as_str() != self.device;
        let unsynced = message.taken.quality == TimeQuality::Unsynced;
        let is_ours = |name: &str| (is_leaf && name.eq_ignore_ascii_case(LEAF)) || name.eq_ignore_ascii_case(TIME_QUALITY);
        let mut all: Vec<_> = message.properties.iter().filter(|(name, _)| !is_ours(name)).collect();
        if is_leaf {
            all.push((LEAF, message.leaf.as_str()));
        }
        if unsynced {
            all.push((TIME_QUALITY, "unsynced"));
        }
        all.sort_unstable();
        all
    }
}

impl Speech for Envelope {
    fn letter(&self, message: &Message) -> Result<Letter, String> {
        let payload = wire::body(message);
        let (topic, properties) = self.topic(message);
        let size = payload.len() + properties;
        if size > MAX_MESSAGE {
            return Err(format!("message of {size} bytes: the hub takes at most {MAX_MESSAGE}"));
        }
        Ok(Letter { topic, payload, retain: false })
    }

    fn reply(&self, reply: &Reply) -> Option<Letter> {
        let (topic, payload) = match reply {
            Reply::Method { request, status, body } => {
                (Topic::MethodResponse { status: i32::from(*status), request }.to_string(), body.clone())
            }
            Reply::TwinGet { request } => (Topic::TwinGet { request }.to_string(), Bytes::new()),
            Reply::Reported { request, patch } => (Topic::ReportedPatch { request, version: None }.to_string(), patch.clone()),
        };
        Some(Letter { topic, payload, retain: false })
    }

    fn arrival(&self, topic: &str, payload: &Bytes, _retained: bool) -> Option<ArrivalKind> {
        let body = payload.clone();
        match Topic::parse(topic)? {
            Topic::CloudToDevice { device, bag } if device == self.device => Some(command(bag::decode(bag), None, body)),
            Topic::ModuleInput { device, module, input, bag } if device == self.device && Some(module) == self.module.as_deref() => {
                Some(command(bag::decode(bag), Some(input), body))
            }
            Topic::MethodRequest { method, request } => {
                Some(ArrivalKind::Method { name: method.into_owned(), request: request.to_owned(), body })
            }
            Topic::TwinResponse { .. } | Topic::DesiredPatch { .. } => Some(ArrivalKind::Twin { topic: topic.to_owned(), body }),
            _ => None,
        }
    }
}

/// A message for a module's input carries the input's name as property `input`.
fn command(pairs: Vec<bag::Pair>, input: Option<&str>, body: Bytes) -> ArrivalKind {
    let mut system = SystemProperties::default();
    let mut expires = None;
    let mut properties: Vec<(String, String)> = input.map(|input| ("input".to_owned(), input.to_owned())).into_iter().collect();
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        match name.as_str() {
            bag::MESSAGE_ID => system.message_id = Some(value),
            bag::CORRELATION_ID => system.correlation_id = Some(value),
            bag::USER_ID => system.user_id = Some(value),
            bag::CONTENT_TYPE => system.content_type = Some(value.into()),
            bag::CONTENT_ENCODING => system.content_encoding = Some(value.into()),
            bag::SUBJECT => system.subject = Some(value),
            bag::EXPIRES => expires = Some(value),
            // The hub's own affairs: where it was sent to, which feedback its sender wants, and what is yet to be invented.
            bag::ACK => {}
            name if name.starts_with("$.") => {}
            _ => properties.push((name, value)),
        }
    }
    ArrivalKind::CloudToDevice { system, expires, properties, body }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::{
        clock::{Clock, HandClock, Timestamp},
        id::{LeafId, MessageId},
        message::{Body, Class, Properties},
    };

    use super::*;

    fn envelope() -> Envelope {
        Envelope::new(&Identity::from_client_id("gw-01").expect("valid"))
    }

    fn message(leaf: &str) -> Message {
        let mut properties = Properties::default();
        properties.insert("site", "hall 3").expect("valid");
        properties.insert("alarm", "a/b").expect("valid");
        Message {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse::<MessageId>().expect("valid"),
            leaf: LeafId::new(leaf).expect("valid"),
            class: Class::Telemetry,
            taken: HandClock::at(Timestamp(1_767_225_600_000)).now(),
            ttl: None,
            system: SystemProperties::json(),
            properties,
            body: Body::Untimed(Bytes::from_static(br#"{"t":21.5}"#)),
        }
    }

    const SYSTEM: &str =
        "%24.mid=01890a5d-ac96-774b-bcce-b302099a8057&%24.ct=application%2Fjson&%24.ce=utf-8&%24.ctime=2026-01-01T00%3A00%3A00.000Z";

    #[test]
    fn a_message_of_a_leaf_names_it() {
        let letter = envelope().letter(&message("boiler")).expect("fits");
        assert_eq!(letter.topic, format!("devices/gw-01/messages/events/{SYSTEM}&alarm=a%2Fb&leaf=boiler&site=hall%203"));
        assert_eq!(letter.payload, r#"{"ts":"2026-01-01T00:00:00.000Z","t":21.5}"#);
        assert!(!letter.retain);
    }

    #[test]
    fn a_message_of_the_gateway_itself_does_not_and_a_doubtful_time_shows() {
        let mut own = message("gw-01");
        own.properties = Properties::default();
        own.taken.quality = TimeQuality::Unsynced;
        let topic = envelope().letter(&own).expect("fits").topic;
        assert_eq!(topic, format!("devices/gw-01/messages/events/{SYSTEM}&time_quality=unsynced"));
    }

    #[test]
    fn a_leaf_cannot_speak_for_another_one() {
        let mut forged = message("boiler");
        forged.properties = Properties::default();
        forged.properties.insert("Leaf", "pump").expect("valid");
        forged.properties.insert("time_quality", "best").expect("valid");
        let topic = envelope().letter(&forged).expect("fits").topic;
        assert_eq!(topic, format!("devices/gw-01/messages/events/{SYSTEM}&leaf=boiler"));
    }

    #[test]
    fn ids_that_the_leaf_chose_are_kept_and_modules_have_their_own_topic() {
        let mut chosen = message("gw");
        chosen.properties = Properties::default();
        chosen.system = SystemProperties {
            message_id: Some("m:1".to_owned()),
            correlation_id: Some("c".to_owned()),
            user_id: Some("u".to_owned()),
            ..Default::default()
        };
        let module = Envelope::new(&Identity::from_client_id("gw/m").expect("valid"));
        assert_eq!(
            module.letter(&chosen).expect("fits").topic,
            "devices/gw/modules/m/messages/events/%24.mid=m%3A1&%24.cid=c&%24.uid=u&%24.ctime=2026-01-01T00%3A00%3A00.000Z"
        );
    }

    #[test]
    fn what_the_hub_would_refuse_for_its_size_is_refused_here() {
        let mut large = message("boiler");
        large.body = Body::Whole(Bytes::from(vec![b'x'; MAX_MESSAGE - 100]));
        assert!(envelope().letter(&large).expect_err("too large").contains("262143"));
    }

    #[test]
    fn a_command_is_read_with_all_its_properties() {
        let bag = "%24.mid=m1&%24.to=%2Fdevices%2Fgw-01%2Fmessages%2Fdevicebound&%24.exp=2026-01-01T00%3A00%3A00Z&iothub-ack=full&leaf=boiler&null";
        let topic = format!("devices/gw-01/messages/devicebound/{bag}");
        let arrival = envelope().arrival(&topic, &Bytes::from_static(b"{}"), false).expect("for us");
        assert_eq!(
            arrival,
            ArrivalKind::CloudToDevice {
                system: SystemProperties { message_id: Some("m1".to_owned()), ..Default::default() },
                expires: Some("2026-01-01T00:00:00Z".to_owned()),
                properties: vec![("leaf".to_owned(), "boiler".to_owned())],
                body: Bytes::from_static(b"{}"),
            }
        );
        assert_eq!(envelope().arrival("devices/other/messages/devicebound/", &Bytes::new(), false), None);
    }

    #[test]
    fn calls_and_twins_are_told_apart() {
        let arrival = |topic: &str| envelope().arrival(topic, &Bytes::new(), false);
        assert!(matches!(arrival("$iothub/methods/POST/re%20boot/?$rid=1f"),
            Some(ArrivalKind::Method { name, request, .. }) if name == "re boot" && request == "1f"));
        for topic in ["$iothub/twin/res/204/?$rid=8&$version=6", "$iothub/twin/PATCH/properties/desired/?$version=12"] {
            assert!(matches!(arrival(topic), Some(ArrivalKind::Twin { topic: told, .. }) if told == topic));
        }
        assert_eq!(arrival("$iothub/twin/GET/?$rid=1"), None);
    }

    #[test]
    fn answers_and_questions_go_to_the_topics_of_the_dialect() {
        let letter = |reply: Reply| envelope().reply(&reply).map(|letter| (letter.topic, letter.payload)).expect("the hub has it");
        let body = Bytes::from_static(b"{}");
        assert_eq!(
            letter(Reply::Method { request: "1f".into(), status: 200, body: body.clone() }),
            ("$iothub/methods/res/200/?$rid=1f".to_owned(), body.clone())
        );
        assert_eq!(letter(Reply::TwinGet { request: "7".into() }), ("$iothub/twin/GET/?$rid=7".to_owned(), Bytes::new()));
        assert_eq!(
            letter(Reply::Reported { request: "8".into(), patch: body.clone() }),
            ("$iothub/twin/PATCH/properties/reported/?$rid=8".to_owned(), body)
        );
    }

    proptest! {
        #[test]
        fn no_topic_of_the_hub_can_hurt(topic in r"(devices/gw-01/messages/devicebound/|\$iothub/)?.{0,80}") {
            envelope().arrival(&topic, &Bytes::new(), false);
        }
    }
}
