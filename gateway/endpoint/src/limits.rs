//! Every limit of the endpoint, with its reason.

use std::time::Duration;

/// The largest packet of a connected device: the largest topic, the largest message, and what stands around them.
pub const MAX_PACKET: usize = 65_535 + 262_144 + 16;
/// The largest first packet. Nobody has proved who they are yet, so this times [`MAX_STRANGERS`] is what strangers can make us hold; the
/// user names and tokens of all SDKs are below 2 KiB, and a will has room.
pub const MAX_CONNECT: usize = 16 * 1024;
/// Connections that have not proved who they are. More wait unaccepted, or take the place of one that dawdles.
pub const MAX_STRANGERS: usize = 256;
/// From the TCP connection to the CONNECT packet, TLS included. Half of what IoT Edge gives, because a slow loris costs a place.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a device may take to read what we have for it before its session ends.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a session that was taken over has to end before the newcomer is served all the same.
pub const TAKE_OVER_PATIENCE: Duration = Duration::from_secs(5);
/// Publishes that wait for the disk, per session; then nothing more is read from it. At 4 ms a commit this is 50,000 a second.
pub const MAX_WAITING: usize = 200;
/// Publishes from one read that go to the log together.
pub const MAX_BATCH: usize = 64;
/// C2D messages that a device has not acknowledged; IoT Edge has the same window.
pub const C2D_WINDOW: usize = 16;
/// Orders that wait for a session; one that is further behind is ended, and asks for its twin when it comes back.
pub const ORDERS: usize = 64;
/// Filters in one SUBSCRIBE. There are five that a device can use.
pub const MAX_FILTERS: usize = 16;
/// The longest client id: a device id, a slash, a module id.
pub const MAX_CLIENT_ID: usize = 257;
/// Method calls that wait for an answer, per device.
pub const MAX_CALLS_PER_DEVICE: usize = 16;
/// Method calls that wait for an answer, of all devices.
pub const MAX_CALLS: usize = 512;
/// The largest payload of a method call or its answer.
pub const MAX_METHOD_BODY: usize = 128 * 1024;
/// The longest method name.
pub const MAX_METHOD_NAME: usize = 100;
/// Sessions at most, unless the configuration says otherwise.
pub const MAX_SESSIONS: usize = 2_000;
/// Passwords hashed at once: each takes 7 MiB and tens of milliseconds of a core.
pub const MAX_HASHING: usize = 2;
/// Bytes read at once from a quiet device, and at most from a busy one.
pub const READ: (usize, usize) = (2 * 1024, 64 * 1024);
