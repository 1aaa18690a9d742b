//! The block diagram in code: open the log, make the parts, hand each the ends it needs, let go.
//!
//! ```text
//! adapter ─▶ leaf (runner) ─▶ intake (normalise) ─▶ LOG ─▶ uplink ─▶ upstream
//! adapter ◀─ leaf (runner) ◀─ router ◀────────────── INBOX ◀─ downlink ◀─┘
//! ```
//!
//! Applying a changed configuration happens here too, because it is the same diagram drawn again for the parts that
//! changed; the log is never touched by it.

mod upstream;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::{Clock, SystemClock},
    health::{Condition, Health},
    id::Name,
};
use tidegate_endpoint::Hub;
use tidegate_store::{Log, State, StoreError};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    board::Board,
    closeup::Closeups,
    config::{AdapterSection, Config, Difference, difference},
    endpoint,
    intake::Intake,
    leaf::{Leaves, ORDERS, Order},
    live::Live,
    look::Looks,
    method::Methods,
    normalise::Normaliser,
    opening,
    passage::{self, Passage},
    pulse::Pulses,
    router::{
        self, Router,
        route::{Runner, Taker},
    },
    service::Facts,
    site::{self, Mirror, Site},
    supervise::Supervisor,
    timekeeper::Timekeeper,
    twin::{self, Twins},
    unit::{Stage, Unit},
};

