//! The wire itself, shared between the Modbus codec and whoever has to clean up behind it.
//!
//! Keeps what was heard since the last question, so that nonsense can be shown as it came, and whether the other end
//! has gone. Bounded: of a flood only the beginning is kept.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Instant, timeout},
};

use super::rtu;

/// Bytes kept of what was heard: the longest Modbus frame (MBAP header 7, PDU 253).
const MOST_HEARD: usize = 260;
/// Bytes shown of it: enough to recognise a frame, short enough for a log line.
const MOST_SHOWN: usize = 32;
/// A line that is still not silent after so many times the silence that was waited for never will be.
const PATIENCE: u32 = 20;

/// Anything that carries bytes both ways: a socket, a serial line, a pipe in a test.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One wire with several holders. They take turns, so nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct Tap(Arc<Mutex<Inner>>);

struct Inner {
    wire: Box<dyn Wire>,
    heard: Vec<u8>,
    ended: bool,
}

/// Why a line could not be drained.
#[derive(Debug)]
pub(super) enum Undrained {
    /// The other end has gone.
    Ended(String),
    /// Somebody talks without end.
    NeverSilent,
}

impl Tap {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Self(Arc::new(Mutex::new(Inner { wire, heard: Vec::with_capacity(MOST_HEARD), ended: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves bytes behind, nothing that could be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a question: what was heard until now is forgotten.
    pub(super) fn forget(&self) {
        self.lock().heard.clear();
    }

    /// Whether anything came since the last [`Tap::forget`].
    pub(super) fn heard_something(&self) -> bool {
        !self.lock().heard.is_empty()
    }

    /// RTU answers among it: unit and function.
    pub(super) fn answers(&self) -> Vec<(u8, u8)> {
        rtu::answers(&self.lock().heard)
    }

    /// Whether the other end has gone.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Whether nothing has come unasked and the other end is still there, as far as can be seen without waiting.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
    }

    /// What was heard since the last question, in hexadecimal, shortened.
    pub(super) fn shown(&self) -> String {
        let inner = self.lock();
        let shown: Vec<String> = inner.heard.iter().take(MOST_SHOWN).map(|byte| format!("{byte:02x}")).collect();
        let rest = if inner.heard.len() > MOST_SHOWN { " …" } else { "" };
        format!("{}{rest}", shown.join(" "))
    }

    /// Uses up what comes, as heard but not answered, until nothing has come for `silence`.
    pub(super) async fn drain(&mut self, silence: Duration) -> Result<(), Undrained> {
        let end = Instant::now() + silence * PATIENCE;
        let mut bin = [0; MOST_HEARD];
        while Instant::now() < end {
            match timeout(silence, self.read(&mut bin)).await {
                Err(_) => return Ok(()),
                Ok(Ok(0)) => return Err(Undrained::Ended("the other end has gone".to_owned())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Undrained::Ended(error.to_string())),
            }
        }
        Err(Undrained::NeverSilent)
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.lock();
        let before = buf.filled().len();
        let room = buf.remaining();
        ready!(Pin::new(&mut inner.wire).poll_read(cx, buf))?;
        let fresh = &buf.filled()[before..];
        inner.ended |= fresh.is_empty() && room > 0;
        let keep = fresh.len().min(MOST_HEARD.saturating_sub(inner.heard.len()));
        inner.heard.extend_from_slice(&fresh[..keep]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().wire).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets and lines send by themselves; flushing a line would block the thread until its last bit is out.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().wire).poll_shutdown(cx)
    }
}
