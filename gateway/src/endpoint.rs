//! The endpoint as a unit of the gateway: its options from the configuration, its figures for `status`.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::{Clock, SystemClock},
    health::{Condition, Health},
};
use tidegate_endpoint::{C2dRules, Certificate, Hub, Options, Provisioning};
use tidegate_store::State;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Endpoint},
    passage::{self, Passage},
    pulse::Pulse,
    router::Router,
    site::{self, Site},
    unit::{Run, Stage, Unit, UnitError},
};

/// The folder of the endpoint's own authority, in the state folder.
const TLS: &str = "tls";
/// The unit's name.
pub(crate) const UNIT: &str = "endpoint";

/// How C2D messages are kept.
pub(crate) fn rules(endpoint: &Endpoint) -> C2dRules {
    C2dRules { default_ttl: endpoint.c2d_ttl, max_deliveries: endpoint.max_delivery_count, feedback_ttl: endpoint.feedback_ttl }
}

fn options(config: &Config) -> Options {
    let endpoint = &config.endpoint;
    let names = if endpoint.certificate_names.is_empty() { machine_names() } else { endpoint.certificate_names.clone() };
    let certificate = match &endpoint.certificate {
        Some((certificate, key)) => Certificate::Files { certificate: certificate.clone(), key: key.clone() },
        None => Certificate::Own { dir: config.gateway.state_dir.join(TLS), owner: config.gateway.id.to_string(), names: names.clone() },
    };
    Options {
        tls: endpoint.tls,
        plain: endpoint.plain,
        websocket: endpoint.websocket,
        hosts: endpoint.host_names.clone(),
        certificate,
        client_ca: endpoint.client_ca.clone(),
        max_sessions: endpoint.max_sessions,
        provisioning: endpoint.provisioning.as_ref().map(|provisioning| Provisioning {
            id_scope: provisioning.id_scope.clone(),
            group_key: provisioning.group_key.clone(),
            hub: provisioning.hub.clone().or_else(|| names.into_iter().next()).unwrap_or_else(|| "localhost".to_owned()),
        }),
    }
}

/// The machine's name as the system has it.
pub(crate) fn machine_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().filter(|name| !name.is_empty() && *name != "localhost").map(str::to_owned)
}

/// The name by which devices reach this machine, as connection strings have it.
pub(crate) fn host(endpoint: &Endpoint) -> String {
    endpoint.certificate_names.first().cloned().or_else(machine_name).unwrap_or_else(|| "localhost".to_owned())
}

/// What devices may call a machine that nobody has named otherwise.
fn machine_names() -> Vec<String> {
    let name = machine_name();
    // Without a dot it is found by multicast DNS.
    let local = name.as_ref().filter(|name| !name.contains('.')).map(|name| format!("{name}.local"));
    name.into_iter().chain(local).chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).collect()
}

/// Listens until it is stopped, and again after every failure.
pub(crate) fn unit(config: &Config, hub: &Hub, health: &Health, clock: &Arc<SystemClock>) -> Unit {
    let (options, hub, health, clock) = (options(config), hub.clone(), health.clone(), clock.clone());
    let factory = move |stop: CancellationToken| -> Run {
        let (options, hub, health, clock) = (options.clone(), hub.clone(), health.clone(), clock.clone());
        Box::pin(async move {
            let mut listening = hub.addresses();
            let served = tidegate_endpoint::serve(hub, options, stop);
            tokio::pin!(served);
            let ended = tokio::select! {
                ended = &mut served => ended,
                // What it returns borrows, so it is dropped here.
                () = async { drop(listening.wait_for(|addresses| !addresses.is_empty()).await) } => {
                    health.clear(Condition::EndpointDown, "");
                    served.await
                }
            };
            ended.map_err(|error| {
                let why = error.to_string();
                health.raise(Condition::EndpointDown, "", why.clone(), clock.now().wall);
                UnitError { why, told: true }
            })
        })
    };
    Unit { name: UNIT.into(), stage: Stage::Leaf, factory: Box::new(factory) }
}

/// Its devices among the leaves that commands can go to.
pub(crate) fn leaves(passage: Arc<Passage>, router: Router, pulse: Pulse) -> Unit {
    let factory = move |stop: CancellationToken| -> Run { Box::pin(passage.clone().run(router.clone(), pulse.clone(), stop)) };
    Unit { name: passage::UNIT.into(), stage: Stage::Middle, factory: Box::new(factory) }
}

/// Leaves that rules of the site bus find.
pub(crate) fn site_leaves(site: Site, router: Router, state: State, pulse: Pulse) -> Unit {
    let factory = move |stop: CancellationToken| -> Run { Box::pin(site.clone().run(router.clone(), state.clone(), pulse.clone(), stop)) };
    Unit { name: site::UNIT.into(), stage: Stage::Middle, factory: Box::new(factory) }
}

/// For `tidegate status`.
pub(crate) fn view(hub: &Hub) -> Json {
    let counters = hub.counters();
    let listening: Vec<Json> = hub
        .addresses()
        .borrow()
        .iter()
        .map(|(door, address)| json!({ "door": format!("{door:?}").to_lowercase(), "address": address.to_string() }))
        .collect();
    let site = hub.site().map(|bus| {
        let (published, delivered, listeners, retained) = bus.counts();
        json!({ "published": published, "delivered": delivered, "listeners": listeners, "retained": retained })
    });
    json!({
        "site_bus": site,
        "listening": listening,
        "sessions": counters.sessions,
        "accepted": counters.accepted,
        "refused": counters.refused,
        "messages": counters.messages,
        "bytes": counters.bytes,
        "c2d_delivered": counters.c2d_delivered,
        "calls": counters.calls,
        "closed_for_cause": counters.closed_for_cause,
    })
}
