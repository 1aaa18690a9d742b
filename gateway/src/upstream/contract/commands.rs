//! What comes down: taken from the first moment on, handed over in order, acknowledged in order and only when signed.

use bytes::Bytes;
use rumqttc::{QoS, mqttbytes::v4::Publish};
use tidegate_core::upstream::{Arrival, ArrivalKind, UpstreamError};

use super::{
    broker::{Broker, Temper},
    carry::{BOUND, carry, make},
    local,
};
use crate::upstream::CATALOGUE;

fn commands(topic: &str, count: u8) -> Vec<Publish> {
    (0..count).map(|n| Publish::new(topic, QoS::AtLeastOnce, vec![n])).collect()
}

fn body(arrival: &Arrival) -> &[u8] {
    match &arrival.kind {
        ArrivalKind::CloudToDevice { body, .. } => body,
        other => panic!("not a command: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_that_comes_before_the_subscription_is_not_missed() {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let topic = local(kind, 1, folder.path()).1;
        let broker = Broker::start(Temper::Obliging, commands(topic, 100)).await;
        let mut session = make(kind, &local(kind, broker.port, folder.path()).0).connect().await.expect("accepted");
        for n in 0..100_u8 {
            let arrival = tokio::time::timeout(BOUND, session.arrivals.recv()).await.expect("in time").expect("arrives");
            assert_eq!(body(&arrival), [n]);
            arrival.receipt.expect("wants to be signed").sign();
        }
        broker.until("all are acknowledged", |seen| seen.pubacks.len() == 100).await;
        assert!(broker.look(|seen| seen.pubacks.iter().copied().eq(1..=100)));
    }
}

#[tokio::test]
async fn signatures_out_of_order_become_acknowledgements_in_order() {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let topic = local(kind, 1, folder.path()).1;
        let broker = Broker::start(Temper::Obliging, commands(topic, 3)).await;
        let mut session = make(kind, &local(kind, broker.port, folder.path()).0).connect().await.expect("accepted");
        let mut receipts = Vec::new();
        for _ in 0..3 {
            receipts.extend(session.arrivals.recv().await.expect("arrives").receipt);
        }
        while let Some(receipt) = receipts.pop() {
            assert!(broker.look(|seen| seen.pubacks.is_empty()));
            receipt.sign();
        }
        broker.until("all are acknowledged", |seen| seen.pubacks == [1, 2, 3]).await;
    }
}

#[tokio::test]
async fn what_is_not_for_us_is_acknowledged_and_forgotten() {
    let strangers = ["devices/other/messages/devicebound/", "$iothub/twin/GET/?$rid=1", "what/ever"];
    let mut all: Vec<Publish> = strangers.iter().map(|topic| Publish::new(*topic, QoS::AtLeastOnce, vec![])).collect();
    all.push(Publish::new("$iothub/methods/POST/reboot/?$rid=1f", QoS::AtMostOnce, b"{}".to_vec()));
    let hub = CATALOGUE.iter().find(|kind| kind.name == "iothub").expect("the kind");
    let folder = tempfile::tempdir().expect("folder");
    let broker = Broker::start(Temper::Obliging, all).await;
    let mut session = make(hub, &local(hub, broker.port, folder.path()).0).connect().await.expect("accepted");
    let arrival = session.arrivals.recv().await.expect("the call");
    assert!(arrival.receipt.is_none());
    assert_eq!(arrival.kind, ArrivalKind::Method { name: "reboot".to_owned(), request: "1f".to_owned(), body: Bytes::from_static(b"{}") });
    broker.until("the strangers are acknowledged", |seen| seen.pubacks == [1, 2, 3]).await;
}

#[tokio::test]
async fn a_retained_command_is_not_carried_out_at_every_connect() {
    let mqtt = CATALOGUE.iter().find(|kind| kind.name == "mqtt").expect("the kind");
    let folder = tempfile::tempdir().expect("folder");
    let mut retained = commands("command", 2);
    retained[0].retain = true;
    let broker = Broker::start(Temper::Obliging, retained).await;
    let mut session = make(mqtt, &local(mqtt, broker.port, folder.path()).0).connect().await.expect("accepted");
    assert_eq!(body(&session.arrivals.recv().await.expect("the other one")), [1]);
}

#[tokio::test]
async fn a_flood_of_commands_that_nobody_takes_grows_nothing_and_stops_no_end() {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let topic = local(kind, 1, folder.path()).1;
        let flood = (0..5_000).map(|_| Publish::new(topic, QoS::AtMostOnce, vec![0; 500])).collect();
        let broker = Broker::start(Temper::Obliging, flood).await;
        let session = make(kind, &local(kind, broker.port, folder.path()).0).connect().await.expect("accepted");
        assert!(session.arrivals.max_capacity() < 100);
        // The arrivals are never taken; closing them is what the uplink does at the end.
        let mut session = session;
        session.arrivals.close();
        let carried = carry(session, 0..10).await;
        assert!(matches!(carried.end, UpstreamError::Closed { .. }), "{:?}", carried.end);
        assert_eq!(carried.delivered(), 10);
    }
}

#[tokio::test]
async fn more_unacknowledged_commands_than_any_hub_sends_end_the_session() {
    for kind in CATALOGUE {
        let folder = tempfile::tempdir().expect("folder");
        let topic = local(kind, 1, folder.path()).1;
        let flood = (0..3_000).map(|_| Publish::new(topic, QoS::AtLeastOnce, vec![0])).collect();
        let broker = Broker::start(Temper::Obliging, flood).await;
        let mut session = make(kind, &local(kind, broker.port, folder.path()).0).connect().await.expect("accepted");
        let mut kept = Vec::new();
        let end = async {
            while let Some(arrival) = session.arrivals.recv().await {
                kept.push(arrival.receipt);
            }
            (&mut session.ended).await.expect("a reason")
        };
        let end = tokio::time::timeout(BOUND, end).await.expect("bounded");
        assert!(matches!(&end, UpstreamError::Lost { why, .. } if why.contains("without waiting")), "{end:?}");
        assert!(kept.len() < 1_200, "{}", kept.len());
    }
}
