//! CONNECT: who is let in, as whom, and what the others are told.
//!
//! To the wire every failure of credentials is CONNACK 5; the reason goes into an event. The order of the checks is the
//! reference's (§1.3): who has no key learns nothing about the rest.

use std::net::SocketAddr;

use rumqttc::mqttbytes::{
    QoS,
    v4::{Connect, ConnectReturnCode, LastWill},
};
use secrecy::SecretString;
use tidegate_core::{
    clock::Timestamp,
    device::{Device, Proof},
    dialect::{
        identity::{Identity, UserName},
        sas::{Token, TokenError},
        topic::Topic,
    },
    id::HubDeviceId,
};

use crate::{
    certificate::{Authorities, Shown},
    hub::Hub,
    limits::MAX_CLIENT_ID,
    password,
    provision::Desk,
    throttle::Throttle,
};

/// What the gate goes by.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Host names that user names and tokens may carry; empty for any.
    pub(crate) hosts: Vec<String>,
    pub(crate) authorities: Option<Authorities>,
    /// Where devices register themselves, if they may.
    pub(crate) desk: Option<Desk>,
    pub(crate) max_sessions: usize,
    pub(crate) throttle: Throttle,
}

/// Somebody who may come in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) identity: Identity,
    pub(crate) generation: String,
    pub(crate) auth: &'static str,
    pub(crate) model: Option<String>,
    /// When its token ends.
    pub(crate) until: Option<Timestamp>,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<LastWill>,
}

/// Somebody who may not.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the wire says.
    pub(crate) answer: ConnectReturnCode,
    /// What it claimed to be, shortened.
    pub(crate) claimed: String,
    /// In words, for events.
    pub(crate) why: String,
    /// The reference's code.
    pub(crate) code: Option<u32>,
    /// Whether it counts as a guess.
    pub(crate) guess: bool,
}

/// Not let in, and why; the claimed identity is filled in by the caller.
fn no(answer: ConnectReturnCode, code: u32, why: impl Into<String>) -> Refusal {
    let guess = answer == ConnectReturnCode::NotAuthorized;
    Refusal { answer, claimed: String::new(), why: why.into(), code: Some(code), guess }
}

fn unauthorised(code: u32, why: impl Into<String>) -> Refusal {
    no(ConnectReturnCode::NotAuthorized, code, why)
}

/// The reference's codes.
const UNAUTHORISED: u32 = 401_003;
const DISABLED: u32 = 403_012;
const NOT_FOUND: u32 = 404_001;
const THROTTLED: u32 = 429_001;
const BUSY: u32 = 500_008;

/// A CONNECT's claim, before it is proved.
struct Claim {
    identity: Identity,
    /// Of the dialect's user name; a simple device has none.
    user: Option<UserName>,
}

impl Gate {
    /// Judges a CONNECT.
    pub(crate) async fn admit(&self, hub: &Hub, connect: Connect, shown: Option<Shown>, remote: SocketAddr) -> Result<Admitted, Refusal> {
        let claimed: String = connect.client_id.chars().take(80).collect();
        let judged = self.judge(hub, connect, shown, remote, &claimed).await;
        match &judged {
            Ok(_) => self.throttle.succeeded(remote.ip(), &claimed),
            Err(refusal) if refusal.guess => self.throttle.failed(remote.ip(), &claimed),
            Err(_) => {}
        }
        judged.map_err(|refusal| Refusal { claimed, ..refusal })
    }

    async fn judge(
        &self,
        hub: &Hub,
        connect: Connect,
        shown: Option<Shown>,
        remote: SocketAddr,
        claimed: &str,
    ) -> Result<Admitted, Refusal> {
        if connect.client_id.is_empty() || connect.client_id.len() > MAX_CLIENT_ID {
            return Err(no(ConnectReturnCode::BadClientId, UNAUTHORISED, "the client id is empty or too long"));
        }
        if !self.throttle.lets_try(remote.ip(), claimed) {
            return Err(Refusal { guess: false, ..unauthorised(THROTTLED, "too many failed attempts: wait ten seconds") });
        }
        let (user, password) = connect.login.map_or_else(Default::default, |login| (login.username, login.password));
        let claim = self.claim(&user, &connect.client_id)?;
        let device = self.registered(hub, &claim.identity).await?;
        let (auth, until) = self.prove(hub, &claim, &device, password.into(), shown).await?;
        if !device.enabled || !self.device_enabled(hub, &claim.identity).await? {
            return Err(unauthorised(DISABLED, "the device is disabled"));
        }
        let will = connect.last_will;
        let for_site = |will: &&LastWill| hub.site().is_some_and(|bus| bus.may_publish(&claim.identity, &will.topic));
        let will_of_dialect = will.as_ref().filter(|will| will.qos == QoS::ExactlyOnce || !for_site(will));
        if let Some(why) = will_of_dialect.and_then(|will| bad_will(will, &claim.identity)) {
            return Err(Refusal { guess: false, ..unauthorised(UNAUTHORISED, why) });
        }
        if hub.counters().sessions >= self.max_sessions as u64 && hub.connection(&claim.identity).is_none() {
            let why = format!("there are {} sessions already (endpoint.max_sessions)", self.max_sessions);
            return Err(no(ConnectReturnCode::ServiceUnavailable, BUSY, why));
        }
        // A model id stands in every message's record.
        let model =
            claim.user.and_then(|user| user.model_id).filter(|model| model.len() <= 256 && model.bytes().all(|b| b.is_ascii_graphic()));
        Ok(Admitted {
            identity: claim.identity,
            generation: device.generation,
            auth,
            model,
            until,
            clean: connect.clean_session,
            keep_alive: connect.keep_alive,
            will,
        })
    }

