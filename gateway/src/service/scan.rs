//! Searches in the background, as the page begins and watches them.
//!
//! A search lives while somebody asks for it: a browser that was closed leaves no bus busy for longer than [`FORGOTTEN`]. Bounded: so many
//! at a time, so many remembered, so many findings of each. Nothing of it is kept across a restart.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::Timestamp,
    scan::{Finding, NEWS, ScanError, ScanKind, ScanNews},
};
use tidegate_webui::{
    Problem, StatusCode,
    shape::{FactView, FindingView, ScanEstimate, ScanRequest, ScanState, ScanView},
    site::Scans,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::Service;

/// Searches at the same time.
const MOST_RUNNING: usize = 4;
/// Searches that are remembered, those that run among them.
const MOST_KEPT: usize = 16;
/// Findings that are kept of one search.
const MOST_FOUND: usize = 1024;
/// A search that nobody has asked for in this time ends.
const FORGOTTEN: Duration = Duration::from_secs(120);
const NOT_MADE: &str = "the search cannot be made";
/// Whatever a kind says, no search takes longer.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// All searches.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    /// Oldest first.
    jobs: VecDeque<Arc<Job>>,
}

#[derive(Debug)]
struct Job {
    id: String,
    request: ScanRequest,
    who: String,
    began: Timestamp,
    start: Instant,
    longest: Duration,
    now: Mutex<Now>,
    changed: watch::Sender<u64>,
    task: Mutex<Option<AbortHandle>>,
}

/// How far a search is.
#[derive(Debug)]
struct Now {
    state: ScanState,
    why: Option<String>,
    done: u32,
    total: u32,
    what: String,
    took: Duration,
    found: Vec<Finding>,
    place: HashMap<String, usize>,
    more: u64,
    /// When somebody asked last.
    asked: Instant,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    fn new(id: String, request: ScanRequest, who: &str, began: Timestamp, longest: Duration) -> Self {
        let start = Instant::now();
        let now = Now {
            state: ScanState::Running,
            why: None,
            done: 0,
            total: 0,
            what: String::new(),
            took: Duration::ZERO,
            found: Vec::new(),
            place: HashMap::new(),
            more: 0,
            asked: start,
        };
        let (changed, task) = (watch::Sender::new(1), Mutex::new(None));
        Self { id, request, who: who.to_owned(), began, start, longest, now: Mutex::new(now), changed, task }
    }

    fn change(&self, how: impl FnOnce(&mut Now)) {
        how(&mut lock(&self.now));
        self.changed.send_modify(|revision| *revision += 1);
    }

    fn is_running(&self) -> bool {
        lock(&self.now).state == ScanState::Running
    }

    fn end(&self, state: ScanState, why: Option<String>) {
        let took = self.start.elapsed();
        self.change(|now| {
            if now.state == ScanState::Running {
                (now.state, now.why, now.took) = (state, why, took);
                now.what.clear();
            }
        });
    }

    fn hear(&self, news: ScanNews) {
        self.change(|now| match news {
            ScanNews::Progress { done, total, what } => (now.done, now.total, now.what) = (done, total, what),
            ScanNews::Found(finding) => match now.place.get(&finding.id) {
                Some(at) => now.found[*at] = finding,
                None if now.found.len() < MOST_FOUND => {
                    now.place.insert(finding.id.clone(), now.found.len());
                    now.found.push(finding);
                }
                None => now.more += 1,
            },
        });
    }

    /// Until it ends, or nobody has asked for a while.
    async fn run(self: Arc<Self>, kind: ScanKind) {
        let (news, mut heard) = mpsc::channel(NEWS);
        let mut search = (kind.run)(self.request.options.clone(), news);
        let latest = self.start + LONGEST;
        let ended = loop {
            let forgotten = lock(&self.now).asked + FORGOTTEN;
            tokio::select! {
                biased;
                Some(news) = heard.recv() => self.hear(news),
                ended = &mut search => break Some(ended),
                () = sleep_until(forgotten.min(latest)) => {
                    let now = Instant::now();
                    if now >= latest || now >= lock(&self.now).asked + FORGOTTEN {
                        break None;
                    }
                }
            }
        };
        while let Ok(news) = heard.try_recv() {
            self.hear(news);
        }
        match ended {
            Some(Ok(())) => self.end(ScanState::Finished, None),
            Some(Err(error)) => self.end(ScanState::Failed, Some(error.to_string())),
            None => self.end(ScanState::Stopped, Some("nobody has looked at it for two minutes".to_owned())),
        }
    }
}

