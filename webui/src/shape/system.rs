//! The box as a whole: what is kept of it, and what is told to those who help.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A backup to be looked into.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupText {
    /// The document as it was downloaded.
    pub text: String,
}

/// What a backup would do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BackupView {
    /// The gateway that it is of.
    pub gateway: String,
    /// When it was made.
    pub made: String,
    /// What the files would become; null for one that would go. Check and apply it like any other change.
    pub files: BTreeMap<String, Option<String>>,
    /// Files with keys and passwords that it needs and that are not here.
    pub missing: Vec<String>,
}

/// Where this machine is on the network.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkView {
    /// Its name.
    pub host: String,
    /// Its addresses beside loopback and link-local ones.
    pub addresses: Vec<String>,
    /// Interfaces that are up.
    pub interfaces: Vec<String>,
    /// Whether there is a way out of this network.
    pub routed: bool,
    /// Name servers.
    pub name_servers: Vec<String>,
}

/// The certificate that the page shows.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CertificateView {
    /// The gateway made it itself.
    pub own: bool,
    /// The file.
    pub file: String,
    /// Whose it is.
    pub subject: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// SHA-256 of it, as browsers show it.
    pub fingerprint: String,
    /// Until when it is valid.
    pub until: String,
}
