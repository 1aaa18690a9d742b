//! The certificate of the page: one's own, made at first start, or one that was brought.
//!
//! Ours is signed by nobody: browsers warn once, and the fingerprint on console and journal tells whether it is the right one. It
//! is renewed by itself before it ends. Key and certificate are in one file, written beside its place, flushed and renamed, so
//! that a power cut leaves the old one, the new one, or none (and then the next start makes one).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};

/// How long ours is good: browsers and phones refuse more than 825 days even where it was trusted by hand.
const GOOD_FOR: Duration = Duration::from_secs(820 * 24 * 3600);
/// It is made anew when less than this is left.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 24 * 3600);
/// A clock that was never set is in 1970; a certificate must not begin after the clock that will be set. It begins here.
const BEGINS: (i32, u8, u8) = (2024, 1, 1);
/// Largest PEM file.
const MAX_FILE: u64 = 1 << 20;

/// A chain and its key.
#[derive(Debug)]
pub struct Certificate {
    /// The page's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the first.
    pub key: PrivateKeyDer<'static>,
}

/// Where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Made here and kept in this folder, for these names beside `localhost` and the loopback addresses.
    Own {
        /// Only its owner may look into it.
        folder: PathBuf,
        /// Names and addresses by which people will ask for the page.
        names: Vec<String>,
    },
    /// Brought.
    Brought {
        /// The chain in PEM.
        certificate: PathBuf,
        /// The key in PEM.
        key: PathBuf,
    },
}

impl Source {
    /// Reads it, or makes it. Blocks.
    pub fn load(&self, now: SystemTime) -> io::Result<Certificate> {
        match self {
            Source::Brought { certificate, key } => read(certificate, key),
            Source::Own { folder, names } => {
                let path = folder.join("page.pem");
                match read(&path, &path) {
                    Ok(own) if !due(&path, now) => Ok(own),
                    _ => make(folder, &path, names, now),
                }
            }
        }
    }
}

impl Certificate {
    /// SHA-256 in the form in which browsers show it: `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        let digest = self.chain.first().map(Sha256::digest).unwrap_or_default();
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(at(path))?;
    Ok(bytes)
}

fn read(certificate: &Path, key: &Path) -> io::Result<Certificate> {
    let wrong = |path: &Path, what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(certificate)?).collect();
    let chain = chain.map_err(|error| wrong(certificate, &error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|error| wrong(key, &format!("holds no private key in PEM: {error}")))?;
    Ok(Certificate { chain, key })
}

/// The file's own time is when the certificate was made. A clock that went back does not make a new one.
fn due(path: &Path, now: SystemTime) -> bool {
    let made = fs::metadata(path).and_then(|meta| meta.modified());
    made.is_ok_and(|made| now.duration_since(made).is_ok_and(|age| age > GOOD_FOR - RENEW_BEFORE))
}

fn make(folder: &Path, path: &Path, names: &[String], now: SystemTime) -> io::Result<Certificate> {
    let mut params = CertificateParams::default();
    let mut subjects: Vec<SanType> =
        [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into_iter().map(SanType::IpAddress).collect();
    for name in names.iter().map(String::as_str).chain(["localhost"]) {
        match (name.parse::<IpAddr>(), name.try_into()) {
            (Ok(address), _) => subjects.push(SanType::IpAddress(address)),
            (Err(_), Ok(dns)) => subjects.push(SanType::DnsName(dns)),
            // A host name with letters that no certificate can carry.
            (Err(_), Err(_)) => {}
        }
    }
    params.subject_alt_names = subjects;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("tidegate", String::as_str));
    params.distinguished_name.push(DnType::OrganizationName, "Tidegate");
    let begins = rcgen::date_time_ymd(BEGINS.0, BEGINS.1, BEGINS.2);
    params.not_before = begins;
    // From now, or from the beginning of time as this machine may know it.
    let age = now.duration_since(SystemTime::from(begins)).unwrap_or_default();
    params.not_after = begins + age + GOOD_FOR;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    fs::create_dir_all(folder).map_err(at(folder))?;
    let fresh = path.with_extension("new");
    fs::remove_file(&fresh).ok();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(at(&fresh))?;
    file.write_all(format!("{}{}", key.serialize_pem(), certificate.pem()).as_bytes()).map_err(at(&fresh))?;
    file.sync_all().map_err(at(&fresh))?;
    fs::rename(&fresh, path).map_err(at(path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    read(path, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(folder: &Path) -> Source {
        Source::Own { folder: folder.join("web"), names: vec!["gw-01.local".into(), "192.0.2.4".into(), "bad name ü".into()] }
    }

    #[test]
    fn it_is_made_once_kept_for_its_owner_and_renewed_in_time() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let first = own(dir.path()).load(now).expect("made");
        assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
        let path = dir.path().join("web/page.pem");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(own(dir.path()).load(now).expect("read").fingerprint(), first.fingerprint());
        let later = own(dir.path()).load(now + GOOD_FOR - RENEW_BEFORE / 2).expect("made anew");
        assert_ne!(later.fingerprint(), first.fingerprint());
        assert!(own(dir.path()).load(SystemTime::UNIX_EPOCH).is_ok(), "a clock that is not set");
    }

    #[test]
    fn what_a_power_cut_left_behind_is_replaced_and_what_was_brought_never_is() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("web")).expect("made");
        for half in ["page.pem", "page.new"] {
            fs::write(dir.path().join("web").join(half), "-----BEGIN PRIV").expect("written");
        }
        assert!(own(dir.path()).load(SystemTime::now()).is_ok());
        let bad = dir.path().join("bad.pem");
        fs::write(&bad, "nonsense").expect("written");
        let error = Source::Brought { certificate: bad.clone(), key: bad.clone() }.load(SystemTime::now()).expect_err("nonsense");
        assert!(error.to_string().contains("bad.pem: holds no certificate"), "{error}");
        assert_eq!(fs::read_to_string(bad).expect("there"), "nonsense");
    }
}
