//! The configuration of an MQTT broker as upstream: what the file may say, and what the program runs on.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::QoS;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_core::{
    dialect::identity::is_host,
    problem::Problems,
    quantity::{ByteSize, Span},
};

use super::template::{Template, is_topic};
use crate::upstream::{checks, letter::Letter};

/// What MQTT can say in its 16 bits of seconds is more; this is as long as anybody waits for a dead broker to show.
const MOST_KEEP_ALIVE: Span = Span(Duration::from_secs(3600));
/// Pinging more often is no use: a broker that does not answer is noticed by its missing acknowledgements.
const LEAST_KEEP_ALIVE: Span = Span::from_millis(5_000);
/// The smallest packet in which a message fits at all.
const LEAST_PACKET: ByteSize = ByteSize(1024);
/// What the log takes in one message, with a generous topic, many times over.
const MOST_PACKET: ByteSize = ByteSize(16 << 20);

/// An upstream that is any MQTT 3.1.1 broker.
#[derive(Debug, Deserialize, JsonSchema)]
struct Raw {
    /// Host and port of the broker: `broker.example:1883`. Without a port 1883, with TLS 8883.
    address: String,
    /// The name by which the broker knows this gateway. No other client of the broker may have it.
    client_id: String,
    /// The topic that messages go to. Places: `{leaf}`, `{class}`, `{id}`, `{ts}`.
    #[serde(default = "topic")]
    topic: String,
    /// What is sent. Places: `{body}`, `{properties}` (a JSON object), `{id}`, `{leaf}`, `{class}`, `{ts}`.
    #[serde(default = "payload")]
    payload: String,
    /// 1: each message is sent until the broker has acknowledged it. 0: a message counts as delivered once it is written to the
    /// connection, so messages can be lost when the connection breaks.
    #[serde(default = "qos")]
    #[schemars(range(min = 0, max = 1))]
    qos: u8,
    /// Whether the broker keeps the last message of each topic for those who come later.
    #[serde(default)]
    retain: bool,
    /// User name.
    username: Option<String>,
    /// File with the password.
    password_file: Option<String>,
    /// Whether to use TLS.
    #[serde(default)]
    tls: bool,
    /// Certificates of the authorities to believe (PEM), instead of the system's.
    ca_file: Option<String>,
    /// File with the client certificate and its chain (PEM).
    client_cert_file: Option<String>,
    /// File with the certificate's private key (PEM, without a password).
    client_key_file: Option<String>,
    /// After this long without traffic a ping is sent.
    #[serde(default = "keep_alive")]
    keep_alive: Span,
    /// How many messages may wait for the broker's acknowledgement.
    #[serde(default = "in_flight")]
    #[schemars(range(min = 1, max = 1024))]
    in_flight: u32,
    /// Where to say that the gateway is gone (retained): the broker says it when the connection is lost, the gateway when it ends.
    will_topic: Option<String>,
    /// What to say there; `offline` if it is not set.
    will_payload: Option<String>,
    /// Where to say that the gateway is there (retained), usually the same topic.
    birth_topic: Option<String>,
    /// What to say there; `online` if it is not set.
    birth_payload: Option<String>,
    /// The topic on which commands for leaves arrive.
    command_topic: Option<String>,
    /// Where outcomes of commands go, instead of `topic` with the others; as JSON, never retained. Places as in `topic`.
    reply_topic: Option<String>,
    /// The largest packet that the broker takes; larger messages are given up and counted.
    #[serde(default = "max_packet")]
    max_packet: ByteSize,
}

fn topic() -> String {
    "tidegate/{leaf}".to_owned()
}

fn payload() -> String {
    "{body}".to_owned()
}

fn qos() -> u8 {
    1
}

fn keep_alive() -> Span {
    Span(Duration::from_secs(60))
}

fn in_flight() -> u32 {
    128
}

/// The largest message and the largest topic.
fn max_packet() -> ByteSize {
    ByteSize(320 << 10)
}

/// A checked configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) client_id: String,
    pub(super) topic: Template,
    pub(super) payload: Template,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) tls: bool,
    pub(super) ca_file: Option<String>,
    pub(super) certificate: Option<(String, String)>,
    pub(super) keep_alive: Duration,
    pub(super) in_flight: usize,
    pub(super) will: Option<Letter>,
    pub(super) birth: Option<Letter>,
    pub(super) command_topic: Option<String>,
    pub(super) reply_topic: Option<Template>,
    pub(super) max_packet: usize,
}

