//! What every route may use.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tidegate_core::clock::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    ClaimCode, Problem, Site, Vault,
    account::Hasher,
    guard::{Doorman, IDLE, OLDEST},
    throttle::Throttle,
};

/// What every route may use.
#[derive(Debug)]
pub struct Shared {
    pub(crate) site: Arc<dyn Site>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) https: bool,
    pub(crate) doorman: Doorman,
    pub(crate) throttle: Throttle,
    pub(crate) hasher: Hasher,
    pub(crate) streams: crate::route::Streams,
    /// Cancelled when the server stops: streams end.
    pub(crate) stop: CancellationToken,
    claimed: AtomicBool,
    code: Mutex<Option<ClaimCode>>,
}

impl Shared {
    pub(crate) fn new(site: Arc<dyn Site>, vault: Arc<dyn Vault>, clock: Arc<dyn Clock>, https: bool, stop: CancellationToken) -> Self {
        Self {
            site,
            vault,
            clock,
            https,
            doorman: Doorman::default(),
            throttle: Throttle::default(),
            hasher: Hasher::default(),
            streams: crate::route::Streams::default(),
            stop,
            claimed: AtomicBool::new(false),
            code: Mutex::new(None),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// Whether there is a user. Once there is one, there always is.
    pub(crate) async fn is_claimed(&self) -> Result<bool, Problem> {
        if !self.claimed.load(Relaxed) && !self.vault.users().await?.is_empty() {
            self.set_claimed();
        }
        Ok(self.claimed.load(Relaxed))
    }

    pub(crate) fn set_claimed(&self) {
        self.claimed.store(true, Relaxed);
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The code with which this gateway can be claimed, as long as it can.
    pub(crate) fn set_code(&self, code: ClaimCode) {
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }

    /// Whether this is the code. Never, once the gateway is claimed.
    pub(crate) fn is_code(&self, said: &str) -> bool {
        self.code.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|code| code.is(said))
    }

    /// Takes ended sessions out of the vault now and then. Ends with the server.
    pub(crate) async fn sweep(self: Arc<Self>) {
        /// Often enough that a browser that never comes back is forgotten the same day.
        const EVERY: Duration = Duration::from_secs(3600);
        while !self.stop.is_cancelled() {
            let ago = |age: Duration| Timestamp(self.now().0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
            // A clock that is not set must not end everybody's session: it lies in their future, and nothing is that old.
            if let Err(error) = self.vault.end_old_logins(ago(IDLE), ago(OLDEST)).await {
                info!(%error, "ended sessions are kept a while longer");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}
