//! The demo's air: sensors that advertise, as a receiver tells of them, through the adapter's own decoders.
//!
//! A thermometer in BTHome v2 and a RuuviTag, each once a second, on a Unix socket beside the demo's configuration. What nobody hears is lost,
//! as on the air.

use std::{
    f64::consts::TAU,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
};
use tracing::warn;

/// How often each sensor says something.
const SAYS: Duration = Duration::from_secs(1);
/// Sensors there are.
pub(super) const SENSORS: u8 = 2;
const OFFICE: &str = "A4:C1:38:8D:18:B2";
const COLD_STORE: &str = "CB:B8:33:4C:88:4F";

/// Where the receiver's socket is. The sensors run until the process ends.
pub(super) fn start(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("air.sock");
    let listener = UnixListener::bind(&path).context("the demo's receiver")?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(speak(stream))),
                Err(error) => {
                    warn!(%error, "the demo's sensors ended");
                    return;
                }
            }
        }
    });
    Ok(path)
}

/// To one listener, until it goes.
async fn speak(mut stream: UnixStream) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(SAYS);
    for packet in 0_u16.. {
        ticks.tick().await;
        let swing = (begun.elapsed().as_secs_f64() / 40.0 * TAU).sin();
        let lines = format!("{OFFICE} -61 sfcd2={}\n{COLD_STORE} -74 m0499={}\n", office(packet, swing), cold_store(packet, swing));
        if stream.write_all(lines.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// BTHome v2: packet id, battery, temperature in hundredths, humidity in hundredths.
fn office(packet: u16, swing: f64) -> String {
    let (temperature, humidity) = ((2150.0 + 150.0 * swing) as i16, (4500.0 - 600.0 * swing) as u16);
    let mut bytes = vec![0x40, 0x00, packet as u8, 0x01, 93, 0x02];
    bytes.extend(temperature.to_le_bytes());
    bytes.push(0x03);
    bytes.extend(humidity.to_le_bytes());
    hex(&bytes)
}

/// Ruuvi data format 5: temperature in 0.005 °C, humidity in 0.0025 %, pressure from 50,000 Pa on, 2.977 V and +4 dBm, no movement.
fn cold_store(packet: u16, swing: f64) -> String {
    let (temperature, humidity) = ((-18.0 / 0.005 + 200.0 * swing) as i16, (62.0 / 0.0025 + 800.0 * swing) as u16);
    let mut bytes = vec![0x05];
    bytes.extend(temperature.to_be_bytes());
    bytes.extend(humidity.to_be_bytes());
    bytes.extend((50_044_u16).to_be_bytes());
    bytes.extend([0x00, 0x04, 0xff, 0xfc, 0x04, 0x0c, 0xac, 0x36, 0x00]);
    bytes.extend(packet.to_be_bytes());
    bytes.extend([0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f]);
    hex(&bytes)
}

/// The adapter's section.
pub(super) fn section(socket: &Path) -> String {
    format!(
        r#"
[[adapter]]
name = "air"
kind = "ble"
radio = "{}"

[[adapter.device]]
id = "office"
address = "{OFFICE}"
interval = "2s"
point = [{{ name = "temperature", precision = 1 }}, {{ name = "humidity", precision = 0 }}, {{ name = "battery", report = "change" }}]

[[adapter.device]]
id = "cold-store"
address = "{COLD_STORE}"
interval = "2s"
point = [{{ name = "temperature", min = -30, max = -15 }}, {{ name = "pressure" }}, {{ name = "signal", field = "rssi" }}]
"#,
        socket.display()
    )
}
