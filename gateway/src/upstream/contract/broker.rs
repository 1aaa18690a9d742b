//! A broker for tests, as obliging or as hostile as it is asked to be. It keeps what it saw.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rumqttc::{
    QoS,
    mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, PubAck, PubRec, Publish, SubAck, SubscribeReasonCode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How it behaves. Those with a number begin after so many publishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Temper {
    /// As a broker should.
    Obliging,
    /// Takes its time for each acknowledgement.
    Slow(Duration),
    /// Sends every byte by itself.
    Trickling,
    /// Between acknowledgements sends what nobody asked for.
    Flooding,
    /// Never answers CONNECT.
    Mute,
    /// Refuses with this code, known or not.
    Refusing(u8),
    /// Hangs up on CONNECT.
    HangsUp,
    /// Speaks another protocol.
    Http,
    /// Answers CONNECT with something else than CONNACK.
    Confused,
    /// Never acknowledges, never answers a subscription; answers pings.
    Ignoring,
    /// Never acknowledges.
    NeverAcknowledges,
    /// Acknowledges in pairs, the second first.
    Swaps,
    /// Acknowledges a packet that was never sent.
    AcknowledgesUnknown(u16),
    /// Acknowledges everything twice.
    AcknowledgesTwice,
    /// Closes.
    ClosesAfter(usize),
    /// Sends bytes that are no packet.
    GarbageAfter(usize),
    /// Announces a packet of 200 MB.
    OversizedAfter(usize),
    /// Sends half a packet and closes.
    HalfAfter(usize),
    /// Answers as to QoS 2.
    ReceivesAfter(usize),
    /// Sends with QoS 2.
    ExactlyOnceAfter(usize),
    /// Sends CONNACK again.
    ConnackAfter(usize),
    /// Sends what only clients send.
    ConnectAfter(usize),
    /// Acknowledges one, then sends noise from this seed, some of it nearly MQTT, and closes.
    Noise(u64),
}

/// What it saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connects: Vec<Connect>,
    pub(super) filters: Vec<String>,
    pub(super) publishes: Vec<Publish>,
    /// Payloads whose acknowledgement was written, or about to be.
    pub(super) acknowledged: Vec<Bytes>,
    /// Packet ids that the client acknowledged.
    pub(super) pubacks: Vec<u16>,
    pub(super) disconnects: usize,
    /// Connections that have ended.
    pub(super) ended: usize,
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Broker {
    /// Listens; sends `commands` (topic, payload, QoS) right after each CONNACK, before any SUBACK.
    pub(super) async fn start(temper: Temper, commands: Vec<Publish>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = Connection { stream, temper, seen: shared.clone(), publishes: 0, first: None };
                let commands = commands.clone();
                tokio::spawn(async move {
                    connection.serve(&commands).await.ok();
                    connection.look(|seen| seen.ended += 1);
                });
            }
        });
        Self { port, seen, task }
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().expect("no test panics with it"))
    }

    /// Waits until what was seen satisfies a condition.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let wait = async {
            while !self.look(&condition) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}; {:?}", self.look(|s| format!("{s:?}"))));
    }
}

struct Connection {
    stream: TcpStream,
    temper: Temper,
    seen: Arc<Mutex<Seen>>,
    publishes: usize,
    /// A packet id that waits for its pair.
    first: Option<(u16, Bytes)>,
}

/// Begins like a packet of some type, with flags and a length that need not be true.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..8) {
        let length = random.usize(0..120);
        bytes.push(random.u8(..));
        bytes.push(if random.bool() { u8::try_from(length).expect("short") } else { random.u8(..) });
        bytes.extend((0..length).map(|_| if random.bool() { 0 } else { random.u8(..) }));
    }
    bytes
}

/// More than any packet of ours.
const MOST: usize = 1 << 20;

impl Connection {
    fn look(&self, at: impl FnOnce(&mut Seen)) {
        at(&mut self.seen.lock().expect("no test panics with it"));
    }

