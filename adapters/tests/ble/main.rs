//! The Bluetooth adapter: recorded advertisements, and a bluetoothd that is not one.

mod bluez;
mod cases;
mod stand_in;
