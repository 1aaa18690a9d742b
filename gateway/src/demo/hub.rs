//! The demo's hub: a Tidegate's own endpoint on a loopback port, as `tidegate hub` would run it, and a reader of its log that counts
//! what arrives.
//!
//! The gateway above it connects as to Azure IoT Hub: TLS, with the authority that the hub made, and a token signed with its key.

use std::{
    collections::{HashSet, VecDeque},
    fs::OpenOptions,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use secrecy::ExposeSecret;
use tidegate_core::{
    clock::SystemClock,
    device::Proof,
    dialect::identity::Identity,
    id::{HubDeviceId, Name},
    message::Message,
    upstream::Fate,
};
use tidegate_endpoint::{C2dRules, Certificate, Hub, NewProof, Options, serve};
use tidegate_store::{Log, LogOptions, Reader, ReaderOptions, Replay, State};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::records::{LogOutlet, StateRecords};

/// What has arrived at the hub.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Different messages.
    pub(super) unique: AtomicU64,
    /// Messages that had been there before.
    pub(super) again: AtomicU64,
}

/// A hub that runs until the process ends.
#[derive(Debug)]
pub(super) struct DemoHub {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its authority, in PEM.
    pub(super) ca_file: PathBuf,
    /// The gateway's key there.
    pub(super) key_file: PathBuf,
    /// What has arrived.
    pub(super) arrived: Arc<Arrived>,
}

/// The gateway's id at the hub.
pub(super) const DEVICE: &str = "demo";
/// Ids remembered to tell a message that comes twice. Duplicates follow within a window of a few hundred messages, so this
/// is plenty, and it keeps a demo that runs for days from growing.
const REMEMBERED: usize = 1_000_000;
/// How long the hub may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages read at once.
const BATCH: usize = 512;

/// A port that was free a moment ago.
pub(super) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Starts the hub in this folder, registers the gateway, and counts from then on.
pub(super) async fn start(folder: &Path) -> anyhow::Result<DemoHub> {
    let dir = folder.join("hub");
    let clock = SystemClock::new("demo hub");
    clock.trust(true);
    let options = LogOptions { max_size: 64 << 20, commit_interval: Duration::from_millis(200), keep_delivered: Duration::ZERO };
    let (log, _) = Log::open(&dir, options, clock.clone())?;
    let (state, _) = State::open(&dir)?;
    let hub = Hub::new(Arc::new(StateRecords(state)), Arc::new(LogOutlet(log.clone())), clock, C2dRules::default());
    let tls = dir.join("tls");
    let serving = serve(
        hub.clone(),
        Options {
            tls: Some((Ipv4Addr::LOCALHOST, 0).into()),
            plain: None,
            websocket: None,
            hosts: Vec::new(),
            certificate: Certificate::Own { dir: tls.clone(), owner: DEVICE.to_owned(), names: vec!["127.0.0.1".to_owned()] },
            client_ca: None,
            max_sessions: 16,
            provisioning: None,
        },
        CancellationToken::new(),
    );
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            warn!(%error, "the demo's hub ended");
        }
    });
    let mut listening = hub.addresses();
    let address = tokio::time::timeout(PATIENCE, listening.wait_for(|addresses| !addresses.is_empty())).await;
    let address = address.context("the demo's hub does not listen")??[0].1;
    let key_file = register(&hub, &dir).await?;
    let arrived = Arc::new(Arrived::default());
    let reader = log.reader(&Name::new("demo")?, ReaderOptions { window: 2 * BATCH, replay: Replay::InOrder, ttl: None }).await?;
    tokio::spawn(count(reader, arrived.clone()));
    Ok(DemoHub { address, ca_file: tls.join("ca.pem"), key_file, arrived })
}

async fn register(hub: &Hub, dir: &Path) -> anyhow::Result<PathBuf> {
    let identity = Identity::device(HubDeviceId::new(DEVICE)?);
    let device = hub.create(&identity, NewProof::Keys { primary: None, secondary: None }, true, None).await?;
    let Proof::Keys { primary, .. } = &device.proof else { anyhow::bail!("a device with keys has none") };
    let file = dir.join("demo.key");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    out.write_all(primary.to_base64().expose_secret().as_bytes())?;
    Ok(file)
}

/// Reads what is durable at the hub, as a consumer does.
async fn count(mut reader: Reader, arrived: Arc<Arrived>) {
    let mut seen = Seen::default();
    reader.begin();
    loop {
        let leased = match reader.lease(BATCH).await {
            Ok(leased) => leased,
            Err(error) => {
                warn!(%error, "the demo's consumer ended");
                return;
            }
        };
        for leased in leased {
            match seen.is_new(&leased.message) {
                true => arrived.unique.fetch_add(1, Relaxed),
                false => arrived.again.fetch_add(1, Relaxed),
            };
            reader.settle(leased.ticket, Fate::Delivered);
        }
    }
}

/// The latest messages' ids.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// The gateway's message ids stay the same however often a message is sent.
    fn is_new(&mut self, message: &Message) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        message.system.message_id.hash(&mut hasher);
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
