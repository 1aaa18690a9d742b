//! The box as a whole.

use std::fmt;

use async_trait::async_trait;
use serde_json::Value as Json;

use crate::{
    Problem,
    shape::{BackupView, CertificateView, NetworkView},
};

/// The box as a whole.
#[async_trait]
pub trait System: Send + Sync + fmt::Debug + 'static {
    /// Where this machine is on the network.
    fn network(&self) -> NetworkView;
    /// The certificate that the page shows; `None` where it is served without TLS.
    fn certificate(&self) -> Result<Option<CertificateView>, Problem>;
    /// The configuration in one document, without secrets.
    async fn backup(&self) -> Result<Json, Problem>;
    /// What a backup would do. Changes nothing.
    async fn read_backup(&self, text: &str) -> Result<BackupView, Problem>;
    /// A gzipped tar archive for those who help, without secrets.
    async fn support_bundle(&self) -> Result<Vec<u8>, Problem>;
    /// Ends the program so that it is started again; refused where nobody would.
    async fn restart(&self, who: &str) -> Result<(), Problem>;
}
