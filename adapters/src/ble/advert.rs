//! What a radio hears: one advertisement, taken apart as far as the radio does it for us.

use std::{fmt, str::FromStr};

/// A Bluetooth device address, the most significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 6]);

/// `A4:C1:38:8D:18:B2`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl FromStr for Address {
    type Err = ();

    /// Six bytes in hexadecimal with `:`, `-` or `_` between them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut address = [0; 6];
        let mut parts = text.split([':', '-', '_']);
        for byte in &mut address {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(())?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() { Err(()) } else { Ok(Self(address)) }
    }
}

/// One advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Who sent it.
    pub address: Address,
    /// How strong it was, in dBm.
    pub rssi: Option<i16>,
    /// By company number.
    pub manufacturer: Vec<(u16, Vec<u8>)>,
    /// By service; only those with a 16-bit number, which is where sensors put their values.
    pub service: Vec<(u16, Vec<u8>)>,
}

impl Advert {
    /// An advertisement that says nothing yet.
    pub fn new(address: Address) -> Self {
        Self { address, rssi: None, manufacturer: Vec::new(), service: Vec::new() }
    }

    /// The data of one service.
    pub fn of_service(&self, uuid: u16) -> Option<&[u8]> {
        self.service.iter().find(|(id, _)| *id == uuid).map(|(_, data)| data.as_slice())
    }

    /// The data of one company.
    pub fn of_company(&self, company: u16) -> Option<&[u8]> {
        self.manufacturer.iter().find(|(id, _)| *id == company).map(|(_, data)| data.as_slice())
    }

    /// Whether the other says the same, however strong it was.
    pub fn repeats(&self, other: &Self) -> bool {
        self.manufacturer == other.manufacturer && self.service == other.service
    }

    /// For people: `service fcd2: 40 02 ca 09`.
    pub fn raw(&self) -> String {
        let part = |what: &str, id: u16, data: &[u8]| {
            let bytes: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{what} {id:04x}: {}", bytes.join(" "))
        };
        let companies = self.manufacturer.iter().map(|(id, data)| part("company", *id, data));
        companies.chain(self.service.iter().map(|(id, data)| part("service", *id, data))).collect::<Vec<_>>().join("; ")
    }
}
