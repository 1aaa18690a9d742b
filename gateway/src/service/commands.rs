//! Commands from the page: handed to the main loop as those of the command line are, so that inbox, guard and audit are the same.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value as Json};
use tidegate_core::id::LeafId;
use tidegate_store::inbox::State;
use tidegate_webui::{
    Problem,
    shape::{CommandView, InboxEntry, WriteAct, WriteRequest},
    site::Commands,
};
use tokio::sync::oneshot;

use super::{Service, no_log};
use crate::{
    control::{Ask, Request as ControlRequest},
    request::{Request, write_request},
};

/// Beyond the wait that was asked for, the main loop may be applying a configuration.
const PATIENCE: Duration = Duration::from_secs(30);

impl Service {
    async fn ask(&self, ask: Ask, who: &str, wait: Duration) -> Result<Json, Problem> {
        let (answer, answered) = oneshot::channel();
        let request = ControlRequest { ask, who: who.to_owned(), answer };
        self.ends.requests.send(request).await.map_err(|_| Problem::stopping())?;
        match tokio::time::timeout(wait + PATIENCE, answered).await {
            Ok(Ok(told)) => Ok(told),
            _ => Err(Problem::stopping()),
        }
    }
}

/// What the main loop said of a command, or that it could not be kept.
fn view(told: &Json) -> Result<CommandView, Problem> {
    let text = |key: &str| told[key].as_str().map(str::to_owned);
    if let Some(error) = text("error") {
        return Err(Problem::internal("keeping a command", error));
    }
    Ok(CommandView {
        id: text("command").unwrap_or_default(),
        outcome: text("outcome"),
        values: told["values"].as_object().cloned().unwrap_or_else(Map::new),
        reason: text("reason").unwrap_or_default(),
    })
}

fn wait_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn no_dead(seq: u64) -> Problem {
    Problem::not_found(format!("there is no dead command {seq}"))
}

impl Service {
    async fn is_dead(&self, seq: u64) -> Result<bool, Problem> {
        let entry = self.ends.parts.log.inbox().find(seq).await.map_err(no_log)?;
        Ok(entry.is_some_and(|entry| entry.state == State::Dead && !entry.damaged))
    }
}

#[async_trait]
impl Commands for Service {
    async fn command(&self, device: &str, write: Vec<WriteRequest>, who: &str, wait: Duration) -> Result<Option<CommandView>, Problem> {
        let known = LeafId::new(device).is_ok_and(|leaf| self.ends.router.routes().find(&leaf).is_some());
        if !known {
            return Ok(None);
        }
        let points: Vec<(String, Json)> = write.into_iter().map(|one| (one.point, one.value)).collect();
        // Told as a problem of the request and not kept: nobody but its sender has anything to learn from it.
        write_request(points.clone()).map_err(Problem::invalid)?;
        let told = self.ask(Ask::Write { leaf: device.to_owned(), points, wait_ms: wait_ms(wait) }, who, wait).await?;
        view(&told).map(Some)
    }

    async fn inbox(&self, from: u64, most: usize) -> Result<Vec<InboxEntry>, Problem> {
        let entries = self.ends.parts.log.inbox().list(from, most).await.map_err(no_log)?;
        let entry = |entry: tidegate_store::inbox::Entry| {
            let command = &entry.command;
            InboxEntry {
                seq: entry.seq,
                state: match entry.state {
                    State::Waiting => "waiting",
                    State::Begun => "begun",
                    State::Dead => "dead",
                },
                outcome: (entry.state == State::Dead).then(|| entry.outcome.clone()),
                device: command.leaf.to_string(),
                id: command.origin.id.clone(),
                source: command.origin.source.clone(),
                who: command.origin.who.clone(),
                what: Request::from_stored(&command.body).map_or_else(|_| "not readable".to_owned(), |request| request.in_words()),
                came: command.life.came.wall.to_string(),
                deliveries: entry.deliveries,
                reason: entry.reason.clone(),
            }
        };
        Ok(entries.into_iter().map(entry).collect())
    }

    async fn retry(&self, seq: u64, who: &str, wait: Duration) -> Result<CommandView, Problem> {
        if !self.is_dead(seq).await? {
            return Err(no_dead(seq));
        }
        view(&self.ask(Ask::Retry { seq, wait_ms: wait_ms(wait) }, who, wait).await?)
    }

    async fn let_go(&self, seq: u64, who: &str) -> Result<(), Problem> {
        if !self.is_dead(seq).await? {
            return Err(no_dead(seq));
        }
        let told = self.ask(Ask::Delete { seq }, who, Duration::ZERO).await?;
        told["error"].as_str().map_or(Ok(()), |_| Err(no_dead(seq)))
    }

    async fn writes(&self, most: usize) -> Result<Vec<WriteAct>, Problem> {
        let audit = self.ends.parts.log.inbox().audit(most).await.map_err(no_log)?;
        let act = |line: tidegate_store::inbox::Audited| WriteAct {
            at: line.at.wall.to_string(),
            who: line.note.origin.who,
            source: line.note.origin.source,
            device: line.note.leaf,
            event: line.note.event,
            what: line.note.what,
        };
        Ok(audit.into_iter().map(act).collect())
    }
}
