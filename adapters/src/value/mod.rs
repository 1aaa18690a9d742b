//! What registers mean: every type in every order, both ways. Layouts of bytes on serial lines use the same.
//!
//! Pure functions, no I/O. [`Shape::decode`] takes any words and never panics; what are no digits, no text or not
//! enough words is [`NotAValue`]. [`Shape::encode`] is its inverse and refuses what does not fit.
//! Scale, offset and labels are not applied here; that is `normalise`'s.

mod number;
pub(crate) mod place;

use tidegate_core::reading::Value;

pub use place::{Piece, Spot};

use number::{bcd_from, bcd_into, half_from, half_into, plain};

/// Registers of the widest number: 64 bits.
const MAX_NUMBER_WORDS: usize = 4;

/// How the bytes of a number lie in its registers; A is the most significant byte of four, D the least.
/// For one register only the order of the bytes counts, for four the same pattern goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// High register first, high byte first: what the Modbus specification says.
    #[default]
    Abcd,
    /// Low register first, high byte first.
    Cdab,
    /// High register first, low byte first.
    Badc,
    /// Low register first, low byte first.
    Dcba,
}

impl Order {
    /// All.
    pub const ALL: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

    fn low_word_first(self) -> bool {
        matches!(self, Order::Cdab | Order::Dcba)
    }

    /// One register with its high byte first.
    fn turn(self, word: u16) -> u16 {
        if matches!(self, Order::Badc | Order::Dcba) { word.swap_bytes() } else { word }
    }
}

/// How characters lie in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Two to a register, the first in the high byte.
    #[default]
    HighFirst,
    /// Two to a register, the first in the low byte.
    LowFirst,
    /// One to a register, in its high byte.
    HighOnly,
    /// One to a register, in its low byte.
    LowOnly,
}

impl Layout {
    /// All.
    pub const ALL: [Layout; 4] = [Layout::HighFirst, Layout::LowFirst, Layout::HighOnly, Layout::LowOnly];

    pub(crate) fn bytes_per_word(self) -> usize {
        if matches!(self, Layout::HighFirst | Layout::LowFirst) { 2 } else { 1 }
    }
}

/// What a point's registers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole register: 0 is false, anything else true.
    Bool,
    /// One bit of a register, 0 the least significant.
    Bit(u8),
    /// One byte of a register.
    Byte {
        /// The high one.
        high: bool,
        /// Two's complement.
        signed: bool,
    },
    /// A whole number over 1 to 4 registers.
    Whole {
        /// Registers.
        words: u8,
        /// Two's complement.
        signed: bool,
    },
    /// IEEE 754, 16 bits.
    F16,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
    /// Four decimal digits to a register, over 1 to 4 registers.
    Bcd {
        /// Registers.
        words: u8,
    },
    /// UTF-8, ended by NUL or the last register; trailing spaces are filling.
    Text {
        /// Registers.
        words: u16,
        /// Where the characters lie.
        layout: Layout,
    },
    /// Bytes as they are on the wire.
    Bytes {
        /// Registers.
        words: u16,
    },
}

/// A kind in an order. The order means nothing for text and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What it is.
    pub kind: Kind,
    /// How its bytes lie.
    pub order: Order,
}

/// The words hold no value of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAValue(pub &'static str);

impl Shape {
    /// How many registers it takes.
    pub fn words(&self) -> u16 {
        match self.kind {
            Kind::Bool | Kind::Bit(_) | Kind::Byte { .. } | Kind::F16 => 1,
            Kind::Whole { words, .. } | Kind::Bcd { words } => u16::from(words),
            Kind::F32 => 2,
            Kind::F64 => 4,
            Kind::Text { words, .. } | Kind::Bytes { words } => words,
        }
    }

    /// What the words say. They must be exactly as many as [`Shape::words`].
    pub fn decode(&self, words: &[u16]) -> Result<Value, NotAValue> {
        if words.len() != usize::from(self.words()) {
            return Err(NotAValue("not as many registers as the type has"));
        }
        match self.kind {
            Kind::Text { layout, .. } => text_from(words, layout),
            Kind::Bytes { .. } => Ok(Value::Bytes(words.iter().flat_map(|w| w.to_be_bytes()).collect())),
            _ => self.number_from(self.gather(words)?),
        }
    }

    fn number_from(&self, bits: u64) -> Result<Value, NotAValue> {
        let low = |bits: u64| (bits & 0xffff) as u16;
        Ok(match self.kind {
            Kind::Bool => Value::Bool(bits != 0),
            Kind::Bit(at) => Value::Bool(bits.checked_shr(u32::from(at)).unwrap_or(0) & 1 == 1),
            Kind::Byte { high, signed } => {
                let byte = low(bits).to_be_bytes()[usize::from(!high)];
                Value::Int(if signed { i64::from(byte as i8) } else { i64::from(byte) })
            }
            Kind::Whole { words, signed: true } => {
                let unused = 64_u32.saturating_sub(16 * u32::from(words)).min(63);
                Value::Int(((bits << unused) as i64) >> unused)
            }
            Kind::Whole { signed: false, .. } => i64::try_from(bits).map_or(Value::Uint(bits), Value::Int),
            Kind::F16 => Value::Float(half_from(low(bits))),
            Kind::F32 => Value::Float(plain(f32::from_bits((bits & 0xffff_ffff) as u32))),
            Kind::F64 => Value::Float(f64::from_bits(bits)),
            Kind::Bcd { words } => bcd_from(bits, words).map(Value::Int).ok_or(NotAValue("a digit above 9"))?,
            Kind::Text { .. } | Kind::Bytes { .. } => return Err(NotAValue("not a number")),
        })
    }

