//! The site bus, packet by packet: who may use what, what is durable before a PUBACK, and that nobody disturbs another.

use std::sync::Arc;

use bytes::Bytes;
use rumqttc::mqttbytes::{
    QoS,
    v4::{Packet, PubAck, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode, Unsubscribe},
};
use tidegate_core::{
    clock::Stamp,
    dialect::identity::Identity,
    id::{LeafId, MessageId},
    message::{Body, Class, Message, Properties, SystemProperties},
};
use tidegate_endpoint::{
    EventKind,
    site::{Access, SiteBus, SiteRules},
};

use super::house::{Client, House, login, with_will};

/// `tele/<leaf>/SENSOR` is a message; `tele/<leaf>/BAD` cannot be one.
#[derive(Debug)]
struct Rules;

impl SiteRules for Rules {
    fn messages(&self, _: &Identity, topic: &str, payload: &Bytes, taken: Stamp) -> Result<Vec<Message>, String> {
        let Some(leaf) = topic.strip_prefix("tele/").and_then(|rest| rest.strip_suffix("/SENSOR")) else {
            return if topic.ends_with("/BAD") { Err("it is bad".to_owned()) } else { Ok(Vec::new()) };
        };
        let leaf = LeafId::new(leaf).map_err(|error| error.to_string())?;
        let (system, body) = (SystemProperties::json(), Body::Whole(payload.clone()));
        let properties = Properties::default();
        Ok(vec![Message { id: MessageId::fresh(), leaf, class: Class::Telemetry, taken, ttl: None, system, properties, body }])
    }
}

async fn with_site(house: &House) {
    let access = |device: &str, publish: &[&str], subscribe: &[&str]| Access {
        device: device.to_owned(),
        publish: publish.iter().map(|text| (*text).to_owned()).collect(),
        subscribe: subscribe.iter().map(|text| (*text).to_owned()).collect(),
    };
    let access = vec![
        access("lamp", &["tele/{device}/#"], &["cmnd/{device}/+"]),
        access("panel", &["cmnd/#", "home/#"], &["#"]),
        access("slow", &[], &["#"]),
    ];
    house.hub.open_site(SiteBus::new(access, Arc::new(Rules))).await.expect("opens");
}

/// What SUBACK said.
async fn subscribe(client: &mut Client, filters: &[(&str, QoS)]) -> Vec<SubscribeReasonCode> {
    let filters = filters.iter().map(|(path, qos)| SubscribeFilter::new((*path).to_owned(), *qos)).collect::<Vec<_>>();
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = client.next_packet();
    client.send(Packet::Subscribe(subscribe)).await;
    match client.receive().await {
        Some(Packet::SubAck(ack)) => ack.return_codes,
        other => panic!("{other:?}"),
    }
}

async fn retained(client: &mut Client, topic: &str, qos: QoS, payload: &'static str) {
    let mut publish = Publish::from_bytes(topic, qos, Bytes::from_static(payload.as_bytes()));
    (publish.retain, publish.pkid) = (true, if qos == QoS::AtMostOnce { 0 } else { client.next_packet() });
    let packet = publish.pkid;
    client.send(Packet::Publish(publish)).await;
    if packet != 0 {
        assert_eq!(client.receive().await, Some(Packet::PubAck(PubAck::new(packet))));
    }
}

fn shown(publish: &Publish) -> (&str, &[u8], QoS, bool) {
    (&publish.topic, &publish.payload, publish.qos, publish.retain)
}

