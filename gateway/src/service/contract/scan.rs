//! Searches: begun, watched, ended; refused where they make no sense; and nobody's bus is busy for a page that was closed.

use tidegate_adapters::modbus::{
    plan::Table,
    simulator::{Behaviour, Simulator},
    transport::Framing,
};
use tokio::net::TcpListener;

use super::*;

/// A plant with unit 3, and unit 4 that says nothing; and where it is.
async fn plant() -> SocketAddr {
    let simulator = Simulator::new();
    simulator.set(3, Table::Holding, 0, &[215]);
    simulator.identify(3, &[(0, "Contoso")]);
    simulator.behave(4, Behaviour::Silent);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(simulator.serve_tcp(listener, Framing::Mbap));
    address
}

#[tokio::test]
async fn a_search_is_watched_until_it_has_ended_and_shows_what_it_found() {
    let (house, plant) = (house().await, plant().await);
    let cookie = house.claim().await;
    let kinds = house.page(&cookie, "GET", "/kinds", Json::Null).await.json();
    let options =
        |kind: &str| kinds["adapters"].as_array().and_then(|all| all.iter().find(|one| one["name"] == kind)).map(|one| one["scan"].clone());
    for kind in ["modbus", "serial", "ble"] {
        assert!(options(kind).is_some_and(|options| options["properties"].is_object()), "{kind}");
    }
    let request = json!({ "kind": "modbus", "options": { "address": plant.to_string(), "units": "1-5", "timeout": "50ms" } });
    let estimate = house.page(&cookie, "POST", "/scans/estimate", request.clone()).await.json();
    assert_eq!(estimate["longest_s"], 1.5);
    let begun = house.page(&cookie, "POST", "/scans", request).await;
    assert_eq!((begun.status, &begun.json()["state"], &begun.json()["who"]), (201, &json!("running"), &json!("ada")), "{begun:?}");
    let id = begun.json()["id"].as_str().expect("an id").to_owned();
    let (mut seen, mut scan) = (0, Json::Null);
    until(async || {
        scan = house.page(&cookie, "GET", &format!("/scans/{id}?seen={seen}&wait_s=5"), Json::Null).await.json();
        let revision = scan["revision"].as_u64().expect("a number");
        assert!(revision >= seen, "{scan}");
        seen = revision;
        scan["state"] != "running"
    })
    .await;
    assert_eq!((&scan["state"], &scan["done"], &scan["total"]), (&json!("finished"), &json!(5), &json!(5)), "{scan}");
    let found = &scan["found"][0];
    assert_eq!((scan["found"].as_array().map(Vec::len), &found["known"]), (Some(1), &Json::Null));
    assert!(found["facts"].as_array().is_some_and(|facts| facts.contains(&json!({ "name": "vendor", "value": "Contoso" }))), "{found}");
    assert_eq!((&found["section"]["address"], &found["section"]["device"][0]["unit"]), (&json!(plant.to_string()), &json!(3)));
    // Set up, the same finding says whose it is.
    let text = format!(
        "[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{plant}\"\n[[adapter.device]]\nid = \"meter\"\nunit = 3\n\
         point = [{{ name = \"t\", register = \"holding\", address = 0 }}]\n"
    );
    std::fs::create_dir_all(house.etc.join("devices.d")).expect("made");
    std::fs::write(house.etc.join("devices.d/plant.toml"), text).expect("written");
    let list = house.page(&cookie, "GET", "/scans", Json::Null).await.json();
    assert_eq!(list["items"][0]["found"][0]["known"], "meter");
    assert_eq!(house.page(&cookie, "DELETE", &format!("/scans/{id}"), Json::Null).await.status, 204);
    assert_eq!(house.page(&cookie, "GET", &format!("/scans/{id}"), Json::Null).await.code(), "not-found");
    assert_eq!(house.page(&cookie, "DELETE", &format!("/scans/{id}"), Json::Null).await.code(), "not-found");
}

#[tokio::test]
async fn a_search_can_be_ended_and_there_are_only_so_many_at_a_time() {
    let (house, plant) = (house().await, plant().await);
    let cookie = house.claim().await;
    let request = json!({ "kind": "modbus", "options": { "address": plant.to_string(), "units": "4", "timeout": "10s" } });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(house.page(&cookie, "POST", "/scans", request.clone()).await.json()["id"].as_str().expect("begun").to_owned());
    }
    assert_eq!(house.page(&cookie, "POST", "/scans", request.clone()).await.code(), "busy");
    assert_eq!(house.page(&cookie, "DELETE", &format!("/scans/{}", ids[0]), Json::Null).await.status, 204);
    let ended = house.page(&cookie, "GET", &format!("/scans/{}", ids[0]), Json::Null).await.json();
    assert_eq!(ended["state"], "stopped");
    assert_eq!(house.page(&cookie, "POST", "/scans", request).await.status, 201, "there is room again");
}

