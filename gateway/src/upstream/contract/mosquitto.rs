//! Against a broker that is not ours: Debian's mosquitto, over every carrier, and behind a proxy that holds its answers back and
//! then cuts the connection, again and again.
//!
//! Without mosquitto these tests say so loudly and pass; with `CI` set they fail.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::json;
use tempfile::TempDir;
use tidegate_core::upstream::UpstreamError;
use tokio::task::JoinHandle;

use super::{
    carry::{BOUND, carry, carry_and_watch, make, number},
    local,
    proxy::Proxy,
    websocket::Front,
};
use crate::upstream::CATALOGUE;

const PROGRAM: &str = "/usr/sbin/mosquitto";

/// A running mosquitto; ends with the value.
struct Mosquitto {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound").port()
}

#[expect(clippy::print_stderr, reason = "a test that was not run must be seen")]
fn is_missing() -> bool {
    let missing = !Path::new(PROGRAM).exists();
    assert!(!missing || std::env::var_os("CI").is_none(), "{PROGRAM} is missing; install the package mosquitto");
    if missing {
        eprintln!("SKIPPED: {PROGRAM} is missing; install the package mosquitto");
    }
    missing
}

impl Mosquitto {
    /// With more lines for its listener.
    async fn start(listener: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let port = free_port();
        let config = folder.path().join("mosquitto.conf");
        let mut file = fs::File::create(&config).expect("created");
        // All that is sent is to be delivered: no limit on what waits for the test's reader.
        write!(file, "listener {port} 127.0.0.1\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type none\n{}\n", listener(folder.path()))
            .expect("written");
        let child = Command::new(PROGRAM).arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
        let mosquitto = Self { child, port, folder };
        let up = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(BOUND, up).await.expect("mosquitto listens");
        mosquitto
    }

    async fn open() -> Self {
        Self::start(|_| "allow_anonymous true".to_owned()).await
    }
}

/// How often each number has come, and all of them in the order in which they came first.
#[derive(Debug, Default)]
struct Heard {
    times: BTreeMap<u64, usize>,
    first: Vec<u64>,
}

/// Another client, which listens to everything.
struct Listener {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    async fn start(port: u16) -> Self {
        let mut options = MqttOptions::new("listener", "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe("#", QoS::AtMostOnce).await.expect("asked");
        while !matches!(events.poll().await.expect("connected"), Event::Incoming(Packet::SubAck(_))) {}
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = heard.clone();
        let task = tokio::spawn(async move {
            let _client = client;
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(publish)) = event {
                    let Some(number) = number(&publish.payload) else { continue };
                    let mut heard = shared.lock().expect("no test panics with it");
                    let times = heard.times.entry(number).or_default();
                    *times += 1;
                    if *times == 1 {
                        heard.first.push(number);
                    }
                }
            }
        });
        Self { heard, task }
    }

    fn look<T>(&self, at: impl FnOnce(&Heard) -> T) -> T {
        at(&self.heard.lock().expect("no test panics with it"))
    }

    async fn until(&self, condition: impl Fn(&Heard) -> bool) {
        let wait = async {
            while !self.look(&condition) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(BOUND, wait).await.expect("heard in time");
    }
}

#[tokio::test]
async fn cut_again_and_again_nothing_is_lost_and_duplicates_are_at_most_a_window_for_each_cut() {
    const MESSAGES: u64 = 20_000;
    const CUTS: u64 = 6;
    const WINDOW: u64 = 64;
    if is_missing() {
        return;
    }
    for kind in CATALOGUE {
        let mosquitto = Mosquitto::open().await;
        let listener = Arc::new(Listener::start(mosquitto.port).await);
        let proxy = Arc::new(Proxy::start(mosquitto.port).await);
        let mut upstream = make(kind, &local(kind, proxy.port, mosquitto.folder.path()).0);
        let delivered = Arc::new(AtomicU64::new(0));
        let saboteur = tokio::spawn(sabotage(proxy.clone(), listener.clone(), delivered.clone(), MESSAGES, CUTS));
        let mut next = 0;
        let mut lost = 0;
        while next < MESSAGES {
            let Ok(session) = upstream.connect().await else { continue };
            let carried = carry_and_watch(session, next..MESSAGES, |ticket| delivered.store(ticket + 1, Ordering::SeqCst)).await;
            // Acknowledgements come in order, so what has no fate is one piece at the end.
            let done = carried.delivered() as u64;
            assert!((next..next + done).all(|ticket| carried.fates.contains_key(&ticket)));
            next += done;
            lost += u64::from(matches!(carried.end, UpstreamError::Lost { .. }));
        }
        saboteur.await.expect("all cuts made");
        listener.until(|heard| heard.times.len() as u64 == MESSAGES).await;
        let (first_seen, all) = listener.look(|heard| (heard.first.clone(), heard.times.values().sum::<usize>() as u64));
        assert!(first_seen.iter().copied().eq(0..MESSAGES), "{}: order changed", kind.name);
        let duplicates = all - MESSAGES;
        assert!(lost == CUTS && (1..=CUTS * WINDOW).contains(&duplicates), "{}: {lost} cuts, {duplicates} duplicates", kind.name);
    }
}

