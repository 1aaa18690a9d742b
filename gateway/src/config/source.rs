//! Finds and reads the configuration's files: `tidegate.toml`, and beside it `devices.d/*.toml`, `upstreams.d/*.toml` and
//! `templates.d/*.toml`.
//!
//! Only regular files are opened, and never waited for: a pipe or device that lies there is refused. Everything that is read is
//! bounded, and what cannot be read is a problem with the file's name and the next step.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tidegate_core::problem::{Place, Problem};

use super::parse::problem;

/// Largest file. A device with 50 points takes about 5 KiB, so this is 200 of them in one file.
const MAX_FILE: u64 = 1 << 20;
/// All files together. Bounds what a reload needs on a board of 512 MB.
const MAX_TOTAL: u64 = 4 << 20;
/// Most files. A folder with more is probably not a configuration.
const MAX_FILES: usize = 256;
/// The file's name when the configuration is given as a folder.
pub(super) const MAIN: &str = "tidegate.toml";

/// What a file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Main,
    /// `[[adapter]]` sections.
    Devices,
    /// `[[upstream]]` sections.
    Upstreams,
    /// One template.
    Template,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) role: Role,
    pub(super) text: String,
}

/// The files, `tidegate.toml` first and then in the order of their names, and what could not be read.
pub(super) fn read(path: &Path) -> (Vec<Source>, Vec<Problem>) {
    let mut reader = Reader { sources: Vec::new(), problems: Vec::new(), bytes_left: MAX_TOTAL };
    let (main, folder) = if path.is_dir() { (path.join(MAIN), path) } else { (path.to_owned(), path.parent().unwrap_or(Path::new(""))) };
    reader.take(main, Role::Main);
    for (name, role) in [("devices.d", Role::Devices), ("upstreams.d", Role::Upstreams), ("templates.d", Role::Template)] {
        for path in reader.list(&folder.join(name)) {
            reader.take(path, role);
        }
    }
    (reader.sources, reader.problems)
}

/// The line on which bytes stop to be UTF-8, if they do; else the text, without the mark that some editors put first.
fn to_text(bytes: Vec<u8>) -> Result<String, usize> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count()
    })?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

struct Reader {
    sources: Vec<Source>,
    problems: Vec<Problem>,
    bytes_left: u64,
}

impl Reader {
    fn refuse(&mut self, path: &Path, line: Option<usize>, what: String, next: &str) {
        self.problems.push(problem(Some(path), line, Place::default(), what, next));
    }

    fn take(&mut self, path: PathBuf, role: Role) {
        let bytes = match self.bytes(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => {
                let (what, next) = explain(&error, role);
                return self.refuse(&path, None, what, next);
            }
        };
        match to_text(bytes) {
            Ok(text) => self.sources.push(Source { path, role, text }),
            Err(line) => self.refuse(&path, Some(line), "is not UTF-8 text".to_owned(), "save the file as UTF-8"),
        }
    }

    /// `None` when a problem has been recorded.
    fn bytes(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = open(path)? else {
            self.refuse(path, None, "is not a file".to_owned(), "put a text file there, or take it away");
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let most = MAX_FILE.min(self.bytes_left);
        let read = (&mut file).take(most + 1).read_to_end(&mut bytes)? as u64;
        if read > MAX_FILE {
            self.refuse(path, None, "is larger than 1 MiB".to_owned(), "spread the adapters over several files in devices.d");
            return Ok(None);
        }
        if read > most {
            let what = "the configuration's files are larger than 4 MiB together".to_owned();
            self.refuse(path, None, what, "move some devices to another gateway");
            return Ok(None);
        }
        self.bytes_left -= read;
        Ok(Some(bytes))
    }

    /// The `.toml` files of a folder by name. Hidden files are passed over: editors put their half-written ones there.
    fn list(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                let (what, next) = explain(&error, Role::Devices);
                self.refuse(folder, None, what, next);
                return Vec::new();
            }
        };
        let is_ours = |path: &PathBuf| {
            let hidden = path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with('.'));
            !hidden && path.extension() == Some(OsStr::new("toml"))
        };
        let room = MAX_FILES.saturating_sub(self.sources.len());
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_ours).take(room + 1).collect();
        if found.len() > room {
            self.refuse(folder, None, format!("the configuration has more than {MAX_FILES} files"), "put several adapters into one file");
            return Vec::new();
        }
        found.sort();
        found
    }
}

/// `None` when it is there and not a regular file. Looks before it opens, because opening some devices does something,
/// and opens without waiting, because it may have become a pipe in between.
fn open(path: &Path) -> io::Result<Option<File>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let no_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_waiting).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn explain(error: &io::Error, role: Role) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound if role == Role::Main => {
            ("does not exist".to_owned(), "create it (the shipped tidegate.toml is a good start), or name another with --config")
        }
        io::ErrorKind::NotFound => ("points to nothing".to_owned(), "mend the link, or remove it"),
        io::ErrorKind::PermissionDenied => (
            "may not be read by this user".to_owned(),
            "run this as the user tidegate or with sudo, or let the group tidegate read it: chgrp tidegate, chmod 640",
        ),
        io::ErrorKind::NotADirectory => ("is not a folder".to_owned(), "make it a folder with .toml files in it, or remove it"),
        _ => (format!("cannot be read: {error}"), "check the disk and the file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_is_not_utf8_is_named() {
        assert_eq!(to_text(b"a\nb\n\xff".to_vec()), Err(3));
        assert_eq!(to_text("\u{feff}a = \"ü\"".as_bytes().to_vec()), Ok("a = \"ü\"".to_owned()));
    }
}
