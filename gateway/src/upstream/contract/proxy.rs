//! A connection that can be held and cut: passes bytes between a client and a broker until told otherwise.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};

/// Ends with the value, and all its connections at the next cut.
pub(super) struct Proxy {
    pub(super) port: u16,
    /// While it is set, answers from the broker are held back.
    pub(super) hold: Arc<AtomicBool>,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Before the broker on port `to`.
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (cuts, watcher) = watch::channel(0);
        let hold = Arc::new(AtomicBool::new(false));
        let held = hold.clone();
        let task = tokio::spawn(async move {
            while let Ok((down, _)) = listener.accept().await {
                let (mut cut, held) = (watcher.clone(), held.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(up) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
                    let ((mut down_in, mut down_out), (mut up_in, mut up_out)) = (down.into_split(), up.into_split());
                    tokio::select! {
                        _ = cut.changed() => {}
                        _ = tokio::io::copy(&mut down_in, &mut up_out) => {}
                        () = answers(&mut up_in, &mut down_out, &held) => {}
                    }
                });
            }
        });
        Self { port, hold, cuts, task }
    }

    /// Ends all connections and lets go of what is held.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
        self.hold.store(false, Ordering::SeqCst);
    }
}

async fn answers(from: &mut (impl AsyncReadExt + Unpin), to: &mut (impl AsyncWriteExt + Unpin), hold: &AtomicBool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        // Whoever holds also cuts, and the cut ends this.
        while hold.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
