//! Changes of the configuration: written so that a power cut finds the old one or the new one, kept in a history, and on trial when
//! somebody wants to be sure.
//!
//! Each change is first an entry of the history, flushed, with the files' texts before and after it; then the files are written, each
//! beside its place and renamed; then the gateway applies them. An entry that was not finished, or whose trial was not over, is taken
//! back at the next start, before the configuration is read.
//!
//! | power is cut … | then |
//! |---|---|
//! | before the entry is on disk | nothing has changed |
//! | while files are written, or before the entry is marked | the next start writes the texts before it again |
//! | during a trial | likewise: what nobody has kept does not survive |
//! | after it was kept or applied for good | it stays |
//!
//! Files that somebody edits by hand during a trial are theirs: then nothing is taken back, and the history says so.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_core::{
    clock::Timestamp,
    health::{Entry as HealthEntry, Level},
};
use tidegate_webui::shape::{Drafts, HistoryBrief, HistoryView, TrialView, WorseView};
use tokio::{sync::watch, time::Instant};
use tracing::{error, info, warn};

use crate::config::{self, draft};

/// Entries kept; each is as large as the files that it changed, twice.
const ENTRIES: usize = 200;
/// How long something may be worse before the trial ends: longer than a restart of a bus or a connection to a hub takes.
pub(super) const WORSE_FOR: Duration = Duration::from_secs(15);
/// The history's folder below the state folder.
const FOLDER: &str = "config-history";

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// Being written: taken back at the next start.
    Applying,
    /// On trial: likewise.
    Trial,
    /// For good at once.
    Applied,
    /// For good after a trial.
    Kept,
    /// Taken back.
    RolledBack,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Applying => "applying",
            Outcome::Trial => "trial",
            Outcome::Applied => "applied",
            Outcome::Kept => "kept",
            Outcome::RolledBack => "rolled-back",
        }
    }
}

/// One change, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) id: u64,
    pub(super) at: Timestamp,
    pub(super) who: String,
    pub(super) comment: String,
    pub(super) before: Drafts,
    pub(super) after: Drafts,
    pub(super) outcome: Outcome,
    pub(super) why: Option<String>,
}

/// A change on trial.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) change: Change,
    /// Of all files as the change left them.
    pub(super) etag: String,
    pub(super) ends: Instant,
    pub(super) ends_at: Timestamp,
    /// What was wrong before.
    pub(super) before: BTreeSet<(String, String)>,
    /// Since when something is worse.
    pub(super) worse_since: Option<Instant>,
    pub(super) worse: Vec<WorseView>,
}

/// The history, and the trial if there is one.
#[derive(Debug)]
pub struct Trials {
    folder: PathBuf,
    /// One change at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
    changed: watch::Sender<u64>,
}

/// What is wrong now with adapters, devices and upstreams, beyond notes.
pub(super) fn wrong(entries: &[HealthEntry]) -> BTreeSet<(String, String)> {
    let counts = entries.iter().filter(|entry| entry.level > Level::Note && !entry.subject.is_empty());
    counts.map(|entry| (entry.subject.clone(), entry.code.to_owned())).collect()
}

