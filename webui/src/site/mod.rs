//! The gateway as the page sees it. Whoever implements these decides nothing about who may ask: the routes do.
//!
//! Every call is answered in bounded time, or with a problem. Nothing here is told who asks, but for changes, whose history names them.

mod archive;
mod commands;
mod consumer;
mod hub;
mod pair;
mod scan;
mod system;
mod templates;
mod views;
mod workshop;

pub use archive::{Archive, Exported};
pub use commands::Commands;
pub use consumer::{Consumer, Consumers};
pub use hub::HubDesk;
pub use pair::Pairings;
pub use scan::Scans;
pub use system::System;
pub use templates::Templates;
pub use views::{About, Values, Views, Watch};
pub use workshop::Workshop;

/// Everything together.
pub trait Site: Views + Archive + Workshop + Commands + HubDesk + Consumers + Scans + Pairings + System + Templates {}

impl<T: Views + Archive + Workshop + Commands + HubDesk + Consumers + Scans + Pairings + System + Templates> Site for T {}
