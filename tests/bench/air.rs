//! Sensors on the air and serial lines together, measured on the real binary: `cargo bench -p tidegate --bench air [-- --seconds 60 --sensors 200
//! --lines 8]`.
//!
//! The sensors are signals of a bluetoothd of ours on a bus of its own, in this process: each sensor advertises once a second, every value
//! new (BTHome: temperature, humidity, battery). The lines are pseudo terminals, each kept as full as 115200 baud is: 11,520 bytes a second.
//! Messages go to Debian's mosquitto. Measured twice: each sensor and line sending once in ten seconds, as by default, and all that is heard.

#![expect(clippy::print_stdout, reason = "a bench reports to the terminal")]

#[allow(dead_code, reason = "the other bench needs more")]
#[path = "rig.rs"]
mod rig;
#[allow(dead_code, reason = "the tests ask for more")]
#[path = "../../adapters/tests/ble/stand_in.rs"]
mod stand_in;
#[allow(dead_code, reason = "the tests ask for more")]
#[path = "../../adapters/tests/ble/world.rs"]
mod world;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rig::{Broker, Gateway, at};
use stand_in::{Act, Bluetoothd, bus};
use tidegate_adapters::serial::simulator::Cable;

const BTHOME: &str = "0000fcd2-0000-1000-8000-00805f9b34fb";
/// Bytes a second on a line at 115200 baud, ten bits each.
const FULL: usize = 11_520;
/// How often a line says something in this bench.
const TICK: Duration = Duration::from_millis(20);
/// A frame: 64 bytes of it are 180 a second on a full line.
const FRAME: &str = "ID=07;T=+21.52;H=040.1;P=1013.25;CO2=00612;V=3.301;A=1;R=00000\r\n";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let value = args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
        value.map_or(Ok(default), |v| v.parse().with_context(|| format!("{name} takes a number")))
    };
    let (seconds, sensors, lines) = (number("--seconds", 30)?, number("--sensors", 200)?, number("--lines", 8)?);
    for (word, interval, least) in [("each sensor and line sends once in 10 s", "10s", "10s"), ("all that is heard is sent", "1ms", "0s")] {
        measure(word, seconds, sensors, lines, interval, least)?;
    }
    // What each is alone.
    measure("no line, each sensor sends once in 10 s", seconds, sensors, 0, "10s", "10s")?;
    measure("no sensor, each line sends once in 10 s", seconds, 0, lines, "10s", "10s")
}

fn measure(word: &str, seconds: usize, sensors: usize, lines: usize, interval: &str, least: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bus = bus().context("dbus-daemon is not there")?;
    let bluetoothd = Bluetoothd::start(&bus.address);
    let broker = Broker::start()?;
    let dir = tempfile::tempdir()?;
    let cables: Vec<_> = {
        let _in = runtime.enter();
        (0..lines).map(|_| Cable::lay()).collect::<std::io::Result<_>>()?
    };
    let ports: Vec<_> = cables.iter().map(|cable| cable.path.display().to_string()).collect();
    configure(dir.path(), &bus.address, broker.port, sensors, &ports, interval, least)?;
    for cable in cables {
        runtime.spawn(speak(cable));
    }
    let gateway = Gateway::start(dir.path())?;
    gateway.until(|status| status["adapters"].as_array().is_some_and(|all| all.iter().all(|one| one["connected"] == true)))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| advertise(&bluetoothd, sensors, &stop));
        thread::sleep(Duration::from_secs(12));
        let figures = (|| {
            let (a, before) = (gateway.usage()?, gateway.status()?);
            thread::sleep(Duration::from_secs(seconds as u64));
            Ok::<_, anyhow::Error>((a, before, gateway.usage()?, gateway.status()?))
        })();
        stop.store(true, Relaxed);
        let (a, before, b, after) = figures?;
        let sum = |key: &str| {
            (0..=lines)
                .map(|one| at(&after, &["adapters", &one.to_string(), key]) - at(&before, &["adapters", &one.to_string(), key]))
                .sum::<f64>()
        };
        println!("{word}: {sensors} sensors x 1 advertisement a second, {lines} full lines at 115200 baud, {seconds} s");
        println!(
            "  readings {:.0}, misses {:.0}, messages {:.0}, {:.0} a second",
            sum("readings"),
            sum("misses"),
            sum("messages"),
            sum("messages") / seconds as f64
        );
        println!("  CPU {:.2} % of one core, resident {:.1} MiB", (b.cpu_ms - a.cpu_ms) / (seconds as f64 * 10.0), b.resident_kib / 1024.0);
        Ok(())
    })
}