impl Trials {
    pub(super) fn new(state_dir: &Path) -> Self {
        let folder = state_dir.join(FOLDER);
        Self { folder, turn: tokio::sync::Mutex::default(), running: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Changes whenever the configuration may have.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_running(&self, running: Option<Running>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        self.tell();
    }

    pub(super) fn view(&self) -> Option<TrialView> {
        self.running().map(|running| TrialView {
            id: running.change.id.to_string(),
            who: running.change.who,
            began: running.change.at.to_string(),
            ends: running.ends_at.to_string(),
            left_s: running.ends.saturating_duration_since(Instant::now()).as_secs(),
            comment: running.change.comment,
            worse: running.worse,
        })
    }

    /// Ids of all entries, oldest first.
    fn ids(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let id = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut ids: Vec<u64> = entries.flatten().filter_map(id).collect();
        ids.sort_unstable();
        ids
    }

    fn file(&self, id: u64) -> PathBuf {
        self.folder.join(format!("{id:08}.json"))
    }

    pub(super) fn read(&self, id: u64) -> Option<Change> {
        serde_json::from_slice(&fs::read(self.file(id)).ok()?).ok()
    }

    /// Keeps an entry, new or changed; it is on disk when this returns. The oldest give way.
    pub(super) fn keep(&self, change: &Change) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        write(&self.file(change.id), &serde_json::to_vec(change)?)?;
        let ids = self.ids();
        for old in ids.iter().take(ids.len().saturating_sub(ENTRIES)) {
            fs::remove_file(self.file(*old)).ok();
        }
        Ok(())
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids().last().map_or(1, |last| last + 1)
    }

    /// Changes before this one, newest first.
    pub(super) fn list(&self, before: Option<u64>, most: usize) -> Vec<Change> {
        let ids = self.ids().into_iter().rev().filter(|id| before.is_none_or(|before| *id < before));
        ids.filter_map(|id| self.read(id)).take(most).collect()
    }
}

pub(super) fn brief(change: &Change) -> HistoryBrief {
    HistoryBrief {
        id: change.id.to_string(),
        at: change.at.to_string(),
        who: change.who.clone(),
        comment: change.comment.clone(),
        files: change.after.keys().cloned().collect(),
        result: change.outcome.word().to_owned(),
        why: change.why.clone(),
    }
}

pub(super) fn full(change: &Change) -> HistoryView {
    let mut diff = String::new();
    for (name, after) in &change.after {
        let (before, after) = (change.before.get(name).cloned().flatten().unwrap_or_default(), after.clone().unwrap_or_default());
        let lines = similar::TextDiff::configure().timeout(Duration::from_secs(1)).diff_lines(&before, &after);
        diff.push_str(&lines.unified_diff().context_radius(3).header(name, name).to_string());
    }
    HistoryView { brief: brief(change), diff, before: change.before.clone(), after: change.after.clone() }
}

/// Writes a file so that a power cut leaves the old text or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Hidden, and without the ending that is read: a half-written one is never taken for a file of the configuration.
    let fresh = folder.join(format!(".{name}.new"));
    let mut file = File::create(&fresh)?;
    if let Ok(meta) = fs::metadata(path) {
        file.set_permissions(meta.permissions())?;
        // Root on the command line must not take the file away from the service. Nobody else may give files away, and has no need to.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
        }
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

/// Gives the files these texts, and takes away those that have none.
pub(crate) fn write_files(config_path: &Path, texts: &Drafts) -> io::Result<()> {
    let (folder, _) = draft::place(config_path);
    for (name, text) in texts {
        let path = folder.join(name);
        match text {
            Some(text) => write(&path, text.as_bytes())?,
            None if path.exists() => {
                fs::remove_file(&path)?;
                path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
            }
            None => {}
        }
    }
    Ok(())
}

/// Before the configuration is read at a start: takes back what was not finished or not kept.
pub fn recover(config_path: &Path) {
    let Some(state_dir) = config::state_dir(config_path) else { return };
    let trials = Trials::new(&state_dir);
    for id in trials.ids().into_iter().rev() {
        let Some(mut change) = trials.read(id) else { continue };
        if !matches!(change.outcome, Outcome::Applying | Outcome::Trial) {
            continue;
        }
        let restored = write_files(config_path, &change.before);
        let why = match &restored {
            Ok(()) => "the gateway was started again before it was kept".to_owned(),
            Err(error) => format!("the files could not be written: {error}"),
        };
        match restored {
            Ok(()) => info!(change = id, "a change of the configuration that nobody had kept is taken back"),
            Err(error) => error!(change = id, %error, "a change of the configuration cannot be taken back"),
        }
        (change.outcome, change.why) = (Outcome::RolledBack, Some(why));
        if let Err(error) = trials.keep(&change) {
            warn!(%error, "the history of the configuration cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: u64, outcome: Outcome) -> Change {
        let before = Drafts::from([("tidegate.toml".into(), Some("old\n".into())), ("devices.d/new.toml".into(), None)]);
        let after = Drafts::from([("tidegate.toml".into(), Some("new\n".into())), ("devices.d/new.toml".into(), Some("x\n".into()))]);
        Change { id, at: Timestamp(id as i64), who: "ada".into(), comment: String::new(), before, after, outcome, why: None }
    }

    #[test]
    fn what_a_power_cut_interrupted_is_taken_back_before_the_configuration_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let (config, state) = (dir.path().join("etc"), dir.path().join("state"));
        fs::create_dir(&config).expect("made");
        let main = format!("config_version = 1\n[gateway]\nid = \"a\"\nstate_dir = \"{}\"\n", state.display());
        for outcome in [Outcome::Applying, Outcome::Trial, Outcome::Applied, Outcome::Kept] {
            let trials = Trials::new(&state);
            let mut change = change(trials.next_id(), outcome);
            change.before.insert("tidegate.toml".into(), Some(format!("{main}# old")));
            change.after.insert("tidegate.toml".into(), Some(format!("{main}# new")));
            trials.keep(&change).expect("kept");
            write_files(&config, &change.after).expect("written");
            recover(&config);
            let text = fs::read_to_string(config.join("tidegate.toml")).expect("there");
            let stays = matches!(outcome, Outcome::Applied | Outcome::Kept);
            assert_eq!(text.ends_with("# new"), stays, "{outcome:?}");
            assert_eq!(config.join("devices.d/new.toml").exists(), stays, "{outcome:?}");
            let now = trials.read(change.id).expect("there").outcome;
            assert_eq!(now, if stays { outcome } else { Outcome::RolledBack });
        }
    }

    #[test]
    fn the_history_is_bounded_and_tells_what_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let trials = Trials::new(dir.path());
        for _ in 0..ENTRIES + 5 {
            trials.keep(&change(trials.next_id(), Outcome::Applied)).expect("kept");
        }
        let list = trials.list(None, 1_000);
        assert_eq!((list.len(), list[0].id), (ENTRIES, ENTRIES as u64 + 5));
        assert_eq!(trials.list(Some(10), 3).iter().map(|change| change.id).collect::<Vec<_>>(), [9, 8, 7]);
        let full = full(&list[0]);
        assert!(full.diff.contains("--- tidegate.toml\n+++ tidegate.toml\n@@ -1 +1 @@\n-old\n+new\n"), "{}", full.diff);
        fs::write(trials.file(9), "{ half").expect("written");
        assert!(trials.read(9).is_none() && trials.list(Some(10), 3)[0].id == 8, "a damaged entry is passed over");
    }
}
