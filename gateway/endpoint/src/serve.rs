//! The front door: listeners, TLS, and the way of a connection from the first byte to its session.
//!
//! A stranger has [`CONNECT_PATIENCE`] to prove itself and one of a bounded number of places to do it in. Every listener takes MQTT as it is and within WebSocket: the first bytes tell.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet};
use tidegate_core::clock::TimeQuality;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    authority,
    certificate::{Authorities, Shown},
    event::{Event, EventKind},
    gate::{Gate, Refusal},
    hub::{Door, Hub},
    limits::{CONNECT_PATIENCE, MAX_CONNECT},
    packet::{self, Malformed},
    provision::{Desk, Provisioning, registration_of},
    session::Session,
    strangers::{Guest, Strangers},
    stream::{Rewound, Stream},
    tls::{self, Showing},
    websocket,
};

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct Options {
    /// MQTT over TLS.
    pub tls: Option<SocketAddr>,
    /// MQTT without.
    pub plain: Option<SocketAddr>,
    /// WebSocket over TLS.
    pub websocket: Option<SocketAddr>,
    /// Host names that user names and tokens may carry; empty for any.
    pub hosts: Vec<String>,
    /// Where the server's certificate comes from.
    pub certificate: Certificate,
    /// Authorities whose certificates devices may show, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// How devices may register themselves, if they may.
    pub provisioning: Option<Provisioning>,
}

/// Where the server's certificate comes from.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// From an authority of our own, made at first start.
    Own {
        /// Where it is kept.
        dir: PathBuf,
        /// Whose it is, for its name.
        owner: String,
        /// The names and addresses by which devices reach us.
        names: Vec<String>,
    },
    /// From files of the operator's, read again every day.
    Files {
        /// The chain, in PEM.
        certificate: PathBuf,
        /// Its key, in PEM.
        key: PathBuf,
    },
}

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A certificate or key.
    #[error("endpoint: {0}")]
    Certificate(String),
    /// The enrolment group's key.
    #[error("endpoint.provisioning: {0}")]
    Provisioning(String),
    /// An address.
    #[error("endpoint: cannot listen on {address}: {why}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
}

/// How often the certificate is looked at.
const DAILY: Duration = Duration::from_secs(86_400);
/// How long sessions have to say goodbye when we stop.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often messages that are too old are looked for, while some wait and while none does.
const SWEEP: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// What every connection shares.
#[derive(Debug)]
struct House {
    hub: Hub,
    gate: Gate,
    strangers: Arc<Strangers>,
}

/// Listens and serves until stopped; then every session ends, and what they had taken has gone to the log.
pub async fn serve(hub: Hub, options: Options, stop: CancellationToken) -> Result<(), ServeError> {
    let authorities = match &options.client_ca {
        Some(path) => Some(Authorities::read(path).map_err(ServeError::Certificate)?),
        None => None,
    };
    let desk = options.provisioning.as_ref().map(Desk::open).transpose().map_err(ServeError::Provisioning)?;
    let gate = Gate { hosts: options.hosts.clone(), authorities, desk, max_sessions: options.max_sessions, ..Gate::default() };
    let house = Arc::new(House { hub: hub.clone(), gate, strangers: Arc::default() });
    let mut tasks = JoinSet::new();
    let mut addresses = Vec::new();
    let acceptor = if options.tls.is_some() || options.websocket.is_some() {
        let (acceptor, showing) = prepare_tls(&hub, &options.certificate).await?;
        tasks.spawn(renew(hub.clone(), options.certificate.clone(), showing));
        Some(acceptor)
    } else {
        None
    };
    for (door, address) in [(Door::Tls, options.tls), (Door::Plain, options.plain), (Door::WebSocket, options.websocket)] {
        let Some(address) = address else { continue };
        let listener = listen(address).map_err(|why| ServeError::Listen { address, why })?;
        let bound = listener.local_addr().map_err(|why| ServeError::Listen { address, why })?;
        info!(%bound, ?door, "devices may connect");
        addresses.push((door, bound));
        tasks.spawn(accept(house.clone(), listener, acceptor.clone().filter(|_| door != Door::Plain), stop.clone()));
    }
    hub.0.addresses.send_replace(addresses);
    tasks.spawn(sweep(hub.clone()));
    stop.cancelled().await;
    hub.0.addresses.send_replace(Vec::new());
    tasks.shutdown().await;
    hub.0.live.dismiss_all();
    let gone = async {
        while hub.0.live.count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(GOODBYE, gone).await.is_err() {
        warn!(sessions = hub.0.live.count(), "sessions are left behind");
    }
    Ok(())
}

/// With a queue long enough for a site whose power came back.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    // A restart must not wait for connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn prepare_tls(hub: &Hub, certificate: &Certificate) -> Result<(TlsAcceptor, Arc<Showing>), ServeError> {
    let (pair, ca) = read_certificate(hub, certificate).await.map_err(ServeError::Certificate)?;
    hub.0.authority.send_replace(ca);
    let showing = Showing::new(&pair).map_err(ServeError::Certificate)?;
    let config = tls::server(showing.clone()).map_err(ServeError::Certificate)?;
    Ok((TlsAcceptor::from(config), showing))
}

