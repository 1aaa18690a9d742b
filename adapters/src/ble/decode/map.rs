//! For formats that nobody has told us: bytes at fixed places, as the configuration says.

use tidegate_core::reading::Value;

use super::{Advert, Refusal};
use crate::value::Piece;

/// Which of the data in an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Of a company.
    Company(u16),
    /// Of a service.
    Service(u16),
}

/// Where a value is in an advertisement, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// In which data.
    pub from: From,
    /// Only in data that begins so.
    pub starts: Vec<u8>,
    /// Where in it, from its first byte; the 16-bit number is not counted.
    pub piece: Piece,
}

impl Map {
    /// `Ok(None)` when the advertisement is another one: sensors take turns with several.
    pub fn read(&self, advert: &Advert) -> Result<Option<Value>, Refusal> {
        let data = match self.from {
            From::Company(company) => advert.of_company(company),
            From::Service(service) => advert.of_service(service),
        };
        match data.filter(|data| data.starts_with(&self.starts)) {
            None => Ok(None),
            Some(data) => self.piece.read(data).ok_or(Refusal::Malformed)?.map(Some).map_err(|_| Refusal::Malformed),
        }
    }
}
