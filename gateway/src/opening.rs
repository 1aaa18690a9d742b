//! What comes before everything that runs: the log and the state are opened, and what was found is said.

use std::{path::Path, sync::Arc};

use tidegate_core::{
    clock::{Clock, SystemClock},
    health::{Condition, Health},
};
use tidegate_endpoint::Hub;
use tidegate_store::{Log, LogOptions, State, StoreError};
use tracing::{error, info};

use crate::{
    board::Board,
    closeup::Closeups,
    config::Config,
    endpoint,
    live::Live,
    look::Looks,
    pulse::Pulses,
    records::{LogOutlet, StateRecords},
    wiring::Parts,
};

/// Opens log and state of this configuration, and says what was found.
pub(crate) fn open(config: &Config) -> Result<Parts, StoreError> {
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
    let hub = Hub::new(Arc::new(records), Arc::new(outlet), clock.clone(), endpoint::rules(&config.endpoint));
    Ok(Parts {
        log,
        state,
        hub,
        board: Board::default(),
        live: Live::default(),
        looks: Looks::default(),
        closeups: Closeups::default(),
        health,
        clock,
        pulses: Pulses::default(),
    })
}

/// A tenth of the file system, at least 64 MiB.
fn default_room(dir: &Path) -> u64 {
    const LEAST: u64 = 64 << 20;
    let of = |dir: &Path| rustix::fs::statvfs(dir).map(|fs| fs.f_blocks * fs.f_frsize / 10).ok();
    dir.ancestors().find_map(of).unwrap_or(LEAST).max(LEAST)
}
