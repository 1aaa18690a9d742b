//! The hubs and brokers above us: their kinds, and the one MQTT session that all of them share.
//!
//! A kind is a folder: it checks its configuration, says how to reach its hub ([`link::Link`]), how a message looks on the wire
//! and what to make of what comes down ([`letter::Speech`]). Everything else is [`session`]'s, once for all: the window, fates,
//! acknowledgements in both directions, patience, and a clean end. A new kind is a folder, a `mod` line and a row.
//!
//! Promise, whatever the broker does: a parcel has at most one fate; `Delivered` is told only after the broker's own
//! acknowledgement of that very packet; nothing waits without a limit; and a session that has seen anything wrong ends, because
//! the log knows better than any connection what is outstanding. Nothing here is kept between connections except configuration,
//! so a power cut costs nothing that the log does not know.

use tidegate_core::catalogue::UpstreamKind;

pub mod iothub;
pub mod mqtt;

mod checks;
pub mod letter;
mod link;
mod packets;
mod receipts;
mod secret;
mod session;
mod tls;
mod window;
mod words;

#[cfg(test)]
mod contract;

/// All kinds of upstream.
pub const CATALOGUE: &[UpstreamKind] = &[iothub::KIND, mqtt::KIND];