#[tokio::test]
async fn what_is_published_is_heard_and_what_a_rule_takes_is_in_the_log_before_the_puback() {
    let house = House::open().await;
    with_site(&house).await;
    let (lamp, panel) = (house.register("lamp").await, house.register("panel").await);
    let (mut lamp, mut panel) = (house.join(&lamp).await, house.join(&panel).await);
    let granted = subscribe(&mut panel, &[("tele/+/SENSOR", QoS::AtLeastOnce), ("tele/#", QoS::AtMostOnce)]).await;
    assert_eq!(granted, [SubscribeReasonCode::Success(QoS::AtLeastOnce), SubscribeReasonCode::Success(QoS::AtMostOnce)]);
    let commits = house.log.counters().commits;
    lamp.deliver("tele/lamp/SENSOR", "{\"t\":1}").await;
    assert!(house.log.counters().commits > commits, "it is on disk");
    let heard = panel.receive_publish().await;
    assert_eq!(shown(&heard), ("tele/lamp/SENSOR", &b"{\"t\":1}"[..], QoS::AtLeastOnce, false), "once, at the higher of its filters");
    panel.send(Packet::PubAck(PubAck::new(heard.pkid))).await;
    // No rule takes this one, and one cannot: both are heard all the same.
    lamp.deliver("tele/lamp/LWT", "Online").await;
    lamp.deliver("tele/lamp/BAD", "x").await;
    for topic in ["tele/lamp/LWT", "tele/lamp/BAD"] {
        assert_eq!(shown(&panel.receive_publish().await).0, topic);
    }
    let refused = house.hub.events_after(0, 100).into_iter().find(|event| event.kind == EventKind::SiteMessageRefused);
    assert!(refused.expect("is told").detail.contains("it is bad"));
    // The dialect goes on beside it.
    lamp.deliver("devices/lamp/messages/events/", "{\"t\":2}").await;
    let messages = house.messages(2).await;
    assert_eq!(messages.iter().map(|message| message.leaf.as_str()).collect::<Vec<_>>(), ["lamp", "lamp"]);
    // And back.
    assert_eq!(subscribe(&mut lamp, &[("cmnd/lamp/+", QoS::AtMostOnce)]).await, [SubscribeReasonCode::Success(QoS::AtMostOnce)]);
    panel.deliver("cmnd/lamp/POWER", "ON").await;
    assert_eq!(shown(&lamp.receive_publish().await), ("cmnd/lamp/POWER", &b"ON"[..], QoS::AtMostOnce, false));
    let unsubscribe = Unsubscribe { pkid: 99, topics: vec!["cmnd/lamp/+".to_owned(), "never/had".to_owned()] };
    lamp.send(Packet::Unsubscribe(unsubscribe)).await;
    assert!(matches!(lamp.receive().await, Some(Packet::UnsubAck(ack)) if ack.pkid == 99));
    panel.deliver("cmnd/lamp/POWER", "OFF").await;
    lamp.ping().await;
    house.close().await;
}

