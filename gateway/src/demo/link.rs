//! The demo's link between gateway and hub: a TCP relay with a switch.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The switch. Dropped, the link goes with it.
#[derive(Debug)]
pub(super) struct Link {
    /// Where the gateway connects to.
    pub(super) address: SocketAddr,
    up: watch::Sender<bool>,
}

impl Link {
    /// Relays to the hub, switched on.
    pub(super) async fn to(hub: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (up, state) = watch::channel(true);
        tokio::spawn(relay(listener, hub, state));
        Ok(Self { address, up })
    }

    /// Off cuts every connection at once, in the middle of whatever it carries, and takes no new one.
    pub(super) fn switch(&self, on: bool) {
        self.up.send_replace(on);
    }
}

async fn relay(listener: TcpListener, hub: SocketAddr, mut state: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((mut below, _)) = accepted else { continue };
        if !*state.borrow_and_update() {
            // Closed again at once, as by a router that knows no way.
            continue;
        }
        let mut cut = state.clone();
        tokio::spawn(async move {
            let Ok(mut above) = TcpStream::connect(hub).await else { return };
            below.set_nodelay(true).ok();
            above.set_nodelay(true).ok();
            tokio::select! {
                // How a relayed connection ends is for its two ends to notice.
                _ = copy_bidirectional(&mut below, &mut above) => {}
                _ = cut.wait_for(|up| !up) => {}
            }
        });
    }
}
