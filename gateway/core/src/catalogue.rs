//! The rows by which adapters and upstreams are known: their words, their configuration, how to make one.
//!
//! Configuration check, command line, contract suites, documents and the page all work from the rows,
//! so a new protocol is one folder and one row.

use std::{fmt, sync::Arc};

use serde_json::Value as Json;

use crate::{
    adapter::Adapter, clock::Clock, id::LeafId, pair::PairKind, problem::Problems, profile::LeafProfile, scan::ScanKind, upstream::Upstream,
};

/// Makes an adapter; may be called again after a failure.
pub type BuildAdapter = Arc<dyn Fn(Arc<dyn Clock>) -> Box<dyn Adapter> + Send + Sync>;
/// Makes an upstream; may be called again after a failure.
pub type BuildUpstream = Arc<dyn Fn(Arc<dyn Clock>) -> Box<dyn Upstream> + Send + Sync>;

/// What is known of a model of devices: its points and quirks, in TOML. What it may say is in the configuration's README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// By which `template = "…"` names it.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

/// A kind of adapter.
#[derive(Debug)]
pub struct AdapterKind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The folder's README, for people.
    pub readme: &'static str,
    /// A complete `[[adapter]]` section in TOML that passes the check; built by a test.
    pub example: &'static str,
    /// JSON Schema (2020-12) of the section's keys beside `name` and `kind`. Objects are closed unless they say otherwise.
    pub schema: fn() -> Json,
    /// Checks a section that already satisfies the schema, recording every problem; `problems` stands at the section.
    /// `None` exactly when an error was recorded. Opens nothing.
    pub check: fn(&Json, &mut Problems) -> Option<AdapterPlan>,
    /// Models that are known.
    pub templates: &'static [Template],
    /// How to search for devices of this kind; `None` where there is no way to.
    pub scan: Option<ScanKind>,
    /// How to pair with a device of this kind; `None` where there is nothing to pair.
    pub pair: Option<PairKind>,
}

/// A checked adapter, ready to be made as often as needed.
pub struct AdapterPlan {
    /// The leaves on it.
    pub leaves: Vec<LeafProfile>,
    /// Things that only one adapter at a time may use, such as `/dev/ttyUSB0`; used twice is a problem of the configuration.
    pub exclusive: Vec<String>,
    /// How often each leaf, in the order of `leaves`, makes a message at most because it is asked or held back, in messages a minute;
    /// `None` for one that speaks when it likes.
    pub pace: Vec<Option<f64>>,
    /// Makes one. Opens nothing; that is `connect`'s.
    pub build: BuildAdapter,
}

impl fmt::Debug for AdapterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdapterPlan").field("leaves", &self.leaves).field("exclusive", &self.exclusive).finish_non_exhaustive()
    }
}

/// A kind of upstream.
#[derive(Debug)]
pub struct UpstreamKind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// A complete `[[upstream]]` section in TOML that passes the check; built by a test.
    pub example: &'static str,
    /// As for adapters; the keys beside `name`, `kind` and those that every upstream has (`window`, `replay`, …).
    pub schema: fn() -> Json,
    /// As for adapters. Reads no file: secrets are read when the upstream connects.
    pub check: fn(&Json, &mut Problems) -> Option<UpstreamPlan>,
}

/// A checked upstream, ready to be made as often as needed.
pub struct UpstreamPlan {
    /// Most messages in flight (published, not acknowledged) on one connection.
    pub in_flight: usize,
    /// Makes one. Opens nothing.
    pub build: BuildUpstream,
    /// Leaves that are devices of their own at this hub, each with a connection of its own. Their messages do not travel under
    /// the upstream's own identity.
    pub leaves: Vec<LeafIdentity>,
}

/// A leaf that is a device of its own at a hub.
#[derive(Clone)]
pub struct LeafIdentity {
    /// The leaf.
    pub leaf: LeafId,
    /// As [`UpstreamPlan::in_flight`].
    pub in_flight: usize,
    /// Makes its upstream. Opens nothing.
    pub build: BuildUpstream,
}

impl fmt::Debug for LeafIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafIdentity").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

impl fmt::Debug for UpstreamPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamPlan").field("in_flight", &self.in_flight).field("leaves", &self.leaves).finish_non_exhaustive()
    }
}