#[tokio::test]
async fn nobody_speaks_or_listens_where_they_may_not_whatever_form_it_takes() {
    let house = House::open().await;
    with_site(&house).await;
    let (lamp, panel) = (house.register("lamp").await, house.register("panel").await);
    let (stranger, module) = (house.register("stranger").await, house.register("panel/m").await);
    let mut witness = house.join(&panel).await;
    subscribe(&mut witness, &[("#", QoS::AtMostOnce)]).await;
    for topic in [
        "tele/panel/SENSOR",
        "tele",
        "home/x",
        "cmnd/lamp/POWER",
        "devices/panel/messages/events/",
        "devices/lamp2/x",
        "$iothub/methods/POST/x/?$rid=1",
        "$SYS/broker/uptime",
        "$share/g/tele/lamp/x",
        "tele/lamp/+",
        "tele/lamp/#",
        "",
    ] {
        let mut client = house.join(&lamp).await;
        client.publish(topic, QoS::AtLeastOnce, "x").await;
        assert!(client.is_closed().await, "{topic}");
    }
    // A filter that it may not have is refused; the session goes on with the rest.
    let mut client = house.join(&lamp).await;
    let all = ["#", "tele/#", "cmnd/#", "cmnd/+/POWER", "cmnd/panel/+", "cmnd/lamp/a"].map(|filter| (filter, QoS::AtLeastOnce));
    let granted = subscribe(&mut client, &all).await;
    let (last, rest) = granted.split_last().expect("six");
    assert!(rest.iter().all(|code| *code == SubscribeReasonCode::Failure), "{granted:?}");
    assert_eq!(*last, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    client.ping().await;
    // Whoever has no rights has no bus, and a module is not its device.
    for device in [&stranger, &module] {
        let mut client = house.join(device).await;
        client.publish("home/x", QoS::AtMostOnce, "x").await;
        assert!(client.is_closed().await);
        let mut client = house.join(device).await;
        let mut subscribe = Subscribe::new("#", QoS::AtMostOnce);
        subscribe.pkid = 1;
        client.send(Packet::Subscribe(subscribe)).await;
        assert!(client.is_closed().await);
    }
    // Nothing of it was heard, and nothing disturbed who behaves.
    witness.ping().await;
    let wills = [("home/x", false), ("tele/lamp/LWT", true), ("$SYS/x", false), ("tele/lamp/#", false)];
    for (topic, fits) in wills {
        let (_, connack) = Client::connect(house.plain, with_will(login(&lamp), topic, QoS::AtLeastOnce)).await;
        assert_eq!(connack.code == rumqttc::mqttbytes::v4::ConnectReturnCode::Success, fits, "{topic}");
    }
    house.close().await;
}

#[tokio::test]
async fn what_is_retained_at_qos_1_survives_a_restart_and_a_will_is_heard() {
    let house = House::open().await;
    with_site(&house).await;
    let (lamp, panel) = (house.register("lamp").await, house.register("panel").await);
    let mut writer = house.join(&panel).await;
    retained(&mut writer, "home/kept", QoS::AtLeastOnce, "1").await;
    retained(&mut writer, "home/gone", QoS::AtLeastOnce, "2").await;
    retained(&mut writer, "home/gone", QoS::AtLeastOnce, "").await;
    retained(&mut writer, "home/light", QoS::AtMostOnce, "3").await;
    writer.ping().await;
    // With a will, gone without a word.
    let (dying, _) = Client::connect(house.plain, with_will(login(&lamp), "tele/lamp/LWT", QoS::AtLeastOnce)).await;
    subscribe(&mut writer, &[("tele/#", QoS::AtLeastOnce)]).await;
    drop(dying);
    assert_eq!(shown(&writer.receive_publish().await), ("tele/lamp/LWT", &b"gone"[..], QoS::AtMostOnce, false));
    let listen = async |house: &House| {
        let mut client = house.join(&panel).await;
        subscribe(&mut client, &[("home/+", QoS::AtLeastOnce)]).await;
        client.send(Packet::PingReq).await;
        let mut came = Vec::new();
        loop {
            match client.receive().await {
                Some(Packet::Publish(publish)) => came.push((publish.topic.clone(), publish.retain, publish.qos)),
                Some(Packet::PingResp) => return came,
                other => panic!("{other:?}"),
            }
        }
    };
    let kept = ("home/kept".to_owned(), true, QoS::AtLeastOnce);
    assert_eq!(listen(&house).await, [kept.clone(), ("home/light".to_owned(), true, QoS::AtMostOnce)]);
    let house = house.reopen().await;
    with_site(&house).await;
    assert_eq!(listen(&house).await, [kept]);
    house.close().await;
}

#[tokio::test]
async fn a_listener_that_takes_nothing_loses_its_session_and_disturbs_nobody() {
    let house = House::open().await;
    with_site(&house).await;
    let (panel, slow, lamp) = (house.register("panel").await, house.register("slow").await, house.register("lamp").await);
    let (mut panel, mut slow, mut lamp) = (house.join(&panel).await, house.join(&slow).await, house.join(&lamp).await);
    // It reads, but acknowledges nothing: its window is full, then its share of the memory.
    subscribe(&mut slow, &[("home/#", QoS::AtLeastOnce)]).await;
    for n in 0..1_500 {
        panel.deliver("home/x", format!("{n}")).await;
    }
    let mut came = 0;
    while let Some(packet) = slow.receive().await {
        assert!(matches!(packet, Packet::Publish(publish) if publish.payload == came.to_string()), "in order");
        came += 1;
    }
    assert_eq!(came, 32, "its window");
    lamp.ping().await;
    let why = house.hub.events_after(0, 100).into_iter().rfind(|event| event.kind == EventKind::DeviceDisconnected);
    assert!(why.expect("is told").detail.contains("too far behind"));
    house.close().await;
}
