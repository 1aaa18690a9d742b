//! Nothing waits for ever, and every end is a good one: patience, dropped receipts, token renewal, first and last words.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{QoS, mqttbytes::v4::Publish};
use secrecy::SecretString;
use tidegate_core::{
    clock::Timestamp,
    dialect::{
        identity::{Identity, UserName},
        key::Key,
        sas::Token,
    },
    message::{Message, SystemProperties},
    upstream::{ArrivalKind, Fate, Parcel, Reply, Session, UpstreamError},
    wire,
};

use super::{
    broker::{Broker, Temper},
    carry::{BOUND, NOW, carry, make, message},
    local,
};
use crate::upstream::{
    CATALOGUE,
    letter::{Letter, Speech},
    link::{Carrier, Link},
    session::{Terms, begin},
};

/// Speaks plainly; messages from the leaf `leaf-01` with the number 7 have an impossible topic, 8 is too large.
struct Simple;

impl Speech for Simple {
    fn reply(&self, _reply: &Reply) -> Option<Letter> {
        None
    }

    fn letter(&self, message: &Message) -> Result<Letter, String> {
        let payload = wire::body(message);
        match &payload[..] {
            b"7" => Ok(Letter { topic: "a/#".to_owned(), payload, retain: false }),
            b"8" => Ok(Letter { topic: "a".to_owned(), payload: Bytes::from(vec![0; 20_000]), retain: false }),
            b"9" => Err("cannot be said".to_owned()),
            _ => Ok(Letter { topic: "a".to_owned(), payload, retain: false }),
        }
    }

    fn arrival(&self, _: &str, payload: &Bytes, _: bool) -> Option<ArrivalKind> {
        let body = payload.clone();
        Some(ArrivalKind::CloudToDevice { system: SystemProperties::default(), expires: None, properties: Vec::new(), body })
    }
}

fn terms() -> Terms {
    Terms {
        target: "test".to_owned(),
        in_flight: 4,
        qos: QoS::AtLeastOnce,
        max_packet: 10_000,
        subscriptions: vec![("c".to_owned(), QoS::AtLeastOnce)],
        birth: None,
        farewell: None,
        renew_after: None,
        patience: Duration::from_secs(60),
        redelivery: Duration::from_secs(60),
    }
}

fn link(port: u16) -> Link {
    Link {
        target: "test".to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        carrier: Carrier::Tcp(None),
        client_id: "gw".to_owned(),
        login: Some(("u".to_owned(), SecretString::from("hidden-password"))),
        keep_alive: Duration::from_secs(60),
        answer_within: Duration::from_secs(20),
        will: None,
        max_packet: 10_000,
    }
}

async fn session(broker: &Broker, terms: Terms) -> Session {
    begin(link(broker.port), terms, Simple).await.expect("accepted")
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_waited_for_no_longer_than_agreed() {
    let broker = Broker::start(Temper::Mute, Vec::new()).await;
    let mut link = link(broker.port);
    link.answer_within = Duration::from_millis(200);
    let error = tokio::time::timeout(BOUND, begin(link, terms(), Simple)).await.expect("bounded").expect_err("mute");
    assert!(matches!(&error, UpstreamError::Unreachable { why, .. } if why.contains("no answer within")), "{error:?}");
}

#[tokio::test]
async fn an_acknowledgement_that_never_comes_ends_the_session() {
    let broker = Broker::start(Temper::NeverAcknowledges, Vec::new()).await;
    let session = session(&broker, Terms { patience: Duration::from_millis(200), ..terms() }).await;
    let carried = carry(session, 0..10).await;
    assert!(matches!(&carried.end, UpstreamError::Lost { why, .. } if why.contains("no acknowledgement")), "{:?}", carried.end);
    assert!(carried.fates.is_empty());
    // No more than the window was ever sent.
    assert_eq!(broker.look(|seen| seen.publishes.len()), 4);
}

#[tokio::test]
async fn a_subscription_that_is_never_answered_ends_the_session() {
    let broker = Broker::start(Temper::Ignoring, Vec::new()).await;
    let mut session = session(&broker, Terms { patience: Duration::from_millis(200), ..terms() }).await;
    let end = tokio::time::timeout(BOUND, &mut session.ended).await.expect("bounded").expect("a reason");
    assert!(matches!(&end, UpstreamError::Lost { why, .. } if why.contains("subscription")), "{end:?}");
}

#[tokio::test]
async fn asked_to_end_a_session_does_not_wait_for_a_broker_that_never_answers() {
    let broker = Broker::start(Temper::NeverAcknowledges, Vec::new()).await;
    let mut session = session(&broker, terms()).await;
    session.publish.send(Parcel { ticket: 1, message: message(1) }).await.expect("open");
    broker.until("it was sent", |seen| seen.publishes.len() == 1).await;
    let begun = std::time::Instant::now();
    drop(session.publish);
    let end = session.ended.await.expect("a reason");
    assert!(matches!(end, UpstreamError::Closed { .. }), "{end:?}");
    assert!(begun.elapsed() < Duration::from_secs(5) && session.fates.recv().await.is_none());
    broker.until("it left with DISCONNECT", |seen| seen.disconnects == 1).await;
}

#[tokio::test]
async fn a_dropped_receipt_stops_acknowledgements_and_makes_the_hub_send_again() {
    let commands = (0..3_u8).map(|n| Publish::new("c", QoS::AtLeastOnce, vec![n])).collect();
    let broker = Broker::start(Temper::Obliging, commands).await;
    let mut session = session(&broker, Terms { redelivery: Duration::from_millis(200), ..terms() }).await;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        receipts.push(session.arrivals.recv().await.expect("arrives").receipt.expect("wants to be signed"));
    }
    receipts.pop().expect("third").sign();
    drop(receipts.pop());
    receipts.pop().expect("first").sign();
    let end = tokio::time::timeout(BOUND, &mut session.ended).await.expect("bounded").expect("a reason");
    assert!(matches!(&end, UpstreamError::Lost { why, .. } if why.contains("could not be stored")), "{end:?}");
    broker.until("the connection is gone", |seen| seen.ended == 1).await;
    assert_eq!(broker.look(|seen| seen.pubacks.clone()), [1]);
}

