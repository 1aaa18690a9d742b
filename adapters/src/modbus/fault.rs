//! Why a question got no answer, and how that is said.

use tidegate_core::{adapter::AdapterError, reading::Reason};

use super::{link::Asked, plan::Spot};

/// Why a question got no answer.
#[derive(Debug)]
pub enum Fault {
    /// Nothing came within the time limit.
    Silent,
    /// The unit answered that it will not: the Modbus exception code.
    Refused(u8),
    /// Something came and made no sense: what, with the bytes.
    Garbled(String),
    /// The connection was closed instead of an answer.
    Closed,
    /// Not asked: it owes too many answers, and a new one could not be told from them.
    Owes,
    /// Not sent: unit 0 calls all units at once, and none confirms.
    Broadcast,
    /// The bus is gone.
    Lost(AdapterError),
}

impl Fault {
    /// Whether somebody lives there: an answer that makes sense, if an unwelcome one. A gateway that answers in
    /// place of a unit (10 and 11) says that nobody does.
    pub fn shows_life(&self) -> bool {
        matches!(self, Fault::Refused(code) if !matches!(code, 10 | 11))
    }

    /// Whether the same question may get an answer in a moment.
    pub fn is_busy(&self) -> bool {
        matches!(self, Fault::Refused(5 | 6))
    }

    /// The quality of the points concerned.
    pub fn reason(&self) -> Reason {
        match self {
            Fault::Silent => Reason::Timeout,
            Fault::Refused(code) => Reason::Refused(*code),
            Fault::Garbled(_) => Reason::Garbled,
            Fault::Closed => Reason::Other("connection-closed"),
            Fault::Owes => Reason::PutAside,
            Fault::Broadcast => Reason::Other("broadcast"),
            Fault::Lost(_) => Reason::BusDown,
        }
    }

    /// For people: `no answer from unit 7 within 500 ms`.
    pub fn words(&self, asked: &Asked, spot: Spot) -> String {
        let unit = asked.unit;
        match self {
            Fault::Silent => format!("no answer from unit {unit} within {} ms", asked.timeout.as_millis()),
            Fault::Refused(code) => format!("unit {unit} refused {spot}: {} (exception {code})", exception(*code)),
            Fault::Garbled(what) => format!("asked unit {unit} for {spot}, got {what}"),
            Fault::Closed => format!("connection closed instead of an answer from unit {unit}"),
            Fault::Owes => format!("unit {unit} left too many questions open, it is not asked until their answers can no longer come"),
            Fault::Broadcast => "unit 0 calls all units at once, and none confirms".to_owned(),
            Fault::Lost(error) => error.to_string(),
        }
    }
}

/// The words of the specification (V1.1b3, 7).
fn exception(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledged, not ready yet",
        6 => "device busy",
        8 => "memory parity error",
        10 => "the gateway has no path to it",
        11 => "the gateway got no answer from it",
        _ => "a code the specification does not have",
    }
}
