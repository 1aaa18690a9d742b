//! Modbus units that we did not write: pymodbus over TCP, libmodbus on a pty line.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{Lines, Process, SOON, Site, process::command, project, until, until_true};

/// The Python that `tests/run` has prepared.
pub(crate) fn python() -> PathBuf {
    project().join("tests/.tools/venv/bin/python")
}

/// A pymodbus server with as many units as are named to it (`tests/peer/slave.py`).
#[derive(Debug)]
pub(crate) struct TcpSlave {
    /// `address:port` for the gateway's configuration.
    pub(crate) address: String,
    framer: &'static str,
    process: Option<Process>,
}

impl TcpSlave {
    /// Modbus TCP.
    pub(crate) fn start(site: &Site) -> Self {
        Self::with_framer(site, "tcp")
    }

    /// RTU frames over TCP.
    pub(crate) fn start_rtu_over_tcp(site: &Site) -> Self {
        Self::with_framer(site, "rtu-over-tcp")
    }

    fn with_framer(site: &Site, framer: &'static str) -> Self {
        let mut slave = Self { address: format!("{}:5020", site.address()), framer, process: None };
        slave.power_on();
        slave
    }

    /// Starts (again) with no units.
    pub(crate) fn power_on(&mut self) {
        let (host, port) = self.address.split_once(':').expect("host:port");
        let mut start = command(python().to_str().expect("UTF-8"));
        start.arg(project().join("tests/peer/slave.py")).args([self.framer, host, port]);
        let process = Process::start(start, Lines::default(), Lines::default());
        until_true("pymodbus is ready", SOON, || process.out.find(0, "ready").is_some());
        self.process = Some(process);
    }

    /// As if unplugged.
    pub(crate) fn power_off(&mut self) {
        self.process = None;
    }

    /// Tells it about one unit; returns what it answers. See the script for the words.
    pub(crate) fn tell(&mut self, order: &Json) -> Json {
        let process = self.process.as_mut().expect("powered on");
        let seen = process.out.len();
        process.say(&order.to_string());
        let (_, line) = until("pymodbus obeys", SOON, || process.out.since(seen).into_iter().next());
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("pymodbus said {line}: {e}: {}", process.err.tail(20)))
    }

    /// A unit with values in holding registers from 0 on and a counter at 200.
    pub(crate) fn add(&mut self, unit: u8, values: &[u16]) {
        self.tell(&json!({ "unit": unit, "set": { "holding": { "0": values } }, "counter": 200 }));
    }

    /// How a unit behaves from now on.
    pub(crate) fn behave(&mut self, unit: u8, how: &str) {
        self.tell(&json!({ "unit": unit, "behave": how }));
    }

    /// The last counter value that the unit handed out.
    pub(crate) fn counter(&mut self, unit: u8) -> u64 {
        self.tell(&json!({ "unit": unit, "ask": true }))["counter"].as_u64().expect("a number")
    }

    /// What cells of a unit hold, asked beside the wire; kinds as in the script.
    pub(crate) fn held(&mut self, unit: u8, kind: &str, address: u16, count: u16) -> Vec<u64> {
        let answer = self.tell(&json!({ "unit": unit, "get": { kind: [address, count] } }));
        answer["values"].as_array().expect("a list").iter().map(|value| value.as_u64().expect("a number")).collect()
    }

    /// Every write that reached the unit, in order: when, in seconds of the same clock, the first register or coil, and the values.
    pub(crate) fn writes(&mut self, unit: u8) -> Vec<(f64, u64, Vec<u64>)> {
        let answer = self.tell(&json!({ "unit": unit, "ask": true }));
        let number = |value: &Json| value.as_bool().map_or_else(|| value.as_u64().expect("a number"), u64::from);
        let write = |write: &Json| {
            let values = write[2].as_array().expect("a list").iter().map(number).collect();
            (write[0].as_f64().expect("a time"), number(&write[1]), values)
        };
        answer["writes"].as_array().expect("a list").iter().map(write).collect()
    }

    /// When requests reached the unit, in seconds of a clock that only rises.
    pub(crate) fn request_times(&mut self, unit: u8) -> Vec<f64> {
        let answer = self.tell(&json!({ "unit": unit, "ask": true }));
        answer["times"].as_array().expect("a list").iter().map(|t| t.as_f64().expect("a number")).collect()
    }
}

