//! Commands from the page: kept, guarded, told truthfully, and listed.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tidegate_core::{
    command::{Action, Outcome},
    id::LeafId,
    profile::{RawWrite, Takes},
};

use super::*;
use crate::{leaf::Order, router::route::Taker};

/// Does as it is told, unless it is away or stuck.
#[derive(Debug, Default)]
struct Obedient {
    away: AtomicBool,
    stuck: AtomicBool,
}

impl Taker for Obedient {
    fn offer(&self, order: Order) -> Result<(), Order> {
        let stuck = self.stuck.load(SeqCst);
        tokio::spawn(async move {
            if let Some(command) = order.begin.await {
                let Action::Write(values) = command.action else { panic!("{command:?}") };
                let outcome = if stuck { Outcome::Failed("it is stuck".to_owned()) } else { Outcome::Done(values) };
                order.outcome.send(outcome).ok();
            }
        });
        Ok(())
    }

    fn away(&self, _: &LeafId) -> Option<String> {
        self.away.load(SeqCst).then(|| "gone for a walk".to_owned())
    }
}

async fn house_with_a_valve() -> (House, Arc<Obedient>) {
    let house = house().await;
    let write = RawWrite { writable: Some(true), ..RawWrite::default() };
    let raw = RawPoint { min: Some(0.0), max: Some(80.0), write, ..RawPoint::default() };
    let mut problems = Problems::default();
    let takes = Takes::Whole { least: 0, most: 1000 };
    let point = raw.check_with("opening".parse().expect("valid"), takes, &mut problems);
    assert!(problems.list().is_empty(), "{:?}", problems.list());
    let profile = LeafProfile {
        id: "valve".parse().expect("valid"),
        points: vec![point],
        class: Class::Telemetry,
        ttl: None,
        properties: Properties::default(),
    };
    let valve = Arc::new(Obedient::default());
    let taker: Arc<dyn Taker> = valve.clone();
    house.service.ends.router.routes().attach("bus", &[profile], &taker);
    (house, valve)
}

#[tokio::test]
async fn a_write_takes_the_way_of_every_command_and_is_told_truthfully() {
    let (house, valve) = house_with_a_valve().await;
    let cookie = house.claim().await;
    let write = async |path: &str, value: Json, wait: u8| {
        let body = json!({ "write": [{ "point": "opening", "value": value }], "wait_s": wait });
        house.page(&cookie, "POST", path, body).await
    };
    let done = write("/devices/valve/commands", json!(21), 20).await;
    assert_eq!(
        (done.status, &done.json()["outcome"], &done.json()["values"]),
        (200, &json!("done"), &json!({ "opening": 21 })),
        "{done:?}"
    );
    // The guard says no, in words, and nothing reached the device.
    let refused = write("/devices/valve/commands", json!(81), 20).await.json();
    assert_eq!(refused["outcome"], "rejected");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("80")), "{refused}");
    assert_eq!(write("/devices/nobody/commands", json!(1), 0).await.code(), "not-found");
    // It is away: kept, and nothing is claimed.
    valve.away.store(true, SeqCst);
    let waits = write("/devices/valve/commands", json!(30), 0).await.json();
    assert_eq!(waits["outcome"], Json::Null);
    let inbox = house.page(&cookie, "GET", "/inbox", Json::Null).await.json();
    let entry =
        inbox["items"].as_array().and_then(|items| items.iter().find(|entry| entry["id"] == waits["id"])).expect("is listed").clone();
    assert_eq!((&entry["state"], &entry["who"], &entry["source"]), (&json!("waiting"), &json!("ada"), &json!("local")), "{entry}");
    assert_eq!(house.page(&cookie, "DELETE", &format!("/inbox/{}", entry["seq"]), Json::Null).await.status, 404, "it is not dead");
    valve.away.store(false, SeqCst);
    until(async || house.page(&cookie, "GET", "/inbox", Json::Null).await.json()["items"] == json!([])).await;
    let written = house.page(&cookie, "GET", "/writes", Json::Null).await.json();
    let last = written["items"].as_array().and_then(|acts| acts.iter().find(|act| act["event"] == "done")).cloned();
    assert!(last.as_ref().is_some_and(|act| act["what"].as_str().is_some_and(|what| what.contains("30"))), "{written}");
    // A dead one can be tried again or let go.
    valve.stuck.store(true, SeqCst);
    assert_eq!(write("/devices/valve/commands", json!(40), 20).await.json()["outcome"], "failed");
    let first = async || house.page(&cookie, "GET", "/inbox", Json::Null).await.json()["items"][0].clone();
    let dead = first().await;
    assert_eq!((&dead["state"], &dead["outcome"], &dead["reason"]), (&json!("dead"), &json!("failed"), &json!("it is stuck")), "{dead}");
    valve.stuck.store(false, SeqCst);
    let again = house.page(&cookie, "POST", &format!("/inbox/{}/retry", dead["seq"]), Json::Null).await;
    assert_eq!((again.status, &again.json()["outcome"]), (200, &json!("done")), "{again:?}");
    assert_eq!(first().await, Json::Null, "the dead one has gone");
    valve.stuck.store(true, SeqCst);
    write("/devices/valve/commands", json!(41), 20).await;
    let dead = first().await;
    assert_eq!(house.page(&cookie, "DELETE", &format!("/inbox/{}", dead["seq"]), Json::Null).await.status, 204);
    assert_eq!(house.page(&cookie, "DELETE", &format!("/inbox/{}", dead["seq"]), Json::Null).await.status, 404);
}

#[tokio::test]
async fn who_may_only_look_may_not_write_and_nonsense_is_named() {
    let (house, _valve) = house_with_a_valve().await;
    let cookie = house.claim().await;
    let viewer = house.token(&cookie, "viewer").await;
    let body = json!({ "write": [{ "point": "opening", "value": 1 }] });
    assert_eq!(house.program(&viewer, "POST", "/devices/valve/commands", body).await.status, 403);
    assert_eq!(house.program(&viewer, "GET", "/inbox", Json::Null).await.status, 200);
    let many: Vec<Json> = (0..300).map(|n| json!({ "point": format!("p{n}"), "value": 1 })).collect();
    for (body, status) in [
        (json!({ "write": [] }), 422),
        (json!({ "write": many }), 422),
        (json!({ "write": [{ "point": "a b", "value": 1 }] }), 422),
        (json!({ "write": [{ "point": "opening", "value": [1] }] }), 422),
        (json!({ "write": [{ "point": "opening", "value": 1 }], "wait_s": 51 }), 422),
        (json!({ "raw": 1 }), 422),
    ] {
        assert_eq!(house.page(&cookie, "POST", "/devices/valve/commands", body.clone()).await.status, status, "{body}");
    }
    for path in ["/inbox/x/retry", "/inbox/18446744073709551615/retry", "/inbox/7/retry"] {
        assert_eq!(house.page(&cookie, "POST", path, Json::Null).await.status, 404, "{path}");
    }
    assert_eq!(house.page(&cookie, "GET", "/inbox?after=x", Json::Null).await.code(), "malformed");
}
