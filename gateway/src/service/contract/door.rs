//! Claim, log-in, roles, origins, cookies, tokens.

use serde_json::Value;
use tidegate_webui::openapi;

use super::*;

#[tokio::test]
async fn a_gateway_is_claimed_once_with_the_code_that_is_shown() {
    let house = house().await;
    let session = house.ask("GET", "/session", &[], "").await;
    assert_eq!((session.json()["claimed"].clone(), session.json()["user"].clone()), (json!(false), Value::Null));
    assert_eq!(house.ask("GET", "/overview", &[], "").await.code(), "not-claimed");
    let wrong = json!({ "code": "AAAA-AAAA", "name": "eve", "password": PASSWORD });
    assert_eq!(house.page("", "POST", "/claim", wrong.clone()).await.code(), "wrong-code");
    let weak = json!({ "code": house.code, "name": "ada", "password": "short" });
    let weak = house.page("", "POST", "/claim", weak).await;
    assert_eq!((weak.status, weak.json()["fields"][0]["path"].clone()), (422, json!("password")));
    let cookie = house.claim().await;
    assert_eq!(house.page("", "POST", "/claim", wrong).await.code(), "already-claimed");
    let session = house.page(&cookie, "GET", "/session", Value::Null).await.json();
    assert_eq!((session["user"]["name"].clone(), session["user"]["role"].clone()), (json!("ada"), json!("admin")));
    let audit = house.page(&cookie, "GET", "/audit", Value::Null).await.json();
    assert_eq!(audit["items"][1]["what"], "claim");
    assert!(!audit.to_string().contains(PASSWORD));
}

#[tokio::test]
async fn whoever_guesses_must_wait() {
    let house = house().await;
    let cookie = house.claim().await;
    let guess = json!({ "name": "ada", "password": "wrong wrong wrong" });
    let mut codes = Vec::new();
    for _ in 0..7 {
        codes.push(house.page("", "POST", "/login", guess.clone()).await.code());
    }
    assert_eq!(&codes[..4], ["wrong-login"; 4]);
    assert_eq!(codes[6], "slow-down");
    let stranger = json!({ "name": "nobody", "password": PASSWORD });
    let refused = house.page("", "POST", "/login", stranger).await;
    assert_eq!((refused.status, refused.headers["retry-after"].parse::<u64>().is_ok()), (429, true));
    let still = house.page(&cookie, "GET", "/overview", Value::Null).await;
    assert_eq!(still.status, 200, "who is in stays in");
}

/// Every operation of the document, with something for each part of its path.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(openapi()).expect("JSON");
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let path = path.trim_start_matches("/api/v1").split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        for method in methods.as_object().expect("methods").keys() {
            let query = match path.as_str() {
                "/live" => "?topics=health",
                "/log/export" => "?format=csv",
                "/devices/x/trend" => "?points=a",
                _ => "",
            };
            all.push((method.to_uppercase(), format!("{path}{query}")));
        }
    }
    all
}

#[tokio::test]
async fn nothing_is_answered_to_somebody_who_has_not_shown_who_they_are() {
    let open = ["/session", "/claim", "/login", "/logout"];
    let (mut asked, mut refused) = (0, 0);
    let asks = operations().into_iter().filter(|(_, path)| !open.contains(&path.as_str()) && !path.starts_with("/live"));
    // A house for some of them at a time: whoever asks for so much at once is slowed down.
    for some in asks.collect::<Vec<_>>().chunks(30) {
        let house = house().await;
        let admin = house.claim().await;
        let viewer = house.token(&admin, "viewer").await;
        for (method, path) in some {
            asked += 1;
            refused += usize::from(is_for_those_who_may(&house, &viewer, method, path).await);
        }
    }
    assert!(asked >= 35 && refused >= 15, "{asked} {refused}");
    let house = house().await;
    house.claim().await;
    let live = house.ask("GET", "/live?topics=health", &[], "").await;
    assert_eq!(live.code(), "not-logged-in");
}

/// Whether it is for more than viewers.
async fn is_for_those_who_may(house: &House, viewer: &str, method: &str, path: &str) -> bool {
    for headers in [vec![], vec![("Cookie", "tidegate=guess")], vec![("Authorization", "Bearer tg_guess")]] {
        let headers = [headers, vec![("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-origin")]].concat();
        let answer = house.ask(method, path, &headers, "{}").await;
        assert_eq!((answer.status, answer.code()), (401, "not-logged-in".to_owned()), "{method} {path}");
    }
    if path == "/me/password" {
        return false;
    }
    // A viewer looks; whatever changes something or shows who there is is for others.
    let answer = house.program(viewer, method, path, json!({})).await;
    let hidden =
        ["/users", "/tokens", "/audit", "/log/export", "/events/export", "/config/secrets", "/hub/feedback", "/backup", "/support-bundle"];
    let hidden = hidden.iter().any(|start| path.starts_with(start)) || path.ends_with("/keys");
    assert_eq!(answer.status == 403, method != "GET" || hidden, "{method} {path}: {answer:?}");
    answer.code() == "not-allowed"
}

