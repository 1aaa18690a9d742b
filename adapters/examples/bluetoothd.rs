//! What the tests have in place of bluetoothd, on a bus of its own, for browsers and people: a thermometer that advertises, and a lock that
//! wants the passkey 000042.
//!
//! Prints the bus's address and runs until it is killed: `cargo run -p tidegate-adapters --example bluetoothd`. Needs dbus-daemon.

#[allow(dead_code, reason = "the tests ask for more")]
#[path = "../tests/ble/stand_in.rs"]
mod stand_in;
#[allow(dead_code, reason = "the tests ask for more")]
#[path = "../tests/ble/world.rs"]
mod world;

use std::time::Duration;

use stand_in::{Act, Bluetoothd, bus};
use world::{Characteristic, Device, World};

const LOCK: &str = "C0:00:00:00:00:02";

#[allow(clippy::print_stdout, reason = "whoever starts it needs the address")]
fn main() {
    let bus = bus().expect("dbus-daemon is not there");
    let battery =
        Characteristic { service: 0x180f, uuid: 0x2a19, flags: vec!["read"], value: vec![87], secret: true, ..Characteristic::default() };
    let lock = Device { passkey: Some(42), characteristics: vec![battery], ..Device::default() };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(LOCK, lock)]));
    println!("{}", bus.address);
    for celsius in (20..25).cycle() {
        let data = vec![0x40, 0x57, celsius];
        bluetoothd.act(Act::Advert("A4:C1:38:8D:18:B2", vec![], vec![("0000fcd2-0000-1000-8000-00805f9b34fb", data)]));
        bluetoothd.act(Act::Advert(LOCK, vec![(0x02e5, vec![1])], vec![]));
        std::thread::sleep(Duration::from_secs(1));
    }
}
