//! What somebody needs who helps from afar: one file with what this gateway is, runs on, has met and said, and no secret in it.
//!
//! A tar archive, gzipped, of texts that people can read. Whatever is put in goes through [`Secrets`] first: the content of every key
//! and password file that the configuration names, of what was pasted on the page and of the gateway's own keys, and what looks like a secret
//! by its form. Values of devices are not in it. Bounded: so many bytes of each page, so many pages.

pub mod backup;
mod secrets;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value as Json, json};
use tidegate_core::clock::Timestamp;

use crate::{
    config::draft,
    events::Event,
    examine::{Scene, examine},
};

pub use secrets::Secrets;

/// Bytes of one page; the end of a longer one is what matters.
const MOST_BYTES: usize = 4 << 20;
/// Files of the state folder that are listed.
const MOST_LISTED: usize = 256;
/// What the system says of itself.
const SYSTEM: [&str; 8] = [
    "/etc/os-release",
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/mounts",
    "/proc/self/limits",
];

/// One text of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its name in the archive.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl Page {
    /// A text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// A JSON document, for people to read.
    pub fn json(name: &str, json: &Json) -> Self {
        Self::new(name, format!("{json:#}\n"))
    }
}

/// What can be told whether the gateway runs or not.
pub fn standing(scene: &Scene, config_path: &Path) -> Vec<Page> {
    let mut pages = vec![Page::new("version.txt", format!("tidegate {}\n{}\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH))];
    let mut checks = String::new();
    for one in examine(scene) {
        writeln!(checks, "{:?} [{}] {} {}: {}", one.verdict, one.check.code(), one.check.title(), one.subject, one.seen).ok();
    }
    pages.push(Page::new("checks.txt", checks));
    let problems: Vec<_> = scene.problems().iter().map(ToString::to_string).collect();
    pages.push(Page::new("configuration/problems.txt", problems.join("\n")));
    let (files, _) = draft::read(config_path);
    pages.extend(files.into_iter().map(|file| Page::new(format!("configuration/{}", file.name), file.text)));
    for path in SYSTEM {
        let text = crate::examine::read(Path::new(path)).unwrap_or_else(|| "not readable".to_owned());
        pages.push(Page::new(format!("system{path}"), text + "\n"));
    }
    if let Some(state) = scene.config().map(|config| config.gateway.state_dir.clone()) {
        let mut list = format!("{}\n", state.display());
        let mut entries: Vec<_> = std::fs::read_dir(&state).into_iter().flatten().flatten().take(MOST_LISTED).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let size = entry.metadata().map_or(0, |meta| meta.len());
            writeln!(list, "{size:>12}  {}", entry.file_name().display()).ok();
        }
        pages.push(Page::new("state.txt", list));
    }
    pages
}

/// The program's own log, one line each.
pub fn events(events: &[Event]) -> Page {
    let mut text = String::new();
    for event in events {
        write!(text, "{} {} {}: {}", event.at, event.level, event.target, event.text).ok();
        for (name, value) in &event.fields {
            write!(text, " {name}={value}").ok();
        }
        text.push('\n');
    }
    Page::new("events.txt", text)
}

/// The archive. Every page is cleaned of secrets, names as well.
pub fn pack(pages: &[Page], secrets: &Secrets, now: Timestamp) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut removed = 0;
    for page in pages {
        let (text, count) = secrets.remove(tail(&page.text));
        removed += count;
        append(&mut archive, &secrets.remove(&page.name).0, &text, now)?;
    }
    let about =
        json!({ "format": "tidegate-support", "version": 1, "made": now.to_string(), "pages": pages.len(), "secrets_removed": removed });
    append(&mut archive, "about.json", &format!("{about:#}\n"), now)?;
    let mut packed = archive.into_inner()?;
    packed.flush()?;
    packed.finish()
}

fn append(archive: &mut tar::Builder<impl io::Write>, name: &str, text: &str, now: Timestamp) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(now.0.max(0) as u64 / 1000);
    archive.append_data(&mut header, format!("tidegate-support/{name}"), text.as_bytes())
}

fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(MOST_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, io::Read};

    use flate2::read::GzDecoder;

    use super::*;

    fn unpacked(archive: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        let entries = archive.entries().expect("an archive");
        entries
            .map(|entry| {
                let mut entry = entry.expect("whole");
                let name = entry.path().expect("a name").display().to_string();
                let mut text = String::new();
                entry.read_to_string(&mut text).expect("text");
                (name, text)
            })
            .collect()
    }

    #[test]
    fn a_bundle_holds_what_helps_and_none_of_the_secrets_wherever_they_stand() {
        let dir = tempfile::tempdir().expect("a folder");
        let etc = dir.path().join("etc");
        fs::create_dir_all(etc.join("secrets")).expect("made");
        let state = dir.path().join("state");
        fs::create_dir_all(state.join("endpoint")).expect("made");
        let key = "bm90IG91ciBrZXksIGJ1dCBhIGtleSBhbnl3YXk=";
        fs::write(etc.join("secrets/cloud"), format!("HostName=h.example;DeviceId=gw;SharedAccessKey={key}\n")).expect("written");
        fs::write(etc.join("secrets/broker"), "correct horse battery\n").expect("written");
        fs::write(
            state.join("endpoint/ca.key"),
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0wawIB\n-----END PRIVATE KEY-----\n",
        )
        .expect("written");
        let text = format!(
            "config_version = 1\n[gateway]\nid = \"gw\"\nstate_dir = \"{}\"\n# somebody noted: correct horse battery\n[[upstream]]\nname = \"cloud\"\nkind = \"iothub\"\nconnection_string_file = \"secrets/cloud\"\n",
            state.display()
        );
        fs::write(etc.join("tidegate.toml"), &text).expect("written");
        let scene = Scene::of(&etc, &crate::kinds(), Timestamp(1_790_000_000_000));
        let mut pages = standing(&scene, &etc);
        pages.push(Page::new(
            "events.txt",
            format!("refused SharedAccessKey={key} and sig=a%2Fb%3D&se=1, Bearer tg_abcdefghijklmnop\nMIGHAgEAMBMGByqGSM49\n"),
        ));
        let secrets = Secrets::of(&scene, &etc);
        let packed = pack(&pages, &secrets, Timestamp(1_790_000_000_000)).expect("packed");
        let pages = unpacked(&packed);
        let whole = format!("{pages:?}");
        for secret in [key, "correct horse battery", "MIGHAgEAMBMGByqGSM49", "AgEGCCqGSM49AwEHBG0wawIB", "a%2Fb%3D", "tg_abcdefghijklmnop"]
        {
            assert!(!whole.contains(secret), "{secret} is in it");
        }
        assert!(pages["tidegate-support/configuration/tidegate.toml"].contains("kind = \"iothub\""), "what is no secret stays");
        assert!(
            pages["tidegate-support/checks.txt"].contains("[clock-set]")
                && pages["tidegate-support/about.json"].contains("secrets_removed")
        );
        assert!(pages.contains_key("tidegate-support/system/proc/meminfo") && pages["tidegate-support/state.txt"].contains("endpoint"));
    }

    #[test]
    fn of_a_long_page_the_end_is_kept() {
        let text = format!("{}ü end", "é".repeat(MOST_BYTES));
        assert!(tail(&text).ends_with("ü end") && tail(&text).len() <= MOST_BYTES);
    }
}
