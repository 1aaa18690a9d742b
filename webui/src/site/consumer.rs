//! The built-in endpoint: the log for programs on the site.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    Problem,
    shape::{ConsumeQuery, ConsumedPage, GroupView, ProgressRequest},
};

/// Somebody who reads. Dropped, its partitions stay its own for a while.
#[async_trait]
pub trait Consumer: Send {
    /// The next messages; waits for the first one.
    async fn page(&mut self, wait: Duration) -> Result<ConsumedPage, Problem>;
}

/// What can be read by programs.
#[async_trait]
pub trait Consumers: Send + Sync + fmt::Debug + 'static {
    /// Begins to read. What the query says to be dealt with is.
    async fn consumer(&self, query: ConsumeQuery) -> Result<Box<dyn Consumer>, Problem>;
    /// Consumer groups and how far they have come.
    async fn groups(&self) -> Result<Vec<GroupView>, Problem>;
    /// What a consumer has dealt with; it is on disk when this returns.
    async fn progress(&self, group: &str, request: ProgressRequest) -> Result<(), Problem>;
    /// Forgets a group.
    async fn forget_group(&self, group: &str) -> Result<(), Problem>;
}
