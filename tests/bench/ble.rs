//! What an advertisement costs, decoded: `cargo bench -p tidegate-adapters --bench ble`. One for each format, plain and with its key, one that a
//! point describes itself, and one that is hostile. 200 sensors at one a second are 200 of these a second.

use std::hint::black_box;

use divan::Bencher;
use tidegate_adapters::ble::{
    advert::Advert,
    decode::{Counter, Key, decode},
};

fn main() {
    divan::main();
}

/// Format, service (s) or company (m), its number, the data, the key.
const FORMATS: [(&str, char, u16, &str, Option<&str>); 7] = [
    ("bthome", 's', 0xfcd2, "40015702ca0903bf13", None),
    ("bthome-key", 's', 0xfcd2, "41a47266c95f730011223378237214", Some("231d39c1d7cc1ab1aee224cd096db932")),
    ("ruuvi5", 'm', 0x0499, "0512fc5394c37c0004fffc040cac364200cdcbb8334c884f", None),
    ("atc", 's', 0x181a, "b2188d38c1a42b089011f70a43200f", None),
    ("mibeacon", 's', 0xfe95, "5020aa01da219335342d580d1004fe004802", None),
    ("ibeacon", 'm', 0x004c, "0215e2c56db5dffb48d2b060d0f5a71096e000010002c5", None),
    ("hostile", 's', 0xfcd2, "40ffffffffffffffffffffffffffffffffffffffffffffffffffff", None),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits")).collect()
}

#[divan::bench(args = FORMATS.map(|(name, ..)| name))]
fn decoded(bencher: Bencher<'_, '_>, which: &str) {
    let (_, kind, number, hex, key) = FORMATS.iter().find(|(name, ..)| *name == which).expect("known");
    let address = if key.is_some() { "54:48:E6:8F:80:A5" } else { "A4:C1:38:8D:18:B2" };
    let mut advert = Advert::new(address.parse().expect("an address"));
    let list = if *kind == 's' { &mut advert.service } else { &mut advert.manufacturer };
    list.push((*number, bytes(hex)));
    let key = key.map(|text| Key::parse(text).expect("a key"));
    let says = decode(&advert, key.as_ref(), &mut Counter::default()).is_ok_and(|fields| !fields.is_empty());
    assert!(says || which == "hostile", "{which} says nothing");
    bencher.bench(|| decode(black_box(&advert), key.as_ref(), &mut Counter::default()).map_or(0, |fields| fields.len()));
}
