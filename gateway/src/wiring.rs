//! The block diagram in code: open the log, make the parts, hand each the ends it needs, let go.
//!
//! ```text
//! adapter ─▶ leaf (runner) ─▶ intake (normalise) ─▶ LOG ─▶ uplink ─▶ upstream
//!                                                          downlink ◀─┘
//! ```
//!
//! Applying a changed configuration happens here too, because it is the same diagram drawn again for the parts that
//! changed; the log is never touched by it.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::{Clock, SystemClock},
    health::{Condition, Health},
    id::Name,
};
use tidegate_endpoint::{C2dRules, Hub};
use tidegate_store::{Log, LogOptions, ReaderOptions, State, StoreError};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    board::Board,
    config::{AdapterSection, Config, Difference, UpstreamSection, difference},
    downlink::Downlink,
    intake::Intake,
    leaf::{Leaves, ORDERS, Order},
    normalise::Normaliser,
    pulse::Pulses,
    records::{LogOutlet, StateRecords},
    supervise::Supervisor,
    timekeeper::Timekeeper,
    unit::{Stage, Unit},
    uplink::Uplink,
};

/// An adapter's loop goes round at least this often: a read of one unit is bounded by its time-outs and retries.
const ADAPTER_PULSE: Duration = Duration::from_secs(120);
/// An uplink's loop goes round at least this often: the longest wait in it is a CONNACK (60 s, reference §1.1).
const UPLINK_PULSE: Duration = Duration::from_secs(120);

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    parts: Parts,
    supervisor: Supervisor,
    orders: BTreeMap<Name, mpsc::Sender<Order>>,
}

/// What every part may be handed.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The log of messages.
    pub log: Log,
    /// Devices, twins, queues, users.
    pub state: State,
    /// The hub to the devices below, for whoever serves its service side.
    pub hub: Hub,
    /// Counters and states.
    pub board: Board,
    /// What is wrong.
    pub health: Health,
    /// Time.
    pub clock: Arc<SystemClock>,
    /// Signs of life.
    pub pulses: Pulses,
}

impl Parts {
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}

impl Gateway {
    /// Opens the log and starts everything that the configuration names, the hub's side first.
    pub async fn start(config: Config) -> Result<Self, StoreError> {
        let parts = open(&config)?;
        let clock = parts.clock();
        let mut gateway = Self { supervisor: Supervisor::new(parts.health.clone(), clock), orders: BTreeMap::new(), parts, config };
        let timekeeper = gateway.timekeeper();
        if let Err(error) = timekeeper.look().await {
            warn!(why = %error.why, "cannot correct times yet");
        }
        gateway.forget_readers().await?;
        for section in std::mem::take(&mut gateway.config.upstreams) {
            gateway.start_upstream(&section).await?;
            gateway.config.upstreams.push(section);
        }
        gateway.supervisor.start(Unit {
            name: "timekeeper".into(),
            stage: Stage::Middle,
            factory: Box::new(move |stop| Box::pin(timekeeper.clone().run(stop))),
        });
        gateway.supervisor.start(gateway.warden());
        for section in std::mem::take(&mut gateway.config.adapters) {
            gateway.start_adapter(&section);
            gateway.config.adapters.push(section);
        }
        Ok(gateway)
    }

    /// What every part may be handed.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What it runs on.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where an adapter takes commands; `None` when there is no such adapter.
    pub fn orders(&self, adapter: &Name) -> Option<mpsc::Sender<Order>> {
        self.orders.get(adapter).cloned()
    }

    /// Starts another unit beside the gateway's own.
    pub fn supervise(&mut self, unit: Unit) {
        self.supervisor.start(unit);
    }

    /// Stops in the order of the data, and closes the log last.
    pub async fn stop(self) {
        self.supervisor.stop_all().await;
        self.parts.state.close().await;
        self.parts.log.close().await;
    }

    /// Stops every adapter and leaves the rest running, so that what is in the log can leave.
    pub async fn stop_leaves(&mut self) {
        for name in self.config.adapters.iter().map(|section| section.name.clone()).collect::<Vec<_>>() {
            self.supervisor.stop(&unit_name(ADAPTER, &name)).await;
        }
    }

