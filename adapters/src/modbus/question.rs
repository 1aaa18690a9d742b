//! What goes over the wire, and what must come back.

use tokio_modbus::{Request, Response, prelude::ReadCode};

use super::{
    change::Change,
    plan::{Spot, Table},
};

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) request: Request<'static>,
    pub(super) expected: Expected,
    /// Bytes of question and answer together, as RTU frames.
    pub(super) bytes: usize,
}

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    Words(u16),
    Bits(u16),
    Identity,
    /// Exactly this.
    Echo(Response),
    /// Anything that the codec takes for an answer to this question: it carries the question's number.
    Numbered,
}

impl Question {
    pub(super) fn read(spot: Spot) -> Self {
        let (words, bits) = (5 + 2 * usize::from(spot.count), 5 + usize::from(spot.count).div_ceil(8));
        let (request, expected, answer) = match spot.table {
            Table::Coil => (Request::ReadCoils(spot.address, spot.count), Expected::Bits(spot.count), bits),
            Table::Discrete => (Request::ReadDiscreteInputs(spot.address, spot.count), Expected::Bits(spot.count), bits),
            Table::Holding => (Request::ReadHoldingRegisters(spot.address, spot.count), Expected::Words(spot.count), words),
            Table::Input => (Request::ReadInputRegisters(spot.address, spot.count), Expected::Words(spot.count), words),
        };
        Self { request, expected, bytes: 8 + answer }
    }

    pub(super) fn identity(next: u8) -> Self {
        Self { request: Request::ReadDeviceIdentification(ReadCode::Basic, next), expected: Expected::Identity, bytes: 8 + 256 }
    }

    /// Some units acknowledge with what they hold instead of what was asked for. Where answers are numbered that is no
    /// doubt about whose answer it is, and what the unit holds is read afterwards in any case.
    pub(super) fn change(change: &Change, numbered: bool) -> Self {
        let (request, echo) = (change.request(), change.echo());
        let data = match &request {
            Request::WriteMultipleCoils(_, bits) => 1 + bits.len().div_ceil(8),
            Request::WriteMultipleRegisters(_, words) => 1 + 2 * words.len(),
            _ => 2,
        };
        Self { request, expected: if numbered { Expected::Numbered } else { Expected::Echo(echo) }, bytes: 8 + data + 10 }
    }

    /// The function that an answer may still come to when none came in time. Identification has an answer of its own
    /// kind, which cannot be mistaken for another.
    pub(super) fn owed(&self) -> Option<u8> {
        (self.expected != Expected::Identity).then(|| self.request.function_code().value())
    }
}

impl Expected {
    pub(super) fn check(self, response: Response) -> Result<Response, String> {
        let (came, wanted, what) = match (self, &response) {
            (Expected::Words(count), Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words)) => {
                (words.len(), usize::from(count), "registers")
            }
            (Expected::Bits(count), Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits)) => {
                (bits.len() / 8, usize::from(count).div_ceil(8), "bytes of bits")
            }
            (Expected::Identity, Response::ReadDeviceIdentification(_)) => (0, 0, ""),
            (Expected::Numbered, _) => (0, 0, ""),
            (Expected::Echo(echo), response) if echo == *response => (0, 0, ""),
            (Expected::Echo(_), _) => return Err("an acknowledgement of something else".to_owned()),
            _ => return Err("an answer of another kind".to_owned()),
        };
        if came == wanted { Ok(response) } else { Err(format!("{came} {what} instead of {wanted}")) }
    }
}