#[tokio::test]
async fn what_can_never_be_sent_is_rejected_and_holds_nothing_up() {
    let broker = Broker::start(Temper::Obliging, Vec::new()).await;
    let carried = carry(session(&broker, terms()).await, 0..20).await;
    for (ticket, words) in [(7, "wildcard"), (8, "larger than 10000"), (9, "cannot be said")] {
        assert!(matches!(&carried.fates[&ticket], Fate::Rejected(why) if why.contains(words)), "{:?}", carried.fates[&ticket]);
    }
    assert_eq!(carried.delivered(), 17);
    assert_eq!(broker.look(|seen| seen.connects.len()), 1);
}

#[tokio::test]
async fn a_token_is_renewed_by_ending_in_good_order() {
    let broker = Broker::start(Temper::Slow(Duration::from_millis(5)), Vec::new()).await;
    let session = session(&broker, Terms { renew_after: Some(Duration::from_millis(100)), ..terms() }).await;
    let carried = carry(session, 10..10_000).await;
    assert!(matches!(carried.end, UpstreamError::TokenRenewal { .. }), "{:?}", carried.end);
    // What was in flight was waited for: nothing needs to be sent twice.
    assert_eq!(carried.delivered(), broker.look(|seen| seen.publishes.len()));
    broker.until("it left with DISCONNECT", |seen| seen.disconnects == 1).await;
}

#[tokio::test]
async fn first_and_last_words_are_said_and_are_nobodys_parcels() {
    let broker = Broker::start(Temper::Obliging, Vec::new()).await;
    let say = |word: &'static str| Some(Letter { topic: "gw".to_owned(), payload: Bytes::from(word), retain: true });
    let session = session(&broker, Terms { birth: say("online"), farewell: say("offline"), ..terms() }).await;
    let carried = carry(session, 0..3).await;
    assert_eq!(carried.delivered(), 3);
    broker.until("it left", |seen| seen.disconnects == 1).await;
    let words: Vec<_> = broker.look(|seen| seen.publishes.iter().map(|p| (p.payload.clone(), p.retain)).collect());
    let expected = ["online", "0", "1", "2", "offline"].map(|word| (Bytes::from(word), word.starts_with('o')));
    assert_eq!(words, expected);
}

#[tokio::test]
async fn with_qos_0_written_is_delivered() {
    let broker = Broker::start(Temper::NeverAcknowledges, Vec::new()).await;
    let carried = carry(session(&broker, Terms { qos: QoS::AtMostOnce, ..terms() }).await, 10..50).await;
    assert_eq!(carried.delivered(), 40);
    assert!(matches!(carried.end, UpstreamError::Closed { .. }), "{:?}", carried.end);
    broker.until("all have come", |seen| seen.publishes.len() == 40).await;
}

