//! What can be changed and tried.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value as Json;
use tidegate_core::{
    adapter::{AdapterError, Look, LookLine},
    clock::SystemClock,
    id::LeafId,
    profile::LeafProfile,
};
use tidegate_webui::{
    Problem, StatusCode,
    shape::{
        ApplyRequest, ApplyView, CheckView, ConfigView, Drafts, EditRequest, EditView, FileView, HistoryBrief, HistoryView, KindsView,
        List, LookLineView, LookRequest, LookView, SecretView, UpstreamTestRequest, UpstreamTestView, WorseView,
    },
    site::Workshop,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{
    Service,
    configuration::{etag, with_drafts},
    secret,
    trial::{self, Change, Outcome, Running, WORSE_FOR, wrong},
    value,
};
use crate::{
    config::draft,
    control::{Ask, Request},
    normalise::show,
};

/// Shortest and longest trial, in seconds: long enough for a bus to come up, short enough that nobody forgets it.
const TRIAL: std::ops::RangeInclusive<u64> = 20..=3600;
/// How long the main loop may take over applying a configuration.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a look at devices may take: each is bounded by its own time-outs, and there may be many on a slow line.
const LOOK: Duration = Duration::from_secs(60);

fn changed(etag: &str) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "Somebody else has changed the configuration")
        .detail("it is not what you have read")
        .next("read it again, look at what has changed, and apply yours on top")
        .etag(etag)
}

fn no_trial() -> Problem {
    Problem::busy("no change is on trial").next("it may be over: see the history")
}

fn device(error: &AdapterError) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "device", "The bus cannot be asked").detail(error.to_string())
}

