//! Headers on every answer, limits, nonsense, TLS and its plain-text door.

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

#[tokio::test]
async fn every_answer_keeps_itself_to_itself() {
    let house = house().await;
    let cookie = house.claim().await;
    for (path, status) in [("/overview", 200), ("/nothing", 404), ("/users/x/y", 404), ("/devices/x", 404)] {
        let answer = house.page(&cookie, "GET", path, Value::Null).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"), "{path}");
        assert!(!answer.headers["content-security-policy"].contains("unsafe"), "{path}");
        assert_eq!((answer.headers["x-content-type-options"].as_str(), answer.headers["x-frame-options"].as_str()), ("nosniff", "DENY"));
    }
    assert_eq!(house.page(&cookie, "PUT", "/overview", Value::Null).await.code(), "method");
    let plain = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let page = answer(&mut house.connect().await, plain("/devices/boiler").as_bytes()).await;
    assert!(page.status == 200 && page.headers["content-type"].starts_with("text/html"), "a screen of the page: {page:?}");
    assert!(page.headers.contains_key("content-security-policy"));
    for path in ["/nothing.js", "/../../etc/passwd.x", "/assets/..%2f..%2fCargo.toml"] {
        assert_eq!(answer(&mut house.connect().await, plain(path).as_bytes()).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn nonsense_is_named_and_too_much_is_refused() {
    let house = house().await;
    let cookie = house.claim().await;
    let origin = format!("http://{}", house.address);
    let send = async |path: &str, body: &str| {
        let headers = [("Cookie", cookie.as_str()), ("Origin", &origin), ("Content-Type", "application/json")];
        house.ask("POST", path, &headers, body).await
    };
    assert_eq!(send("/users", "{").await.code(), "malformed");
    assert_eq!(send("/users", "").await.code(), "malformed");
    assert_eq!(send("/users", &"[".repeat(100_000)).await.code(), "invalid");
    assert_eq!(send("/users", "[]").await.code(), "invalid");
    assert_eq!(send("/users", "{\"name\":\"x\",\"password\":\"y\",\"role\":\"god\"}").await.code(), "invalid");
    assert_eq!(send("/users", "{\"nme\":1}").await.code(), "invalid");
    assert_eq!(send("/users", "{} {}").await.code(), "invalid");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(send("/users", &large).await.status, 413);
    for path in ["/log/messages?limit=x", "/log/messages?nothing=1", "/audit?before=-1", "/live", "/events?before=x"] {
        assert_eq!(house.page(&cookie, "GET", path, Value::Null).await.code(), "malformed", "{path}");
    }
    let paths = [
        "/log/messages?from=yesterday",
        "/log/messages?class=gold",
        "/log/messages?device=a%2Fb",
        "/devices/boiler/trend?points=nothing",
        "/devices/boiler/trend?points=t&from=9&to=1",
        "/devices/boiler/trend?points=t&from=-9223372036854775808&to=9223372036854775807",
        "/events?level=loud",
        "/live?topics=everything",
    ];
    for path in paths {
        assert_eq!(house.page(&cookie, "GET", path, Value::Null).await.code(), "invalid", "{path}");
    }
    for raw in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\r\n\r\n", "POST /api/v1/login HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]
    {
        let answer = answer(&mut house.connect().await, raw.as_bytes()).await;
        assert!(answer.status == 0 || answer.status >= 400, "{raw:?}: {answer:?}");
    }
    assert_eq!(house.page(&cookie, "GET", "/overview", Value::Null).await.status, 200, "and it still answers");
}

/// Believes nobody but the one with this fingerprint, as a person does who compares it.
#[derive(Debug)]
struct Pinned(String);

impl rustls::client::danger::ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        let print = Sha256::digest(end_entity).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        assert_eq!(print, self.0, "the fingerprint that is shown");
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn over_https_the_cookie_is_for_this_host_alone_and_plain_http_is_sent_on() {
    let house = house_with("").await;
    let verifier = Arc::new(Pinned(house.fingerprint.clone().expect("shown")));
    let config = rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, house.connect().await).await.expect("a handshake");
    let body = json!({ "code": house.code, "name": "ada", "password": PASSWORD }).to_string();
    let head = format!(
        "POST /api/v1/claim HTTP/1.1\r\nHost: {0}\r\nOrigin: https://{0}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {1}\r\n\r\n{body}",
        house.address,
        body.len()
    );
    let claimed = answer(&mut stream, head.as_bytes()).await;
    let cookie = &claimed.headers["set-cookie"];
    assert!(cookie.starts_with("__Host-tidegate="), "{cookie}");
    for word in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
    let plain = format!("GET /devices HTTP/1.1\r\nHost: {}\r\nCookie: x=y\r\n\r\n", house.address);
    let sent_on = answer(&mut house.connect().await, plain.as_bytes()).await;
    assert_eq!((sent_on.status, sent_on.headers["location"].clone()), (308, format!("https://{}/devices", house.address)));
}
