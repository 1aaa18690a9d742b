//! Searching for devices that nobody has configured yet: what an adapter kind offers for it, and what comes back.
//!
//! A search is read-only: it changes no device and no setting that outlives it. It says what it is doing and what it
//! found on a bounded channel, and is cancelled by dropping the future or the channel's other end. It never runs on a
//! port that the gateway itself has open; that port is reported as taken.

use std::{pin::Pin, time::Duration};

use serde_json::Value as Json;
use tokio::sync::mpsc;

/// News that wait for the one who asked. A search that gets ahead of its reader waits.
pub const NEWS: usize = 64;

/// What a search may end with, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// An option is not known, or not as it must be.
    #[error("option {option}: {why}")]
    Option {
        /// Which.
        option: String,
        /// Why, with what to write instead.
        why: String,
    },
    /// There is nothing to search with: no radio, no permission, no such port.
    #[error("{why}; {next}")]
    Unable {
        /// What is missing.
        why: String,
        /// The next step.
        next: String,
    },
}

/// How a kind of adapter searches.
#[derive(Clone, Copy)]
pub struct ScanKind {
    /// JSON Schema of the options, as for [`crate::catalogue::AdapterKind::schema`].
    pub options: fn() -> Json,
    /// How long a search with these options takes at most, so that people can decide before a bus is busy for it. Opens nothing.
    pub longest: fn(&Json) -> Result<Duration, ScanError>,
    /// Searches with these options; ends when there is nothing more to look for, or when the receiver is gone.
    pub run: fn(Json, mpsc::Sender<ScanNews>) -> Scanning,
}

/// A search that runs while it is polled.
pub type Scanning = Pin<Box<dyn Future<Output = Result<(), ScanError>> + Send>>;

impl std::fmt::Debug for ScanKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScanKind")
    }
}

/// What a search says while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum ScanNews {
    /// Where it is: `done` of `total` steps, and what the present one is.
    Progress {
        /// Steps that are over.
        done: u32,
        /// Steps there will be, as far as is known now.
        total: u32,
        /// Such as `unit 17 at 9600 baud, even`.
        what: String,
    },
    /// Something is there. The same `id` again replaces what was said before.
    Found(Finding),
}

/// Something that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is called where it was found: a port, an address, a unit. The same thing has the same id.
    pub id: String,
    /// What was seen, in the order in which people want to read it: `("driver", "ftdi_sio")`. Numbers, bits and texts.
    pub facts: Vec<(String, Json)>,
    /// A beginning of the `[[adapter]]` section that would read it, in TOML, when enough is known for one.
    pub section: Option<String>,
}