/// Spread over the run: hold the answers until something has arrived whose acknowledgement is held, then cut.
async fn sabotage(proxy: Arc<Proxy>, listener: Arc<Listener>, delivered: Arc<AtomicU64>, messages: u64, cuts: u64) {
    for cut in 1..=cuts {
        while delivered.load(Ordering::SeqCst) < messages * cut / (cuts + 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.hold.store(true, Ordering::SeqCst);
        listener.until(|heard| heard.first.len() as u64 > delivered.load(Ordering::SeqCst) + 10).await;
        proxy.cut();
    }
}

/// An authority, and a certificate and key that it signed for the local host, as PEM files.
fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let (ca_key, key) = (KeyPair::generate().expect("key"), KeyPair::generate().expect("key"));
    let mut ca = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than the certificate's own, or OpenSSL takes that for one that signed itself.
    ca.distinguished_name.push(DnType::CommonName, "authority of the tests");
    let ca_pem = ca.self_signed(&ca_key).expect("signed").pem();
    let issuer = Issuer::new(ca, ca_key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).expect("parameters").signed_by(&key, &issuer).expect("signed");
    for (name, pem) in [("ca.pem", ca_pem), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())] {
        fs::write(folder.join(name), pem).expect("written");
    }
}

fn with_tls(folder: &Path) -> String {
    certificates(folder);
    let f = folder.display();
    // mosquitto started by root gives up its rights before it reads the key.
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        allow_all(&folder.join(name));
    }
    allow_all(folder);
    format!("allow_anonymous true\ncafile {f}/ca.pem\ncertfile {f}/cert.pem\nkeyfile {f}/key.pem")
}

fn allow_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

#[tokio::test]
async fn every_carrier_carries() {
    if is_missing() {
        return;
    }
    let hub = CATALOGUE.iter().find(|kind| kind.name == "iothub").expect("the kind");
    let mqtt = CATALOGUE.iter().find(|kind| kind.name == "mqtt").expect("the kind");
    let tls = Mosquitto::start(with_tls).await;
    let client = Mosquitto::start(|folder| format!("{}\nrequire_certificate true", with_tls(folder))).await;
    let open = Mosquitto::open().await;
    certificates(open.folder.path());
    let websocket = Front::start(open.port, Some(open.folder.path())).await;
    let plain_websocket = Front::start(open.port, None).await;
    let file = |mosquitto: &Mosquitto, name: &str| mosquitto.folder.path().join(name);
    let hub_at = |mosquitto: &Mosquitto, more: serde_json::Value| {
        let mut section = json!({
            "host": "localhost", "device_id": "gw-01", "port": mosquitto.port, "ca_file": file(mosquitto, "ca.pem"),
        });
        fs::write(file(mosquitto, "key"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("written");
        section.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        section
    };
    let pair = json!({ "client_cert_file": file(&client, "cert.pem"), "client_key_file": file(&client, "key.pem") });
    let mut mqtt_pair = json!({
        "address": format!("127.0.0.1:{}", client.port), "client_id": "gw-02", "tls": true, "ca_file": file(&client, "ca.pem"),
    });
    mqtt_pair.as_object_mut().expect("object").extend(pair.as_object().expect("object").clone());
    let cases = [
        ("tls", hub, hub_at(&tls, json!({ "key_file": file(&tls, "key") }))),
        ("client certificate", hub, hub_at(&client, pair)),
        ("client certificate, mqtt", mqtt, mqtt_pair),
        ("websocket", hub, hub_at(&open, json!({ "key_file": file(&open, "key"), "transport": "websocket", "port": websocket.port }))),
        (
            "websocket in the clear",
            hub,
            json!({ "host": "127.0.0.1", "device_id": "gw", "port": plain_websocket.port, "key_file": file(&open, "key"),
                    "tls": false, "transport": "websocket" }),
        ),
    ];
    for (carrier, kind, section) in cases {
        let mut upstream = make(kind, &section);
        let session = upstream.connect().await.unwrap_or_else(|error| panic!("{carrier}: {error}"));
        let carried = carry(session, 0..200).await;
        assert_eq!(carried.delivered(), 200, "{carrier}: {:?}", carried.end);
        let again = upstream.connect().await.unwrap_or_else(|error| panic!("{carrier}: {error}"));
        assert!(again.resumed, "{carrier}: the broker forgot us");
    }
}

#[tokio::test]
async fn a_broker_that_cannot_prove_who_it_is_gets_nothing() {
    if is_missing() {
        return;
    }
    let mqtt = CATALOGUE.iter().find(|kind| kind.name == "mqtt").expect("the kind");
    let tls = Mosquitto::start(with_tls).await;
    let other = tempfile::tempdir().expect("folder");
    certificates(other.path());
    let section = |ca: &Path| json!({ "address": format!("localhost:{}", tls.port), "client_id": "gw-03", "tls": true, "ca_file": ca });
    let error = make(mqtt, &section(&other.path().join("ca.pem"))).connect().await.expect_err("another authority");
    assert!(matches!(&error, UpstreamError::Unreachable { .. }), "{error:?}");
    let error = make(mqtt, &section(&other.path().join("nothing.pem"))).connect().await.expect_err("no file");
    assert!(matches!(&error, UpstreamError::Unusable { why, .. } if why.contains("ca_file")), "{error:?}");
}

#[tokio::test]
async fn will_birth_and_password_reach_the_broker() {
    if is_missing() {
        return;
    }
    let mqtt = CATALOGUE.iter().find(|kind| kind.name == "mqtt").expect("the kind");
    let mosquitto = Mosquitto::open().await;
    let password = mosquitto.folder.path().join("password");
    fs::write(&password, "secret\n").expect("written");
    let section = json!({
        "address": format!("127.0.0.1:{}", mosquitto.port), "client_id": "gw-04", "username": "gw", "password_file": password,
        "birth_topic": "state", "birth_payload": "1", "will_topic": "state", "will_payload": "2", "payload": "{body}0",
    });
    let listener = Listener::start(mosquitto.port).await;
    let session = make(mqtt, &section).connect().await.expect("accepted");
    carry(session, 3..5).await;
    listener.until(|heard| heard.first == [1, 30, 40, 2]).await;
}
