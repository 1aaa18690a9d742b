//! NMEA 0183 sentences of satellite receivers, taken apart by the `nmea` crate.
//!
//! Each sentence by itself: nothing is remembered from one to the next. A receiver without a fix sends empty fields; those
//! are bad readings, never the last position.

use ::nmea::{
    Error, ParseResult, parse_str,
    sentences::{FixType, rmc::RmcStatusOfFix},
};
use tidegate_core::reading::{Reason, Value};

use super::Got;

/// What a sentence can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Degrees, north positive.
    Latitude,
    /// Degrees, east positive.
    Longitude,
    /// Metres above mean sea level.
    Altitude,
    /// Knots over ground.
    Speed,
    /// Degrees from true north.
    Course,
    /// Satellites used.
    Satellites,
    /// Dilution of precision, horizontal.
    Hdop,
    /// Whether there is a position.
    Fixed,
    /// UTC as text, `12:35:19`.
    Time,
    /// As text, `2026-11-25`.
    Date,
}

/// The longest sentence that is looked at; NMEA allows 82, receivers send some more.
const LONGEST: usize = 102;

/// A sentence with a right checksum; `None` for kinds that say nothing that we know.
pub(super) struct Sentence(Option<ParseResult>);

impl Sentence {
    pub(super) fn read(whole: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(whole).ok().filter(|text| text.len() <= LONGEST)?.trim_end();
        // Encapsulated sentences (`!`) are of ships and not of receivers.
        let from = text.rfind('$')?;
        match parse_str(&text[from..]) {
            Ok(sentence) => Some(Self(Some(sentence))),
            Err(Error::Unsupported(_) | Error::Unknown(_) | Error::DisabledSentence) => Some(Self(None)),
            Err(_) => None,
        }
    }

    /// `None` when sentences of this kind never say it.
    pub(super) fn get(&self, fix: Fix) -> Option<Got> {
        let number = |number: Option<f64>| Some(number.map(Value::Float).ok_or(Reason::NotAValue));
        let single = |single: Option<f32>| number(single.map(|single| single.to_string().parse().unwrap_or(f64::from(single))));
        let text = |text: Option<String>| Some(text.map(Value::Text).ok_or(Reason::NotAValue));
        let valid = |status: &RmcStatusOfFix| !matches!(status, RmcStatusOfFix::Invalid);
        match (self.0.as_ref()?, fix) {
            (ParseResult::GGA(gga), Fix::Latitude) => number(gga.latitude),
            (ParseResult::GGA(gga), Fix::Longitude) => number(gga.longitude),
            (ParseResult::GGA(gga), Fix::Altitude) => single(gga.altitude),
            (ParseResult::GGA(gga), Fix::Satellites) => {
                Some(gga.fix_satellites.map(|count| Value::Int(i64::from(count))).ok_or(Reason::NotAValue))
            }
            (ParseResult::GGA(gga), Fix::Hdop) => single(gga.hdop),
            (ParseResult::GGA(gga), Fix::Fixed) => Some(Ok(Value::Bool(gga.fix_type.is_some_and(|fix| fix != FixType::Invalid)))),
            (ParseResult::GGA(gga), Fix::Time) => text(gga.fix_time.map(|time| time.to_string())),
            (ParseResult::RMC(rmc), Fix::Latitude) => number(rmc.lat.filter(|_| valid(&rmc.status_of_fix))),
            (ParseResult::RMC(rmc), Fix::Longitude) => number(rmc.lon.filter(|_| valid(&rmc.status_of_fix))),
            (ParseResult::RMC(rmc), Fix::Speed) => single(rmc.speed_over_ground),
            (ParseResult::RMC(rmc), Fix::Course) => single(rmc.true_course),
            (ParseResult::RMC(rmc), Fix::Time) => text(rmc.fix_time.map(|time| time.to_string())),
            (ParseResult::RMC(rmc), Fix::Date) => text(rmc.fix_date.map(|date| date.to_string())),
            (ParseResult::GLL(gll), Fix::Latitude) => number(gll.latitude.filter(|_| gll.valid)),
            (ParseResult::GLL(gll), Fix::Longitude) => number(gll.longitude.filter(|_| gll.valid)),
            (ParseResult::GLL(gll), Fix::Time) => text(gll.fix_time.map(|time| time.to_string())),
            (ParseResult::VTG(vtg), Fix::Speed) => single(vtg.speed_over_ground),
            (ParseResult::VTG(vtg), Fix::Course) => single(vtg.true_course),
            (ParseResult::GSA(gsa), Fix::Hdop) => single(gsa.hdop),
            _ => None,
        }
    }
}
