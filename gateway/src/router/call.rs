//! The short way for direct methods: at once, bounded by their time-out, never stored. Writes have their lines in the audit all the same.

use std::time::Duration;

use tidegate_core::{
    command::{Action, Command, Outcome},
    id::LeafId,
};
use tidegate_store::inbox::{Note, Origin};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{Router, interlock::Guarded, route::Route, translate};
use crate::{leaf::Order, outcome::Told, request::Request};

/// Who calls, and until when the answer is of use.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For the audit.
    pub origin: Origin,
    /// After this the caller has gone.
    pub until: Instant,
}

/// Why a call has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody of this name.
    #[error("there is no leaf '{0}'")]
    NoLeaf(String),
    /// Not now.
    #[error("'{leaf}' cannot be reached now: {why}")]
    Away {
        /// Who.
        leaf: LeafId,
        /// Why.
        why: String,
    },
    /// The leaf or a point of it does not take this.
    #[error("{0}")]
    Refused(String),
    /// Its turn did not come in time, and never will.
    #[error("not begun within the time-out: the bus was busy")]
    NotBegun,
    /// It was begun, and the answer did not come in time.
    #[error("begun, and no answer within the time-out: nobody knows whether it happened")]
    NoAnswer,
}

/// What the taker's side says about the beginning of a call.
struct Signals {
    begun: oneshot::Sender<()>,
    refuse: oneshot::Sender<String>,
}

/// How long a bus may need beyond the caller's time-out, for the audit to learn the end.
const GRACE: Duration = Duration::from_secs(60);

impl Router {
    /// Carries out a request and waits for what became of it, in the points' units.
    pub async fn call(&self, caller: Caller, leaf: &str, request: Request) -> Result<Told, CallError> {
        let outcome = self.call_raw(caller, leaf, request).await?;
        let profile = LeafId::new(leaf).ok().and_then(|leaf| self.0.routes.find(&leaf)).map(|route| route.profile);
        Ok(profile.map_or_else(|| Told::plain(&outcome), |profile| translate::told(&profile, &outcome)))
    }

    /// As [`Router::call`], with raw values.
    pub async fn call_raw(&self, caller: Caller, leaf: &str, request: Request) -> Result<Outcome, CallError> {
        let shown: String = leaf.chars().take(128).collect();
        let route = LeafId::new(leaf).ok().and_then(|leaf| self.0.routes.find(&leaf)).ok_or(CallError::NoLeaf(shown))?;
        let leaf = route.profile.id.clone();
        if let Some(why) = route.taker.away(&leaf) {
            return Err(CallError::Away { leaf, why });
        }
        let action = translate::action(&route, &request).map_err(CallError::Refused)?;
        let (outcome, ends) = oneshot::channel();
        let (begun, has_begun) = oneshot::channel();
        let seen = self.look_at_interlocks(&leaf, &request, &route).await;
        let guarded = Guarded { route: route.clone(), request: request.clone(), seen };
        let (refuse, refused) = oneshot::channel();
        let begin = self.clone().begin_call(caller.clone(), guarded, action, Signals { begun, refuse });
        route.taker.offer(Order { begin: Box::pin(begin), outcome }).map_err(|_| CallError::NotBegun)?;
        // Seen to its end by a task of its own, so that the audit learns it even when the caller has gone.
        let router = self.clone();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            if let Some(end) = router.see_to_its_end(&route, &caller, &request, ends, has_begun).await {
                tell.send(end).ok();
            }
        });
        match told.await.unwrap_or(Err(CallError::NotBegun)) {
            Err(CallError::NotBegun) => Err(refused.await.map_or(CallError::NotBegun, CallError::Refused)),
            end => end,
        }
    }

    /// On the taker's side. `None` when the caller has gone.
    async fn begin_call(self, caller: Caller, guarded: Guarded, action: Action, signals: Signals) -> Option<Command> {
        if Instant::now() >= caller.until {
            return None;
        }
        let leaf = guarded.route.profile.id.clone();
        let request = &guarded.request;
        if let Err(reason) = guarded.check(self.0.parts.clock.now()) {
            signals.refuse.send(reason).ok();
            return None;
        }
        if request.changes_something() {
            let note = Note { origin: caller.origin.clone(), leaf: leaf.to_string(), event: "begun".to_owned(), what: request.in_words() };
            // A write that cannot be written down is not made.
            self.0.inbox.note(note).await.ok()?;
        }
        let action = match guarded.admit(self.0.parts.clock.now()) {
            Ok(Some(raw)) => Action::Write(raw),
            Ok(None) => action,
            Err(reason) => {
                signals.refuse.send(reason).ok();
                return None;
            }
        };
        signals.begun.send(()).ok();
        Some(Command { id: caller.origin.id, leaf, action })
    }

    async fn see_to_its_end(
        &self,
        route: &Route,
        caller: &Caller,
        request: &Request,
        mut ends: oneshot::Receiver<Outcome>,
        mut has_begun: oneshot::Receiver<()>,
    ) -> Option<Result<Outcome, CallError>> {
        let first = timeout_at(caller.until, &mut ends).await;
        let begun = has_begun.try_recv().is_ok();
        let (end, late) = match first {
            Ok(Ok(outcome)) => (Ok(outcome), false),
            Ok(Err(_)) | Err(_) if !begun => return Some(Err(CallError::NotBegun)),
            Ok(Err(_)) => (Err(CallError::NoAnswer), false),
            Err(_) => (Err(CallError::NoAnswer), true),
        };
        if request.changes_something() {
            let (router, route, caller) = (self.clone(), route.clone(), caller.clone());
            let known = end.clone();
            tokio::spawn(async move {
                let told = match (known, late) {
                    (Ok(outcome), _) => translate::told(&route.profile, &outcome),
                    (Err(_), true) => match tokio::time::timeout(GRACE, ends).await {
                        Ok(Ok(outcome)) => translate::told(&route.profile, &outcome),
                        _ => Told::plain(&Outcome::Uncertain(CallError::NoAnswer.to_string())),
                    },
                    (Err(error), false) => Told::plain(&Outcome::Uncertain(error.to_string())),
                };
                let what = if told.values.is_empty() { told.reason } else { serde_json::Value::Object(told.values).to_string() };
                let note = Note { origin: caller.origin, leaf: route.profile.id.to_string(), event: told.word.to_owned(), what };
                if let Err(error) = router.0.inbox.note(note).await {
                    tracing::warn!(%error, "the end of a method's write could not be noted");
                }
            });
        }
        Some(end)
    }
}
