//! One command's way from its place in the inbox to its outcome.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidegate_core::{
    command::{Action, Command, Outcome},
    id::LeafId,
};
use tidegate_store::{
    StoreError,
    inbox::{Answer, Ending, Entry, Note, State, Verdict},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{After, Router, SWEEP, interlock::Guarded, lane::Pending, route::Route, translate};
use crate::{
    killpoint,
    leaf::Order,
    outcome::{self, About, Told},
    request::Request,
};

/// When a taker has no room, or a leaf went away before the command was begun.
const AGAIN: Duration = Duration::from_millis(250);

/// How far an order has come, as the taker's side and ours see it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Neither begun nor given up.
    Waiting,
    /// The beginning is being written down, or is.
    Begun,
    /// It will not be begun, for this reason.
    Void(Answer),
    /// The guard does not let it pass now.
    Refused(String),
}

type Shared = Arc<Mutex<Stage>>;

/// Moves on, if it still stands at `from`.
fn step(stage: &Shared, from: &Stage, to: Stage) -> bool {
    let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = *stage == *from;
    if fits {
        *stage = to;
    }
    fits
}

impl Router {
    /// Takes one command to its end, or says when to try again. Does not return while it is begun and not finished.
    pub(super) async fn deliver(
        &self,
        leaf: &LeafId,
        pending: &Pending,
        route: &Route,
        stop: &CancellationToken,
    ) -> Result<After, StoreError> {
        let Some(entry) = self.0.inbox.find(pending.seq).await? else { return Ok(After::Over) };
        if entry.damaged {
            return self.end(&entry, &Told::plain(&Outcome::Rejected("it was damaged on the disk".to_owned()))).await;
        }
        let request = match Request::from_stored(&entry.command.body) {
            Ok(request) => request,
            Err(reason) => return self.end(&entry, &Told::plain(&Outcome::Rejected(reason))).await,
        };
        // What the disk says, and not what was thought of it before an error.
        if entry.state == State::Begun {
            return self.settle(&entry, &request, route, stop).await;
        }
        let action = match translate::action(route, &request) {
            Ok(action) => action,
            Err(reason) => return self.end(&entry, &Told::plain(&Outcome::Rejected(reason))).await,
        };
        let stage: Shared = Arc::new(Mutex::new(Stage::Waiting));
        let (outcome, ends) = oneshot::channel();
        let command = Command { id: entry.command.origin.id.clone(), leaf: leaf.clone(), action };
        let seen = self.look_at_interlocks(leaf, &request, route).await;
        let noted = note(&entry, &request, "begun", request.in_words());
        let begin = self.clone().begin(
            stage.clone(),
            pending.seq,
            noted,
            command,
            Guarded { route: route.clone(), request: request.clone(), seen },
        );
        if route.taker.offer(Order { begin: Box::pin(begin), outcome }).is_err() {
            return Ok(After::Later(AGAIN));
        }
        match self.wait(&stage, pending, ends, stop).await {
            Ended::Outcome(outcome) => self.conclude(&entry, &request, route, &outcome).await,
            Ended::Refused(reason) => self.end(&entry, &Told::plain(&Outcome::Rejected(reason))).await,
            Ended::Expired => self.end(&entry, &Told::plain(&Outcome::Expired)).await,
            Ended::Again => Ok(After::Later(AGAIN)),
            Ended::Gone => Ok(After::Over),
        }
    }

    /// Runs on the taker's side just before it acts.
    async fn begin(self, stage: Shared, seq: u64, note: Option<Note>, command: Command, guarded: Guarded) -> Option<Command> {
        if !step(&stage, &Stage::Waiting, Stage::Begun) {
            return None;
        }
        if let Err(reason) = guarded.check(self.0.parts.clock.now()) {
            step(&stage, &Stage::Begun, Stage::Refused(reason));
            return None;
        }
        killpoint::pass("before-begin");
        let answer = self.0.inbox.begin(seq, note).await;
        match answer {
            // One command at a time for each leaf, so nothing has changed since the check but by a method's write.
            Ok(Answer::Done(_)) => match guarded.admit(self.0.parts.clock.now()) {
                Ok(Some(raw)) => Some(Command { action: Action::Write(raw), ..command }),
                Ok(None) => Some(command),
                Err(reason) => {
                    step(&stage, &Stage::Begun, Stage::Refused(reason));
                    None
                }
            },
            Ok(other) => {
                step(&stage, &Stage::Begun, Stage::Void(other));
                None
            }
            // Not written down, so not begun; whoever tries again meets the same store.
            Err(_) => {
                step(&stage, &Stage::Begun, Stage::Void(Answer::Unknown));
                None
            }
        }
    }

