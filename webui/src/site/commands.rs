//! The way back: commands of people on the page, and of programs.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    Problem,
    shape::{CommandView, InboxEntry, WriteAct, WriteRequest},
};

/// What can be told to devices.
#[async_trait]
pub trait Commands: Send + Sync + fmt::Debug + 'static {
    /// Keeps a command and waits a while for its outcome; `None` when there is no such device. What is answered is on disk.
    async fn command(&self, device: &str, write: Vec<WriteRequest>, who: &str, wait: Duration) -> Result<Option<CommandView>, Problem>;
    /// Commands from this place on, by place: those that wait, those that are begun, and dead ones.
    async fn inbox(&self, from: u64, most: usize) -> Result<Vec<InboxEntry>, Problem>;
    /// Has a dead command carried out after all.
    async fn retry(&self, seq: u64, who: &str, wait: Duration) -> Result<CommandView, Problem>;
    /// Lets a dead command go.
    async fn let_go(&self, seq: u64, who: &str) -> Result<(), Problem>;
    /// The latest lines of who had what written, newest first.
    async fn writes(&self, most: usize) -> Result<Vec<WriteAct>, Problem>;
}
