//! Leaves that are devices of their own at the hub: each is configured as the gateway is, but for its id and its credential.
//!
//! Promise: one limiter for all of them, with jitter, so that hundreds that were switched on together, or lost one hub, do not
//! knock at one moment; and the authorities of TLS are kept once for all.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidegate_core::{id::LeafId, problem::Problems};
use tokio::time::{Instant, sleep_until};

use super::{
    config::{self, Config},
    raw::{Raw, RawLeaf},
};
use crate::upstream::tls;

/// Leaves with connections of their own: each costs memory, and hubs take so many connections in a minute from one place.
const MOST_LEAVES: usize = 500;
/// Messages in flight for one leaf: it has a connection to itself, and the whole adds up.
const IN_FLIGHT: u32 = 4;

/// Checks the leaves of a section, each with all that it does not say itself taken from the gateway.
pub(super) fn check(raw: &Raw, problems: &mut Problems) -> Vec<(LeafId, Config)> {
    let mut list = problems.key("leaf");
    if raw.leaf.len() > MOST_LEAVES {
        list.error(format!("has {} entries", raw.leaf.len()), format!("at most {MOST_LEAVES} leaves can have a connection of their own"));
        return Vec::new();
    }
    let (mut seen, mut checked) = (BTreeSet::new(), Vec::new());
    for (at, leaf) in raw.leaf.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&leaf.id));
        if !seen.insert(&leaf.id) {
            problems.key("id").error("is named twice", "keep one entry for each leaf");
        }
        let id =
            LeafId::new(&leaf.id).map_err(|error| problems.key("id").error(format!("'{}' is not a leaf id", error.text), error.rule)).ok();
        let config = config::checked(&as_gateway(raw, leaf), problems);
        checked.extend(id.zip(config));
    }
    checked
}

/// The section that the leaf would have if it were a gateway.
fn as_gateway(raw: &Raw, leaf: &RawLeaf) -> Raw {
    let own_key = leaf.key_file.is_some() || leaf.client_cert_file.is_some() || leaf.client_key_file.is_some();
    let own_string = leaf.connection_string_file.is_some();
    let provisioned = raw.id_scope.is_some() && !own_string;
    let registration = leaf.registration_id.clone().or_else(|| provisioned.then(|| leaf.id.to_lowercase()));
    let device = leaf.device_id.clone().or_else(|| (!provisioned && !own_string).then(|| leaf.id.clone()));
    Raw {
        connection_string_file: leaf.connection_string_file.clone(),
        host: raw.host.clone().filter(|_| !own_string),
        id_scope: raw.id_scope.clone().filter(|_| !own_string),
        dps_host: raw.dps_host.clone().filter(|_| !own_string),
        registration_id: registration,
        device_id: device,
        module_id: None,
        group_key_file: raw.group_key_file.clone().filter(|_| provisioned && !own_key),
        key_file: leaf.key_file.clone(),
        client_cert_file: leaf.client_cert_file.clone(),
        client_key_file: leaf.client_key_file.clone(),
        in_flight: IN_FLIGHT,
        leaf: Vec::new(),
        model_id: None,
        ..raw.clone()
    }
}

/// What the leaves of one upstream share.
#[derive(Debug)]
pub(super) struct Crowd {
    every: Duration,
    next: Mutex<Instant>,
    /// The system's authorities, once loaded.
    pub(super) roots: tokio::sync::Mutex<tls::Roots>,
}

impl Crowd {
    pub(super) fn new(per_second: u32) -> Arc<Self> {
        let every = Duration::from_secs(1) / per_second.max(1);
        Arc::new(Self { every, next: Mutex::new(Instant::now()), roots: tokio::sync::Mutex::default() })
    }

    /// Waits for this connection's turn. Whoever does not wait to the end leaves a turn unused, which is no harm.
    pub(super) async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + self.every;
            at
        };
        sleep_until(at + self.every.mul_f64(fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::upstream::iothub::config::{Proof, Who};

    fn checked(section: Json) -> (Vec<(LeafId, Config)>, Vec<String>) {
        let mut problems = Problems::default();
        let raw: Raw = serde_json::from_value(section).expect("keys");
        (check(&raw, &mut problems), problems.list().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_leaf_takes_from_the_gateway_what_it_does_not_say() {
        let leaf = json!([{ "id": "boiler", "key_file": "b" }, { "id": "Fan", "device_id": "fan-7", "client_cert_file": "c", "client_key_file": "k" },
            { "id": "pump", "connection_string_file": "cs" }]);
        let (leaves, problems) = checked(json!({ "host": "hub.example", "device_id": "gw", "key_file": "g", "port": 1, "leaf": leaf }));
        assert_eq!(problems, Vec::<String>::new());
        let who = |at: usize| &leaves[at].1.who;
        assert!(
            matches!(who(0), Who::Fields { host, identity, proof: Proof::KeyFile(k) } if host == "hub.example" && identity.to_string() == "boiler" && k == "b")
        );
        assert!(matches!(who(1), Who::Fields { identity, proof: Proof::Certificate, .. } if identity.to_string() == "fan-7"));
        assert!(matches!(who(2), Who::ConnectionString(path) if path == "cs"));
        assert!(leaves.iter().all(|(_, config)| config.port == 1 && config.in_flight == 4));
    }

    #[test]
    fn a_leaf_of_an_enrolment_group_needs_its_name_only() {
        let section = json!({ "id_scope": "0ne1", "registration_id": "gw", "group_key_file": "g", "leaf": [{ "id": "Boiler" }, { "id": "fan", "key_file": "f" }] });
        let (leaves, problems) = checked(section);
        assert_eq!(problems, Vec::<String>::new());
        assert!(
            matches!(&leaves[0].1.who, Who::Provisioned { registration, proof: Proof::GroupKeyFile(_), .. } if registration.id == "boiler")
        );
        assert!(matches!(&leaves[1].1.who, Who::Provisioned { proof: Proof::KeyFile(_), .. }));
    }

    #[test]
    fn every_mistake_of_every_leaf_is_named() {
        let leaf = json!([{ "id": "a" }, { "id": "a", "key_file": "k" }, { "id": "b c", "key_file": "k" }]);
        let (_, problems) = checked(json!({ "host": "h", "device_id": "gw", "key_file": "g", "leaf": leaf }));
        for start in ["leaf[a]: has no credential", "leaf[a].id: is named twice", "leaf[b c].id: 'b c' is not a leaf id"] {
            assert!(problems.iter().any(|p| p.starts_with(start)), "{start}: {problems:#?}");
        }
        let many: Vec<Json> = (0..501).map(|n| json!({ "id": format!("l{n}"), "key_file": "k" })).collect();
        assert!(
            checked(json!({ "host": "h", "device_id": "gw", "key_file": "g", "leaf": many })).1[0].starts_with("leaf: has 501 entries")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn connections_come_one_after_another_and_not_in_step() {
        let (crowd, begun) = (Crowd::new(20), Instant::now());
        let turns: Vec<_> = (0..100)
            .map(|_| crowd.clone())
            .map(|crowd| {
                tokio::spawn(async move {
                    crowd.turn().await;
                    Instant::now()
                })
            })
            .collect();
        let mut times = Vec::new();
        for turn in turns {
            times.push(turn.await.expect("no panic").duration_since(begun).as_millis());
        }
        times.sort_unstable();
        assert!((4_900..=5_100).contains(&times[99]), "{times:?}");
        assert!(times.windows(21).all(|w| w[20] - w[0] >= 900), "never more than so many in a second");
        assert!(times.iter().any(|at| at % 50 != 0), "with jitter");
    }
}
