//! The promise, whatever the broker does: at most one fate for each parcel, `Delivered` only after its acknowledgement, order
//! kept, and an end within bounds that says what was seen.

use std::{collections::HashSet, time::Duration};

use tidegate_core::upstream::{Refusal, UpstreamError};

use super::{
    broker::{Broker, Temper},
    carry::{BOUND, Carried, carry, make, number},
    local,
};
use crate::upstream::CATALOGUE;

const MESSAGES: u64 = 60;

/// Runs a session of every kind against a broker, checks the promise and hands over what happened.
async fn with_each_kind(temper: Temper, check: impl Fn(&Carried, &str)) {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let broker = Broker::start(temper, Vec::new()).await;
        let (section, _) = local(kind, broker.port, folder.path());
        let session = make(kind, &section).connect().await.expect("accepted");
        let carried = carry(session, 0..MESSAGES).await;
        let acknowledged: HashSet<u64> = broker.look(|seen| seen.acknowledged.iter().filter_map(number).collect());
        for (ticket, fate) in &carried.fates {
            assert_eq!(*fate, tidegate_core::upstream::Fate::Delivered);
            assert!(acknowledged.contains(ticket), "{}, {temper:?}: {ticket} was told as delivered and never acknowledged", kind.name);
        }
        let order: Vec<u64> = broker.look(|seen| seen.publishes.iter().filter_map(|p| number(&p.payload)).collect());
        assert!(order.iter().copied().eq(0..order.len() as u64), "{}, {temper:?}: {order:?}", kind.name);
        check(&carried, kind.name);
    }
}

#[tokio::test]
async fn with_an_obliging_broker_everything_is_delivered_and_the_end_is_clean() {
    for temper in [Temper::Obliging, Temper::Slow(Duration::from_millis(2)), Temper::Trickling, Temper::Flooding] {
        with_each_kind(temper, |carried, kind| {
            assert_eq!(carried.delivered(), MESSAGES as usize, "{kind}, {temper:?}");
            assert!(matches!(carried.end, UpstreamError::Closed { .. }), "{kind}, {temper:?}: {:?}", carried.end);
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_that_misbehaves_loses_the_session_and_nothing_else() {
    let cases = [
        (Temper::Swaps, 0, "out of order"),
        (Temper::AcknowledgesUnknown(4000), 0, "not in flight"),
        (Temper::AcknowledgesUnknown(60_000), 0, "not in flight"),
        (Temper::AcknowledgesTwice, 1, "acknowledged packet"),
        (Temper::ClosesAfter(10), 10, ""),
        (Temper::GarbageAfter(10), 10, "not MQTT"),
        (Temper::OversizedAfter(10), 10, "more than we take"),
        (Temper::HalfAfter(10), 10, ""),
        (Temper::ReceivesAfter(10), 10, "QoS 2"),
        (Temper::ExactlyOnceAfter(10), 10, "QoS 2"),
        (Temper::ConnackAfter(10), 10, "only clients send"),
        (Temper::ConnectAfter(10), 10, "only clients send"),
    ];
    for (temper, at_most, words) in cases {
        with_each_kind(temper, |carried, kind| {
            assert!(carried.delivered() <= at_most, "{kind}, {temper:?}: {} delivered", carried.delivered());
            assert!(
                matches!(&carried.end, UpstreamError::Lost { why, .. } if why.contains(words)),
                "{kind}, {temper:?}: {:?}",
                carried.end
            );
        })
        .await;
    }
}

#[tokio::test]
async fn noise_ends_the_session_and_hurts_nothing() {
    for seed in 0..100 {
        with_each_kind(Temper::Noise(seed), |carried, kind| {
            assert!(matches!(carried.end, UpstreamError::Lost { .. }), "{kind}, seed {seed}: {:?}", carried.end);
        })
        .await;
    }
}

/// What a kind says to a broker that does not accept it.
async fn refusals(temper: Temper) -> Vec<UpstreamError> {
    let mut all = Vec::new();
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let broker = Broker::start(temper, Vec::new()).await;
        let (section, _) = local(kind, broker.port, folder.path());
        let mut upstream = make(kind, &section);
        all.push(tokio::time::timeout(BOUND, upstream.connect()).await.expect("bounded").expect_err("not accepted"));
    }
    all
}

#[tokio::test]
async fn a_refusal_is_told_as_what_it_is() {
    for (code, expected) in [
        (1, Refusal::ProtocolVersion),
        (2, Refusal::Identifier),
        (3, Refusal::Unavailable),
        (4, Refusal::Credentials),
        (5, Refusal::Credentials),
    ] {
        for error in refusals(Temper::Refusing(code)).await {
            assert!(matches!(error, UpstreamError::Refused { refusal, .. } if refusal == expected), "{code}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_does_not_speak_mqtt_is_out_of_reach() {
    for (temper, words) in
        [(Temper::Refusing(132), "code 132"), (Temper::HangsUp, "without an answer"), (Temper::Http, ""), (Temper::Confused, "CONNACK")]
    {
        for error in refusals(temper).await {
            assert!(matches!(&error, UpstreamError::Unreachable { why, .. } if why.contains(words)), "{temper:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn where_nobody_listens_the_attempt_ends_at_once() {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("bound").port();
        let (section, _) = local(kind, port, folder.path());
        let mut upstream = make(kind, &section);
        let error = tokio::time::timeout(BOUND, upstream.connect()).await.expect("bounded").expect_err("nobody there");
        assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
        assert!(!error.is_stubborn() && upstream.target().contains("gw-01"));
    }
}

#[tokio::test]
async fn an_attempt_may_be_given_up_at_any_moment() {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let broker = Broker::start(Temper::Mute, Vec::new()).await;
        let (section, _) = local(kind, broker.port, folder.path());
        let mut upstream = make(kind, &section);
        tokio::select! {
            _ = upstream.connect() => panic!("a mute broker accepts nobody"),
            () = broker.until("it was asked", |seen| seen.connects.len() == 1) => {}
        }
        broker.until("the connection is gone with the attempt", |seen| seen.ended == 1).await;
    }
}
