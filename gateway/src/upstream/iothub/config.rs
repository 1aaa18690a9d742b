//! The configuration of an IoT Hub upstream: from what the file says to what the program runs on.
//!
//! Checking opens nothing. What only the connection string can tell (its host, its credential) is checked when it is read.

use std::{net::IpAddr, time::Duration};

use schemars::schema_for;
use serde_json::Value as Json;
use tidegate_core::{
    dialect::{
        MAX_KEEP_ALIVE,
        dps::{self, Registration},
        identity::{Identity, is_host},
    },
    id::{HubDeviceId, IdError},
    problem::Problems,
    quantity::Span,
};

use super::raw::{Raw, Transport};
use crate::upstream::checks;

/// From which version on hubs know models.
const FIRST_WITH_MODELS: &str = "2020-09-30";
/// A token that lives shorter would make us reconnect all the time.
const LEAST_TOKEN_LIFE: Span = Span::from_millis(5 * 60 * 1000);
/// A token that lives longer is a password.
const MOST_TOKEN_LIFE: Span = Span(Duration::from_secs(365 * 24 * 3600));
/// A shorter keep-alive costs more data than telemetry does.
const LEAST_KEEP_ALIVE: Span = Span::from_millis(5_000);

/// A checked configuration.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) who: Who,
    /// Certificate and private key.
    pub(super) certificate: Option<(String, String)>,
    pub(super) gateway_host: Option<String>,
    pub(super) port: u16,
    pub(super) websocket: bool,
    pub(super) tls: bool,
    pub(super) ca_file: Option<String>,
    pub(super) token_life: Duration,
    pub(super) keep_alive: Duration,
    pub(super) in_flight: usize,
    pub(super) model_id: Option<String>,
    pub(super) api_version: String,
}

/// Who connects where.
#[derive(Debug)]
pub(super) enum Who {
    /// As this file says.
    ConnectionString(String),
    /// As the configuration says.
    Fields { host: String, identity: Identity, proof: Proof },
    /// As the provisioning service on this host says.
    Provisioned { service: String, registration: Registration, proof: Proof },
}

/// How it proves that.
#[derive(Debug)]
pub(super) enum Proof {
    /// With the key in this file.
    KeyFile(String),
    /// With the key that is derived from the group's key in this file.
    GroupKeyFile(String),
    /// With the certificate of the configuration.
    Certificate,
}

/// The schema of the section's keys.
pub(super) fn schema() -> Json {
    schema_for!(Raw).into()
}

/// Checks a section but for its leaves; see [`tidegate_core::catalogue::UpstreamKind::check`].
pub(super) fn checked(raw: &Raw, problems: &mut Problems) -> Option<Config> {
    let before = problems.list().len();
    let certificate = checks::pair(raw.client_cert_file.as_deref(), raw.client_key_file.as_deref(), problems);
    let who = match (&raw.connection_string_file, &raw.id_scope) {
        (_, Some(scope)) => with_provisioning(scope, raw, problems),
        (Some(path), None) => with_connection_string(path, raw, problems),
        (None, None) => with_fields(raw, problems),
    };
    checks::file("ca_file", raw.ca_file.as_deref(), problems);
    check_reach(raw, problems);
    checks::between(
        "token_life",
        raw.token_life,
        LEAST_TOKEN_LIFE,
        MOST_TOKEN_LIFE,
        "hubs close the connection when it ends; 24h is usual",
        problems,
    );
    checks::between("keep_alive", raw.keep_alive, LEAST_KEEP_ALIVE, Span(MAX_KEEP_ALIVE), "the hub takes at most 1177s", problems);
    let in_flight = checks::in_flight(raw.in_flight, problems);
    check_version(raw, problems);
    if checks::any_error_since(before, problems) {
        return None;
    }
    let websocket = raw.transport == Transport::WebSocket;
    Some(Config {
        who: who?,
        certificate,
        gateway_host: raw.gateway_host.clone(),
        port: raw.port.unwrap_or(if websocket { 443 } else { 8883 }),
        websocket,
        tls: raw.tls,
        ca_file: raw.ca_file.clone(),
        token_life: raw.token_life.0,
        keep_alive: raw.keep_alive.0,
        in_flight,
        model_id: raw.model_id.clone(),
        api_version: raw.api_version.clone(),
    })
}

