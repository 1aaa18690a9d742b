//! Clients that mean harm, or know no better. Whatever they do costs them their own connection and nobody else anything.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rumqttc::mqttbytes::{
    QoS,
    v4::{ConnectReturnCode, Packet, PubAck, PubRel, Publish, Subscribe, SubscribeFilter, Unsubscribe},
};
use tidegate_core::device::Device;
use tidegate_endpoint::{HubError, NewProof};
use tokio::task::JoinSet;

use super::house::{Client, House, id, login};

const EVENTS: &str = "devices/victim/messages/events/";
/// Longer than any of this may hold up a device that behaves.
const UNDISTURBED: Duration = Duration::from_secs(10);

/// A device that behaves, and how long its slowest message took.
struct Victim {
    task: tokio::task::JoinHandle<(u32, Duration)>,
    stop: tokio_util::sync::CancellationToken,
}

impl Victim {
    async fn begin(house: &House) -> Self {
        let device = house.register("victim").await;
        let mut client = house.join(&device).await;
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut sent, mut slowest) = (0, Duration::ZERO);
            while !stopped.is_cancelled() {
                let begun = Instant::now();
                client.deliver(EVENTS, "steady").await;
                slowest = slowest.max(begun.elapsed());
                sent += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (sent, slowest)
        });
        Self { task, stop }
    }

    /// It was served all the time.
    async fn end(self, house: &House) {
        self.stop.cancel();
        let (sent, slowest) = self.task.await.expect("its connection held");
        assert!(slowest < UNDISTURBED, "{slowest:?}");
        let kept = house.messages(sent as usize).await;
        assert_eq!(kept.iter().filter(|message| message.leaf.as_str() == "victim").count(), sent as usize);
    }
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut out = BytesMut::new();
    packet.write(&mut out, 1 << 20).expect("written");
    out.to_vec()
}

/// Packets as a device might send them, whole.
fn plausible(rng: &mut fastrand::Rng) -> Vec<u8> {
    let text =
        |rng: &mut fastrand::Rng| ["devices/bad/messages/events/", "$iothub/twin/GET/?$rid=1", "x", "æ", ""][rng.usize(..5)].to_owned();
    let mut publish = Publish::from_bytes(
        text(rng),
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][rng.usize(..3)],
        vec![b'x'; rng.usize(..300)].into(),
    );
    publish.pkid = rng.u16(1..);
    bytes(&match rng.u8(..7) {
        0 => Packet::Publish(publish),
        1 => Packet::Subscribe(Subscribe {
            pkid: rng.u16(..),
            filters: vec![SubscribeFilter::new(text(rng), QoS::AtLeastOnce); rng.usize(1..40)],
        }),
        2 => Packet::Unsubscribe(Unsubscribe { pkid: rng.u16(..), topics: vec![text(rng)] }),
        3 => Packet::PubAck(PubAck::new(rng.u16(..))),
        4 => Packet::PubRel(PubRel::new(rng.u16(1..))),
        5 => Packet::PingReq,
        _ => Packet::PingResp,
    })
}

