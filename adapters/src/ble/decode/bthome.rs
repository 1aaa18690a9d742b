//! BTHome version 2 (bthome.io/format, bthome.io/encryption): service data of 0xFCD2.
//!
//! A device information byte, then objects: a number, then as many bytes as that number says. Objects stand in
//! ascending order, so that a receiver which does not know one can use all before it; that is what is done here.
//! Encrypted: the objects sealed with AES-CCM, a counter of four bytes, a tag of four.

use tidegate_core::reading::Value;

use super::{Counter, Fields, Key, Refusal, over};
use crate::ble::advert::Address;

/// The 16-bit number of the service.
pub(super) const SERVICE: u16 = 0xfcd2;

/// How an object's bytes are read.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Unsigned, of so many bytes, times this, divided by that.
    U(usize, i64, i64),
    /// Signed, likewise.
    I(usize, i64, i64),
    Bit,
    Text,
    Raw,
    Button,
    Dimmer,
}

use Form::{Bit, Button, Dimmer, I, Raw, Text, U};

/// Number, name, unit, form. The bits that share a name with a quantity are told apart by a name of their own.
const OBJECTS: &[(u8, &str, &str, Form)] = &[
    (0x00, "packet_id", "", U(1, 1, 1)),
    (0x01, "battery", "%", U(1, 1, 1)),
    (0x02, "temperature", "°C", I(2, 1, 100)),
    (0x03, "humidity", "%", U(2, 1, 100)),
    (0x04, "pressure", "hPa", U(3, 1, 100)),
    (0x05, "illuminance", "lx", U(3, 1, 100)),
    (0x06, "mass", "kg", U(2, 1, 100)),
    (0x07, "mass_lb", "lb", U(2, 1, 100)),
    (0x08, "dew_point", "°C", I(2, 1, 100)),
    (0x09, "count", "", U(1, 1, 1)),
    (0x0a, "energy", "kWh", U(3, 1, 1000)),
    (0x0b, "power", "W", U(3, 1, 100)),
    (0x0c, "voltage", "V", U(2, 1, 1000)),
    (0x0d, "pm2_5", "µg/m³", U(2, 1, 1)),
    (0x0e, "pm10", "µg/m³", U(2, 1, 1)),
    (0x0f, "on", "", Bit),
    (0x10, "power_on", "", Bit),
    (0x11, "opening", "", Bit),
    (0x12, "co2", "ppm", U(2, 1, 1)),
    (0x13, "tvoc", "µg/m³", U(2, 1, 1)),
    (0x14, "moisture", "%", U(2, 1, 100)),
    (0x15, "battery_low", "", Bit),
    (0x16, "battery_charging", "", Bit),
    (0x17, "carbon_monoxide", "", Bit),
    (0x18, "cold", "", Bit),
    (0x19, "connected", "", Bit),
    (0x1a, "door", "", Bit),
    (0x1b, "garage_door", "", Bit),
    (0x1c, "gas_detected", "", Bit),
    (0x1d, "heat", "", Bit),
    (0x1e, "light", "", Bit),
    (0x1f, "unlocked", "", Bit),
    (0x20, "wet", "", Bit),
    (0x21, "motion", "", Bit),
    (0x22, "moving", "", Bit),
    (0x23, "occupancy", "", Bit),
    (0x24, "plugged_in", "", Bit),
    (0x25, "presence", "", Bit),
    (0x26, "problem", "", Bit),
    (0x27, "running", "", Bit),
    (0x28, "safe", "", Bit),
    (0x29, "smoke", "", Bit),
    (0x2a, "sound", "", Bit),
    (0x2b, "tamper", "", Bit),
    (0x2c, "vibration", "", Bit),
    (0x2d, "window", "", Bit),
    (0x2e, "humidity", "%", U(1, 1, 1)),
    (0x2f, "moisture", "%", U(1, 1, 1)),
    (0x3a, "button", "", Button),
    (0x3c, "dimmer", "", Dimmer),
    (0x3d, "count", "", U(2, 1, 1)),
    (0x3e, "count", "", U(4, 1, 1)),
    (0x3f, "rotation", "°", I(2, 1, 10)),
    (0x40, "distance_mm", "mm", U(2, 1, 1)),
    (0x41, "distance", "m", U(2, 1, 10)),
    (0x42, "duration", "s", U(3, 1, 1000)),
    (0x43, "current", "A", U(2, 1, 1000)),
    (0x44, "speed", "m/s", U(2, 1, 100)),
    (0x45, "temperature", "°C", I(2, 1, 10)),
    (0x46, "uv_index", "", U(1, 1, 10)),
    (0x47, "volume", "L", U(2, 1, 10)),
    (0x48, "volume_ml", "mL", U(2, 1, 1)),
    (0x49, "flow_rate", "m³/h", U(2, 1, 1000)),
    (0x4a, "voltage", "V", U(2, 1, 10)),
    (0x4b, "gas", "m³", U(3, 1, 1000)),
    (0x4c, "gas", "m³", U(4, 1, 1000)),
    (0x4d, "energy", "kWh", U(4, 1, 1000)),
    (0x4e, "volume", "L", U(4, 1, 1000)),
    (0x4f, "water", "L", U(4, 1, 1000)),
    (0x50, "timestamp", "s", U(4, 1, 1)),
    (0x51, "acceleration", "m/s²", U(2, 1, 1000)),
    (0x52, "gyroscope", "°/s", U(2, 1, 1000)),
    (0x53, "text", "", Text),
    (0x54, "raw", "", Raw),
    (0x55, "volume_storage", "L", U(4, 1, 1000)),
    (0x56, "conductivity", "µS/cm", U(2, 1, 1)),
    (0x57, "temperature", "°C", I(1, 1, 1)),
    (0x58, "temperature", "°C", I(1, 35, 100)),
    (0x59, "count", "", I(1, 1, 1)),
    (0x5a, "count", "", I(2, 1, 1)),
    (0x5b, "count", "", I(4, 1, 1)),
    (0x5c, "power", "W", I(4, 1, 100)),
    (0x5d, "current", "A", I(2, 1, 1000)),
    (0x5e, "direction", "°", U(2, 1, 100)),
    (0x5f, "precipitation", "mm", U(2, 1, 10)),
    (0x60, "channel", "", U(1, 1, 1)),
    (0x61, "rotational_speed", "1/min", U(2, 1, 1)),
    (0x62, "speed", "m/s", I(4, 1, 1_000_000)),
    (0x63, "acceleration", "m/s²", I(4, 1, 1_000_000)),
    (0x64, "light_level", "", U(1, 1, 1)),
    // What the device is and which firmware it has: numbers for its maker.
    (0xf0, "device_type", "", U(2, 1, 1)),
    (0xf1, "firmware", "", U(4, 1, 1)),
    (0xf2, "firmware", "", U(3, 1, 1)),
];

