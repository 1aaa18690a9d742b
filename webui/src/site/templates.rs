//! Models of devices that are known.

use std::fmt;

use async_trait::async_trait;

use crate::{
    Problem,
    shape::{MatchRequest, MatchView, TemplateView},
};

/// Models of devices that are known.
#[async_trait]
pub trait Templates: Send + Sync + fmt::Debug + 'static {
    /// All of them, by name.
    fn templates(&self) -> Vec<TemplateView>;
    /// Asks a device what each model would be recognised by. Reads, and writes nothing.
    async fn recognise(&self, request: MatchRequest) -> Result<Vec<MatchView>, Problem>;
}