fn with_connection_string(path: &str, raw: &Raw, problems: &mut Problems) -> Option<Who> {
    checks::file("connection_string_file", Some(path), problems);
    for (key, given) in [
        ("host", raw.host.is_some()),
        ("device_id", raw.device_id.is_some()),
        ("module_id", raw.module_id.is_some()),
        ("key_file", raw.key_file.is_some()),
        ("registration_id", raw.registration_id.is_some()),
        ("dps_host", raw.dps_host.is_some()),
        ("group_key_file", raw.group_key_file.is_some()),
    ] {
        if given {
            problems.key(key).error("is in the connection string already", "remove it, or remove connection_string_file");
        }
    }
    Some(Who::ConnectionString(path.to_owned()))
}

fn provisioning_keys(raw: &Raw) -> [(&'static str, bool); 3] {
    [
        ("registration_id", raw.registration_id.is_some()),
        ("dps_host", raw.dps_host.is_some()),
        ("group_key_file", raw.group_key_file.is_some()),
    ]
}

/// Exactly one credential.
fn proof(raw: &Raw, problems: &mut Problems) -> Option<Proof> {
    let certificate = (raw.client_cert_file.is_some() || raw.client_key_file.is_some()).then_some(Proof::Certificate);
    let key = raw.key_file.clone().map(Proof::KeyFile);
    let group = raw.group_key_file.clone().map(Proof::GroupKeyFile);
    let mut given = [key, group, certificate].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(proof), None) => Some(proof),
        (Some(_), Some(_)) => {
            problems
                .error("has more than one credential", "keep one of key_file, group_key_file, and client_cert_file with client_key_file");
            None
        }
        (None, _) => {
            problems.error("has no credential", "set key_file, or client_cert_file and client_key_file");
            None
        }
    }
}

fn with_provisioning(scope: &str, raw: &Raw, problems: &mut Problems) -> Option<Who> {
    for (key, given) in [
        ("connection_string_file", raw.connection_string_file.is_some()),
        ("host", raw.host.is_some()),
        ("device_id", raw.device_id.is_some()),
        ("module_id", raw.module_id.is_some()),
    ] {
        if given {
            problems.key(key).error("is told by the provisioning service", "remove it, or remove id_scope");
        }
    }
    if !dps::is_id_scope(scope) {
        problems.key("id_scope").error("is not an id scope", "copy it from the provisioning service's overview: 0ne…");
    }
    let id = required("registration_id", raw.registration_id.as_deref(), "write the gateway's registration id", problems);
    if id.is_some_and(|id| !dps::is_registration_id(id)) {
        let next = "use lower-case letters, digits, '-', '.', '_' and ':', at most 128, the last one a letter, a digit or '-'";
        problems.key("registration_id").error("is not a registration id", next);
    }
    checks::file("key_file", raw.key_file.as_deref(), problems);
    checks::file("group_key_file", raw.group_key_file.as_deref(), problems);
    let registration = Registration { id_scope: scope.to_owned(), id: id?.to_owned() };
    let service = raw.dps_host.clone().unwrap_or_else(|| dps::GLOBAL_HOST.to_owned());
    Some(Who::Provisioned { service, registration, proof: proof(raw, problems)? })
}

