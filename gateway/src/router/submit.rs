//! How a command comes in: judged by what can be known at once, kept in the inbox, and only then acknowledged.

use bytes::Bytes;
use tidegate_core::{adapter::Receipt, clock::Timestamp, command::Outcome, id::LeafId};
use tidegate_store::{
    StoreError,
    inbox::{Answer, Ending, Life, NewCommand, Note, Origin, Posted, State, Verdict},
};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::{Router, Watch, lane::Pending, translate};
use crate::{
    killpoint,
    outcome::{self, About, Told},
    request::Request,
};

/// When a sender's message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sign {
    /// As soon as the inbox has it: from then on the gateway answers for it.
    #[default]
    Stored,
    /// When the command has its outcome: until then the sender keeps it too.
    Leaf,
}

/// A command as it was asked for.
#[derive(Debug)]
pub struct Asked {
    /// Where it comes from.
    pub origin: Origin,
    /// Whom it names; `None` when it names nobody.
    pub leaf: Option<String>,
    /// What is to be done, or why that is not understood.
    pub request: Result<Request, String>,
    /// The moment after which nobody wants it any more.
    pub expires: Option<Timestamp>,
    /// The sender says that it may have sent it before.
    pub again: bool,
    /// Signed when the sender may forget it.
    pub receipt: Option<Receipt>,
    /// When that is.
    pub sign: Sign,
    /// Told the outcome, for those who wait.
    pub teller: Option<oneshot::Sender<Told>>,
}

/// A command that can be kept, or the outcome that it has at once.
enum Judged {
    Keep(NewCommand),
    Over(Outcome),
}

impl Router {
    /// Takes a command. Returns as soon as it has its turn at the inbox, so that commands are kept in the order of these calls; the rest
    /// goes on by itself. What cannot be carried out gets its outcome at once.
    pub async fn submit(&self, asked: Asked) -> Result<(), StoreError> {
        killpoint::pass("before-accept");
        let router = self.clone();
        match self.judge(&asked) {
            Judged::Keep(command) => {
                let (leaf, life, size) = (command.leaf.clone(), command.life, command.body.len());
                let posted = self.0.inbox.post(command, asked.again).await?;
                tokio::spawn(async move { router.kept(asked, posted, leaf, life, size).await });
            }
            Judged::Over(outcome) => {
                let (told, ending) = self.ending(&asked, &outcome);
                let posted = self.0.inbox.post_refusal(asked.origin.clone(), ending).await?;
                tokio::spawn(async move { router.refused(asked, posted, told).await });
            }
        }
        Ok(())
    }

    fn judge(&self, asked: &Asked) -> Judged {
        let reject = |reason: String| Judged::Over(Outcome::Rejected(reason));
        let request = match &asked.request {
            Ok(request) => request,
            Err(reason) => return reject(reason.clone()),
        };
        let Some(named) = &asked.leaf else {
            return reject("it names no leaf; add the property leaf, or \"leaf\" in the body".to_owned());
        };
        let Some(route) = LeafId::new(named).ok().and_then(|leaf| self.0.routes.find(&leaf)) else {
            return reject(format!("there is no leaf '{}'", named.chars().take(128).collect::<String>()));
        };
        let now = self.0.parts.clock.now();
        let life = Life::new(now, asked.expires, self.0.parts.options.ttl);
        if life.verdict(now, self.0.parts.log.waits_for_time()) == Verdict::Expired {
            return Judged::Over(Outcome::Expired);
        }
        if let Err(reason) = translate::action(&route, request) {
            return reject(reason);
        }
        let body: Bytes = request.to_stored();
        if let Some(reason) = self.lanes().full(&route.profile.id, body.len()) {
            return reject(reason);
        }
        Judged::Keep(NewCommand { origin: asked.origin.clone(), leaf: route.profile.id.clone(), body, life })
    }