#[tokio::test]
async fn a_change_that_another_site_asks_for_changes_nothing() {
    let house = house().await;
    let cookie = house.claim().await;
    let body = json!({ "name": "eve", "password": PASSWORD, "role": "admin" }).to_string();
    let own = format!("http://{}", house.address);
    let kind = ("Content-Type", "application/json");
    let session = ("Cookie", cookie.as_str());
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", &format!("{own}.evil.example")),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("X-Nothing", "said"),
    ] {
        let answer = house.ask("POST", "/users", &[session, kind, (name, value)], &body).await;
        assert_eq!((answer.status, answer.code()), (403, "other-origin".to_owned()), "{name}: {value}");
    }
    let form = house.ask("POST", "/users", &[session, ("Origin", &own), ("Content-Type", "text/plain")], &body).await;
    assert_eq!(form.code(), "media-type");
    // Not even a log-in, by which a stranger would have the victim work in the stranger's name.
    let login = json!({ "name": "ada", "password": PASSWORD }).to_string();
    let login = house.ask("POST", "/login", &[kind, ("Origin", "https://evil.example")], &login).await;
    assert_eq!(login.code(), "other-origin");
    assert_eq!(house.page(&cookie, "GET", "/users", Value::Null).await.json()["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(house.ask("POST", "/users", &[session, kind, ("Origin", &own)], &body).await.status, 201);
}

#[tokio::test]
async fn sessions_end_when_they_are_ended() {
    let house = house().await;
    let ada = house.claim().await;
    let bob = json!({ "name": "bob", "password": PASSWORD, "role": "operator" });
    assert_eq!(house.page(&ada, "POST", "/users", bob).await.status, 201);
    let enter = async || house.page("", "POST", "/login", json!({ "name": "bob", "password": PASSWORD })).await.cookie();
    let (one, two) = (enter().await, enter().await);
    let status = async |cookie: &str| house.page(cookie, "GET", "/overview", Value::Null).await.status;
    assert_eq!((status(&one).await, status(&two).await), (200, 200));
    let change = json!({ "old": PASSWORD, "new": "another horse battery" });
    assert_eq!(house.page(&one, "POST", "/me/password", change).await.status, 204);
    assert_eq!((status(&one).await, status(&two).await), (200, 401), "a new password ends the other sessions");
    let gone = house.page(&one, "POST", "/logout", Value::Null).await;
    assert!(gone.status == 204 && gone.headers["set-cookie"].contains("Max-Age=0"), "{gone:?}");
    assert_eq!(status(&one).await, 401);
    let three = house.page("", "POST", "/login", json!({ "name": "bob", "password": "another horse battery" })).await.cookie();
    assert_eq!(house.page(&ada, "DELETE", "/users/bob", Value::Null).await.status, 204);
    assert_eq!(status(&three).await, 401, "who has gone is out at once");
    assert_eq!(house.page(&ada, "DELETE", "/users/ada", Value::Null).await.code(), "last-admin");
    assert_eq!(house.page(&ada, "PATCH", "/users/ada", json!({ "role": "viewer" })).await.code(), "last-admin");
}

#[tokio::test]
async fn a_token_is_shown_once_and_never_more_than_its_user() {
    let house = house().await;
    let ada = house.claim().await;
    let token = house.token(&ada, "admin").await;
    assert!(token.starts_with("tg_"));
    let list = house.page(&ada, "GET", "/tokens", Value::Null).await;
    assert!(!list.body.contains(&token) && list.json()["items"][0]["name"] == "test");
    let made = house.program(&token, "POST", "/users", json!({ "name": "bob", "password": PASSWORD, "role": "admin" })).await;
    assert_eq!(made.status, 201, "a program needs no origin");
    let audit = house.program(&token, "GET", "/audit?limit=1", Value::Null).await.json();
    assert_eq!((audit["items"][0]["who"].clone(), audit["items"][0]["what"].clone()), (json!("ada/test"), json!("user.create")));
    // A wrong token does not fall back to the cookie beside it.
    let both = [("Cookie", ada.as_str()), ("Authorization", "Bearer tg_wrong")];
    assert_eq!(house.ask("GET", "/overview", &both, "").await.status, 401);
    let id = list.json()["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(house.page(&ada, "DELETE", &format!("/tokens/{id}"), Value::Null).await.status, 204);
    assert_eq!(house.program(&token, "GET", "/overview", Value::Null).await.status, 401);
}
