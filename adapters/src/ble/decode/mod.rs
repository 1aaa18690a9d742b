//! What an advertisement means. Pure functions: no clock, no radio, no memory beside a [`Counter`].
//!
//! A decoder gives fields in the units that people read, or says why it cannot. Whatever arrives, it never panics and
//! never gives a field that the bytes do not hold: "no value" codes of the formats leave the field out.

mod atc;
mod beacon;
mod bthome;
mod map;
mod mibeacon;
mod ruuvi;
mod seal;

use tidegate_core::reading::Value;

use super::{advert::Advert, radio::Wanted};

pub use map::{From, Map};
pub use seal::{Counter, Key};

/// One value of an advertisement.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name; a second one of the same name in the same advertisement is `name_2`.
    pub name: String,
    /// In its unit.
    pub value: Value,
    /// Something that happened, such as a button press: it counts once, however often it is repeated.
    pub event: bool,
}

/// Why an advertisement gave no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// None of the formats we know.
    Unknown,
    /// Too short, too long, or with a part that cannot be.
    Malformed,
    /// Encrypted, and no key is configured.
    KeyMissing,
    /// Encrypted with another key, or damaged, or forged.
    KeyWrong,
    /// Its counter has been seen: a recording that somebody plays.
    Replayed,
}

impl Refusal {
    /// In kebab-case, as readings carry it.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown-format",
            Refusal::Malformed => "garbled",
            Refusal::KeyMissing => "key-missing",
            Refusal::KeyWrong => "key-wrong",
            Refusal::Replayed => "replayed",
        }
    }
}

/// Collects fields and numbers those that have the same name.
#[derive(Debug, Default)]
struct Fields(Vec<Field>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.add(name, value, false);
    }

    fn event(&mut self, name: &str, value: Value) {
        self.add(name, value, true);
    }

    fn add(&mut self, name: &str, value: Value, event: bool) {
        let numbered = |field: &&Field| {
            field.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.strip_prefix('_').is_some_and(is_number))
        };
        let name = match self.0.iter().filter(numbered).count() {
            0 => name.to_owned(),
            before => format!("{name}_{}", before + 1),
        };
        self.0.push(Field { name, value, event });
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `n / by`, rounded once, so that 2506 / 100 is 25.06 and prints so.
fn over(n: i64, by: i64) -> Value {
    if by == 1 { Value::Int(n) } else { Value::Float(n as f64 / by as f64) }
}

/// What the formats that are known are carried in.
pub(super) const WANTED: [Wanted; 6] = [
    Wanted::service(bthome::SERVICE),
    Wanted::service(mibeacon::SERVICE),
    Wanted::service(atc::SERVICE),
    Wanted::service(beacon::EDDYSTONE),
    Wanted::company(ruuvi::COMPANY),
    Wanted::company(beacon::APPLE),
];

/// The format that an advertisement is in, as people call it; `None` when it is none of ours.
pub fn format_of(advert: &Advert) -> Option<&'static str> {
    let service = |uuid| advert.of_service(uuid).is_some();
    let company = |id| advert.of_company(id).is_some();
    Some(match () {
        () if service(bthome::SERVICE) => "BTHome",
        () if service(mibeacon::SERVICE) => "Xiaomi MiBeacon",
        () if service(atc::SERVICE) => "ATC or pvvx",
        () if company(ruuvi::COMPANY) => "Ruuvi",
        () if service(beacon::EDDYSTONE) => "Eddystone",
        () if company(beacon::APPLE) => "Apple, such as iBeacon",
        () => return None,
    })
}

/// The fields of an advertisement in the format that it is in. `key` is its sender's, `counter` what was last heard of it.
pub fn decode(advert: &Advert, key: Option<&Key>, counter: &mut Counter) -> Result<Vec<Field>, Refusal> {
    let mut fields = Fields::default();
    if let Some(data) = advert.of_service(bthome::SERVICE) {
        bthome::decode(data, advert.address, key, counter, &mut fields)?;
    } else if let Some(data) = advert.of_service(mibeacon::SERVICE) {
        mibeacon::decode(data, advert.address, key, counter, &mut fields)?;
    } else if let Some(data) = advert.of_service(atc::SERVICE) {
        atc::decode(data, advert.address, key, &mut fields)?;
    } else if let Some(data) = advert.of_company(ruuvi::COMPANY) {
        ruuvi::decode(data, &mut fields)?;
    } else if let Some(data) = advert.of_service(beacon::EDDYSTONE) {
        beacon::eddystone(data, &mut fields)?;
    } else if let Some(data) = advert.of_company(beacon::APPLE) {
        beacon::ibeacon(data, &mut fields)?;
    } else {
        return Err(Refusal::Unknown);
    }
    Ok(fields.0)
}

/// The unit that a field comes in; `None` for those that have none and for names that no format has.
pub fn unit_of(field: &str) -> Option<&'static str> {
    named(field).or_else(|| field.rsplit_once('_').filter(|(_, number)| is_number(number)).and_then(|(base, _)| named(base)))
}

fn named(field: &str) -> Option<&'static str> {
    Some(match field {
        "rssi" | "tx_power" => "dBm",
        "pm1" | "pm2_5" | "pm4" | "pm10" => "µg/m³",
        "acceleration_x" | "acceleration_y" | "acceleration_z" => "g",
        "formaldehyde" => "mg/m³",
        "no_motion" | "uptime" => "s",
        _ => return bthome::unit(field),
    })
}

#[cfg(test)]
mod tests;