    async fn serve(&mut self, commands: &[Publish]) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        if let Packet::Connect(connect) = self.read(&mut buffer).await? {
            self.look(|seen| seen.connects.push(connect));
        }
        match self.temper {
            Temper::Mute => return self.wait_for_the_end(&mut buffer).await,
            Temper::HangsUp => return Ok(()),
            Temper::Refusing(code) => return self.stream.write_all(&[0x20, 2, 0, code]).await,
            Temper::Http => return self.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
            Temper::Confused => return self.write(Packet::PingResp).await,
            _ => {}
        }
        self.write(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await?;
        for (at, command) in commands.iter().enumerate() {
            let mut command = command.clone();
            command.pkid = if command.qos == QoS::AtMostOnce { 0 } else { u16::try_from(at + 1).expect("few commands") };
            self.write(Packet::Publish(command)).await?;
        }
        loop {
            match self.read(&mut buffer).await? {
                Packet::Publish(publish) => self.on_publish(publish).await?,
                Packet::PubAck(ack) => self.look(|seen| seen.pubacks.push(ack.pkid)),
                Packet::Subscribe(subscribe) => {
                    self.look(|seen| seen.filters.extend(subscribe.filters.iter().map(|filter| filter.path.clone())));
                    let codes = subscribe.filters.iter().map(|filter| SubscribeReasonCode::Success(filter.qos)).collect();
                    if self.temper != Temper::Ignoring {
                        self.write(Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await?;
                    }
                }
                Packet::PingReq => self.write(Packet::PingResp).await?,
                Packet::Disconnect => {
                    self.look(|seen| seen.disconnects += 1);
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    async fn on_publish(&mut self, publish: Publish) -> io::Result<()> {
        self.publishes += 1;
        let (id, payload, qos) = (publish.pkid, publish.payload.clone(), publish.qos);
        self.look(|seen| seen.publishes.push(publish));
        if qos == QoS::AtMostOnce {
            return Ok(());
        }
        let due = |after: usize| self.publishes > after;
        match self.temper {
            Temper::NeverAcknowledges | Temper::Ignoring => Ok(()),
            Temper::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.acknowledge(id, payload).await
            }
            Temper::Flooding => {
                for _ in 0..20 {
                    self.write(Packet::Publish(Publish::new("nobody/asked", QoS::AtMostOnce, vec![7; 300]))).await?;
                    self.write(Packet::PingResp).await?;
                }
                self.acknowledge(id, payload).await
            }
            Temper::Swaps => match self.first.take() {
                None => {
                    self.first = Some((id, payload));
                    Ok(())
                }
                Some((first, first_payload)) => {
                    self.acknowledge(id, payload).await?;
                    self.acknowledge(first, first_payload).await
                }
            },
            Temper::AcknowledgesUnknown(unknown) => self.write(Packet::PubAck(PubAck::new(unknown))).await,
            Temper::AcknowledgesTwice => {
                self.acknowledge(id, payload.clone()).await?;
                self.acknowledge(id, payload).await
            }
            Temper::ClosesAfter(after) if due(after) => Err(io::ErrorKind::ConnectionAborted.into()),
            Temper::GarbageAfter(after) if due(after) => self.stream.write_all(&[0xff; 64]).await,
            Temper::OversizedAfter(after) if due(after) => self.stream.write_all(&[0x30, 0x80, 0x84, 0xaf, 0x5f, 0, 1]).await,
            Temper::HalfAfter(after) if due(after) => {
                self.stream.write_all(&[0x30, 100, 0, 5, b'h', b'a']).await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Temper::ReceivesAfter(after) if due(after) => self.write(Packet::PubRec(PubRec::new(id))).await,
            Temper::ExactlyOnceAfter(after) if due(after) => {
                let mut publish = Publish::new("x", QoS::ExactlyOnce, vec![1]);
                publish.pkid = 9;
                self.write(Packet::Publish(publish)).await
            }
            Temper::ConnackAfter(after) if due(after) => self.write(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, true))).await,
            Temper::Noise(seed) if due(1) => {
                self.stream.write_all(&noise(seed)).await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Temper::ConnectAfter(after) if due(after) => self.write(Packet::Connect(Connect::new("you"))).await,
            _ => self.acknowledge(id, payload).await,
        }
    }

    async fn acknowledge(&mut self, id: u16, payload: Bytes) -> io::Result<()> {
        self.look(|seen| seen.acknowledged.push(payload));
        self.write(Packet::PubAck(PubAck::new(id))).await
    }

    async fn wait_for_the_end(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        while self.stream.read_buf(buffer).await? > 0 {
            buffer.clear();
        }
        Ok(())
    }

    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<Packet> {
        loop {
            match Packet::read(buffer, MOST) {
                Ok(packet) => return Ok(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {
                    if self.stream.read_buf(buffer).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    async fn write(&mut self, packet: Packet) -> io::Result<()> {
        let mut out = BytesMut::new();
        packet.write(&mut out, MOST).map_err(io::Error::other)?;
        if self.temper != Temper::Trickling {
            return self.stream.write_all(&out).await;
        }
        for byte in out {
            self.stream.write_all(&[byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
