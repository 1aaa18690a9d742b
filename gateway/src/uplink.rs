//! From the log to one hub: leases messages, publishes them, settles what became of them, and comes back after every loss.
//!
//! Promise: a message is settled only by the fate that its session reports. When a session ends, whatever has no fate is
//! leased again: duplicates are possible, at most one window of them, and loss is not. The uplink keeps no message of its
//! own; if this process dies, the log knows what is outstanding.
//!
//! Pauses between attempts grow to a few seconds when nobody answers, because the link's return must be noticed soon, and
//! to minutes when the hub refuses us, because trying harder would only annoy it; a changed configuration ends the pause.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tidegate_core::{
    backoff::Backoff,
    clock::Clock,
    health::{Condition, Health},
    upstream::{Arrival, Fate, Parcel, Refusal, Session, Upstream, UpstreamError},
};
use tidegate_store::{Leased, Reader, StoreError};
use tokio::sync::{Mutex, mpsc::error::TrySendError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    board::{UpstreamRow, count},
    downlink::Downlink,
    pulse::Pulse,
    unit::UnitError,
};

/// Pauses after "nobody there": the return of the hub is noticed within five seconds.
const SOON: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
/// Pauses after "go away".
const LATER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// A session that lasted this long, or delivered something, makes the pauses short again.
const STEADY: Duration = Duration::from_secs(10);
/// Messages leased at once; a few hundred make the cost of a lease small beside that of publishing.
const LEASE: usize = 256;
/// How long the loop may wait for anything before it shows that it is alive.
const BREATH: Duration = Duration::from_secs(5);
/// How long a session may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// Sessions lost within a minute of being accepted, by which a second client with our identity shows itself
/// (reference §1.8: three take-overs in 60 s).
const TAKEOVERS: (u32, Duration) = (3, Duration::from_secs(60));

/// One upstream with what it needs, kept across its sessions.
#[derive(Debug)]
pub struct Uplink {
    /// The upstream's name, and behind a slash the leaf whose identity it has, if it is not the gateway's.
    pub name: String,
    /// Whether it has a leaf's identity. Then it says only what is wrong with that identity; that the hub is away, the gateway's own
    /// uplink says.
    pub is_leaf: bool,
    /// Where messages come from.
    pub reader: Mutex<Reader>,
    /// Where arrivals go.
    pub downlink: Downlink,
    /// Counters.
    pub row: Arc<UpstreamRow>,
    /// What is wrong.
    pub health: Health,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Shows that the loop goes round.
    pub pulse: Pulse,
}

/// Why the loop over one session ended.
enum Ended {
    Stopped,
    Session(UpstreamError),
    Store(StoreError),
}

/// What the loop over one session met.
enum Turn {
    Stop,
    Over,
    Fate(u64, Fate),
    Arrival(Box<Arrival>),
    Leased(Result<Vec<Leased>, StoreError>),
    Room,
}

impl Uplink {
    /// Until stopped: connect, carry, and again. Errors only when the log is gone.
    pub async fn run(self: Arc<Self>, mut upstream: Box<dyn Upstream>, stop: CancellationToken) -> Result<(), UnitError> {
        let mut reader = self.reader.lock().await;
        let (mut soon, mut later) = (Backoff::new(SOON.0, SOON.1), Backoff::new(LATER.0, LATER.1));
        let mut takeovers = Takeovers::default();
        self.row.set_target(upstream.target());
        while !stop.is_cancelled() {
            self.pulse.beat();
            let delivered_before = self.row.delivered.load(Relaxed);
            let begun = tokio::time::Instant::now();
            let error = match self.session(upstream.as_mut(), &mut reader, &stop).await {
                Ended::Stopped => break,
                Ended::Store(error) => return Err(UnitError { why: error.to_string(), told: true }),
                Ended::Session(error) => error,
            };
            if begun.elapsed() >= STEADY || self.row.delivered.load(Relaxed) > delivered_before {
                soon.reset();
                later.reset();
            }
            self.tell(&error, takeovers.count(&error, begun.elapsed()));
            let pause = match &error {
                UpstreamError::TokenRenewal { .. } => continue,
                error if error.is_stubborn() => later.pause(),
                _ => soon.pause(),
            };
            debug!(upstream = %self.name, ?pause, "next attempt");
            self.rest(pause, &stop).await;
        }
        Ok(())
    }

