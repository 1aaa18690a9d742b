//! The box as a whole: a backup that comes back, a bundle without secrets, and no fresh start where nobody would make one.

use std::io::Read;

use flate2::read::GzDecoder;
use tokio::io::AsyncReadExt;

use super::*;

const SECRET: &str = "bm90IG91ciBrZXksIGJ1dCBhIGtleSBhbnl3YXk=";

#[tokio::test]
async fn a_backup_comes_back_as_a_change_like_any_other_and_holds_no_secret() {
    let house = house().await;
    let cookie = house.claim().await;
    let secret = json!({ "value": format!("HostName=h.example;DeviceId=gw;SharedAccessKey={SECRET}") });
    assert!(house.page(&cookie, "PUT", "/config/secrets/azure", secret).await.status < 300);
    let saved = house.page(&cookie, "GET", "/backup", Json::Null).await;
    assert_eq!(saved.status, 200, "{saved:?}");
    assert!(saved.headers["content-disposition"].contains("tidegate-backup.json") && !saved.body.contains(SECRET));
    let text = std::fs::read_to_string(house.etc.join("tidegate.toml")).expect("there");
    assert_eq!(saved.json()["files"]["tidegate.toml"], text, "comments and all");
    assert_eq!(saved.json()["needs"], json!(["secrets/azure"]));
    // Somebody changes it, and changes their mind.
    std::fs::create_dir_all(house.etc.join("devices.d")).expect("made");
    std::fs::write(house.etc.join("devices.d/new.toml"), "# new\n").expect("written");
    let read = house.page(&cookie, "POST", "/backup/read", json!({ "text": saved.body })).await.json();
    assert_eq!((&read["gateway"], &read["missing"]), (&json!("gw-01"), &json!([])));
    assert_eq!((&read["files"]["tidegate.toml"], &read["files"]["devices.d/new.toml"]), (&json!(text), &Json::Null));
    let edited = house.page(&cookie, "POST", "/config/edit", json!({ "files": read["files"], "edits": [] })).await;
    assert_eq!(edited.status, 200, "it can be reviewed: {edited:?}");
    for nonsense in ["", "{}", "[1]", "\0"] {
        let refused = house.page(&cookie, "POST", "/backup/read", json!({ "text": nonsense })).await;
        assert_eq!((refused.status, &refused.json()["fields"][0]["path"]), (422, &json!("text")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_support_bundle_tells_what_helps_and_no_secret_of_the_gateway_or_its_users() {
    let house = house().await;
    let cookie = house.claim().await;
    let token = house.token(&cookie, "admin").await;
    let secret = json!({ "value": format!("HostName=h.example;DeviceId=gw;SharedAccessKey={SECRET}") });
    assert!(house.page(&cookie, "PUT", "/config/secrets/azure", secret).await.status < 300);
    tracing::warn!(token, "somebody logs what nobody should");
    let asked = format!(
        "GET /api/v1/support-bundle HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n",
        house.address
    );
    let mut stream = house.connect().await;
    stream.write_all(asked.as_bytes()).await.expect("asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered");
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    // What comes in chunks has their sizes between; an archive of one piece has none.
    let mut archive = tar::Archive::new(GzDecoder::new(&answer[head..]));
    let mut pages = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("whole");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        pages.insert(entry.path().expect("a name").display().to_string(), text);
    }
    for name in ["status.json", "log.json", "gaps.json", "devices.json", "events.txt", "checks.txt", "configuration/tidegate.toml"] {
        assert!(pages.contains_key(&format!("tidegate-support/{name}")), "{name}: {:?}", pages.keys());
    }
    let whole = format!("{pages:?}");
    let session = cookie.split_once('=').expect("a cookie").1;
    for secret in [SECRET, PASSWORD, &token, session, &house.code, "$argon2"] {
        assert!(!whole.contains(secret), "{secret} is in it");
    }
}

#[tokio::test]
async fn nobody_ends_what_nobody_would_start_again() {
    let house = house().await;
    let cookie = house.claim().await;
    if std::env::var_os("INVOCATION_ID").is_none() {
        let refused = house.page(&cookie, "POST", "/restart", Json::Null).await;
        assert_eq!((refused.status, refused.code()), (409, "no-supervisor".to_owned()));
    }
}
