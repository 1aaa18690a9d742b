//! A WebSocket front for a broker that has none: upgrades, checks what IoT Hub checks (path and sub-protocol), and passes the
//! frames' content on. For tests, so it knows no more of RFC 6455 than an MQTT client sends.

use std::{io, net::Ipv4Addr, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use rumqttc::tokio_rustls::TlsAcceptor;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Ends with the value.
pub(super) struct Front {
    pub(super) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// Before the broker on port `to`; with TLS if there is a folder with `cert.pem` and `key.pem`.
    pub(super) async fn start(to: u16, certificate: Option<&Path>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let tls = certificate.map(acceptor);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => pass(tls.accept(stream).await?, to).await,
                        None => pass(stream, to).await,
                    }
                });
            }
        });
        Self { port, task }
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).expect("a file").collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they go together");
    TlsAcceptor::from(Arc::new(config))
}

async fn pass(mut web: impl AsyncRead + AsyncWrite + Unpin, to: u16) -> io::Result<()> {
    upgrade(&mut web).await?;
    let (mut web_in, mut web_out) = tokio::io::split(web);
    let (mut up_in, mut up_out) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?.into_split();
    tokio::select! {
        end = unwrap(&mut web_in, &mut up_out) => end,
        end = wrap(&mut up_in, &mut web_out) => end,
    }
}

async fn upgrade(web: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(web.read_u8().await?);
    }
    let request = String::from_utf8(request).map_err(io::Error::other)?;
    let header =
        |name: &str| request.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))).map(|h| h.1);
    let as_the_hub_wants_it = request.starts_with("GET /$iothub/websocket HTTP/1.1") && header("sec-websocket-protocol") == Some("mqtt");
    let (true, Some(key)) = (as_the_hub_wants_it, header("sec-websocket-key")) else {
        return web.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    };
    let accept = BASE64_STANDARD.encode(sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    web.write_all(answer.as_bytes()).await
}

/// Frames of the client, which are masked, to bytes.
async fn unwrap(web: &mut (impl AsyncRead + Unpin), up: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    loop {
        let (first, second) = (web.read_u8().await?, web.read_u8().await?);
        let length = match second & 0x7f {
            126 => usize::from(web.read_u16().await?),
            127 => usize::try_from(web.read_u64().await?).map_err(io::Error::other)?,
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        web.read_exact(&mut mask).await?;
        let mut content = vec![0; length.min(1 << 20)];
        web.read_exact(&mut content).await?;
        content.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
        match first & 0x0f {
            0..=2 => up.write_all(&content).await?,
            8 => return Ok(()),
            _ => {}
        }
    }
}

/// Bytes to binary frames.
async fn wrap(up: &mut (impl AsyncRead + Unpin), web: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let read = up.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        web.write_all(&[0x82, 126]).await?;
        web.write_u16(u16::try_from(read).map_err(io::Error::other)?).await?;
        web.write_all(&buffer[..read]).await?;
        web.flush().await?;
    }
}

/// FIPS 180-4 §6.1, for the handshake of RFC 6455, which is all that still needs it.
fn sha1(data: &[u8]) -> [u8; 20] {
    let mut padded = data.to_vec();
    padded.push(0x80);
    padded.resize((data.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend((data.len() as u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut w = [0_u32; 80];
        for (at, word) in block.chunks_exact(4).enumerate() {
            w[at] = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
        }
        for at in 16..80 {
            w[at] = (w[at - 3] ^ w[at - 8] ^ w[at - 14] ^ w[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in w.iter().enumerate() {
            let (f, k) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (to, word) in digest.chunks_exact_mut(4).zip(state) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[test]
fn the_handshake_is_that_of_rfc_6455() {
    let accept = sha1(b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    assert_eq!(BASE64_STANDARD.encode(accept), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(BASE64_STANDARD.encode(sha1(b"abc")), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
}
