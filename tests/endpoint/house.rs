//! The endpoint in this process, over a real log and a real `state.db`, and a client that says exactly what a test wants said.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{
    QoS,
    v4::{ConnAck, Connect, ConnectReturnCode, LastWill, Login, Packet, PubAck, Publish, Subscribe, SubscribeFilter},
};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tidegate::records::{LogOutlet, StateRecords};
use tidegate_core::{
    clock::{Clock, SystemClock},
    device::{Device, Proof},
    dialect::{identity::Identity, sas},
    id::Name,
    message::Message,
    upstream::Fate,
};
use tidegate_endpoint::{C2dRules, Certificate, Door, Hub, NewProof, Options, serve};
use tidegate_store::{Log, LogOptions, ReaderOptions, Replay, State};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// For what takes milliseconds on an idle machine.
pub(super) const SOON: Duration = Duration::from_secs(20);
/// The name that devices are given.
pub(super) const HOST: &str = "hub.example";

/// An endpoint that runs.
pub(super) struct House {
    pub(super) hub: Hub,
    pub(super) log: Log,
    pub(super) plain: SocketAddr,
    pub(super) dir: Arc<TempDir>,
    state: State,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::on(Arc::new(tempfile::tempdir().expect("a folder")), change).await
    }

    pub(super) async fn on(dir: Arc<TempDir>, change: impl FnOnce(&mut Options)) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let clock = SystemClock::new("a test");
        clock.trust(true);
        let log_options = LogOptions { max_size: 64 << 20, commit_interval: Duration::from_millis(50), keep_delivered: Duration::ZERO };
        let (log, _) = Log::open(dir.path(), log_options, clock.clone()).expect("a log");
        let (state, _) = State::open(dir.path()).expect("a state");
        let (records, outlet) = (Arc::new(StateRecords(state.clone())), Arc::new(LogOutlet(log.clone())));
        let hub = Hub::new(records, outlet, clock.clone(), C2dRules::default());
        let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let own = Certificate::Own { dir: dir.path().join("tls"), owner: "test".into(), names: vec!["localhost".into(), HOST.into()] };
        let mut options = Options {
            tls: any,
            plain: any,
            websocket: None,
            hosts: Vec::new(),
            certificate: own,
            client_ca: None,
            max_sessions: 2_000,
            provisioning: None,
        };
        change(&mut options);
        let stop = CancellationToken::new();
        let serving = serve(hub.clone(), options, stop.clone());
        let served = tokio::spawn(async move { serving.await.expect("it can listen") });
        let mut addresses = hub.addresses();
        let found = addresses.wait_for(|addresses| !addresses.is_empty()).await.expect("it listens").clone();
        let of = |door| found.iter().find(|(d, _)| *d == door).map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |(_, address)| *address);
        Self { hub, log, plain: of(Door::Plain), dir, state, stop, served }
    }

    /// Stops it, and opens it again on the same folder.
    pub(super) async fn reopen(self) -> Self {
        let dir = self.dir.clone();
        self.close().await;
        Self::on(dir, |_| {}).await
    }

    pub(super) async fn close(self) {
        self.stop.cancel();
        self.served.await.expect("it ended well");
        self.log.close().await;
        self.state.close().await;
    }

    /// A device with keys.
    pub(super) async fn register(&self, client_id: &str) -> Device {
        let keys = NewProof::Keys { primary: None, secondary: None };
        self.hub.create(&id(client_id), keys, true, None).await.expect("registered")
    }

    /// Everything in the log, settled as delivered.
    pub(super) async fn messages(&self, count: usize) -> Vec<Message> {
        self.log.hold_unsynced(false);
        let options = ReaderOptions { window: 8192, replay: Replay::InOrder, ttl: None };
        let mut reader = self.log.reader(&Name::new("test").expect("a name"), options).await.expect("a reader");
        reader.begin();
        let mut all = Vec::new();
        while all.len() < count {
            let leased = tokio::time::timeout(SOON, reader.lease(4096)).await.unwrap_or_else(|_| panic!("{} of {count} came", all.len()));
            for leased in leased.expect("readable") {
                reader.settle(leased.ticket, Fate::Delivered);
                all.push((*leased.message).clone());
            }
        }
        all
    }

    /// A connected device; it must be let in.
    pub(super) async fn join(&self, device: &Device) -> Client {
        let (client, connack) = Client::connect(self.plain, login(device)).await;
        assert_eq!(connack.code, ConnectReturnCode::Success);
        client
    }
}

pub(super) fn id(client_id: &str) -> Identity {
    Identity::from_client_id(client_id).expect("an id")
}

