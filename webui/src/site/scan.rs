//! Searching for devices that nobody has configured yet.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    Problem,
    shape::{ScanEstimate, ScanRequest, ScanView},
};

/// Searches run in the background: they end by themselves, when somebody ends them, and when nobody asks for them any more.
#[async_trait]
pub trait Scans: Send + Sync + fmt::Debug + 'static {
    /// How long it would take. Opens nothing.
    fn estimate(&self, request: &ScanRequest) -> Result<ScanEstimate, Problem>;
    /// Begins one.
    fn start_scan(&self, request: ScanRequest, who: &str) -> Result<ScanView, Problem>;
    /// Those that run and the latest that have ended, newest first.
    fn scans(&self) -> Vec<ScanView>;
    /// One, once it has a later revision than was seen or the time is over; `None` when there is none of this id.
    async fn scan(&self, id: &str, seen: Option<u64>, wait: Duration) -> Option<ScanView>;
    /// Ends one, or forgets one that has ended; whether there is one of this id.
    fn end_scan(&self, id: &str) -> bool;
}
