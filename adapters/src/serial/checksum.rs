//! Checksums of frames: how they are reckoned, how they are written, where they stand.
//!
//! Pure functions. [`Place::check`] takes any bytes and never panics.

use std::{fmt, ops::Range};

use crc::{Crc, Table};

/// How a checksum is reckoned.
#[derive(Clone, Copy)]
pub enum Sum {
    /// The low byte of the sum of all bytes.
    Sum8,
    /// The low two bytes of the sum of all bytes.
    Sum16,
    /// All bytes exclusive-or; what NMEA and IEC 62056-21 (block check) use.
    Xor,
    /// The two's complement of the sum: all bytes and this make 0 (Modbus ASCII).
    Lrc,
    /// One of the catalogue of CRCs with 8 bits.
    Crc8(&'static Crc<u8, Table<1>>),
    /// With 16 bits.
    Crc16(&'static Crc<u16, Table<1>>),
    /// With 32 bits.
    Crc32(&'static Crc<u32, Table<1>>),
}

macro_rules! crcs {
    ($($width:ident, $kind:ident: $($word:literal = $name:ident,)*;)*) => {
        mod tables {
            $($(pub(super) static $name: super::Crc<$width, super::Table<1>> = super::Crc::<$width, super::Table<1>>::new(&crc::$name);)*)*
        }

        /// From the word in the configuration.
        pub fn named(word: &str) -> Option<Sum> {
            Some(match word {
                "sum8" => Sum::Sum8,
                "sum16" => Sum::Sum16,
                "xor" => Sum::Xor,
                "lrc" => Sum::Lrc,
                $($($word => Sum::$kind(&tables::$name),)*)*
                _ => return None,
            })
        }

        /// Every word there is.
        pub const WORDS: &[&str] = &["sum8", "sum16", "xor", "lrc", $($($word,)*)*];
    };
}

crcs! {
    u8, Crc8:
        "crc8" = CRC_8_SMBUS,
        "crc8-maxim" = CRC_8_MAXIM_DOW,
        "crc8-rohc" = CRC_8_ROHC,
        "crc8-sae-j1850" = CRC_8_SAE_J1850,
        "crc8-darc" = CRC_8_DARC,;
    u16, Crc16:
        "crc16-modbus" = CRC_16_MODBUS,
        "crc16-ccitt" = CRC_16_KERMIT,
        "crc16-ccitt-false" = CRC_16_IBM_3740,
        "crc16-xmodem" = CRC_16_XMODEM,
        "crc16-x25" = CRC_16_IBM_SDLC,
        "crc16-arc" = CRC_16_ARC,
        "crc16-usb" = CRC_16_USB,
        "crc16-maxim" = CRC_16_MAXIM_DOW,
        "crc16-dnp" = CRC_16_DNP,
        "crc16-en13757" = CRC_16_EN_13757,
        "crc16-genibus" = CRC_16_GENIBUS,
        "crc16-aug-ccitt" = CRC_16_SPI_FUJITSU,;
    u32, Crc32:
        "crc32" = CRC_32_ISO_HDLC,
        "crc32-bzip2" = CRC_32_BZIP2,
        "crc32c" = CRC_32_ISCSI,
        "crc32-mpeg2" = CRC_32_MPEG_2,
        "crc32-posix" = CRC_32_CKSUM,;
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a sum of {} bytes", self.width())
    }
}

impl Sum {
    /// Of these bytes.
    pub fn of(self, bytes: &[u8]) -> u32 {
        let sum = || bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        match self {
            Sum::Sum8 => sum() & 0xff,
            Sum::Sum16 => sum() & 0xffff,
            Sum::Xor => u32::from(bytes.iter().fold(0, |xor, byte| xor ^ byte)),
            Sum::Lrc => sum().wrapping_neg() & 0xff,
            Sum::Crc8(crc) => u32::from(crc.checksum(bytes)),
            Sum::Crc16(crc) => u32::from(crc.checksum(bytes)),
            Sum::Crc32(crc) => crc.checksum(bytes),
        }
    }

    /// How many bytes it has.
    pub fn width(self) -> usize {
        match self {
            Sum::Sum8 | Sum::Xor | Sum::Lrc | Sum::Crc8(_) => 1,
            Sum::Sum16 | Sum::Crc16(_) => 2,
            Sum::Crc32(_) => 4,
        }
    }
}

/// How a checksum is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Bytes, the high one first.
    High,
    /// Bytes, the low one first.
    Low,
    /// Hexadecimal digits, in either case when read and in upper case when written.
    Hex,
}

/// A checksum in a frame. Positions count from the frame's first byte, start bytes included and escapes undone.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// How it is reckoned.
    pub sum: Sum,
    /// How it is written.
    pub writing: Writing,
    /// Bytes at the beginning of the frame that are not counted.
    pub skip: usize,
    /// Bytes between the last one that is counted and the checksum, such as NMEA's `*`.
    pub gap: usize,
    /// Bytes after the checksum.
    pub after: usize,
}

