//! TLS towards a hub: rustls with ring, the system's authorities or one's own, and a client certificate if there is one.
//!
//! The system's authorities are loaded when they are first needed and kept for the life of the upstream; `ca_file` takes their
//! place. Certificates and keys are read anew for each connection, so a renewed one is used from the next connection on.

use std::sync::Arc;

use rumqttc::TlsConfiguration;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::ExposeSecret;
use tidegate_core::{clock::Timestamp, upstream::Proof};

use super::secret;

/// The files that a connection uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// Authorities to believe instead of the system's.
    pub(super) ca: Option<String>,
    /// Certificate chain and private key to show.
    pub(super) client: Option<(String, String)>,
}

/// What is kept between connections: the system's authorities, once loaded, and until when what was shown is valid.
#[derive(Debug, Clone, Default)]
pub(super) struct Roots {
    system: Option<Arc<RootCertStore>>,
    /// When the certificate that was shown last ends.
    shown_until: Option<Timestamp>,
}

/// What to connect with, or which file is unusable and what to do about it.
pub(super) async fn configuration(files: &Files, roots: &mut Roots) -> Result<TlsConfiguration, String> {
    let believed = match &files.ca {
        Some(path) => Arc::new(own(path).await?),
        None => roots.system().await?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(believed);
    let config = match &files.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("client_cert_file", certificate).await?;
            roots.shown_until = chain.first().and_then(end_of);
            builder.with_client_auth_cert(chain, private_key(key).await?).map_err(|error| {
                format!("client_cert_file and client_key_file do not go together: {error}; use the pair as it was issued")
            })?
        }
    };
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}

impl Roots {
    async fn system(&mut self) -> Result<Arc<RootCertStore>, String> {
        if let Some(roots) = &self.system {
            return Ok(roots.clone());
        }
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|error| error.to_string())?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            return Err("the system knows no certificate authorities; install ca-certificates or set ca_file".to_owned());
        }
        Ok(self.system.insert(Arc::new(store)).clone())
    }

    /// Until when the certificate is valid that was shown last.
    pub(super) fn proof(&self) -> Option<Proof> {
        self.shown_until.map(|until| Proof { until, renews: false })
    }
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(Timestamp(parsed.validity().not_after.timestamp().saturating_mul(1000)))
}

async fn own(path: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("ca_file", path).await? {
        store.add(certificate).map_err(|error| format!("ca_file '{path}': {error}; use the authority's certificate in PEM"))?;
    }
    Ok(store)
}

async fn certificates(key: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = secret::read(key, path).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose_secret()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{key} '{path}' holds no certificate in PEM (-----BEGIN CERTIFICATE-----); convert or replace it")),
    }
}

async fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    let pem = secret::read("client_key_file", path).await?;
    PrivateKeyDer::from_pem_slice(pem.expose_secret())
        .map_err(|_| format!("client_key_file '{path}' holds no private key in PEM without a password; convert or replace it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unusable_files_are_named() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let pair = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).expect("certificate");
        let (one, other) = (pair("one"), pair("other"));
        let (ca, text) = (write("ca.pem", &one.cert.pem()), write("text", "hello"));
        let (cert, key) = (write("c.pem", &one.cert.pem()), write("k.pem", &one.signing_key.serialize_pem()));
        let wrong = write("wrong.pem", &other.signing_key.serialize_pem());
        let try_with = async |ca: &str, client: Option<(&str, &str)>| {
            let client = client.map(|(c, k)| (c.to_owned(), k.to_owned()));
            configuration(&Files { ca: Some(ca.to_owned()), client }, &mut Roots::default()).await.err()
        };
        assert_eq!(try_with(&ca, None).await, None);
        assert_eq!(try_with(&ca, Some((&cert, &key))).await, None);
        for (error, word) in [
            (try_with("/nonexistent", None).await, "ca_file"),
            (try_with(&text, None).await, "ca_file"),
            (try_with(&ca, Some((&text, &key))).await, "client_cert_file"),
            (try_with(&ca, Some((&cert, &text))).await, "client_key_file"),
            (try_with(&ca, Some((&cert, &wrong))).await, "do not go together"),
        ] {
            assert!(error.as_ref().is_some_and(|error| error.contains(word)), "{word}: {error:?}");
        }
    }
}
