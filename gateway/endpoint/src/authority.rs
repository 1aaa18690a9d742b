//! The endpoint's own authority and its server certificate: made at first start, kept in the state folder, renewed by itself.
//!
//! Devices trust `ca.pem`, once; server certificates come and go below it. Files are written whole or not at all (written beside,
//! flushed, renamed), keys can only be read by their owner.
//!
//! | power is cut … | then |
//! |---|---|
//! | after the authority's key, before its certificate | the certificate is made anew from the same key |
//! | while a server certificate is renewed | key and certificate do not fit, and both are made anew |

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tidegate_core::clock::Timestamp;

/// A certificate chain and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

const CA: (&str, &str) = ("ca.pem", "ca.key");
const SERVER: (&str, &str) = ("server.pem", "server.key");
/// A server certificate is renewed when it has less than this left: devices that are offline for weeks meet a fresh one.
const RENEW_BEFORE_DAYS: i64 = 90;
/// A clock before this is not set; certificates made then must be valid once it is.
const EARLIEST_YEAR: i16 = 2026;

/// The server's pair for these names, and the authority in PEM. Made or renewed if that is due. Blocks.
pub(crate) fn pair(dir: &Path, owner: &str, names: &[String], now: Timestamp) -> Result<(Pair, String), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", dir.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(problem)?;
    let today = date(now);
    let (ca_pem, issuer) = authority(dir, owner, today)?;
    let current = read(dir, SERVER).filter(|pair| is_good(pair, names, now) && is_signed_by(pair, &ca_pem));
    let pair = match (current, issuer) {
        (Some(pair), _) => pair,
        (None, Some(issuer)) => issue(dir, &issuer, names, today, &ca_pem)?,
        (None, None) => {
            let ca = dir.join(CA.0);
            return Err(format!("{} has lost its key ({}): bring it back, or remove the certificate to begin anew", ca.display(), CA.1));
        }
    };
    Ok((pair, ca_pem))
}

/// The authority's certificate, and its issuing end if its key is there.
fn authority(dir: &Path, owner: &str, today: (i32, u8)) -> Result<(String, Option<Issuer<'static, KeyPair>>), String> {
    let (cert, key) = (dir.join(CA.0), dir.join(CA.1));
    let found = fs::read_to_string(&cert).ok().filter(|pem| common_name(pem).is_some());
    let key = match fs::read_to_string(&key) {
        Ok(pem) => Some(KeyPair::from_pem(&pem).map_err(|error| format!("{}: {error}", key.display()))?),
        Err(_) if found.is_some() => None,
        Err(_) => {
            let fresh = KeyPair::generate().map_err(|error| error.to_string())?;
            write(&key, &fresh.serialize_pem(), 0o600)?;
            Some(fresh)
        }
    };
    let Some(key) = key else { return Ok((found.unwrap_or_default(), None)) };
    let name = found.as_deref().and_then(common_name).unwrap_or_else(|| format!("Tidegate {owner} authority"));
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(today.0 + 25, 1, 1));
    let pem = match found {
        Some(pem) => pem,
        None => {
            let pem = params.self_signed(&key).map_err(|error| error.to_string())?.pem();
            write(&cert, &pem, 0o644)?;
            pem
        }
    };
    Ok((pem, Some(Issuer::new(params, key))))
}

fn issue(dir: &Path, issuer: &Issuer<'static, KeyPair>, names: &[String], today: (i32, u8), ca_pem: &str) -> Result<Pair, String> {
    let fail = |error: rcgen::Error| format!("cannot make a server certificate: {error}");
    let mut params = CertificateParams::new(names.to_vec()).map_err(fail)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // At most 64 characters fit a common name; clients look at the alternative names.
    let first = names.first().map_or("tidegate", String::as_str);
    params.distinguished_name.push(DnType::CommonName, first.chars().take(64).collect::<String>());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(today.0 - 1, today.1, 1), date_time_ymd(today.0 + 1, today.1, 28));
    let key = KeyPair::generate().map_err(fail)?;
    let certificate = params.signed_by(&key, issuer).map_err(fail)?;
    write(&dir.join(SERVER.1), &key.serialize_pem(), 0o600)?;
    write(&dir.join(SERVER.0), &format!("{}{ca_pem}", certificate.pem()), 0o644)?;
    read(dir, SERVER).ok_or_else(|| "the server certificate just written cannot be read".to_owned())
}

