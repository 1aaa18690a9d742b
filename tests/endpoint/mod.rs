//! The endpoint over a real log and state, spoken to packet by packet: what is promised to devices, and what no device can do.

mod gate;
mod hostile;
mod house;
mod messages;
mod queue;
mod site;
mod twins;