#[tokio::test]
async fn what_makes_no_sense_is_named_and_who_may_only_look_may_not_search() {
    let house = house().await;
    let cookie = house.claim().await;
    let viewer = house.token(&cookie, "viewer").await;
    assert_eq!(house.program(&viewer, "POST", "/scans", json!({ "kind": "serial" })).await.status, 403);
    assert_eq!(house.program(&viewer, "GET", "/scans", Json::Null).await.status, 200);
    for (request, field) in [
        (json!({ "kind": "telepathy" }), "kind"),
        (json!({ "kind": "modbus" }), "options.address"),
        (json!({ "kind": "modbus", "options": { "address": "192.0.2.0/8" } }), "options.address"),
        (json!({ "kind": "modbus", "options": [1] }), "options.given"),
        (json!({ "kind": "serial", "options": { "listen": "0s", "port": "/dev/null" } }), "options.listen"),
        (json!({ "kind": "ble", "options": { "radio": "x" } }), "options.radio"),
    ] {
        for path in ["/scans", "/scans/estimate"] {
            let refused = house.page(&cookie, "POST", path, request.clone()).await;
            assert_eq!((refused.status, &refused.json()["fields"][0]["path"]), (422, &json!(field)), "{request} {path} {refused:?}");
        }
    }
    assert_eq!(house.page(&cookie, "GET", "/scans/1?wait_s=31", Json::Null).await.status, 422);
    // One that cannot go on says why.
    let request = json!({ "kind": "modbus", "options": { "transport": "rtu", "port": "/dev/nowhere" } });
    let id = house.page(&cookie, "POST", "/scans", request).await.json()["id"].as_str().expect("begun").to_owned();
    let mut scan = Json::Null;
    until(async || {
        scan = house.page(&cookie, "GET", &format!("/scans/{id}"), Json::Null).await.json();
        scan["state"] == "failed"
    })
    .await;
    assert!(scan["why"].as_str().is_some_and(|why| why.contains("/dev/nowhere")), "{scan}");
}

#[tokio::test]
async fn a_pairing_that_cannot_be_is_refused_beside_its_field_and_one_without_a_radio_says_why() {
    let house = house().await;
    let cookie = house.claim().await;
    let kinds = house.page(&cookie, "GET", "/kinds", Json::Null).await.json();
    let able: Vec<_> =
        kinds["adapters"].as_array().into_iter().flatten().filter(|kind| kind["pair"].is_object()).map(|kind| &kind["name"]).collect();
    assert_eq!(able, ["ble"]);
    let begin = |options: Json| json!({ "kind": "ble", "options": options });
    for (request, field) in [
        (json!({ "kind": "modbus" }), "kind"),
        (begin(json!({ "address": "somewhere" })), "options.address"),
        (begin(json!({ "address": "A4:C1:38:8D:18:B2", "bus": "unixexec:path=/bin/sh" })), "options.bus"),
    ] {
        let refused = house.page(&cookie, "POST", "/pairings", request).await;
        assert_eq!((refused.status, &refused.json()["fields"][0]["path"]), (422, &json!(field)));
    }
    let nowhere = house.etc.join("no-bus");
    let request = begin(json!({ "address": "A4:C1:38:8D:18:B2", "bus": format!("unix:path={}", nowhere.display()) }));
    let begun = house.page(&cookie, "POST", "/pairings", request).await;
    assert_eq!((begun.status, &begun.json()["who"]), (201, &json!("ada")), "{begun:?}");
    let at = format!("/pairings/{}", begun.json()["id"].as_str().expect("an id"));
    let mut pairing = Json::Null;
    until(async || {
        pairing = house
            .page(&cookie, "GET", &format!("{at}?wait_s=1&seen={}", pairing["revision"].as_u64().unwrap_or(0)), Json::Null)
            .await
            .json();
        pairing["state"] != "running"
    })
    .await;
    assert_eq!(pairing["state"], "failed");
    assert!(pairing["why"].as_str().is_some_and(|why| why.contains("no D-Bus")), "{pairing}");
    let answer = house.page(&cookie, "POST", &format!("{at}/answer"), json!({ "passkey": "123456" })).await;
    assert_eq!(answer.code(), "busy", "it asks nothing");
    assert_eq!(house.page(&cookie, "POST", &format!("{at}/answer"), json!({ "passkey": "12 3" })).await.status, 422);
    assert_eq!(house.page(&cookie, "DELETE", &at, Json::Null).await.status, 204);
    assert_eq!(house.page(&cookie, "GET", &at, Json::Null).await.code(), "not-found");
}