/// What a search, or a pairing, does not take is said beside its field.
pub(super) fn wrong(what: &'static str, error: ScanError) -> Problem {
    match error {
        ScanError::Option { option, why } => Problem::invalid(what).field(format!("options.{option}"), why, "correct it"),
        unable @ ScanError::Unable { .. } => Problem::busy(unable.to_string()),
    }
}

impl Service {
    fn scan_kind(&self, request: &ScanRequest) -> Result<ScanKind, Problem> {
        let kinds = self.ends.kinds.adapters;
        let scan = kinds.iter().find(|kind| kind.name == request.kind).and_then(|kind| kind.scan);
        scan.ok_or_else(|| {
            let names: Vec<_> = kinds.iter().filter(|kind| kind.scan.is_some()).map(|kind| kind.name).collect();
            Problem::invalid("nobody can search for that").field(
                "kind",
                "is no kind that searches",
                format!("write one of: {}", names.join(", ")),
            )
        })
    }

    /// A port that an adapter runs on is that adapter's.
    fn not_taken(&self, request: &ScanRequest) -> Result<(), Problem> {
        let Some(port) = request.options["port"].as_str() else { return Ok(()) };
        let real = |path: &str| std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let facts = self.facts();
        match facts.adapters.iter().find(|adapter| adapter.exclusive.iter().any(|taken| real(taken) == real(port))) {
            None => Ok(()),
            Some(adapter) => {
                Err(Problem::busy(format!("the adapter {} runs on {port}", adapter.name)).next("switch it off for the search"))
            }
        }
    }

    /// Of each, in this order. The files are read once, and only when there is a finding to compare with them.
    fn scan_views(&self, jobs: &[Arc<Job>]) -> Vec<ScanView> {
        let any = jobs.iter().any(|job| !lock(&job.now).found.is_empty());
        let configured = if any { self.sections() } else { Json::Null };
        jobs.iter().map(|job| Self::scan_view(job, &configured)).collect()
    }

    fn scan_view(job: &Job, configured: &Json) -> ScanView {
        let revision = *job.changed.borrow();
        let now = lock(&job.now);
        let finding = |finding: &Finding| {
            let section = finding
                .section
                .as_deref()
                .and_then(|text| toml_edit::de::from_str::<Json>(text).ok())
                .map(|mut all| all["adapter"][0].take());
            FindingView {
                id: finding.id.clone(),
                facts: finding.facts.iter().map(|(name, value)| FactView { name: name.clone(), value: value.clone() }).collect(),
                known: section.as_ref().and_then(|section| known(section, &configured["adapter"])),
                section,
            }
        };
        ScanView {
            id: job.id.clone(),
            kind: job.request.kind.clone(),
            options: job.request.options.clone(),
            who: job.who.clone(),
            began: job.began.to_string(),
            state: now.state,
            why: now.why.clone(),
            done: now.done,
            total: now.total,
            what: now.what.clone(),
            longest_s: job.longest.as_secs_f64(),
            took_s: if now.state == ScanState::Running { job.start.elapsed() } else { now.took }.as_secs_f64(),
            revision,
            found: now.found.iter().map(finding).collect(),
            more: now.more,
        }
    }

    fn job(&self, id: &str) -> Option<Arc<Job>> {
        lock(&self.scans.0).jobs.iter().find(|job| job.id == id).cloned()
    }
}

/// The configured device that a finding is: it is at the same place of the same bus.
fn known(section: &Json, configured: &Json) -> Option<String> {
    let device = section["device"].get(0)?;
    let place = |one: &Json| ["unit", "address"].map(|key| one[key].clone());
    let bus = |one: &Json| ["kind", "address", "port"].map(|key| one[key].clone());
    let same = configured.as_array()?.iter().filter(|adapter| bus(adapter) == bus(section));
    let mut devices = same.flat_map(|adapter| adapter["device"].as_array().into_iter().flatten());
    devices.find(|one| place(one) == place(device))?["id"].as_str().map(str::to_owned)
}

