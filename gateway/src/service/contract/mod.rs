//! The page's contract, asked over a real socket of a real gateway: who may do what, from where, how much, and what comes back.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::Timestamp,
    id::Name,
    message::{Class, Properties},
    problem::Problems,
    profile::{LeafProfile, RawPoint},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{Ends, Service, open};
use crate::{
    config,
    live::LiveLeaf,
    run::{self, Files},
    wiring::Gateway,
};

mod commands;
mod configuration;
mod door;
mod hostile;
mod hub;
mod live;
mod messages;
mod near;
mod scan;
mod system;
mod templates;

const PASSWORD: &str = "correct horse battery";

/// A gateway with a page.
struct House {
    _dir: tempfile::TempDir,
    etc: PathBuf,
    address: SocketAddr,
    code: String,
    fingerprint: Option<String>,
    leaf: Arc<LiveLeaf>,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
    service: Arc<Service>,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem's code; empty for an answer that is none.
    fn code(&self) -> String {
        if self.headers.get("content-type").is_none_or(|kind| kind != "application/problem+json") {
            return String::new();
        }
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["type"], format!("/api/v1/problems/{}", problem["code"].as_str().unwrap_or_default()));
        problem["code"].as_str().unwrap_or_default().to_owned()
    }

    fn cookie(&self) -> String {
        self.headers["set-cookie"].split(';').next().unwrap_or_default().to_owned()
    }
}

/// Reads one answer of HTTP/1.1.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> Answer {
    // A server that refuses a large body may close before all of it was sent.
    stream.write_all(request).await.ok();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.ok();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer { status, headers: headers.collect(), body: body.to_owned() }
}

async fn house() -> House {
    house_with("tls = false").await
}

async fn house_with(web: &str) -> House {
    rustls::crypto::ring::default_provider().install_default().ok();
    let dir = tempfile::tempdir().expect("a folder");
    let etc = dir.path().join("etc");
    std::fs::create_dir(&etc).expect("made");
    let text = format!(
        "# The gateway.\nconfig_version = 1\n[gateway]\nid = \"gw-01\"\nstate_dir = \"{}\"\n[web]\nlisten = \"127.0.0.1:0\"\n{web}\n\
         [[upstream]]\nname = \"cloud\"\nkind = \"mqtt\"\naddress = \"127.0.0.1:1\"\nclient_id = \"gw-01\"\n",
        dir.path().join("state").display()
    );
    std::fs::write(etc.join("tidegate.toml"), text).expect("written");
    let loaded = config::load(&etc, &crate::kinds());
    let mut gateway = Gateway::start(loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems))).await.expect("starts");
    let (requests, mut asked) = mpsc::channel(8);
    let (parts, facts, section) = (gateway.parts().clone(), gateway.facts(), gateway.config().web.clone());
    let ends =
        Ends { parts, facts, router: gateway.router().clone(), requests, config_path: etc.clone(), kinds: crate::kinds(), link: None };
    let leaf = ends.parts.live.add(&Name::new("bus").expect("valid"), "modbus", &boiler());
    let service = Service::new(ends).expect("opens");
    let bound = open(&service, &section).await.expect("opens");
    let (address, code) = (bound.address(), bound.code().expect("not claimed").to_string());
    let (fingerprint, stop) = (bound.fingerprint().map(str::to_owned), CancellationToken::new());
    let served = tokio::spawn(bound.serve(stop.clone()));
    let mut files = Files::plain(etc.clone(), crate::kinds());
    tokio::spawn(async move {
        while let Some(request) = asked.recv().await {
            if run::serve(&mut gateway, request, &mut files).await.is_break() {
                break;
            }
        }
    });
    House { _dir: dir, etc, address, code, fingerprint, leaf, stop, served, service }
}

fn boiler() -> LeafProfile {
    let point = |name: &str| RawPoint::default().check(name.parse().expect("valid"), &mut Problems::default());
    let (id, points) = ("boiler".parse().expect("valid"), vec![point("t"), point("p")]);
    LeafProfile { id, points, class: Class::Telemetry, ttl: None, properties: Properties::default() }
}

/// A boiler at so many degrees.
fn degrees(leaf: &LiveLeaf, value: i64) {
    use tidegate_core::reading::{Quality, Value};
    let shown = crate::normalise::Shown { value: Some(Value::Int(value)), quality: Quality::Good };
    leaf.put(0, &shown, Timestamp(value));
}

impl House {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// A request with these headers.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        answer(&mut self.connect().await, head.as_bytes()).await
    }

    /// As the page itself asks.
    async fn page(&self, cookie: &str, method: &str, path: &str, body: Json) -> Answer {
        let origin = format!("http://{}", self.address);
        let headers = [("Cookie", cookie), ("Origin", &origin), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &headers, &body).await
    }

    /// As a program asks.
    async fn program(&self, token: &str, method: &str, path: &str, body: Json) -> Answer {
        let token = format!("Bearer {token}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &[("Authorization", &token), ("Content-Type", "application/json")], &body).await
    }

    /// Claims it; the admin's cookie.
    async fn claim(&self) -> String {
        let body = json!({ "code": self.code, "name": "ada", "password": PASSWORD });
        let claimed = self.page("", "POST", "/claim", body).await;
        assert_eq!(claimed.status, 201, "{claimed:?}");
        claimed.cookie()
    }

    /// A token of this role.
    async fn token(&self, cookie: &str, role: &str) -> String {
        let made = self.page(cookie, "POST", "/tokens", json!({ "name": "test", "role": role })).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["token"].as_str().expect("shown once").to_owned()
    }
}

/// Waits for a condition.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < patience, "it never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
