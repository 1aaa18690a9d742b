//! The door that every connection comes through: so many at once, encrypted or sent on to where it is.
//!
//! A browser that speaks plain HTTP to the port of HTTPS is told where to go, on the same port, so that `gw-01.local:8443` typed
//! without `https://` ends at the page. It is told nothing else: no request is answered in the clear.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Connections at once. A browser opens six at most, with HTTP/2 one; each costs some 50 KiB with TLS.
const CONNECTIONS: usize = 128;
/// How long a client may take to say its first byte, and its plain request.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Largest plain request that is looked at.
const PLAIN: usize = 4096;

/// Lets connections in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    places: Arc<Semaphore>,
    encrypted: bool,
}

impl Door {
    pub(crate) fn new(encrypted: bool) -> Self {
        Self { places: Arc::new(Semaphore::new(CONNECTIONS)), encrypted }
    }
}

/// A connection with its place.
#[derive(Debug)]
pub(crate) struct Guest {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Door {
    type Stream = Guest;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Guest, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let door = self.clone();
        Box::pin(async move {
            let full = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "too many connections");
            let place = door.places.try_acquire_owned().map_err(full)?;
            stream.set_nodelay(true)?;
            if door.encrypted {
                let mut first = [0];
                let seen = timeout(FIRST_WORD, stream.peek(&mut first)).await.map_err(|_| io::ErrorKind::TimedOut)??;
                if seen == 1 && first[0] != HANDSHAKE {
                    timeout(FIRST_WORD, send_on(stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
                    return Err(io::Error::other("plain HTTP was sent on to HTTPS"));
                }
            }
            Ok((Guest { stream, _place: place }, service))
        })
    }
}

/// Reads a plain request's head and answers where the page is.
async fn send_on(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < PLAIN {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let answer = match elsewhere(&head) {
        Some(to) => {
            format!("HTTP/1.1 308 Permanent Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        None => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The same address with `https`, if the request is one and names a host that can stand in a header.
pub(crate) fn elsewhere(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (_method, path, version) = (request.next()?, request.next()?, request.next()?);
    let host = lines.find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("host")))?.1.trim();
    let host_fits = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    let path_fits = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|b| b.is_ascii_graphic());
    (version.starts_with("HTTP/1") && host_fits && path_fits).then(|| format!("https://{host}{path}"))
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_requests_are_sent_on_and_hostile_ones_nowhere() {
        let to = |head: &str| elsewhere(head.as_bytes());
        assert_eq!(
            to("GET /devices/a?b HTTP/1.1\r\nHost: gw-01.local:8443\r\n\r\n").as_deref(),
            Some("https://gw-01.local:8443/devices/a?b")
        );
        assert_eq!(to("GET / HTTP/1.1\r\nhost: [::1]:1\r\n\r\n").as_deref(), Some("https://[::1]:1/"));
        for bad in [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "GET // HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a@evil\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n",
            "\0\0\0",
        ] {
            assert_eq!(to(bad), None, "{bad:?}");
        }
    }
}