/// Made worse: bytes flipped, cut off, lengths that lie, noise.
fn spoiled(rng: &mut fastrand::Rng, mut packet: Vec<u8>) -> Vec<u8> {
    match rng.u8(..5) {
        0 => {
            let at = rng.usize(..packet.len());
            packet[at] ^= 1 << rng.u8(..8);
        }
        1 => packet.truncate(rng.usize(..packet.len())),
        2 => packet[1..].iter_mut().take(1).for_each(|length| *length = rng.u8(..)),
        3 => packet = (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect(),
        _ => packet.extend((0..rng.usize(1..50)).map(|_| rng.u8(..))),
    }
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_malformed_packets_disturb_nobody() {
    let house = House::open().await;
    let victim = Victim::begin(&house).await;
    let bad = house.register("bad").await;
    let address = house.plain;
    let mut attacks = JoinSet::new();
    for worker in 0..8_u64 {
        let hello = bytes(&Packet::Connect(login(&bad)));
        attacks.spawn(async move {
            let mut rng = fastrand::Rng::with_seed(worker);
            for _ in 0..150 {
                let mut client = Client::dial(address).await;
                // Half of them after a good CONNECT, half without.
                let connected = rng.bool();
                let mut all = if connected { hello.clone() } else { Vec::new() };
                for _ in 0..rng.usize(1..8) {
                    let packet = plausible(&mut rng);
                    all.extend(if rng.u8(..3) == 0 { packet } else { spoiled(&mut rng, packet) });
                }
                client.raw(&all).await;
                if rng.u8(..4) == 0 {
                    // Gone without a word.
                    continue;
                }
                drop(tokio::time::timeout(Duration::from_millis(20), client.receive_any()).await);
            }
        });
    }
    attacks.join_all().await;
    victim.end(&house).await;
    house.close().await;
}

#[tokio::test]
async fn each_breach_of_the_rules_ends_the_session_with_its_reason() {
    let house = House::open().await;
    let device = house.register("a").await;
    let publish = |topic: &str, qos, size: usize| {
        let mut publish = Publish::from_bytes(topic, qos, vec![b'x'; size].into());
        publish.pkid = 7;
        bytes(&Packet::Publish(publish))
    };
    let own = "devices/a/messages/events/";
    let many = Subscribe { pkid: 1, filters: vec![SubscribeFilter::new("$iothub/twin/res/#".into(), QoS::AtMostOnce); 17] };
    let cases = [
        ("QoS 2", publish(own, QoS::ExactlyOnce, 1)),
        ("second CONNECT", bytes(&Packet::Connect(login(&device)))),
        ("PUBREL", bytes(&Packet::PubRel(PubRel::new(1)))),
        ("message of", publish(own, QoS::AtLeastOnce, 262_144)),
        ("packet of", publish(own, QoS::AtLeastOnce, 400_000)),
        ("property", publish("devices/a/messages/events/na%20me=x", QoS::AtLeastOnce, 1)),
        ("no topic of its own", publish("somewhere", QoS::AtLeastOnce, 1)),
        ("no filter of its own", bytes(&Packet::Subscribe(Subscribe::new("#", QoS::AtMostOnce)))),
        ("filters at once", bytes(&Packet::Subscribe(many))),
        ("malformed", vec![0x82, 0x02, 0x00, 0x01]),
        ("reserved flags", vec![0xc1, 0x00]),
        ("method's answer", publish("$iothub/methods/res/200/?$rid=1", QoS::AtMostOnce, 131_073)),
    ];
    for (reason, bytes) in cases {
        let mut client = house.join(&device).await;
        client.raw(&bytes).await;
        assert!(client.is_closed().await, "{reason}");
        let last = house.hub.events_after(0, 1_000).pop().expect("an event");
        assert!(last.detail.contains(reason), "{reason}: {last:?}");
    }
    assert_eq!(house.hub.counters().closed_for_cause, 12);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_strangers_keep_no_place_from_another_machine() {
    let house = House::open().await;
    let victim = Victim::begin(&house).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        let mut slow = Client::dial(house.plain).await;
        slow.raw(&[0x10]).await;
        crowd.push(slow);
    }
    let neighbour = house.register("neighbour").await;
    let begun = Instant::now();
    let (mut client, connack) = Client::connect_from("127.0.0.2", house.plain, login(&neighbour)).await;
    assert_eq!(connack.code, ConnectReturnCode::Success);
    client.deliver("devices/neighbour/messages/events/", "x").await;
    assert!(begun.elapsed() < UNDISTURBED);
    drop(crowd);
    victim.end(&house).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_devices_at_once_are_all_served() {
    const DEVICES: usize = 1_000;
    let house = House::open().await;
    let mut registering = JoinSet::new();
    for n in 0..DEVICES {
        let hub = house.hub.clone();
        let keys = NewProof::Keys { primary: None, secondary: None };
        registering.spawn(async move { hub.create(&id(&format!("d{n}")), keys, true, None).await.expect("registered") });
    }
    let devices: Vec<Device> = registering.join_all().await;
    let mut connecting = JoinSet::new();
    let address: SocketAddr = house.plain;
    for device in devices {
        connecting.spawn(async move {
            let (mut client, connack) = Client::connect(address, login(&device)).await;
            assert_eq!(connack.code, ConnectReturnCode::Success);
            client.deliver(&format!("devices/{}/messages/events/", device.identity), "here").await;
            client
        });
    }
    let clients = connecting.join_all().await;
    assert_eq!((clients.len(), house.hub.counters().sessions), (DEVICES, DEVICES as u64));
    assert_eq!(house.messages(DEVICES).await.len(), DEVICES);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_subscriptions_and_twin_questions_hold_nobody_up() {
    let house = House::open().await;
    let victim = Victim::begin(&house).await;
    let mut attacks = JoinSet::new();
    for name in ["flood-1", "flood-2", "flood-3"] {
        let mut client = house.join(&house.register(name).await).await;
        client.subscribe(&["$iothub/twin/res/#"]).await;
        attacks.spawn(async move {
            let mut subscribe = Subscribe::new("$iothub/twin/res/#", QoS::AtLeastOnce);
            subscribe.pkid = 1;
            let get = Packet::Publish(Publish::from_bytes("$iothub/twin/GET/?$rid=1", QoS::AtMostOnce, "".into()));
            let patch =
                Packet::Publish(Publish::from_bytes("$iothub/twin/PATCH/properties/reported/?$rid=1", QoS::AtMostOnce, "{\"n\":1}".into()));
            let round = [bytes(&Packet::Subscribe(subscribe)), bytes(&get), bytes(&patch)].concat();
            for _ in 0..2_000 {
                // Nothing is ever read: in the end we are not read either.
                if tokio::time::timeout(Duration::from_secs(2), client.raw(&round)).await.is_err() {
                    break;
                }
            }
        });
    }
    attacks.join_all().await;
    victim.end(&house).await;
    house.close().await;
}

#[tokio::test]
async fn ids_that_topics_cannot_carry_are_refused_everywhere() {
    let house = House::open().await;
    let keys = || NewProof::Keys { primary: None, secondary: None };
    let device = house.register("a").await;
    for bad in ["a+", "#", "a#b", "+", "$a", "a%2Fb", "a=b", "a b"] {
        if let Ok(identity) = tidegate_core::dialect::identity::Identity::from_client_id(bad) {
            assert!(matches!(house.hub.create(&identity, keys(), true, None).await, Err(HubError::Bad(_))), "{bad}");
        }
        let mut connect = login(&device);
        connect.client_id = bad.to_owned();
        if let Some(login) = &mut connect.login {
            login.username = format!("hub.example/{bad}/?api-version=2021-04-12");
        }
        let (_, connack) = Client::connect(house.plain, connect).await;
        assert_ne!(connack.code, ConnectReturnCode::Success, "{bad}");
    }
    for bad in ["a/b/c", "/", "a/", "/a"] {
        let mut connect = login(&device);
        connect.client_id = bad.to_owned();
        let (_, connack) = Client::connect(house.plain, connect).await;
        assert_eq!(connack.code, ConnectReturnCode::BadClientId, "{bad}");
    }
    house.close().await;
}
