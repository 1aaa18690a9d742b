//! A TCP proxy that does to a connection what networks do.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use super::Site;

/// What the proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flow {
    /// It passes.
    Open,
    /// Requests pass, answers are kept back: a hub that takes everything and acknowledges nothing.
    Deaf,
    /// Connections are taken and nothing passes in either direction, as behind a dead mobile link.
    Frozen,
    /// Connections are closed, new ones at once.
    Cut,
}

#[derive(Debug)]
struct Shared {
    flow: AtomicU8,
    stop: AtomicU8,
}

/// Stands between the gateway and a broker or device.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    /// `address:port` to connect to.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

/// How often a waiting direction looks whether the flow has changed.
const LOOK: Duration = Duration::from_millis(10);

impl FaultProxy {
    pub(crate) fn start(site: &Site, target: &str) -> Self {
        let listener = TcpListener::bind((site.address(), 1883)).expect("an address of our own");
        let address = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared { flow: AtomicU8::new(Flow::Open as u8), stop: AtomicU8::new(0) });
        let (inner, target) = (shared.clone(), target.to_owned());
        thread::spawn(move || {
            for connection in listener.incoming() {
                if inner.stop.load(Ordering::SeqCst) != 0 {
                    return;
                }
                let Ok(connection) = connection else { continue };
                if !inner.is(Flow::Cut) {
                    join(connection, &target, &inner);
                }
            }
        });
        Self { address, shared }
    }

    pub(crate) fn set(&self, flow: Flow) {
        self.shared.flow.store(flow as u8, Ordering::SeqCst);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.set(Flow::Cut);
        self.shared.stop.store(1, Ordering::SeqCst);
        // Wakes the listener, which then sees the word.
        TcpStream::connect(&self.address).ok();
    }
}

impl Shared {
    fn is(&self, flow: Flow) -> bool {
        self.flow.load(Ordering::SeqCst) == flow as u8
    }
}

fn join(near: TcpStream, target: &str, shared: &Arc<Shared>) {
    let Ok(far) = TcpStream::connect(target) else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(LOOK)).expect("not zero");
    }
    let (near2, far2) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
    let (up, down) = (shared.clone(), shared.clone());
    thread::spawn(move || pump(near, far, &up, &[Flow::Frozen]));
    thread::spawn(move || pump(far2, near2, &down, &[Flow::Frozen, Flow::Deaf]));
}

/// Carries one direction; stands still while the flow is one of `held`.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &Shared, held: &[Flow]) {
    let mut buffer = [0; 16 * 1024];
    while !shared.is(Flow::Cut) {
        if held.iter().any(|flow| shared.is(*flow)) {
            thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(n) if n > 0 && to.write_all(&buffer[..n]).is_ok() => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    for stream in [from, to] {
        // The other direction may have closed it already.
        stream.shutdown(Shutdown::Both).ok();
    }
}