/// The schema of the section's keys.
pub(super) fn schema() -> Json {
    schema_for!(Raw).into()
}

/// Checks a section; see [`tidegate_core::catalogue::UpstreamKind::check`].
pub(super) fn check(section: &Json, problems: &mut Problems) -> Option<Config> {
    let before = problems.list().len();
    let raw: Raw = checks::raw(section, problems)?;
    let address = check_address(&raw, problems);
    if !checks::is_plain(&raw.client_id) {
        problems.key("client_id").error("is not a client id", "write a name that no other client of this broker has");
    }
    let topic = Template::topic(&raw.topic).map_err(|(what, next)| problems.key("topic").error(what, next)).ok();
    let reply_topic = raw.reply_topic.as_deref().map(Template::topic);
    if let Some(Err((what, next))) = &reply_topic {
        problems.key("reply_topic").error(what.clone(), next.clone());
    }
    if raw.qos > 1 {
        problems.key("qos").error(format!("{} is not 0 or 1", raw.qos), "write 1: what arrives twice is recognised by its id");
    }
    let certificate = check_credentials(&raw, problems);
    let (most, least) = (MOST_PACKET, LEAST_PACKET);
    if raw.max_packet < least || raw.max_packet > most {
        problems.key("max_packet").error(format!("{} is not between {least} and {most}", raw.max_packet), "write the broker's limit");
    }
    checks::between("keep_alive", raw.keep_alive, LEAST_KEEP_ALIVE, MOST_KEEP_ALIVE, "60s is usual", problems);
    let in_flight = checks::in_flight(raw.in_flight, problems);
    let will = announcement("will", raw.will_topic.as_deref(), raw.will_payload.as_deref(), "offline", problems);
    let birth = announcement("birth", raw.birth_topic.as_deref(), raw.birth_payload.as_deref(), "online", problems);
    check_topic("command_topic", raw.command_topic.as_deref(), problems);
    if checks::any_error_since(before, problems) {
        return None;
    }
    let (host, port) = address?;
    Some(Config {
        host,
        port,
        client_id: raw.client_id,
        topic: topic?,
        payload: Template::payload(&raw.payload),
        qos: if raw.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
        retain: raw.retain,
        username: raw.username,
        password_file: raw.password_file,
        tls: raw.tls,
        ca_file: raw.ca_file,
        certificate,
        keep_alive: raw.keep_alive.0,
        in_flight,
        will,
        birth,
        command_topic: raw.command_topic,
        reply_topic: reply_topic.and_then(Result::ok),
        max_packet: usize::try_from(raw.max_packet.0).ok()?,
    })
}

fn check_address(raw: &Raw, problems: &mut Problems) -> Option<(String, u16)> {
    let usual = if raw.tls { 8883 } else { 1883 };
    let (host, port) = match raw.address.rsplit_once(':') {
        Some((host, port)) if !raw.address.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)),
        _ => (raw.address.as_str(), Some(usual)),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if !is_host(host) || (host.contains(':') && !bracketed) || port.is_none() {
        problems.key("address").error("is not a host and a port", format!("write it as broker.example:{usual}, without mqtt://"));
        return None;
    }
    if bracketed && raw.tls {
        problems.key("address").error("an IPv6 address is in no certificate", "write the broker's name");
        return None;
    }
    Some((host.to_owned(), port?))
}

fn check_credentials(raw: &Raw, problems: &mut Problems) -> Option<(String, String)> {
    if raw.username.as_deref().is_some_and(|name| !checks::is_plain(name)) {
        problems.key("username").error("is not a user name", "write it as the broker knows it, or remove it");
    }
    checks::file("password_file", raw.password_file.as_deref(), problems);
    if raw.password_file.is_some() && raw.username.is_none() {
        problems.key("password_file").error("needs username", "set username; MQTT has no password without one");
    }
    if raw.password_file.is_some() && !raw.tls && check_is_remote(&raw.address) {
        problems.key("password_file").warning("crosses the network in the clear", "set tls = true if the broker can");
    }
    checks::file("ca_file", raw.ca_file.as_deref(), problems);
    let certificate = checks::pair(raw.client_cert_file.as_deref(), raw.client_key_file.as_deref(), problems);
    for (key, given) in [("ca_file", raw.ca_file.is_some()), ("client_cert_file", certificate.is_some())] {
        if given && !raw.tls {
            problems.key(key).error("needs TLS", "set tls = true, or remove it");
        }
    }
    certificate
}

