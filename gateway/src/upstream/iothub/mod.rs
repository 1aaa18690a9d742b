//! Azure IoT Hub, and any hub that speaks its dialect, a Tidegate's own endpoint included.
//!
//! Everything travels under one identity of the hub; a leaf's id is the application property `leaf`. Tokens are made from the key
//! for each connection and renewed before they end, with spread, by ending the session in good order. The wall clock is used as
//! it is: a wrong one shows itself as refused credentials.
//!
//! The connection itself is [`super::session`]'s.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rumqttc::QoS;
use secrecy::{ExposeSecret, SecretString};
use tidegate_core::{
    catalogue::{UpstreamKind, UpstreamPlan},
    clock::Clock,
    dialect::{
        connection::{ConnectionString, Credential},
        identity::{Identity, UserName},
        key::Key,
        sas,
        topic::Filter,
    },
    problem::Problems,
    upstream::{Session, Upstream, UpstreamError},
};

use self::config::{Config, Proof, Who};
use super::{
    link::{Carrier, Link},
    secret,
    session::{self, PATIENCE, REDELIVERY, Terms},
    tls,
};

mod config;
mod envelope;
mod raw;

pub use envelope::Envelope;

/// The row.
pub const KIND: UpstreamKind = UpstreamKind {
    name: "iothub",
    summary: "Azure IoT Hub, over MQTT or WebSocket, with a key or a certificate",
    example: include_str!("example.toml"),
    schema: config::schema,
    check,
};

/// The hub delays its CONNACK instead of refusing when it is busy (reference §1.1).
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The largest packet: a message of 256 KiB and a topic of 64 KiB.
const MAX_PACKET: usize = (256 + 64) * 1024 + 16;
/// Where a hub takes WebSockets.
const WEBSOCKET_PATH: &str = "/$iothub/websocket";

fn check(section: &serde_json::Value, problems: &mut Problems) -> Option<UpstreamPlan> {
    let config = Arc::new(config::check(section, problems)?);
    Some(UpstreamPlan {
        in_flight: config.in_flight,
        build: Arc::new(move |clock| Box::new(IotHub { config: config.clone(), clock, roots: tls::Roots::default(), known: None })),
    })
}

struct IotHub {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    roots: tls::Roots,
    /// Host and identity, once the connection string has been read.
    known: Option<(String, Identity)>,
}

/// Who connects where, with what is needed to prove it. Lives for one attempt.
struct Account {
    host: String,
    gateway_host: Option<String>,
    identity: Identity,
    /// Key and, if it is not the device's own, its policy. `None` with a certificate.
    key: Option<(Key, Option<String>)>,
}

#[async_trait]
impl Upstream for IotHub {
    async fn connect(&mut self) -> Result<Session, UpstreamError> {
        let unusable = |target: String| move |why| UpstreamError::Unusable { target, why };
        let account = self.account().await.map_err(unusable(self.target()))?;
        self.known = Some((account.host.clone(), account.identity.clone()));
        let link = self.link(&account).await.map_err(unusable(self.target()))?;
        let terms = self.terms(&account, link.target.clone());
        session::begin(link, terms, Envelope::new(&account.identity)).await
    }

    fn target(&self) -> String {
        let fields = match &self.config.who {
            Who::Fields { host, identity, .. } => Some((host, identity)),
            Who::ConnectionString(_) => self.known.as_ref().map(|(host, identity)| (host, identity)),
        };
        match (fields, &self.config.who) {
            (Some((host, identity)), _) => format!("{host} as {identity}"),
            (None, Who::ConnectionString(path)) => format!("the hub in {path}"),
            (None, Who::Fields { .. }) => String::new(),
        }
    }
}