/// A pair from files of the operator's own.
pub(crate) fn read_own(certificate: &Path, key: &Path) -> Result<Pair, String> {
    let bytes = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    Ok(Pair {
        chain: chain.ok_or_else(|| format!("{}: holds no certificate in PEM", certificate.display()))?,
        key: PrivateKeyDer::from_pem_slice(&bytes(key)?)
            .map_err(|_| format!("{}: holds no private key in PEM without a password", key.display()))?,
    })
}

fn read(dir: &Path, (certificate, key): (&str, &str)) -> Option<Pair> {
    read_own(&dir.join(certificate), &dir.join(key)).ok()
}

/// Key and certificate fit, all names are in it, and it has long enough left.
fn is_good(pair: &Pair, names: &[String], now: Timestamp) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&pair.chain[0]) else { return false };
    let left = certificate.validity().not_after.timestamp() - now.seconds();
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return false };
    let there: Vec<String> = alternative.value.general_names.iter().filter_map(name_of).collect();
    left > RENEW_BEFORE_DAYS * 86_400 && names.iter().all(|name| there.contains(name)) && crate::tls::certified(pair).is_ok()
}

fn name_of(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    use x509_parser::extensions::GeneralName;
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The pair hangs below this authority: its chain ends with the authority's certificate.
fn is_signed_by(pair: &Pair, ca_pem: &str) -> bool {
    CertificateDer::from_pem_slice(ca_pem.as_bytes()).is_ok_and(|ca| pair.chain.last() == Some(&ca))
}

fn common_name(pem: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    certificate.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

/// Year and month.
fn date(now: Timestamp) -> (i32, u8) {
    let date = jiff::Timestamp::from_millisecond(now.0).map(|now| now.to_zoned(jiff::tz::TimeZone::UTC));
    match date {
        Ok(date) if date.year() >= EARLIEST_YEAR => (i32::from(date.year()), date.month().unsigned_abs()),
        _ => (i32::from(EARLIEST_YEAR), 1),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let beside = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    written().map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_authority_stays_and_server_certificates_come_when_they_are_due() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("tls");
        let (first, ca) = pair(&dir, "gw", &names(&["gw.local", "192.0.2.1"]), NOW).expect("made");
        let (again, _) = pair(&dir, "gw", &names(&["gw.local", "192.0.2.1"]), NOW).expect("kept");
        assert_eq!(first.chain, again.chain);
        for (file, mode) in [("ca.key", 0o600), ("server.key", 0o600), ("ca.pem", 0o644)] {
            assert_eq!(fs::metadata(dir.join(file)).expect("there").permissions().mode() & 0o777, mode, "{file}");
        }
        let (renamed, ca_then) = pair(&dir, "gw", &names(&["gw.local", "other"]), NOW).expect("made");
        assert!(renamed.chain != first.chain && ca_then == ca);
        let later = Timestamp(NOW.0 + 300 * 86_400_000);
        let (renewed, _) = pair(&dir, "gw", &names(&["gw.local", "other"]), later).expect("renewed");
        assert_ne!(renewed.chain, renamed.chain);
    }

    #[test]
    fn a_cut_between_two_files_is_mended() {
        let dir = tempfile::tempdir().expect("a folder");
        let (_, ca) = pair(dir.path(), "gw", &names(&["a"]), NOW).expect("made");
        let key = fs::read(dir.path().join("ca.key")).expect("there");
        fs::remove_file(dir.path().join("ca.pem")).expect("cut");
        pair(dir.path(), "gw", &names(&["a"]), NOW).expect("made anew from the same key");
        assert_eq!(fs::read(dir.path().join("ca.key")).expect("there"), key);
        let fresh = KeyPair::generate().expect("a key").serialize_pem();
        fs::write(dir.path().join("server.key"), fresh).expect("cut while renewing");
        let (mended, now_ca) = pair(dir.path(), "gw", &names(&["a"]), NOW).expect("mended");
        assert!(crate::tls::certified(&mended).is_ok());
        assert_eq!(common_name(&ca), common_name(&now_ca));
    }

    #[test]
    fn an_authority_without_its_key_serves_on_and_says_so_when_it_must_sign() {
        let dir = tempfile::tempdir().expect("a folder");
        pair(dir.path(), "gw", &names(&["a"]), NOW).expect("made");
        fs::remove_file(dir.path().join("ca.key")).expect("lost");
        assert!(pair(dir.path(), "gw", &names(&["a"]), NOW).is_ok());
        let error = pair(dir.path(), "gw", &names(&["b"]), NOW).expect_err("cannot sign");
        assert!(error.contains("lost its key"), "{error}");
        assert!(pair(dir.path(), "gw", &names(&["a"]), Timestamp(0)).is_ok(), "a clock that is not set makes no difference");
    }
}