/// A token of the device's own, good for this long.
pub(super) fn token(device: &Device, host: &str, seconds: i64) -> String {
    let Proof::Keys { primary, .. } = &device.proof else { panic!("a device with keys") };
    let now = SystemClock::new("a test").now().wall;
    let until = tidegate_core::clock::Timestamp(now.0 + seconds * 1000);
    sas::make(&device.identity.resource(host), primary, until, None).expose_secret().to_owned()
}

pub(super) fn user_name(identity: &Identity) -> String {
    format!("{HOST}/{identity}/?api-version=2021-04-12")
}

/// What the device's SDK would send.
pub(super) fn login(device: &Device) -> Connect {
    let mut connect = Connect::new(device.identity.to_string());
    connect.clean_session = false;
    connect.keep_alive = 60;
    connect.login = Some(Login { username: user_name(&device.identity), password: token(device, HOST, 3600) });
    connect
}

pub(super) fn with_will(mut connect: Connect, topic: &str, qos: QoS) -> Connect {
    connect.last_will = Some(LastWill::new(topic, "gone", qos, false));
    connect
}

/// A device, byte for byte.
pub(super) struct Client {
    stream: TcpStream,
    input: BytesMut,
    packet: u16,
}

impl Client {
    pub(super) async fn dial(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("it listens"), input: BytesMut::new(), packet: 0 }
    }

    pub(super) async fn connect(address: SocketAddr, connect: Connect) -> (Self, ConnAck) {
        Self::dial(address).await.greet(connect).await
    }

    /// As if from another machine.
    pub(super) async fn connect_from(from: &str, address: SocketAddr, connect: Connect) -> (Self, ConnAck) {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("free");
        let stream = socket.connect(address).await.expect("it listens");
        Self { stream, input: BytesMut::new(), packet: 0 }.greet(connect).await
    }

    async fn greet(self, connect: Connect) -> (Self, ConnAck) {
        let mut client = self;
        client.send(Packet::Connect(connect)).await;
        match client.receive().await {
            Some(Packet::ConnAck(connack)) => (client, connack),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn send(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        packet.write(&mut out, 1 << 20).expect("written");
        self.raw(&out).await;
    }

    /// It may have been closed already, which a test sees when it reads.
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// The next packet; `None` when the connection was closed.
    pub(super) async fn receive(&mut self) -> Option<Packet> {
        tokio::time::timeout(SOON, self.receive_any()).await.expect("something comes or it is closed")
    }

    pub(super) async fn receive_any(&mut self) -> Option<Packet> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.input, 1 << 20) {
                return Some(packet);
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn is_closed(&mut self) -> bool {
        while let Some(packet) = self.receive().await {
            // What was sent before it closed.
            assert!(!matches!(packet, Packet::ConnAck(_)));
        }
        true
    }

    /// Whether it is still served.
    pub(super) async fn ping(&mut self) {
        self.send(Packet::PingReq).await;
        assert_eq!(self.receive().await, Some(Packet::PingResp));
    }

    pub(super) fn next_packet(&mut self) -> u16 {
        self.packet += 1;
        self.packet
    }

    /// Publishes without waiting; returns the packet id.
    pub(super) async fn publish(&mut self, topic: &str, qos: QoS, payload: impl Into<Bytes>) -> u16 {
        let mut publish = Publish::from_bytes(topic, qos, payload.into());
        publish.pkid = if qos == QoS::AtMostOnce { 0 } else { self.next_packet() };
        let packet = publish.pkid;
        self.send(Packet::Publish(publish)).await;
        packet
    }

    /// Publishes and waits for the PUBACK.
    pub(super) async fn deliver(&mut self, topic: &str, payload: impl Into<Bytes>) {
        let packet = self.publish(topic, QoS::AtLeastOnce, payload).await;
        assert_eq!(self.receive().await, Some(Packet::PubAck(PubAck::new(packet))), "{topic}");
    }

    pub(super) async fn subscribe(&mut self, filters: &[&str]) {
        let filters = filters.iter().map(|path| SubscribeFilter::new((*path).to_owned(), QoS::AtLeastOnce)).collect::<Vec<_>>();
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = self.next_packet();
        let packet = subscribe.pkid;
        self.send(Packet::Subscribe(subscribe)).await;
        match self.receive().await {
            Some(Packet::SubAck(ack)) => assert_eq!(ack.pkid, packet),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn receive_publish(&mut self) -> Publish {
        match self.receive().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("{other:?}"),
        }
    }
}
