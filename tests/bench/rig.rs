//! What the measurements of whole gateways share: the real binary and what it uses, a broker, and a listener on it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");

/// Another build of it, to compare with.
fn program() -> String {
    std::env::var("TIDEGATE_BIN").unwrap_or_else(|_| TIDEGATE.to_owned())
}

pub(crate) struct Gateway {
    child: Child,
    config: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_ms: f64,
    pub(crate) resident_kib: f64,
    pub(crate) written: f64,
}

impl Gateway {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let log = fs::File::create(dir.join("gateway.log"))?;
        // As the unit in systemd/ sets it.
        let child = Command::new(program()).env("MALLOC_ARENA_MAX", "1").arg("--config").arg(dir).arg("run").stderr(log).spawn()?;
        Ok(Self { child, config: dir.to_owned() })
    }

    /// Clock ticks are 10 ms on Linux; enough over many seconds.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let stat = of("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
        let field = |text: &str, name: &str| -> f64 {
            let line = text.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.trim_matches([':', ' ', '\t']).split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
        };
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(Usage { cpu_ms: ticks * 10.0, resident_kib: field(&of("status")?, "VmRSS"), written: field(&of("io")?, "write_bytes") })
    }

    pub(crate) fn status(&self) -> Result<Json> {
        let out = Command::new(program()).arg("--config").arg(&self.config).args(["status", "--json"]).output()?;
        Ok(serde_json::from_slice(&out.stdout)?)
    }

    pub(crate) fn until(&self, mut done: impl FnMut(&Json) -> bool) -> Result<Instant> {
        let limit = Instant::now() + Duration::from_secs(120);
        while Instant::now() < limit {
            if self.status().is_ok_and(|status| done(&status)) {
                return Ok(Instant::now());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("not within two minutes; log:\n{}", fs::read_to_string(self.config.join("gateway.log"))?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    _dir: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("mosquitto.conf");
        fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\nmax_queued_messages 0\n"),
        )?;
        let child = Command::new("/usr/sbin/mosquitto")
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .context("mosquitto is not installed")?;
        let limit = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > limit {
                bail!("mosquitto does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { child, port, _dir: dir })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) struct Subscriber {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Subscriber {
    pub(crate) fn start(port: u16) -> Result<Self> {
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "tidegate/#"])
            .stdout(Stdio::piped())
            .spawn()
            .context("mosquitto_sub is not installed")?;
        let lines = BufReader::new(child.stdout.take().context("piped")?);
        // mosquitto_sub says nothing when it has subscribed; the gateway takes longer to start than it does.
        thread::sleep(Duration::from_millis(200));
        Ok(Self { child, lines })
    }

    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A number in a status document; keys and list places alike.
pub(crate) fn at(json: &Json, path: &[&str]) -> f64 {
    let step = |json: &Json, key: &&str| key.parse::<usize>().map_or_else(|_| json[*key].clone(), |i| json[i].clone());
    path.iter().fold(json.clone(), |json, key| step(&json, key)).as_f64().unwrap_or(0.0)
}