fn with_fields(raw: &Raw, problems: &mut Problems) -> Option<Who> {
    if raw.host.is_none() && raw.device_id.is_none() {
        problems.error("does not say which hub and which device", "set connection_string_file, or host and device_id, or id_scope");
        return None;
    }
    let host = required("host", raw.host.as_deref(), "write the hub's host name, such as contoso.azure-devices.net", problems);
    let device = required("device_id", raw.device_id.as_deref(), "write the gateway's device id at the hub", problems);
    let device = device.and_then(|id| hub_id("device_id", id, problems));
    let module = raw.module_id.as_deref().map(|id| hub_id("module_id", id, problems));
    checks::file("key_file", raw.key_file.as_deref(), problems);
    for (key, given) in provisioning_keys(raw) {
        if given {
            problems.key(key).error("is for the provisioning service", "add id_scope, or remove it");
        }
    }
    let proof = proof(raw, problems);
    let module = match module {
        Some(module) => Some(module?),
        None => None,
    };
    Some(Who::Fields { host: host?.to_owned(), identity: Identity { device: device?, module }, proof: proof? })
}

fn required<'a>(key: &str, value: Option<&'a str>, next: &str, problems: &mut Problems) -> Option<&'a str> {
    if value.is_none() {
        problems.key(key).error("is missing", next);
    }
    value
}

/// Why some ids cannot be used here, though hubs have them.
pub(super) const NOT_IN_TOPICS: &str = "ids with '+' or '#' cannot be used over MQTT; give the device another id";

/// Whether the identity can stand in a topic.
pub(super) fn is_reachable_in_topics(identity: &Identity) -> bool {
    [Some(&identity.device), identity.module.as_ref()].into_iter().flatten().all(|id| !id.as_str().contains(['+', '#']))
}

fn hub_id(key: &str, id: &str, problems: &mut Problems) -> Option<HubDeviceId> {
    let checked =
        HubDeviceId::new(id).map_err(|error: IdError| (format!("is not a hub device id: {}", error.rule), "copy it from the hub"));
    let usable = checked.and_then(|id| {
        let usable = !id.as_str().contains(['+', '#']);
        if usable { Ok(id) } else { Err(("cannot stand in an MQTT topic".to_owned(), NOT_IN_TOPICS)) }
    });
    match usable {
        Ok(id) => Some(id),
        Err((what, next)) => {
            problems.key(key).error(what, next);
            None
        }
    }
}

fn check_reach(raw: &Raw, problems: &mut Problems) {
    for (key, host) in [("host", &raw.host), ("gateway_host", &raw.gateway_host), ("dps_host", &raw.dps_host)] {
        if host.as_deref().is_some_and(|host| !is_host(host) || host.contains(':')) {
            problems.key(key).error("is not a host name", "write the name alone, without https:// and without a port");
        }
    }
    if raw.port == Some(0) {
        problems.key("port").error("0 is not a port", "write 8883, or 443 with transport = \"websocket\"");
    }
    let service = raw.id_scope.as_ref().map(|_| raw.dps_host.as_deref().unwrap_or(dps::GLOBAL_HOST));
    let front = service.or(raw.gateway_host.as_deref()).or(raw.host.as_deref());
    if !raw.tls && front.is_some_and(|front| !is_loopback(front)) {
        let next = "remove tls = false; it is for hubs on this machine only";
        problems.key("tls").error("false would send the credentials in the clear", next);
    }
    if !raw.tls && raw.ca_file.is_some() {
        problems.key("ca_file").warning("is not used with tls = false", "remove one of them");
    }
}

