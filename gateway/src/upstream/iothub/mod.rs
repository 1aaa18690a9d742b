//! Azure IoT Hub, and any hub that speaks its dialect, a Tidegate's own endpoint included.
//!
//! Everything travels under one identity of the hub; a leaf's id is the application property `leaf`. Tokens are made from the key
//! for each connection and renewed before they end, with spread, by ending the session in good order. The wall clock is used as
//! it is: a wrong one shows itself as refused credentials. Which hub it is may be said by a provisioning service ([`provision`]).
//!
//! The connection itself is [`super::session`]'s.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use rumqttc::QoS;
use secrecy::{ExposeSecret, SecretString};
use tidegate_core::{
    catalogue::{LeafIdentity, UpstreamKind, UpstreamPlan},
    clock::{Clock, Timestamp},
    dialect::{
        connection::{ConnectionString, Credential},
        dps::{Assignment, Registration},
        identity::{Identity, UserName},
        key::Key,
        sas,
        topic::Filter,
    },
    id::LeafId,
    problem::Problems,
    upstream::{Session, Upstream, UpstreamError},
};

use self::{
    config::{Config, Proof, Who},
    leaves::Crowd,
    provision::Place,
};
use super::{
    checks,
    link::{Carrier, Link},
    secret,
    session::{self, PATIENCE, REDELIVERY, Terms},
    tls,
};

mod config;
mod envelope;
mod leaves;
mod provision;
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
/// A registration takes seconds, at most minutes.
const REGISTRATION_TOKEN: Duration = Duration::from_secs(3600);
/// Where a hub takes WebSockets.
const WEBSOCKET_PATH: &str = "/$iothub/websocket";

fn check(section: &serde_json::Value, problems: &mut Problems) -> Option<UpstreamPlan> {
    let before = problems.list().len();
    let raw: raw::Raw = checks::raw(section, problems)?;
    let config = config::checked(&raw, problems);
    let leaves = leaves::check(&raw, problems);
    let config = Arc::new(config.filter(|_| !checks::any_error_since(before, problems))?);
    let crowd = Crowd::new(raw.connects_per_second);
    let identity = |(leaf, config): (LeafId, Config)| {
        let (config, crowd) = (Arc::new(config), crowd.clone());
        let in_flight = config.in_flight;
        LeafIdentity { leaf, in_flight, build: Arc::new(move |clock| Box::new(IotHub::new(config.clone(), clock, Some(crowd.clone())))) }
    };
    let leaves = leaves.into_iter().map(identity).collect();
    Some(UpstreamPlan {
        in_flight: config.in_flight,
        build: Arc::new(move |clock| Box::new(IotHub::new(config.clone(), clock, None))),
        leaves,
    })
}

struct IotHub {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    roots: tls::Roots,
    /// The other leaves that have connections of their own; `None` for the gateway's.
    crowd: Option<Arc<Crowd>>,
    /// Host and identity, once the connection string has been read or the provisioning service has answered.
    known: Option<(String, Identity)>,
    /// With a provisioning service: the hub that it assigned.
    place: Place,
    /// When the token of the last connect ends; `None` beside a certificate.
    token_until: Option<Timestamp>,
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
        if let Some(crowd) = &self.crowd {
            crowd.turn().await;
        }
        self.be_assigned().await?;
        let account = self.account().await.map_err(unusable(self.target()))?;
        self.known = Some((account.host.clone(), account.identity.clone()));
        self.token_until = account.key.as_ref().map(|_| self.clock.now().wall.plus(self.config.token_life));
        let link = self.link(&account).await.map_err(unusable(self.target()))?;
        let terms = self.terms(&account, link.target.clone());
        let begun = session::begin(link, terms, Envelope::new(&account.identity)).await;
        self.place.note(begun.as_ref().err());
        begun
    }

    fn keep_in(&mut self, folder: &Path) {
        if let Who::Provisioned { registration, .. } = &self.config.who {
            self.place.keep_in(folder, registration);
        }
    }

    fn target(&self) -> String {
        let fields = match &self.config.who {
            Who::Fields { host, identity, .. } => Some((host, identity)),
            Who::ConnectionString(_) | Who::Provisioned { .. } => self.known.as_ref().map(|(host, identity)| (host, identity)),
        };
        match (fields, &self.config.who) {
            (Some((host, identity)), _) => format!("{host} as {identity}"),
            (None, Who::ConnectionString(path)) => format!("the hub in {path}"),
            (None, Who::Provisioned { service, registration, .. }) => format!("{service} as {}", registration.id),
            (None, Who::Fields { .. }) => String::new(),
        }
    }

    fn proof(&self) -> Option<tidegate_core::upstream::Proof> {
        let token = self.token_until.map(|until| tidegate_core::upstream::Proof { until, renews: true });
        token.or_else(|| self.roots.proof())
    }
}