fn check_is_remote(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    !loopback && !host.eq_ignore_ascii_case("localhost")
}

fn announcement(which: &str, topic: Option<&str>, payload: Option<&str>, usual: &str, problems: &mut Problems) -> Option<Letter> {
    let key = format!("{which}_topic");
    check_topic(&key, topic, problems);
    if topic.is_none() && payload.is_some() {
        problems.key(&format!("{which}_payload")).error(format!("needs {key}"), format!("set {key}, or remove it"));
    }
    // MQTT 3.1.1 §3.1.3.3: the will's length has 16 bits.
    if payload.is_some_and(|payload| payload.len() > usize::from(u16::MAX)) {
        problems.key(&format!("{which}_payload")).error("is longer than 65535 bytes", "shorten it");
    }
    let payload = Bytes::copy_from_slice(payload.unwrap_or(usual).as_bytes());
    Some(Letter { topic: topic?.to_owned(), payload, retain: true })
}

fn check_topic(key: &str, topic: Option<&str>, problems: &mut Problems) {
    if let Some(Err(why)) = topic.map(is_topic) {
        problems.key(key).error(why, "write one topic, such as site-a/gateway");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(section: Json) -> Result<Config, Vec<String>> {
        let mut problems = Problems::default();
        match check(&section, &mut problems) {
            Some(config) => {
                assert!(!problems.any_error(), "{section}");
                Ok(config)
            }
            None => {
                assert!(problems.any_error(), "{section}");
                Err(problems.list().iter().map(ToString::to_string).collect())
            }
        }
    }

    #[test]
    fn two_keys_are_enough() {
        let config = checked(json!({ "address": "broker.example", "client_id": "gw-01" })).expect("enough");
        assert_eq!((config.host.as_str(), config.port, config.in_flight, config.qos), ("broker.example", 1883, 128, QoS::AtLeastOnce));
        let tls = checked(json!({ "address": "b", "client_id": "gw-01", "tls": true })).expect("enough");
        assert_eq!(tls.port, 8883);
        let v6 = checked(json!({ "address": "[::1]:18", "client_id": "gw-01" })).expect("enough");
        assert_eq!((v6.host.as_str(), v6.port), ("[::1]", 18));
    }

    #[test]
    fn an_announcement_has_its_usual_words() {
        let config =
            checked(json!({ "address": "b", "client_id": "c", "will_topic": "gw", "birth_topic": "gw", "birth_payload": "hello" }));
        let config = config.expect("valid");
        let letter = |payload: &'static str| Some(Letter { topic: "gw".to_owned(), payload: Bytes::from(payload), retain: true });
        assert_eq!((config.will, config.birth), (letter("offline"), letter("hello")));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let problems = checked(json!({
            "address": "mqtt://broker", "client_id": "", "topic": "a/{device}", "qos": 2, "password_file": "p", "ca_file": "c",
            "client_key_file": "k", "keep_alive": "2h", "in_flight": 5000, "will_payload": "x", "birth_topic": "a/#",
            "command_topic": "cmd/+", "max_packet": "1B",
        }))
        .expect_err("many mistakes");
        for start in [
            "address: is not a host and a port",
            "client_id: ",
            "topic: {device} is not known",
            "qos: 2",
            "password_file: needs username",
            "ca_file: needs TLS",
            "client_key_file needs client_cert_file",
            "keep_alive: 2h",
            "in_flight: 5000",
            "will_payload: needs will_topic",
            "birth_topic: holds a wildcard",
            "command_topic: holds a wildcard",
            "max_packet: 1B",
        ] {
            assert!(problems.iter().any(|p| p.starts_with(start)), "{start}: {problems:#?}");
        }
        assert!(problems.iter().all(|p| p.contains("; ")), "each has a next step: {problems:#?}");
    }

    #[test]
    fn a_password_in_the_clear_is_warned_of() {
        let mut problems = Problems::default();
        let section = json!({ "address": "broker.example", "client_id": "c", "username": "u", "password_file": "p" });
        assert!(check(&section, &mut problems).is_some());
        assert_eq!(problems.list().len(), 1);
    }

    #[test]
    fn addresses_are_host_and_port() {
        for bad in ["", ":1883", "a b:1883", "host:0", "host:70000", "host:port", "::1", "user@host:1", "host/path"] {
            assert!(checked(json!({ "address": bad, "client_id": "c" })).is_err(), "{bad}");
        }
    }
}
