//! What can go wrong with the log, sorted by what to do next.

use std::{io, path::PathBuf};

use tidegate_core::adapter::Disposition;

use crate::StateError;

/// What is wrong with the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Neither the log's own room nor the disk has a place left for these messages.
    #[error("log: disk full, nothing could be kept: {0}")]
    Full(String),
    /// The disk or the file failed: the promise cannot be kept any more in this process.
    #[error("log: {0}")]
    Failed(String),
    /// The file or its folder cannot be opened.
    #[error("log: cannot open {path}: {why}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file was written by a later version of this program.
    #[error(
        "log: {path} was written by a newer version (format {found}, this program knows {known}); use that version, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we know.
        known: u32,
    },
    /// The log has been closed: we are stopping.
    #[error("log: closed")]
    Closed,
    /// A reader of this name is in use.
    #[error("log: reader {0} is already in use")]
    InUse(String),
    /// What is kept beside the log.
    #[error(transparent)]
    State(#[from] StateError),
}

impl StoreError {
    /// What a runner does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            StoreError::Full(_) => Disposition::Retry,
            _ => Disposition::Stop,
        }
    }

    pub(crate) fn open(path: impl Into<PathBuf>, error: impl std::fmt::Display) -> Self {
        StoreError::Open { path: path.into(), why: error.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if is_full(&error) { StoreError::Full(error.to_string()) } else { StoreError::Failed(error.to_string()) }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        StoreError::Failed(error.to_string())
    }
}

/// The database's own limit, or ENOSPC.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

/// The file's content cannot be right.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}
