//! The Bluetooth adapter: recorded advertisements, and a bluetoothd that is not one.

mod bluez;
mod cases;
mod gatt;
mod passive;
mod stand_in;
mod world;
