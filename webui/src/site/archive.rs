//! What has been: the log, its gaps, and the program's own events.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use crate::{
    Problem,
    shape::{EventQuery, EventView, ExportQuery, GapView, List, LogView, MessageQuery, MessageView, Trend, TrendQuery},
};

/// A download under way: pieces of text. Reading slowly holds up nothing but itself.
pub type Exported = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// What has been.
#[async_trait]
pub trait Archive: Send + Sync + fmt::Debug + 'static {
    /// What the log keeps, and for whom.
    async fn log(&self) -> Result<LogView, Problem>;
    /// The latest gaps, newest first.
    async fn gaps(&self, most: usize) -> Result<Vec<GapView>, Problem>;
    /// Messages, oldest first.
    async fn messages(&self, query: MessageQuery) -> Result<List<MessageView>, Problem>;
    /// All of them, as a download.
    async fn export(&self, query: ExportQuery) -> Result<Exported, Problem>;
    /// The past of some points; `None` when there is no such device.
    async fn trend(&self, device: &str, query: TrendQuery) -> Result<Option<Trend>, Problem>;
    /// What the program said, newest first.
    fn events(&self, query: &EventQuery) -> Result<Vec<EventView>, Problem>;
    /// What it said after this event, oldest first, at most so many; and how many there were more than that or are forgotten.
    fn events_after(&self, id: u64, most: usize) -> (Vec<EventView>, u64);
    /// The id of the latest event; changes with each.
    fn event_changes(&self) -> watch::Receiver<u64>;
}
