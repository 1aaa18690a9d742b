//! Tidegate: an edge gateway that carries messages between leaf devices and a cloud hub.
//!
//! The modules stand in the order in which a reading travels; `wiring` is the block diagram, and the ones behind it start,
//! watch and stop it.

mod endpoint;
pub mod intake;
pub mod leaf;
pub mod normalise;
pub mod uplink;
pub mod upstream;

// And these in the order of a command.
pub mod downlink;
pub mod method;
pub mod outcome;
pub mod request;
pub mod router;
pub mod twin;

pub mod board;
pub mod events;
pub mod live;
pub mod look;
mod opening;
mod passage;
pub mod pulse;
pub mod records;
pub mod supervise;
pub mod timekeeper;
pub mod unit;
mod view;
pub mod warden;
pub mod wiring;

pub mod bundle;
pub mod cli;
pub mod closeup;
pub mod config;
pub mod control;
pub mod demo;
pub mod desk;
pub mod examine;
pub mod exit;
pub mod forecast;
pub mod journal;
mod killpoint;
mod local;
pub mod metrics;
pub mod run;
pub mod service;
pub mod site;

/// Every kind of adapter and upstream that the configuration may name.
pub fn kinds() -> config::Kinds {
    config::Kinds { adapters: tidegate_adapters::CATALOGUE, upstreams: upstream::CATALOGUE }
}
