//! Commands of people on this machine: the same inbox, the same guard and the same audit as the hub's, and no cloud needed.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidegate_core::id::MessageId;
use tidegate_store::inbox::{Answer, Entry, Origin, State};
use tokio::sync::oneshot;

use crate::{
    outcome::Told,
    request::{Request, write_request},
    router::{Asked, Router, Sign},
};

/// The source of local commands in inbox and audit.
pub(crate) const SOURCE: &str = "local";
/// Longest that the command line waits for an outcome; below the control socket's own patience.
const MOST_WAIT: Duration = Duration::from_secs(50);

/// Keeps a write and waits a while for its outcome.
pub(crate) async fn write(router: &Router, who: String, leaf: String, pairs: Vec<(String, Json)>, wait: Duration) -> Json {
    submit(router, who, leaf, write_request(pairs), wait).await
}

async fn submit(router: &Router, who: String, leaf: String, request: Result<Request, String>, wait: Duration) -> Json {
    let (teller, told) = oneshot::channel();
    let id = MessageId::fresh().to_string();
    let origin = Origin { source: SOURCE.to_owned(), who, id: id.clone() };
    let asked =
        Asked { origin, leaf: Some(leaf), request, expires: None, again: false, receipt: None, sign: Sign::Stored, teller: Some(teller) };
    if let Err(error) = router.submit(asked).await {
        return json!({ "error": error.to_string() });
    }
    match tokio::time::timeout(wait.min(MOST_WAIT), told).await {
        Ok(Ok(told)) => view(&id, &told),
        Ok(Err(_)) => json!({ "error": "it could not be kept; see the log of the program" }),
        Err(_) => json!({ "command": id, "outcome": null }),
    }
}

fn view(id: &str, told: &Told) -> Json {
    let mut object = told.view();
    object.insert("command".to_owned(), id.into());
    Json::Object(object)
}

/// Has a dead command carried out after all: the same words as a new command of whoever asks. The dead one goes.
pub(crate) async fn retry(router: &Router, who: String, seq: u64, wait: Duration) -> Json {
    let entry = match dead(router, seq).await {
        Ok(entry) => entry,
        Err(answer) => return answer,
    };
    let answer = submit(router, who, entry.command.leaf.to_string(), Request::from_stored(&entry.command.body), wait).await;
    // Only when the new one is kept may the old one go.
    if answer.get("error").is_none() && answer["outcome"] != "rejected" {
        router.inbox().delete(seq).await.ok();
    }
    answer
}

/// Lets a dead command go.
pub(crate) async fn delete(router: &Router, seq: u64) -> Json {
    if let Err(answer) = dead(router, seq).await {
        return answer;
    }
    match router.inbox().delete(seq).await {
        Ok(Answer::Done(_)) => json!({ "deleted": seq }),
        Ok(_) => json!({ "error": format!("there is no dead command {seq}") }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

async fn dead(router: &Router, seq: u64) -> Result<Entry, Json> {
    match router.inbox().find(seq).await {
        Ok(Some(entry)) if entry.state == State::Dead && !entry.damaged => Ok(entry),
        Ok(Some(entry)) if entry.state != State::Dead => {
            Err(json!({ "error": format!("command {seq} is not dead: it still waits for its leaf, or is being carried out") }))
        }
        Ok(_) => Err(json!({ "error": format!("there is no dead command {seq} that can be read") })),
        Err(error) => Err(json!({ "error": error.to_string() })),
    }
}