impl Service {
    async fn view(&self) -> ConfigView {
        let (files, unreadable) = self.files();
        let loaded = draft::check(&self.ends.config_path, &files, &self.ends.kinds);
        let (folder, _) = draft::place(&self.ends.config_path);
        let writable = rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).is_ok();
        ConfigView {
            etag: etag(&files),
            path: folder.display().to_string(),
            writable,
            problems: unreadable.iter().chain(&loaded.problems).map(|problem| self.problem(problem)).collect(),
            files: Self::briefs(&files),
            trial: self.trial.view(),
        }
    }

    /// Has the main loop read the files again. `Err`: why they were not applied.
    async fn reload(&self, who: &str) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let request = Request { ask: Ask::Reload, who: who.to_owned(), answer };
        if self.ends.requests.send(request).await.is_err() {
            return Err("the gateway is stopping".to_owned());
        }
        match timeout(PATIENCE, answered).await {
            Ok(Ok(told)) if told["applied"] == true => Ok(()),
            Ok(Ok(told)) => Err(told["problems"][0].as_str().unwrap_or("it was refused").to_owned()),
            _ => Err("the gateway does not answer".to_owned()),
        }
    }

    /// One change from the files to the gateway. The turn is held.
    async fn carry_out(&self, request: ApplyRequest, asked: &str, who: &str) -> Result<ApplyView, Problem> {
        let (files, _) = self.files();
        let present = etag(&files);
        if asked != present && asked != "*" {
            return Err(changed(&present));
        }
        let check = self.check_drafts(&request.files)?;
        let Some(change) = check.change.filter(|_| check.ok) else {
            let wrong = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "config-problems", "The configuration cannot run");
            return Err(wrong.problems(check.problems));
        };
        let new = with_drafts(files.clone(), &request.files);
        let state_dir = draft::check(&self.ends.config_path, &new, &self.ends.kinds).config.map(|config| config.gateway.state_dir);
        if state_dir.is_some_and(|state_dir| state_dir != self.facts().state_dir) {
            let next = "stop the gateway, move the folder, and change gateway.state_dir in the file";
            return Err(Problem::invalid("the state folder cannot change while the gateway runs on it").next(next));
        }
        let text = |name: &str| files.iter().find(|file| file.name == name).map(|file| file.text.clone());
        let after: Drafts = request.files.into_iter().filter(|(name, new)| text(name) != *new).collect();
        if after.is_empty() {
            return Ok(ApplyView { etag: present, change, trial: None });
        }
        let before: Drafts = after.keys().map(|name| (name.clone(), text(name))).collect();
        let comment = request.comment.chars().take(400).collect();
        let (id, at) = (self.trial.next_id(), self.now());
        let mut kept = Change { id, at, who: who.to_owned(), comment, before, after, outcome: Outcome::Applying, why: None };
        let health = wrong(&self.ends.parts.health.list());
        let unwritten = |error: std::io::Error| {
            Problem::new(StatusCode::CONFLICT, "read-only", "The configuration cannot be written")
                .detail(error.to_string())
                .next("let the gateway's user write to its configuration folder, or change the files by hand")
        };
        self.trial.keep(&kept).map_err(unwritten)?;
        let written = trial::write_files(&self.ends.config_path, &kept.after);
        let applied = match &written {
            Ok(()) => self.reload(who).await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = applied {
            self.take_back(&mut kept, &why).await;
            return Err(written.err().map_or_else(|| Problem::invalid(format!("it was taken back: {why}")), unwritten));
        }
        kept.outcome = if request.trial_s.is_some() { Outcome::Trial } else { Outcome::Applied };
        self.trial.keep(&kept).map_err(|error| Problem::internal("keeping the history", error))?;
        info!(change = id, who, trial = ?request.trial_s, "configuration changed");
        let etag = etag(&self.files().0);
        let running = request.trial_s.map(Duration::from_secs).map(|long| Running {
            change: kept,
            etag: etag.clone(),
            ends: Instant::now() + long,
            ends_at: self.now().plus(long),
            before: health,
            worse_since: None,
            worse: Vec::new(),
        });
        self.trial.set_running(running);
        Ok(ApplyView { etag, change, trial: self.trial.view() })
    }

    /// Writes the texts before a change again and applies them.
    async fn take_back(&self, change: &mut Change, why: &str) {
        let restored = trial::write_files(&self.ends.config_path, &change.before);
        let applied = match restored {
            Ok(()) => self.reload("trial").await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = applied {
            warn!(change = change.id, error, "a change of the configuration could not be taken back cleanly");
        }
        warn!(change = change.id, why, "configuration rolled back");
        (change.outcome, change.why) = (Outcome::RolledBack, Some(why.to_owned()));
        self.note(change);
        self.trial.set_running(None);
    }

    fn note(&self, change: &Change) {
        if let Err(error) = self.trial.keep(change) {
            warn!(%error, "the history of the configuration cannot be written");
        }
    }

    /// Ends a trial: for good, or not. The turn is held.
    async fn end_trial(&self, mut running: Running, take_back: Option<&str>) {
        let by_hand = etag(&self.files().0) != running.etag;
        match take_back {
            Some(why) if !by_hand => self.take_back(&mut running.change, why).await,
            _ => {
                running.change.outcome = Outcome::Kept;
                running.change.why = (by_hand && take_back.is_some()).then(|| "the files were edited by hand during the trial".to_owned());
                self.note(&running.change);
                self.trial.set_running(None);
            }
        }
    }

    /// Looks after a trial; called once a second.
    pub(super) async fn mind_trial(&self) {
        let Some(mut running) = self.trial.running() else { return };
        let _turn = self.trial.turn.lock().await;
        // It may have ended while this waited.
        if self.trial.running().is_none_or(|now| now.change.id != running.change.id) {
            return;
        }
        let now = wrong(&self.ends.parts.health.list());
        running.worse =
            now.difference(&running.before).map(|(subject, code)| WorseView { subject: subject.clone(), code: code.clone() }).collect();
        running.worse_since = running.worse_since.or(Some(Instant::now())).filter(|_| !running.worse.is_empty());
        if running.worse_since.is_some_and(|since| since.elapsed() >= WORSE_FOR) {
            let worse = running.worse.iter().map(|worse| format!("{}: {}", worse.subject, worse.code)).collect::<Vec<_>>().join(", ");
            self.end_trial(running, Some(&format!("it made things worse: {worse}"))).await;
        } else if Instant::now() >= running.ends {
            self.end_trial(running, Some("nobody kept it in time")).await;
        } else if self.trial.running().is_some_and(|before| before.worse != running.worse || before.worse_since != running.worse_since) {
            self.trial.set_running(Some(running));
        }
    }
}

