//! Beacons: iBeacon (manufacturer data of Apple, type 0x02) and Eddystone UID, URL and TLM (service data of 0xFEAA).

use tidegate_core::reading::Value;

use super::{Fields, Refusal, over};

/// Apple, Inc.
pub(super) const APPLE: u16 = 0x004c;
/// Eddystone.
pub(super) const EDDYSTONE: u16 = 0xfeaa;

const SCHEMES: [&str; 4] = ["http://www.", "https://www.", "http://", "https://"];
const ENDINGS: [&str; 14] =
    [".com/", ".org/", ".edu/", ".net/", ".info/", ".biz/", ".gov/", ".com", ".org", ".edu", ".net", ".info", ".biz", ".gov"];

pub(super) fn ibeacon(data: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    let [0x02, 0x15, rest @ ..] = data else { return Err(Refusal::Unknown) };
    let (uuid, rest) = rest.split_at_checked(16).ok_or(Refusal::Malformed)?;
    let &[major1, major0, minor1, minor0, power] = rest else { return Err(Refusal::Malformed) };
    let hex = hex(uuid);
    fields.put("uuid", Value::Text(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])));
    fields.put("major", over(u16::from_be_bytes([major1, major0]).into(), 1));
    fields.put("minor", over(u16::from_be_bytes([minor1, minor0]).into(), 1));
    fields.put("tx_power", over(i8::from_be_bytes([power]).into(), 1));
    Ok(())
}

pub(super) fn eddystone(data: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    match data {
        // UID: two reserved bytes may be left out.
        [0x00, power, id @ ..] if id.len() == 16 || id.len() == 18 => {
            fields.put("namespace", Value::Text(hex(&id[..10])));
            fields.put("instance", Value::Text(hex(&id[10..16])));
            fields.put("tx_power", over(i8::from_be_bytes([*power]).into(), 1));
        }
        [0x10, power, scheme, rest @ ..] => {
            let mut url = SCHEMES.get(usize::from(*scheme)).ok_or(Refusal::Malformed)?.to_string();
            for byte in rest {
                match ENDINGS.get(usize::from(*byte)) {
                    Some(ending) => url.push_str(ending),
                    None if byte.is_ascii_graphic() => url.push(char::from(*byte)),
                    None => return Err(Refusal::Malformed),
                }
            }
            fields.put("url", Value::Text(url));
            fields.put("tx_power", over(i8::from_be_bytes([*power]).into(), 1));
        }
        [0x20, 0x00, v1, v0, t1, t0, c3, c2, c1, c0, u3, u2, u1, u0] => {
            // 0 volts: powered from elsewhere. 0x8000: no thermometer.
            let (voltage, temperature) = (u16::from_be_bytes([*v1, *v0]), i16::from_be_bytes([*t1, *t0]));
            if voltage != 0 {
                fields.put("voltage", over(voltage.into(), 1000));
            }
            if temperature != i16::MIN {
                fields.put("temperature", over(temperature.into(), 256));
            }
            fields.put("adverts", over(u32::from_be_bytes([*c3, *c2, *c1, *c0]).into(), 1));
            fields.put("uptime", over(u32::from_be_bytes([*u3, *u2, *u1, *u0]).into(), 10));
        }
        [] | [0x00 | 0x20, ..] | [0x10, ..] => return Err(Refusal::Malformed),
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
