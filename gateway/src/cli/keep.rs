//! `tidegate backup`, `tidegate restore`, `tidegate support-bundle`: files that leave the box or come to it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tidegate_core::{
    clock::{Clock, SystemClock, Timestamp},
    problem::Severity,
};

use super::{complain, say};
use crate::{
    bundle::{
        self, Page, Secrets,
        backup::{Backup, MAX_BYTES},
    },
    config::{self, draft},
    control::{self, Ask},
    examine::Scene,
    exit::Exit,
    service::trial,
};

#[derive(Debug, clap::Args)]
pub(super) struct To {
    /// Where to; `-` is standard output. Default: a name with gateway and time in this folder.
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct From {
    /// The backup; `-` is standard input.
    file: PathBuf,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

fn now() -> Timestamp {
    SystemClock::new("keep").now().wall
}

/// Such as `tidegate-gw-01-20260101T120000Z.json`.
fn default_name(what: &str, scene: &Scene, ending: &str) -> PathBuf {
    let id = scene.config().map_or_else(|| "gateway".to_owned(), |config| config.gateway.id.to_string());
    let stamp: String = now().to_string().chars().filter(|c| c.is_ascii_alphanumeric()).take(15).collect();
    PathBuf::from(format!("{what}-{id}-{stamp}Z.{ending}"))
}

/// For this user alone: a configuration tells how a site is built.
fn put(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if file == Path::new("-") {
        return io::stdout().write_all(bytes);
    }
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    out.write_all(bytes)?;
    out.sync_all()
}

fn kept(file: &Path, bytes: &[u8], extra: &str) -> Exit {
    match put(file, bytes) {
        Ok(()) if file == Path::new("-") => Exit::Fine,
        Ok(()) => {
            say(&format!("{}{extra}", file.display()));
            Exit::Fine
        }
        Err(error) => {
            complain(&format!("{}: {error}", file.display()));
            Exit::Unavailable
        }
    }
}

pub(super) fn backup(path: &Path, to: To) -> Exit {
    let scene = Scene::of(path, &crate::kinds(), now());
    let backup = Backup::make(&scene, path, now());
    if backup.files.is_empty() {
        complain(&format!("{}: there is no configuration", path.display()));
        return Exit::Configuration;
    }
    let bytes = match serde_json::to_vec_pretty(&backup) {
        Ok(bytes) => bytes,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Internal;
        }
    };
    let needs = if backup.needs.is_empty() { String::new() } else { format!("; not in it: {}", backup.needs.join(", ")) };
    kept(&to.file.unwrap_or_else(|| default_name("tidegate-backup", &scene, "json")), &bytes, &needs)
}

pub(super) fn support(path: &Path, to: To) -> Exit {
    let scene = Scene::of(path, &crate::kinds(), now());
    let mut pages = bundle::standing(&scene, path);
    if let Some(state) = config::state_dir(path) {
        for (name, ask) in [("status.json", Ask::Status), ("events.json", Ask::Events)] {
            match control::ask(&state, &ask) {
                Ok(answer) => pages.push(Page::json(name, &answer)),
                Err(error) => pages.push(Page::new(name, format!("no gateway answers: {error}\n"))),
            }
        }
    }
    match bundle::pack(&pages, &Secrets::of(&scene, path), now()) {
        Ok(bytes) => kept(&to.file.unwrap_or_else(|| default_name("tidegate-support", &scene, "tar.gz")), &bytes, ""),
        Err(error) => {
            complain(&error.to_string());
            Exit::Internal
        }
    }
}

fn text_of(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = MAX_BYTES as u64 + 1;
    match file == Path::new("-") {
        true => io::stdin().take(most).read_to_string(&mut text)?,
        false => fs::File::open(file)?.take(most).read_to_string(&mut text)?,
    };
    Ok(text)
}

/// What is there is kept beside it first. A gateway that runs goes on with what it has until `tidegate reload`.
pub(super) fn restore(path: &Path, from: &From) -> Exit {
    let read = text_of(&from.file).map_err(|error| error.to_string()).and_then(|text| Backup::read(&text, path));
    let backup = match read {
        Ok(backup) => backup,
        Err(why) => {
            complain(&format!("{}: {why}", from.file.display()));
            return Exit::Usage;
        }
    };
    let drafts = backup.drafts(path);
    let files: Vec<_> = backup.files.iter().map(|(name, text)| draft::Draft { name: name.clone(), text: text.clone() }).collect();
    let checked = draft::check(path, &files, &crate::kinds());
    checked.problems.iter().for_each(|problem| complain(&problem.to_string()));
    for (name, text) in &drafts {
        say(&format!("{} {name}", if text.is_some() { "writes" } else { "removes" }));
    }
    for need in backup.missing(path) {
        say(&format!("needs  {need}: a file with a key or password, which no backup holds"));
    }
    if checked.config.is_none() {
        complain(&format!(
            "not restored: {} errors",
            checked.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
        ));
        return Exit::Configuration;
    }
    if from.dry_run {
        return Exit::Fine;
    }
    let (folder, _) = draft::place(path);
    let before = Backup::make(&Scene::of(path, &crate::kinds(), now()), path, now());
    let kept_as = folder.join("before-restore.json");
    let saved = match (before.files.is_empty(), serde_json::to_vec_pretty(&before)) {
        (true, _) => Ok(()),
        (_, Ok(bytes)) => trial::write(&kept_as, &bytes),
        (_, Err(error)) => Err(io::Error::other(error)),
    };
    match saved.and_then(|()| trial::write_files(path, &drafts)) {
        Ok(()) => {
            say(&format!("restored; what was there before is in {}. `tidegate reload` applies it.", kept_as.display()));
            Exit::Fine
        }
        Err(error) => {
            complain(&format!("{}: {error}", folder.display()));
            Exit::Unavailable
        }
    }
}
