//! What can go wrong with `state.db`, sorted by what to do next.

use std::{io, path::PathBuf};

use tidegate_core::adapter::Disposition;

use crate::error::{is_damage, is_full};

/// What is wrong with the state.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    /// The disk has no room for this change. What was there is still there.
    #[error("state: disk full, the change was not kept: {0}")]
    Full(String),
    /// The disk or the file failed: changes cannot be kept any more in this process.
    #[error("state: {0}")]
    Failed(String),
    /// The content of the file cannot be right: the next start salvages it.
    #[error("state: the file is damaged: {0}")]
    Damaged(String),
    /// The database refused this one operation; the rest is as it was.
    #[error("state: refused: {0}")]
    Refused(String),
    /// The file or its folder cannot be opened.
    #[error("state: cannot open {path}: {why}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file was written by a later version of this program.
    #[error(
        "state: {path} was written by a newer version (format {found}, this program knows {known}); use that version, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we know.
        known: u32,
    },
    /// A row cannot be what it says; the rest is usable.
    #[error("state: {0} is damaged")]
    Row(String),
    /// The state has been closed: we are stopping.
    #[error("state: closed")]
    Closed,
}

impl StateError {
    /// What a runner does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            StateError::Full(_) => Disposition::Retry,
            StateError::Row(_) | StateError::Refused(_) => Disposition::Discard,
            _ => Disposition::Stop,
        }
    }

    /// Nothing can be kept any more, and a fresh start may help.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, StateError::Failed(_) | StateError::Damaged(_))
    }

    pub(crate) fn open(path: impl Into<PathBuf>, error: impl std::fmt::Display) -> Self {
        StateError::Open { path: path.into(), why: error.to_string() }
    }
}

impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
        let text = error.to_string();
        match error.sqlite_error_code() {
            _ if is_full(&error) => StateError::Full(text),
            _ if is_damage(&error) => StateError::Damaged(text),
            Some(SystemIoFailure | CannotOpen | PermissionDenied | ReadOnly) => StateError::Failed(text),
            _ => StateError::Refused(text),
        }
    }
}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> Self {
        StateError::Failed(error.to_string())
    }
}
