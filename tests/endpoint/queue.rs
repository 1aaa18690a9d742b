//! Cloud to device: the nine life cycles of the reference, and what a device sees of them over MQTT.

use std::{sync::Arc, time::Duration};

use rumqttc::mqttbytes::{
    QoS,
    v4::{Packet, PubAck},
};
use serde_json::Value as Json;
use tidegate::records::StateRecords;
use tidegate_core::{
    c2d::{Ack, Enqueued, NewC2d, Settled, Settlement},
    clock::{Clock, HandClock, Timestamp},
    device::{NewDevice, Proof},
    dialect::bag,
};
use tidegate_endpoint::{Expiry, HubError, Queue, Records, Verdict};
use tidegate_store::State;

use super::house::{Client, House, id, login};

/// Walks one trace; returns the states and the feedback that came of it.
async fn walk(case: &Json) -> (Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    let (state, _) = State::open(dir.path()).expect("a state");
    let records = Arc::new(StateRecords(state));
    let begun = Timestamp(1_800_000_000_000);
    let clock = HandClock::at(begun);
    let device = id("d");
    let new =
        NewDevice { identity: device.clone(), proof: Proof::Authority, enabled: true, reason: None, generation: "1".into(), now: begun };
    records.create_device(new).await.expect("registered");
    let config = &case["config"];
    let ack = config["ack"].as_str().expect("a word").parse::<Ack>().expect("an ack");
    let expires = begun.plus(Duration::from_secs(config["ttl"].as_u64().expect("seconds")));
    let message = NewC2d { message_id: Some("m".into()), ack, ..NewC2d::default() };
    let Enqueued::Accepted(message) = records.enqueue_c2d(&device, message, expires, begun).await.expect("kept") else { panic!("kept") };
    let most = u32::try_from(config["max"].as_u64().expect("a number")).expect("small");
    let mut queue = Queue::new(records.clone(), device.clone(), most);
    let (mut states, mut count, mut passed) = (Vec::new(), 0, 0);
    for event in case["events"].as_array().expect("a list") {
        let settle = async |queue: &mut Queue, what| queue.settle(&[message], what, clock.now()).await.expect("settled")[0];
        let verdict = match event.as_str() {
            Some("deliver") => {
                let given = queue.deliver(clock.now(), 16).await.expect("given");
                assert_eq!(given.len(), 1, "{}", case["id"]);
                states.push(format!("Invisible/{}", given[0].deliveries));
                continue;
            }
            Some("complete") => settle(&mut queue, Settlement::Complete).await,
            Some("reject") => settle(&mut queue, Settlement::Reject).await,
            Some("abandon") => settle(&mut queue, Settlement::Abandon).await,
            Some("purge") => {
                assert_eq!(records.purge_c2d(&device, clock.now().wall).await.expect("purged"), Some(1));
                states.push(format!("DeadLettered/{count}"));
                continue;
            }
            _ => {
                let at = event[1].as_u64().expect("seconds");
                clock.advance(Duration::from_secs(at - passed));
                passed = at;
                queue.release(clock.now());
                records.expire_c2d(clock.now().wall, Timestamp(0)).await.expect("looked");
                let waits = records.c2d_depth(&device).await.expect("counted") == 1;
                states.push(format!("{}/{count}", if waits { "Enqueued" } else { "DeadLettered" }));
                continue;
            }
        };
        states.push(match verdict {
            Verdict::LockLost => "412002".to_owned(),
            Verdict::Settled(Settled::Completed) => format!("Completed/{count}"),
            Verdict::Settled(Settled::DeadLettered { deliveries }) => format!("DeadLettered/{deliveries}"),
            Verdict::Settled(Settled::Enqueued { deliveries }) => {
                count = deliveries;
                format!("Enqueued/{deliveries}")
            }
            Verdict::Settled(Settled::Gone) => "Gone".to_owned(),
        });
    }
    let feedback = records.feedback(10).await.expect("listed").iter().map(|record| record.code.to_string()).collect();
    (states, feedback)
}

#[tokio::test]
async fn all_life_cycles_of_the_reference_are_walked() {
    let vectors: Json = serde_json::from_str(include_str!("../../gateway/core/tests/iot-hub-vectors.json")).expect("JSON");
    let cases = vectors["c2d_lifecycle"]["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let texts = |list: &Json| list.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect();
        let expected: (Vec<String>, Vec<String>) = (texts(&case["states"]), texts(&case["feedback"]));
        assert_eq!(walk(case).await, expected, "{}", case["id"]);
    }
}

fn message(text: &str) -> NewC2d {
    NewC2d { message_id: Some(text.to_owned()), body: text.to_owned().into(), ack: Ack::Full, ..NewC2d::default() }
}

const FILTER: &str = "devices/a/messages/devicebound/#";