/// A serial line: two ptys that socat joins. `gateway` is our end, `device` the slave's.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) gateway: PathBuf,
    pub(crate) device: PathBuf,
    socat: Option<Process>,
}

impl Line {
    pub(crate) fn lay(site: &Site, name: &str) -> Self {
        let mut line = Self { gateway: site.path(&format!("{name}-gateway")), device: site.path(&format!("{name}-device")), socat: None };
        line.plug();
        line
    }

    /// As if an adapter were plugged in: both ends appear.
    pub(crate) fn plug(&mut self) {
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        let mut socat = command("socat");
        socat.args([end(&self.gateway), end(&self.device)]);
        self.socat = Some(Process::start(socat, Lines::default(), Lines::default()));
        until_true("socat has made both ends", SOON, || self.gateway.exists() && self.device.exists());
    }

    /// As if it were pulled out: both ends vanish, whoever has one open gets an error.
    pub(crate) fn unplug(&mut self) {
        self.socat = None;
        for end in [&self.gateway, &self.device] {
            // socat takes its links along when it is asked to end, not when it is killed.
            std::fs::remove_file(end).ok();
        }
    }
}

/// A libmodbus slave on a line (`tests/peer/slave.c`).
#[derive(Debug)]
pub(crate) struct RtuSlave(Process);

impl RtuSlave {
    pub(crate) fn start(line: &Line, unit: u8) -> Self {
        let mut start = command(libmodbus_slave().to_str().expect("UTF-8"));
        start.arg(&line.device).arg(unit.to_string());
        let process = Process::start(start, Lines::default(), Lines::default());
        until_true("libmodbus is ready", SOON, || process.out.find(0, "ready").is_some());
        Self(process)
    }

    /// What the holding register and the coil of an address hold, asked beside the line. Goes back to answering.
    pub(crate) fn held(&mut self, address: u16) -> (u16, bool) {
        let seen = self.0.out.len();
        self.0.say(&format!("? {address}"));
        let (_, line) = until("libmodbus says what it holds", SOON, || self.0.out.since(seen).into_iter().next());
        let (register, coil) = line.split_once(' ').expect("two numbers");
        (register.parse().expect("a register"), coil.trim() == "1")
    }

    /// `answer`, `silent` or `noise`.
    pub(crate) fn behave(&mut self, how: &str) {
        self.0.say(how);
    }
}

/// Compiled once for each run of the tests.
fn libmodbus_slave() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = BUILT.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let program = folder.path().join("slave");
        let source = project().join("tests/peer/slave.c");
        let cc = Command::new("cc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-I/usr/include/modbus", "-o"])
            .args([&program, &source])
            .arg("-lmodbus")
            .output()
            .expect("cc runs");
        assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));
        (folder, program)
    });
    program
}

/// An adapter section for units that count: each has the point `n`, the counter, and is polled at `interval`.
pub(crate) fn counting_adapter(name: &str, address: &str, units: impl IntoIterator<Item = u8>, interval: &str) -> String {
    let mut section = format!("[[adapter]]\nname = \"{name}\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{address}\"\n");
    for unit in units.into_iter().collect::<BTreeSet<_>>() {
        section += &format!(
            "[[adapter.device]]\nid = \"{name}-{unit}\"\nunit = {unit}\ninterval = \"{interval}\"\n\
             [[adapter.device.point]]\nname = \"n\"\nregister = \"holding\"\naddress = 200\ntype = \"u32\"\n"
        );
    }
    section
}
