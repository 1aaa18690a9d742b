//! A site for a test: simulated units behind a wire of each kind, and the adapter that a section describes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value as Json;
use tidegate_adapters::modbus::{KIND, plan::Table, simulator::Simulator, transport::Framing};
use tidegate_core::{
    adapter::{Adapter, Harvest},
    clock::{HandClock, Timestamp},
    problem::Problems,
    reading::Value,
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_serial::{SerialPort, SerialStream};

/// What each request may take. Long enough for a loaded machine, short enough for a test.
pub(crate) const LIMIT: Duration = Duration::from_millis(120);
/// Something that should happen at once did not.
const SOON: Duration = Duration::from_secs(20);

/// The adapter of a section, given as TOML without name and kind.
pub(crate) fn adapter(section: &str) -> Box<dyn Adapter> {
    let section: Json = toml::from_str(section).expect("TOML");
    let mut problems = Problems::default();
    let plan = (KIND.check)(&section, &mut problems);
    let plan = plan.unwrap_or_else(|| panic!("{:?}", problems.list()));
    (plan.build)(HandClock::at(Timestamp(0)))
}

/// How the adapter reaches the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    RtuOverTcp,
    Pty,
}

pub(crate) const WAYS: [Way; 3] = [Way::Tcp, Way::RtuOverTcp, Way::Pty];

/// Units that are being served. Dropped, they and their connections are gone.
#[derive(Debug)]
pub(crate) struct Served {
    /// The section's keys that say where.
    pub(crate) place: String,
    pub(crate) address: Option<SocketAddr>,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve(simulator: &Simulator, way: Way) -> Served {
    match way {
        Way::Tcp => serve_at(simulator, Framing::Mbap, "127.0.0.1:0").await,
        Way::RtuOverTcp => serve_at(simulator, Framing::Rtu, "127.0.0.1:0").await,
        Way::Pty => serve_line(simulator),
    }
}

pub(crate) async fn serve_at(simulator: &Simulator, framing: Framing, address: &str) -> Served {
    let listener = loop {
        // A port that was just given up may take a moment to be free.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    let address = listener.local_addr().expect("bound");
    let simulator = simulator.clone();
    let task = tokio::spawn(async move {
        simulator.serve_tcp(listener, framing).await.ok();
    });
    let transport = if framing == Framing::Mbap { "tcp" } else { "rtu-over-tcp" };
    Served { place: format!("transport = \"{transport}\"\naddress = \"{address}\"\n"), address: Some(address), task }
}

fn serve_line(simulator: &Simulator) -> Served {
    let (mut device, gateway) = SerialStream::pair().expect("a pty pair");
    let port = gateway.name().expect("the pty's path");
    drop(gateway);
    let simulator = simulator.clone();
    let task = tokio::spawn(async move {
        loop {
            // Ends with an error whenever nobody has the other end open.
            simulator.clone().serve(&mut device, Framing::Rtu).await.ok();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    Served { place: format!("transport = \"rtu\"\nport = \"{port}\"\nbaud = 115200\n"), address: None, task }
}

/// What a register of a unit holds, so that a value tells where it came from.
pub(crate) fn content(unit: u8, address: u16) -> u16 {
    u16::from(unit) * 1000 + address
}

/// Units with holding registers 0 to 399 of known [`content`].
pub(crate) fn units(numbers: impl IntoIterator<Item = u8>) -> Simulator {
    let simulator = Simulator::new();
    for unit in numbers {
        let words: Vec<u16> = (0..400).map(|at| content(unit, at)).collect();
        simulator.set(unit, Table::Holding, 0, &words);
    }
    simulator
}

/// A device `u<unit>` with u16 points `h<address>` in holding registers, no gaps joined.
pub(crate) fn device(unit: u8, keys: &str, addresses: impl IntoIterator<Item = u16>) -> String {
    let mut text = format!("[[device]]\nid = \"u{unit}\"\nunit = {unit}\nmax_gap = 0\n{keys}\n");
    for address in addresses {
        write!(text, "[[device.point]]\nname = \"h{address}\"\nregister = \"holding\"\naddress = {address}\n").expect("text");
    }
    text
}

/// One turn, as the runner makes it.
pub(crate) async fn turn(adapter: &mut Box<dyn Adapter>) -> Harvest {
    timeout(SOON, adapter.ready()).await.expect("something is due");
    timeout(SOON, adapter.read()).await.expect("a read is bounded").expect("the bus is there")
}

/// Turns until a harvest is what is waited for.
pub(crate) async fn turns_until(what: &str, adapter: &mut Box<dyn Adapter>, mut found: impl FnMut(&Harvest) -> bool) -> Harvest {
    let end = Instant::now() + SOON;
    while Instant::now() < end {
        let harvest = turn(adapter).await;
        if found(&harvest) {
            return harvest;
        }
    }
    panic!("{what}: not within {SOON:?}");
}

/// `leaf.point` and the value.
pub(crate) fn values(harvest: &Harvest) -> BTreeMap<String, Option<Value>> {
    harvest.readings.iter().map(|reading| (format!("{}.{}", reading.leaf, reading.point), reading.value.clone())).collect()
}

/// Every value is the one of its own register and unit. Returns how many there were.
pub(crate) fn assert_true(harvest: &Harvest) -> usize {
    for reading in &harvest.readings {
        let unit: u8 = reading.leaf.as_str()[1..].parse().expect("u<unit>");
        let address: u16 = reading.point.as_str()[1..].parse().expect("h<address>");
        assert_eq!(reading.value, Some(Value::Int(i64::from(content(unit, address)))), "{} {}", reading.leaf, reading.point);
    }
    harvest.readings.len()
}
