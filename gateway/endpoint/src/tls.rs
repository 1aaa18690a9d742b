//! The server's side of TLS: 1.2 and 1.3, a certificate that can be replaced while it runs, and client certificates of any kind.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::authority::Pair;

/// What the server shows now.
#[derive(Debug)]
pub(crate) struct Showing(RwLock<Arc<CertifiedKey>>);

impl Showing {
    pub(crate) fn new(pair: &Pair) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self(RwLock::new(certified(pair)?))))
    }

    /// From the next connection on.
    pub(crate) fn replace(&self, pair: &Pair) -> Result<(), String> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified(pair)?;
        Ok(())
    }
}

impl ResolvesServerCert for Showing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether key and certificate fit together, too.
pub(crate) fn certified(pair: &Pair) -> Result<Arc<CertifiedKey>, String> {
    let key = CertifiedKey::from_der(pair.chain.clone(), pair.key.clone_key(), &provider());
    key.map(Arc::new).map_err(|error| format!("the server's certificate and key do not go together: {error}"))
}

/// The configuration for all listeners.
pub(crate) fn server(showing: Arc<Showing>) -> Result<Arc<ServerConfig>, String> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(Arc::new(Anybody(provider)))
        .with_cert_resolver(showing);
    // Devices stay connected for days: kept session state would only cost memory.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Takes any client certificate whose key the client holds, or none. Whether it opens anything is decided at CONNECT.
struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
