//! A gateway below a gateway: devices below the lower one, either killed at any moment, and nothing that a device was
//! acknowledged is missing at the upper one.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::BytesMut;
use rumqttc::mqttbytes::{
    QoS,
    v4::{Connect, ConnectReturnCode, Login, Packet, Publish},
};
use secrecy::ExposeSecret;
use tidegate_core::{
    clock::{Clock, SystemClock, Timestamp},
    dialect::{identity::Identity, key::Key, sas},
    id::Name,
    upstream::Fate,
};
use tidegate_store::{Log, LogOptions, ReaderOptions, Replay};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Gateway, Site, alone, outstanding, until_true};

const KILLS: usize = 12;
const LEAVES: [&str; 2] = ["leaf-1", "leaf-2"];
const KEY: [u8; 32] = [7; 32];
/// Longer than the lower gateway's longest pause between attempts, several times over.
const DRAINED: Duration = Duration::from_secs(120);

/// Sends numbers one after the other, each until it is acknowledged.
async fn speak(address: SocketAddr, device: &'static str, acknowledged: Arc<Mutex<Vec<u32>>>, stop: Arc<AtomicBool>) {
    let mut n = 0;
    while !stop.load(Relaxed) {
        let Some((mut stream, mut input)) = join(address, device).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !stop.load(Relaxed) {
            let mut publish = Publish::new(format!("devices/{device}/messages/events/"), QoS::AtLeastOnce, n.to_string());
            publish.pkid = u16::try_from(n % 60_000 + 1).expect("small");
            if exchange(&mut stream, &mut input, Packet::Publish(publish)).await.is_none() {
                break;
            }
            acknowledged.lock().expect("not poisoned").push(n);
            n += 1;
        }
    }
}

async fn join(address: SocketAddr, device: &str) -> Option<(TcpStream, BytesMut)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let identity = Identity::from_client_id(device).expect("an id");
    let key = Key::from_bytes(KEY.to_vec()).expect("32 bytes");
    let until = Timestamp(SystemClock::new("a leaf").now().wall.0 + 3_600_000);
    let token = sas::make(&identity.resource("below"), &key, until, None);
    let mut connect = Connect::new(device);
    connect.login = Some(Login { username: format!("below/{device}/?api-version=2021-04-12"), password: token.expose_secret().to_owned() });
    let mut input = BytesMut::new();
    match exchange(&mut stream, &mut input, Packet::Connect(connect)).await? {
        Packet::ConnAck(connack) => (connack.code == ConnectReturnCode::Success).then_some((stream, input)),
        _ => None,
    }
}

/// Sends a packet and waits for the answer; `None` when the connection is gone.
async fn exchange(stream: &mut TcpStream, input: &mut BytesMut, packet: Packet) -> Option<Packet> {
    let mut out = BytesMut::new();
    packet.write(&mut out, 1 << 20).ok()?;
    stream.write_all(&out).await.ok()?;
    loop {
        if let Ok(packet) = Packet::read(input, 1 << 20) {
            return Some(packet);
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

/// What lies in the upper gateway's log: for each leaf the numbers in the order in which they came.
fn arrived(upper: &Gateway) -> BTreeMap<String, Vec<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let clock = SystemClock::new("the test");
        let options = LogOptions { max_size: 1 << 30, commit_interval: Duration::from_millis(50), keep_delivered: Duration::ZERO };
        let (log, _) = Log::open(&upper.state, options, clock).expect("readable");
        log.hold_unsynced(false);
        let count = log.status().await.expect("counted").depth;
        let options = ReaderOptions { window: 8192, replay: Replay::InOrder, ttl: None };
        let mut reader = log.reader(&Name::new("test").expect("a name"), options).await.expect("a reader");
        reader.begin();
        let (mut numbers, mut seen) = (BTreeMap::<String, Vec<u32>>::new(), 0);
        while seen < count {
            for leased in reader.lease(4096).await.expect("readable") {
                let (leaf, body) = (leased.message.properties.get("leaf"), leased.message.body.stored().clone());
                if let (Some(leaf), Some(n)) = (leaf, std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok())) {
                    numbers.entry(leaf.to_owned()).or_default().push(n);
                }
                reader.settle(leased.ticket, Fate::Delivered);
                seen += 1;
            }
        }
        log.close().await;
        numbers
    })
}

