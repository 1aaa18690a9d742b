//! The numbers of services and characteristics.

use std::{fmt, str::FromStr};

/// A UUID of 128 bits; short numbers are on the Bluetooth base (Core Specification, volume 3, part B, 2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::ble) struct Uuid(u128);

const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5f9b_34fb;

impl FromStr for Uuid {
    type Err = ();

    /// `2a19`, `0x2a19`, or all of it with its hyphens.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.strip_prefix("0x").unwrap_or(text);
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => u128::from_str_radix(text, 16).map_err(|_| ()),
            false => Err(()),
        };
        match text.len() {
            4 | 8 => Ok(Self(number(text)? << 96 | BASE)),
            36 if text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) => Ok(Self(number(&text.replace('-', ""))?)),
            _ => Err(()),
        }
    }
}

impl Uuid {
    /// Its 16-bit number, if it has one.
    pub(in crate::ble) fn short(self) -> Option<u16> {
        let number = self.0 >> 96;
        (number << 96 | BASE == self.0).then(|| u16::try_from(number).ok()).flatten()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(short) = self.short() {
            return write!(f, "{short:04x}");
        }
        let hex = format!("{:032x}", self.0);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_are_on_the_base() {
        let uuid: Uuid = "2A19".parse().expect("short");
        assert_eq!("00002a19-0000-1000-8000-00805f9b34fb".parse(), Ok(uuid));
        assert_eq!(uuid.to_string(), "2a19");
        let own = "f7826da6-4fa2-4e98-8024-bc5b71e0893e";
        assert_eq!(own.parse::<Uuid>().map(|uuid| (uuid.to_string(), uuid.short())), Ok((own.to_owned(), None)));
        for bad in ["", "2a1", "2a19x", "00002a19_0000_1000_8000_00805f9b34fb", "+a19", "f7826da6-4fa24-e98-8024-bc5b71e0893e"] {
            assert_eq!(bad.parse::<Uuid>(), Err(()), "{bad}");
        }
    }
}
