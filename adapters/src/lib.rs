//! What drives the buses, lines and radios that leaf devices are on. Knows nothing of hubs, logs or the web.
//!
//! # A new protocol
//!
//! 1. A folder `src/<name>/` with `mod.rs` (an [`Adapter`] and its row), `config.rs` (what the section may say; the
//!    comments are the user's documentation), `README.md` (for the person who wires the sensors), `example.toml`
//!    (a complete section) and `cases/` (recorded frames and the readings they mean).
//! 2. A `pub mod` line and a row in [`CATALOGUE`] here.
//! 3. A simulator, and a line in `tests/contract.rs` that starts it.
//!
//! The rest works from the row: configuration check and forms, `tidegate adapters`, `tidegate read`, the contract
//! suite, the web page. What an adapter promises is written at [`Adapter`]: read that first.
//!
//! [`Adapter`]: tidegate_core::adapter::Adapter

use tidegate_core::catalogue::AdapterKind;

pub mod ble;
pub mod modbus;
pub mod schedule;
pub mod serial;
pub mod value;

/// Every kind of adapter there is.
pub const CATALOGUE: &[AdapterKind] = &[ble::KIND, modbus::KIND, serial::KIND];
