//! Keys, passwords and certificates: files that are read when an upstream connects, and never before or after.
//!
//! A relative path is looked for among systemd's credentials first (`$CREDENTIALS_DIRECTORY`), then in the working folder.
//! Errors name the configuration's key, the file and the next step, never the content. Content is wiped when dropped.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::{fs::File, io::AsyncReadExt};

/// The largest file that can be meant: the largest bundle of authorities in use has a quarter of it.
const MOST: u64 = 1 << 20;

/// A file's bytes. `key` is its name in the configuration.
pub(super) async fn read(key: &str, path: &str) -> Result<SecretSlice<u8>, String> {
    let found = resolve(Path::new(path), std::env::var_os("CREDENTIALS_DIRECTORY").as_deref());
    let bytes = bounded(&found).await.map_err(|error| explain(key, &found, &error))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("{key} '{}' is larger than 1 MiB; it is probably another file", found.display()));
    }
    Ok(SecretSlice::from(bytes))
}

/// A file's text, without the white space at its ends.
pub(super) async fn read_text(key: &str, path: &str) -> Result<SecretString, String> {
    let bytes = read(key, path).await?;
    match std::str::from_utf8(bytes.expose_secret()).map(str::trim) {
        Ok("") => Err(format!("{key} '{path}' is empty; put the secret there")),
        Ok(text) => Ok(text.into()),
        Err(_) => Err(format!("{key} '{path}' is not text; it is probably another file")),
    }
}

async fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).await?.take(MOST + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn resolve(path: &Path, credentials: Option<&OsStr>) -> PathBuf {
    let credential = credentials.filter(|_| path.is_relative()).map(|folder| Path::new(folder).join(path));
    credential.filter(|path| path.exists()).unwrap_or_else(|| path.to_owned())
}

fn explain(key: &str, path: &Path, error: &io::Error) -> String {
    let next = match error.kind() {
        io::ErrorKind::NotFound => "put the file there or correct the path",
        io::ErrorKind::PermissionDenied => "let the user that runs the gateway read it",
        _ => "check the file",
    };
    format!("{key} '{}': {error}; {next}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_file_is_named_with_the_next_step() {
        let error = read_text("key_file", "/nonexistent/key").await.expect_err("is not there");
        assert!(error.starts_with("key_file '/nonexistent/key': ") && error.ends_with("put the file there or correct the path"), "{error}");
    }

    #[tokio::test]
    async fn files_that_cannot_be_meant_are_refused_by_name_and_not_by_content() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        assert_eq!(read_text("key_file", &write("good", b" secret\n")).await.expect("read").expose_secret(), "secret");
        for (name, content) in [("empty", vec![b'\n']), ("binary", vec![0xff; 10]), ("large", vec![b'x'; 2 << 20])] {
            let error = read_text("key_file", &write(name, &content)).await.expect_err(name);
            assert!(error.contains(name) && !error.contains("xxxx"), "{error}");
        }
        assert!(read("ca_file", folder.path().to_str().expect("UTF-8")).await.is_err());
        assert!(read("ca_file", "/dev/zero").await.is_err());
    }

    #[test]
    fn a_credential_of_systemd_comes_before_the_working_folder() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("hub-key"), "x").expect("written");
        let credentials = Some(folder.path().as_os_str());
        assert_eq!(resolve(Path::new("hub-key"), credentials), folder.path().join("hub-key"));
        assert_eq!(resolve(Path::new("other"), credentials), Path::new("other"));
        assert_eq!(resolve(Path::new("/etc/hub-key"), credentials), Path::new("/etc/hub-key"));
        assert_eq!(resolve(Path::new("hub-key"), None), Path::new("hub-key"));
    }
}