#[async_trait]
impl Scans for Service {
    fn estimate(&self, request: &ScanRequest) -> Result<ScanEstimate, Problem> {
        let longest = (self.scan_kind(request)?.longest)(&or_defaults(&request.options)).map_err(|error| wrong(NOT_MADE, error))?;
        Ok(ScanEstimate { longest_s: longest.as_secs_f64() })
    }

    fn start_scan(&self, mut request: ScanRequest, who: &str) -> Result<ScanView, Problem> {
        request.options = or_defaults(&request.options);
        let kind = self.scan_kind(&request)?;
        let longest = (kind.longest)(&request.options).map_err(|error| wrong(NOT_MADE, error))?;
        self.not_taken(&request)?;
        let mut kept = lock(&self.scans.0);
        if kept.jobs.iter().filter(|job| job.is_running()).count() >= MOST_RUNNING {
            return Err(Problem::new(StatusCode::CONFLICT, "busy", "Too many searches").detail("four run already").next("end one of them"));
        }
        kept.next += 1;
        let job = Arc::new(Job::new(kept.next.to_string(), request, who, self.now(), longest));
        *lock(&job.task) = Some(tokio::spawn(job.clone().run(kind)).abort_handle());
        kept.jobs.push_back(job.clone());
        if kept.jobs.len() > MOST_KEPT
            && let Some(at) = kept.jobs.iter().position(|job| !job.is_running())
        {
            kept.jobs.remove(at);
        }
        drop(kept);
        Ok(Self::scan_view(&job, &Json::Null))
    }

    fn scans(&self) -> Vec<ScanView> {
        let jobs: Vec<_> = lock(&self.scans.0).jobs.iter().rev().cloned().collect();
        self.scan_views(&jobs)
    }

    async fn scan(&self, id: &str, seen: Option<u64>, wait: Duration) -> Option<ScanView> {
        let job = self.job(id)?;
        lock(&job.now).asked = Instant::now();
        let mut changed = job.changed.subscribe();
        let news = changed.wait_for(|revision| seen.is_none_or(|seen| *revision > seen));
        // When the time is over the answer is what there is.
        timeout(wait, news).await.ok();
        lock(&job.now).asked = Instant::now();
        self.scan_views(&[job]).pop()
    }

    fn end_scan(&self, id: &str) -> bool {
        let Some(job) = self.job(id) else { return false };
        if job.is_running() {
            // The search goes with its task, and what it has open with the search.
            if let Some(task) = lock(&job.task).take() {
                task.abort();
            }
            job.end(ScanState::Stopped, None);
        } else {
            lock(&self.scans.0).jobs.retain(|one| one.id != id);
        }
        true
    }
}

/// None given are the defaults.
pub(super) fn or_defaults(options: &Json) -> Json {
    if options.is_null() { json!({}) } else { options.clone() }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for job in &lock(&self.0).jobs {
            if let Some(task) = lock(&job.task).take() {
                task.abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Arc<Job> {
        let request = ScanRequest { kind: "test".to_owned(), options: json!({}) };
        Arc::new(Job::new("1".to_owned(), request, "ada", Timestamp(0), Duration::ZERO))
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_that_nobody_looks_at_ends() {
        let job = job();
        let for_ever = ScanKind {
            options: || Json::Null,
            longest: |_| Ok(Duration::ZERO),
            run: |_, news| {
                Box::pin(async move {
                    news.closed().await;
                    Ok(())
                })
            },
        };
        tokio::spawn(job.clone().run(for_ever));
        tokio::time::sleep(Duration::from_secs(119)).await;
        assert!(job.is_running());
        lock(&job.now).asked = Instant::now();
        tokio::time::sleep(Duration::from_secs(119)).await;
        assert!(job.is_running(), "somebody has looked");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!job.is_running());
    }

    #[test]
    fn a_finding_that_is_told_again_replaces_what_was_said_and_there_are_only_so_many() {
        let job = job();
        let finding = |id: usize, value: u32| Finding { id: id.to_string(), facts: vec![("n".to_owned(), value.into())], section: None };
        for id in 0..MOST_FOUND + 5 {
            job.hear(ScanNews::Found(finding(id, 1)));
        }
        job.hear(ScanNews::Found(finding(7, 2)));
        let now = lock(&job.now);
        assert_eq!((now.found.len(), now.more), (MOST_FOUND, 5));
        assert_eq!(now.found[7].facts[0].1, 2);
    }
}
