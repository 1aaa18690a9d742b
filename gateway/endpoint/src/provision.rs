//! Provisioning: a device that knows the scope, and has a key of the enrolment group or a certificate of its authority, registers itself
//! and is told which hub is its own: this one (reference §7).
//!
//! Promise: the device is in the registry, on disk, before it is told that it is assigned. Whoever cannot prove that it belongs to the
//! group changes nothing. A device that is registered already stays as it is, and is assigned if its proof is the same.

use std::{path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{
    QoS,
    v4::{Connect, ConnectReturnCode, Packet, Publish},
};
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::Timestamp,
    device::{Device, Proof},
    dialect::{
        dps::{self, is_registration_id},
        identity::Identity,
        key::Key,
        sas::Token,
    },
    id::HubDeviceId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    certificate::{Authorities, Shown},
    error::HubError,
    hub::{Hub, NewProof},
    limits::{MAX_CONNECT, MAX_FILTERS},
    packet,
    stream::Stream,
};

/// Who may register itself, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioning {
    /// The scope that devices name.
    pub id_scope: String,
    /// The file with the group's key, from which each device's key is derived. `None`: by certificates alone.
    pub group_key: Option<PathBuf>,
    /// The name by which devices reach this hub.
    pub hub: String,
}

/// As [`Provisioning`], with its key read.
#[derive(Debug)]
pub(crate) struct Desk {
    id_scope: String,
    group_key: Option<Key>,
    hub: String,
}

/// A registration asks twice and ends; more than this nobody needs.
const PATIENCE: Duration = Duration::from_secs(90);
/// Packets of one registration: polling every two seconds for all its time.
const MOST_PACKETS: usize = 200;
/// Longest request id that is repeated.
const MOST_REQUEST: usize = 64;
/// Seconds until the device asks again.
const RETRY_AFTER: u32 = 3;

/// A device that has shown that it belongs here.
pub(crate) struct Enrolled {
    identity: Identity,
    proof: NewProof,
}

impl Desk {
    /// Reads the key.
    pub(crate) fn open(provisioning: &Provisioning) -> Result<Self, String> {
        let key = |path: &PathBuf| {
            let problem = |why: String| format!("{}: {why}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
            Key::from_base64(&text).map_err(|error| problem(error.to_string()))
        };
        let group_key = provisioning.group_key.as_ref().map(key).transpose()?;
        Ok(Self { id_scope: provisioning.id_scope.clone(), group_key, hub: provisioning.hub.clone() })
    }

    /// Judges a CONNECT whose user name is one of a registration. `Err`: why not.
    pub(crate) fn admit(
        &self,
        connect: &Connect,
        shown: Option<&Shown>,
        authorities: Option<&Authorities>,
        now: Timestamp,
    ) -> Result<Enrolled, String> {
        let (user, password) = connect.login.as_ref().map_or(("", ""), |login| (&login.username, &login.password));
        let (scope, id) = registration_of(user).ok_or("the user name is not scope/registrations/id/api-version=…")?;
        if scope != self.id_scope {
            return Err("the id scope is another one".to_owned());
        }
        if !is_registration_id(id) || connect.client_id != id {
            return Err("the client id is not the registration id, in lower case".to_owned());
        }
        let device = HubDeviceId::new(id).map_err(|error| error.to_string())?;
        let proof = match (password.is_empty(), shown) {
            (false, _) => {
                let group = self.group_key.as_ref().ok_or("there is no group key here: show a certificate")?;
                let (own, token) = (group.derive(id), Token::parse(password).map_err(|error| error.to_string())?);
                token.verify_resource(&own, &[&self.id_scope, "registrations", id], now).map_err(|error| error.to_string())?;
                NewProof::Keys { primary: Some(own), secondary: None }
            }
            (true, Some(shown)) => {
                let authorities = authorities.ok_or("no authorities are configured (endpoint.client_ca_file)")?;
                if !authorities.have_signed(shown, now.seconds().unsigned_abs()) || shown.common_name().as_deref() != Some(id) {
                    return Err("the certificate is not of one of our authorities and for this registration".to_owned());
                }
                NewProof::Authority
            }
            (true, None) => return Err("neither a token nor a certificate".to_owned()),
        };
        Ok(Enrolled { identity: Identity::device(device), proof })
    }

    /// One registration, from CONNACK to the end.
    pub(crate) async fn serve(
        &self,
        hub: &Hub,
        enrolled: Enrolled,
        mut stream: Box<dyn Stream>,
        mut input: BytesMut,
    ) -> Result<(), String> {
        let mut output = BytesMut::new();
        packet::connack(&mut output, ConnectReturnCode::Success, false);
        let talk = async {
            for _ in 0..MOST_PACKETS {
                stream.write_all(&output).await.map_err(|error| error.to_string())?;
                stream.flush().await.map_err(|error| error.to_string())?;
                output.clear();
                let packet = loop {
                    if let Some(packet) = packet::next(&mut input, MAX_CONNECT).map_err(|error| error.to_string())? {
                        break packet;
                    }
                    if stream.read_buf(&mut input).await.map_err(|error| error.to_string())? == 0 {
                        return Ok(());
                    }
                };
                match packet {
                    Packet::Subscribe(subscribe) => {
                        let fits =
                            subscribe.filters.len() <= MAX_FILTERS && subscribe.filters.iter().all(|filter| filter.path == dps::ANSWERS);
                        if !fits {
                            return Err("listens to something else than its answers".to_owned());
                        }
                        let granted = subscribe
                            .filters
                            .iter()
                            .map(|filter| Some(if filter.qos == QoS::AtMostOnce { filter.qos } else { QoS::AtLeastOnce }))
                            .collect();
                        packet::suback(&mut output, subscribe.pkid, granted);
                    }
                    Packet::Publish(publish) => {
                        let (topic, body) = self.answer(hub, &enrolled, &publish).await?;
                        if publish.qos == QoS::AtLeastOnce {
                            packet::puback(&mut output, publish.pkid);
                        }
                        packet::publish(&mut output, topic, Bytes::from(body.to_string()), 0);
                    }
                    Packet::PingReq => packet::pingresp(&mut output),
                    Packet::PubAck(_) => {}
                    Packet::Disconnect => return Ok(()),
                    _ => return Err("a packet that has no place in a registration".to_owned()),
                }
            }
            Err("more packets than a registration needs".to_owned())
        };
        let ended = tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(format!("not over within {PATIENCE:?}")));
        // It may have gone already.
        drop(tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await);
        ended
    }

