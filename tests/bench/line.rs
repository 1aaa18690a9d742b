//! The whole line, measured on the real binary: `cargo bench --bench line [-- --seconds 60 --units 100 --backlog 200000]`.
//!
//! A Modbus TCP slave of our own (below: it must cost little, and it runs in this process, not in the measured one), the
//! gateway, and Debian's mosquitto. Reported: CPU per 1,000 readings, resident memory, bytes written and commits per
//! message, start time to the first message at the broker, and the drain of a backlog.
//!
//! Figures of a busy machine vary; quote the command with them.

#![expect(clippy::print_stdout, reason = "a bench reports to the terminal")]

#[path = "rig.rs"]
mod rig;

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rig::{Broker, Gateway, Subscriber, at};
use tidegate_core::{
    clock::{Clock, SystemClock},
    id::{LeafId, MessageId},
    message::{Body, Class, Message, Properties, SystemProperties},
};
use tidegate_store::{Log, LogOptions, Urgency};

const REGISTERS: u64 = 10;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let value = args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
        value.map_or(Ok(default), |v| v.parse().with_context(|| format!("{name} takes a number")))
    };
    let (seconds, backlog) = (number("--seconds", 30)?, number("--backlog", 200_000)?);
    for units in [10, number("--units", 100)?] {
        steady(units, seconds)?;
    }
    drain(backlog, "in-order")?;
    drain(backlog, "live-first")?;
    Ok(())
}

/// Units polled each second, to a broker that is there.
fn steady(units: u64, seconds: u64) -> Result<()> {
    let broker = Broker::start()?;
    let slave = slave()?;
    let dir = tempfile::tempdir()?;
    configure(dir.path(), slave, broker.port, units, "in-order")?;
    let mut first = Subscriber::start(broker.port)?;
    let begun = Instant::now();
    let gateway = Gateway::start(dir.path())?;
    first.line()?;
    let to_first = begun.elapsed();
    thread::sleep(Duration::from_secs(3));
    let (a, before) = (gateway.usage()?, gateway.status()?);
    thread::sleep(Duration::from_secs(seconds));
    let (b, after) = (gateway.usage()?, gateway.status()?);
    let grew = |path: &[&str]| at(&after, path) - at(&before, path);
    let readings = grew(&["adapters", "0", "readings"]);
    let messages = grew(&["counters", "appended"]);
    let bytes = grew(&["counters", "appended_bytes"]);
    let cpu_us = (b.cpu_ms - a.cpu_ms) * 1000.0;
    println!("steady: {units} units x {REGISTERS} registers each second, {seconds} s");
    println!("  readings {readings}, messages {messages}, misses {}", grew(&["adapters", "0", "misses"]));
    println!(
        "  CPU {:.2} ms per 1,000 readings ({:.2} us per reading), {:.2} % of one core",
        cpu_us / readings,
        cpu_us / readings,
        cpu_us / (seconds as f64 * 1e4)
    );
    println!("  resident {:.1} MiB", b.resident_kib / 1024.0);
    println!(
        "  commits per message {:.4}, written {:.2} bytes per byte of message ({:.0} bytes per message)",
        grew(&["counters", "commits"]) / messages,
        (b.written - a.written) / bytes,
        (b.written - a.written) / messages
    );
    println!("  start to first message at the broker {to_first:.2?}");
    Ok(())
}

/// A backlog made beforehand, with the broker there from the start and units polled meanwhile.
fn drain(backlog: u64, replay: &str) -> Result<()> {
    let broker = Broker::start()?;
    let slave = slave()?;
    let dir = tempfile::tempdir()?;
    configure(dir.path(), slave, broker.port, 10, replay)?;
    fill(&dir.path().join("state"), backlog)?;
    let begun = Instant::now();
    let gateway = Gateway::start(dir.path())?;
    let connected = gateway.until(|s| s["upstreams"][0]["connected"] == true)?;
    let a = gateway.usage()?;
    let mut most = 0.0_f64;
    let done = gateway.until(|s| {
        most = most.max(gateway.usage().map_or(0.0, |u| u.resident_kib));
        at(s, &["upstreams", "0", "delivered"]) >= backlog as f64
    })?;
    let b = gateway.usage()?;
    let took = (done - connected).as_secs_f64();
    println!("drain: {backlog} messages, replay {replay}");
    println!(
        "  {:.0} messages a second ({took:.2} s from connected), connected {:.2?} after the start",
        backlog as f64 / took,
        connected - begun
    );
    println!("  CPU {:.1} us per message, most resident {:.1} MiB", (b.cpu_ms - a.cpu_ms) * 1000.0 / backlog as f64, most / 1024.0);
    Ok(())
}

/// Puts messages of 10 values into a log, as the gateway would have.
fn fill(state: &Path, messages: u64) -> Result<()> {
    fs::create_dir_all(state)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clock = SystemClock::new("bench");
    clock.trust(true);
    let options = LogOptions { max_size: 4 << 30, commit_interval: Duration::from_millis(500), keep_delivered: Duration::ZERO };
    runtime.block_on(async {
        let (log, _) = Log::open(state, options, clock.clone())?;
        let body: String = (0..REGISTERS).map(|i| format!("\"r{i}\":{}.5,", 20 + i)).collect();
        let body = format!("{{{}}}", body.trim_end_matches(','));
        let mut left = messages;
        while left > 0 {
            let now = left.min(1_000);
            let batch = (0..now).map(|i| Message {
                id: MessageId::fresh(),
                leaf: LeafId::new(format!("old-{}", i % 10)).expect("a valid id"),
                class: Class::Telemetry,
                taken: clock.now(),
                ttl: None,
                system: SystemProperties::json(),
                properties: Properties::default(),
                body: Body::Untimed(body.clone().into()),
            });
            log.append(batch.collect(), Urgency::Now).await?;
            left -= now;
        }
        log.close().await;
        Ok(())
    })
}

fn configure(dir: &Path, slave: SocketAddr, broker: u16, units: u64, replay: &str) -> Result<()> {
    let mut text = format!(
        "config_version = 1\n[web]\nenabled = false\n[gateway]\nid = \"bench\"\nstate_dir = \"{}\"\n[log]\nmax_size = \"2GiB\"\nkeep_delivered = \"0s\"\n\
         [[upstream]]\nname = \"broker\"\nkind = \"mqtt\"\naddress = \"127.0.0.1:{broker}\"\nclient_id = \"bench\"\nreplay = \"{replay}\"\n\
         [[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{slave}\"\n",
        dir.join("state").display()
    );
    for unit in 1..=units {
        text += &format!("[[adapter.device]]\nid = \"unit-{unit}\"\nunit = {unit}\ninterval = \"1s\"\n");
        for register in 0..REGISTERS {
            text += &format!(
                "[[adapter.device.point]]\nname = \"r{register}\"\nregister = \"holding\"\naddress = {register}\ntype = \"i16\"\nscale = 0.1\n"
            );
        }
    }
    fs::write(dir.join("tidegate.toml"), text)?;
    Ok(())
}

/// Answers FC 3 of every unit with slowly changing registers, one thread for each connection.
fn slave() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; 12];
    for turn in 0_u16.. {
        stream.read_exact(&mut request)?;
        let count = u16::from_be_bytes([request[10], request[11]]);
        let mut answer = request[..4].to_vec();
        answer.extend((3 + 2 * count).to_be_bytes());
        answer.extend([request[6], request[7], (2 * count) as u8]);
        answer.extend((0..count).flat_map(|i| (200 + i * 10 + turn % 50).to_be_bytes()));
        stream.write_all(&answer)?;
    }
    Ok(())
}
