//! Binds, serves, and stops without waiting for browsers.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use tidegate_core::clock::Clock;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    ClaimCode, Site, Vault,
    certificate::{Certificate, Source},
    door::Door,
    route,
    state::Shared,
};

/// How long open requests may take once the server stops; streams have been told before.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long a client may take over the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// Streams of one HTTP/2 connection: a page asks for a dozen things at once.
const H2_STREAMS: u32 = 64;
/// How often the certificate is looked at, so that a new one is used without a restart.
const RENEW: Duration = Duration::from_secs(12 * 3600);

/// How the page is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where.
    pub listen: SocketAddr,
    /// The certificate; `None`: plain HTTP, which an operator may choose on loopback.
    pub certificate: Option<Source>,
    /// Where plain HTTP is sent on to HTTPS, such as port 80.
    pub redirect: Option<SocketAddr>,
}

/// The server behind the page.
#[derive(Debug)]
pub struct Web {
    /// How it is served.
    pub options: Options,
    /// What answers.
    pub site: Arc<dyn Site>,
    /// What keeps.
    pub vault: Arc<dyn Vault>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// A server whose socket is open.
pub struct Bound {
    listener: TcpListener,
    redirect: Option<TcpListener>,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
    fingerprint: Option<String>,
    code: Option<ClaimCode>,
    web: Web,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Where its own certificate stands that a file or folder could not be used.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    TcpListener::bind(address).map_err(named)
}

fn tls(certificate: Certificate) -> io::Result<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = config.with_no_client_auth().with_single_cert(certificate.chain, certificate.key).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Web {
    /// Opens the socket, reads or makes the certificate, and makes a claim code if nobody has claimed this gateway yet.
    pub async fn bind(self) -> io::Result<Bound> {
        let (listener, redirect) = (listen(self.options.listen)?, self.options.redirect.map(listen).transpose()?);
        let address = listener.local_addr()?;
        let (mut config, mut fingerprint) = (None, None);
        if let Some(source) = self.options.certificate.clone() {
            let certificate = tokio::task::spawn_blocking(move || source.load(SystemTime::now())).await.map_err(io::Error::other)??;
            fingerprint = Some(certificate.fingerprint());
            config = Some(RustlsConfig::from_config(Arc::new(tls(certificate)?)));
        }
        let claimed = !self.vault.users().await.map_err(io::Error::other)?.is_empty();
        let code = (!claimed).then(ClaimCode::fresh);
        Ok(Bound { listener, redirect, address, tls: config, fingerprint, code, web: self })
    }
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a person opens.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Of the certificate; `None` for plain HTTP.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// With which it can be claimed; `None` when it has been.
    pub fn code(&self) -> Option<&ClaimCode> {
        self.code.as_ref()
    }

    /// Tells the journal where the page is, how to know it, and how to claim it.
    pub fn announce(&self) {
        info!(url = self.url(), "page open");
        if let Some(fingerprint) = &self.fingerprint {
            info!(sha256 = fingerprint, "certificate of the page");
        }
        if let Some(code) = &self.code {
            info!(%code, "nobody has claimed this gateway yet: open the page and type this claim code");
        }
    }

    /// Serves until the token is cancelled, then ends streams and gives open requests a moment.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        let inner = CancellationToken::new();
        let _end_all = inner.clone().drop_guard();
        let shared = Shared::new(self.web.site, self.web.vault, self.web.clock, self.tls.is_some(), inner.clone());
        let shared = Arc::new(shared);
        match self.code {
            Some(code) => shared.set_code(code),
            None => shared.set_claimed(),
        }
        let service = route::all(shared.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(shared.sweep());
        if let Some(redirect) = self.redirect {
            tokio::spawn(send_on(redirect, self.address.port(), inner.clone()));
        }
        let handle = Handle::new();
        tokio::spawn({
            let (handle, inner) = (handle.clone(), inner.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = inner.cancelled() => return,
                }
                // Streams first: an open one would hold up a graceful stop for ever.
                inner.cancel();
                handle.graceful_shutdown(Some(FAREWELL));
            }
        });
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle);
        server.http_builder().http1().header_read_timeout(HEAD);
        server.http_builder().http2().max_concurrent_streams(H2_STREAMS).max_header_list_size(32 << 10);
        let door = Door::new(self.tls.is_some());
        match self.tls {
            None => server.acceptor(door).serve(service).await,
            Some(config) => {
                if let Some(source) = self.web.options.certificate {
                    tokio::spawn(renew(source, config.clone(), self.fingerprint.unwrap_or_default(), inner));
                }
                server.acceptor(RustlsAcceptor::new(config).acceptor(door)).serve(service).await
            }
        }
    }
}

/// Takes up a certificate that was renewed or replaced. One that cannot be read changes nothing.
async fn renew(source: Source, config: RustlsConfig, mut known: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RENEW) => {}
            () = stop.cancelled() => return,
        }
        let source = source.clone();
        let loaded = tokio::task::spawn_blocking(move || source.load(SystemTime::now())).await;
        let fresh = loaded.map_err(io::Error::other).and_then(|loaded| loaded).and_then(|certificate| {
            let fingerprint = certificate.fingerprint();
            Ok((fingerprint, tls(certificate)?))
        });
        match fresh {
            Ok((fingerprint, _)) if fingerprint == known => {}
            Ok((fingerprint, fresh)) => {
                info!(sha256 = fingerprint, "new certificate of the page");
                config.reload_from_config(Arc::new(fresh));
                known = fingerprint;
            }
            Err(error) => warn!(%error, "the page's certificate cannot be renewed; the present one goes on"),
        }
    }
}

/// Answers plain HTTP with where the page is, and nothing else.
async fn send_on(listener: TcpListener, port: u16, stop: CancellationToken) {
    let router = axum::Router::new().fallback(move |uri: axum::http::Uri, headers: axum::http::HeaderMap| async move {
        let host = headers.get(axum::http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        // Without the port: it is the other one's.
        let name = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let head = format!("GET {path} HTTP/1.1\r\nHost: {name}{}\r\n\r\n", if port == 443 { String::new() } else { format!(":{port}") });
        match crate::door::elsewhere(head.as_bytes()) {
            Some(to) => axum::response::Redirect::permanent(&to).into_response(),
            None => axum::http::StatusCode::BAD_REQUEST.into_response(),
        }
    });
    let handle = Handle::new();
    let serving = async {
        let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).acceptor(Door::new(false));
        server.http_builder().http1().header_read_timeout(HEAD);
        server.serve(router.into_make_service()).await
    };
    tokio::select! {
        ended = serving => drop(ended.inspect_err(|error| warn!(%error, "plain HTTP is not sent on any more"))),
        () = stop.cancelled() => {}
    }
}

use axum::response::IntoResponse;

/// Where the page's own certificate is kept below the state folder.
pub fn folder(state_dir: &std::path::Path) -> PathBuf {
    state_dir.join("web")
}
