//! CONNECT: who is let in, and that nobody else is, whatever is sent.

use rumqttc::mqttbytes::{
    QoS,
    v4::{Connect, ConnectReturnCode, Login, Packet, Subscribe},
};
use secrecy::SecretString;
use tidegate_core::device::Device;
use tidegate_endpoint::{EventKind, NewProof};

use super::house::{Client, HOST, House, id, login, token, user_name, with_will};

async fn answer(house: &House, connect: Connect) -> ConnectReturnCode {
    Client::connect(house.plain, connect).await.1.code
}

fn with(device: &Device, change: impl FnOnce(&mut Connect)) -> Connect {
    let mut connect = login(device);
    change(&mut connect);
    connect
}

fn with_token(device: &Device, token: String) -> Connect {
    with(device, |connect| connect.login = Some(Login { username: user_name(&device.identity), password: token }))
}

#[tokio::test]
async fn only_a_token_of_the_devices_own_opens_its_session() {
    use ConnectReturnCode::{BadClientId, NotAuthorized, Success};
    let house = House::open().await;
    let (a, b) = (house.register("a").await, house.register("b").await);
    assert_eq!(answer(&house, login(&a)).await, Success);
    let cases = [
        ("of another device", with_token(&a, token(&b, HOST, 3600)), NotAuthorized),
        ("for another host than the user name's", with_token(&a, token(&a, "other.example", 3600)), NotAuthorized),
        ("expired", with_token(&a, token(&a, HOST, -301)), NotAuthorized),
        ("nonsense", with_token(&a, "SharedAccessSignature sr=x".into()), NotAuthorized),
        ("empty", with_token(&a, String::new()), NotAuthorized),
        ("no login", with(&a, |connect| connect.login = None), NotAuthorized),
        ("another client id", with(&a, |connect| connect.client_id = "b".into()), BadClientId),
        ("no client id", with(&a, |connect| connect.client_id = String::new()), BadClientId),
        ("a client id in another case", with(&a, |connect| connect.client_id = "A".into()), BadClientId),
        (
            "unknown",
            with(&a, |connect| {
                connect.client_id = "nobody".into();
                connect.login = Some(Login { username: user_name(&id("nobody")), password: token(&a, HOST, 3600) });
            }),
            NotAuthorized,
        ),
        ("a will for another device", with_will(login(&a), "devices/b/messages/events/", QoS::AtMostOnce), NotAuthorized),
        ("a will of QoS 2", with_will(login(&a), "devices/a/messages/events/", QoS::ExactlyOnce), NotAuthorized),
    ];
    let count = cases.len();
    for (what, connect, expected) in cases {
        assert_eq!(answer(&house, connect).await, expected, "{what}");
    }
    let refused = house.hub.events_after(0, 100).into_iter().filter(|event| event.kind == EventKind::ConnectionRefused);
    // What happens twice in a row is one event with a count.
    let (reasons, counts): (Vec<_>, Vec<_>) = refused.map(|event| (event.detail, event.count)).unzip();
    assert_eq!(counts.iter().sum::<u64>(), count as u64, "each says why: {reasons:?}");
    assert!(reasons[2].contains("expired"), "{reasons:?}");
    house.close().await;
}

#[tokio::test]
async fn both_keys_open_and_a_disabled_or_deleted_device_is_out_at_once() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut swapped = device.clone();
    if let tidegate_core::device::Proof::Keys { primary, secondary } = &mut swapped.proof {
        std::mem::swap(primary, secondary);
    }
    let mut client = house.join(&swapped).await;
    client.ping().await;
    house.hub.change(&id("a"), None, None, Some(false), Some("stolen".into())).await.expect("changed");
    assert!(client.is_closed().await);
    assert_eq!(answer(&house, login(&device)).await, ConnectReturnCode::NotAuthorized);
    house.hub.change(&id("a"), None, None, Some(true), None).await.expect("changed");
    let mut client = house.join(&device).await;
    house.hub.delete(&id("a"), None).await.expect("deleted");
    assert!(client.is_closed().await);
    assert_eq!(answer(&house, login(&device)).await, ConnectReturnCode::NotAuthorized);
    house.close().await;
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let house = House::open().await;
    let device = house.register("a").await;
    // The last second of the five minutes that clocks may differ.
    let (mut client, connack) = Client::connect(house.plain, with_token(&device, token(&device, HOST, -298))).await;
    assert_eq!(connack.code, ConnectReturnCode::Success);
    assert!(client.is_closed().await);
    let events = house.hub.events_after(0, 100);
    assert!(events.iter().any(|event| event.code == Some(401_003) && event.detail.contains("token has ended")), "{events:?}");
    house.close().await;
}

