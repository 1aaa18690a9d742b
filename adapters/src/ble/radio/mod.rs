//! Where advertisements come from. The adapter sees this trait and nothing of what is behind it.

mod bluez;
mod feed;
mod monitor;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tidegate_core::adapter::AdapterError;

use super::{advert::Advert, host::Host};

pub(super) use bluez::BlueZ;
pub(super) use feed::Feed;
pub(super) use monitor::Wanted;

/// No call to the radio or to the daemon behind it takes longer: BlueZ answers in milliseconds or not at all.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// A radio that listens. Calls come one at a time; after an error only `open` is called.
#[async_trait]
pub(super) trait Radio: Send + fmt::Debug {
    /// Begins to listen, from whatever state it is in. Bounded.
    async fn open(&mut self) -> Result<(), AdapterError>;
    /// The next thing heard. May be dropped at any await, and nothing is lost by it.
    async fn hear(&mut self) -> Result<Advert, AdapterError>;
    /// What has been heard and not been taken yet, without waiting.
    fn heard(&mut self) -> Option<Advert>;
    /// Stops listening and begins again. Bounded.
    async fn restart_scan(&mut self) -> Result<(), AdapterError>;
    /// Off and on again, then listens. Bounded.
    async fn power_cycle(&mut self) -> Result<(), AdapterError>;
    /// Through which devices can be connected to, while it is open; `None` where that cannot be.
    fn host(&self) -> Option<Host> {
        None
    }
    /// Lets go.
    async fn close(&mut self);
}
