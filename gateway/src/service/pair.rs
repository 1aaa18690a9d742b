//! Pairings in the background, as the page begins them, watches them and answers for them.
//!
//! One at a time: a person answers for it. It ends by itself, when somebody ends it, and when nobody has asked for it in [`FORGOTTEN`].
//! The last one is remembered until the next. Nothing of it is kept across a restart, and no passkey is kept at all.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::pair::{PairKind, PairNews};
use tidegate_webui::{
    Problem, StatusCode,
    shape::{PairAnswer, PairQuestion, PairRequest, PairState, PairView},
    site::Pairings,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Service,
    scan::{lock, or_defaults, wrong},
};

/// News that wait.
const NEWS: usize = 8;
/// A pairing that nobody has asked for in this time ends.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Whatever a kind says, no pairing takes longer.
const LONGEST: Duration = Duration::from_secs(300);

/// The pairing that runs, or the last one.
#[derive(Debug, Default)]
pub(super) struct Bench(Mutex<(u64, Option<Arc<Job>>)>);

#[derive(Debug)]
struct Job {
    id: String,
    request: PairRequest,
    who: String,
    now: Mutex<Now>,
    changed: watch::Sender<u64>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Now {
    state: PairState,
    why: Option<String>,
    what: String,
    question: Option<PairQuestion>,
    reply: Option<oneshot::Sender<String>>,
    asked: Instant,
}

impl Job {
    fn new(id: String, request: PairRequest, who: &str) -> Self {
        let now = Now { state: PairState::Running, why: None, what: String::new(), question: None, reply: None, asked: Instant::now() };
        Self { id, request, who: who.to_owned(), now: Mutex::new(now), changed: watch::Sender::new(1), task: Mutex::new(None) }
    }

    fn change(&self, how: impl FnOnce(&mut Now)) {
        how(&mut lock(&self.now));
        self.changed.send_modify(|revision| *revision += 1);
    }

    fn is_running(&self) -> bool {
        lock(&self.now).state == PairState::Running
    }

    fn end(&self, state: PairState, why: Option<String>) {
        self.change(|now| {
            if now.state == PairState::Running {
                (now.state, now.why, now.question, now.reply) = (state, why, None, None);
                now.what.clear();
            }
        });
    }

    fn hear(&self, news: PairNews) {
        self.change(|now| {
            (now.question, now.reply) = match news {
                PairNews::Doing(what) => {
                    now.what = what;
                    (None, None)
                }
                PairNews::Passkey(reply) => (Some(PairQuestion::Passkey), Some(reply)),
                PairNews::Show(digits) => (Some(PairQuestion::Show { digits }), None),
                PairNews::Same(digits, reply) => (Some(PairQuestion::Same { digits }), Some(reply)),
            };
        });
    }

    fn answer(&self, answer: PairAnswer) -> Result<(), Problem> {
        let mut answered = Err(Problem::busy("it asks nothing now".to_owned()));
        self.change(|now| {
            if let Some(reply) = now.reply.take() {
                now.question = None;
                answered = Ok(());
                match answer {
                    PairAnswer { passkey: Some(passkey), .. } => drop(reply.send(passkey)),
                    PairAnswer { same: Some(true), .. } => drop(reply.send("yes".to_owned())),
                    // Without an answer the pairing ends.
                    PairAnswer { .. } => drop(reply),
                }
            }
        });
        answered
    }

    async fn run(self: Arc<Self>, kind: PairKind) {
        let (news, mut heard) = mpsc::channel(NEWS);
        let mut running = (kind.run)(self.request.options.clone(), news);
        let latest = Instant::now() + LONGEST;
        loop {
            let forgotten = lock(&self.now).asked + FORGOTTEN;
            tokio::select! {
                biased;
                Some(news) = heard.recv() => self.hear(news),
                ended = &mut running => return match ended {
                    Ok(()) => self.end(PairState::Paired, None),
                    Err(error) => self.end(PairState::Failed, Some(error.to_string())),
                },
                () = sleep_until(forgotten.min(latest)) => {
                    let now = Instant::now();
                    if now >= latest || now >= lock(&self.now).asked + FORGOTTEN {
                        return self.end(PairState::Stopped, Some("nobody has looked at it for a minute, or it took too long".to_owned()));
                    }
                }
            }
        }
    }

    fn view(&self) -> PairView {
        let revision = *self.changed.borrow();
        let now = lock(&self.now);
        PairView {
            id: self.id.clone(),
            kind: self.request.kind.clone(),
            options: self.request.options.clone(),
            who: self.who.clone(),
            state: now.state,
            why: now.why.clone(),
            what: now.what.clone(),
            question: now.question.clone(),
            revision,
        }
    }
}

impl Service {
    fn pair_kind(&self, request: &PairRequest) -> Result<PairKind, Problem> {
        let kinds = self.ends.kinds.adapters;
        let pair = kinds.iter().find(|kind| kind.name == request.kind).and_then(|kind| kind.pair);
        pair.ok_or_else(|| {
            let names: Vec<_> = kinds.iter().filter(|kind| kind.pair.is_some()).map(|kind| kind.name).collect();
            Problem::invalid("nothing is paired with that").field(
                "kind",
                "is no kind that pairs",
                format!("write one of: {}", names.join(", ")),
            )
        })
    }

