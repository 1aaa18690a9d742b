//! The usual scene: units that count below, the gateway, mosquitto and its witness above.

use std::{ops::RangeInclusive, time::Duration};

use super::{Broker, Gateway, SOON, Site, Subscriber, Tally, TcpSlave, counting_adapter, mqtt_upstream, until_true};

/// Everything of one story; what depends on others is dropped before them.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) witness: Subscriber,
    pub(crate) broker: Broker,
    pub(crate) slave: TcpSlave,
    pub(crate) site: Site,
}

/// The programs that a scene is made of; for [`super::have`].
pub(crate) const SCENE: &[&str] = &["mosquitto", "mosquitto_sub", "pymodbus"];

/// Commits come quickly, so that stories are short.
pub(crate) const QUICK_LOG: &str = "[log]\ncommit_interval = \"50ms\"\n";

impl Scene {
    /// Units of an adapter `plant` that are polled every `interval`, one upstream `hub` with `more` keys. Not started.
    pub(crate) fn counting(units: RangeInclusive<u8>, interval: &str, more: &str) -> Self {
        Self::with(|scene_slave, broker| {
            for unit in units.clone() {
                scene_slave.add(unit, &[]);
            }
            format!(
                "{QUICK_LOG}{}{}{more}",
                counting_adapter("plant", &scene_slave.address, units, interval),
                mqtt_upstream(&broker.address)
            )
        })
    }

    /// With the sections that `configure` makes of the slave and the broker.
    pub(crate) fn with(configure: impl FnOnce(&mut TcpSlave, &Broker) -> String) -> Self {
        let site = Site::new();
        let broker = Broker::start(&site);
        let witness = Subscriber::start(&broker);
        let mut slave = TcpSlave::start(&site);
        let sections = configure(&mut slave, &broker);
        let gateway = Gateway::new(&site, &sections);
        Self { gateway, witness, broker, slave, site }
    }

    /// Before the start: the upstream connects to this address instead of the broker's own.
    pub(crate) fn readdress(&self, address: &str) {
        self.gateway.rewrite(|text| text.replace(&self.broker.address, address));
    }

    /// Waits until `n` more messages have arrived than now.
    #[track_caller]
    pub(crate) fn arrive(&self, n: usize) {
        let target = self.witness.count() + n;
        until_true(&format!("{n} more messages arrive"), SOON, || self.witness.count() >= target);
    }

    /// After the last run of the gateway: runs it once more without its adapters until nothing is outstanding and
    /// every gap has been told, and waits until the witness has heard all of it.
    #[track_caller]
    pub(crate) fn deliver_the_rest(&mut self) -> Tally {
        self.gateway.rewrite(without_adapters);
        self.gateway.start();
        until_true("the log is delivered", SOON * 3, || outstanding(&self.gateway) == 0);
        until_true("every gap is told", SOON, || untold_gaps(&self.gateway) == 0);
        self.gateway.stop();
        // After a restart of the broker the witness comes back within a second or two; its session was kept for it.
        self.witness.settle(Duration::from_millis(2_500))
    }
}

/// What waits for any reader, as `tidegate queue` counts it.
#[track_caller]
pub(crate) fn outstanding(gateway: &Gateway) -> u64 {
    let queue = gateway.json(&["queue", "--json"]);
    let readers = queue["readers"].as_array().unwrap_or_else(|| panic!("no readers in {queue}"));
    readers.iter().map(|reader| reader["outstanding"].as_u64().unwrap_or_else(|| panic!("no outstanding in {reader}"))).sum()
}

/// Rows of the gap ledger that the hub does not know of yet.
#[track_caller]
fn untold_gaps(gateway: &Gateway) -> usize {
    let queue = gateway.json(&["queue", "--json"]);
    queue["gaps"].as_array().unwrap_or_else(|| panic!("no gaps in {queue}")).iter().filter(|gap| gap["told"] != true).count()
}

/// A configuration whose `[[adapter]]` sections are gone.
fn without_adapters(text: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[[adapter");
        }
        if !inside {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}
