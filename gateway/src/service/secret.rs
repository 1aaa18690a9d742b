//! Secrets that people paste into the page: each a file beside the configuration that nobody else may read.
//!
//! A file is replaced whole, and on disk before it is told where it is: after a power cut there is the old one or the new one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// The folder beside the configuration.
const FOLDER: &str = "secrets";

/// Keeps it; the file's path.
pub(super) fn keep(config: &Path, name: &str, value: &str) -> io::Result<String> {
    let folder = config.join(FOLDER);
    if !folder.is_dir() {
        DirBuilder::new().mode(0o700).create(&folder)?;
        File::open(config)?.sync_all()?;
    }
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    // One that a power cut left behind may have any mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(value.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(&folder)?.sync_all()?;
    Ok(path.display().to_string())
}

/// Names and paths of those that are kept, in order.
pub(super) fn list(config: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(config.join(FOLDER)).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let named = files.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().display().to_string()));
    let mut all: Vec<_> = named.filter(|(name, _)| tidegate_core::id::Name::new(name).is_ok()).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_for_the_gateway_alone_and_replaced_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        for value in ["first", "second"] {
            let path = keep(dir.path(), "cloud", value).expect("kept");
            assert_eq!(fs::read_to_string(&path).expect("readable"), format!("{value}\n"));
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(dir.path().join(FOLDER)).expect("there").permissions().mode() & 0o777, 0o700);
        fs::write(dir.path().join(FOLDER).join("other.new"), "x").expect("written");
        assert_eq!(list(dir.path()), [("cloud".to_owned(), dir.path().join("secrets/cloud").display().to_string())]);
    }
}
