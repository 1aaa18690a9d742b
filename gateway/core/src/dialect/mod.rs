//! The IoT Hub dialect as text: what both a device and a hub must read and write to the letter.
//!
//! The uplink speaks it upwards, the endpoint downwards, so each part here works both ways: what one side builds the other
//! parses, and the two are tested against one set of vectors. Reading is for bytes from strangers: every answer is bounded by
//! its input, nothing panics, and comparing signatures takes the same time whatever is wrong with them.
//!
//! Nothing here knows a socket, and nothing looks at the clock: times come in as arguments.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

pub mod bag;
pub mod connection;
pub mod dps;
pub mod edge_route;
pub mod identity;
pub mod key;
pub mod query;
pub mod sas;
pub mod topic;

/// The longest keep-alive that is of use to a client: one and a half times it just fits below the hub's own limit.
pub const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1177);
/// The hub drops a silent client after this at the latest (29.45 min).
const MAX_SILENCE: Duration = Duration::from_secs(1767);

/// How long a hub waits for a client that announced this keep-alive: one and a half times it, and never longer than the hub's limit.
/// Zero, "never ping me", is taken as the limit.
pub fn allowed_silence(keep_alive: Duration) -> Duration {
    if keep_alive.is_zero() { MAX_SILENCE } else { (keep_alive.min(MAX_SILENCE) * 3 / 2).min(MAX_SILENCE) }
}

/// RFC 3986 unreserved characters stay, everything else becomes `%XX` in upper case. A space is `%20`, never `+`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as it stands in a bag, a user name's parameter or a token.
pub fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}
