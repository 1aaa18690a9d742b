//! The service side of the hub over HTTP, with a device at its endpoint.

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use super::*;

const DEVICE: &str = "pump-01";
const SECRET: &str = "device password";

async fn hub_house() -> (House, String) {
    let house = house_with("tls = false\n[endpoint]\nplain = \"127.0.0.1:0\"\ncertificate_names = [\"gw.example\"]").await;
    let cookie = house.claim().await;
    until(async || house.page(&cookie, "GET", "/hub", Json::Null).await.json()["listening"][0]["address"].is_string()).await;
    (house, cookie)
}

async fn plain_address(house: &House, cookie: &str) -> SocketAddr {
    let hub = house.page(cookie, "GET", "/hub", Json::Null).await.json();
    hub["listening"][0]["address"].as_str().expect("listens").parse().expect("an address")
}

/// A device that answers methods and keeps what it is sent.
struct Device {
    heard: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
}

impl Device {
    async fn connect(at: SocketAddr) -> Self {
        let mut options = MqttOptions::new(DEVICE, at.ip().to_string(), at.port());
        options.set_credentials(DEVICE, SECRET).set_clean_session(false);
        let (client, events) = AsyncClient::new(options, 16);
        let topics = ["devices/pump-01/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#"];
        for topic in topics {
            client.subscribe(topic, QoS::AtLeastOnce).await.expect("queued");
        }
        let (say, heard) = mpsc::unbounded_channel();
        tokio::spawn(Self::live(client, events, say));
        Self { heard }
    }