    /// The inbox has it, or knew it.
    async fn kept(&self, asked: Asked, posted: Posted, leaf: LeafId, life: Life, size: usize) {
        let answer = match posted.answer().await {
            Ok(answer) => answer,
            Err(error) => return not_kept(&asked, &error),
        };
        killpoint::pass("after-accept");
        match answer {
            Answer::Done(seq) => {
                debug!(seq, %leaf, id = %asked.origin.id, source = %asked.origin.source, "command kept");
                self.watch(seq, asked.receipt, asked.sign, asked.teller);
                let pending = Pending { seq, life, size: u32::try_from(size).unwrap_or(u32::MAX) };
                self.lanes().add(&leaf, pending);
                self.0.parts.bell.notify_one();
            }
            Answer::Known { seq, finished } => self.known(seq, finished, asked.receipt, asked.sign, asked.teller).await,
            // Accepting has no other answers.
            Answer::Expired | Answer::Unknown | Answer::Gone => {}
        }
    }

    /// What is written down of a command that is over before it began.
    fn ending(&self, asked: &Asked, outcome: &Outcome) -> (Told, Ending) {
        let told = Told::plain(outcome);
        let named = asked.leaf.as_deref().unwrap_or_default();
        let known = LeafId::new(named).ok().filter(|leaf| self.0.routes.find(leaf).is_some());
        let from = known.as_ref().unwrap_or(&self.0.parts.gateway);
        let about = About { id: &asked.origin.id, named, from, deliveries: 0 };
        let message = outcome::message(about, &told, self.0.parts.clock.now());
        let writes = asked.request.as_ref().is_ok_and(Request::changes_something);
        let note = writes.then(|| Note {
            origin: asked.origin.clone(),
            leaf: named.chars().take(128).collect(),
            event: told.word.to_owned(),
            what: told.reason.clone(),
        });
        let ending = Ending { outcome: told.word, dead: None, message, note };
        (told, ending)
    }

    async fn refused(&self, asked: Asked, posted: Posted, told: Told) {
        match posted.answer().await {
            Err(error) => not_kept(&asked, &error),
            Ok(Answer::Known { seq, finished }) => self.known(seq, finished, asked.receipt, asked.sign, asked.teller).await,
            Ok(_) => {
                let named: String = asked.leaf.as_deref().unwrap_or_default().chars().take(128).collect();
                info!(id = %asked.origin.id, source = %asked.origin.source, leaf = named, outcome = told.word, reason = %told.reason, "command refused");
                if let Some(receipt) = asked.receipt {
                    receipt.sign();
                }
                if let Some(teller) = asked.teller {
                    // Whoever asked may have gone.
                    teller.send(told).ok();
                }
            }
        }
    }

    /// It has come before: acknowledged once more, and not carried out once more.
    async fn known(&self, seq: u64, finished: bool, receipt: Option<Receipt>, sign: Sign, teller: Option<oneshot::Sender<Told>>) {
        debug!(seq, finished, "command known");
        if finished || sign == Sign::Stored {
            if let Some(receipt) = receipt {
                receipt.sign();
            }
            return;
        }
        self.watch(seq, receipt, sign, teller);
        // It may have ended between the answer and the watch.
        let open = self.0.inbox.find(seq).await.is_ok_and(|entry| entry.is_some_and(|entry| entry.state != State::Dead));
        if !open {
            self.release(seq, None);
        }
    }

    fn watch(&self, seq: u64, receipt: Option<Receipt>, sign: Sign, teller: Option<oneshot::Sender<Told>>) {
        let receipt = match (receipt, sign) {
            (Some(receipt), Sign::Stored) => {
                receipt.sign();
                None
            }
            (receipt, _) => receipt,
        };
        if receipt.is_some() || teller.is_some() {
            let mut watches = self.watches();
            let Watch { receipts, tellers } = watches.entry(seq).or_default();
            receipts.extend(receipt);
            tellers.extend(teller);
        }
    }

    /// The command has its outcome on disk: whoever waited for it is told.
    pub(super) fn release(&self, seq: u64, told: Option<&Told>) {
        let Some(watch) = self.watches().remove(&seq) else { return };
        watch.receipts.into_iter().for_each(Receipt::sign);
        for teller in watch.tellers {
            if let Some(told) = told {
                teller.send(told.clone()).ok();
            }
        }
    }
}

/// Its receipt is dropped with it, so the sender sends again.
fn not_kept(asked: &Asked, error: &StoreError) {
    warn!(id = %asked.origin.id, source = %asked.origin.source, %error, "a command could not be kept; it is not acknowledged");
}
