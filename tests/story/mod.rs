//! What a person sees: from a unit on a bus to a message at the broker, on good days and on bad ones.

mod clock;
mod command_line;
mod command_pace;
pub(crate) mod commands;
mod configuration;
mod consumers;
mod flood;
mod iothub;
mod keeping;

mod leaf_identities;
mod live_first;
mod modbus_rtu;
mod modbus_tcp;
mod modbus_write;
mod neighbours;
mod outage;
mod own_hub;
mod passage;
mod provisioning;
mod refusal;
mod reload;
mod serial;
pub(crate) mod site_bus;
mod stopping;
mod twin;
