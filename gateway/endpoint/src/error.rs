//! Why the hub does not do what it is asked, with the reference's codes (§9.3), so that every face of it says the same.

use tidegate_core::twin::TwinError;

use crate::records::RecordsError;

/// Why the service side is refused something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HubError {
    /// There is no such device or module.
    #[error("device {0} is not registered")]
    NotFound(String),
    /// There is one of this name already.
    #[error("device {0} is registered already")]
    Exists(String),
    /// It has been changed since it was read.
    #[error("{0} has been changed since: read it again")]
    Changed(String),
    /// Something about the request itself.
    #[error("{0}")]
    Bad(String),
    /// A body or payload is too large.
    #[error("{what} of {size} bytes: at most {most}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        most: usize,
    },
    /// The device's queue has as many messages as it may.
    #[error("the queue of {0} is full: 50 messages wait already")]
    QueueFull(String),
    /// The expiry is past, or too far ahead.
    #[error("expiry must lie ahead, and at most 48 hours")]
    Expiry,
    /// It has no session, or does not listen to methods.
    #[error("device {0} is not online, or not subscribed to methods")]
    NotOnline(String),
    /// It did not answer in time.
    #[error("device {0} did not answer in time")]
    NoAnswer(String),
    /// Too many calls wait for answers.
    #[error("too many method calls are in flight")]
    TooManyCalls,
    /// A rule of twins.
    #[error(transparent)]
    Twin(#[from] TwinError),
    /// It could not be kept.
    #[error("{0}")]
    Records(#[from] RecordsError),
}

impl HubError {
    /// The HTTP status that fits.
    pub fn status(&self) -> u16 {
        match self {
            HubError::NotFound(_) | HubError::NotOnline(_) => 404,
            HubError::Exists(_) => 409,
            HubError::Changed(_) => 412,
            HubError::Bad(_) | HubError::Twin(_) => 400,
            HubError::TooLarge { .. } => 413,
            HubError::QueueFull(_) | HubError::Expiry | HubError::TooManyCalls => 403,
            HubError::NoAnswer(_) => 504,
            HubError::Records(_) => 500,
        }
    }

    /// The hub's own code.
    pub fn code(&self) -> u32 {
        match self {
            HubError::NotFound(_) => 404_001,
            HubError::NotOnline(_) => 404_103,
            HubError::Exists(_) => 409_001,
            HubError::Changed(_) => 412_001,
            HubError::Bad(_) | HubError::Twin(_) => 400_001,
            HubError::TooLarge { .. } => 413_001,
            HubError::QueueFull(_) => 403_004,
            HubError::Expiry => 403_009,
            HubError::TooManyCalls => 403_800,
            HubError::NoAnswer(_) => 504_101,
            HubError::Records(_) => 500_001,
        }
    }

    /// The code's name.
    pub fn name(&self) -> &'static str {
        match self {
            HubError::NotFound(_) => "DeviceNotFound",
            HubError::NotOnline(_) => "DeviceNotOnline",
            HubError::Exists(_) => "DeviceAlreadyExists",
            HubError::Changed(_) => "PreconditionFailed",
            HubError::Bad(_) | HubError::Twin(_) => "ArgumentInvalid",
            HubError::TooLarge { .. } => "MessageTooLarge",
            HubError::QueueFull(_) => "DeviceMaximumQueueDepthExceeded",
            HubError::Expiry => "InvalidMessageExpiryTime",
            HubError::TooManyCalls => "TooManyMethodsInFlight",
            HubError::NoAnswer(_) => "GatewayTimeout",
            HubError::Records(_) => "ServerError",
        }
    }
}
