//! What the stories share: a private place to play in, waiting for conditions, and the tools that must be there.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

mod broker;
mod gateway;
mod hub;
mod process;
mod proxy;
mod scene;
mod slave;
mod snapshot;
mod tally;

pub(crate) use broker::{Broker, Subscriber};
pub(crate) use gateway::{Ended, Gateway, faketime_library, mqtt_upstream};
pub(crate) use hub::Hub;
pub(crate) use process::{Lines, Process, command};
pub(crate) use proxy::{FaultProxy, Flow};
pub(crate) use scene::{QUICK_LOG, SCENE, Scene, outstanding};
pub(crate) use slave::{Line, RtuSlave, TcpSlave, counting_adapter, python};
pub(crate) use snapshot::Snapshot;
pub(crate) use tally::{Delivery, Tally};

/// For what has no promised time of its own and takes well below a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Where the project lies.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("gateway/ lies in the project").to_owned()
}

/// A folder and loopback addresses that no other test uses.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("tidegate-").tempdir().expect("a temporary folder") }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An address of 127.0.0.0/8 that is handed out once. With an address for each listener no two tests,
    /// nor two runs of the tests, meet at one port.
    pub(crate) fn address(&self) -> String {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let run = std::process::id();
        let last = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(last < 255, "more addresses than one run has");
        format!("127.{}.{}.{last}", 64 + (run >> 8) % 128, run & 255)
    }
}

/// Looks until there is something to return, and fails when that takes longer than `limit`.
#[track_caller]
pub(crate) fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// For conditions that hold nothing worth returning.
#[track_caller]
pub(crate) fn until_true(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    until(what, limit, || look().then_some(()));
}

/// Those that load the machine take turns: a story about seconds must not wait for another one's disk.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A failed story leaves nothing behind that the next one would meet.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether these programs are there, and (when `root` is among them) whether we are root. Says so loudly if not;
/// with `CI` set that is a failure, because there everything has been installed.
pub(crate) fn have(needs: &[&str]) -> bool {
    let missing: Vec<_> = needs.iter().copied().filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return true;
    }
    let story = thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{story}: needs {missing:?}");
    // Not by a print macro: the test runner would keep it from the eyes of whoever runs it.
    writeln!(std::io::stderr(), "\nSKIPPED {story}: needs {missing:?}; tests/run installs it\n").ok();
    false
}

fn is_there(need: &str) -> bool {
    match need {
        "root" => rustix::process::geteuid().is_root(),
        "pymodbus" => python().exists(),
        // Microsoft's device SDK, with the paho that it brings.
        "device-sdk" => project().join("tests/.tools/sdk/bin/python").exists(),
        "libmodbus" => Path::new("/usr/include/modbus/modbus.h").exists() && is_there("cc"),
        "faketime" => faketime_library().is_some(),
        program => on_path(program).is_some(),
    }
}

/// Where a program lies; Debian keeps daemons in `sbin`, which people's `PATH` lacks.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
