//! The demo's hub: rumqttd on a loopback port, and a consumer that counts what arrives.
//!
//! rumqttd's own listener is used as it comes, which is fine here and nowhere else: only this process knows the port.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use rumqttd::{Broker, ConnectionSettings, RouterConfig, ServerSettings};
use tracing::warn;

/// What has arrived at the hub.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Different messages.
    pub(super) unique: AtomicU64,
    /// Messages that had been there before.
    pub(super) again: AtomicU64,
}

/// Ids remembered to tell a message that comes twice. Duplicates follow within a window of a few hundred messages, so this
/// is plenty, and it keeps a demo that runs for days from growing.
const REMEMBERED: usize = 1_000_000;
/// How long the broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// A port that was free a moment ago.
pub(super) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Starts the broker and the consumer; they run until the process ends (rumqttd cannot be stopped).
pub(super) async fn start() -> anyhow::Result<(SocketAddr, Arc<Arrived>)> {
    let address = free_port()?;
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 256 * 1024,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings { name: "demo-hub".into(), listen: address, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: 16,
        max_outgoing_packet_count: 200,
        max_segment_size: 1 << 20,
        max_segment_count: 8,
        ..RouterConfig::default()
    };
    let config = rumqttd::Config { id: 0, router, v4: Some(HashMap::from([("v4".to_owned(), server)])), ..rumqttd::Config::default() };
    std::thread::Builder::new().name("demo-hub".into()).spawn(move || {
        if let Err(error) = Broker::new(config).start() {
            warn!(%error, "the demo's hub ended");
        }
    })?;
    let listening = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.context("the demo's hub does not listen")?;
    let arrived = Arc::new(Arrived::default());
    consume(address, arrived.clone()).await?;
    Ok((address, arrived))
}

/// Subscribes, and counts from then on.
async fn consume(address: SocketAddr, arrived: Arc<Arrived>) -> anyhow::Result<()> {
    let mut options = MqttOptions::new("demo-consumer", address.ip().to_string(), address.port());
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("tidegate/#", QoS::AtLeastOnce).await?;
    let subscribed = async {
        loop {
            if let Event::Incoming(Packet::SubAck(_)) = events.poll().await? {
                return Ok::<_, rumqttc::ConnectionError>(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, subscribed).await.context("the demo's hub does not take subscriptions")??;
    tokio::spawn(async move {
        // The client lives as long as the loop, or the loop would end.
        let _client = client;
        let mut seen = Seen::default();
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => match seen.is_new(&publish.payload) {
                    true => arrived.unique.fetch_add(1, Relaxed),
                    false => arrived.again.fetch_add(1, Relaxed),
                },
                Ok(_) => continue,
                Err(error) => {
                    warn!(%error, "the demo's consumer lost its connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
        }
    });
    Ok(())
}

/// The latest messages' ids.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// A payload begins with its message's id (`{"id":"…"`), so the payload's first 48 bytes tell messages apart.
    fn is_new(&mut self, payload: &[u8]) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        payload.get(..48).unwrap_or(payload).hash(&mut hasher);
        let id = hasher.finish();
        let new = self.ids.insert(id);
        if new {
            self.order.push_back(id);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
        new
    }
}
