//! `tidegate factory-reset`: the box as it was delivered, for another site or another owner.
//!
//! Takes what the gateway and its users made: configuration, keys and passwords, users, devices, twins, history, and the log with every
//! message that was not delivered. Only files that are known to be ours are touched, never a folder as a whole. Says all of it first and
//! does it only with `--yes`; never beside a gateway that runs. Cut short by a power cut it is simply done again: the configuration,
//! which says where the rest is, goes last. Files are removed and not overwritten; a flash card may still hold their bytes, so keys are
//! to be revoked where they are valid.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{complain, say};
use crate::{config, exit::Exit, run::LOCK, service::trial};

/// The first configuration, where a package has put one.
const PACKAGED: &str = "/usr/share/tidegate/tidegate.toml";
/// Folders beside `tidegate.toml` that are ours as a whole.
const FOLDERS: [&str; 4] = ["devices.d", "upstreams.d", "templates.d", "secrets"];
/// Files beside it.
const FILES: [&str; 1] = ["before-restore.json"];
/// What a state folder has; a folder with neither is somebody else's.
const MARKS: [&str; 2] = ["log.db", "state.db"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do it. Without this it is only said what would go.
    #[arg(long)]
    yes: bool,
    /// The configuration to begin with afterwards. Default: the package's, where there is one; otherwise none.
    #[arg(long, value_name = "FILE")]
    begin_with: Option<PathBuf>,
}

pub(super) fn reset(path: &Path, args: &Args) -> Exit {
    let etc = if path.is_dir() { path.to_owned() } else { path.parent().map(Path::to_owned).unwrap_or_default() };
    let state = config::state_dir(path);
    let going = match gather(&etc, state.as_deref()) {
        Ok(going) => going,
        Err(why) => {
            complain(&why);
            return Exit::Unavailable;
        }
    };
    let first = args.begin_with.clone().or_else(|| Some(PathBuf::from(PACKAGED)).filter(|file| file.exists()));
    let first = match first.map(|file| fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))).transpose() {
        Ok(first) => first,
        Err(why) => {
            complain(&why);
            return Exit::Usage;
        }
    };
    // Two gateways of one name push each other off the hub: it keeps the name it has.
    let first = first.map(|text| match name_of(&etc) {
        Some(id) => text.replace("\nid = \"gw-01\"", &format!("\nid = \"{id}\"")),
        None => text,
    });
    going.iter().for_each(|file| say(&format!("removes {}", file.display())));
    if !args.yes {
        say(&format!("{} files; nothing was done: --yes does it", going.len()));
        return Exit::Fine;
    }
    // Held until it is done: nothing starts in the middle of it.
    let _lock = match state.as_deref().filter(|state| state.is_dir()).map(crate::run::lock).transpose() {
        Ok(lock) => lock,
        Err(error) => {
            complain(&format!("a gateway runs on this state folder ({error}): stop it first (systemctl stop tidegate)"));
            return Exit::AlreadyRunning;
        }
    };
    match carry_out(&going, &etc, first.as_deref()) {
        Ok(()) => {
            say("done; revoke at the hub the keys that this gateway had");
            Exit::Fine
        }
        Err(why) => {
            complain(&format!("{why}; what is left goes when this is done again"));
            Exit::Unavailable
        }
    }
}

fn name_of(etc: &Path) -> Option<String> {
    let text = fs::read_to_string(etc.join("tidegate.toml")).ok()?;
    let document: toml_edit::DocumentMut = text.parse().ok()?;
    document.get("gateway")?.get("id")?.as_str().map(str::to_owned)
}

/// All files that go, in the order in which they do.
fn gather(etc: &Path, state: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let mut going = Vec::new();
    if let Some(state) = state.filter(|state| state.is_dir()) {
        if !MARKS.iter().any(|mark| state.join(mark).exists()) && fs::read_dir(state).is_ok_and(|mut all| all.next().is_some()) {
            return Err(format!("{} holds no log and no state of a gateway: empty it yourself", state.display()));
        }
        files(state, &mut going).map_err(|error| format!("{}: {error}", state.display()))?;
        // Empty, and what keeps a second one from it.
        going.retain(|file| *file != state.join(LOCK));
    }
    for folder in FOLDERS.map(|name| etc.join(name)).into_iter().filter(|folder| folder.is_dir()) {
        files(&folder, &mut going).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    going.extend(FILES.into_iter().chain(["tidegate.toml"]).map(|name| etc.join(name)).filter(|file| file.exists()));
    Ok(going)
}

/// Files below a folder; links are taken for what they are and not followed.
fn files(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() { files(&entry.path(), into)? } else { into.push(entry.path()) }
    }
    Ok(())
}

