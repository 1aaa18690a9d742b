//! Drives an upstream's session as the uplink does, and checks the promise on the way: at most one fate for each parcel, and
//! an end within bounds.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value as Json;
use tidegate_core::{
    catalogue::UpstreamKind,
    clock::{Clock, HandClock, Timestamp},
    id::{LeafId, MessageId},
    message::{Body, Class, Message, Properties, SystemProperties},
    problem::Problems,
    upstream::{Fate, Parcel, Session, Upstream, UpstreamError},
};

/// Far more than any test needs; far less than for ever.
pub(super) const BOUND: Duration = Duration::from_secs(60);

/// When the tests take place.
pub(super) const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// An upstream of a kind, checked and made.
pub(super) fn make(kind: &UpstreamKind, section: &Json) -> Box<dyn Upstream> {
    let mut problems = Problems::default();
    let plan = (kind.check)(section, &mut problems).unwrap_or_else(|| panic!("{section}: {:?}", problems.list()));
    (plan.build)(HandClock::at(NOW))
}

/// A message that says its number.
pub(super) fn message(number: u64) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::fresh(),
        leaf: LeafId::new("leaf-01").expect("valid"),
        class: Class::Telemetry,
        taken: HandClock::at(NOW).now(),
        ttl: None,
        system: SystemProperties::json(),
        properties: Properties::default(),
        body: Body::Whole(number.to_string().into()),
    })
}

/// The number that a message says.
pub(super) fn number(payload: &Bytes) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

/// What one session did.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) fates: HashMap<u64, Fate>,
    pub(super) end: UpstreamError,
}

impl Carried {
    pub(super) fn delivered(&self) -> usize {
        self.fates.values().filter(|fate| **fate == Fate::Delivered).count()
    }
}

/// Sends the tickets in order until all have met their fate or the session ends; signs every arrival at once.
pub(super) async fn carry(session: Session, tickets: impl IntoIterator<Item = u64>) -> Carried {
    carry_and_watch(session, tickets, |_| {}).await
}

/// As [`carry`]; tells of each ticket that was delivered.
pub(super) async fn carry_and_watch(
    mut session: Session,
    tickets: impl IntoIterator<Item = u64>,
    mut delivered: impl FnMut(u64),
) -> Carried {
    let mut waiting: VecDeque<u64> = tickets.into_iter().collect();
    let all = waiting.len();
    let mut fates = HashMap::new();
    let run = async {
        while fates.len() < all {
            tokio::select! {
                fate = session.fates.recv() => match fate {
                    Some((ticket, fate)) => {
                        if fate == Fate::Delivered {
                            delivered(ticket);
                        }
                        assert_eq!(fates.insert(ticket, fate), None, "a second fate for {ticket}");
                    }
                    None => break,
                },
                Some(arrival) = session.arrivals.recv() => {
                    arrival.receipt.into_iter().for_each(|receipt| receipt.sign());
                }
                permit = session.publish.reserve(), if !waiting.is_empty() => match (permit, waiting.pop_front()) {
                    (Ok(permit), Some(ticket)) => permit.send(Parcel { ticket, message: message(ticket) }),
                    _ => waiting.clear(),
                },
            }
        }
        drop(session.publish);
        while let Some((ticket, fate)) = session.fates.recv().await {
            assert_eq!(fates.insert(ticket, fate), None, "a second fate for {ticket}");
        }
        session.ended.await.expect("every session tells why it ended")
    };
    let end = tokio::time::timeout(BOUND, run).await.expect("no session hangs");
    Carried { fates, end }
}