    async fn wait(&self, stage: &Shared, pending: &Pending, mut ends: oneshot::Receiver<Outcome>, stop: &CancellationToken) -> Ended {
        loop {
            tokio::select! {
                outcome = &mut ends => return match outcome {
                    Ok(outcome) => Ended::Outcome(outcome),
                    Err(_) => Ended::untold(&stage.lock().unwrap_or_else(PoisonError::into_inner)),
                },
                () = stop.cancelled() => {
                    if step(stage, &Stage::Waiting, Stage::Void(Answer::Unknown)) {
                        return Ended::Again;
                    }
                    // Begun: the taker sees it to its end before it stops.
                    return match ends.await {
                        Ok(outcome) => Ended::Outcome(outcome),
                        Err(_) => Ended::untold(&stage.lock().unwrap_or_else(PoisonError::into_inner)),
                    };
                }
                () = tokio::time::sleep(SWEEP) => {
                    let verdict = pending.life.verdict(self.0.parts.clock.now(), self.0.parts.log.waits_for_time());
                    if verdict == Verdict::Expired && step(stage, &Stage::Waiting, Stage::Void(Answer::Expired)) {
                        return Ended::Expired;
                    }
                }
            }
        }
    }

    /// What the adapter says becomes the command's outcome, unless it may and should be begun again.
    pub(super) async fn conclude(&self, entry: &Entry, request: &Request, route: &Route, outcome: &Outcome) -> Result<After, StoreError> {
        // The entry was read before it was begun.
        let deliveries = entry.deliveries + 1;
        let entry = Entry { deliveries, ..entry.clone() };
        if let Outcome::Uncertain(reason) = outcome
            && translate::is_repeatable(route, request)
        {
            if deliveries < self.0.parts.options.most_deliveries {
                self.0.inbox.abandon(entry.seq, note(&entry, request, "again", reason.clone())).await?;
                return Ok(After::Later(AGAIN * deliveries));
            }
            let reason = format!("begun {deliveries} times without an answer: {reason}");
            return self.end(&entry, &Told::plain(&Outcome::Uncertain(reason))).await;
        }
        self.end(&entry, &translate::told(&route.profile, outcome)).await
    }

    /// What has expired while it waited.
    pub(super) async fn expire(&self, pending: &Pending) -> Result<(), StoreError> {
        match self.0.inbox.find(pending.seq).await? {
            Some(entry) if entry.state == State::Waiting => self.end(&entry, &Told::plain(&Outcome::Expired)).await.map(drop),
            Some(entry) => {
                let reason = "begun, and nobody could find out what happened while it was of interest".to_owned();
                self.end(&entry, &Told::plain(&Outcome::Uncertain(reason))).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Writes the end down, with the message that tells of it, and tells who waits here.
    pub(super) async fn end(&self, entry: &Entry, told: &Told) -> Result<After, StoreError> {
        let origin = &entry.command.origin;
        let named = entry.command.leaf.as_str();
        let about = About { id: &origin.id, named, from: &entry.command.leaf, deliveries: entry.deliveries };
        let message = outcome::message(about, told, self.0.parts.clock.now());
        let what = if told.values.is_empty() { told.reason.clone() } else { serde_json::Value::Object(told.values.clone()).to_string() };
        let note = Request::from_stored(&entry.command.body).ok().and_then(|request| note(entry, &request, told.word, what));
        let dead = (!matches!(told.word, "done" | "sent")).then(|| told.reason.clone());
        let ending = Ending { outcome: told.word, dead, message, note };
        self.0.inbox.finish(entry.seq, ending).await?;
        killpoint::pass("after-finish");
        info!(seq = entry.seq, leaf = named, id = %origin.id, source = %origin.source, outcome = told.word, reason = %told.reason, "command ended");
        self.release(entry.seq, Some(told));
        Ok(After::Over)
    }
}

/// How waiting for an order ended.
enum Ended {
    Outcome(Outcome),
    Expired,
    /// By the guard, at the last moment: nothing reached the leaf.
    Refused(String),
    /// It was not begun and may be later.
    Again,
    /// Somebody else has ended it.
    Gone,
}

impl Ended {
    /// The taker has dropped the order without a word.
    fn untold(stage: &Stage) -> Self {
        match stage {
            Stage::Refused(reason) => Ended::Refused(reason.clone()),
            Stage::Begun => Ended::Outcome(Outcome::Uncertain("whoever was carrying it out ended".to_owned())),
            Stage::Void(Answer::Expired) => Ended::Expired,
            Stage::Void(Answer::Gone) => Ended::Gone,
            Stage::Waiting | Stage::Void(_) => Ended::Again,
        }
    }
}

/// The audit has lines for what may change something.
pub(super) fn note(entry: &Entry, request: &Request, event: &str, what: String) -> Option<Note> {
    let (origin, leaf) = (entry.command.origin.clone(), entry.command.leaf.to_string());
    request.changes_something().then(|| Note { origin, leaf, event: event.to_owned(), what })
}