fn carry_out(going: &[PathBuf], etc: &Path, first: Option<&str>) -> Result<(), String> {
    let (last, before) = going.split_last().map_or((None, going), |(last, before)| (Some(last), before));
    for file in before {
        remove(file)?;
    }
    let main = etc.join("tidegate.toml");
    match first {
        // In its place at once: a box that is cut off here begins with the one or the other.
        Some(text) => {
            trial::write(&main, text.as_bytes()).map_err(|error| format!("{}: {error}", main.display()))?;
            last.filter(|file| **file != main).map_or(Ok(()), |file| remove(file))
        }
        None => last.map_or(Ok(()), |file| remove(file)),
    }
}

fn remove(file: &Path) -> Result<(), String> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", file.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn box_of(dir: &Path) -> (PathBuf, PathBuf) {
        let (etc, state) = (dir.join("etc"), dir.join("state"));
        for folder in [&etc.join("devices.d"), &etc.join("secrets"), &etc.join("mine"), &state.join("tls")] {
            fs::create_dir_all(folder).expect("made");
        }
        let main = format!("config_version = 1\n[gateway]\nid = \"gw\"\nstate_dir = \"{}\"\n", state.display());
        for (file, text) in [
            (etc.join("tidegate.toml"), main.as_str()),
            (etc.join("devices.d/a.toml"), "#"),
            (etc.join("secrets/cloud"), "key"),
            (etc.join("mine/notes"), "not yours"),
            (state.join("log.db"), "log"),
            (state.join("tls/key.pem"), "key"),
        ] {
            fs::write(file, text).expect("written");
        }
        (etc, state)
    }

    #[test]
    fn all_that_is_ours_goes_the_configuration_last_and_what_is_not_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let (etc, state) = box_of(dir.path());
        assert_eq!(reset(&etc, &Args { yes: false, begin_with: None }), Exit::Fine);
        assert!(state.join("log.db").exists(), "nothing was done");
        let going = gather(&etc, config::state_dir(&etc).as_deref()).expect("ours");
        let names: Vec<_> = going.iter().map(|file| file.strip_prefix(dir.path()).expect("below").display().to_string()).collect();
        assert_eq!(names, ["state/log.db", "state/tls/key.pem", "etc/devices.d/a.toml", "etc/secrets/cloud", "etc/tidegate.toml"]);
        let first = dir.path().join("first.toml");
        fs::write(&first, "# as delivered\n[gateway]\nid = \"gw-01\"\n").expect("written");
        assert_eq!(reset(&etc, &Args { yes: true, begin_with: Some(first) }), Exit::Fine);
        assert!(!state.join("log.db").exists() && !etc.join("secrets/cloud").exists() && !etc.join("devices.d/a.toml").exists());
        assert_eq!(fs::read_to_string(etc.join("tidegate.toml")).expect("there"), "# as delivered\n[gateway]\nid = \"gw\"\n");
        assert_eq!(fs::read_to_string(etc.join("mine/notes")).expect("there"), "not yours");
        assert_eq!(reset(&etc, &Args { yes: true, begin_with: None }), Exit::Fine, "again is nothing more");
    }

    #[test]
    fn beside_a_gateway_that_runs_nothing_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let (etc, state) = box_of(dir.path());
        let running = crate::run::lock(&state).expect("free");
        assert_eq!(reset(&etc, &Args { yes: true, begin_with: None }), Exit::AlreadyRunning);
        assert!(state.join("log.db").exists() && etc.join("secrets/cloud").exists());
        drop(running);
        assert_eq!(reset(&etc, &Args { yes: true, begin_with: None }), Exit::Fine);
        assert!(!state.join("log.db").exists() && !etc.join("tidegate.toml").exists());
    }

    #[test]
    fn a_folder_that_is_no_gateways_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let (etc, state) = box_of(dir.path());
        fs::remove_file(state.join("log.db")).expect("there");
        assert_eq!(reset(&etc, &Args { yes: true, begin_with: None }), Exit::Unavailable);
        assert!(state.join("tls/key.pem").exists() && etc.join("tidegate.toml").exists());
    }
}
