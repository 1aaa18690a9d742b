//! What must survive a restart: the settings that have proved themselves, and the version that is being tried.
//!
//! | power is cut … | then |
//! |---|---|
//! | while settings are on trial | the next start runs without them and does not try this version again: it may be what ended us |
//! | after the trial | the next start runs with them, whether the hub can be reached or not |

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tidegate_core::id::LeafId;

/// The file's name in the state folder.
const NAME: &str = "settings.json";
/// The folder of those of leaves with identities of their own, a file for each.
const LEAVES: &str = "settings.d";

/// As kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// The upstream whose desired properties these are. Another one's begin anew.
    pub(super) upstream: String,
    /// The desired properties that have proved themselves, as they came.
    pub(super) good: Map<String, Json>,
    /// Their version.
    pub(super) version: u64,
    /// The version on trial, or the last one that was refused or rolled back: not tried again. 0 for none.
    pub(super) tried: u64,
    /// Why it was not kept; empty while it is on trial.
    pub(super) error: String,
    /// Values that points were last told to have, by leaf.
    pub(super) set: BTreeMap<String, Map<String, Json>>,
}

/// Leaf ids are file names: they begin with a letter or digit, and have no slash.
fn path(dir: &Path, whose: Option<&LeafId>) -> PathBuf {
    match whose {
        None => dir.join(NAME),
        Some(leaf) => dir.join(LEAVES).join(format!("{leaf}.json")),
    }
}

/// What is kept; a file that is missing or cannot be read counts as empty, and the hub still has the truth.
pub(super) fn read(dir: &Path, whose: Option<&LeafId>) -> Kept {
    let path = path(dir, whose);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, file = %path.display(), "not readable: the hub's settings begin anew");
            Kept::default()
        }),
        Err(_) => Kept::default(),
    }
}

/// Replaces the file whole: after a power cut there is the old one or the new one.
pub(super) fn write(dir: &Path, whose: Option<&LeafId>, kept: &Kept) -> io::Result<()> {
    let path = path(dir, whose);
    let folder = path.parent().unwrap_or(dir);
    if !folder.is_dir() {
        fs::create_dir(folder)?;
        File::open(dir)?.sync_all()?;
    }
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let leaf = LeafId::new("hall.boiler-7").expect("valid");
        for (version, whose) in [(7, None), (9, Some(&leaf))] {
            assert_eq!(read(dir.path(), whose), Kept::default());
            let kept = Kept { upstream: "cloud".into(), version, tried: 8, ..Kept::default() };
            write(dir.path(), whose, &kept).expect("written");
            assert_eq!(read(dir.path(), whose), kept);
        }
        fs::write(path(dir.path(), None), b"{\"version\":\"seven\"").expect("written");
        assert_eq!(read(dir.path(), None), Kept::default());
        assert_eq!(read(dir.path(), Some(&leaf)).version, 9);
    }
}
