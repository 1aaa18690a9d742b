//! The demo's plant: simulated Modbus units on TCP, and on an RTU line made of a pty pair; a scale on another pty
//! pair; sensors on the air.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tidegate_adapters::{
    modbus::{
        plan::Table,
        simulator::{Simulator, counter, sine},
        transport::Framing,
    },
    serial::simulator::Cable,
    value::{Kind, Order, Shape},
};
use tidegate_core::reading::Value;
use tokio::net::TcpListener;
use tokio_serial::{SerialPort, SerialStream};
use tracing::warn;

use super::air;

/// Units on TCP. The last one does not answer, as one always does not.
pub(super) const TCP_UNITS: u8 = 5;
/// Units on the line.
pub(super) const RTU_UNITS: u8 = 3;

/// Where the simulated devices are.
#[derive(Debug)]
pub(super) struct Plant {
    pub(super) tcp: SocketAddr,
    pub(super) rtu: PathBuf,
    pub(super) scale: PathBuf,
    pub(super) air: PathBuf,
    /// Keeps the line's other end from hanging up while the gateway is not on it.
    _line: SerialStream,
}

/// Starts the devices; they run until the process ends.
pub(super) async fn start(folder: &Path) -> Result<Plant> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let tcp = listener.local_addr()?;
    let units = simulate(TCP_UNITS - 1);
    tokio::spawn(async move {
        if let Err(error) = units.serve_tcp(listener, Framing::Mbap).await {
            warn!(%error, "the demo's TCP devices ended");
        }
    });
    // Not locked by us, so that the gateway can lock it.
    let (device, line) = SerialStream::pair().context("a pty pair")?;
    let rtu = PathBuf::from(line.name().context("a pty without a name")?);
    let units = simulate(RTU_UNITS);
    tokio::spawn(async move {
        if let Err(error) = units.serve(device, Framing::Rtu).await {
            warn!(%error, "the demo's RTU devices ended");
        }
    });
    Ok(Plant { tcp, rtu, scale: scale()?, air: air::start(folder)?, _line: line })
}

/// How often the scale prints its weight.
const SCALE_PRINTS: Duration = Duration::from_millis(200);

/// How long it takes for the load to come and go.
const LOAD: Duration = Duration::from_secs(30);

/// A scale that prints by itself, while a load comes and goes; now and then the cable bites a character.
fn scale() -> Result<PathBuf> {
    let cable = Cable::lay().context("a pty for the scale")?;
    let path = cable.path.clone();
    let (begun, mut printed) = (std::time::Instant::now(), 0_u32);
    let print = move || {
        printed += 1;
        let turn = begun.elapsed().as_secs_f64() / LOAD.as_secs_f64();
        let weight = 12.0 + 12.0 * (turn * std::f64::consts::TAU).sin();
        let mut line = format!("ST,GS,{weight:+9.2}kg\r\n").into_bytes();
        if printed.is_multiple_of(50) {
            line[8] = 0xff;
        }
        line
    };
    tokio::spawn(async move {
        if let Err(error) = cable.speak(SCALE_PRINTS, print).await {
            warn!(%error, "the demo's scale ended");
        }
    });
    Ok(path)
}

fn shape(kind: Kind) -> Shape {
    Shape { kind, order: Order::Abcd }
}

/// A temperature that swings, a pressure, a counter of reads, a pump and a set-point.
fn simulate(units: u8) -> Simulator {
    let simulator = Simulator::new();
    for unit in 1..=units {
        let base = 20.0 + f64::from(unit);
        let swing = sine(base * 10.0, 30.0, Duration::from_secs(20));
        simulator.live(
            unit,
            Table::Holding,
            0,
            shape(Kind::Whole { words: 1, signed: true }),
            // The register holds whole tenths.
            move |moment| Value::Int(swing(moment).as_f64().unwrap_or_default().round() as i64),
        );
        simulator.live(unit, Table::Holding, 1, shape(Kind::F32), sine(1.0 + base / 100.0, 0.2, Duration::from_secs(13)));
        simulator.live(unit, Table::Holding, 3, shape(Kind::Whole { words: 2, signed: false }), counter());
        simulator.set(unit, Table::Coil, 0, &[1]);
        // A set-point, in whole tenths, that can be written.
        simulator.set(unit, Table::Holding, 10, &[215]);
    }
    simulator
}

impl Plant {
    /// The adapters' sections.
    pub(super) fn configuration(&self) -> String {
        let tcp = format!(
            "\n[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{}\"\ntimeout = \"200ms\"\n",
            self.tcp
        );
        let rtu = format!(
            "\n[[adapter]]\nname = \"line\"\nkind = \"modbus\"\ntransport = \"rtu\"\nport = \"{}\"\nbaud = 115200\ntimeout = \"200ms\"\n",
            self.rtu.display()
        );
        let units = |name: &str, count: u8| (1..=count).map(|unit| device(name, unit)).collect::<String>();
        let scale = scale_section(&self.scale);
        let air = air::section(&self.air);
        format!("{tcp}{}{rtu}{}{scale}{air}", units("boiler", TCP_UNITS), units("meter", RTU_UNITS))
    }
}

fn scale_section(port: &Path) -> String {
    format!(
        r#"
[[adapter]]
name = "scale-line"
kind = "serial"
port = "{}"
frame = {{ type = "line", max_length = 64 }}

[[adapter.device]]
id = "scale"
silent_after = "5s"

[[adapter.device.message]]
parser = "regex"
pattern = '^(?<state>ST|US),GS,(?<weight>[-+ ]*[0-9.]+) *kg$'
point = [{{ name = "weight", unit = "kg" }}, {{ name = "state", type = "text" }}]
"#,
        port.display()
    )
}

fn device(name: &str, unit: u8) -> String {
    format!(
        r#"
[[adapter.device]]
id = "{name}-{unit}"
unit = {unit}
interval = "250ms"
point = [
    {{ name = "temperature", register = "holding", address = 0, type = "i16", scale = 0.1, unit = "°C" }},
    {{ name = "pressure", register = "holding", address = 1, type = "f32", precision = 3, unit = "bar" }},
    {{ name = "reads", register = "holding", address = 3, type = "u32" }},
    {{ name = "pump", register = "coil", address = 0, type = "bool", writable = true }},
    {{ name = "setpoint", register = "holding", address = 10, type = "i16", scale = 0.1, unit = "°C", writable = true, write_min = 5, write_max = 80, write_step = 0.5, repeatable = true }},
]
"#
    )
}