    fn claim(&self, user: &str, client_id: &str) -> Result<Claim, Refusal> {
        if user.is_empty() {
            return Err(unauthorised(
                UNAUTHORISED,
                "no user name: it is host/device/?api-version=…, or the id of a device with a password",
            ));
        }
        if !user.contains('/') {
            let device = HubDeviceId::new(user).map_err(|error| unauthorised(UNAUTHORISED, error.to_string()))?;
            return Ok(Claim { identity: Identity::device(device), user: None });
        }
        let user = UserName::parse(user).map_err(|error| unauthorised(UNAUTHORISED, error.to_string()))?;
        if !user.belongs_to(client_id) {
            let why = format!("the client id is not the identity of the user name, {}", user.identity);
            return Err(no(ConnectReturnCode::BadClientId, UNAUTHORISED, why));
        }
        if !self.hosts.is_empty() && !self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&user.host)) {
            return Err(unauthorised(UNAUTHORISED, format!("the user name is for {}, which is not one of endpoint.host_names", user.host)));
        }
        Ok(Claim { identity: user.identity.clone(), user: Some(user) })
    }

    async fn registered(&self, hub: &Hub, identity: &Identity) -> Result<Device, Refusal> {
        match hub.0.records.device(identity).await {
            Ok(Some(device)) => Ok(device),
            Ok(None) => Err(unauthorised(NOT_FOUND, "the device is not registered")),
            Err(error) => Err(no(ConnectReturnCode::ServiceUnavailable, BUSY, error.to_string())),
        }
    }

    /// A module is as enabled as its device.
    async fn device_enabled(&self, hub: &Hub, identity: &Identity) -> Result<bool, Refusal> {
        match identity.module {
            None => Ok(true),
            Some(_) => Ok(self.registered(hub, &Identity::device(identity.device.clone())).await?.enabled),
        }
    }

    /// How it proved itself, and until when.
    async fn prove(
        &self,
        hub: &Hub,
        claim: &Claim,
        device: &Device,
        password: SecretString,
        shown: Option<Shown>,
    ) -> Result<(&'static str, Option<Timestamp>), Refusal> {
        use secrecy::ExposeSecret;
        match (&device.proof, &claim.user) {
            (Proof::Keys { primary, secondary }, Some(user)) => {
                let refuse = |error: TokenError| unauthorised(UNAUTHORISED, error.to_string());
                let token = Token::parse(password.expose_secret()).map_err(refuse)?;
                // Where any host will do, it must be the one of the user name.
                let mut hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
                hosts.push(&user.host);
                token.verify(&[primary, secondary], &hosts, &claim.identity, hub.now()).map_err(refuse)?;
                if token.policy().is_some() {
                    return Err(unauthorised(
                        UNAUTHORISED,
                        "tokens of a shared access policy are not accepted: sign with the device's key",
                    ));
                }
                Ok(("sas", Some(token.expires())))
            }
            (Proof::Thumbprints { primary, secondary }, Some(_)) => {
                let shown = shown.ok_or_else(|| unauthorised(UNAUTHORISED, "no client certificate was shown"))?;
                let fits = [Some(primary), secondary.as_ref()].into_iter().flatten().any(|print| shown.is(print));
                let proved = if fits { Ok(("x509", None)) } else { Err("the certificate has another thumbprint") };
                proved.map_err(|why| unauthorised(UNAUTHORISED, why))
            }
            (Proof::Authority, Some(_)) => self.prove_by_authority(hub, claim, shown).map_err(|why| unauthorised(UNAUTHORISED, why)),
            (Proof::Password(hash), None) => {
                let fits = password::LENGTH.contains(&password.expose_secret().len())
                    && password::fits(password, hash.0.clone(), hub.0.hashing.clone()).await;
                if fits { Ok(("password", None)) } else { Err(unauthorised(UNAUTHORISED, "wrong password")) }
            }
            (Proof::Password(_), Some(_)) => Err(unauthorised(UNAUTHORISED, "this device has a password: its user name is its bare id")),
            (_, None) => Err(unauthorised(UNAUTHORISED, "the user name is not host/device/?api-version=…")),
        }
    }

    fn prove_by_authority(
        &self,
        hub: &Hub,
        claim: &Claim,
        shown: Option<Shown>,
    ) -> Result<(&'static str, Option<Timestamp>), &'static str> {
        let shown = shown.ok_or("no client certificate was shown")?;
        let authorities = self.authorities.as_ref().ok_or("no authorities are configured (endpoint.client_ca_file)")?;
        if !authorities.have_signed(&shown, hub.now().seconds().unsigned_abs()) {
            return Err("the certificate is not signed by one of our authorities, or not valid now");
        }
        if shown.common_name().as_deref() != Some(claim.identity.to_string().as_str()) {
            return Err("the certificate's common name is not the device's id");
        }
        Ok(("x509", None))
    }
}

/// A will is a message of the device's own.
fn bad_will(will: &LastWill, identity: &Identity) -> Option<&'static str> {
    if will.qos == QoS::ExactlyOnce {
        return Some("a will of QoS 2 is not offered");
    }
    let module = identity.module.as_ref().map(HubDeviceId::as_str);
    match Topic::parse(&will.topic) {
        Some(Topic::Event { device, module: of, .. }) if device == identity.device.as_str() && of == module => None,
        _ => Some("the will's topic is not the device's own devices/{id}/messages/events/"),
    }
}