#[test]
fn a_gateway_below_a_gateway_loses_nothing_whichever_is_killed() {
    let _turn = alone();
    let seed = fastrand::u64(..);
    let mut dice = fastrand::Rng::with_seed(seed);
    let (above, below) = (Site::new(), Site::new());
    let (upper_address, lower_address) = (format!("{}:1883", above.address()), format!("{}:1883", below.address()));
    let common = "[clock]\nwait = \"0s\"\n[log]\ncommit_interval = \"50ms\"\n";
    let mut upper = Gateway::new(&above, &format!("{common}[endpoint]\nplain = \"{upper_address}\"\n"));
    let key = BASE64_STANDARD.encode(KEY);
    std::fs::write(below.path("key"), &key).expect("a new file");
    let (host, port) = upper_address.rsplit_once(':').expect("host and port");
    let mut lower = Gateway::new(
        &below,
        &format!(
            "{common}[endpoint]\nplain = \"{lower_address}\"\n[[upstream]]\nname = \"above\"\nkind = \"iothub\"\nhost = \"{host}\"\n\
             port = {port}\ntls = false\ndevice_id = \"gw-below\"\nkey_file = \"{}\"\n",
            below.path("key").display()
        ),
    );
    upper.start();
    lower.start();
    assert!(upper.cli(&["device", "add", "gw-below", "--key", &key]).status.success());
    for leaf in LEAVES {
        assert!(lower.cli(&["device", "add", leaf, "--key", &key]).status.success());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged: Vec<Arc<Mutex<Vec<u32>>>> = LEAVES.map(|_| Arc::default()).into();
    let address: SocketAddr = lower_address.parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let leaves: Vec<_> = LEAVES
        .iter()
        .zip(&acknowledged)
        .map(|(leaf, acknowledged)| runtime.spawn(speak(address, leaf, acknowledged.clone(), stop.clone())))
        .collect();
    let count = || acknowledged.iter().map(|list| list.lock().expect("not poisoned").len()).sum::<usize>();
    for _ in 0..KILLS {
        let before = count();
        until_true("messages are acknowledged", DRAINED, || count() > before + 10);
        // Any moment is as good as any other: this wait is the dice.
        thread::sleep(Duration::from_millis(dice.u64(0..300)));
        let victim = if dice.bool() { &mut upper } else { &mut lower };
        victim.kill();
        victim.start();
    }
    let before = count();
    until_true("messages are acknowledged after the last kill", DRAINED, || count() > before + 10);
    stop.store(true, Relaxed);
    runtime.block_on(async {
        for leaf in leaves {
            leaf.await.expect("no panic");
        }
    });
    until_true("nothing waits below", DRAINED, || outstanding(&lower) == 0);
    lower.stop();
    upper.stop();
    let arrived = arrived(&upper);
    for (leaf, acknowledged) in LEAVES.iter().zip(&acknowledged) {
        let acknowledged = acknowledged.lock().expect("not poisoned").clone();
        let came = arrived.get(*leaf).cloned().unwrap_or_default();
        let missing: Vec<_> = acknowledged.iter().filter(|n| !came.contains(n)).collect();
        assert!(missing.is_empty(), "seed {seed}: {leaf}: of {} acknowledged these never came: {missing:?}", acknowledged.len());
        // Again and again, but a number never comes for the first time before a smaller one.
        let mut first = came.clone();
        let mut seen = std::collections::BTreeSet::new();
        first.retain(|n| seen.insert(*n));
        assert!(first.is_sorted(), "seed {seed}: {leaf} came out of order");
    }
}