impl IotHub {
    async fn account(&self) -> Result<Account, String> {
        let (host, gateway_host, identity, key) = match &self.config.who {
            Who::ConnectionString(path) => {
                let text = secret::read_text("connection_string_file", path).await?;
                let parsed = ConnectionString::parse(text.expose_secret()).map_err(|error| format!("{path}: {error}"))?;
                let key = match (parsed.credential, &self.config.certificate) {
                    (Credential::Key { key, policy }, None) => Some((key, policy)),
                    (Credential::X509, Some(_)) => None,
                    (Credential::X509, None) => {
                        return Err(format!("{path} says x509=true; name client_cert_file and client_key_file"));
                    }
                    (Credential::Key { .. }, Some(_)) => {
                        return Err(format!("{path} holds a key, so client_cert_file is not used; remove one of them"));
                    }
                };
                (parsed.host, parsed.gateway_host, parsed.identity, key)
            }
            Who::Fields { host, identity, proof } => {
                let key = match proof {
                    Proof::KeyFile(path) => {
                        let text = secret::read_text("key_file", path).await?;
                        Some((Key::from_base64(text.expose_secret()).map_err(|error| format!("key_file '{path}': {error}"))?, None))
                    }
                    Proof::Certificate => None,
                };
                (host.clone(), None, identity.clone(), key)
            }
        };
        let account = Account { host, gateway_host: self.config.gateway_host.clone().or(gateway_host), identity, key };
        config::is_reachable_in_topics(&account.identity).then_some(()).ok_or_else(|| config::NOT_IN_TOPICS.to_owned())?;
        if !self.config.tls && !config::is_loopback(account.front()) {
            return Err("tls = false would send the credentials in the clear; it is for hubs on this machine only".to_owned());
        }
        Ok(account)
    }

    async fn link(&mut self, account: &Account) -> Result<Link, String> {
        let config = &self.config;
        let tls = if config.tls {
            let files = tls::Files { ca: config.ca_file.clone(), client: config.certificate.clone() };
            Some(tls::configuration(&files, &mut self.roots).await?)
        } else {
            None
        };
        let carrier = if config.websocket { Carrier::WebSocket(tls, WEBSOCKET_PATH) } else { Carrier::Tcp(tls) };
        Ok(Link {
            target: format!("{}:{}", account.front(), config.port),
            host: account.front().to_owned(),
            port: config.port,
            carrier,
            client_id: account.identity.to_string(),
            login: Some((self.user_name(account), self.password(account))),
            keep_alive: config.keep_alive,
            answer_within: ANSWER_WITHIN,
            will: None,
            max_packet: MAX_PACKET,
        })
    }

    fn user_name(&self, account: &Account) -> String {
        UserName {
            host: account.host.clone(),
            identity: account.identity.clone(),
            api_version: self.config.api_version.clone(),
            model_id: self.config.model_id.clone(),
            client_type: Some(concat!("tidegate/", env!("CARGO_PKG_VERSION")).to_owned()),
        }
        .to_string()
    }

    /// A fresh token; nothing beside a certificate.
    fn password(&self, account: &Account) -> SecretString {
        let Some((key, policy)) = &account.key else { return SecretString::default() };
        let expires = self.clock.now().wall.plus(self.config.token_life);
        sas::make(&account.identity.resource(&account.host), key, expires, policy.as_deref())
    }

    fn terms(&self, account: &Account, target: String) -> Terms {
        Terms {
            target,
            in_flight: self.config.in_flight,
            qos: QoS::AtLeastOnce,
            max_packet: MAX_PACKET,
            subscriptions: subscriptions(&account.identity),
            birth: None,
            farewell: None,
            renew_after: account.key.as_ref().map(|_| renewal(self.config.token_life)),
            patience: PATIENCE,
            redelivery: REDELIVERY,
        }
    }
}

impl Account {
    /// Who answers: the hub, or the gateway before it.
    fn front(&self) -> &str {
        self.gateway_host.as_deref().unwrap_or(&self.host)
    }
}

/// Between 72.5 and 92.5 % of a token's life: 80 to 85 % with spread, so that a thousand gateways that were switched on together
/// do not come back together (reference §1.3).
fn renewal(life: Duration) -> Duration {
    life.mul_f64(0.725 + 0.2 * fastrand::f64())
}

/// As Microsoft's SDKs subscribe, one filter at a time, at every connect. Commands with QoS 1, because they wait for us; calls and
/// twins with QoS 0, because they do not.
fn subscriptions(identity: &Identity) -> Vec<(String, QoS)> {
    let device = identity.device.as_str();
    let commands = match &identity.module {
        None => Filter::CloudToDevice { device },
        Some(module) => Filter::ModuleInputs { device, module: module.as_str() },
    };
    let rest = [Filter::Methods, Filter::DesiredPatches, Filter::TwinResponses].map(|filter| (filter.to_string(), QoS::AtMostOnce));
    [(commands.to_string(), QoS::AtLeastOnce)].into_iter().chain(rest).collect()
}
