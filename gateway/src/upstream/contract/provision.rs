//! A gateway that asks which hub it belongs to: a stand-in for the provisioning service, and the hub behind the same port.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use rumqttc::{
    QoS,
    mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, SubscribeReasonCode},
};
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::Timestamp,
    dialect::{dps::Registration, identity::Identity, key::Key, sas::Token},
    id::HubDeviceId,
    upstream::{Refusal, Upstream, UpstreamError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::carry::{NOW, carry, make};
use crate::upstream::iothub;

const GROUP_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const REGISTRATION: &str = "leaf-01";

/// What the service and the hub do, and what they saw.
#[derive(Debug, Default)]
struct Desk {
    /// Answers to registrations: status and body; when there are none, "wait", and then an assignment.
    refusals: Vec<(u16, Json)>,
    /// CONNECTs that the hub refuses.
    hub_refuses: usize,
    registrations: usize,
    hub_connects: Vec<String>,
}

struct StandIn {
    port: u16,
    desk: Arc<Mutex<Desk>>,
    task: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    async fn open(desk: Desk) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let (port, desk) = (listener.local_addr().expect("bound").port(), Arc::new(Mutex::new(desk)));
        let shared = desk.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut visitor = Visitor { stream, desk: shared.clone() };
                tokio::spawn(async move { visitor.serve().await.ok() });
            }
        });
        Self { port, desk, task }
    }

    fn desk<T>(&self, at: impl FnOnce(&mut Desk) -> T) -> T {
        at(&mut self.desk.lock().expect("no test panics with it"))
    }

    fn upstream(&self, folder: &std::path::Path) -> Box<dyn Upstream> {
        let key = folder.join("group-key");
        std::fs::write(&key, GROUP_KEY).expect("written");
        let section = json!({
            "id_scope": "0ne00000A0A", "registration_id": REGISTRATION, "group_key_file": key, "dps_host": "127.0.0.1", "port": self.port, "tls": false,
        });
        let mut upstream = make(&iothub::KIND, &section);
        upstream.keep_in(folder);
        upstream
    }
}

struct Visitor {
    stream: TcpStream,
    desk: Arc<Mutex<Desk>>,
}

impl Visitor {
    fn desk<T>(&self, at: impl FnOnce(&mut Desk) -> T) -> T {
        at(&mut self.desk.lock().expect("no test panics with it"))
    }

    async fn serve(&mut self) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        let Packet::Connect(connect) = self.read(&mut buffer).await? else { return Ok(()) };
        let code = self.judge(&connect);
        self.write(Packet::ConnAck(ConnAck::new(code, false))).await?;
        if code != ConnectReturnCode::Success {
            return Ok(());
        }
        loop {
            match self.read(&mut buffer).await? {
                Packet::Subscribe(subscribe) => {
                    let codes = subscribe.filters.iter().map(|filter| SubscribeReasonCode::Success(filter.qos)).collect();
                    self.write(Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await?;
                }
                Packet::Publish(publish) => {
                    self.write(Packet::PubAck(PubAck::new(publish.pkid))).await?;
                    if let Some((topic, body)) = self.answer(&publish) {
                        self.write(Packet::Publish(Publish::new(topic, QoS::AtMostOnce, body.to_string()))).await?;
                    }
                }
                Packet::PingReq => self.write(Packet::PingResp).await?,
                Packet::Disconnect => return Ok(()),
                _ => {}
            }
        }
    }

    /// The service's credentials and the hub's, to the letter.
    fn judge(&self, connect: &Connect) -> ConnectReturnCode {
        let login = connect.login.clone().expect("a login");
        let own = Key::from_base64(GROUP_KEY).expect("a key").derive(REGISTRATION);
        if login.username == "0ne00000A0A/registrations/leaf-01/api-version=2019-03-31" {
            let registration = Registration { id_scope: "0ne00000A0A".into(), id: REGISTRATION.into() };
            let right = registration.password(&own, Timestamp(NOW.0 + 3_600_000));
            let fine = connect.client_id == REGISTRATION && login.password == right.expose_secret();
            return if fine { ConnectReturnCode::Success } else { ConnectReturnCode::NotAuthorized };
        }
        let identity = Identity::device(HubDeviceId::new("Pump-7").expect("valid"));
        let token = Token::parse(&login.password).expect("a token");
        let fine =
            token.verify(&[&own], &["127.0.0.1"], &identity, NOW).is_ok() && login.username.starts_with("127.0.0.1/Pump-7/?api-version=");
        let refuse = self.desk(|desk| {
            desk.hub_connects.push(connect.client_id.clone());
            let refuses = desk.hub_refuses > 0;
            desk.hub_refuses = desk.hub_refuses.saturating_sub(1);
            refuses
        });
        if fine && !refuse { ConnectReturnCode::Success } else { ConnectReturnCode::NotAuthorized }
    }

