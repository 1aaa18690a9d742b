//! The gateway as its page sees it: answers made of the board, the live values, the log and the configuration.
//!
//! Nothing here is on the line: whoever looks on costs the line nothing but a read of what it has written anyway. What changes the
//! gateway goes through the main loop, one thing at a time, as `tidegate reload` does.

mod archive;
mod commands;
mod configuration;
mod consumer;
#[cfg(test)]
mod contract;
mod edit;
mod facts;
mod gauge;
mod hub;
mod pair;
mod scan;
mod secret;
mod system;
mod templates;
mod trend;
pub mod trial;
mod upstream;
mod value;
mod vault;
mod views;
mod web;
mod workshop;

use std::{path::PathBuf, sync::Arc};

use tidegate_core::clock::{Clock, Timestamp};
use tidegate_store::{History, StoreError};
use tidegate_webui::Problem;
use tokio::sync::{Mutex, mpsc, watch};

pub use facts::{AdapterFacts, Facts, UpstreamFacts};
pub use gauge::Gauge;
pub use web::{Opened, open};

use crate::{config::Kinds, control::Request, events::Events, router::Router, wiring::Parts};

/// The demo's link, as the page may switch it.
#[derive(Debug, Clone)]
pub struct LinkSwitch(Arc<watch::Sender<Link>>);

/// Whether the demo's link is up, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Somebody has switched it by hand: the demo leaves it alone.
    pub by_hand: bool,
}

impl Default for LinkSwitch {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Link { up: true, by_hand: false })))
    }
}

impl LinkSwitch {
    /// As it is.
    pub fn now(&self) -> Link {
        *self.0.borrow()
    }

    /// Changes whenever it is switched.
    pub fn watch(&self) -> watch::Receiver<Link> {
        self.0.subscribe()
    }

    /// Switches it.
    pub fn set(&self, link: Link) {
        self.0.send_replace(link);
    }
}

/// What the service is made of.
#[derive(Debug)]
pub struct Ends {
    /// The gateway's parts.
    pub parts: Parts,
    /// What is configured.
    pub facts: watch::Receiver<Arc<Facts>>,
    /// The way of commands to leaves.
    pub router: Router,
    /// The main loop, which applies configurations.
    pub requests: mpsc::Sender<Request>,
    /// The configuration's folder or file.
    pub config_path: PathBuf,
    /// What may be configured.
    pub kinds: Kinds,
    /// In the demo.
    pub link: Option<LinkSwitch>,
}

/// The gateway as its page sees it.
#[derive(Debug)]
pub struct Service {
    ends: Ends,
    started: Timestamp,
    gauge: Gauge,
    history: History,
    events: Events,
    /// The latest overview, so that ten pages cost as much as one.
    overview: Mutex<Option<(tokio::time::Instant, tidegate_webui::shape::Overview)>>,
    trial: trial::Trials,
    consumers: consumer::Desk,
    scans: scan::Desk,
    pairings: pair::Bench,
    /// Held while the machine is looked over.
    checking: Mutex<()>,
}

impl Service {
    /// Opens what it needs for itself.
    pub fn new(ends: Ends) -> Result<Arc<Self>, StoreError> {
        let state_dir = ends.facts.borrow().state_dir.clone();
        Ok(Arc::new(Self {
            started: ends.parts.clock.now().wall,
            gauge: Gauge::default(),
            history: History::open(&state_dir)?,
            events: Events::of_process(),
            overview: Mutex::new(None),
            trial: trial::Trials::new(&state_dir),
            consumers: consumer::Desk::default(),
            scans: scan::Desk::default(),
            pairings: pair::Bench::default(),
            checking: Mutex::default(),
            ends,
        }))
    }

    fn facts(&self) -> Arc<Facts> {
        self.ends.facts.borrow().clone()
    }

    fn now(&self) -> Timestamp {
        self.ends.parts.clock.now().wall
    }
}

/// The log cannot answer.
fn no_log(error: StoreError) -> Problem {
    match error {
        StoreError::Closed => Problem::stopping(),
        other => Problem::internal("reading the log", other),
    }
}