    async fn answer(&self, hub: &Hub, enrolled: &Enrolled, publish: &Publish) -> Result<(String, Json), String> {
        let nonsense = || "a topic that has no place in a registration".to_owned();
        if publish.qos == QoS::ExactlyOnce {
            return Err("QoS 2 is not offered".to_owned());
        }
        let rest = publish.topic.strip_prefix("$dps/registrations/").ok_or_else(nonsense)?;
        let (what, query) = rest.split_once("/?").ok_or_else(nonsense)?;
        let request = query.split('&').find_map(|part| part.strip_prefix("$rid=")).ok_or_else(nonsense)?;
        if request.len() > MOST_REQUEST || !request.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Err("a request id that cannot be repeated".to_owned());
        }
        let id = enrolled.identity.device.as_str();
        // One answer at a time, and the registration is its own operation.
        let operation = format!("4.{id}");
        match what {
            "PUT/iotdps-register" => {
                let asked = serde_json::from_slice::<Json>(&publish.payload).unwrap_or_default();
                if asked["registrationId"] != id {
                    let body =
                        json!({ "errorCode": 400_004, "message": "registrationId is not the one of the connection", "trackingId": "" });
                    return Ok((topic(400, request), body));
                }
                Ok((
                    topic(202, request) + &format!("&retry-after={RETRY_AFTER}"),
                    json!({ "operationId": operation, "status": "assigning" }),
                ))
            }
            "GET/iotdps-get-operationstatus" => match register(hub, enrolled).await {
                Ok(device) => Ok((topic(200, request), self.assigned(hub, &device, id, &operation))),
                // Not now; it asks again.
                Err(HubError::Records(_)) => Ok((
                    topic(500, request) + &format!("&retry-after={RETRY_AFTER}"),
                    json!({ "errorCode": 500_001, "message": "the registry cannot be written now", "trackingId": "" }),
                )),
                Err(error) => Ok((
                    topic(200, request),
                    json!({ "operationId": operation, "status": "failed", "registrationState": {
                        "registrationId": id, "status": "failed", "errorCode": error.code(), "errorMessage": error.to_string() } }),
                )),
            },
            _ => Err(nonsense()),
        }
    }

    fn assigned(&self, hub: &Hub, device: &Device, id: &str, operation: &str) -> Json {
        let status = if device.enabled { "assigned" } else { "disabled" };
        let mut state = json!({ "registrationId": id, "status": status, "lastUpdatedDateTimeUtc": hub.now().to_string() });
        if device.enabled {
            state["assignedHub"] = json!(self.hub);
            state["deviceId"] = json!(id);
            state["substatus"] = json!("initialAssignment");
        }
        json!({ "operationId": operation, "status": status, "registrationState": state })
    }
}