/// The checksum is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong;

impl Place {
    /// Bytes that it takes in the frame.
    pub fn width(&self) -> usize {
        match self.writing {
            Writing::High | Writing::Low => self.sum.width(),
            Writing::Hex => 2 * self.sum.width(),
        }
    }

    /// Whether the frame ends as it says. What is counted, when it is right.
    pub fn check(&self, frame: &[u8]) -> Result<Range<usize>, Wrong> {
        let at = frame.len().checked_sub(self.after + self.width()).ok_or(Wrong)?;
        let end = at.checked_sub(self.gap).filter(|end| *end >= self.skip).ok_or(Wrong)?;
        let said = frame.get(at..at + self.width()).ok_or(Wrong)?;
        let counted = frame.get(self.skip..end).ok_or(Wrong)?;
        let right = self.write(counted);
        let same = if self.writing == Writing::Hex { said.eq_ignore_ascii_case(&right) } else { said == right };
        if same { Ok(self.skip..end) } else { Err(Wrong) }
    }

    /// The checksum of these bytes, as it stands on the line.
    pub fn write(&self, counted: &[u8]) -> Vec<u8> {
        let (sum, width) = (self.sum.of(counted), self.sum.width());
        let bytes = &sum.to_be_bytes()[4 - width..];
        match self.writing {
            Writing::High => bytes.to_vec(),
            Writing::Low => bytes.iter().rev().copied().collect(),
            Writing::Hex => format!("{sum:0digits$X}", digits = 2 * width).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the CRC catalogue, and of plain sums, for the digits 1 to 9.
    #[test]
    fn every_checksum_has_its_published_check_value() {
        let published = [
            ("sum8", 0xdd),
            ("sum16", 0x1dd),
            ("xor", 0x31),
            ("lrc", 0x23),
            ("crc8", 0xf4),
            ("crc8-maxim", 0xa1),
            ("crc8-rohc", 0xd0),
            ("crc8-sae-j1850", 0x4b),
            ("crc8-darc", 0x15),
            ("crc16-modbus", 0x4b37),
            ("crc16-ccitt", 0x2189),
            ("crc16-ccitt-false", 0x29b1),
            ("crc16-xmodem", 0x31c3),
            ("crc16-x25", 0x906e),
            ("crc16-arc", 0xbb3d),
            ("crc16-usb", 0xb4c8),
            ("crc16-maxim", 0x44c2),
            ("crc16-dnp", 0xea82),
            ("crc16-en13757", 0xc2b7),
            ("crc16-genibus", 0xd64e),
            ("crc16-aug-ccitt", 0xe5cc),
            ("crc32", 0xcbf4_3926),
            ("crc32-bzip2", 0xfc89_1918),
            ("crc32c", 0xe306_9283),
            ("crc32-mpeg2", 0x0376_e6e7),
            ("crc32-posix", 0x765e_7680),
        ];
        assert_eq!(published.map(|(word, _)| word).to_vec(), WORDS);
        for (word, value) in published {
            assert_eq!(named(word).expect(word).of(b"123456789"), value, "{word}");
        }
    }

    #[test]
    fn a_place_finds_its_checksum_and_nothing_else() {
        let nmea = Place { sum: Sum::Xor, writing: Writing::Hex, skip: 1, gap: 1, after: 0 };
        let good = b"$GPGLL,4916.45,N,12311.12,W,225444,A,*1D";
        assert_eq!(nmea.check(good), Ok(1..good.len() - 3));
        assert_eq!(nmea.check(b"$GPGLL,4916.45,N,12311.12,W,225444,A,*1d"), Ok(1..good.len() - 3));
        for short in 0..good.len() {
            assert_eq!(nmea.check(&good[..short]), Err(Wrong), "{short}");
        }
        let crc = Place { sum: named("crc16-modbus").expect("known"), writing: Writing::Low, skip: 0, gap: 0, after: 0 };
        assert_eq!(crc.check(&[0x01, 0x03, 0x00, 0x00, 0x00, 0x0a, 0xc5, 0xcd]), Ok(0..6));
    }
}
