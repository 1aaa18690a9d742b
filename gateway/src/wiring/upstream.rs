//! The upper end of the diagram: each upstream is a reader, an uplink and a downlink; each leaf with an identity of its own is one more.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tidegate_core::{
    catalogue::{BuildUpstream, LeafIdentity},
    health::Condition,
    id::{LeafId, Name},
};
use tidegate_store::{Reader, ReaderOptions, StoreError};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Gateway, unit_name};
use crate::{
    board::UpstreamRow,
    config::UpstreamSection,
    downlink::Downlink,
    twin,
    unit::{Stage, Unit},
    uplink::Uplink,
};

/// An uplink's loop goes round at least this often: the longest wait in it is a CONNACK (60 s, reference §1.1).
const UPLINK_PULSE: Duration = Duration::from_secs(120);
/// Messages that a leaf with a connection of its own may be ahead of what is durably settled. There may be hundreds of such leaves.
const LEAF_WINDOW: usize = 32;
const UPSTREAM: &str = "upstream";

impl Gateway {
    /// A reader whose upstream is no longer configured would hold messages for ever.
    pub(super) async fn forget_readers(&self) -> Result<(), StoreError> {
        let log = &self.parts.log;
        for name in log.readers().await? {
            if !self.config.knows_upstream(&name) {
                warn!(upstream = %name, "no longer configured: its place in the log is given up");
                log.forget_reader(&name).await?;
            }
        }
        for (name, leaf) in log.shares().await? {
            if !self.config.knows_identity(&name, &leaf) {
                let waited = log.forget_share(&name, &leaf).await?;
                warn!(upstream = %name, %leaf, waited, "the leaf has no identity of its own any more: its place in the log is given up");
            }
        }
        Ok(())
    }

    /// Opens all its readers, and then lets them begin: a leaf's own reader takes along what waits for it in the upstream's.
    pub(super) async fn start_upstream(&mut self, section: &UpstreamSection) -> Result<(), StoreError> {
        let (name, log) = (&section.name, self.parts.log.clone());
        let options = ReaderOptions { window: section.window, replay: section.replay, ttl: section.ttl };
        let mut reader = log.reader(name, options).await?;
        let row = self.parts.board.upstream(name);
        let own: BTreeSet<LeafId> = section.plan.leaves.iter().map(|identity| identity.leaf.clone()).collect();
        row.expect_leaves(&own);
        reader.leave_to_shares(Arc::new(own));
        let mut shares = Vec::with_capacity(section.plan.leaves.len());
        for identity in &section.plan.leaves {
            let options = ReaderOptions { window: section.window.min(LEAF_WINDOW), ..options };
            shares.push((identity, log.share(name, &identity.leaf, options).await?));
        }
        let downlink = Downlink::new(name.clone(), self.router.clone(), section.sign, self.methods.clone(), self.twin_of(section));
        self.run_uplink(name.to_string(), false, reader, downlink, row.clone(), &section.plan.build);
        for (LeafIdentity { leaf, build, .. }, reader) in shares {
            let twin = self.twin_of(section);
            let downlink = Downlink::new(name.clone(), self.router.clone(), section.sign, self.methods.clone(), twin).of_leaf(leaf.clone());
            self.run_uplink(format!("{name}/{leaf}"), true, reader, downlink, row.leaf(leaf), build);
        }
        Ok(())
    }

    fn run_uplink(
        &mut self,
        name: String,
        is_leaf: bool,
        reader: Reader,
        downlink: Downlink,
        row: Arc<UpstreamRow>,
        build: &BuildUpstream,
    ) {
        let (parts, unit) = (&self.parts, unit_name(UPSTREAM, &name));
        let uplink = Arc::new(Uplink {
            reader: Mutex::new(reader),
            downlink,
            row,
            health: parts.health.clone(),
            clock: parts.clock(),
            pulse: parts.pulses.expect(&unit, UPLINK_PULSE),
            name,
            is_leaf,
        });
        let (build, clock, folder) = (build.clone(), parts.clock(), self.config.gateway.state_dir.clone());
        let factory = Box::new(move |stop: CancellationToken| -> crate::unit::Run {
            let mut upstream = build(clock.clone());
            upstream.keep_in(&folder);
            Box::pin(uplink.clone().run(upstream, stop))
        });
        self.supervisor.start(Unit { name: unit, stage: Stage::Hub, factory });
    }

    /// Where the events of its twin go, and whether its desired properties are obeyed. `None` when its kind has no twins.
    fn twin_of(&self, section: &UpstreamSection) -> Option<(mpsc::Sender<twin::Event>, bool)> {
        const WITH_TWINS: &str = "iothub";
        let obeyed = match &self.config.twin.upstream {
            Some(name) => *name == section.name,
            // Sections before this one are in the list while they are started in turn.
            None => !self.config.upstreams.iter().any(|earlier| earlier.kind == WITH_TWINS && earlier.name != section.name),
        };
        (section.kind == WITH_TWINS).then(|| (self.twins.clone(), obeyed))
    }

    pub(super) async fn stop_upstream(&mut self, name: &Name) {
        let section = self.config.upstreams.iter().find(|section| section.name == *name);
        let leaves = section.into_iter().flat_map(|section| &section.plan.leaves).map(|identity| format!("{name}/{}", identity.leaf));
        let names: Vec<String> = std::iter::once(name.to_string()).chain(leaves).collect();
        let units: Vec<String> = names.iter().map(|name| unit_name(UPSTREAM, name)).collect();
        self.supervisor.stop_together(&units).await;
        units.iter().for_each(|unit| self.parts.pulses.forget(unit));
        names.iter().for_each(|name| self.parts.health.forget(Condition::OF_UPSTREAM, name));
        units.iter().for_each(|unit| self.parts.health.forget(Condition::OF_UNIT, unit));
        self.parts.board.forget_upstream(name);
    }
}