/// What a look showed, as the page gets it: values as they would leave.
fn shown_look(look: Look, profile: Option<&LeafProfile>) -> LookView {
    let line = |line: LookLine| {
        let point = profile.and_then(|leaf| leaf.points.iter().find(|point| point.name == line.point));
        let (shown, quality) = match point {
            Some(point) => {
                let shown = show(line.value, line.quality, point);
                (shown.value, shown.quality)
            }
            None => (line.value, line.quality),
        };
        LookLineView {
            point: line.point.to_string(),
            value: value::json(shown.as_ref()),
            quality: quality.to_string(),
            unit: point.and_then(|point| point.unit.clone()),
            request: line.request,
            raw: line.raw,
            detail: line.detail,
            took_ms: (line.took.as_secs_f64() * 10_000.0).round() / 10.0,
        }
    };
    LookView {
        device: look.leaf.to_string(),
        identity: look.identity.into_iter().collect(),
        lines: look.lines.into_iter().map(line).collect(),
    }
}

#[async_trait]
impl Workshop for Service {
    async fn config(&self) -> Result<ConfigView, Problem> {
        Ok(self.view().await)
    }

    fn config_changes(&self) -> watch::Receiver<u64> {
        self.trial.changes()
    }

    async fn config_file(&self, name: &str) -> Result<Option<FileView>, Problem> {
        Ok(self.one_file(name))
    }

    async fn config_sections(&self) -> Result<Json, Problem> {
        Ok(self.sections())
    }

    fn config_schema(&self) -> Json {
        crate::config::full_schema(&self.ends.kinds)
    }

    fn kinds(&self) -> KindsView {
        self.all_kinds()
    }

    async fn check(&self, files: Drafts) -> Result<CheckView, Problem> {
        self.check_drafts(&files)
    }

    async fn edit(&self, request: EditRequest) -> Result<EditView, Problem> {
        self.edit_drafts(&request)
    }

    async fn apply(&self, request: ApplyRequest, etag: &str, who: &str) -> Result<ApplyView, Problem> {
        if request.trial_s.is_some_and(|seconds| !TRIAL.contains(&seconds)) {
            return Err(Problem::invalid("").field("trial_s", "is out of bounds", "use 20 to 3600 seconds, or null"));
        }
        let _turn = self.trial.turn.try_lock().map_err(|_| Problem::busy("another change is being applied").next("wait a moment"))?;
        if self.trial.running().is_some() {
            return Err(Problem::busy("a change is on trial").next("keep it or roll it back first"));
        }
        self.carry_out(request, etag, who).await
    }

    async fn keep_secret(&self, name: &str, value: &str) -> Result<SecretView, Problem> {
        let (folder, _) = draft::place(&self.ends.config_path);
        let (folder, file, value) = (std::path::absolute(&folder).unwrap_or(folder), name.to_owned(), value.to_owned());
        let kept = tokio::task::spawn_blocking(move || secret::keep(&folder, &file, &value)).await;
        let unwritten = |error: std::io::Error| {
            Problem::new(StatusCode::CONFLICT, "read-only", "The secret cannot be written")
                .detail(error.to_string())
                .next("let the gateway's user write into the configuration's folder, or put the file there by hand")
        };
        let path = kept.map_err(|error| Problem::internal("keeping a secret", error))?.map_err(unwritten)?;
        Ok(SecretView { name: name.to_owned(), path })
    }

