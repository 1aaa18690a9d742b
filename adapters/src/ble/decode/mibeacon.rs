//! Xiaomi MiBeacon: service data of 0xFE95. Versions 2 to 5 plain, 4 and 5 encrypted (AES-CCM, a key of 16 bytes).
//!
//! Frame control (its bits say what follows), product, counter, then address, capability and one object, each where the
//! frame control says so. The older encryption with keys of 12 bytes has no tag that would tell a wrong key: it is refused.

use tidegate_core::reading::Value;

use super::{Counter, Fields, Key, Refusal, over};
use crate::ble::advert::Address;

/// Xiaomi Inc.
pub(super) const SERVICE: u16 = 0xfe95;

const ENCRYPTED: u16 = 1 << 3;
const WITH_ADDRESS: u16 = 1 << 4;
const WITH_CAPABILITY: u16 = 1 << 5;
const WITH_OBJECT: u16 = 1 << 6;
/// In the capability byte: two more bytes follow.
const WITH_IO: u8 = 1 << 5;

pub(super) fn decode(data: &[u8], address: Address, key: Option<&Key>, counter: &mut Counter, fields: &mut Fields) -> Result<(), Refusal> {
    let (head, mut rest) = data.split_at_checked(5).ok_or(Refusal::Malformed)?;
    let control = u16::from_le_bytes([head[0], head[1]]);
    let mut owner: Vec<u8> = address.0.iter().rev().copied().collect();
    if control & WITH_ADDRESS != 0 {
        let (given, after) = rest.split_at_checked(6).ok_or(Refusal::Malformed)?;
        owner = given.to_vec();
        rest = after;
    }
    if control & WITH_CAPABILITY != 0 {
        let (&capability, after) = rest.split_first().ok_or(Refusal::Malformed)?;
        rest = if capability & WITH_IO != 0 { after.get(2..).ok_or(Refusal::Malformed)? } else { after };
    }
    if control & WITH_OBJECT == 0 {
        return Ok(());
    }
    if control & ENCRYPTED == 0 {
        return objects(rest, fields);
    }
    if control >> 12 < 4 {
        return Err(Refusal::Unknown);
    }
    let key = key.ok_or(Refusal::KeyMissing)?;
    let sealed = rest.len().checked_sub(7).ok_or(Refusal::Malformed)?;
    let (sealed, tail) = rest.split_at(sealed);
    let (high, tag) = tail.split_at(3);
    let nonce = [&owner[..], &head[2..5], high].concat();
    let open = key.open(&nonce, &[0x11], &[sealed, tag].concat())?;
    counter.accept(u32::from_le_bytes([head[4], high[0], high[1], high[2]]))?;
    objects(&open, fields)
}

fn objects(mut rest: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(3).ok_or(Refusal::Malformed)?;
        let (data, after) = after.split_at_checked(usize::from(head[2])).ok_or(Refusal::Malformed)?;
        object(u16::from_le_bytes([head[0], head[1]]), data, fields);
        rest = after;
    }
    Ok(())
}

/// Objects that are not here, or not as long as they should be, are passed over: there are hundreds, for locks and toothbrushes.
fn object(kind: u16, data: &[u8], fields: &mut Fields) {
    let bit = |fields: &mut Fields, name: &str, on: bool| fields.put(name, Value::Bool(on));
    match (kind, data) {
        (0x0003, [_, ..]) => fields.event("motion", Value::Bool(true)),
        (0x000f, [a, b, c]) => {
            fields.event("motion", Value::Bool(true));
            fields.put("illuminance", over(u32::from_le_bytes([*a, *b, *c, 0]).into(), 1));
        }
        (0x1004, [a, b]) => fields.put("temperature", over(i16::from_le_bytes([*a, *b]).into(), 10)),
        (0x1006, [a, b]) => fields.put("humidity", over(u16::from_le_bytes([*a, *b]).into(), 10)),
        (0x1007, [a, b, c]) => fields.put("illuminance", over(u32::from_le_bytes([*a, *b, *c, 0]).into(), 1)),
        (0x1008, [a]) => fields.put("moisture", over((*a).into(), 1)),
        (0x1009, [a, b]) => fields.put("conductivity", over(u16::from_le_bytes([*a, *b]).into(), 1)),
        (0x100a, [a, ..]) => fields.put("battery", over((*a).into(), 1)),
        (0x100d, [a, b, c, d]) => {
            fields.put("temperature", over(i16::from_le_bytes([*a, *b]).into(), 10));
            fields.put("humidity", over(u16::from_le_bytes([*c, *d]).into(), 10));
        }
        (0x1010, [a, b]) => fields.put("formaldehyde", over(u16::from_le_bytes([*a, *b]).into(), 100)),
        (0x1012, [a]) => bit(fields, "on", *a != 0),
        (0x1014, [a]) => bit(fields, "wet", *a != 0),
        (0x1015, [a]) => bit(fields, "smoke", *a != 0),
        (0x1017, [a, b, c, d]) => fields.put("no_motion", over(u32::from_le_bytes([*a, *b, *c, *d]).into(), 1)),
        (0x1018, [a]) => bit(fields, "light", *a != 0),
        (0x1019, [0]) => bit(fields, "opening", true),
        (0x1019, [1]) => bit(fields, "opening", false),
        (0x4c01, [a, b, c, d]) => fields.put("temperature", float([*a, *b, *c, *d])),
        (0x4c02, [a]) => fields.put("humidity", over((*a).into(), 1)),
        (0x4c03, [a]) => fields.put("battery", over((*a).into(), 1)),
        (0x4c08, [a, b, c, d]) => fields.put("humidity", float([*a, *b, *c, *d])),
        _ => {}
    }
}

fn float(bytes: [u8; 4]) -> Value {
    Value::Float(f32::from_le_bytes(bytes).into())
}