    /// Waits, showing life.
    async fn rest(&self, pause: Duration, stop: &CancellationToken) {
        let until = tokio::time::Instant::now() + pause;
        while tokio::time::Instant::now() < until && !stop.is_cancelled() {
            self.pulse.beat();
            let step = BREATH.min(until - tokio::time::Instant::now());
            tokio::select! {
                () = tokio::time::sleep(step) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One session from CONNECT to its end.
    async fn session(&self, upstream: &mut dyn Upstream, reader: &mut Reader, stop: &CancellationToken) -> Ended {
        let session = tokio::select! {
            session = upstream.connect() => match session {
                Ok(session) => session,
                Err(error) => return Ended::Session(error),
            },
            () = stop.cancelled() => return Ended::Stopped,
        };
        reader.begin();
        count(&self.row.sessions, 1);
        self.row.connected.store(true, Relaxed);
        self.row.prove(upstream.proof());
        self.all_is_well(session.resumed);
        self.downlink.begun(&session.replies).await;
        let ended = self.carry(session, reader, stop).await;
        self.row.connected.store(false, Relaxed);
        self.row.in_flight.store(0, Relaxed);
        ended
    }

    async fn carry(&self, mut session: Session, reader: &mut Reader, stop: &CancellationToken) -> Ended {
        let mut waiting: VecDeque<Leased> = VecDeque::new();
        loop {
            self.pulse.beat();
            reader.settle_all(std::iter::from_fn(|| session.fates.try_recv().ok()).inspect(|(_, fate)| self.note(fate)));
            let full = self.send(&session, &mut waiting);
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => Turn::Stop,
                fate = session.fates.recv() => fate.map_or(Turn::Over, |(ticket, fate)| Turn::Fate(ticket, fate)),
                Some(arrival) = session.arrivals.recv() => Turn::Arrival(Box::new(arrival)),
                leased = reader.lease(LEASE), if waiting.is_empty() => Turn::Leased(leased),
                room = session.publish.reserve(), if full => if room.is_ok() { Turn::Room } else { Turn::Over },
                () = tokio::time::sleep(BREATH) => Turn::Room,
            };
            match turn {
                Turn::Stop => return self.goodbye(session, reader).await,
                Turn::Over => return self.end_of(session, reader).await,
                Turn::Fate(ticket, fate) => {
                    self.note(&fate);
                    let more = std::iter::from_fn(|| session.fates.try_recv().ok()).inspect(|(_, fate)| self.note(fate));
                    reader.settle_all(std::iter::once((ticket, fate)).chain(more));
                }
                Turn::Arrival(arrival) => {
                    count(&self.row.arrivals, 1);
                    self.downlink.take(*arrival, &session.replies).await;
                }
                Turn::Leased(Ok(leased)) => waiting.extend(leased),
                Turn::Leased(Err(error)) => return Ended::Store(error),
                Turn::Room => {}
            }
        }
    }

    /// As many as the session takes now. `true` when some wait for it.
    fn send(&self, session: &Session, waiting: &mut VecDeque<Leased>) -> bool {
        while let Some(leased) = waiting.pop_front() {
            match session.publish.try_send(Parcel { ticket: leased.ticket, message: leased.message.clone() }) {
                Ok(()) => count(&self.row.in_flight, 1),
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                    waiting.push_front(leased);
                    return true;
                }
            }
        }
        false
    }

    /// Counts a fate, and says what is wrong with it.
    fn note(&self, fate: &Fate) {
        self.row.in_flight.fetch_sub(1, Relaxed);
        match fate {
            Fate::Delivered => {
                count(&self.row.delivered, 1);
                self.row.last_delivered.store(self.clock.now().wall.0.unsigned_abs(), Relaxed);
            }
            Fate::Retry => {}
            Fate::Rejected(why) => {
                count(&self.row.rejected, 1);
                if self.health.raise(Condition::MessageRejected, self.name.as_str(), why.clone(), self.clock.now().wall) {
                    tracing::error!(upstream = %self.name, %why, "message can never be sent, given up");
                }
            }
        }
    }

    /// The session is over: the last fates, then the reason.
    async fn end_of(&self, mut session: Session, reader: &mut Reader) -> Ended {
        drop(session.publish);
        session.arrivals.close();
        let lost = |why: &str| UpstreamError::Lost { target: self.name.to_string(), why: why.to_owned() };
        let last = async {
            while let Some((ticket, fate)) = session.fates.recv().await {
                self.note(&fate);
                reader.settle(ticket, fate);
            }
            session.ended.await.unwrap_or_else(|_| lost("the session ended without a reason"))
        };
        Ended::Session(tokio::time::timeout(GOODBYE, last).await.unwrap_or_else(|_| lost("the session did not end")))
    }

    /// We end it: what is in flight may still be acknowledged, and that is worth a moment.
    async fn goodbye(&self, session: Session, reader: &mut Reader) -> Ended {
        if let Ended::Session(why) = self.end_of(session, reader).await {
            debug!(upstream = %self.name, %why, "closed");
        }
        Ended::Stopped
    }

    fn all_is_well(&self, resumed: bool) {
        for condition in [Condition::HubUnreachable, Condition::HubRefused, Condition::UpstreamUnusable] {
            self.health.clear(condition, self.name.as_str());
        }
        info!(upstream = %self.name, resumed, "connected");
    }

    fn tell(&self, error: &UpstreamError, taken_over: bool) {
        let condition = match error {
            UpstreamError::TokenRenewal { .. } | UpstreamError::Closed { .. } => {
                info!(upstream = %self.name, "{error}");
                return;
            }
            UpstreamError::Refused { refusal: Refusal::Unavailable, .. } => Condition::HubUnreachable,
            UpstreamError::Refused { .. } => Condition::HubRefused,
            UpstreamError::Unusable { .. } => Condition::UpstreamUnusable,
            UpstreamError::Unreachable { .. } | UpstreamError::Lost { .. } => Condition::HubUnreachable,
        };
        let now = self.clock.now().wall;
        let hub_away = condition == Condition::HubUnreachable && self.is_leaf;
        if taken_over {
            self.health.raise(Condition::HubTakenOver, self.name.as_str(), error.to_string(), now);
        } else {
            self.health.clear(Condition::HubTakenOver, self.name.as_str());
        }
        for other in [Condition::HubUnreachable, Condition::HubRefused, Condition::UpstreamUnusable] {
            if other != condition {
                self.health.clear(other, self.name.as_str());
            }
        }
        if hub_away {
            debug!(upstream = %self.name, "{error}");
        } else if self.health.raise(condition, self.name.as_str(), error.to_string(), now) {
            warn!(upstream = %self.name, code = condition.code(), "{error}; messages wait in the log");
        }
    }
}

/// Notices a second client with our identity: the hub accepts us and soon closes on us, again and again.
#[derive(Debug, Default)]
struct Takeovers {
    times: VecDeque<tokio::time::Instant>,
}

impl Takeovers {
    fn count(&mut self, error: &UpstreamError, lasted: Duration) -> bool {
        let now = tokio::time::Instant::now();
        match error {
            UpstreamError::Lost { .. } if lasted < TAKEOVERS.1 => self.times.push_back(now),
            // Whoever takes over leaves the hub where it is: a link that comes and goes is another thing.
            UpstreamError::Unreachable { .. } => self.times.clear(),
            _ => {}
        }
        while self.times.front().is_some_and(|t| now - *t > TAKEOVERS.1) {
            self.times.pop_front();
        }
        self.times.len() >= TAKEOVERS.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> UpstreamError {
        UpstreamError::Lost { target: "h".to_owned(), why: "closed".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_closes_again_and_again_is_another_client_and_a_link_that_flaps_is_none() {
        let mut takeovers = Takeovers::default();
        let soon = Duration::from_secs(1);
        assert_eq!([(); 3].map(|()| takeovers.count(&lost(), soon)), [false, false, true]);
        tokio::time::advance(TAKEOVERS.1 + soon).await;
        assert!(!takeovers.count(&lost(), soon), "that was long ago");
        for _ in 0..10 {
            let away = UpstreamError::Unreachable { target: "h".to_owned(), why: "reset".to_owned() };
            assert!(!takeovers.count(&lost(), soon) && !takeovers.count(&away, soon), "the hub was away in between");
        }
    }
}