#[tokio::test]
async fn what_waits_is_delivered_on_connect_and_again_until_it_is_acknowledged() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut client = house.join(&device).await;
    client.subscribe(&[FILTER]).await;
    client.send(Packet::Disconnect).await;
    assert!(client.is_closed().await);
    let mut new = message("one");
    new.properties = vec![("$.ct".into(), "text/plain; charset=utf-8".into()), ("colour".into(), "a & b".into())];
    house.hub.send(&id("a"), new, Expiry::Default).await.expect("kept");
    house.hub.send(&id("a"), message("two"), Expiry::Default).await.expect("kept");
    // The session goes on where it was: no SUBSCRIBE is needed, and the messages come right after the CONNACK.
    let (mut client, connack) = Client::connect(house.plain, login(&device)).await;
    assert!(connack.session_present);
    let one = client.receive_publish().await;
    let bag = one.topic.strip_prefix("devices/a/messages/devicebound/").expect("the topic");
    let pairs: Vec<_> = bag::decode(bag).into_iter().filter(|(name, _)| name != "$.exp").collect();
    let pair = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let to = pair("$.to", "/devices/a/messages/devicebound");
    let expected =
        [pair("$.mid", "one"), to, pair("$.ct", "text/plain; charset=utf-8"), pair("colour", "a & b"), pair("iothub-ack", "full")];
    assert_eq!((pairs.as_slice(), one.qos), (&expected[..], QoS::AtLeastOnce));
    let two = client.receive_publish().await;
    client.send(Packet::PubAck(PubAck::new(two.pkid))).await;
    client.ping().await;
    drop(client);
    // Across a restart of ours, too.
    let house = house.reopen().await;
    let (mut client, _) = Client::connect(house.plain, login(&device)).await;
    let again = client.receive_publish().await;
    assert_eq!(&again.payload[..], b"one");
    client.send(Packet::PubAck(PubAck::new(again.pkid))).await;
    client.ping().await;
    assert_eq!(house.hub.waiting(&id("a")).await.expect("counted"), 0);
    let feedback = house.hub.feedback().await.expect("listed");
    let records: Vec<_> = feedback.iter().map(|record| (record.message_id.as_str(), record.code.word())).collect();
    assert_eq!(records, [("two", "Success"), ("one", "Success")]);
    house.close().await;
}

#[tokio::test]
async fn a_queue_is_delivered_in_order_through_a_window_and_holds_fifty() {
    let house = House::open().await;
    let device = house.register("a").await;
    for n in 0..50 {
        house.hub.send(&id("a"), message(&format!("m{n}")), Expiry::Default).await.expect("kept");
    }
    assert!(matches!(house.hub.send(&id("a"), message("m50"), Expiry::Default).await, Err(HubError::QueueFull(_))));
    let mut client = house.join(&device).await;
    client.subscribe(&[FILTER]).await;
    let mut held = Vec::new();
    for n in 0..16 {
        let publish = client.receive_publish().await;
        assert_eq!(publish.payload, format!("m{n}"));
        held.push(publish.pkid);
    }
    client.ping().await;
    for n in 16..50 {
        client.send(Packet::PubAck(PubAck::new(held.remove(0)))).await;
        let publish = client.receive_publish().await;
        assert_eq!(publish.payload, format!("m{n}"));
        held.push(publish.pkid);
    }
    for packet in held {
        client.send(Packet::PubAck(PubAck::new(packet))).await;
    }
    client.ping().await;
    assert_eq!(house.hub.waiting(&id("a")).await.expect("counted"), 0);
    // A message for a device that is there arrives by itself.
    house.hub.send(&id("a"), message("now"), Expiry::Default).await.expect("kept");
    assert_eq!(&client.receive_publish().await.payload[..], b"now");
    house.close().await;
}

#[tokio::test]
async fn expiries_are_checked_and_purged_messages_do_not_come() {
    let house = House::open().await;
    let device = house.register("a").await;
    let hub = &house.hub;
    for bad in [Expiry::At(Timestamp(1)), Expiry::After(Duration::ZERO), Expiry::After(Duration::from_secs(49 * 3600))] {
        assert!(matches!(hub.send(&id("a"), message("x"), bad).await, Err(HubError::Expiry)));
    }
    assert!(matches!(hub.send(&id("b"), message("x"), Expiry::Default).await, Err(HubError::NotFound(_))));
    let large = NewC2d { body: vec![0; 65_537].into(), ..NewC2d::default() };
    assert!(matches!(hub.send(&id("a"), large, Expiry::Default).await, Err(HubError::TooLarge { .. })));
    hub.send(&id("a"), message("purged"), Expiry::Default).await.expect("kept");
    assert_eq!(hub.purge(&id("a")).await.expect("purged"), 1);
    hub.send(&id("a"), message("short"), Expiry::After(Duration::from_millis(1))).await.expect("kept");
    tokio::time::sleep(Duration::from_millis(20)).await;
    hub.send(&id("a"), message("good"), Expiry::Default).await.expect("kept");
    let mut client = house.join(&device).await;
    client.subscribe(&[FILTER]).await;
    assert_eq!(&client.receive_publish().await.payload[..], b"good");
    house.close().await;
}