    fn answer(&self, publish: &Publish) -> Option<(String, Json)> {
        let wait = json!({ "operationId": "4.op.1", "status": "assigning" });
        match publish.topic.as_str() {
            "$dps/registrations/PUT/iotdps-register/?$rid=1" => {
                assert_eq!(serde_json::from_slice::<Json>(&publish.payload).expect("JSON"), json!({ "registrationId": REGISTRATION }));
                let refusal = self.desk(|desk| {
                    desk.registrations += 1;
                    desk.refusals.pop()
                });
                let (status, body) = refusal.unwrap_or((202, wait));
                Some((format!("$dps/registrations/res/{status}/?$rid=1&retry-after=1"), body))
            }
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.op.1" => {
                let state =
                    json!({ "registrationId": REGISTRATION, "assignedHub": "127.0.0.1", "deviceId": "Pump-7", "status": "assigned" });
                let body = json!({ "operationId": "4.op.1", "status": "assigned", "registrationState": state });
                Some(("$dps/registrations/res/200/?$rid=2".to_owned(), body))
            }
            _ => None,
        }
    }

    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<Packet> {
        loop {
            match Packet::read(buffer, 1 << 20) {
                Ok(packet) => return Ok(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) if self.stream.read_buf(buffer).await? > 0 => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    async fn write(&mut self, packet: Packet) -> io::Result<()> {
        let mut out = BytesMut::new();
        packet.write(&mut out, 1 << 20).map_err(io::Error::other)?;
        self.stream.write_all(&out).await
    }
}

#[tokio::test]
async fn a_gateway_is_assigned_once_and_remembers_it() {
    let service = StandIn::open(Desk::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let mut upstream = service.upstream(folder.path());
        let session = upstream.connect().await.expect("assigned and let in");
        assert_eq!(carry(session, 1..=3).await.delivered(), 3);
        assert_eq!(upstream.target(), "127.0.0.1 as Pump-7");
    }
    assert_eq!(service.desk(|desk| (desk.registrations, desk.hub_connects.clone())), (1, vec!["Pump-7".to_owned(); 2]));
}

#[tokio::test]
async fn a_hub_that_refuses_us_is_reason_to_ask_once_more_and_not_again_and_again() {
    let service = StandIn::open(Desk { hub_refuses: 3, ..Desk::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = service.upstream(folder.path());
    assert!(matches!(first.connect().await, Err(UpstreamError::Refused { .. })));
    assert!(matches!(first.connect().await, Err(UpstreamError::Refused { .. })), "asked less than an hour ago");
    assert_eq!(service.desk(|desk| desk.registrations), 1);
    // After a restart the answer is known, and when it was given is not.
    let mut second = service.upstream(folder.path());
    assert!(matches!(second.connect().await, Err(UpstreamError::Refused { .. })));
    assert!(second.connect().await.is_ok());
    assert_eq!(service.desk(|desk| desk.registrations), 2);
}

#[tokio::test]
async fn a_refused_registration_says_why_and_a_busy_service_is_tried_later() {
    let busy = (429, json!({ "errorCode": 429_001, "message": "Throttled" }));
    let unknown = (404, json!({ "errorCode": 404_201, "message": "Enrollment not found." }));
    let unauthorized = (401, json!({ "errorCode": 401_002, "message": "Unauthorized" }));
    let service = StandIn::open(Desk { refusals: vec![busy, unknown, unauthorized], ..Desk::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut upstream = service.upstream(folder.path());
    let refused = upstream.connect().await.expect_err("not authorized");
    assert!(matches!(refused, UpstreamError::Refused { refusal: Refusal::Credentials, .. }) && refused.is_stubborn());
    let unknown = upstream.connect().await.expect_err("not enrolled");
    assert!(unknown.to_string().contains("refuses 'leaf-01': Enrollment not found. (404, 404201)") && unknown.is_stubborn(), "{unknown}");
    let busy = upstream.connect().await.expect_err("throttled");
    assert!(busy.to_string().contains("Throttled") && !busy.is_stubborn(), "{busy}");
    assert!(upstream.connect().await.is_ok());
}
