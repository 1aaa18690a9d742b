//! What can be changed and tried: the configuration, devices, upstreams.

use std::fmt;

use async_trait::async_trait;
use serde_json::Value as Json;
use tokio::sync::watch;

use crate::{
    Problem,
    shape::{
        ApplyRequest, ApplyView, CheckView, ConfigView, Drafts, EditRequest, EditView, FileView, HistoryBrief, HistoryView, KindsView,
        List, LookRequest, LookView, SecretView, UpstreamTestRequest, UpstreamTestView,
    },
};

/// What can be changed and tried.
#[async_trait]
pub trait Workshop: Send + Sync + fmt::Debug + 'static {
    /// The files, and the trial if there is one.
    async fn config(&self) -> Result<ConfigView, Problem>;
    /// Changes whenever that may have.
    fn config_changes(&self) -> watch::Receiver<u64>;
    /// One file's text; `None` when there is none of this name.
    async fn config_file(&self, name: &str) -> Result<Option<FileView>, Problem>;
    /// All files as one JSON object.
    async fn config_sections(&self) -> Result<Json, Problem>;
    /// JSON Schema of all of it.
    fn config_schema(&self) -> Json;
    /// The kinds that sections may be of.
    fn kinds(&self) -> KindsView;
    /// Checks a proposal. Opens nothing, changes nothing.
    async fn check(&self, files: Drafts) -> Result<CheckView, Problem>;
    /// Changes by path, comments kept. Saves nothing.
    async fn edit(&self, request: EditRequest) -> Result<EditView, Problem>;
    /// Writes the files and applies them, if the configuration still has this etag.
    async fn apply(&self, request: ApplyRequest, etag: &str, who: &str) -> Result<ApplyView, Problem>;
    /// Keeps a secret in a file that only the gateway reads; what has this name is replaced. It is on disk when this answers.
    async fn keep_secret(&self, name: &str, value: &str) -> Result<SecretView, Problem>;
    /// The names of those that are kept.
    fn secrets(&self) -> Vec<SecretView>;
    /// The change on trial stays.
    async fn keep_trial(&self, who: &str) -> Result<ConfigView, Problem>;
    /// The change on trial goes.
    async fn roll_back_trial(&self, who: &str) -> Result<ConfigView, Problem>;
    /// Changes, newest first.
    async fn history(&self, before: Option<u64>, most: usize) -> Result<List<HistoryBrief>, Problem>;
    /// One of them.
    async fn past(&self, id: &str) -> Result<Option<HistoryView>, Problem>;

    /// Asks a device that runs, now.
    async fn look(&self, device: &str) -> Result<Option<LookView>, Problem>;
    /// Asks devices that are not configured yet.
    async fn look_at(&self, request: LookRequest) -> Result<Vec<LookView>, Problem>;
    /// Connects to an upstream and parts again.
    async fn test_upstream(&self, request: UpstreamTestRequest) -> Result<UpstreamTestView, Problem>;
}
