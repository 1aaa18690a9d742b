//! Random bytes against everything that decodes bytes from outside.
//!
//! Each target is a test: `cargo test -p tidegate-fuzz` gives each a second of random input on the stable toolchain.
//! For a long, coverage-guided run of one: `cargo bolero test -p tidegate-fuzz targets::bag` (needs cargo-bolero).
//!
//! What is looked for: a panic, a hang, growth without bound, and decoders that disagree with their encoders.

#[cfg(test)]
mod ble;
#[cfg(test)]
mod serial;
#[cfg(test)]
mod targets;