async fn read_certificate(hub: &Hub, certificate: &Certificate) -> Result<(authority::Pair, Option<String>), String> {
    let (certificate, now) = (certificate.clone(), hub.now());
    let read = tokio::task::spawn_blocking(move || match certificate {
        Certificate::Own { dir, owner, names } => authority::pair(&dir, &owner, &names, now).map(|(pair, ca)| (pair, Some(ca))),
        Certificate::Files { certificate, key } => authority::read_own(&certificate, &key).map(|pair| (pair, None)),
    });
    read.await.map_err(|error| error.to_string())?
}

/// Puts a fresh certificate in place when there is one. Connections that are open keep theirs.
async fn renew(hub: Hub, certificate: Certificate, showing: Arc<Showing>) {
    loop {
        tokio::time::sleep(DAILY).await;
        let renewed = read_certificate(&hub, &certificate).await.and_then(|(pair, _)| showing.replace(&pair));
        if let Err(why) = renewed {
            warn!(%why, "the server certificate cannot be renewed; the one in use goes on until it ends");
        }
    }
}

/// Gives up C2D messages that nobody took in time. A clock that nobody believes judges no expiry.
async fn sweep(hub: Hub) {
    loop {
        let now = hub.0.clock.now();
        let mut pause = SWEEP.0;
        if now.quality == TimeQuality::Synced {
            let before = tidegate_core::clock::Timestamp(now.wall.0 - hub.0.rules.feedback_ttl.as_millis() as i64);
            match hub.0.records.expire_c2d(now.wall, before).await {
                Ok((_, next)) => pause = next.map_or(SWEEP.1, |next| next.since(now.wall).clamp(Duration::from_millis(100), SWEEP.0)),
                Err(error) => warn!(%error, "messages that are too old cannot be given up"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn accept(house: Arc<House>, listener: TcpListener, tls: Option<TlsAcceptor>, stop: CancellationToken) {
    loop {
        // Strangers beyond the places wait in the kernel's queue.
        house.strangers.room().await;
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most often; the ones in use come back.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !house.gate.throttle.lets_in(remote.ip()) {
            debug!(%remote, "too many failed attempts, closed");
            continue;
        }
        let guest = house.strangers.arrive(remote.ip());
        // Acknowledgements are small and must not wait for more to come.
        stream.set_nodelay(true).ok();
        tokio::spawn(receive(house.clone(), stream, remote, tls.clone(), guest, stop.clone()));
    }
}

/// A connection with its CONNECT.
struct Opened {
    stream: Box<dyn Stream>,
    shown: Option<Shown>,
    connect: Connect,
    rest: BytesMut,
}

async fn receive(
    house: Arc<House>,
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    guest: Guest,
    stop: CancellationToken,
) {
    let opened = tokio::select! {
        opened = tokio::time::timeout(CONNECT_PATIENCE, open(stream, tls)) => opened,
        () = guest.out.cancelled() => {
            return refused(&house, remote, String::new(), "too slow while others wait for its place".to_owned(), None);
        }
        () = stop.cancelled() => return,
    };
    let opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(why)) => return refused(&house, remote, String::new(), why, None),
        Err(_) => return refused(&house, remote, String::new(), format!("no CONNECT within {CONNECT_PATIENCE:?}"), None),
    };
    let Opened { mut stream, shown, connect, rest } = opened;
    if let Some(desk) = &house.gate.desk
        && connect.login.as_ref().is_some_and(|login| registration_of(&login.username).is_some())
    {
        // The guest keeps its place among the strangers: it is no device yet, and there are few of those.
        return enrol(&house, desk, connect, shown, Opening { stream, rest, remote }).await;
    }
    let admitted = match house.gate.admit(&house.hub, connect, shown, remote).await {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(&house, stream, remote, refusal).await,
    };
    // From here on it is no stranger.
    drop(guest);
    let hub = house.hub.clone();
    let place = hub.0.live.enter(&admitted.identity, remote, hub.now()).await;
    if stop.is_cancelled() {
        return;
    }
    let (present, c2d) = match hub.0.records.open_session(&admitted.identity, !admitted.clean).await {
        Ok(session) => session,
        Err(error) => {
            warn!(%error, "a session cannot be kept");
            return answer(&mut stream, ConnectReturnCode::ServiceUnavailable).await;
        }
    };
    let mut output = BytesMut::new();
    packet::connack(&mut output, ConnectReturnCode::Success, present);
    // Boxed, because it lives long and the way here was large.
    Box::pin(Session::new(hub, admitted, remote, stream, place, (rest, output)).run(c2d)).await;
}

/// A connection that is let in or turned away.
struct Opening {
    stream: Box<dyn Stream>,
    rest: BytesMut,
    remote: SocketAddr,
}

async fn enrol(house: &House, desk: &Desk, connect: Connect, shown: Option<Shown>, opening: Opening) {
    let Opening { mut stream, rest, remote } = opening;
    let claimed: String = connect.client_id.chars().take(80).collect();
    let throttle = &house.gate.throttle;
    let judged = match throttle.lets_try(remote.ip(), &claimed) {
        false => Err("too many failed attempts: wait ten seconds".to_owned()),
        true => desk.admit(&connect, shown.as_ref(), house.gate.authorities.as_ref(), house.hub.now()),
    };
    let why = match judged {
        Ok(enrolled) => {
            throttle.succeeded(remote.ip(), &claimed);
            match desk.serve(&house.hub, enrolled, stream, rest).await {
                Ok(()) => return,
                Err(why) => why,
            }
        }
        Err(why) => {
            throttle.failed(remote.ip(), &claimed);
            answer(&mut stream, ConnectReturnCode::NotAuthorized).await;
            why
        }
    };
    refused(house, remote, claimed, format!("registration: {why}"), None);
}

/// TLS, WebSocket, and the first packet.
async fn open(stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<Opened, String> {
    let (stream, shown): (Box<dyn Stream>, _) = match tls {
        None => (Box::new(stream), None),
        Some(tls) => {
            let stream = tls.accept(stream).await.map_err(|error| format!("TLS: {error}"))?;
            let shown = Shown::new(stream.get_ref().1.peer_certificates());
            (Box::new(stream), shown)
        }
    };
    let (mut stream, mut read) = (stream, BytesMut::with_capacity(1024));
    while read.len() < b"GET ".len() {
        more(&mut stream, &mut read).await?;
    }
    if read.starts_with(b"GET ") {
        let rewound = Rewound::new(std::mem::take(&mut read), stream);
        stream = Box::new(websocket::accept(rewound).await.map_err(|error| format!("WebSocket: {error}"))?);
    }
    loop {
        match packet::next(&mut read, MAX_CONNECT) {
            Ok(Some(Packet::Connect(connect))) => return Ok(Opened { stream, shown, connect, rest: read }),
            Ok(Some(_)) => return Err("the first packet is no CONNECT".to_owned()),
            Ok(None) => more(&mut stream, &mut read).await?,
            Err(error) => {
                let mut output = BytesMut::new();
                match error {
                    Malformed::Version5 => packet::refuse_version_5(&mut output),
                    Malformed::Version => packet::connack(&mut output, ConnectReturnCode::RefusedProtocolVersion, false),
                    _ => {}
                }
                // It may have gone already.
                stream.write_all(&output).await.ok();
                stream.shutdown().await.ok();
                return Err(error.to_string());
            }
        }
    }
}

async fn more(stream: &mut Box<dyn Stream>, read: &mut BytesMut) -> Result<(), String> {
    match stream.read_buf(read).await {
        Ok(0) => Err("closed before its CONNECT was there".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn turn_away(house: &House, mut stream: Box<dyn Stream>, remote: SocketAddr, refusal: Refusal) {
    refused(house, remote, refusal.claimed, refusal.why, refusal.code);
    answer(&mut stream, refusal.answer).await;
}

/// The last word to somebody who stays outside.
async fn answer(stream: &mut Box<dyn Stream>, code: ConnectReturnCode) {
    let mut output = BytesMut::new();
    packet::connack(&mut output, code, false);
    let farewell = async {
        stream.write_all(&output).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    // It may have gone already, or not listen.
    drop(tokio::time::timeout(Duration::from_secs(1), farewell).await);
}

fn refused(house: &House, remote: SocketAddr, claimed: String, why: String, code: Option<u32>) {
    house.hub.0.tally.refused.fetch_add(1, Relaxed);
    debug!(%remote, claimed, %why, "refused");
    let (device, module) = match claimed.split_once('/') {
        Some((device, module)) => (Some(device.to_owned()), Some(module.to_owned())),
        None => ((!claimed.is_empty()).then_some(claimed), None),
    };
    let event = Event {
        number: 0,
        kind: EventKind::ConnectionRefused,
        at: house.hub.now(),
        device,
        module,
        remote: Some(remote),
        detail: why,
        code,
        count: 1,
    };
    house.hub.tell(event);
}
