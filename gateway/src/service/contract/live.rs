//! The stream: first everything, then what changes, again after a loss only what was missed; and its end.

use serde_json::Value;

use super::*;

/// A stream that is read event by event.
struct Stream(TcpStream, String);

impl Stream {
    async fn open(house: &House, cookie: &str, topics: &str, last: Option<&str>) -> Self {
        let mut stream = house.connect().await;
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head = format!("GET /api/v1/live?topics={topics} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        Self(stream, String::new())
    }

    /// The next event: its name, its id, its data. `None` at the end.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        let read = async {
            loop {
                if let Some(start) = self.1.find("event: ")
                    && let Some(end) = self.1[start..].find("\n\n")
                {
                    let text = self.1[start..start + end].to_owned();
                    self.1.drain(..start + end);
                    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
                    let data = serde_json::from_str(&field("data: ")).expect("JSON");
                    return Some((field("event: "), field("id: "), data));
                }
                let mut bytes = vec![0; 4096];
                match self.0.read(&mut bytes).await {
                    Ok(0) | Err(_) => return None,
                    Ok(n) => self.1 += &String::from_utf8_lossy(&bytes[..n]),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("something comes")
    }
}

#[tokio::test]
async fn a_browser_that_comes_back_gets_what_it_missed_and_nothing_else() {
    let house = house().await;
    let cookie = house.claim().await;
    degrees(&house.leaf, 20);
    let mut stream = Stream::open(&house, &cookie, "device:boiler,device:nothing", None).await;
    let (name, _, hello) = stream.next().await.expect("hello");
    assert_eq!((name.as_str(), &hello["resumed"]), ("hello", &json!(false)));
    let (name, id, values) = stream.next().await.expect("values");
    assert_eq!((name.as_str(), &values["boiler"]["t"]["value"]), ("values", &json!(20)));
    // Many changes between two looks are one event with the last of them.
    (21..=1_000).for_each(|value| degrees(&house.leaf, value));
    let (_, _, values) = stream.next().await.expect("values");
    assert_eq!(values["boiler"]["t"]["value"], 1_000);
    drop(stream);
    let mut again = Stream::open(&house, &cookie, "device:boiler", Some(&id)).await;
    assert_eq!(again.next().await.expect("hello").2["resumed"], true);
    let (_, id, values) = again.next().await.expect("values");
    assert_eq!(values["boiler"]["t"]["value"], 1_000, "what was missed");
    drop(again);
    let mut again = Stream::open(&house, &cookie, "device:boiler,health", Some(&id)).await;
    again.next().await.expect("hello");
    assert_eq!(again.next().await.expect("health").0, "health", "no value that it has seen already");
    for nonsense in ["x", "1-2-3", "-1--1", &format!("9{id}"), "18446744073709551616-1-1"] {
        let mut again = Stream::open(&house, &cookie, "devices", Some(nonsense)).await;
        again.next().await.expect("hello");
        assert_eq!(again.next().await.expect("everything").2["boiler"]["t"]["value"], 1_000, "{nonsense}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_never_holds_up_a_stop() {
    let house = house().await;
    let ada = house.claim().await;
    let second = house.page("", "POST", "/login", json!({ "name": "ada", "password": PASSWORD })).await.cookie();
    let mut ended = Stream::open(&house, &second, "health", None).await;
    let mut stays = Stream::open(&house, &ada, "health", None).await;
    assert_eq!(ended.next().await.expect("hello").0, "hello");
    house.page(&second, "POST", "/logout", Value::Null).await;
    let mut last = None;
    while let Some(event) = ended.next().await {
        last = Some(event);
    }
    assert_eq!(last.expect("a farewell").2["why"], "session-ended");
    assert_eq!(stays.next().await.expect("hello").0, "hello");
    house.stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(10), house.served).await;
    assert!(stopped.expect("in time").expect("no panic").is_ok());
    let mut last = None;
    while let Some(event) = stays.next().await {
        last = Some(event);
    }
    assert_eq!(last.expect("a farewell").2["why"], "stopping");
}

#[tokio::test]
async fn one_session_cannot_take_all_streams() {
    let house = house().await;
    let cookie = house.claim().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = Stream::open(&house, &cookie, "health", None).await;
        stream.next().await.expect("hello");
        open.push(stream);
    }
    assert_eq!(house.page(&cookie, "GET", "/live?topics=health", Value::Null).await.code(), "slow-down");
    open.clear();
    until(async || {
        let mut stream = Stream::open(&house, &cookie, "health", None).await;
        stream.0.read_u8().await.is_ok() && {
            let mut head = vec![0; 16];
            stream.0.read_exact(&mut head).await.is_ok() && head.starts_with(b"TTP/1.1 200")
        }
    })
    .await;
}
