//! `tidegate run`: from the configuration to the last commit.
//!
//! Order of starting: configuration, lock on the state folder, log, hubs, leaves, control socket, watchdog, READY.
//! The first stop signal stops everything in the order of the data; a second one ends at once, and then the log's promise
//! holds as it does for a power cut. If the log can no longer keep its promise the process ends, and systemd begins afresh.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sd_notify::NotifyState;
use serde_json::{Value as Json, json};
use tidegate_core::{clock::Clock, health::Condition, problem::Problem};
use tidegate_store::StoreError;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::{self, Config, Kinds},
    control::{self, Ask, Request},
    events::{Event, Events},
    exit::Exit,
    journal, local, metrics,
    service::{Ends, Service},
    twin::{self, Laid},
    unit::{Stage, Unit},
    wiring::{Gateway, Parts},
};

/// Control requests waiting for the main loop.
pub(crate) const REQUESTS: usize = 8;
/// How long the log may take to answer the watchdog. An SD card may hold a commit up for seconds.
const LOG_PATIENCE: Duration = Duration::from_secs(20);

/// The signals that matter.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Which one came.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.reload.recv() => Asked::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}

/// Where the configuration comes from.
pub(crate) struct Files {
    path: PathBuf,
    kinds: Kinds,
    /// A last change to every configuration that is read again.
    shape: Box<dyn Fn(&mut Config) + Send + Sync>,
    /// What a hub has set beside it.
    laid: Laid,
}

impl Files {
    /// With nothing laid over them.
    pub(crate) fn plain(path: PathBuf, kinds: Kinds) -> Self {
        Self { path, kinds, shape: Box::new(|_| {}), laid: Laid::default() }
    }

    /// The configuration with the settings that proved themselves before the last restart; without them where they no longer fit.
    fn with_settings(&mut self, config: Config) -> Config {
        if self.laid == Laid::default() {
            return config;
        }
        match config::load_with(&self.path, &self.kinds, &self.laid.overlay).config {
            Some(mut with) => {
                (self.shape)(&mut with);
                journal::set_level(self.laid.log_level.unwrap_or(with.diagnostics.level));
                with
            }
            None => {
                warn!("the hub's settings no longer fit the files, and are left out");
                self.laid = Laid::default();
                config
            }
        }
    }
}

/// What a signal asks for.
#[derive(PartialEq)]
enum Asked {
    Stop,
    Reload,
}

/// Runs the gateway of a checked configuration until it is asked to stop.
pub async fn run(path: PathBuf, config: Config, kinds: Kinds) -> Exit {
    run_as(path, config, kinds, |_| {}).await
}

/// As [`run`], with a last change to every configuration that is read again.
pub async fn run_as(path: PathBuf, config: Config, kinds: Kinds, shape: impl Fn(&mut Config) + Send + Sync + 'static) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            error!(%error, "cannot listen for signals");
            return Exit::Internal;
        }
    };
    let _lock = match lock(&config.gateway.state_dir) {
        Ok(lock) => lock,
        Err(error) => {
            error!(folder = %config.gateway.state_dir.display(), %error, "cannot take the state folder: does another tidegate run on it?");
            return Exit::AlreadyRunning;
        }
    };
    let mut files = Files {
        path,
        kinds,
        shape: Box::new(shape),
        laid: twin::kept_settings(&config.gateway.state_dir, &config.twin.allow, &config.leaf_identities()),
    };
    let config = files.with_settings(config);
    let (requests, mut asked) = mpsc::channel(REQUESTS);
    let mut gateway = match start(config, requests, &files.path, files.kinds).await {
        Ok(gateway) => gateway,
        Err(error) => {
            error!(%error, "cannot open the store");
            return Exit::StoreLost;
        }
    };
    notify(&[NotifyState::Ready]);
    info!(gateway = %gateway.config().gateway.id, version = env!("CARGO_PKG_VERSION"), "ready");
    let (log, state) = (gateway.parts().log.clone(), gateway.parts().state.clone());
    let exit = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Asked::Stop => break Exit::Fine,
                Asked::Reload => drop(reload(&mut gateway, &files).await),
            },
            error = log.failed() => {
                error!(%error, "the log can no longer keep its promise; ending, so that a fresh start can");
                break Exit::StoreLost;
            }
            error = state.failed() => {
                error!(%error, "devices and twins can no longer be kept; ending, so that a fresh start can");
                break Exit::StoreLost;
            }
            Some(request) = asked.recv() => if serve(&mut gateway, request, &mut files).await.is_break() {
                break Exit::Fine;
            },
        }
    };
    notify(&[NotifyState::Stopping]);
    info!("stopping");
    tokio::select! {
        () = gateway.stop() => {
            info!("stopped");
            exit
        }
        () = signals.stop() => {
            warn!("second signal: ending at once");
            Exit::AtOnce
        }
    }
}