fn topic(status: u16, request: &str) -> String {
    format!("$dps/registrations/res/{status}/?$rid={request}")
}

/// Scope and registration id, if a user name is one of a registration.
pub(crate) fn registration_of(user: &str) -> Option<(&str, &str)> {
    let (scope, rest) = user.split_once("/registrations/")?;
    let (id, version) = rest.split_once('/')?;
    version.starts_with("api-version=").then_some((scope, id))
}

/// In the registry, as it proved itself: as it is there, or new.
async fn register(hub: &Hub, enrolled: &Enrolled) -> Result<Device, HubError> {
    match hub.device(&enrolled.identity).await {
        Ok(device) if is_same(&device.proof, &enrolled.proof) => Ok(device),
        Ok(_) => Err(HubError::Exists(format!("{} (it is registered with another proof)", enrolled.identity))),
        Err(HubError::NotFound(_)) => {
            hub.create(&enrolled.identity, enrolled.proof.clone(), true, Some("registered itself".to_owned())).await
        }
        Err(error) => Err(error),
    }
}

fn is_same(kept: &Proof, shown: &NewProof) -> bool {
    match (kept, shown) {
        (Proof::Keys { primary, secondary }, NewProof::Keys { primary: Some(own), .. }) => {
            let own = own.to_base64();
            [primary, secondary].iter().any(|key| key.to_base64().expose_secret() == own.expose_secret())
        }
        (Proof::Authority, NewProof::Authority) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::v4::Login;
    use tidegate_core::dialect::{dps::Registration, sas};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn desk() -> Desk {
        Desk { id_scope: "0neHall3".to_owned(), group_key: Some(Key::from_bytes(vec![7; 32]).expect("a key")), hub: "gw.local".to_owned() }
    }

    fn connect(client: &str, user: &str, password: &str) -> Connect {
        let mut connect = Connect::new(client);
        connect.login = Some(Login { username: user.to_owned(), password: password.to_owned() });
        connect
    }

    #[test]
    fn whoever_holds_the_derived_key_is_let_in_and_nobody_else() {
        let desk = desk();
        let own = Key::from_bytes(vec![7; 32]).expect("a key").derive("leaf-01");
        let registration = Registration { id_scope: "0neHall3".to_owned(), id: "leaf-01".to_owned() };
        let (user, later) = (registration.user_name(), Timestamp(NOW.0 + 60_000));
        let right = registration.password(&own, later);
        let judge = |client: &str, user: &str, password: &str| desk.admit(&connect(client, user, password), None, None, NOW).map(drop);
        assert_eq!(judge("leaf-01", &user, right.expose_secret()), Ok(()));
        let other = Key::from_bytes(vec![8; 32]).expect("a key").derive("leaf-01");
        let long_ago = Timestamp(NOW.0 - 3_600_000);
        for (client, user, password, why) in [
            ("leaf-02", user.as_str(), right.expose_secret().to_owned(), "the client id"),
            ("leaf-01", &user.replace("0neHall3", "0neHall4"), right.expose_secret().to_owned(), "the id scope"),
            ("leaf-02", &user.replace("leaf-01", "leaf-02"), right.expose_secret().to_owned(), "signed with another key"),
            ("LEAF-01", &user.replace("leaf-01", "LEAF-01"), right.expose_secret().to_owned(), "lower case"),
            ("leaf-01", &user, registration.password(&other, later).expose_secret().to_owned(), "signed with another key"),
            ("leaf-01", &user, registration.password(&own, long_ago).expose_secret().to_owned(), "expired"),
            ("leaf-01", &user, sas::make("gw.local/devices/leaf-01", &own, later, None).expose_secret().to_owned(), "for another device"),
            ("leaf-01", &user, String::new(), "neither a token nor a certificate"),
            ("leaf-01", &user, "x".repeat(10_000), "malformed"),
            ("leaf-01", "0neHall3/registrations/leaf-01", String::new(), "the user name"),
        ] {
            let told = judge(client, user, &password).expect_err(why);
            assert!(told.contains(why), "{why}: {told}");
        }
    }

    #[test]
    fn only_the_user_name_of_a_registration_comes_here() {
        assert_eq!(registration_of("s/registrations/leaf/api-version=2019-03-31&ClientVersion=x"), Some(("s", "leaf")));
        for user in [
            "",
            "leaf-01",
            "hub/leaf/?api-version=2021-04-12",
            "s/registrations/leaf",
            "s/registrations/leaf/?api-version=1",
            "/registrations/",
        ] {
            assert_eq!(registration_of(user), None, "{user}");
        }
    }
}
