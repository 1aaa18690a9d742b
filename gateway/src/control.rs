//! The local door for the command line: a socket in the state folder that only this user can open.
//!
//! One JSON object per line in, one per line out: `{"do":"status"}`, `{"do":"write",…}`. Requests are handed to the main
//! loop, which answers when it is done, so that `tidegate reload` tells what really happened. Who asks is what the kernel says
//! about the other end of the socket; it goes into the audit. Questions to the hub for devices
//! (`{"hub":"list"}`, see [`desk`]) are answered beside it, because a method call may wait for minutes.

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

use tidegate_endpoint::Hub;

use crate::{
    desk::{self, DeskAsk},
    twin::Laid,
    unit::UnitError,
};

/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";
/// Longest request line: the largest payload of a method call, or the largest C2D message in base64, with room around it.
const LONGEST: u64 = 256 * 1024;
/// Connections served at once; more wait. Some may be method calls that take their time.
const AT_ONCE: usize = 16;
/// How long a request may take to come, and the main loop to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a method call may take: to wait for the device, and for its answer.
const CALL: Duration = Duration::from_secs(600);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Ask {
    /// What is going on.
    Status,
    /// Read the configuration again and apply it.
    Reload,
    /// What the program said lately.
    Events,
    /// End, to be started again. Never by the socket: whoever reaches that can end it anyway.
    #[serde(skip)]
    Restart,
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
pub async fn serve(path: PathBuf, requests: mpsc::Sender<Request>, hub: Hub, stop: CancellationToken) -> Result<(), UnitError> {
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
        let (places, requests, hub) = (places.clone(), requests.clone(), hub.clone());
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            // A client that goes away or says nothing is its own problem.
            drop(tokio::time::timeout(CALL, converse(stream, requests, hub)).await);
        });
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

async fn converse(stream: UnixStream, requests: mpsc::Sender<Request>, hub: Hub) -> io::Result<()> {
    let who = stream.peer_cred().map_or_else(|_| "unknown user".to_owned(), |peer| format!("uid {}", peer.uid()));
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LONGEST));
    tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await??;
    if let Ok(ask) = serde_json::from_str::<DeskAsk>(&line) {
        let answer = desk::answer(&hub, ask).await;
        return write.write_all(format!("{answer}\n").as_bytes()).await;
    }
    let answer = match serde_json::from_str::<Ask>(&line) {
        Err(error) => json!({ "error": format!("not understood: {error}") }),
        Ok(ask) => {
            let (answer, answered) = oneshot::channel();
            let stopping = || json!({ "error": "the gateway is stopping" });
            match requests.send(Request { ask, who, answer }).await {
                Ok(()) => match tokio::time::timeout(PATIENCE, answered).await {
                    Ok(answered) => answered.unwrap_or_else(|_| stopping()),
                    Err(_) => json!({ "error": "the gateway does not answer" }),
                },
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

/// As [`ask`], to the hub for devices.
pub fn ask_hub(state_dir: &Path, ask: &DeskAsk) -> io::Result<Json> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(state_dir.join(SOCKET))?;
    stream.set_read_timeout(Some(CALL))?;
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
        let clock = tidegate_core::clock::HandClock::at(tidegate_core::clock::Timestamp(0));
        let options =
            tidegate_store::LogOptions { max_size: 1 << 20, commit_interval: Duration::from_millis(50), keep_delivered: Duration::ZERO };
        let (log, _) = tidegate_store::Log::open(dir.path(), options, clock.clone()).expect("a log");
        let (state, _) = tidegate_store::State::open(dir.path()).expect("a state");
        let (records, outlet) = (crate::records::StateRecords(state), crate::records::LogOutlet(log));
        let hub = Hub::new(Arc::new(records), Arc::new(outlet), clock, tidegate_endpoint::C2dRules::default());
        let served = tokio::spawn(serve(path.clone(), tx, hub, stop.clone()));
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
        assert_eq!(say(b"{\"hub\":\"list\",\"after\":null}\n").await, "[]\n", "the hub answers for itself");
        assert!(say(b"{\"hub\":\"show\",\"device\":\"x\"}\n").await.contains("DeviceNotFound"));
        assert!(say(b"\xff\xfe\n").await.is_empty(), "not even text");
        assert!(say(b"{\"do\":\"dance\"}\n").await.contains("not understood"));
        assert!(say(&vec![b'x'; 100_000][..64 * 1024]).await.contains("not understood"), "no end of line");
        stop.cancel();
        assert!(served.await.expect("no panic").is_ok());
        assert!(!path.exists());
    }
}