    fn pairing_of(&self, id: &str) -> Option<Arc<Job>> {
        lock(&self.pairings.0).1.clone().filter(|job| job.id == id)
    }
}

#[async_trait]
impl Pairings for Service {
    fn check_pairing(&self, request: &PairRequest) -> Result<(), Problem> {
        (self.pair_kind(request)?.check)(&or_defaults(&request.options)).map_err(|error| wrong("it cannot be paired with", error))
    }

    fn start_pairing(&self, mut request: PairRequest, who: &str) -> Result<PairView, Problem> {
        self.check_pairing(&request)?;
        request.options = or_defaults(&request.options);
        let kind = self.pair_kind(&request)?;
        let mut last = lock(&self.pairings.0);
        if last.1.as_ref().is_some_and(|job| job.is_running()) {
            return Err(Problem::new(StatusCode::CONFLICT, "busy", "A pairing runs").detail("one at a time").next("end it first"));
        }
        last.0 += 1;
        let job = Arc::new(Job::new(last.0.to_string(), request, who));
        *lock(&job.task) = Some(tokio::spawn(job.clone().run(kind)).abort_handle());
        last.1 = Some(job.clone());
        Ok(job.view())
    }

    async fn pairing(&self, id: &str, seen: Option<u64>, wait: Duration) -> Option<PairView> {
        let job = self.pairing_of(id)?;
        lock(&job.now).asked = Instant::now();
        let mut changed = job.changed.subscribe();
        let news = changed.wait_for(|revision| seen.is_none_or(|seen| *revision > seen));
        // When the time is over the answer is what there is.
        timeout(wait, news).await.ok();
        lock(&job.now).asked = Instant::now();
        Some(job.view())
    }

    fn answer_pairing(&self, id: &str, answer: PairAnswer) -> Option<Result<(), Problem>> {
        let job = self.pairing_of(id)?;
        Some(job.answer(answer))
    }

    fn end_pairing(&self, id: &str) -> bool {
        let Some(job) = self.pairing_of(id) else { return false };
        if job.is_running() {
            if let Some(task) = lock(&job.task).take() {
                task.abort();
            }
            job.end(PairState::Stopped, None);
        } else {
            lock(&self.pairings.0).1 = None;
        }
        true
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.0).1.as_ref().and_then(|job| lock(&job.task).take()) {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_core::scan::ScanError;

    use super::*;

    /// A lock that shows 000042.
    const LOCK: PairKind = PairKind {
        options: || json!({}),
        check: |_| Ok(()),
        run: |_, news| {
            Box::pin(async move {
                let (reply, said) = oneshot::channel();
                news.send(PairNews::Passkey(reply)).await.ok();
                let wrong = || ScanError::Unable { why: "refused".to_owned(), next: "look at it".to_owned() };
                if said.await.ok().as_deref() == Some("000042") { Ok(()) } else { Err(wrong()) }
            })
        },
    };

    fn job() -> Arc<Job> {
        Arc::new(Job::new("1".to_owned(), PairRequest { kind: "lock".to_owned(), options: json!({}) }, "ada"))
    }

    async fn until(job: &Job, fits: impl Fn(&PairView) -> bool) -> PairView {
        let mut changed = job.changed.subscribe();
        changed.wait_for(|_| fits(&job.view())).await.expect("it is kept");
        job.view()
    }

    fn passkey(digits: &str) -> PairAnswer {
        PairAnswer { passkey: Some(digits.to_owned()), same: None }
    }

    #[tokio::test]
    async fn what_a_device_asks_is_shown_once_and_answered_once() {
        for (digits, state) in [("000042", PairState::Paired), ("000043", PairState::Failed)] {
            let job = job();
            assert!(job.answer(passkey(digits)).is_err(), "nothing is asked yet");
            let running = tokio::spawn(job.clone().run(LOCK));
            let view = until(&job, |view| view.question.is_some()).await;
            assert_eq!(view.question, Some(PairQuestion::Passkey));
            job.answer(passkey(digits)).expect("it asked");
            assert!(job.answer(passkey(digits)).is_err(), "answered already");
            running.await.expect("no panic");
            assert_eq!((job.view().state, job.view().question), (state, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_looks_at_ends() {
        let job = job();
        job.clone().run(LOCK).await;
        assert_eq!(job.view().state, PairState::Stopped);
        assert!(job.answer(passkey("000042")).is_err());
    }
}