    /// Applies a checked configuration: stops what is gone or changed, starts what is new or changed, leaves the rest alone.
    pub async fn apply(&mut self, new: Config) -> Result<Difference, StoreError> {
        let change = difference(&self.config, &new);
        for name in change.adapters.removed.iter().chain(&change.adapters.changed) {
            self.stop_adapter(name).await;
        }
        for name in change.upstreams.removed.iter().chain(&change.upstreams.changed) {
            self.stop_upstream(name).await;
        }
        let restart_needed = !change.restart_needed.is_empty();
        if restart_needed {
            // These sections go on as they were until the process restarts.
            self.config.adapters = new.adapters;
            self.config.upstreams = new.upstreams;
            self.config.idle_upstreams = new.idle_upstreams;
        } else {
            self.config = new;
        }
        self.forget_readers().await?;
        for section in std::mem::take(&mut self.config.upstreams) {
            if change.upstreams.added.contains(&section.name) || change.upstreams.changed.contains(&section.name) {
                self.start_upstream(&section).await?;
            }
            self.config.upstreams.push(section);
        }
        for section in std::mem::take(&mut self.config.adapters) {
            if change.adapters.added.contains(&section.name) || change.adapters.changed.contains(&section.name) {
                self.start_adapter(&section);
            }
            self.config.adapters.push(section);
        }
        self.parts.health.clear(Condition::ReloadRefused, "");
        Ok(change)
    }

    /// For `tidegate status`.
    pub async fn view(&self) -> Json {
        let mut view = self.parts.board.view();
        view["gateway"] = json!(self.config.gateway.id.as_str());
        view["version"] = json!(env!("CARGO_PKG_VERSION"));
        view["now"] = json!(self.parts.clock.now());
        view["health"] = json!(self.parts.health.list());
        view["log"] = match self.parts.log.status().await {
            Ok(status) => crate::view::log_status(&status),
            Err(error) => json!({ "error": error.to_string() }),
        };
        view["counters"] = crate::view::counters(&self.parts.log.counters());
        view
    }

    fn timekeeper(&self) -> Arc<Timekeeper> {
        Arc::new(Timekeeper {
            clock: self.parts.clock.clone(),
            log: self.parts.log.clone(),
            health: self.parts.health.clone(),
            wait: self.config.clock.wait,
        })
    }

    fn warden(&self) -> Unit {
        let parts = self.parts.clone();
        Unit {
            name: "warden".into(),
            stage: Stage::Middle,
            factory: Box::new(move |stop| Box::pin(crate::warden::watch(parts.clone(), stop))),
        }
    }

    /// A reader whose upstream is no longer configured would hold messages for ever.
    async fn forget_readers(&self) -> Result<(), StoreError> {
        for name in self.parts.log.readers().await? {
            if !self.config.knows_upstream(&name) {
                warn!(upstream = %name, "no longer configured: its place in the log is given up");
                self.parts.log.forget_reader(&name).await?;
            }
        }
        Ok(())
    }

    fn start_adapter(&mut self, section: &AdapterSection) {
        let (name, parts) = (section.name.clone(), &self.parts);
        let (orders, order_ends) = mpsc::channel(ORDERS);
        self.orders.insert(name.clone(), orders);
        let row = parts.board.adapter(&name);
        let normaliser = Normaliser::new(section.plan.leaves.iter().cloned(), self.config.body);
        let intake = Intake::new(name.clone(), normaliser, parts.log.clone(), row.clone(), parts.health.clone(), parts.clock());
        let leaves = Arc::new(Leaves {
            leaves: section.plan.leaves.iter().map(|leaf| leaf.id.clone()).collect(),
            intake: Mutex::new(intake),
            orders: Mutex::new(order_ends),
            row,
            health: parts.health.clone(),
            clock: parts.clock(),
            pulse: parts.pulses.expect(&unit_name(ADAPTER, &name), ADAPTER_PULSE),
            name: name.clone(),
        });
        let (build, clock) = (section.plan.build.clone(), parts.clock());
        let factory =
            Box::new(move |stop: CancellationToken| -> crate::unit::Run { Box::pin(leaves.clone().run(build(clock.clone()), stop)) });
        self.supervisor.start(Unit { name: unit_name(ADAPTER, &name), stage: Stage::Leaf, factory });
    }

