//! Twins and methods, by the reference's exchange and beyond it.

use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use serde_json::{Value as Json, json};
use tidegate_core::twin::Change;
use tidegate_endpoint::{HubError, MethodCall};

use super::house::{House, id};

const TWIN: [&str; 2] = ["$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"];

fn desired(value: Json) -> Change {
    Change { desired: value.as_object().cloned(), ..Change::default() }
}

#[tokio::test]
async fn the_twin_exchange_of_the_reference_is_spoken_to_the_letter() {
    let vectors: Json = serde_json::from_str(include_str!("../../gateway/core/tests/iot-hub-vectors.json")).expect("JSON");
    let steps = vectors["twin"]["exchange"].as_array().expect("a list");
    assert_eq!(steps.len(), 5);
    let house = House::open().await;
    let device = house.register("leaf-01").await;
    // As far as the exchange begins: desired version 3, reported version 5.
    house.hub.change_twin(&id("leaf-01"), desired(json!({ "freq": "4m" }))).await.expect("changed");
    house.hub.change_twin(&id("leaf-01"), desired(json!({ "freq": "5m" }))).await.expect("changed");
    let mut client = house.join(&device).await;
    client.subscribe(&TWIN).await;
    for n in 0..4 {
        let fw = if n == 3 { "1.0" } else { "0.9" };
        client
            .publish(&format!("$iothub/twin/PATCH/properties/reported/?$rid=p{n}"), QoS::AtMostOnce, json!({ "fw": fw }).to_string())
            .await;
        assert!(client.receive_publish().await.topic.starts_with("$iothub/twin/res/204/"));
    }
    for step in &steps[1..] {
        if let Some(topic) = step["send"].as_str() {
            let payload = step["payload"].as_str().map_or_else(|| step["payload"].to_string(), str::to_owned);
            client.publish(topic, QoS::AtMostOnce, payload).await;
        } else {
            house.hub.change_twin(&id("leaf-01"), desired(json!({ "freq": "10m", "x": null }))).await.expect("changed");
        }
        let answer = client.receive_publish().await;
        assert_eq!(Some(answer.topic.as_str()), step["recv"].as_str());
        match &step["body"] {
            Json::Object(_) => assert_eq!(serde_json::from_slice::<Json>(&answer.payload).expect("JSON"), step["body"]),
            _ => assert!(answer.payload.is_empty()),
        }
    }
    house.close().await;
}

#[tokio::test]
async fn what_a_device_reported_survives_and_a_replaced_section_is_pushed_as_a_patch() {
    let house = House::open().await;
    let device = house.register("a").await;
    let mut client = house.join(&device).await;
    client.subscribe(&TWIN).await;
    // QoS 1: acknowledged after the twin is kept.
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", QoS::AtLeastOnce, r#"{"fw":{"major":1}}"#).await;
    client.receive_publish().await;
    client.receive().await;
    house.hub.change_twin(&id("a"), desired(json!({ "old": 1, "both": 2 }))).await.expect("changed");
    client.receive_publish().await;
    let replaced = Change { replace: true, ..desired(json!({ "both": 3 })) };
    house.hub.change_twin(&id("a"), replaced).await.expect("replaced");
    let push: Json = serde_json::from_slice(&client.receive_publish().await.payload).expect("JSON");
    assert_eq!(push, json!({ "old": null, "both": 3, "$version": 3 }));
    let house = house.reopen().await;
    let twin = house.hub.twin(&id("a")).await.expect("there");
    assert_eq!(twin.for_device(), json!({ "desired": { "both": 3, "$version": 3 }, "reported": { "fw": { "major": 1 }, "$version": 2 } }));
    let stale = Change { if_version: Some(1), ..desired(json!({})) };
    assert!(matches!(house.hub.change_twin(&id("a"), stale).await, Err(HubError::Changed(_))));
    house.close().await;
}

#[tokio::test]
async fn a_method_is_answered_timed_out_or_refused() {
    let house = House::open().await;
    let device = house.register("a").await;
    let call =
        |name: &str, payload: &'static str| MethodCall { response_timeout: Duration::from_secs(5), ..MethodCall::new(name, payload) };
    assert!(matches!(house.hub.call(&id("b"), call("x", "")).await, Err(HubError::NotFound(_))));
    assert!(matches!(house.hub.call(&id("a"), call("x", "")).await, Err(HubError::NotOnline(_))));
    let mut client = house.join(&device).await;
    assert!(matches!(house.hub.call(&id("a"), call("x", "")).await, Err(HubError::NotOnline(_))), "connected and not listening");
    for bad in [call("", ""), call("a/b", ""), call("x", "{"), call(&"x".repeat(101), "")] {
        assert!(matches!(house.hub.call(&id("a"), bad).await, Err(HubError::Bad(_))));
    }
    client.subscribe(&["$iothub/methods/POST/#"]).await;
    let hub = house.hub.clone();
    let calling = tokio::spawn(async move { hub.call(&id("a"), call("reboot", r#"{"delay":5}"#)).await });
    let request = client.receive_publish().await;
    assert_eq!((&request.payload[..], request.qos), (&br#"{"delay":5}"#[..], QoS::AtMostOnce));
    let rid = request.topic.strip_prefix("$iothub/methods/POST/reboot/?$rid=").expect("the topic").to_owned();
    client.publish("$iothub/methods/res/200/?$rid=zzz", QoS::AtMostOnce, "{}").await;
    client.publish(&format!("$iothub/methods/res/201/?$rid={rid}"), QoS::AtMostOnce, r#"{"ok":true}"#).await;
    let answer = calling.await.expect("no panic").expect("answered");
    assert_eq!((answer.status, &answer.body[..]), (201, &br#"{"ok":true}"#[..]));
    // Twice: an answer that comes late or again is dropped.
    client.publish(&format!("$iothub/methods/res/201/?$rid={rid}"), QoS::AtMostOnce, "{}").await;
    client.ping().await;
    let hub = house.hub.clone();
    let unanswered = tokio::spawn(async move { hub.call(&id("a"), call("sleep", "")).await });
    client.receive_publish().await;
    assert!(matches!(unanswered.await.expect("no panic"), Err(HubError::NoAnswer(_))));
    house.close().await;
}

#[tokio::test]
async fn a_call_waits_for_a_device_that_is_on_its_way() {
    let house = House::open().await;
    let device = house.register("a").await;
    let hub = house.hub.clone();
    let call = MethodCall { connect_timeout: Duration::from_secs(20), ..MethodCall::new("hello", "null") };
    let calling = tokio::spawn(async move { hub.call(&id("a"), call).await });
    let mut client = house.join(&device).await;
    client.subscribe(&["$iothub/methods/POST/#"]).await;
    let request = client.receive_publish().await;
    let rid = request.topic.rsplit_once('=').expect("a request id").1.to_owned();
    client.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), QoS::AtLeastOnce, "").await;
    assert_eq!(calling.await.expect("no panic").expect("answered").status, 200);
    house.close().await;
}
