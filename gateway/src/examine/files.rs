//! Keys and certificates: those that the configuration names, those that were pasted on the page, and the gateway's own.

use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value as Json;
use x509_parser::extensions::GeneralName;

use super::{Check, MOST_THINGS, Report, Scene, Verdict, configuration::mode, entries, read};
use crate::config::draft;

/// A certificate that ends sooner than this is due.
const SOON_DAYS: i64 = 30;
const DAY_S: i64 = 86_400;

/// Files with secrets in them, and what they say.
pub(crate) fn secret_files(scene: &Scene, config_path: &Path) -> Vec<(PathBuf, String)> {
    let paths = all(scene, config_path, &named(scene, config_path));
    paths.into_iter().filter(|path| is_secret(path)).filter_map(|path| read(&path).map(|text| (path, text))).collect()
}

/// What the configuration names, with the keys.
fn named(scene: &Scene, config_path: &Path) -> Vec<(String, PathBuf)> {
    let mut named = Vec::new();
    scene.sections.iter().for_each(|section| collect(section, "", &mut named));
    let (folder, _) = draft::place(config_path);
    let mut all: Vec<(String, PathBuf)> = named.into_iter().map(|(key, file)| (key, folder.join(file))).collect();
    all.sort();
    all.dedup();
    all.truncate(MOST_THINGS);
    all
}

/// Those, what was pasted on the page, and the gateway's own.
fn all(scene: &Scene, config_path: &Path, named: &[(String, PathBuf)]) -> Vec<PathBuf> {
    let (folder, _) = draft::place(config_path);
    let ours = scene.state_dir().into_iter().flat_map(|state| {
        ["web/page.pem", "endpoint/ca.key", "endpoint/server.key", "endpoint/ca.pem", "endpoint/server.pem"].map(|file| state.join(file))
    });
    let pasted = entries(&folder.join("secrets"));
    let mut paths: Vec<PathBuf> =
        named.iter().map(|(_, path)| path.clone()).chain(ours).chain(pasted).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.dedup();
    paths
}

pub(super) fn look(scene: &Scene, report: &mut Report) {
    let named = named(scene, &scene.config_path);
    if named.is_empty() {
        report.skip(Check::FilesReadable, "the configuration names no file");
    }
    for (key, path) in &named {
        // A pipe would be waited for.
        let is_file = std::fs::metadata(path).map(|meta| meta.is_file());
        let opened = match is_file {
            Ok(true) => std::fs::File::open(path).map(drop),
            Ok(false) => Err(std::io::Error::other("it is not a file")),
            Err(error) => Err(error),
        };
        let shown = path.display().to_string();
        match opened {
            Ok(()) => report.say(Check::FilesReadable, &shown, Verdict::Fine, key.clone()),
            Err(error) => report.judge(Check::FilesReadable, &shown, false, format!("{key}: {error}")),
        }
    }
    let paths = all(scene, &scene.config_path, &named);
    secrets(&paths, report);
    certificates(scene, &paths, report);
}

/// Every text that names a file, with the key that it stands at: those end in `_file`.
fn collect(section: &Json, key: &str, found: &mut Vec<(String, String)>) {
    match section {
        Json::Object(table) => table.iter().for_each(|(key, value)| collect(value, key, found)),
        Json::Array(list) => list.iter().for_each(|value| collect(value, key, found)),
        Json::String(text) if key.ends_with("_file") || (["certificate", "key"].contains(&key) && text.contains('/')) => {
            found.push((key.to_owned(), text.clone()));
        }
        _ => {}
    }
}

/// A certificate alone is for everybody; whatever else is named is taken for a secret.
fn is_secret(path: &Path) -> bool {
    read(path).is_some_and(|text| text.contains("PRIVATE KEY") || !text.contains("-----BEGIN CERTIFICATE-----"))
}

fn secrets(paths: &[PathBuf], report: &mut Report) {
    let secret: Vec<_> = paths.iter().filter(|path| is_secret(path)).collect();
    let open: Vec<_> = secret.iter().filter(|path| mode(path).is_some_and(|mode| mode & 0o004 != 0)).collect();
    for path in &open {
        let mode = mode(path).unwrap_or_default() & 0o777;
        report.judge(Check::SecretsPrivate, &path.display().to_string(), false, format!("mode {mode:03o}"));
    }
    if secret.is_empty() {
        report.skip(Check::SecretsPrivate, "there is no file with a secret");
    } else if open.is_empty() {
        report.say(Check::SecretsPrivate, "", Verdict::Fine, format!("{} files", secret.len()));
    }
}

/// A certificate as people need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenCertificate {
    pub(crate) subject: String,
    pub(crate) names: Vec<String>,
    pub(crate) der: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) valid: (i64, i64),
}

/// Those in a text in PEM, the first first.
pub(crate) fn certificate_in(text: &str) -> Vec<SeenCertificate> {
    let mut seen = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()).take(8).flatten() {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&certificate) else { continue };
        let names = parsed.subject_alternative_name().ok().flatten().map(|names| names.value.general_names.iter().map(general).collect());
        seen.push(SeenCertificate {
            subject: parsed.subject().to_string(),
            names: names.unwrap_or_default(),
            der: certificate.to_vec(),
            valid: (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()),
        });
    }
    seen
}

fn general(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => std::net::Ipv4Addr::from(four).to_string(),
            Err(_) => <[u8; 16]>::try_from(*bytes).map_or_else(|_| "?".to_owned(), |all| std::net::Ipv6Addr::from(all).to_string()),
        },
        other => other.to_string(),
    }
}

fn certificates(scene: &Scene, paths: &[PathBuf], report: &mut Report) {
    let mut any = false;
    let now = scene.now.0 / 1000;
    for path in paths {
        for certificate in read(path).map(|text| certificate_in(&text)).unwrap_or_default() {
            any = true;
            let (from, until) = certificate.valid;
            let days = (until - now).div_euclid(DAY_S);
            let who = certificate.subject;
            let seen = match () {
                () if now < from => format!("{who}: not valid yet by this clock"),
                () if now > until => format!("{who}: ended {} days ago", -days),
                () => format!("{who}: {days} days left"),
            };
            report.judge(Check::CertificatesValid, &path.display().to_string(), now >= from && days >= SOON_DAYS, seen);
        }
    }
    if !any {
        report.skip(Check::CertificatesValid, "there is no certificate");
    }
}