    async fn stop_adapter(&mut self, name: &Name) {
        let unit = unit_name(ADAPTER, name);
        self.supervisor.stop(&unit).await;
        self.orders.remove(name);
        self.parts.pulses.forget(&unit);
        self.parts.board.forget_adapter(name);
        self.parts.health.forget(name.as_str());
        for section in self.config.adapters.iter().filter(|section| section.name == *name) {
            section.plan.leaves.iter().for_each(|leaf| self.parts.health.forget(leaf.id.as_str()));
        }
    }

    async fn start_upstream(&mut self, section: &UpstreamSection) -> Result<(), StoreError> {
        let (name, parts) = (section.name.clone(), &self.parts);
        let options = ReaderOptions { window: section.window, replay: section.replay, ttl: section.ttl };
        let uplink = Arc::new(Uplink {
            reader: Mutex::new(parts.log.reader(&name, options).await?),
            downlink: Downlink::new(name.clone(), parts.health.clone(), parts.clock()),
            row: parts.board.upstream(&name),
            health: parts.health.clone(),
            clock: parts.clock(),
            pulse: parts.pulses.expect(&unit_name(UPSTREAM, &name), UPLINK_PULSE),
            name: name.clone(),
        });
        let (build, clock) = (section.plan.build.clone(), parts.clock());
        let factory =
            Box::new(move |stop: CancellationToken| -> crate::unit::Run { Box::pin(uplink.clone().run(build(clock.clone()), stop)) });
        self.supervisor.start(Unit { name: unit_name(UPSTREAM, &name), stage: Stage::Hub, factory });
        Ok(())
    }

    async fn stop_upstream(&mut self, name: &Name) {
        let unit = unit_name(UPSTREAM, name);
        self.supervisor.stop(&unit).await;
        self.parts.pulses.forget(&unit);
        self.parts.board.forget_upstream(name);
        self.parts.health.forget(name.as_str());
    }
}

const ADAPTER: &str = "adapter";
const UPSTREAM: &str = "upstream";

fn unit_name(what: &str, name: &Name) -> String {
    format!("{what} {name}")
}

/// Opens the log of this configuration, and says what was found.
fn open(config: &Config) -> Result<Parts, StoreError> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| "unknown".to_owned());
    let clock = SystemClock::new(&boot);
    let health = Health::default();
    let state_dir = &config.gateway.state_dir;
    let max_size = config.log.max_size.unwrap_or_else(|| default_room(state_dir));
    let options = LogOptions { max_size, commit_interval: config.log.commit_interval, keep_delivered: config.log.keep_delivered };
    let (log, opening) = Log::open(state_dir, options, clock.clone())?;
    let (state, state_opening) = State::open(state_dir)?;
    let salvaged = [
        (Condition::LogSalvaged, opening.salvaged.map(|salvage| salvage.to_string())),
        (Condition::StateSalvaged, state_opening.salvaged.map(|salvage| salvage.to_string())),
    ];
    for (condition, detail) in salvaged {
        if let Some(detail) = detail {
            error!("{detail}");
            health.raise(condition, "", detail, clock.now().wall);
        }
    }
    info!(folder = %state_dir.display(), max_size, "log open");
    let (records, outlet) = (StateRecords(state.clone()), LogOutlet(log.clone()));
    let hub = Hub::new(Arc::new(records), Arc::new(outlet), clock.clone(), C2dRules::default());
    Ok(Parts { log, state, hub, board: Board::default(), health, clock, pulses: Pulses::default() })
}

/// A tenth of the file system, at least 64 MiB.
fn default_room(dir: &Path) -> u64 {
    const LEAST: u64 = 64 << 20;
    let of = |dir: &Path| rustix::fs::statvfs(dir).map(|fs| fs.f_blocks * fs.f_frsize / 10).ok();
    dir.ancestors().find_map(of).unwrap_or(LEAST).max(LEAST)
}
