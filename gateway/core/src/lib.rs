//! The words and the seams of Tidegate.
//!
//! Every other crate speaks these words; none of them speaks to the others except through the
//! two seams here: [`adapter::Adapter`] (a bus with leaves on it) and [`upstream::Upstream`]
//! (a hub above us). Nothing here does I/O of its own: no socket, no database, no MQTT, no HTTP.
//! The one exception is [`clock::SystemClock`], which asks the kernel what time it is.
//!
//! The modules stand in the order in which a reading meets them.

pub mod account;
pub mod adapter;
pub mod backoff;
pub mod c2d;
pub mod catalogue;
pub mod clock;
pub mod command;
pub mod device;
pub mod dialect;
pub mod guard;
pub mod health;
pub mod id;
pub mod message;
pub mod pair;
pub mod problem;
pub mod profile;
pub mod quantity;
pub mod reading;
pub mod scale;
pub mod scan;
pub mod twin;
pub mod upstream;
pub mod wire;
