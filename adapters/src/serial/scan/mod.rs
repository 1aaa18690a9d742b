//! Which serial ports there are, what drives them, who holds them; and, for one port, what is said on it at which speed.
//!
//! Listing opens nothing but folders under `/dev`, `/sys` and `/proc`. Listening opens the port for ourselves and only
//! reads; like every opening it raises DTR, which restarts some boards. A port that somebody holds is left alone.

mod guess;
mod ports;

use std::{io::ErrorKind, path::Path, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use tidegate_core::{
    adapter::AdapterError,
    quantity::Span,
    scan::{Finding, ScanError, ScanNews, Scanning},
};
use tokio::{
    io::AsyncReadExt,
    sync::mpsc::Sender,
    time::{Instant, timeout_at},
};
use tokio_serial::{DataBits, FlowControl, Parity, StopBits};

use super::port::Port;
use guess::{Heard, judge};

/// The speeds that devices come with, the most likely first.
const SPEEDS: [u32; 9] = [9600, 115_200, 19_200, 38_400, 57_600, 4800, 2400, 1200, 300];
/// How long each speed is listened to. Most devices that speak by themselves do so at least once a second.
const LISTEN: Duration = Duration::from_secs(3);
/// Longest time per speed: nine of them are then an hour and a half.
const LONGEST: Duration = Duration::from_secs(600);
/// Bytes that are enough to judge a speed by.
const ENOUGH: usize = 2048;

/// How serial ports are searched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Listen on this port, such as /dev/ttyUSB0. Without it, all ports are listed and none is opened.
    port: Option<String>,
    /// Listen at this speed only. Default: at 9600, 115200, 19200, 38400, 57600, 4800, 2400, 1200 and 300 in turn.
    #[schemars(range(min = 50, max = 12_000_000))]
    baud: Option<u32>,
    /// How long each speed is listened to. Default "3s".
    listen: Option<Span>,
}

pub(super) fn options() -> Json {
    schemars::schema_for!(Options).into()
}

pub(super) fn longest(options: &Json) -> Result<Duration, ScanError> {
    let options = Options::read(options)?;
    Ok(if options.port.is_some() { options.wait()? * options.speeds()?.len() as u32 } else { Duration::ZERO })
}

pub(super) fn run(options: Json, news: Sender<ScanNews>) -> Scanning {
    Box::pin(async move {
        let options = Options::read(&options)?;
        match &options.port {
            None => list(&news).await,
            Some(port) => listen(port, &options, &news).await,
        }
    })
}

impl Options {
    fn read(options: &Json) -> Result<Self, ScanError> {
        Self::deserialize(options)
            .map_err(|error| ScanError::Option { option: "given".to_owned(), why: format!("{error} (port, baud, listen)") })
    }

    fn wait(&self) -> Result<Duration, ScanError> {
        let wait = self.listen.map_or(LISTEN, |span| span.0);
        if wait.is_zero() || wait > LONGEST {
            return Err(ScanError::Option { option: "listen".to_owned(), why: "write a time from 1ms to 600s".to_owned() });
        }
        Ok(wait)
    }

    fn speeds(&self) -> Result<Vec<u32>, ScanError> {
        if self.baud.is_some_and(|baud| !(50..=12_000_000).contains(&baud)) {
            return Err(ScanError::Option { option: "baud".to_owned(), why: "write a number from 50 to 12000000".to_owned() });
        }
        Ok(self.baud.map_or_else(|| SPEEDS.to_vec(), |baud| vec![baud]))
    }
}

/// Other programs that have a port open, as far as this user may see: `name (process 17)`. `root` is `/` but in tests.
pub fn holders(root: &Path, port: &Path, ourselves: u32) -> Vec<String> {
    let ours = format!("(process {ourselves})");
    ports::holders_in(root, port).into_iter().filter(|holder| !holder.ends_with(&ours)).collect()
}

/// Whether somebody still wants to hear.
async fn tell(news: &Sender<ScanNews>, what: ScanNews) -> bool {
    news.send(what).await.is_ok()
}

async fn list(news: &Sender<ScanNews>) -> Result<(), ScanError> {
    // Folders only, but /proc may have many.
    let found = tokio::task::spawn_blocking(|| ports::list("/")).await.unwrap_or_default();
    for port in found {
        let section = format!(
            "[[adapter]]\nname = \"line\"\nkind = \"serial\"\nport = \"{}\"\nbaud = 9600\nframe = {{ type = \"line\" }}",
            port.best()
        );
        let found = Finding { id: port.path.clone(), facts: port.facts(), section: Some(section) };
        if !tell(news, ScanNews::Found(found)).await {
            break;
        }
    }
    Ok(())
}

async fn listen(path: &str, options: &Options, news: &Sender<ScanNews>) -> Result<(), ScanError> {
    let (wait, speeds) = (options.wait()?, options.speeds()?);
    let mut best: Option<(u32, Heard)> = None;
    for (done, baud) in (0_u32..).zip(&speeds) {
        let what = format!("listening on {path} at {baud} baud, 8 bits, no parity");
        if !tell(news, ScanNews::Progress { done, total: speeds.len() as u32, what }).await {
            return Ok(());
        }
        let heard = judge(&hear(path, *baud, wait).await?);
        if best.as_ref().is_none_or(|(_, best)| heard.score > best.score) {
            best = Some((*baud, heard));
        }
        // Nothing but text, and enough of it: no other speed makes that of it.
        if best.as_ref().is_some_and(|(_, heard)| heard.is_sure()) {
            break;
        }
    }
    if let Some((baud, heard)) = best.filter(|(_, heard)| heard.count > 0) {
        let found = Finding { id: format!("{path} at {baud} baud"), facts: heard.facts(), section: Some(heard.section(path, baud)) };
        tell(news, ScanNews::Found(found)).await;
    }
    Ok(())
}

async fn hear(path: &str, baud: u32, wait: Duration) -> Result<Vec<u8>, ScanError> {
    let port = Port {
        path: path.to_owned(),
        baud,
        parity: Parity::None,
        data_bits: DataBits::Eight,
        stop_bits: StopBits::One,
        flow: FlowControl::None,
        rs485: None,
    };
    let mut port = port.open().map_err(|error| unable(path, &error))?;
    let (until, mut heard) = (Instant::now() + wait, Vec::new());
    let mut chunk = [0; 256];
    while heard.len() < ENOUGH {
        match timeout_at(until, port.read(&mut chunk)).await {
            Ok(Ok(count @ 1..)) => heard.extend_from_slice(&chunk[..count]),
            Ok(_) => return Err(ScanError::Unable { why: format!("{path} is gone"), next: "plug it in again".to_owned() }),
            Err(_) => break,
        }
    }
    Ok(heard)
}

/// A port that could not be opened, with who holds it or what to do.
pub(crate) fn unable(path: &str, error: &AdapterError) -> ScanError {
    let kind = if let AdapterError::Open { source, .. } = error { source.kind() } else { ErrorKind::Other };
    let holders = ports::holders("/", path);
    let next = match kind {
        _ if !holders.is_empty() => format!("it is held by {}", holders.join(", ")),
        ErrorKind::PermissionDenied => "be in the group dialout, or root".to_owned(),
        ErrorKind::NotFound => "`tidegate adapters scan serial` lists the ports there are".to_owned(),
        _ => "see whether somebody else holds it".to_owned(),
    };
    ScanError::Unable { why: error.to_string(), next }
}
