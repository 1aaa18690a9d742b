//! What Tidegate promises, checked from outside: the real binary, real processes around it, real faults.
//!
//! - `architecture`: which crate may use which, and what the top level holds.
//! - `packaging`: what packages install agrees with the program.
//! - `story`: what a person sees, with peers that are not ours: pymodbus and libmodbus below, mosquitto above.
//! - `endpoint`: the hub as devices see it, packet by packet.
//! - `crash`: the process is killed, the disk fills, fails, lies or is cut off; what was accepted is accounted for.
//! - `harness`: the peers, the gateway as a child process, waiting, and the count of what arrived.
//!
//! `tests/run` installs what these need. Without it a test says loudly what it misses and passes; with `CI` set it fails.
//! Each test has folders and loopback addresses of its own, so they run in parallel; those that load the machine
//! take turns ([`harness::alone`]).

mod architecture;
mod crash;
mod endpoint;
mod harness;
mod packaging;
mod story;
