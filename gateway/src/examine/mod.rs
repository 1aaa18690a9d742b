//! Looking the whole box over: what `tidegate check` says beside the configuration, what the page shows as checks, and what a
//! support bundle begins with.
//!
//! Where health tells what the running gateway has met, this looks for what will go wrong: a worn card, a key that everybody can read, a
//! certificate that ends next week. [`examine`] reads files of the system and of the gateway and opens no device, no port and no
//! connection; [`live`] does. Every check has a code, a cause and a next step ([`Check`]). A check that cannot be made here, because
//! this machine has no such thing, says so and is not counted as fine. Nothing is changed, and no secret is repeated.

mod catalogue;
mod configuration;
mod devices;
mod files;
pub mod live;
mod machine;
mod network;
mod storage;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value as Json;
use tidegate_core::{clock::Timestamp, health::Level, problem::Problem};

use crate::config::{Config, Kinds, draft};

pub use catalogue::Check;
pub(crate) use files::{certificate_in, secret_files};
pub use network::Network;
pub(crate) use storage::flash_used;

/// Bytes read of one file of the system.
const MOST_BYTES: u64 = 64 << 10;
/// Things of one kind that are looked at: ports, file systems, sensors.
const MOST_THINGS: usize = 64;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is as it should be.
    Fine,
    /// It could not be looked at.
    Skipped,
    /// Good to know.
    Note,
    /// It will be trouble one day.
    Warning,
    /// It is trouble.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Which check.
    #[serde(serialize_with = "code")]
    pub check: Check,
    /// What it concerns: a port, a file, an upstream; empty for the box as a whole.
    pub subject: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen, with values.
    pub seen: String,
}

fn code<S: serde::Serializer>(check: &Check, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(check.code())
}

/// What is looked at.
#[derive(Debug)]
pub struct Scene {
    /// `/`, but in tests.
    root: PathBuf,
    /// Where the configuration is.
    config_path: PathBuf,
    /// What it says, when it can run.
    config: Option<Config>,
    /// What is wrong with it.
    problems: Vec<Problem>,
    /// Its files as one object, whether it can run or not.
    sections: Vec<Json>,
    now: Timestamp,
}

impl Scene {
    /// This machine with this configuration.
    pub fn of(config_path: &Path, kinds: &Kinds, now: Timestamp) -> Self {
        Self::at(Path::new("/"), config_path, kinds, now)
    }

    fn at(root: &Path, config_path: &Path, kinds: &Kinds, now: Timestamp) -> Self {
        let (files, mut problems) = draft::read(config_path);
        let loaded = draft::check(config_path, &files, kinds);
        problems.extend(loaded.problems);
        let sections = files.iter().filter_map(|file| toml_edit::de::from_str::<Json>(&file.text).ok()).collect();
        Self { root: root.to_owned(), config_path: config_path.to_owned(), config: loaded.config, problems, sections, now }
    }

    /// This machine alone, without a configuration.
    fn bare() -> Self {
        Self { root: "/".into(), config_path: PathBuf::new(), config: None, problems: Vec::new(), sections: Vec::new(), now: Timestamp(0) }
    }

    /// What the configuration says, when it can run.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// What is wrong with it.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The beginning of a file of the system, without the white space around it.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        read(&self.path(path))
    }

    /// What is in a folder of the system.
    fn list(&self, folder: &str) -> Vec<PathBuf> {
        entries(&self.path(folder))
    }

    fn state_dir(&self) -> Option<&Path> {
        self.config.as_ref().map(|config| config.gateway.state_dir.as_path())
    }
}

/// The beginning of a file, without the white space around it.
pub(crate) fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// What is in a folder, in order; nothing when it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).take(16 * MOST_THINGS).collect();
    paths.sort();
    paths.truncate(MOST_THINGS);
    paths
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What has been seen so far.
#[derive(Debug, Default)]
struct Report(Vec<Seen>);

impl Report {
    fn say(&mut self, check: Check, subject: &str, verdict: Verdict, seen: impl Into<String>) {
        self.0.push(Seen { check, subject: subject.to_owned(), verdict, seen: seen.into() });
    }

    /// As good or bad as a check's level when it is not fine.
    fn judge(&mut self, check: Check, subject: &str, fine: bool, seen: impl Into<String>) {
        let verdict = match check.level() {
            _ if fine => Verdict::Fine,
            Level::Note => Verdict::Note,
            Level::Warning => Verdict::Warning,
            Level::Error => Verdict::Error,
        };
        self.say(check, subject, verdict, seen);
    }

    fn skip(&mut self, check: Check, why: &str) {
        self.say(check, "", Verdict::Skipped, why);
    }
}

/// Everything that can be looked at without opening a device or a connection, in the order of the catalogue.
pub fn examine(scene: &Scene) -> Vec<Seen> {
    let mut report = Report::default();
    configuration::look(scene, &mut report);
    files::look(scene, &mut report);
    storage::look(scene, &mut report);
    machine::look(scene, &mut report);
    devices::look(scene, &mut report);
    network::look(scene, &mut report);
    report.0
}

#[cfg(test)]
mod tests;
