//! The gateway as a child process: its configuration, its life, its exit codes, its command line.

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value as Json;

use super::{Lines, Process, SOON, Site, process::command, until, until_true};

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// One gateway with a configuration and a state folder of its own, running or not.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// The configuration folder.
    pub(crate) config: PathBuf,
    /// `gateway.state_dir`.
    pub(crate) state: PathBuf,
    /// What it logs, over all its runs.
    pub(crate) log: Lines,
    /// Set for each run, beside our own environment.
    pub(crate) environment: Vec<(String, String)>,
    /// A program and its arguments that starts the gateway as the same process: `strace -D …`.
    pub(crate) wrapper: Vec<String>,
    notify: UnixDatagram,
    notify_path: PathBuf,
    process: Option<Process>,
}

impl Gateway {
    /// With these sections; `[gateway]` is added. Not started yet.
    pub(crate) fn new(site: &Site, sections: &str) -> Self {
        Self::with_state(site, &site.path("state"), sections)
    }

    /// With its state in this folder.
    pub(crate) fn with_state(site: &Site, state: &Path, sections: &str) -> Self {
        let config = site.path("config");
        fs::create_dir_all(&config).expect("a new folder");
        let notify_path = site.path("notify");
        let notify = UnixDatagram::bind(&notify_path).expect("a new socket");
        notify.set_read_timeout(Some(Duration::from_millis(10))).expect("not zero");
        let gateway = Self {
            config,
            state: state.to_owned(),
            log: Lines::default(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            notify,
            notify_path,
            process: None,
        };
        gateway.configure(sections);
        gateway
    }

    /// Writes other sections; a running gateway does not notice before [`Gateway::reload`].
    pub(crate) fn configure(&self, sections: &str) {
        let head =
            format!("config_version = 1\n[web]\nenabled = false\n[gateway]\nid = \"gw-01\"\nstate_dir = \"{}\"\n", self.state.display());
        fs::write(self.config.join("tidegate.toml"), head + sections).expect("a file of our own");
    }

    /// Changes the configuration file as a whole.
    pub(crate) fn rewrite(&self, change: impl FnOnce(&str) -> String) {
        let path = self.config.join("tidegate.toml");
        let text = fs::read_to_string(&path).expect("written before");
        // A new file moved over the old one, as editors do.
        let new = self.config.join("tidegate.toml.new");
        fs::write(&new, change(&text)).expect("a new file");
        fs::rename(new, path).expect("in one folder");
    }

    /// Starts it, and returns when it says READY.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.spawn();
        let start = Instant::now();
        while !self.heard("READY=1") {
            let ended = self.process.as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "the gateway ended with {ended:?} instead of getting ready");
            assert!(start.elapsed() < SOON, "the gateway is not ready within {SOON:?}");
        }
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(&mut self) {
        // What an earlier run may have said last.
        while self.heard("") {}
        let mut start = match self.wrapper.split_first() {
            None => command(BINARY),
            Some((program, arguments)) => {
                let mut start = command(program);
                start.args(arguments).arg(BINARY);
                start
            }
        };
        start.arg("--config").arg(&self.config).arg("run");
        start.env("NOTIFY_SOCKET", &self.notify_path).env_remove("WATCHDOG_USEC");
        start.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start(start, Lines::default(), self.log.clone()));
    }

    /// Whether systemd's socket got something with this in it just now.
    fn heard(&self, word: &str) -> bool {
        let mut buffer = [0; 1024];
        match self.notify.recv(&mut buffer) {
            Ok(n) => String::from_utf8_lossy(&buffer[..n]).contains(word),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => false,
            Err(e) => panic!("the notify socket: {e}"),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("running").kill();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("running").signal(signal);
    }

    /// SIGTERM, then its end in good order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(SOON), Ended::Code(0), "an ordered stop");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self, limit: Duration) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let status = self.process.as_mut().expect("running").end("the gateway ends", limit);
        self.process = None;
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, Some(signal)) => Ended::Signal(signal),
            (None, None) => panic!("neither code nor signal: {status:?}"),
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Bytes of memory that are its own.
    pub(crate) fn resident(&self) -> u64 {
        let pid = self.process.as_ref().expect("running").pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("in kB") * 1024
    }

    /// Processor time used so far, by all its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let pid = self.process.as_ref().expect("running").pid().as_raw_nonzero();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
        // After the name in brackets, which may hold anything: state is field 0, user and system time are 11 and 12.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        // Linux counts these in hundredths of a second on every architecture that we build for.
        Duration::from_millis(ticks * 10)
    }

    /// Runs `tidegate --config … <arguments>` to its end.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY).arg("--config").arg(&self.config).args(arguments).output().expect("the binary runs")
    }

    /// The same, and reads its JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        let output = self.cli(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("tidegate {arguments:?}: {e} in {text:?}; stderr {:?}", String::from_utf8_lossy(&output.stderr)))
    }

    /// `tidegate status --json`, once there is a health entry of this code (or none any more); returns the status.
    #[track_caller]
    pub(crate) fn until_health(&self, code: &str, present: bool) -> Json {
        until(&format!("health entry {code} is {}", if present { "there" } else { "gone" }), SOON, || {
            let status = self.json(&["status", "--json"]);
            let there = status["health"].as_array().expect("a list").iter().any(|entry| entry["code"] == code);
            (there == present).then_some(status)
        })
    }

    /// Asks for a reload in the way of systemd, and waits until it has been dealt with.
    #[track_caller]
    pub(crate) fn hang_up(&self) {
        while self.heard("") {}
        self.signal(Signal::HUP);
        until_true("RELOADING, then READY", SOON, || self.heard("RELOADING=1"));
        until_true("READY after RELOADING", SOON, || self.heard("READY=1"));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process = None;
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure and only then")]
            {
                eprintln!("--- the gateway's last words ---\n{}\n---", self.log.tail(60));
            }
        }
    }
}

/// An `mqtt` upstream whose payload tells what the tally needs.
pub(crate) fn mqtt_upstream(address: &str) -> String {
    format!(
        "[[upstream]]\nname = \"hub\"\nkind = \"mqtt\"\naddress = \"{address}\"\nclient_id = \"gw-01\"\n\
         topic = \"t/{{leaf}}\"\npayload = '{{\"id\":\"{{id}}\",\"leaf\":\"{{leaf}}\",\"body\":{{body}}}}'\n"
    )
}

/// Debian's libfaketime, wherever this architecture keeps it.
pub(crate) fn faketime_library() -> Option<PathBuf> {
    let roots = fs::read_dir("/usr/lib").ok()?;
    roots.flatten().map(|root| root.path().join("faketime/libfaketime.so.1")).find(|library| library.exists())
}
