//! A device's certificate: what it is known by, and whether an authority of ours has signed it.
//!
//! The TLS handshake only proves that the device holds the key of the certificate it shows; whether that opens anything is
//! decided at CONNECT, when the identity is known.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use tidegate_core::device::Thumbprint;

/// What a device showed.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
}

impl Shown {
    /// From a finished handshake; `None` when nothing was shown.
    pub(crate) fn new(chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        chain.filter(|chain| !chain.is_empty()).map(|chain| Self { chain: chain.to_vec() })
    }

    /// Whether it is the certificate of this thumbprint.
    pub(crate) fn is(&self, print: &Thumbprint) -> bool {
        let der: &[u8] = &self.chain[0];
        let digits = if print.is_sha1() { hex(&sha1::Sha1::digest_of(der)) } else { hex(&Sha256::digest(der)) };
        digits == print.as_str()
    }

    /// The subject's common name, if it has exactly one.
    pub(crate) fn common_name(&self) -> Option<String> {
        let (_, certificate) = x509_parser::parse_x509_certificate(&self.chain[0]).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let name = names.next()?.as_str().ok()?.to_owned();
        names.next().is_none().then_some(name)
    }
}

/// SHA-1 is of another generation of the digest crates than SHA-256.
trait DigestOf {
    fn digest_of(bytes: &[u8]) -> Vec<u8>;
}

impl DigestOf for sha1::Sha1 {
    fn digest_of(bytes: &[u8]) -> Vec<u8> {
        <sha1::Sha1 as sha1::Digest>::digest(bytes).to_vec()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Authorities whose certificates devices may show.
#[derive(Debug, Clone)]
pub(crate) struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// From a file in PEM.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let problem = |why: String| format!("{}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| problem(format!("{error:?}")))?;
            roots.add(certificate).map_err(|error| problem(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(problem("holds no certificate in PEM".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self(verifier.map_err(|error| problem(error.to_string()))?))
    }

    /// Whether one of them has signed it, and it is valid at this time.
    pub(crate) fn have_signed(&self, shown: &Shown, seconds: u64) -> bool {
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        self.0.verify_client_cert(&shown.chain[0], &shown.chain[1..], now).is_ok()
    }
}