/// An adapter's loop goes round at least this often: a read of one unit is bounded by its time-outs and retries.
const ADAPTER_PULSE: Duration = Duration::from_secs(120);

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    parts: Parts,
    supervisor: Supervisor,
    router: Router,
    methods: Arc<Methods>,
    twins: mpsc::Sender<twin::Event>,
    /// Where the runners of adapters that are not started yet will take orders from.
    order_ends: BTreeMap<Name, mpsc::Receiver<Order>>,
    facts: watch::Sender<Arc<Facts>>,
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
    /// The latest value of every point.
    pub live: Live,
    /// Looks at devices that run.
    pub looks: Looks,
    /// Devices that somebody looks at closely.
    pub closeups: Closeups,
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
        Self::start_with(config, None).await
    }

    /// As [`Gateway::start`], with the main loop's ear, so that methods of the hub can ask it too.
    pub async fn start_with(config: Config, control: Option<mpsc::Sender<crate::control::Request>>) -> Result<Self, StoreError> {
        let parts = opening::open(&config)?;
        let facts = watch::Sender::new(Facts::of(&config));
        let supervisor = Supervisor::new(parts.health.clone(), parts.clock());
        let router = router(&config, &parts);
        let methods = Arc::new(Methods {
            allowed: config.commands.methods.clone(),
            timeout: config.commands.method_timeout,
            router: router.clone(),
            log: parts.log.clone(),
            style: config.body,
            clock: parts.clock(),
            control: control.clone(),
        });
        let (twins, twin_events) = Twins::new(twin::Parts {
            section: config.twin.clone(),
            gateway: config.gateway.id.clone(),
            leaves: config.leaf_identities(),
            state_dir: config.gateway.state_dir.clone(),
            board: parts.board.clone(),
            router: router.clone(),
            health: parts.health.clone(),
            control,
        });
        let mut gateway = Self { config, parts, supervisor, router, methods, twins: twin_events, order_ends: BTreeMap::new(), facts };
        let timekeeper = gateway.timekeeper();
        if let Err(error) = timekeeper.look().await {
            warn!(why = %error.why, "cannot correct times yet");
        }
        gateway.forget_readers().await?;
        // Before any hub can send a command: one for a leaf that nobody knows yet would be refused.
        for section in std::mem::take(&mut gateway.config.adapters) {
            gateway.route_adapter(&section);
            gateway.config.adapters.push(section);
        }
        let passage = Arc::new(Passage { hub: gateway.parts.hub.clone() });
        if gateway.config.endpoint.runs()
            && let Err(error) = passage.attach(&gateway.router).await
        {
            warn!(%error, "devices at the endpoint cannot be sent anything yet");
        }
        let site = gateway.open_site().await;
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
        gateway.supervisor.start(Unit {
            name: "twins".into(),
            // Before the leaves: applying settings starts and stops them.
            stage: Stage::Control,
            factory: Box::new(move |stop| Box::pin(twins.clone().run(stop))),
        });
        let router = gateway.router.clone();
        gateway.supervisor.start(Unit {
            name: ROUTER.into(),
            stage: Stage::Middle,
            factory: Box::new(move |stop| Box::pin(router.clone().run(stop))),
        });
        if gateway.config.endpoint.runs() {
            let parts = &gateway.parts;
            gateway.supervisor.start(endpoint::unit(&gateway.config, &parts.hub, &parts.health, &parts.clock));
            let pulse = parts.pulses.expect(passage::UNIT, passage::AGAIN * 2);
            gateway.supervisor.start(endpoint::leaves(passage, gateway.router.clone(), pulse));
            if let Some(site) = site {
                let pulse = gateway.parts.pulses.expect(site::UNIT, site::ROUND);
                gateway.supervisor.start(endpoint::site_leaves(site, gateway.router.clone(), gateway.parts.state.clone(), pulse));
            }
        }
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

    /// The way of commands to leaves.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// What is configured, renewed whenever a configuration is applied.
    pub fn facts(&self) -> watch::Receiver<Arc<Facts>> {
        self.facts.subscribe()
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
        // The way to a changed one stays until the new one takes it over: commands wait meanwhile.
        change.adapters.removed.iter().for_each(|name| self.router.routes().detach(name.as_str()));
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
        self.facts.send_replace(Facts::of(&self.config));
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
        let (waiting, leaves) = self.router.waiting();
        view["inbox"] = json!({ "waiting": waiting, "leaves": leaves });
        if self.config.endpoint.runs() {
            view["endpoint"] = endpoint::view(&self.parts.hub);
        }
        view["counters"] = crate::view::counters(&self.parts.log.counters());
        view
    }

    /// The site bus and the leaves that its rules have found, before any hub can send to them.
    async fn open_site(&self) -> Option<Site> {
        let section = self.config.endpoint.site.as_ref().filter(|_| self.config.endpoint.runs())?;
        match Site::open(section, &self.parts.hub, &self.parts.state).await {
            Ok(site) => {
                site.attach(&self.router);
                Some(site)
            }
            Err(error) => {
                warn!(error, "the site bus cannot be opened");
                None
            }
        }
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

    /// From now on commands for its leaves go to it, and wait until it is started.
    fn route_adapter(&mut self, section: &AdapterSection) {
        let (orders, order_ends) = mpsc::channel(ORDERS);
        self.order_ends.insert(section.name.clone(), order_ends);
        let runner: Arc<dyn Taker> = Arc::new(Runner { orders, row: self.parts.board.adapter(&section.name) });
        self.router.routes().attach(section.name.as_str(), &section.plan.leaves, &runner);
    }

    fn start_adapter(&mut self, section: &AdapterSection) {
        if !self.order_ends.contains_key(&section.name) {
            self.route_adapter(section);
        }
        let Some(order_ends) = self.order_ends.remove(&section.name) else { return };
        let (name, parts) = (section.name.clone(), &self.parts);
        let row = parts.board.adapter(&name);
        let normaliser = Normaliser::new(section.plan.leaves.iter().cloned(), self.config.body)
            .shown_on(|leaf| parts.live.add(&name, section.kind, leaf));
        let mirror = self.config.endpoint.site.as_ref().and_then(|site| site.mirror.clone());
        let intake = Intake::new(name.clone(), normaliser, parts.log.clone(), row.clone(), parts.health.clone(), parts.clock())
            .mirrored(mirror.map(|topic| Mirror { hub: parts.hub.clone(), topic }))
            .looked_at(parts.closeups.clone());
        let leaves = Arc::new(Leaves {
            leaves: section.plan.leaves.iter().map(|leaf| leaf.id.clone()).collect(),
            intake: Mutex::new(intake),
            orders: Mutex::new(order_ends),
            looks: Mutex::new(parts.looks.add(&name)),
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
        self.parts.pulses.forget(&unit);
        self.parts.board.forget_adapter(name);
        self.parts.live.forget(name);
        self.parts.looks.forget(name);
        self.parts.health.forget(Condition::OF_ADAPTER, name.as_str());
        self.parts.health.forget(Condition::OF_UNIT, &unit);
        for section in self.config.adapters.iter().filter(|section| section.name == *name) {
            section.plan.leaves.iter().for_each(|leaf| self.parts.health.forget(Condition::OF_LEAF, leaf.id.as_str()));
        }
    }
}

/// The router's loop goes round with each of its sweeps.
const ROUTER_PULSE: Duration = Duration::from_secs(60);
const ROUTER: &str = "router";

fn router(config: &Config, parts: &Parts) -> Router {
    Router::new(router::Parts {
        log: parts.log.clone(),
        gateway: config.gateway.id.clone(),
        options: router::Options { ttl: config.commands.ttl, most_deliveries: config.commands.max_deliveries },
        clock: parts.clock(),
        pulse: parts.pulses.expect(ROUTER, ROUTER_PULSE),
        bell: parts.board.bell(),
    })
}

const ADAPTER: &str = "adapter";

fn unit_name(what: &str, name: impl fmt::Display) -> String {
    format!("{what} {name}")
}
