//! What an upstream costs: `cargo bench --bench upstream [-- --messages 200000]`.
//!
//! First whole sessions against Debian's mosquitto on the loopback, driven as the uplink drives them: messages a second with a
//! full window, and CPU per message both at full speed and at a steady hundred a second. Then what it takes to write one
//! message (properties, topic, body). Figures of a busy machine vary; quote the command with them.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its result")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use divan::{Bencher, black_box};
use serde_json::json;
use tidegate::upstream::{CATALOGUE, iothub::Envelope, letter::Speech, mqtt::template::Template};
use tidegate_core::{
    clock::{Clock, HandClock, Timestamp},
    dialect::identity::Identity,
    id::{LeafId, MessageId},
    message::{Body, Class, Message, Properties, SystemProperties},
    problem::Problems,
    upstream::{Fate, Parcel, Session},
};

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let messages = args.iter().position(|arg| arg == "--messages").and_then(|at| args.get(at + 1));
    let messages = messages.map_or(Ok(200_000), |value| value.parse()).context("--messages takes a number")?;
    if Path::new(MOSQUITTO).exists() {
        sessions(messages)?;
    } else {
        println!("no {MOSQUITTO}: sessions not measured");
    }
    divan::Divan::default().main();
    Ok(())
}

/// A message as adapters make them: one leaf, one poll, ten points.
fn message() -> Message {
    let points: Vec<String> = (0..10).map(|n| format!("\"point_{n}\":{}", 20.0 + f64::from(n) / 4.0)).collect();
    let mut properties = Properties::default();
    properties.insert("site", "hall 3").expect("valid");
    Message {
        id: MessageId::fresh(),
        leaf: LeafId::new("boiler-7").expect("valid"),
        class: Class::Telemetry,
        taken: HandClock::at(NOW).now(),
        ttl: None,
        system: SystemProperties::json(),
        properties,
        body: Body::Untimed(Bytes::from(format!("{{{}}}", points.join(",")))),
    }
}

#[divan::bench]
fn letter_for_iothub(bencher: Bencher<'_, '_>) {
    let (envelope, message) = (Envelope::new(&Identity::from_client_id("gw-01").expect("valid")), message());
    bencher.bench(|| envelope.letter(black_box(&message)));
}

#[divan::bench]
fn topic_and_body_for_mqtt(bencher: Bencher<'_, '_>) {
    let (topic, payload) = (Template::topic("tidegate/{leaf}").expect("valid"), Template::payload("{body}"));
    let message = message();
    bencher.bench(|| (topic.fill(black_box(&message)), payload.fill(black_box(&message))));
}

#[divan::bench]
fn payload_of_many_places(bencher: Bencher<'_, '_>) {
    let payload = Template::payload(r#"{"id":"{id}","leaf":"{leaf}","at":"{ts}","data":{body},"properties":{properties}}"#);
    let message = message();
    bencher.bench(|| payload.fill(black_box(&message)));
}

struct Mosquitto {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn mosquitto() -> Result<Mosquitto> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("mosquitto.conf");
    fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\n"))?;
    let child = Command::new(MOSQUITTO).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mosquitto = Mosquitto { child, port, folder };
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            bail!("mosquitto does not listen");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(mosquitto)
}

fn sessions(messages: u64) -> Result<()> {
    let broker = mosquitto()?;
    let key = broker.folder.path().join("key");
    fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for in_flight in [16, 128, 256] {
        let mqtt = json!({ "address": format!("127.0.0.1:{}", broker.port), "client_id": "bench", "in_flight": in_flight });
        let hub = json!({
            "host": "127.0.0.1", "device_id": "bench", "key_file": key, "port": broker.port, "tls": false, "in_flight": in_flight,
        });
        for (kind, section) in [("mqtt", mqtt), ("iothub", hub)] {
            runtime.block_on(measure(kind, &section, messages, in_flight))?;
        }
    }
    Ok(())
}

async fn measure(kind: &str, section: &serde_json::Value, messages: u64, in_flight: u64) -> Result<()> {
    let row = CATALOGUE.iter().find(|row| row.name == kind).context("no such kind")?;
    let mut problems = Problems::default();
    let Some(plan) = (row.check)(section, &mut problems) else { bail!("{:?}", problems.list()) };
    let mut upstream = (plan.build)(HandClock::at(NOW));
    let message = Arc::new(message());
    let session = upstream.connect().await?;
    let (begun, cpu) = (Instant::now(), cpu_us()?);
    let session = drain(session, &message, messages).await?;
    let (took, spent) = (begun.elapsed().as_secs_f64(), cpu_us()? - cpu);
    let count = messages as f64;
    println!("{kind}, {in_flight} in flight: {:.0} messages a second, {:.1} us CPU per message", count / took, spent / count);
    if in_flight == 128 {
        let cpu = cpu_us()?;
        steady(session, &message, 500).await?;
        let idle = cpu_us()?;
        // What waking a hundred times a second costs on this machine when there is nothing to do.
        let mut every = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..500 {
            every.tick().await;
        }
        let (busy, idle) = ((idle - cpu) / 500.0, (cpu_us()? - idle) / 500.0);
        println!("{kind}, 100 messages a second: {busy:.0} us CPU per message, of which {idle:.0} us are the timer's");
    }
    Ok(())
}

async fn drain(mut session: Session, message: &Arc<Message>, messages: u64) -> Result<Session> {
    let (mut sent, mut told) = (0, 0);
    while told < messages {
        while sent < messages && session.publish.try_send(Parcel { ticket: sent, message: message.clone() }).is_ok() {
            sent += 1;
        }
        tokio::select! {
            biased;
            fate = session.fates.recv() => match fate {
                Some((_, Fate::Delivered)) => told += 1,
                other => bail!("{other:?}"),
            },
            permit = session.publish.reserve(), if sent < messages => {
                permit?.send(Parcel { ticket: sent, message: message.clone() });
                sent += 1;
            }
        }
    }
    Ok(session)
}

async fn steady(mut session: Session, message: &Arc<Message>, messages: u64) -> Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(10));
    for ticket in 0..messages {
        every.tick().await;
        session.publish.send(Parcel { ticket, message: message.clone() }).await?;
        if session.fates.recv().await != Some((ticket, Fate::Delivered)) {
            bail!("not delivered");
        }
    }
    Ok(())
}

/// What this process has used, all its threads together, as the scheduler counts it.
fn cpu_us() -> Result<f64> {
    let mut ns = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
        ns += stat.split_whitespace().next().context("schedstat is empty")?.parse::<f64>()?;
    }
    Ok(ns / 1_000.0)
}