const PRESSES: &[(u8, &str)] = &[
    (0x01, "press"),
    (0x02, "double-press"),
    (0x03, "triple-press"),
    (0x04, "long-press"),
    (0x05, "long-double-press"),
    (0x06, "long-triple-press"),
    (0x80, "hold"),
];

/// The unit of a field of this name; `None` when it has none.
pub(super) fn unit(name: &str) -> Option<&'static str> {
    OBJECTS.iter().find(|(_, known, unit, _)| *known == name && !unit.is_empty()).map(|(_, _, unit, _)| *unit)
}

pub(super) fn decode(data: &[u8], address: Address, key: Option<&Key>, counter: &mut Counter, fields: &mut Fields) -> Result<(), Refusal> {
    let (&info, body) = data.split_first().ok_or(Refusal::Malformed)?;
    if info >> 5 != 2 {
        return Err(Refusal::Unknown);
    }
    if info & 1 == 0 {
        return objects(body, fields);
    }
    let key = key.ok_or(Refusal::KeyMissing)?;
    let sealed = body.len().checked_sub(8).ok_or(Refusal::Malformed)?;
    let (sealed, rest) = body.split_at(sealed);
    let (count, tag) = rest.split_at(4);
    let nonce = [&address.0[..], &SERVICE.to_le_bytes(), &[info], count].concat();
    let open = key.open(&nonce, &[], &[sealed, tag].concat())?;
    counter.accept(u32::try_from(unsigned(count)).map_err(|_| Refusal::Malformed)?)?;
    objects(&open, fields)
}

fn objects(mut rest: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    while let Some((&id, after)) = rest.split_first() {
        // An object of a later version: its length is not known, and what follows it can only be later ones.
        let Some((_, name, _, form)) = OBJECTS.iter().find(|(known, ..)| *known == id) else { return Ok(()) };
        let (length, after) = match form {
            U(bytes, ..) | I(bytes, ..) => (*bytes, after),
            Bit | Button => (1, after),
            Dimmer => (2, after),
            Text | Raw => after.split_first().map(|(&length, after)| (usize::from(length), after)).ok_or(Refusal::Malformed)?,
        };
        let (bytes, after) = after.split_at_checked(length).ok_or(Refusal::Malformed)?;
        object(name, *form, bytes, fields)?;
        rest = after;
    }
    Ok(())
}

fn object(name: &str, form: Form, bytes: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    match form {
        U(_, times, by) => fields.put(name, over(unsigned(bytes) * times, by)),
        I(_, times, by) => fields.put(name, over(signed(bytes) * times, by)),
        Bit => match bytes {
            [0] => fields.put(name, Value::Bool(false)),
            [1] => fields.put(name, Value::Bool(true)),
            _ => return Err(Refusal::Malformed),
        },
        Text => fields.put(name, Value::Text(str::from_utf8(bytes).map_err(|_| Refusal::Malformed)?.to_owned())),
        Raw => fields.put(name, Value::Bytes(bytes.to_vec())),
        // Nothing happened to a button that sends 0: a device with several says which one it was.
        Button => match PRESSES.iter().find(|(code, _)| bytes == [*code]) {
            Some((_, word)) => fields.event(name, Value::Text((*word).to_owned())),
            None => fields.put(name, Value::Text("none".to_owned())),
        },
        Dimmer => match bytes {
            [1, steps] => fields.event(name, Value::Int(-i64::from(*steps))),
            [2, steps] => fields.event(name, Value::Int(i64::from(*steps))),
            _ => fields.put(name, Value::Int(0)),
        },
    }
    Ok(())
}

/// Little-endian, at most four bytes.
fn unsigned(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | i64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let bits = 8 * bytes.len() as u32;
    let n = unsigned(bytes);
    if bits > 0 && n >> (bits - 1) & 1 == 1 { n - (1 << bits) } else { n }
}