    /// Most significant first.
    fn gather(&self, words: &[u16]) -> Result<u64, NotAValue> {
        if words.len() > MAX_NUMBER_WORDS {
            return Err(NotAValue("more than 64 bits"));
        }
        let add = |bits: u64, word: &u16| bits << 16 | u64::from(self.order.turn(*word));
        Ok(if self.order.low_word_first() { words.iter().rev().fold(0, add) } else { words.iter().fold(0, add) })
    }

    /// The words that say this, or `None` when the value is not of this kind or does not fit.
    /// A bit or a byte is only a part of its register: the rest comes out as 0.
    pub fn encode(&self, value: &Value) -> Option<Vec<u16>> {
        match (self.kind, value) {
            (Kind::Text { words, layout }, Value::Text(text)) => text_into(text, words, layout),
            (Kind::Bytes { words }, Value::Bytes(bytes)) if bytes.len() == 2 * usize::from(words) => {
                Some(bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
            }
            (Kind::Text { .. } | Kind::Bytes { .. }, _) => None,
            _ => self.number_into(value).map(|bits| self.scatter(bits)),
        }
    }

    /// For a part of a register: its bits, as they are on the wire.
    pub fn mask(&self) -> Option<u16> {
        match self.kind {
            Kind::Bit(at) => 1_u16.checked_shl(u32::from(at)),
            Kind::Byte { high: true, .. } => Some(0xff00),
            Kind::Byte { high: false, .. } => Some(0x00ff),
            _ => return None,
        }
        .map(|mask| self.order.turn(mask))
    }

    fn number_into(&self, value: &Value) -> Option<u64> {
        match self.kind {
            Kind::Bool => boolean(value).map(u64::from),
            Kind::Bit(at) => boolean(value).and_then(|bit| u64::from(bit).checked_shl(u32::from(at))),
            Kind::Byte { high, signed } => whole(value, 8, signed).map(|byte| if high { byte << 8 } else { byte }),
            Kind::Whole { words, signed } => whole(value, 16 * u32::from(words), signed),
            Kind::F16 => half_into(value.as_f64()?).map(u64::from),
            Kind::F32 => {
                let number = value.as_f64()?;
                let short = number as f32;
                (short.is_finite() || !number.is_finite()).then(|| u64::from(short.to_bits()))
            }
            Kind::F64 => value.as_f64().map(f64::to_bits),
            Kind::Bcd { words } => whole(value, 64, false).and_then(|number| bcd_into(number, words)),
            Kind::Text { .. } | Kind::Bytes { .. } => None,
        }
    }

    fn scatter(&self, bits: u64) -> Vec<u16> {
        let count = usize::from(self.words()).min(MAX_NUMBER_WORDS);
        let at = |i: usize| if self.order.low_word_first() { i } else { count - 1 - i };
        (0..count).map(|i| self.order.turn((bits >> (16 * at(i)) & 0xffff) as u16)).collect()
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(bit) => Some(*bit),
        Value::Int(n @ (0 | 1)) => Some(*n == 1),
        _ => None,
    }
}

/// As `bits` bits, two's complement if signed.
fn whole(value: &Value, bits: u32, signed: bool) -> Option<u64> {
    let number = match value {
        Value::Int(n) => i128::from(*n),
        Value::Uint(n) => i128::from(*n),
        _ => return None,
    };
    let (least, most) = if signed { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
    (least..=most).contains(&number).then(|| (number as u128 & ((1_u128 << bits) - 1)) as u64)
}

fn text_from(words: &[u16], layout: Layout) -> Result<Value, NotAValue> {
    let mut bytes = Vec::with_capacity(words.len() * layout.bytes_per_word());
    for word in words {
        let [high, low] = word.to_be_bytes();
        match layout {
            Layout::HighFirst => bytes.extend([high, low]),
            Layout::LowFirst => bytes.extend([low, high]),
            Layout::HighOnly => bytes.push(high),
            Layout::LowOnly => bytes.push(low),
        }
    }
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    let text = String::from_utf8(bytes).map_err(|_| NotAValue("bytes that are no UTF-8 text"))?;
    Ok(Value::Text(text.trim_end_matches(' ').to_owned()))
}

fn text_into(text: &str, words: u16, layout: Layout) -> Option<Vec<u16>> {
    let (bytes, room) = (text.as_bytes(), usize::from(words) * layout.bytes_per_word());
    if bytes.len() > room || bytes.contains(&0) {
        return None;
    }
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let word = |i: usize| match layout {
        Layout::HighFirst => u16::from_be_bytes([at(2 * i), at(2 * i + 1)]),
        Layout::LowFirst => u16::from_be_bytes([at(2 * i + 1), at(2 * i)]),
        Layout::HighOnly => u16::from_be_bytes([at(i), 0]),
        Layout::LowOnly => u16::from_be_bytes([0, at(i)]),
    };
    Some((0..usize::from(words)).map(word).collect())
}

#[cfg(test)]
mod tests;