    async fn live(client: AsyncClient, mut events: EventLoop, say: mpsc::UnboundedSender<(String, Vec<u8>)>) {
        while let Ok(event) = events.poll().await {
            let Event::Incoming(Packet::Publish(publish)) = event else { continue };
            if let Some(request) =
                publish.topic.split_once("$rid=").map(|(_, id)| id.to_owned()).filter(|_| publish.topic.contains("methods"))
            {
                let answer = format!("$iothub/methods/res/202/?$rid={request}");
                client.publish(answer, QoS::AtLeastOnce, false, "{\"took\":1}").await.expect("queued");
            }
            if say.send((publish.topic, publish.payload.to_vec())).is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> (String, Vec<u8>) {
        tokio::time::timeout(Duration::from_secs(20), self.heard.recv()).await.expect("in time").expect("still there")
    }
}

#[tokio::test]
async fn devices_are_registered_changed_and_removed_and_only_admins_see_keys() {
    let (house, cookie) = hub_house().await;
    let made = house.page(&cookie, "POST", "/hub/devices", json!({ "device": "a" })).await;
    assert_eq!((made.status, &made.json()["proof"], &made.headers["etag"]), (201, &json!("sas"), &"\"1\"".to_owned()), "{made:?}");
    assert!(!made.body.contains("SharedAccessKey"));
    assert_eq!(house.page(&cookie, "POST", "/hub/devices", json!({ "device": "a" })).await.code(), "device-exists");
    assert_eq!(house.page(&cookie, "POST", "/hub/devices", json!({ "device": "a b" })).await.code(), "refused");
    let module = house.page(&cookie, "POST", "/hub/devices", json!({ "device": "a/m" })).await;
    assert_eq!(module.status, 201, "{module:?}");
    assert_eq!(house.page(&cookie, "GET", "/hub/devices/a%2Fm", Json::Null).await.json()["device"], "a/m");
    let keys = house.page(&cookie, "GET", "/hub/devices/a/keys", Json::Null).await.json();
    let expected = format!("HostName=gw.example;DeviceId=a;SharedAccessKey={}", keys["primary"].as_str().expect("shown"));
    assert_eq!(keys["connection_string"], expected.as_str());
    let elsewhere = house.page(&cookie, "GET", "/hub/devices/a/keys?host=192.0.2.1", Json::Null).await.json();
    assert!(elsewhere["connection_string"].as_str().is_some_and(|text| text.starts_with("HostName=192.0.2.1;")), "{elsewhere}");
    assert_eq!(house.page(&cookie, "GET", "/hub/devices/a/keys?host=a%3Bb", Json::Null).await.status, 422);
    for role in ["viewer", "operator"] {
        let token = house.token(&cookie, role).await;
        assert_eq!(house.program(&token, "GET", "/hub/devices/a/keys", Json::Null).await.status, 403);
        assert_eq!(house.program(&token, "POST", "/hub/devices", json!({ "device": "b" })).await.status, 403);
        let list = house.program(&token, "GET", "/hub/devices", Json::Null).await;
        assert!(list.status == 200 && !list.body.contains(keys["primary"].as_str().expect("shown")), "{list:?}");
    }
    let viewer = house.token(&cookie, "viewer").await;
    assert_eq!(house.program(&viewer, "POST", "/hub/devices/a/messages", json!({ "body": "x" })).await.status, 403);
    // Fresh keys, under the state that was read.
    let change = async |etag: &str, body: Json| {
        let token = format!("Bearer {}", house.token(&cookie, "admin").await);
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json"), ("If-Match", etag)];
        house.ask("PATCH", "/hub/devices/a", &headers, &body.to_string()).await
    };
    assert_eq!(change("\"1\"", json!({ "enabled": false, "reason": "on loan" })).await.json()["reason"], "on loan");
    assert_eq!(change("\"1\"", json!({ "enabled": true })).await.code(), "changed");
    assert_eq!(change("1", json!({ "enabled": true })).await.code(), "malformed");
    assert_eq!(change("*", json!({ "proof": { "by": "keys" } })).await.status, 200);
    let fresh = house.page(&cookie, "GET", "/hub/devices/a/keys", Json::Null).await.json();
    assert_ne!(fresh["primary"], keys["primary"]);
    // By pages.
    let page = house.page(&cookie, "GET", "/hub/devices?limit=1", Json::Null).await.json();
    assert_eq!((&page["items"][0]["device"], &page["next"]), (&json!("a"), &json!("a")));
    let page = house.page(&cookie, "GET", "/hub/devices?limit=1&after=a", Json::Null).await.json();
    assert_eq!((&page["items"][0]["device"], &page["next"]), (&json!("a/m"), &Json::Null));
    assert_eq!(house.page(&cookie, "DELETE", "/hub/devices/a", Json::Null).await.status, 204);
    assert_eq!(house.page(&cookie, "GET", "/hub/devices/a%2Fm", Json::Null).await.code(), "device-not-found");
    let audit = house.page(&cookie, "GET", "/audit", Json::Null).await.body;
    for what in ["hub.device.add", "hub.device.keys", "hub.device.change", "hub.device.remove"] {
        assert!(audit.contains(what), "{what}");
    }
    assert!(!audit.contains(keys["primary"].as_str().expect("shown")));
}

#[tokio::test]
async fn messages_methods_and_twins_reach_the_device_and_come_back_as_they_were() {
    let (house, cookie) = hub_house().await;
    let proof = json!({ "by": "password", "password": SECRET });
    assert_eq!(house.page(&cookie, "POST", "/hub/devices", json!({ "device": DEVICE, "proof": proof })).await.status, 201);
    let to = |what: &str| format!("/hub/devices/{DEVICE}/{what}");
    // It is away: what is sent waits, what is called does not.
    let request = json!({ "body": { "on": true }, "properties": { "p": "1" }, "message_id": "m-1", "ack": "full", "ttl_s": 600 });
    let sent = house.page(&cookie, "POST", &to("messages"), request).await;
    assert_eq!((sent.status, &sent.json()["message_id"]), (201, &json!("m-1")), "{sent:?}");
    assert_eq!(house.page(&cookie, "GET", &format!("/hub/devices/{DEVICE}"), Json::Null).await.json()["waiting"], 1);
    let call = json!({ "method": "flush", "payload": [1], "timeout_s": 20 });
    assert_eq!(house.page(&cookie, "POST", &to("methods"), call.clone()).await.code(), "device-not-online");
    let mut device = Device::connect(plain_address(&house, &cookie).await).await;
    let (topic, body) = device.next().await;
    assert!(topic.contains("%24.mid=m-1") && topic.contains("p=1"), "{topic}");
    assert_eq!(body, b"{\"on\":true}");
    until(async || house.page(&cookie, "GET", "/hub/feedback", Json::Null).await.body.contains("m-1")).await;
    let feedback = house.page(&cookie, "GET", "/hub/feedback", Json::Null).await.json();
    assert_eq!((&feedback["items"][0]["code"], &feedback["items"][0]["device"]), (&json!("Success"), &json!(DEVICE)), "{feedback}");
    let read = format!("/hub/feedback?up_to={}", feedback["items"][0]["id"]);
    assert_eq!(house.page(&cookie, "DELETE", &read, Json::Null).await.status, 204);
    assert_eq!(house.page(&cookie, "GET", "/hub/feedback", Json::Null).await.json()["items"], json!([]));
    // A method, and its answer.
    let answer = house.page(&cookie, "POST", &to("methods"), json!({ "method": "flush", "payload": [1], "wait_s": 10 })).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": 202, "payload": { "took": 1 } })), "{answer:?}");
    assert_eq!(device.next().await.1, b"[1]");
    assert_eq!(house.page(&cookie, "POST", &to("methods"), json!({ "method": "a b" })).await.code(), "refused");
    assert_eq!(house.page(&cookie, "POST", &to("methods"), json!({ "method": "a", "timeout_s": 61 })).await.status, 422);
    // Its twin.
    let change = json!({ "tags": { "hall": 3 }, "properties": { "desired": { "speed": 5 } } });
    let twin = house.page(&cookie, "PATCH", &to("twin"), change).await;
    let etag = twin.headers["etag"].clone();
    assert_eq!((&twin.json()["tags"], &twin.json()["properties"]["desired"]["speed"]), (&json!({ "hall": 3 }), &json!(5)), "{twin:?}");
    let (topic, body) = device.next().await;
    assert!(topic.starts_with("$iothub/twin/PATCH/properties/desired/"), "{topic}");
    assert_eq!(serde_json::from_slice::<Json>(&body).expect("JSON")["speed"], 5);
    let replaced = house.page(&cookie, "PUT", &to("twin"), json!({ "properties": { "desired": { "mode": "a" } } })).await.json();
    assert_eq!((&replaced["properties"]["desired"]["speed"], &replaced["tags"]["hall"]), (&Json::Null, &json!(3)), "{replaced}");
    assert_eq!(serde_json::from_slice::<Json>(&device.next().await.1).expect("JSON")["speed"], Json::Null, "it is told what went");
    let admin = format!("Bearer {}", house.token(&cookie, "admin").await);
    let headers = [("Authorization", admin.as_str()), ("Content-Type", "application/json"), ("If-Match", etag.as_str())];
    assert_eq!(house.ask("PATCH", &to("twin"), &headers, "{\"tags\":{}}").await.code(), "changed");
    assert_eq!(house.page(&cookie, "PATCH", &to("twin"), json!({})).await.status, 422);
    let reported = json!({ "properties": { "reported": { "x": 1 } } });
    assert_eq!(house.page(&cookie, "PATCH", &to("twin"), reported).await.status, 422, "that is the device's own");
    // What happened, in its order.
    let events = house.page(&cookie, "GET", "/hub/events", Json::Null).await.json();
    let kinds: Vec<&str> = events["items"].as_array().expect("a list").iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["createDeviceIdentity", "deviceConnected", "updateTwin", "replaceTwin"], "{events}");
    let last = events["next"].as_str().expect("there are some").to_owned();
    let waiting = format!("/hub/events?after={last}&wait_s=20");
    let (told, disabled) = tokio::join!(house.page(&cookie, "GET", &waiting, Json::Null), async {
        house.page(&cookie, "PATCH", &format!("/hub/devices/{DEVICE}"), json!({ "enabled": false })).await
    });
    assert_eq!((told.status, disabled.status), (200, 200));
    assert_ne!(told.json()["items"], json!([]), "{told:?}");
    until(async || house.page(&cookie, "GET", &format!("/hub/devices/{DEVICE}"), Json::Null).await.json()["connected"].is_null()).await;
    // What waits can be taken away.
    house.page(&cookie, "POST", &to("messages"), json!({ "body_base64": "AP8=" })).await;
    assert_eq!(house.page(&cookie, "DELETE", &to("messages"), Json::Null).await.json()["purged"], 1);
}

#[tokio::test]
async fn what_the_hub_does_not_take_is_named_and_nothing_is_sent() {
    let (house, cookie) = hub_house().await;
    house.page(&cookie, "POST", "/hub/devices", json!({ "device": "a" })).await;
    let send = async |body: Json| house.page(&cookie, "POST", "/hub/devices/a/messages", body).await;
    for (body, status, code) in [
        (json!({ "body": "x".repeat(70_000) }), 413, "too-large"),
        (json!({ "body": "x", "ttl_s": 200_000 }), 403, "expiry"),
        (json!({ "body": "x", "ack": "loud" }), 422, "invalid"),
        (json!({ "body": "x", "body_base64": "eA==" }), 422, "invalid"),
        (json!({ "body_base64": "?" }), 422, "invalid"),
        (json!({ "body": "x", "message_id": "ä" }), 400, "refused"),
        (json!({ "body": "x", "properties": { "$.mid": "y" } }), 400, "refused"),
    ] {
        let answer = send(body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body:.80}");
    }
    for n in 0..50 {
        assert_eq!(send(json!({ "body": n })).await.status, 201);
    }
    assert_eq!(send(json!({ "body": "one more" })).await.code(), "queue-full");
    assert_eq!(house.page(&cookie, "POST", "/hub/devices/nobody/messages", json!({ "body": "x" })).await.code(), "device-not-found");
}
