//! From the inbox to the leaves, and back with what became of each command.
//!
//! Promises: one command at a time for each leaf, in the order in which they came; nothing reaches a leaf before its beginning is on
//! disk, and an expired command is never begun; every command that was taken ends as exactly one outcome, told to the hub in the same
//! transaction that ends it; a leaf that is away is served when it is back, within the command's time to live; nothing grows without
//! bound, because what would is rejected, and the hub is told why.
//!
//! | power is cut … | then |
//! |---|---|
//! | before the inbox has it | the hub was not told that we have it, and sends it again |
//! | before `begin` | carried out after the restart, unless it has expired |
//! | after `begin`, before `finish` | [`settle`]: done again where every point is marked repeatable, `done` where reading back shows what was wanted, else `uncertain` |
//! | after `finish` | the outcome and its message are both on disk |
//!
//! `lane` keeps what waits, `delivery` takes one command to its end, `settle` finds out about those that a restart interrupted,
//! `call` is the short way for methods, `route` knows who can be reached how.

mod call;
mod delivery;
mod interlock;
mod lane;
pub mod route;
mod settle;
mod submit;
#[cfg(test)]
mod tests;
mod translate;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value as Json;
use tidegate_core::{adapter::Receipt, clock::Clock, id::LeafId, profile::LeafProfile};
use tidegate_store::{
    Inbox, Log, StoreError,
    inbox::{State, Verdict},
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{
    lane::{Lanes, Pending},
    route::Routes,
};
use crate::{outcome::Told, pulse::Pulse, unit::UnitError};

pub use call::{CallError, Caller};
pub use submit::{Asked, Sign};

/// How often expired commands are looked for, and leaves that were away are tried.
const SWEEP: Duration = Duration::from_secs(1);
/// Commands in one page while the inbox is read at the start.
const PAGE: usize = 1_000;
/// What has been begun when we stop may still end within this: longer than any request on a bus.
const FAREWELL: Duration = Duration::from_secs(8);
/// Expired commands ended in one sweep: they share commits, and their messages the memory.
const SWEPT: usize = 512;

/// How commands are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long a command is worth carrying out when its sender does not say.
    pub ttl: Duration,
    /// How often a command may be begun, where it may be begun again at all.
    pub most_deliveries: u32,
}

/// The parts that the router works with.
#[derive(Debug)]
pub struct Parts {
    /// For its inbox.
    pub log: Log,
    /// Who this gateway is.
    pub gateway: LeafId,
    /// How commands are treated.
    pub options: Options,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Shows that the loop goes round.
    pub pulse: Pulse,
    /// Rung when a leaf may be back.
    pub bell: Arc<Notify>,
}

/// The router. Clones share it.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    parts: Parts,
    inbox: Inbox,
    routes: Routes,
    lanes: Mutex<Lanes>,
    watches: Mutex<HashMap<u64, Watch>>,
}

/// Who waits for a command's end.
#[derive(Debug, Default)]
struct Watch {
    receipts: Vec<Receipt>,
    tellers: Vec<oneshot::Sender<Told>>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("lanes", &self.lanes()).finish_non_exhaustive()
    }
}

/// What a delivery leaves to do.
enum After {
    /// Nothing: the command has its outcome.
    Over,
    /// Again, not before this.
    Later(Duration),
}

impl Router {
    /// With nobody to reach yet.
    pub fn new(parts: Parts) -> Self {
        let inbox = parts.log.inbox();
        Self(Arc::new(Inner { parts, inbox, routes: Routes::default(), lanes: Mutex::default(), watches: Mutex::default() }))
    }

    /// Who can be reached how.
    pub fn routes(&self) -> &Routes {
        &self.0.routes
    }

