//! Pairing with a device that wants to be known before it talks: what an adapter kind offers for it.
//!
//! A pairing asks a person what the device wants of them, on a bounded channel, and is given up by dropping the future or the channel's
//! other end. What it changes is kept by the system's radio service, not by us, and outlives a restart.

use std::pin::Pin;

use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};

use crate::scan::ScanError;

/// How a kind of adapter pairs.
#[derive(Clone, Copy)]
pub struct PairKind {
    /// JSON Schema of the options, as for [`crate::catalogue::AdapterKind::schema`].
    pub options: fn() -> Json,
    /// Checks them. Opens nothing.
    pub check: fn(&Json) -> Result<(), ScanError>,
    /// Pairs with the device that the options name. Ends in bounded time.
    pub run: fn(Json, mpsc::Sender<PairNews>) -> Pairing,
}

/// A pairing that runs while it is polled.
pub type Pairing = Pin<Box<dyn Future<Output = Result<(), ScanError>> + Send>>;

impl std::fmt::Debug for PairKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairKind")
    }
}

/// What a pairing says while it runs.
#[derive(Debug)]
pub enum PairNews {
    /// The present step, such as `connecting`.
    Doing(String),
    /// It wants the digits that the device shows, or that stand on it. Dropping the sender ends the pairing.
    Passkey(oneshot::Sender<String>),
    /// These digits are to be typed on the device.
    Show(String),
    /// Does the device show these digits? Any answer says yes; dropping the sender says no.
    Same(String, oneshot::Sender<String>),
}