/// Each sensor once a second, spread over it, as sensors are.
fn advertise(bluetoothd: &Bluetoothd, sensors: usize, stop: &AtomicBool) {
    if sensors == 0 {
        return;
    }
    let (start, pause) = (Instant::now(), Duration::from_secs(1) / sensors as u32);
    let addresses: Vec<&'static str> = (0..sensors).map(|n| &*address(n).leak()).collect();
    for turn in 0_u32.. {
        if stop.load(Relaxed) {
            return;
        }
        let n = turn as usize % sensors;
        let [high, low] = (2000 + (turn / sensors as u32 % 500) as u16).to_be_bytes();
        let data = vec![0x40, 0x01, 87, 0x02, low, high, 0x03, low, 0x10];
        bluetoothd.act(Act::Advert(addresses[n], vec![], vec![(BTHOME, data)]));
        thread::sleep((start + pause * turn).saturating_duration_since(Instant::now()));
    }
}

async fn speak(mut cable: Cable) {
    let mut clock = tokio::time::interval(TICK);
    let frames = FULL / FRAME.len() / (1000 / TICK.as_millis() as usize);
    let bytes = FRAME.repeat(frames.max(1));
    loop {
        clock.tick().await;
        if cable.say(bytes.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn address(n: usize) -> String {
    format!("A4:C1:38:00:{:02X}:{:02X}", n / 256, n % 256)
}

fn configure(dir: &Path, bus: &str, broker: u16, sensors: usize, ports: &[String], interval: &str, least: &str) -> Result<()> {
    let mut text = format!(
        "config_version = 1\n[web]\nenabled = false\n[gateway]\nid = \"bench\"\nstate_dir = \"{}\"\n[log]\nmax_size = \"2GiB\"\nkeep_delivered = \"0s\"\n\
         [[upstream]]\nname = \"broker\"\nkind = \"mqtt\"\naddress = \"127.0.0.1:{broker}\"\nclient_id = \"bench\"\n\
         [[adapter]]\nname = \"air\"\nkind = \"ble\"\nbus = \"{bus}\"\n",
        dir.join("state").display()
    );
    for n in 0..sensors {
        text += &format!(
            "[[adapter.device]]\nid = \"sensor-{n}\"\naddress = \"{}\"\ninterval = \"{interval}\"\n\
             point = [{{ name = \"temperature\" }}, {{ name = \"humidity\" }}, {{ name = \"battery\" }}]\n",
            address(n)
        );
    }
    for (n, port) in ports.iter().enumerate() {
        let points: Vec<_> = ["T", "H", "P", "CO2", "V"].map(|name| format!("{{ name = \"{name}\", min_interval = \"{least}\" }}")).into();
        text += &format!(
            "[[adapter]]\nname = \"line-{n}\"\nkind = \"serial\"\nport = \"{port}\"\nbaud = 115200\nmax_rate = 1000\nframe = {{ type = \"line\" }}\n\
             [[adapter.device]]\nid = \"board-{n}\"\n[[adapter.device.message]]\nparser = \"pairs\"\nseparator = \";\"\npoint = [{}]\n",
            points.join(", ")
        );
    }
    fs::write(dir.join("tidegate.toml"), text)?;
    Ok(())
}
