//! The hub as leaf devices see it, and as programs above see the devices.
//!
//! # What is promised
//!
//! - A PUBACK goes out only after the log has the message, and in the order in which the publishes came.
//! - A C2D message, a twin change, a registry entry that was accepted is on disk; each C2D message ends in exactly one way.
//! - A device reaches its own topics and nothing else, whatever it sends. A bad packet ends that session and disturbs no other.
//! - What strangers and devices can make us hold is bounded by the constants of [`limits`].
//! - Every refusal is an [`Event`] that says why.
//!
//! | power is cut … | then |
//! |---|---|
//! | before a PUBACK went out | the device sends again |
//! | after a PUBACK | the message is in the log |
//! | after a C2D message was sent down, before the device's PUBACK was kept | the device gets it again |
//! | while a method call waits | nothing is kept of it; the caller hears nothing and must not assume either |
//!
//! # What is elsewhere
//!
//! Nothing here knows SQLite or the log: [`Records`] and [`Outlet`] are implemented by whoever wires the endpoint in. The words of the
//! dialect (topics, bags, tokens, user names) are `tidegate_core::dialect`; twins and C2D messages are words of the core too.

mod hub;
pub mod limits;
mod records;

mod authority;
mod certificate;
mod gate;
mod live;
mod packet;
mod password;
mod provision;
mod queue;
mod serve;
mod session;
pub mod site;
mod strangers;
mod stream;
mod throttle;
mod tls;
mod websocket;

mod error;
mod event;
#[cfg(test)]
mod tests;

/// For whoever feeds random bytes to what decodes them: how many packets they are.
#[doc(hidden)]
pub fn count_packets(bytes: &[u8]) -> usize {
    let mut buffer = bytes::BytesMut::from(bytes);
    std::iter::from_fn(|| packet::next(&mut buffer, limits::MAX_PACKET).ok().flatten()).count()
}

/// Likewise: the common name of a certificate.
#[doc(hidden)]
pub fn common_name(der: &[u8]) -> Option<String> {
    certificate::Shown::new(Some(&[der.to_vec().into()]))?.common_name()
}

pub use error::HubError;
pub use event::{Event, EventKind};
pub use hub::{C2dRules, Connection, Counters, Door, Expiry, Hub, MethodCall, NewProof, Sent, connection_string};
pub use live::{Handed, MethodAnswer};
pub use provision::Provisioning;
pub use queue::{Queue, Verdict};
pub use records::{Kept, Outlet, Records, RecordsError};
pub use serve::{Certificate, Options, ServeError, serve};