async fn start(config: Config, requests: mpsc::Sender<Request>, path: &Path, kinds: Kinds) -> Result<Gateway, StoreError> {
    let socket = config.gateway.state_dir.join(control::SOCKET);
    let mut gateway = Gateway::start_with(config, Some(requests.clone())).await?;
    let hub = gateway.parts().hub.clone();
    gateway.supervise(Unit {
        name: "control".into(),
        stage: Stage::Control,
        factory: Box::new({
            let requests = requests.clone();
            move |stop| Box::pin(control::serve(socket.clone(), requests.clone(), hub.clone(), stop))
        }),
    });
    open_page(&mut gateway, requests, path, kinds)?;
    if let Some(listen) = gateway.config().metrics.listen {
        let parts = gateway.parts().clone();
        gateway.supervise(Unit {
            name: "metrics".into(),
            stage: Stage::Control,
            factory: Box::new(move |stop| Box::pin(metrics::serve(listen, parts.clone(), stop))),
        });
    }
    if let Some(every) = sd_notify::watchdog_enabled() {
        let parts = gateway.parts().clone();
        gateway.supervise(Unit {
            name: "watchdog".into(),
            stage: Stage::Control,
            factory: Box::new(move |stop| {
                let parts = parts.clone();
                Box::pin(async move {
                    feed(parts, every, stop).await;
                    Ok(())
                })
            }),
        });
    }
    Ok(gateway)
}

/// The page, unless it is switched off.
fn open_page(gateway: &mut Gateway, requests: mpsc::Sender<Request>, path: &Path, kinds: Kinds) -> Result<(), StoreError> {
    let web = gateway.config().web.clone();
    if !web.enabled {
        return Ok(());
    }
    let (parts, facts) = (gateway.parts().clone(), gateway.facts());
    let service =
        Service::new(Ends { parts, facts, router: gateway.router().clone(), requests, config_path: path.to_owned(), kinds, link: None })?;
    gateway.supervise(service.gauge_unit());
    gateway.supervise(service.web_unit(web, None));
    Ok(())
}

/// Answers one request of the control socket or the page. `Break`: the program is to end.
pub(crate) async fn serve(gateway: &mut Gateway, request: Request, files: &mut Files) -> ControlFlow<()> {
    let router = gateway.router().clone();
    let (who, wait) = (request.who, Duration::from_millis);
    let answer = match request.ask {
        Ask::Status => gateway.view().await,
        Ask::Reload => reload(gateway, files).await,
        Ask::Events => Events::of_process().all().iter().map(Event::view).collect(),
        Ask::Restart => {
            info!(%who, "asked to start anew");
            request.answer.send(Json::Null).ok();
            return ControlFlow::Break(());
        }
        Ask::Lay(laid) => lay(gateway, *laid, files).await,
        // These wait for a bus, and the main loop does not.
        Ask::Write { leaf, points, wait_ms } => {
            let answer = request.answer;
            tokio::spawn(async move { answer.send(local::write(&router, who, leaf, points, wait(wait_ms)).await).ok() });
            return ControlFlow::Continue(());
        }
        Ask::Retry { seq, wait_ms } => {
            let answer = request.answer;
            tokio::spawn(async move { answer.send(local::retry(&router, who, seq, wait(wait_ms)).await).ok() });
            return ControlFlow::Continue(());
        }
        Ask::Delete { seq } => local::delete(&router, seq).await,
    };
    // The one who asked may have gone.
    request.answer.send(answer).ok();
    ControlFlow::Continue(())
}

