//! Conditional changes, trials, history.

use serde_json::Value;

use super::*;

impl House {
    fn text(&self) -> String {
        std::fs::read_to_string(self.etc.join("tidegate.toml")).expect("there")
    }

    async fn etag(&self, cookie: &str) -> String {
        self.page(cookie, "GET", "/config", Value::Null).await.headers["etag"].clone()
    }

    async fn apply(&self, cookie: &str, etag: &str, body: Value) -> Answer {
        let origin = format!("http://{}", self.address);
        let headers = [("Cookie", cookie), ("Origin", &origin), ("Content-Type", "application/json"), ("If-Match", etag)];
        let headers = if etag.is_empty() { &headers[..3] } else { &headers[..] };
        self.ask("POST", "/config/apply", headers, &body.to_string()).await
    }
}

fn cloud(window: u32) -> Value {
    json!({ "edits": [{ "at": ["upstream", "cloud", "window"], "set": window }] })
}

#[tokio::test]
async fn a_change_names_what_it_changes_and_the_second_of_two_hears_of_the_first() {
    let house = house().await;
    let cookie = house.claim().await;
    let (before, etag) = (house.text(), house.etag(&cookie).await);
    let edited = house.page(&cookie, "POST", "/config/edit", cloud(1024)).await.json();
    assert_eq!(edited["check"]["change"]["upstreams"]["changed"], json!(["cloud"]), "{edited}");
    assert_eq!(house.text(), before, "an edit saves nothing");
    let body = json!({ "files": edited["files"], "comment": "more at once" });
    assert_eq!(house.apply(&cookie, "", body.clone()).await.code(), "if-match-needed");
    assert_eq!(house.apply(&cookie, "\"old\"", body.clone()).await.code(), "changed");
    let applied = house.apply(&cookie, &etag, body.clone()).await;
    assert_eq!((applied.status, applied.json()["trial"].clone()), (200, Value::Null), "{applied:?}");
    assert_eq!(house.text(), format!("{before}window = 1024\n"), "comments and order stay");
    let second = house.apply(&cookie, &etag, body).await;
    assert_eq!((second.code().as_str(), &second.headers["etag"]), ("changed", &applied.headers["etag"]));
    let wrong = json!({ "files": { "tidegate.toml": before.replace("mqtt", "pigeon") } });
    let wrong = house.apply(&cookie, &applied.headers["etag"], wrong).await;
    assert_eq!((wrong.code().as_str(), &wrong.json()["problems"][0]["file"]), ("config-problems", &json!("tidegate.toml")));
    let escape = json!({ "files": { "devices.d/../../evil.toml": "x" } });
    assert_eq!(house.apply(&cookie, "*", escape).await.code(), "invalid");
    let history = house.page(&cookie, "GET", "/config/history", Value::Null).await.json();
    assert_eq!((&history["items"][0]["comment"], &history["items"][0]["result"]), (&json!("more at once"), &json!("applied")));
    let past = house.page(&cookie, "GET", "/config/history/1", Value::Null).await.json();
    assert!(past["diff"].as_str().is_some_and(|diff| diff.contains("+window = 1024")), "{past}");
}

#[tokio::test]
async fn what_nobody_keeps_is_taken_back() {
    let house = house().await;
    let cookie = house.claim().await;
    let before = house.text();
    let on_trial = async || {
        let files = house.page(&cookie, "POST", "/config/edit", cloud(64)).await.json()["files"].clone();
        let body = json!({ "files": files, "trial_s": 20 });
        let applied = house.apply(&cookie, &house.etag(&cookie).await, body.clone()).await;
        assert_eq!(applied.status, 200, "{applied:?}");
        assert!(applied.json()["trial"]["left_s"].as_u64().is_some_and(|left| left >= 18), "{applied:?}");
        assert_eq!(house.apply(&cookie, "*", body).await.code(), "busy", "one at a time");
    };
    on_trial().await;
    let back = house.page(&cookie, "POST", "/config/trial/rollback", Value::Null).await;
    assert_eq!((back.status, house.text()), (200, before.clone()));
    assert_eq!(house.page(&cookie, "POST", "/config/trial/keep", Value::Null).await.code(), "busy");
    on_trial().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(21)).await;
    tokio::time::resume();
    house.service.mind_trial().await;
    assert_eq!(house.text(), before, "its time was over");
    let history = house.page(&cookie, "GET", "/config/history?limit=1", Value::Null).await.json();
    assert_eq!((&history["items"][0]["result"], &history["items"][0]["why"]), (&json!("rolled-back"), &json!("nobody kept it in time")));
    on_trial().await;
    assert_eq!(house.page(&cookie, "POST", "/config/trial/keep", Value::Null).await.status, 200);
    house.service.mind_trial().await;
    assert!(house.text().contains("window = 64"));
}

#[tokio::test]
async fn a_secret_is_kept_for_the_gateway_alone_and_never_shown_again() {
    let house = house().await;
    let cookie = house.claim().await;
    let text = "HostName=hub.example;DeviceId=gw-01;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0";
    let put =
        async |name: &str, value: Json| house.page(&cookie, "PUT", &format!("/config/secrets/{name}"), json!({ "value": value })).await;
    let kept = put("cloud", json!(format!("  {text}\n"))).await;
    assert_eq!(kept.status, 200, "{kept:?}");
    let path = kept.json()["path"].as_str().expect("a path").to_owned();
    assert_eq!(path, house.etc.join("secrets/cloud").display().to_string());
    assert_eq!(std::fs::read_to_string(&path).expect("there"), format!("{text}\n"));
    let listed = house.page(&cookie, "GET", "/config/secrets", Json::Null).await;
    assert_eq!(listed.json()["items"], json!([{ "name": "cloud", "path": path }]));
    let audit = house.page(&cookie, "GET", "/audit", Json::Null).await;
    assert!(audit.body.contains("config.secret") && !audit.body.contains("SharedAccessKey"), "{audit:?}");
    let all = house.page(&cookie, "GET", "/config/files/secrets/cloud", Json::Null).await;
    assert_eq!(all.status, 404, "it is no configuration file");
    for (name, value, status) in
        [("cloud", json!(""), 422), ("cloud", json!(" "), 422), ("cloud", json!("x".repeat(70_000)), 422), ("..%2Fx", json!("x"), 422)]
    {
        let answer = put(name, value).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
    let operator = house.token(&cookie, "operator").await;
    assert_eq!(house.program(&operator, "PUT", "/config/secrets/x", json!({ "value": "y" })).await.status, 403);
    assert_eq!(house.program(&operator, "GET", "/config/secrets", Json::Null).await.status, 403);
}
