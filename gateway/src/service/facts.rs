//! What is configured, as far as the page's answers need it; renewed whenever a configuration is applied.

use std::{path::PathBuf, sync::Arc};

use tidegate_core::id::{LeafId, Name};

use crate::config::Config;

/// What is configured.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Who this gateway is.
    pub gateway: LeafId,
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// Those that run.
    pub adapters: Vec<AdapterFacts>,
    /// All that are configured.
    pub upstreams: Vec<UpstreamFacts>,
    /// Whether devices may connect.
    pub endpoint: bool,
    /// The name by which devices reach this machine, as far as it is known.
    pub host: String,
}

/// An adapter.
#[derive(Debug, Clone)]
pub struct AdapterFacts {
    /// Its name.
    pub name: Name,
    /// What it speaks.
    pub kind: &'static str,
    /// How many leaves are on it.
    pub leaves: usize,
    /// What only one may use at a time.
    pub exclusive: Vec<String>,
}

/// An upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFacts {
    /// Its name.
    pub name: Name,
    /// What it speaks; empty for one that is switched off.
    pub kind: &'static str,
    /// Whether it runs.
    pub enabled: bool,
}

impl Facts {
    /// Of this configuration.
    pub fn of(config: &Config) -> Arc<Self> {
        let adapter = |section: &crate::config::AdapterSection| AdapterFacts {
            name: section.name.clone(),
            kind: section.kind,
            leaves: section.plan.leaves.len(),
            exclusive: section.plan.exclusive.clone(),
        };
        let running =
            config.upstreams.iter().map(|section| UpstreamFacts { name: section.name.clone(), kind: section.kind, enabled: true });
        let idle = config.idle_upstreams.iter().map(|name| UpstreamFacts { name: name.clone(), kind: "", enabled: false });
        Arc::new(Self {
            gateway: config.gateway.id.clone(),
            state_dir: config.gateway.state_dir.clone(),
            adapters: config.adapters.iter().map(adapter).collect(),
            upstreams: running.chain(idle).collect(),
            endpoint: config.endpoint.runs(),
            host: crate::endpoint::host(&config.endpoint),
        })
    }
}