#[tokio::test]
async fn a_simple_device_comes_with_its_name_and_password() {
    let house = House::open().await;
    let password = NewProof::Password(SecretString::from("correct horse".to_owned()));
    house.hub.create(&id("lamp"), password, true, None).await.expect("registered");
    let simple = |client_id: &str, user: &str, password: &str| {
        let mut connect = Connect::new(client_id);
        connect.login = Some(Login { username: user.into(), password: password.into() });
        connect
    };
    let (mut client, connack) = Client::connect(house.plain, simple("DVES_1A2B", "lamp", "correct horse")).await;
    assert_eq!(connack.code, ConnectReturnCode::Success);
    client.deliver("devices/lamp/messages/events/", "on").await;
    for (user, password) in [("lamp", "wrong horse!"), ("lamp", ""), ("nobody", "correct horse"), ("LAMP", "correct horse")] {
        assert_eq!(answer(&house, simple("x", user, password)).await, ConnectReturnCode::NotAuthorized, "{user}");
    }
    house.close().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_neighbour_at_the_same_address_is_not() {
    let house = House::open().await;
    let (a, b) = (house.register("a").await, house.register("b").await);
    for _ in 0..12 {
        assert_eq!(answer(&house, with_token(&a, token(&b, HOST, 60))).await, ConnectReturnCode::NotAuthorized);
    }
    // Even with the right token it must wait now; the other device need not.
    assert_eq!(answer(&house, login(&a)).await, ConnectReturnCode::NotAuthorized);
    assert_eq!(answer(&house, login(&b)).await, ConnectReturnCode::Success);
    let events = house.hub.events_after(0, 100);
    assert!(events.iter().any(|event| event.code == Some(429_001)), "{events:?}");
    assert!(events.iter().any(|event| event.count == 10), "ten times the same is one event: {events:?}");
    house.close().await;
}

#[tokio::test]
async fn other_versions_hear_so_in_their_own_words() {
    let house = House::open().await;
    let hello = |level: u8| [&b"\x10\x10\0\x04MQTT"[..], &[level, 2, 0, 60, 0, 4], b"leaf"].concat();
    let mut three = Client::dial(house.plain).await;
    three.raw(&hello(3)).await;
    match three.receive().await {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.code, ConnectReturnCode::RefusedProtocolVersion),
        other => panic!("{other:?}"),
    }
    let mut five = Client::dial(house.plain).await;
    five.raw(&hello(5)).await;
    assert!(five.receive().await.is_none(), "CONNACK 0x84 is none of version 3.1.1");
    house.close().await;
}

/// Everything that a device could say to reach another one, or the hub itself.
fn forbidden_topics() -> Vec<String> {
    let mut topics: Vec<String> = [
        "devices/b/messages/events/",
        "devices/b/messages/events",
        "devices/b/messages/events/x=y",
        "devices/A/messages/events/",
        "devices/a/modules/m/messages/events/",
        "devices/b/modules/m/messages/events/",
        "devices/a/messages/devicebound/",
        "devices/b/messages/devicebound/%24.mid=1",
        "devices/a/modules/m/inputs/i/",
        "devices//messages/events/",
        "devices/+/messages/events/",
        "devices/#",
        "devices/a%2F..%2Fb/messages/events/",
        "devices/a/../b/messages/events/",
        "/devices/a/messages/events/",
        "Devices/a/messages/events/",
        "$iothub/methods/POST/reboot/?$rid=1",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$version=9",
        "$iothub/twin/GET/",
        "$iothub/twin/PATCH/properties/reported/?$rid=1&$version=x",
        "$iothub/anything",
        "$SYS/broker",
        "$share/g/devices/b/messages/events/",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        "x",
        "æ/temp",
    ]
    .map(str::to_owned)
    .to_vec();
    topics.push("x".repeat(65_000));
    topics
}

#[tokio::test]
async fn no_topic_reaches_another_device_or_speaks_for_it() {
    let house = House::open().await;
    let (a, b) = (house.register("a").await, house.register("b").await);
    let mut victim = house.join(&b).await;
    victim.subscribe(&["devices/b/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/res/#"]).await;
    for topic in forbidden_topics() {
        let mut attacker = house.join(&a).await;
        attacker.publish(&topic, QoS::AtLeastOnce, "evil").await;
        assert!(attacker.is_closed().await, "{topic:.80}");
    }
    for filter in [
        "devices/b/messages/devicebound/#",
        "devices/+/messages/devicebound/#",
        "devices/#",
        "#",
        "+/+/+/+/#",
        "$iothub/#",
        "$iothub/twin/#",
        "$SYS/#",
        "$share/g/devices/a/messages/devicebound/#",
        "devices/a/messages/events/#",
        "devices/b/modules/m/inputs/#",
        "devices/a/modules/m/#",
        "",
        "x",
    ] {
        let mut attacker = house.join(&a).await;
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        attacker.send(Packet::Subscribe(subscribe)).await;
        assert!(attacker.is_closed().await, "{filter}");
    }
    // Somebody else's answers are nobody's.
    let hub = house.hub.clone();
    let calling = tokio::spawn(async move { hub.call(&id("b"), tidegate_endpoint::MethodCall::new("x", "")).await });
    let request = victim.receive_publish().await;
    let rid = request.topic.rsplit_once('=').expect("a request id").1.to_owned();
    let mut attacker = house.join(&a).await;
    attacker.publish(&format!("$iothub/methods/res/666/?$rid={rid}"), QoS::AtMostOnce, "evil").await;
    attacker.ping().await;
    victim.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), QoS::AtMostOnce, "").await;
    assert_eq!(calling.await.expect("no panic").expect("answered").status, 200);
    victim.deliver("devices/b/messages/events/", "mine").await;
    let messages = house.messages(1).await;
    assert_eq!((messages[0].leaf.as_str(), messages.len()), ("b", 1), "nothing else came through");
    house.close().await;
}
