//! The configuration in one file, to be kept or to be given to another box.
//!
//! A JSON document of the configuration's own files as they are, comments and all. Keys and passwords are files of their own and are not in
//! it: what must be supplied by hand is listed. Neither is the log: messages that one box has would be sent twice by another. Reading one
//! back is hostile input: bounded, names that lead out of the folder are refused, and nothing is written here.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use tidegate_core::clock::Timestamp;

use crate::{
    config::draft,
    examine::{Scene, secret_files},
};

/// The word by which a backup is known.
pub const FORMAT: &str = "tidegate-backup";
const VERSION: u32 = 1;
/// Largest document: as much as the configuration may be in all, with JSON's escapes.
pub const MAX_BYTES: usize = 6 << 20;
/// Most files in one.
const MOST_FILES: usize = 1024;

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// [`FORMAT`].
    format: String,
    version: u32,
    /// The program's version that made it.
    pub program: String,
    /// The gateway's id.
    pub gateway: String,
    /// When.
    pub made: String,
    /// Text by name, as below the configuration's folder.
    pub files: BTreeMap<String, String>,
    /// Files with keys and passwords that it needs and that are not in it.
    pub needs: Vec<String>,
}

impl Backup {
    /// Of the configuration as it is on disk.
    pub fn make(scene: &Scene, config_path: &Path, now: Timestamp) -> Self {
        let (folder, _) = draft::place(config_path);
        let (files, _) = draft::read(config_path);
        let needs = secret_files(scene, config_path).into_iter().map(|(path, _)| path);
        // The gateway's own keys are made anew by the next one.
        let state = scene.config().map(|config| config.gateway.state_dir.clone());
        let needs = needs.filter(|path| state.as_ref().is_none_or(|state| !path.starts_with(state)));
        let shown = |path: std::path::PathBuf| {
            path.strip_prefix(&folder).map_or_else(|_| path.display().to_string(), |path| path.display().to_string())
        };
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            gateway: scene.config().map(|config| config.gateway.id.to_string()).unwrap_or_default(),
            made: now.to_string(),
            files: files.into_iter().map(|file| (file.name, file.text)).collect(),
            needs: needs.map(shown).collect(),
        }
    }

    /// From a document, or why it is none.
    pub fn read(text: &str, config_path: &Path) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it is larger than {} MiB: no backup is", MAX_BYTES >> 20));
        }
        let backup: Self = serde_json::from_str(text).map_err(|error| format!("it is no backup of a configuration: {error}"))?;
        if backup.format != FORMAT {
            return Err(format!("it says that it is '{}' and not '{FORMAT}'", backup.format));
        }
        if backup.version != VERSION {
            return Err(format!("it has version {}, this program reads {VERSION}", backup.version));
        }
        if backup.files.is_empty() || backup.files.len() > MOST_FILES {
            return Err(format!("it has {} files; from 1 to {MOST_FILES} are expected", backup.files.len()));
        }
        match backup.files.keys().find(|name| !draft::is_name(config_path, name)) {
            Some(name) => Err(format!("{name:?} is no name of a configuration file")),
            None => Ok(backup),
        }
    }

    /// What the files would become: its own, and those gone that it does not have.
    pub fn drafts(&self, config_path: &Path) -> BTreeMap<String, Option<String>> {
        let (files, _) = draft::read(config_path);
        let gone = files.into_iter().filter(|file| !self.files.contains_key(&file.name)).map(|file| (file.name, None));
        gone.chain(self.files.iter().map(|(name, text)| (name.clone(), Some(text.clone())))).collect()
    }

    /// Of what it needs, what is not here.
    pub fn missing(&self, config_path: &Path) -> Vec<String> {
        let (folder, _) = draft::place(config_path);
        self.needs.iter().filter(|need| !folder.join(need).is_file()).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_saved_is_what_another_box_gets_and_its_secrets_are_asked_for() {
        let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(here.path().join("secrets")).expect("made");
        fs::create_dir_all(here.path().join("devices.d")).expect("made");
        let main = "# Ours.\nconfig_version = 1\n[gateway]\nid = \"gw\"\n[[upstream]]\nname = \"c\"\nkind = \"iothub\"\nconnection_string_file = \"secrets/c\"\n";
        fs::write(here.path().join("tidegate.toml"), main).expect("written");
        fs::write(here.path().join("devices.d/a.toml"), "# nothing yet\n").expect("written");
        fs::write(here.path().join("secrets/c"), "HostName=h.example;DeviceId=d;SharedAccessKey=bm90IG91cnM=").expect("written");
        let scene = Scene::of(here.path(), &crate::kinds(), Timestamp(0));
        let made = Backup::make(&scene, here.path(), Timestamp(0));
        let text = serde_json::to_string(&made).expect("JSON");
        assert!(!text.contains("bm90IG91cnM="), "a secret is in it");
        fs::create_dir_all(there.path().join("devices.d")).expect("made");
        fs::write(there.path().join("devices.d/old.toml"), "").expect("written");
        let read = Backup::read(&text, there.path()).expect("a backup");
        assert_eq!(
            (read.gateway.as_str(), read.missing(there.path()), read.missing(here.path())),
            ("gw", vec!["secrets/c".to_owned()], vec![])
        );
        let drafts = read.drafts(there.path());
        assert_eq!((drafts["tidegate.toml"].as_deref(), &drafts["devices.d/old.toml"]), (Some(main), &None));
        assert_eq!(drafts.len(), 3);
    }

    #[test]
    fn what_is_none_is_refused_with_the_reason() {
        let path = Path::new("/etc/tidegate");
        let whole = |files: serde_json::Value| {
            json!({ "format": FORMAT, "version": 1, "program": "", "gateway": "", "made": "", "files": files, "needs": [] }).to_string()
        };
        for (text, why) in [
            ("{".to_owned(), "no backup"),
            ("[]".to_owned(), "no backup"),
            (whole(json!({})), "0 files"),
            (whole(json!({ "../../root/.profile": "" })), "no name"),
            (whole(json!({ "/etc/passwd": "" })), "no name"),
            (whole(json!({ "secrets/c": "" })), "no name"),
            (whole(json!({ "devices.d/.x.toml": "" })), "no name"),
            (whole(json!({ "tidegate.toml": "" })).replace(FORMAT, "other"), "not 'tidegate-backup'"),
            (whole(json!({ "tidegate.toml": "" })).replace("\"version\":1", "\"version\":2"), "version 2"),
            (" ".repeat(MAX_BYTES + 1), "larger"),
        ] {
            let refused = Backup::read(&text, path).expect_err("refused");
            assert!(refused.contains(why), "{refused}");
        }
    }
}