    fn secrets(&self) -> Vec<SecretView> {
        let (folder, _) = draft::place(&self.ends.config_path);
        let all = secret::list(&std::path::absolute(&folder).unwrap_or(folder));
        all.into_iter().map(|(name, path)| SecretView { name, path }).collect()
    }

    async fn keep_trial(&self, who: &str) -> Result<ConfigView, Problem> {
        let _turn = self.trial.turn.lock().await;
        let running = self.trial.running().ok_or_else(no_trial)?;
        info!(change = running.change.id, who, "configuration kept");
        self.end_trial(running, None).await;
        Ok(self.view().await)
    }

    async fn roll_back_trial(&self, who: &str) -> Result<ConfigView, Problem> {
        let _turn = self.trial.turn.lock().await;
        let running = self.trial.running().ok_or_else(no_trial)?;
        self.end_trial(running, Some(&format!("{who} rolled it back"))).await;
        Ok(self.view().await)
    }

    async fn history(&self, before: Option<u64>, most: usize) -> Result<List<HistoryBrief>, Problem> {
        let changes = self.trial.list(before, most);
        let next = changes.last().filter(|last| changes.len() == most && last.id > 1).map(|last| last.id.to_string());
        Ok(List { items: changes.iter().map(trial::brief).collect(), next })
    }

    async fn past(&self, id: &str) -> Result<Option<HistoryView>, Problem> {
        Ok(id.parse().ok().and_then(|id| self.trial.read(id)).map(|change| trial::full(&change)))
    }

    async fn look(&self, device: &str) -> Result<Option<LookView>, Problem> {
        let Some(leaf) = self.ends.parts.live.leaf(device) else { return Ok(None) };
        let looks = self.ends.parts.looks.ask(&leaf.adapter, leaf.profile.id.clone());
        match timeout(LOOK, looks).await {
            Err(_) => Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "The device was not asked in time")
                .detail(format!("the bus of {device} is busy or cannot be opened"))
                .next("see the device's health")),
            Ok(Err(why)) => Err(Problem::new(StatusCode::BAD_GATEWAY, "device", "The device cannot be asked").detail(why)),
            Ok(Ok(looks)) => {
                let none = || Problem::busy(format!("{device} speaks when it likes and cannot be asked"));
                let one = looks.into_iter().find(|look| look.leaf == leaf.profile.id).ok_or_else(none)?;
                Ok(Some(shown_look(one, Some(&leaf.profile))))
            }
        }
    }

    async fn look_at(&self, request: LookRequest) -> Result<Vec<LookView>, Problem> {
        let plan = self.proposed_adapter(&request.section)?;
        let device_id = match &request.device {
            None => None,
            Some(id) => match plan.leaves.iter().find(|leaf| leaf.id.as_str() == id) {
                Some(leaf) => Some(leaf.id.clone()),
                None => return Err(Problem::invalid("").field("device", "is not in the section", "name one of its devices")),
            },
        };
        let facts = self.facts();
        let taken = facts.adapters.iter().find(|running| running.exclusive.iter().any(|what| plan.exclusive.contains(what)));
        if let Some(taken) = taken {
            let next = "switch it off for the test, or ask its own devices";
            return Err(Problem::busy(format!("the adapter {} uses the same port", taken.name)).next(next));
        }
        let mut adapter = (plan.build)(SystemClock::new("look") as Arc<_>);
        let asked = async {
            adapter.connect().await?;
            let looks = adapter.look(device_id.as_ref() as Option<&LeafId>).await;
            adapter.close().await;
            looks
        };
        let looks = match timeout(LOOK, asked).await {
            Ok(looks) => looks.map_err(|error| device(&error))?,
            Err(_) => return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "The devices were not asked in time")),
        };
        let profile = |id: &LeafId| plan.leaves.iter().find(|leaf| leaf.id == *id);
        Ok(looks.into_iter().map(|one| shown_look(one.clone(), profile(&one.leaf))).collect())
    }

    async fn test_upstream(&self, request: UpstreamTestRequest) -> Result<UpstreamTestView, Problem> {
        self.try_upstream(request).await
    }
}