impl IotHub {
    fn new(config: Arc<Config>, clock: Arc<dyn Clock>, crowd: Option<Arc<Crowd>>) -> Self {
        Self { config, clock, roots: tls::Roots::default(), crowd, known: None, place: Place::default(), token_until: None }
    }

    /// Asks the provisioning service, if there is one and it is time. While it cannot be asked, the known hub is tried.
    async fn be_assigned(&mut self) -> Result<(), UpstreamError> {
        let config = self.config.clone();
        let Who::Provisioned { service, registration, proof } = &config.who else { return Ok(()) };
        let is_known = self.place.known(registration).is_some();
        if !self.place.wants_asking() {
            return Ok(());
        }
        let answer = match self.register(service, registration, proof).await {
            Ok(assignment) => {
                tracing::info!(%service, hub = %assignment.hub, device = %assignment.device, "assigned to a hub");
                Some(assignment)
            }
            Err(error) if is_known => {
                tracing::warn!(%service, %error, "the provisioning service cannot be asked again; trying the hub that is known");
                None
            }
            Err(error) => return Err(error),
        };
        self.place.answered(answer, registration);
        Ok(())
    }

    async fn register(&mut self, service: &str, registration: &Registration, proof: &Proof) -> Result<Assignment, UpstreamError> {
        let unusable = |why| UpstreamError::Unusable { target: service.to_owned(), why };
        let key = proof.key(&registration.id).await.map_err(unusable)?;
        let password = key.map(|key| registration.password(&key, self.clock.now().wall.plus(REGISTRATION_TOKEN))).unwrap_or_default();
        let carrier = self.carrier().await.map_err(unusable)?;
        let link = Link {
            target: format!("{service}:{}", self.config.port),
            host: service.to_owned(),
            port: self.config.port,
            carrier,
            client_id: registration.id.clone(),
            login: Some((registration.user_name(), password)),
            keep_alive: self.config.keep_alive,
            answer_within: ANSWER_WITHIN,
            will: None,
            max_packet: MAX_PACKET,
        };
        let payload = self.config.model_id.as_ref().map(|model| serde_json::json!({ "modelId": model }));
        provision::register(link, registration, payload).await
    }

    async fn account(&mut self) -> Result<Account, String> {
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
                let key = proof.key(identity.device.as_str()).await?;
                (host.clone(), None, identity.clone(), key.map(|key| (key, None)))
            }
            Who::Provisioned { registration, proof, .. } => {
                let Assignment { hub, device } = self.place.known(registration).cloned().ok_or("no hub is assigned yet")?;
                let key = proof.key(&registration.id).await?;
                (hub, None, Identity::device(device), key.map(|key| (key, None)))
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
        let carrier = self.carrier().await?;
        let config = &self.config;
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

    async fn carrier(&mut self) -> Result<Carrier, String> {
        let config = &self.config;
        let tls = if config.tls {
            let files = tls::Files { ca: config.ca_file.clone(), client: config.certificate.clone() };
            Some(match &self.crowd {
                Some(crowd) => tls::configuration(&files, &mut *crowd.roots.lock().await).await?,
                None => tls::configuration(&files, &mut self.roots).await?,
            })
        } else {
            None
        };
        Ok(if config.websocket { Carrier::WebSocket(tls, WEBSOCKET_PATH) } else { Carrier::Tcp(tls) })
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

impl Proof {
    /// The key by which `id` proves itself; none with a certificate. `id` counts only for a group's key.
    async fn key(&self, id: &str) -> Result<Option<Key>, String> {
        let (name, path) = match self {
            Proof::KeyFile(path) => ("key_file", path),
            Proof::GroupKeyFile(path) => ("group_key_file", path),
            Proof::Certificate => return Ok(None),
        };
        let text = secret::read_text(name, path).await?;
        let key = Key::from_base64(text.expose_secret()).map_err(|error| format!("{name} '{path}': {error}"))?;
        Ok(Some(if matches!(self, Proof::GroupKeyFile(_)) { key.derive(id) } else { key }))
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
