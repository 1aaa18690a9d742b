//! The configuration's files as texts, for those who propose changes: read, named, checked as a whole, without touching the disk.

use std::path::{Path, PathBuf};

use tidegate_core::problem::Problem;

use super::{
    Kinds, Loaded, Overlay, load,
    source::{self, Role, Source},
};

/// Longest name of a file, its folder included.
const MAX_NAME: usize = 100;

/// A file's name within the configuration, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `tidegate.toml`, or below `devices.d/`, `upstreams.d/` or `templates.d/`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The folder that the files are in, and the main file's name.
pub fn place(path: &Path) -> (PathBuf, String) {
    if path.is_dir() {
        return (path.to_owned(), source::MAIN.to_owned());
    }
    let name = path.file_name().map_or_else(|| source::MAIN.to_owned(), |name| name.to_string_lossy().into_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder.to_owned(), name)
}

/// The files as they are on disk, the main one first, and what could not be read.
pub fn read(path: &Path) -> (Vec<Draft>, Vec<Problem>) {
    let (folder, _) = place(path);
    let (sources, problems) = source::read(path);
    let name = |path: &Path| path.strip_prefix(&folder).unwrap_or(path).to_string_lossy().into_owned();
    (sources.into_iter().map(|source| Draft { name: name(&source.path), text: source.text }).collect(), problems)
}

/// Whether a file may be called this: nothing that leads out of the folder, is hidden, or would not be read.
pub fn is_name(path: &Path, name: &str) -> bool {
    if name == place(path).1 {
        return true;
    }
    let file = name.strip_prefix("devices.d/").or_else(|| name.strip_prefix("upstreams.d/")).or_else(|| name.strip_prefix("templates.d/"));
    file.is_some_and(|file| {
        let plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        plain && name.len() <= MAX_NAME && file.len() > ".toml".len() && file.ends_with(".toml") && !file.starts_with('.')
    })
}

/// Checks these texts as if they were the files of this configuration.
pub fn check(path: &Path, drafts: &[Draft], kinds: &Kinds) -> Loaded {
    let (folder, main) = place(path);
    let role = |name: &str| match name {
        _ if name == main => Role::Main,
        _ if name.starts_with("upstreams.d/") => Role::Upstreams,
        _ if name.starts_with("templates.d/") => Role::Template,
        _ => Role::Devices,
    };
    let mut sources: Vec<Source> =
        drafts.iter().map(|draft| Source { path: folder.join(&draft.name), role: role(&draft.name), text: draft.text.clone() }).collect();
    // As they are read: the main file, then each folder's by name.
    sources.sort_by(|a, b| (a.role as u8, &a.path).cmp(&(b.role as u8, &b.path)));
    load::judge(sources, Vec::new(), kinds, &Overlay::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let path = Path::new("/nowhere/tidegate.toml");
        for good in ["tidegate.toml", "devices.d/boiler-1.toml", "upstreams.d/a.b.toml", "templates.d/sdm.toml"] {
            assert!(is_name(path, good), "{good}");
        }
        for bad in [
            "",
            "other.toml",
            "devices.d/.toml",
            "devices.d/.hidden.toml",
            "devices.d/../x.toml",
            "devices.d/a/b.toml",
            "devices.d/a.txt",
            "/etc/passwd",
            "devices.d/\0.toml",
            "devices.d/ä.toml",
            "secrets.d/x.toml",
            &format!("devices.d/{}.toml", "x".repeat(100)),
        ] {
            assert!(!is_name(path, bad), "{bad:?}");
        }
    }
}