    /// The inbox, for lists.
    pub fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }

    /// A leaf's points for people and programs: what they are and what may be written.
    pub fn point_views(&self, profile: &LeafProfile) -> Vec<Json> {
        profile.points.iter().map(translate::view).collect()
    }

    /// Commands that wait, and leaves that they are for.
    pub fn waiting(&self) -> (usize, usize) {
        let lanes = self.lanes();
        (lanes.waiting(), lanes.leaves())
    }

    /// Until stopped.
    pub async fn run(self, stop: CancellationToken) -> Result<(), UnitError> {
        self.load().await?;
        let mut running = JoinSet::new();
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            self.0.parts.pulse.beat();
            while let Some((leaf, pending, route)) = self.next_job() {
                let (router, stop) = (self.clone(), stop.clone());
                running.spawn(async move {
                    let after = router.deliver(&leaf, &pending, &route, &stop).await;
                    (leaf, pending, after)
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = running.join_next() => self.ended(ended)?,
                () = self.0.parts.bell.notified() => {}
                _ = tick.tick() => self.sweep().await?,
            }
        }
        // What has been begun is seen to its end; what has not waits in the inbox for the next start.
        let rest = async {
            while let Some(ended) = running.join_next().await {
                self.ended(ended).ok();
            }
        };
        tokio::time::timeout(FAREWELL, rest).await.ok();
        Ok(())
    }

    /// Takes up what the inbox holds. What is there already, because it came before the first run or before a panic, stays once.
    async fn load(&self) -> Result<(), StoreError> {
        let mut from = 0;
        loop {
            let page = self.0.inbox.list(from, PAGE).await?;
            let Some(last) = page.last().map(|entry| entry.seq) else { break };
            let mut lanes = self.lanes();
            for entry in page.iter().filter(|entry| entry.state != State::Dead) {
                lanes.add(&entry.command.leaf, Pending::of(entry));
            }
            from = last + 1;
        }
        self.lanes().free_all();
        Ok(())
    }

    /// The next command whose leaf is free and there.
    fn next_job(&self) -> Option<(LeafId, Pending, route::Route)> {
        self.lanes().take(tokio::time::Instant::now(), |leaf| self.0.routes.find(leaf).filter(|route| route.taker.away(leaf).is_none()))
    }

    fn ended(&self, ended: Result<(LeafId, Pending, Result<After, StoreError>), tokio::task::JoinError>) -> Result<(), UnitError> {
        match ended {
            Ok((leaf, _, Ok(After::Over))) => self.lanes().free(&leaf, None),
            Ok((leaf, pending, Ok(After::Later(pause)))) => self.lanes().free(&leaf, Some((pending, tokio::time::Instant::now() + pause))),
            // Room may come back; the command is still in the inbox, begun or not.
            Ok((leaf, pending, Err(StoreError::Full(_)))) => {
                self.lanes().free(&leaf, Some((pending, tokio::time::Instant::now() + SWEEP)));
            }
            Ok((_, _, Err(error))) => return Err(UnitError { why: error.to_string(), told: true }),
            // A panic in one delivery: this run ends, and the next one finds in the inbox what was begun.
            Err(error) => return Err(UnitError { why: format!("a delivery failed: {error}"), told: false }),
        }
        Ok(())
    }

    /// Ends what has expired while it waited.
    async fn sweep(&self) -> Result<(), UnitError> {
        let (now, waiting) = (self.0.parts.clock.now(), self.0.parts.log.waits_for_time());
        let expired = self.lanes().take_where(SWEPT, |pending| pending.life.verdict(now, waiting) == Verdict::Expired);
        let mut ends = JoinSet::new();
        for (leaf, pending) in expired {
            let router = self.clone();
            ends.spawn(async move { (router.expire(&pending).await, leaf, pending) });
        }
        while let Some(ended) = ends.join_next().await {
            match ended {
                Ok((Ok(()), _, _)) => {}
                // The disk takes nothing now: in its place again, for the next sweep.
                Ok((Err(StoreError::Full(_)), leaf, pending)) => self.lanes().add(&leaf, pending),
                Ok((Err(error), _, _)) => return Err(UnitError { why: error.to_string(), told: true }),
                Err(error) => return Err(UnitError { why: format!("a sweep failed: {error}"), told: false }),
            }
        }
        Ok(())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // A panic elsewhere while the lock was held leaves lanes that `load` completes.
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<u64, Watch>> {
        self.0.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