#[tokio::test]
async fn a_reader_that_does_not_look_at_fates_slows_the_intake_and_nothing_breaks() {
    let broker = Broker::start(Temper::Obliging, Vec::new()).await;
    let mut session = session(&broker, terms()).await;
    let mut sent = 10_u64;
    // Until the channel stays full because nobody reads fates.
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_millis(300), session.publish.send(Parcel { ticket: sent, message: message(sent) })).await
    {
        sent += 1;
        assert!(sent < 100, "the intake has no limit");
    }
    let mut fates = 0;
    while fates < sent - 10 {
        tokio::time::timeout(BOUND, session.fates.recv()).await.expect("goes on").expect("a fate");
        fates += 1;
    }
    session.publish.send(Parcel { ticket: sent, message: message(sent) }).await.expect("open");
    assert_eq!(session.fates.recv().await, Some((sent, Fate::Delivered)));
}

#[tokio::test]
async fn a_session_that_is_dropped_whole_leaves_with_disconnect() {
    let broker = Broker::start(Temper::Obliging, Vec::new()).await;
    drop(session(&broker, terms()).await);
    broker.until("it left", |seen| seen.disconnects == 1).await;
}

#[tokio::test]
async fn a_hub_gets_a_fresh_and_valid_token_at_every_connect() {
    let hub = CATALOGUE.iter().find(|kind| kind.name == "iothub").expect("the kind");
    let folder = tempfile::tempdir().expect("folder");
    let broker = Broker::start(Temper::Obliging, Vec::new()).await;
    let mut upstream = make(hub, &local(hub, broker.port, folder.path()).0);
    drop(upstream.connect().await.expect("accepted"));
    broker.until("it subscribed", |seen| seen.filters.len() == 4).await;
    let (connect, filters) = broker.look(|seen| (seen.connects[0].clone(), seen.filters.clone()));
    assert!(!connect.clean_session && connect.keep_alive == 230 && connect.client_id == "gw-01");
    let login = connect.login.expect("a login");
    let name = UserName::parse(&login.username).expect("a hub's user name");
    assert_eq!(
        login.username,
        format!("127.0.0.1/gw-01/?api-version=2021-04-12&DeviceClientType=tidegate%2F{}", env!("CARGO_PKG_VERSION"))
    );
    let key = Key::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
    let token = Token::parse(&login.password).expect("a token");
    assert_eq!(token.verify(&[&key], &["127.0.0.1"], &name.identity, NOW), Ok(()));
    assert_eq!(token.expires(), Timestamp(NOW.0 + 24 * 3600 * 1000));
    assert_eq!(name.identity, Identity::from_client_id("gw-01").expect("valid"));
    assert_eq!(
        filters,
        ["devices/gw-01/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#", "$iothub/twin/res/#"]
    );
}

#[tokio::test]
async fn a_connection_string_is_enough_and_a_bad_one_is_named() {
    let hub = CATALOGUE.iter().find(|kind| kind.name == "iothub").expect("the kind");
    let folder = tempfile::tempdir().expect("folder");
    let broker = Broker::start(Temper::Obliging, Vec::new()).await;
    let file = folder.path().join("connection-string");
    let mut upstream = make(hub, &serde_json::json!({ "connection_string_file": file, "port": broker.port, "tls": false }));
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (text, words) in [
        (String::new(), "is empty"),
        (format!("HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={key}"), "DeviceId is missing"),
        ("HostName=127.0.0.1;DeviceId=d;x509=true".to_owned(), "client_cert_file"),
        (format!("HostName=far.example;DeviceId=d;SharedAccessKey={key}"), "in the clear"),
        (format!("HostName=127.0.0.1;DeviceId=a#b;SharedAccessKey={key}"), "over MQTT"),
    ] {
        std::fs::write(&file, &text).expect("written");
        let error = upstream.connect().await.expect_err("unusable");
        assert!(matches!(&error, UpstreamError::Unusable { why, .. } if why.contains(words) && !why.contains("AAECAw")), "{error:?}");
        assert!(error.is_stubborn());
    }
    let through = format!("HostName=contoso.azure-devices.net;DeviceId=d;SharedAccessKey={key};GatewayHostName=127.0.0.1");
    std::fs::write(&file, through).expect("written");
    drop(upstream.connect().await.expect("accepted"));
    assert_eq!(upstream.target(), "contoso.azure-devices.net as d");
    let name = broker.look(|seen| seen.connects[0].login.clone()).expect("a login").username;
    assert!(name.starts_with("contoso.azure-devices.net/d/?"), "{name}");
}

#[test]
fn no_secret_is_in_a_debug_text() {
    assert!(!format!("{:?}", link(1)).contains("hidden-password"));
}