/// Reads the configuration again. What is wrong with it changes nothing; what is right is applied.
async fn reload(gateway: &mut Gateway, files: &Files) -> Json {
    notify(&[NotifyState::Reloading]);
    let mut loaded = config::load_with(&files.path, &files.kinds, &files.laid.overlay);
    if loaded.config.is_none() && !files.laid.overlay.is_empty() {
        // What the hub set may be about something that is gone; the files come first.
        let plain = config::load(&files.path, &files.kinds);
        if plain.config.is_some() {
            warn!(problems = ?loaded.problems.len(), "the hub's settings no longer fit the files, and are left out");
            loaded = plain;
        }
    }
    let answer = match loaded.config {
        None => {
            let problems: Vec<String> = loaded.problems.iter().map(Problem::to_string).collect();
            for problem in &problems {
                warn!("{problem}");
            }
            let parts = gateway.parts();
            let detail = problems.first().cloned().unwrap_or_default();
            parts.health.raise(Condition::ReloadRefused, "", detail, parts.clock.now().wall);
            json!({ "applied": false, "problems": problems })
        }
        Some(mut new) => {
            (files.shape)(&mut new);
            match gateway.apply(new).await {
                Ok(change) => {
                    info!(?change, "configuration applied");
                    json!({ "applied": true, "change": change.view() })
                }
                Err(error) => json!({ "applied": false, "problems": [error.to_string()] }),
            }
        }
    };
    notify(&[NotifyState::Ready]);
    answer
}

/// Settings of the hub over the same files. What is wrong with them changes nothing.
async fn lay(gateway: &mut Gateway, laid: Laid, files: &mut Files) -> Json {
    let loaded = config::load_with(&files.path, &files.kinds, &laid.overlay);
    let Some(mut new) = loaded.config else {
        let problems: Vec<String> = loaded.problems.iter().map(Problem::to_string).collect();
        return json!({ "applied": false, "problems": problems });
    };
    (files.shape)(&mut new);
    let level = laid.log_level.unwrap_or(new.diagnostics.level);
    match gateway.apply(new).await {
        Ok(change) => {
            info!(?change, %level, "settings of the hub applied");
            journal::set_level(level);
            files.laid = laid;
            json!({ "applied": true, "change": change.view() })
        }
        Err(error) => json!({ "applied": false, "problems": [error.to_string()] }),
    }
}

/// Feeds systemd's watchdog while the log answers and every loop goes round; says once why it does not.
async fn feed(parts: Parts, every: Duration, stop: CancellationToken) {
    let mut silent = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every / 3) => {}
            () = stop.cancelled() => return,
        }
        let log_answers = tokio::time::timeout(LOG_PATIENCE.min(every / 2), parts.log.status()).await.is_ok_and(|status| status.is_ok());
        let stuck = parts.pulses.stuck();
        if log_answers && stuck.is_none() {
            silent = false;
            notify(&[NotifyState::Watchdog]);
        } else if !silent {
            silent = true;
            error!(log_answers, ?stuck, "not making progress: the watchdog is not fed");
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    sd_notify::notify(states).ok();
}

/// Below the state folder.
pub(crate) const LOCK: &str = "lock";

/// One gateway for one state folder: two writers would each believe the log to be theirs. The lock goes with the process.
pub(crate) fn lock(state_dir: &Path) -> io::Result<Arc<File>> {
    std::fs::create_dir_all(state_dir)?;
    let file = File::create(state_dir.join(LOCK))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(Arc::new(file))
}