/// Whether nothing that is sent there leaves this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_version(raw: &Raw, problems: &mut Problems) {
    if !checks::is_plain(&raw.api_version) {
        problems.key("api_version").error("is not a version", "remove it, or write a date such as 2021-04-12");
    }
    let Some(model) = &raw.model_id else { return };
    if !model.starts_with("dtmi:") || !checks::is_plain(model) {
        problems.key("model_id").error("is not a model id", "write it as dtmi:com:example:Thermostat;1");
    }
    if raw.api_version.as_str() < FIRST_WITH_MODELS {
        problems.key("api_version").error("knows no models", "remove api_version, or model_id");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(section: Json) -> Result<Config, Vec<String>> {
        let mut problems = Problems::default();
        let raw: Option<Raw> = checks::raw(&section, &mut problems);
        match raw.and_then(|raw| super::checked(&raw, &mut problems)) {
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
    fn defaults_are_those_of_the_hub() {
        let config = checked(json!({ "connection_string_file": "cs" })).expect("enough");
        assert_eq!((config.port, config.in_flight, config.tls, config.websocket), (8883, 16, true, false));
        assert_eq!((config.keep_alive.as_secs(), config.token_life.as_secs()), (230, 86_400));
        assert_eq!(config.api_version, "2021-04-12");
        let over_443 = checked(json!({ "connection_string_file": "cs", "transport": "websocket" })).expect("enough");
        assert_eq!((over_443.port, over_443.websocket), (443, true));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let problems = checked(json!({
            "host": "https://contoso", "device_id": "a#b", "key_file": "k", "client_cert_file": "c", "tls": false, "port": 0,
            "keep_alive": "20min", "token_life": "1s", "in_flight": 0, "model_id": "thermostat", "api_version": "2018-06-30",
        }))
        .expect_err("many mistakes");
        for start in [
            "client_cert_file needs client_key_file",
            "device_id: cannot stand in an MQTT topic",
            "has more than one credential",
            "host: is not a host name",
            "port: 0",
            "tls: false",
            "token_life: 1s",
            "keep_alive: 20min",
            "in_flight: 0",
            "model_id: ",
            "api_version: knows no models",
        ] {
            assert!(problems.iter().any(|p| p.starts_with(start)), "{start}: {problems:#?}");
        }
        assert!(problems.iter().all(|p| p.contains("; ")), "each has a next step: {problems:#?}");
    }

    #[test]
    fn a_device_needs_a_hub_an_id_and_a_credential() {
        assert_eq!(checked(json!({})).expect_err("nothing").len(), 1);
        assert!(checked(json!({ "host": "h" })).expect_err("no id").iter().any(|p| p.starts_with("device_id: is missing")));
        assert!(checked(json!({ "host": "h", "device_id": "d" })).expect_err("no key")[0].starts_with("has no credential"));
        assert!(checked(json!({ "host": "h", "device_id": "d", "key_file": "k" })).is_ok());
        let pair = json!({ "host": "h", "device_id": "d", "module_id": "m", "client_cert_file": "c", "client_key_file": "k" });
        assert!(checked(pair).is_ok());
        let twice = checked(json!({ "connection_string_file": "cs", "host": "h", "key_file": "k" }));
        assert_eq!(twice.expect_err("said twice").len(), 2);
    }

    #[test]
    fn a_provisioned_gateway_needs_an_id_and_a_credential_and_no_hub() {
        let section = json!({ "id_scope": "0ne00000A0A", "registration_id": "gw-01", "group_key_file": "k" });
        let config = checked(section).expect("enough");
        assert!(matches!(&config.who, Who::Provisioned { service, .. } if service == dps::GLOBAL_HOST));
        let wrong =
            json!({ "id_scope": "0ne/1", "registration_id": "GW", "host": "h", "device_id": "d", "key_file": "k", "group_key_file": "g" });
        let problems = checked(wrong).expect_err("many mistakes");
        for start in ["host: is told", "device_id: is told", "id_scope: ", "registration_id: ", "has more than one credential"] {
            assert!(problems.iter().any(|p| p.starts_with(start)), "{start}: {problems:#?}");
        }
        let bare = checked(json!({ "host": "h", "device_id": "d", "group_key_file": "g" })).expect_err("no scope");
        assert!(bare[0].starts_with("group_key_file: is for the provisioning service"), "{bare:?}");
    }

    #[test]
    fn without_tls_only_this_machine_is_spoken_to() {
        let section = |host: &str| json!({ "host": host, "device_id": "d", "key_file": "k", "tls": false });
        for near in ["127.0.0.1", "127.8.9.1", "localhost"] {
            assert!(checked(section(near)).is_ok(), "{near}");
        }
        for far in ["contoso.azure-devices.net", "10.0.0.1", "localhost.example"] {
            assert!(checked(section(far)).is_err(), "{far}");
        }
        let through =
            json!({ "host": "contoso.azure-devices.net", "gateway_host": "localhost", "device_id": "d", "key_file": "k", "tls": false });
        assert!(checked(through).is_ok());
    }
}
