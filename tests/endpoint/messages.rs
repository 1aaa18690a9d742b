//! Device to cloud: what was acknowledged is in the log, in order, with what a hub notes about it.

use std::time::Duration;

use rumqttc::mqttbytes::{
    QoS,
    v4::{Packet, PubAck, Publish},
};
use tidegate_core::message::Body;

use super::house::{Client, House, login, with_will};

#[tokio::test]
async fn what_was_acknowledged_is_in_the_log_in_order_and_says_who_it_is_from() {
    let house = House::open().await;
    let device = house.register("leaf-01").await;
    let mut client = house.join(&device).await;
    let topic =
        "devices/leaf-01/messages/events/%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8&%24.cid=c1&site=hall%202&empty&Site=hall%203";
    client.deliver(topic, r#"{"t":1}"#).await;
    // Many at once, before any acknowledgement is read.
    let mut expected = Vec::new();
    for n in 0..150 {
        expected.push(client.publish("devices/leaf-01/messages/events/", QoS::AtLeastOnce, n.to_string()).await);
    }
    for packet in expected {
        assert_eq!(client.receive().await, Some(Packet::PubAck(PubAck::new(packet))), "in order");
    }
    client.publish("devices/leaf-01/messages/events/", QoS::AtMostOnce, "last").await;
    client.ping().await;
    let messages = house.messages(152).await;
    let first = &messages[0];
    assert_eq!((first.leaf.as_str(), first.system.message_id.as_deref()), ("leaf-01", Some("m1")));
    assert_eq!((first.system.content_type.as_deref(), first.system.content_encoding.as_deref()), (Some("application/json"), Some("utf-8")));
    assert_eq!((first.properties.get("site"), first.properties.get("empty")), (Some("hall 3"), Some("")));
    let origin = first.system.origin.as_ref().expect("noted");
    assert_eq!((&*origin.auth, origin.generation.as_str(), origin.module.as_deref()), ("sas", device.generation.as_str(), None));
    let bodies: Vec<_> = messages[1..].iter().map(|message| message.body.stored().clone()).collect();
    let sent: Vec<_> = (0..150).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(bodies, sent);
    house.close().await;
}

#[tokio::test]
async fn a_message_survives_a_restart_that_follows_its_acknowledgement() {
    let house = House::open().await;
    let device = house.register("leaf-01/camera").await_device_first(&house).await;
    let mut client = house.join(&device).await;
    client.deliver("devices/leaf-01/modules/camera/messages/events/a=b", "picture").await;
    let house = house.reopen().await;
    let messages = house.messages(1).await;
    assert_eq!(messages[0].body, Body::Whole("picture".into()));
    assert_eq!(messages[0].system.origin.as_ref().and_then(|origin| origin.module.clone()).as_deref(), Some("camera"));
    house.close().await;
}

/// A module needs its device before it.
trait DeviceFirst {
    async fn await_device_first(self, house: &House) -> tidegate_core::device::Device;
}

impl<F: Future<Output = tidegate_core::device::Device>> DeviceFirst for F {
    async fn await_device_first(self, house: &House) -> tidegate_core::device::Device {
        house.register("leaf-01").await;
        self.await
    }
}

#[tokio::test]
async fn retain_is_a_property_and_a_will_is_a_message_only_when_nobody_said_goodbye() {
    let house = House::open().await;
    let device = house.register("a").await;
    let will = || with_will(login(&device), "devices/a/messages/events/why=will", QoS::AtLeastOnce);
    let (mut polite, _) = Client::connect(house.plain, will()).await;
    let mut retained = Publish::from_bytes("devices/a/messages/events/", QoS::AtMostOnce, "kept?".into());
    retained.retain = true;
    polite.send(Packet::Publish(retained)).await;
    polite.send(Packet::Disconnect).await;
    assert!(polite.is_closed().await);
    let (rude, _) = Client::connect(house.plain, will()).await;
    drop(rude);
    let messages = house.messages(2).await;
    assert_eq!(messages[0].properties.get("mqtt-retain"), Some("true"));
    assert_eq!((messages[1].properties.get("iothub-MessageType"), messages[1].properties.get("why")), (Some("Will"), Some("will")));
    house.close().await;
}

#[tokio::test]
async fn the_devices_own_time_counts_where_it_can_be_right() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut client = house.join(&device).await;
    for time in ["2026-01-01T00%3A00%3A00Z", "2099-01-01T00%3A00%3A00Z", "1970-01-01T00%3A00%3A00Z", "nonsense"] {
        client.deliver(&format!("devices/a/messages/events/%24.ctime={time}"), "x").await;
    }
    let times: Vec<String> = house.messages(4).await.iter().map(|message| message.taken.wall.to_string()).collect();
    assert_eq!(times[0], "2026-01-01T00:00:00.000Z");
    assert!(times[1..].iter().all(|time| time.as_str() > "2026-01-02" && time.as_str() < "2090"), "{times:?}");
    house.close().await;
}

#[tokio::test]
async fn a_full_log_acknowledges_nothing_and_the_session_ends_so_that_the_device_sends_again() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut client = house.join(&device).await;
    house.log.clone().close().await;
    client.publish("devices/a/messages/events/", QoS::AtLeastOnce, "x").await;
    assert!(client.is_closed().await);
    let events = house.hub.events_after(0, 100);
    assert!(events.iter().any(|event| event.detail.contains("could not be kept")), "{events:?}");
}

#[tokio::test]
async fn a_device_that_takes_over_is_served_and_the_old_connection_is_closed() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut old = house.join(&device).await;
    let mut new = house.join(&device).await;
    assert!(old.is_closed().await);
    new.deliver("devices/a/messages/events/", "x").await;
    assert_eq!(house.hub.counters().sessions, 1);
    let codes: Vec<_> = house.hub.events_after(0, 100).iter().filter_map(|event| event.code).collect();
    assert_eq!(codes, [400_027]);
    house.close().await;
}

#[tokio::test]
async fn a_device_that_falls_silent_is_let_go_after_one_and_a_half_times_its_keep_alive() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut connect = login(&device);
    connect.keep_alive = 1;
    let begun = tokio::time::Instant::now();
    let (mut client, _) = Client::connect(house.plain, connect).await;
    assert!(client.is_closed().await);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(10), "{took:?}");
    house.close().await;
}
