//! The built-in endpoint over HTTP: by partition, alone, in groups, as pages and as a stream.

use std::collections::{BTreeMap, BTreeSet};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tidegate_core::{
    clock::Clock,
    id::{LeafId, MessageId},
    message::{Body, Message, SystemProperties},
};
use tidegate_store::{PARTITIONS, Urgency, partition};

use super::*;

async fn keep(house: &House, leaf: &str, numbers: std::ops::Range<u64>) {
    let parts = &house.service.ends.parts;
    let message = |n: u64| Message {
        id: MessageId::fresh(),
        leaf: LeafId::new(leaf).expect("valid"),
        class: Class::Telemetry,
        taken: parts.clock.now(),
        ttl: None,
        system: SystemProperties::json(),
        properties: Properties::default(),
        body: Body::Whole(format!("{{\"n\":{n}}}").into()),
    };
    parts.log.append(numbers.map(message).collect(), Urgency::Now).await.expect("kept");
}

/// A device for each partition.
fn devices() -> Vec<String> {
    let of = |wanted: usize| (0..).map(|n| format!("d{n}")).find(|name| partition(name) == wanted).expect("some");
    (0..PARTITIONS).map(of).collect()
}

fn numbers(page: &Json) -> Vec<u64> {
    page["items"].as_array().expect("a list").iter().map(|item| item["payload"]["n"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn a_message_is_shown_as_the_built_in_endpoint_shows_it() {
    let house = house_with("tls = false\n[endpoint]\nplain = \"127.0.0.1:0\"").await;
    let cookie = house.claim().await;
    until(async || house.page(&cookie, "GET", "/hub", Json::Null).await.json()["listening"][0]["address"].is_string()).await;
    let hub = house.page(&cookie, "GET", "/hub", Json::Null).await.json();
    let at: SocketAddr = hub["listening"][0]["address"].as_str().expect("listens").parse().expect("an address");
    let proof = json!({ "by": "password", "password": "device password" });
    let made = house.page(&cookie, "POST", "/hub/devices", json!({ "device": "leaf-01", "proof": proof })).await;
    let mut options = MqttOptions::new("leaf-01", at.ip().to_string(), at.port());
    options.set_credentials("leaf-01", "device password");
    let (client, mut events) = AsyncClient::new(options, 16);
    let topic = "devices/leaf-01/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m1&severity=2";
    client.publish(topic, QoS::AtLeastOnce, false, "{\"t\":21.5}").await.expect("queued");
    while !matches!(events.poll().await.expect("connected"), Event::Incoming(Packet::PubAck(_))) {}
    // There already: a page does not wait for it.
    let page = house.page(&cookie, "GET", "/messages?from=earliest&wait_s=20", Json::Null).await.json();
    let message = &page["items"][0];
    let annotations = &message["annotations"];
    assert_eq!(annotations["iothub-connection-device-id"], "leaf-01");
    assert_eq!(annotations["iothub-connection-auth-generation-id"], made.json()["generation"]);
    assert_eq!(annotations["iothub-message-source"], "Telemetry");
    assert_eq!((&annotations["x-opt-sequence-number"], &annotations["x-opt-offset"]), (&json!(0), &json!("1")), "{message}");
    assert!(annotations["iothub-enqueuedtime"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "{message}");
    assert_eq!(annotations["iothub-enqueuedtime"], annotations["x-opt-enqueued-time"]);
    let method: Json = serde_json::from_str(annotations["iothub-connection-auth-method"].as_str().expect("told")).expect("JSON in text");
    assert_eq!((&method["scope"], &method["issuer"]), (&json!("device"), &json!("iothub")));
    let system = &message["properties"]["system"];
    assert_eq!(
        (&system["content_type"], &system["content_encoding"], &system["message_id"]),
        (&json!("application/json"), &json!("utf-8"), &json!("m1"))
    );
    assert_eq!((&message["properties"]["application"], &message["payload"]), (&json!({ "severity": "2" }), &json!({ "t": 21.5 })));
    assert_eq!(message["partition"], json!(partition("leaf-01")));
}

#[tokio::test]
async fn whoever_reads_alone_begins_where_they_say_and_waits_for_what_comes() {
    let house = house().await;
    let cookie = house.claim().await;
    let viewer = house.token(&cookie, "viewer").await;
    let devices = devices();
    keep(&house, &devices[1], 0..10).await;
    keep(&house, &devices[2], 10..15).await;
    let read = async |query: &str| house.program(&viewer, "GET", &format!("/messages?{query}"), Json::Null).await;
    let page = read("from=earliest&limit=100").await.json();
    assert_eq!(numbers(&page), (0..15).collect::<Vec<_>>(), "in the log's order");
    assert_eq!(page["partitions"], json!([0, 1, 2, 3]));
    let one = &page["items"][3]["annotations"];
    let behind = [format!("offset:{}", one["x-opt-offset"].as_str().expect("text")), format!("sequence:{}", one["x-opt-sequence-number"])];
    for from in behind {
        assert_eq!(numbers(&read(&format!("from={from}&partition=1")).await.json()), (4..10).collect::<Vec<_>>(), "{from}");
    }
    let last = page["items"][14]["annotations"]["x-opt-enqueued-time"].as_i64().expect("a time");
    assert_eq!(numbers(&read(&format!("from=time:{last}")).await.json()), [0; 0]);
    assert_eq!(numbers(&read("from=time:2001-01-01T00:00:00Z&partition=2").await.json()), (10..15).collect::<Vec<_>>());
    // Page by page, with a share for each partition.
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..15 {
        let page = read(&format!("from=earliest&limit=4&after={after}")).await.json();
        seen.extend(numbers(&page));
        after = page["next"].as_str().expect("told").to_owned();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..15).collect::<Vec<_>>());
    // Nothing yet: it waits, and not longer than until something comes.
    assert_eq!(numbers(&read("from=latest").await.json()), [0; 0]);
    let query = format!("after={after}&wait_s=50");
    let (page, ()) = tokio::join!(read(&query), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        keep(&house, &devices[3], 15..16).await;
    });
    assert_eq!(numbers(&page.json()), [15]);
    for (query, status) in [
        ("wait_s=61", 422),
        ("partition=4", 422),
        ("from=yesterday", 422),
        ("from=offset:-1", 422),
        ("from=time:x", 422),
        ("after=x", 422),
        ("limit=x", 400),
        ("consumer=x&unknown=1", 400),
    ] {
        assert_eq!(read(query).await.status, status, "{query}");
    }
    assert_eq!(read("group=g").await.status, 403, "a group keeps something: that is for operators");
}

#[tokio::test]
async fn a_group_goes_on_where_it_was_and_its_readers_share_the_partitions() {
    let house = house().await;
    let cookie = house.claim().await;
    let token = house.token(&cookie, "operator").await;
    let read = async |query: &str| house.program(&token, "GET", &format!("/messages?{query}"), Json::Null).await;
    let devices = devices();
    // `latest` is where the group first asked, also when it asks again.
    assert_eq!(numbers(&read("group=g&consumer=a").await.json()), [0; 0]);
    for (at, device) in devices.iter().enumerate() {
        keep(&house, device, at as u64 * 10..at as u64 * 10 + 5).await;
    }
    let first = read("group=g&consumer=a").await.json();
    assert_eq!(numbers(&first).len(), 20);
    // It crashed: what it did not say that it had dealt with comes again.
    assert_eq!(numbers(&read("group=g&consumer=a").await.json()), numbers(&first));
    let next = first["next"].as_str().expect("told").to_owned();
    assert_eq!(numbers(&read(&format!("group=g&consumer=a&after={next}")).await.json()), [0; 0]);
    assert_eq!(numbers(&read("group=g&consumer=a").await.json()), [0; 0], "it is dealt with");
    // Two of one name at once are refused, in words.
    let (one, other) = tokio::join!(read("group=g&consumer=a&wait_s=2"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        read("group=g&consumer=a").await
    });
    assert_eq!((one.status, other.code().as_str()), (200, "consumer-busy"), "{other:?}");
    // A second reader gets its share when the first one has asked again.
    assert_eq!(read("group=g&consumer=b").await.json()["partitions"], json!([]));
    assert_eq!(read("group=g&consumer=a").await.json()["partitions"], json!([0, 1]));
    assert_eq!(read("group=g&consumer=b").await.json()["partitions"], json!([2, 3]));
    for (at, device) in devices.iter().enumerate() {
        keep(&house, device, at as u64 * 10 + 5..at as u64 * 10 + 10).await;
    }
    let (a, b) = tokio::join!(read("group=g&consumer=a"), read("group=g&consumer=b"));
    let sets = [a, b].map(|page| numbers(&page.json()).into_iter().collect::<BTreeSet<_>>());
    assert!(sets[0].is_disjoint(&sets[1]) && sets[0].len() + sets[1].len() == 20, "{sets:?}");
    for name in ["c", "d"] {
        read(&format!("group=g&consumer={name}")).await;
    }
    assert_eq!(read("group=g&consumer=e").await.code(), "group-full");
    // Who reads, and where the group is.
    let groups = house.program(&token, "GET", "/messages/groups", Json::Null).await.json();
    assert_eq!(groups["items"][0]["group"], "g");
    assert_eq!(groups["items"][0]["consumers"].as_array().map(Vec::len), Some(4));
    assert_eq!(groups["items"][0]["partitions"][1]["sequence_number"], 5, "{groups}");
    let progress = json!({ "after": next });
    let kept = house.program(&token, "POST", "/messages/groups/g/progress", progress).await;
    assert_eq!(kept.status, 204, "{kept:?}");
    let on_disk = house.service.ends.parts.state.groups().await.expect("readable");
    assert_eq!(on_disk[0].1.iter().map(|one| one.number).collect::<Vec<_>>(), [Some(5); 4]);
    for (method, path, status) in [
        ("POST", "/messages/groups/g/progress", 422),
        ("POST", "/messages/groups/a%20b/progress", 422),
        ("DELETE", "/messages/groups/nobody", 404),
        ("DELETE", "/messages/groups/g", 204),
        ("DELETE", "/messages/groups/g", 404),
    ] {
        assert_eq!(house.program(&token, method, path, json!({ "after": "?" })).await.status, status, "{method} {path}");
    }
    assert_eq!(numbers(&read("group=g&from=earliest").await.json()).len(), 40, "it begins anew");
    assert_eq!(read("group=g&partition=1").await.status, 422);
    assert_eq!(read("group=a%20b").await.status, 422);
    assert_eq!(read("group=$Default").await.status, 200);
}

#[tokio::test]
async fn a_stream_gives_pages_and_goes_on_behind_the_last_event() {
    let house = house().await;
    let cookie = house.claim().await;
    let token = house.token(&cookie, "operator").await;
    keep(&house, "boiler", 0..5).await;
    let stream = async |headers: &str, until: &str| {
        let mut connection = house.connect().await;
        let head = format!(
            "GET /api/v1/messages?group=s&from=earliest HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n{headers}\r\n",
            house.address
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        let mut text = String::new();
        let mut bytes = [0; 4096];
        while !text.contains(until) {
            let read = tokio::time::timeout(Duration::from_secs(20), connection.read(&mut bytes)).await.expect("in time").expect("open");
            assert!(read > 0, "ended: {text}");
            text += &String::from_utf8_lossy(&bytes[..read]);
        }
        (connection, text)
    };
    let (connection, text) = stream("", "\"n\":4").await;
    assert!(text.contains("content-type: text/event-stream") && text.contains("event: messages"), "{text}");
    let id = text.lines().find_map(|line| line.strip_prefix("id: ")).expect("has an id").trim().to_owned();
    // It reads still: nobody else of its name does.
    let busy = house.program(&token, "GET", "/messages?group=s", Json::Null).await;
    assert_eq!(busy.code(), "consumer-busy");
    drop(connection);
    // A reader that comes back with the id of the last event has dealt with it.
    keep(&house, "boiler", 5..6).await;
    until(async || house.program(&token, "GET", "/messages?group=s&limit=1", Json::Null).await.status == 200).await;
    let (_connection, text) = stream(&format!("Last-Event-ID: {id}\r\n"), "\"n\":5").await;
    assert!(!text.contains("\"n\":4"), "{text}");
}

#[tokio::test]
async fn what_went_before_it_could_be_read_is_told_by_its_count() {
    let house = house_with("tls = false\n[log]\nmax_size = \"1MiB\"").await;
    let cookie = house.claim().await;
    keep(&house, "boiler", 0..5).await;
    let first = house.page(&cookie, "GET", "/messages?group=g&from=earliest", Json::Null).await.json();
    let (mut after, mut missed, mut seen) = (first["next"].as_str().expect("told").to_owned(), 0, 5);
    for n in 0..40 {
        keep(&house, "boiler", n * 1000 + 5..n * 1000 + 1005).await;
    }
    loop {
        let page = house.page(&cookie, "GET", &format!("/messages?group=g&limit=1000&after={after}"), Json::Null).await.json();
        after = page["next"].as_str().expect("told").to_owned();
        let counts: BTreeMap<String, u64> = serde_json::from_value(page["missed"].clone()).expect("counts");
        missed += counts.values().sum::<u64>();
        let read = numbers(&page).len();
        seen += read as u64;
        if read == 0 {
            break;
        }
    }
    assert!(missed > 0, "there was no room for all");
    assert_eq!(missed + seen, 40_005, "{missed} missed, {seen} seen");
}
