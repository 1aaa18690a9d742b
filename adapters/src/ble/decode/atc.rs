//! The formats of the free firmware for Xiaomi's thermometers: ATC1441 and pvvx's "custom", plain and encrypted
//! (github.com/pvvx/ATC_MiThermometer): service data of 0x181A, told apart by length.
//!
//! The encrypted ones carry a counter of one byte that goes round every few minutes, which stops no replay: somebody with
//! a radio can play an old temperature. BTHome's encryption, which the same firmware offers, does not have this hole.

use super::{Fields, Key, Refusal, over};
use crate::ble::advert::Address;
use tidegate_core::reading::Value;

/// Environmental Sensing.
pub(super) const SERVICE: u16 = 0x181a;

pub(super) fn decode(data: &[u8], address: Address, key: Option<&Key>, fields: &mut Fields) -> Result<(), Refusal> {
    match *data {
        // ATC1441: address, then big-endian.
        [_, _, _, _, _, _, t1, t0, humidity, battery, v1, v0, counter] => {
            fields.put("temperature", over(i16::from_be_bytes([t1, t0]).into(), 10));
            fields.put("humidity", over(humidity.into(), 1));
            fields.put("battery", over(battery.into(), 1));
            fields.put("voltage", over(u16::from_be_bytes([v1, v0]).into(), 1000));
            fields.put("packet_id", over(counter.into(), 1));
        }
        // pvvx: address, then little-endian.
        [_, _, _, _, _, _, t0, t1, h0, h1, v0, v1, battery, counter, flags] => {
            custom([t0, t1, h0, h1, battery, flags], fields);
            fields.put("voltage", over(u16::from_le_bytes([v0, v1]).into(), 1000));
            fields.put("packet_id", over(counter.into(), 1));
        }
        [counter, _, _, _, _, _, _, _, _, _, _] => {
            let open = open(data, address, key)?;
            custom(open.try_into().map_err(|_| Refusal::Malformed)?, fields);
            fields.put("packet_id", over(counter.into(), 1));
        }
        [counter, _, _, _, _, _, _, _] => {
            let [temperature, humidity, battery] = open(data, address, key)?.try_into().map_err(|_| Refusal::Malformed)?;
            fields.put("temperature", over(i64::from(temperature) - 80, 2));
            fields.put("humidity", over(humidity.into(), 2));
            fields.put("battery", over((battery & 0x7f).into(), 1));
            fields.put("packet_id", over(counter.into(), 1));
        }
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

fn custom([t0, t1, h0, h1, battery, flags]: [u8; 6], fields: &mut Fields) {
    fields.put("temperature", over(i16::from_le_bytes([t0, t1]).into(), 100));
    fields.put("humidity", over(u16::from_le_bytes([h0, h1]).into(), 100));
    fields.put("battery", over(battery.into(), 1));
    // Bit 0 is the reed contact, closed when set: a door that it is on is open when it is not.
    fields.put("opening", Value::Bool(flags & 1 == 0));
}

/// The nonce is the address backwards and the head of the structure as it is on air: length, type, service, counter.
fn open(data: &[u8], address: Address, key: Option<&Key>) -> Result<Vec<u8>, Refusal> {
    let key = key.ok_or(Refusal::KeyMissing)?;
    let (&counter, sealed) = data.split_first().ok_or(Refusal::Malformed)?;
    let mut nonce: Vec<u8> = address.0.iter().rev().copied().collect();
    nonce.extend([u8::try_from(data.len() + 3).map_err(|_| Refusal::Malformed)?, 0x16, 0x1a, 0x18, counter]);
    key.open(&nonce, &[0x11], sealed)
}
