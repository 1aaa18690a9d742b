//! The local door for the command line: a socket in the state folder that only this user can open.
//!
//! One JSON object per line in, one per line out: `{"do":"status"}`, `{"do":"write",…}`. Requests are handed to the main
//! loop, which answers when it is done, so that `tidegate reload` tells what really happened. Who asks is what the kernel says
//! about the other end of the socket; it goes into the audit.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{twin::Laid, unit::UnitError};

/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";
/// Longest request line: a write of some hundred points.
const LONGEST: u64 = 64 * 1024;
/// Connections served at once; more wait.
const AT_ONCE: usize = 4;
/// How long one connection may take, its answer included.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Ask {
    /// What is going on.
    Status,
    /// Read the configuration again and apply it.
    Reload,
    /// Write points, and wait a while for what becomes of it.
    Write {
        /// Whose.
        leaf: String,
        /// Names and values, in the order in which they are to be written.
        points: Vec<(String, Json)>,
        /// How long to wait for the outcome.
        wait_ms: u64,
    },
    /// Carry a dead command out after all.
    Retry {
        /// Its place in the inbox.
        seq: u64,
        /// How long to wait for the outcome.
        wait_ms: u64,
    },
    /// Lay settings of a hub over the files. Never by the socket.
    #[serde(skip)]
    Lay(Box<Laid>),
    /// Let a dead command go.
    Delete {
        /// Its place in the inbox.
        seq: u64,
    },
}

/// A question and the one who waits for its answer.
#[derive(Debug)]
pub struct Request {
    /// The question.
    pub ask: Ask,
    /// Who asks, for the audit.
    pub who: String,
    /// Dropped unanswered when the gateway is stopping.
    pub answer: oneshot::Sender<Json>,
}

/// Serves until stopped. A socket left behind by a killed process is replaced; the state folder's lock says whose it is.
pub async fn serve(path: PathBuf, requests: mpsc::Sender<Request>, stop: CancellationToken) -> Result<(), UnitError> {
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            () = stop.cancelled() => break,
        };
        let (places, requests) = (places.clone(), requests.clone());
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            // A client that goes away or says nothing is its own problem.
            drop(tokio::time::timeout(PATIENCE, converse(stream, requests)).await);
        });
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

async fn converse(stream: UnixStream, requests: mpsc::Sender<Request>) -> io::Result<()> {
    let who = stream.peer_cred().map_or_else(|_| "unknown user".to_owned(), |peer| format!("uid {}", peer.uid()));
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LONGEST)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Ask>(&line) {
        Err(error) => json!({ "error": format!("not understood: {error}") }),
        Ok(ask) => {
            let (answer, answered) = oneshot::channel();
            let stopping = || json!({ "error": "the gateway is stopping" });
            match requests.send(Request { ask, who, answer }).await {
                Ok(()) => answered.await.unwrap_or_else(|_| stopping()),
                Err(_) => stopping(),
            }
        }
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

/// The other side: asks the gateway that runs on this state folder.
pub fn ask(state_dir: &Path, ask: &Ask) -> io::Result<Json> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(state_dir.join(SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", serde_json::to_string(ask)?).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_gets_its_answer_and_nonsense_gets_a_reason() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(SOCKET);
        let (tx, mut rx) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(path.clone(), tx, stop.clone()));
        tokio::spawn(async move {
            while let Some(request) = rx.recv().await {
                request.answer.send(json!({ "asked": format!("{:?}", request.ask) })).ok();
            }
        });
        while !path.exists() {
            tokio::task::yield_now().await;
        }
        let say = async |line: &[u8]| {
            let mut stream = UnixStream::connect(&path).await.expect("open");
            stream.write_all(line).await.expect("sent");
            stream.shutdown().await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        assert_eq!(say(b"{\"do\":\"status\"}\n").await, "{\"asked\":\"Status\"}\n");
        assert!(say(b"\xff\xfe\n").await.is_empty(), "not even text");
        assert!(say(b"{\"do\":\"dance\"}\n").await.contains("not understood"));
        assert!(say(&vec![b'x'; 100_000][..64 * 1024]).await.contains("not understood"), "no end of line");
        stop.cancel();
        assert!(served.await.expect("no panic").is_ok());
        assert!(!path.exists());
    }
}
