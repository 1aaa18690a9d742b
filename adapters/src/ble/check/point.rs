//! The points of one sensor: a field of a known format, bytes of an advertisement, or bytes of a characteristic.

use std::collections::BTreeMap;

use tidegate_core::{
    id::PointName,
    problem::Problems,
    profile::{PointProfile, Takes},
};

use super::{Point, Source};
use crate::{
    ble::{
        config::{RawField, RawSensor},
        decode::{From, Map, unit_of},
        gatt::{Characteristic, Uuid},
    },
    value::{Order, Piece, Spot, place::Form},
};

/// A characteristic holds at most this (Core Specification, volume 3, part F, 3.2.9).
const LONGEST_VALUE: usize = 512;

pub(super) fn points(raw: &RawSensor, problems: &mut Problems) -> Vec<(PointProfile, Point)> {
    let mut names = BTreeMap::new();
    let mut points = Vec::new();
    let mut list = problems.key("point");
    for (at, point) in raw.point.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&point.name));
        if names.insert(&point.name, at).is_some() {
            problems.key("name").error("is taken by another point of this device", "give each point a name of its own");
        }
        let source = source(point, problems);
        let name = match PointName::new(&point.name) {
            Ok(name) => name,
            Err(error) => {
                problems.key("name").error(format!("'{}' is not a point name", error.text), error.rule);
                continue;
            }
        };
        let takes = match &source {
            Some(Source::Characteristic(characteristic)) => takes(characteristic),
            _ => Takes::Nothing("an advertisement is only heard: name the `characteristic` that takes it"),
        };
        let mut profile = point.about.check_with(name.clone(), takes, problems);
        if let Some(Source::Field(field)) = &source {
            let untouched = point.about.scale.is_none() && point.about.offset.is_none();
            if profile.unit.is_none() && untouched {
                profile.unit = unit_of(field).map(str::to_owned);
            }
        }
        points.extend(source.map(|source| (profile, Point { name, source })));
    }
    points
}

/// A write is the whole characteristic.
fn takes(characteristic: &Characteristic) -> Takes {
    let spot = characteristic.piece.spot();
    match spot.from_end || spot.offset > 0 {
        true => Takes::Nothing("a write is the whole characteristic, and this point is a part of it"),
        false => characteristic.piece.takes(),
    }
}

/// `None` when a problem was told.
fn source(raw: &RawField, problems: &mut Problems) -> Option<Source> {
    let told = only_its_own_keys(raw, problems);
    if raw.from.is_none() && raw.characteristic.is_none() {
        return (!told).then(|| Source::Field(raw.field.clone().unwrap_or_else(|| raw.name.clone())));
    }
    let piece = piece(raw, problems);
    if let Some(text) = &raw.characteristic {
        let uuid = uuid("characteristic", Some(text), problems);
        let service = uuid_or_none(raw, problems);
        let (service, uuid) = (service?, uuid?);
        let characteristic = Characteristic {
            service,
            uuid,
            piece: piece?,
            notify: raw.notify == Some(true),
            acknowledged: raw.acknowledged,
            read_back: raw.read_back != Some(false),
        };
        return (!told).then_some(Source::Characteristic(characteristic));
    }
    let from = from(raw, problems);
    let starts = starts(raw, problems);
    let map = Map { from: from?, starts: starts?, piece: piece? };
    (!told).then_some(Source::Bytes(map))
}

/// Whether one was told of.
fn only_its_own_keys(raw: &RawField, problems: &mut Problems) -> bool {
    let (bytes, gatt) = (raw.from.is_some(), raw.characteristic.is_some());
    let writable = raw.about.write.writable == Some(true);
    let keys = [
        ("field", raw.field.is_some(), !bytes && !gatt, "with `from` or `characteristic`, which say where the value is"),
        ("from", bytes, !gatt, "beside `characteristic`"),
        ("starts", raw.starts.is_some(), bytes, "without `from`"),
        ("service", raw.service.is_some(), gatt, "without `characteristic`"),
        ("at", raw.at.is_some(), bytes || gatt, "without `from` or `characteristic`"),
        ("type", raw.kind.is_some(), bytes || gatt, "without `from` or `characteristic`"),
        ("bit", raw.bit.is_some(), bytes || gatt, "without `from` or `characteristic`"),
        ("length", raw.length.is_some(), bytes || gatt, "without `from` or `characteristic`"),
        ("order", raw.order.is_some(), bytes || gatt, "without `from` or `characteristic`"),
        ("notify", raw.notify.is_some(), gatt, "without `characteristic`"),
        ("acknowledged", raw.acknowledged.is_some(), gatt && writable, "without `characteristic` and writable = true"),
        ("read_back", raw.read_back.is_some(), gatt && writable, "without `characteristic` and writable = true"),
    ];
    let mut told = false;
    for (key, ..) in keys.iter().filter(|(_, given, fits, _)| *given && !fits) {
        let how = keys.iter().find(|(name, ..)| name == key).map_or("", |(.., how)| *how);
        problems.key(key).error(format!("has no meaning {how}"), "leave it out");
        told = true;
    }
    told
}

fn uuid(key: &str, text: Option<&String>, problems: &mut Problems) -> Option<Uuid> {
    let uuid = text?.parse::<Uuid>().ok();
    if uuid.is_none() {
        problems.key(key).error("is no number of Bluetooth", "write \"2a19\", or all of it: \"00002a19-0000-1000-8000-00805f9b34fb\"");
    }
    uuid
}

/// The outer `None`: a problem was told.
fn uuid_or_none(raw: &RawField, problems: &mut Problems) -> Option<Option<Uuid>> {
    match &raw.service {
        Some(text) => uuid("service", Some(text), problems).map(Some),
        None => Some(None),
    }
}

fn from(raw: &RawField, problems: &mut Problems) -> Option<From> {
    let (kind, number) = raw.from.as_ref()?.split_once(':').unwrap_or_default();
    let number = number.trim_start_matches("0x").parse::<Uuid>().ok().and_then(Uuid::short);
    match (kind, number) {
        ("manufacturer", Some(company)) => Some(From::Company(company)),
        ("service", Some(service)) => Some(From::Service(service)),
        _ => {
            problems.key("from").error(
                "does not say which data",
                "write \"manufacturer:\" or \"service:\" and its number: \"manufacturer:0499\", \"service:181a\"",
            );
            None
        }
    }
}

fn starts(raw: &RawField, problems: &mut Problems) -> Option<Vec<u8>> {
    let digits: String = raw.starts.as_deref().unwrap_or_default().split_ascii_whitespace().collect();
    let fine = digits.len().is_multiple_of(2) && digits.len() <= 2 * LONGEST_VALUE && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !fine {
        problems.key("starts").error("is not bytes in hexadecimal", "write two digits for each byte: \"10 05\"");
        return None;
    }
    Some((0..digits.len()).step_by(2).filter_map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect())
}

fn piece(raw: &RawField, problems: &mut Problems) -> Option<Piece> {
    let at = raw.at.unwrap_or(0);
    let spot = Spot { offset: at.unsigned_abs() as usize, from_end: at < 0 };
    let order = raw.order.map_or(Order::Dcba, |order| order.order());
    let length = raw.length.filter(|length| *length > 0).map(usize::from);
    let piece = match (raw.kind, raw.bit) {
        (None | Some(Form::Bool), Some(bit)) => Piece::Bit(spot, bit),
        (Some(_), Some(_)) => {
            problems.key("bit").error("makes the point a bool", "leave `type` out, or `bit`");
            return None;
        }
        (None, None) => {
            problems.key("type").error("is missing", "write what the bytes hold, such as \"u16\"");
            return None;
        }
        (Some(form), None) => match form.at(spot, order, length) {
            Some(piece) => piece,
            None => {
                problems.key("length").error("is missing", "write how many bytes it takes");
                return None;
            }
        },
    };
    let is_list = matches!(piece, Piece::Text(..) | Piece::Bytes(..));
    if raw.length.is_some() && !is_list {
        problems.key("length").error("is for \"string\" and \"bytes\"; other types know their length", "leave it out");
        return None;
    }
    let end = if spot.from_end { spot.offset } else { spot.offset + piece.width() };
    if end > LONGEST_VALUE {
        problems.key("at").error(format!("no value is longer than {LONGEST_VALUE} bytes"), "write where its first byte is, from 0");
        return None;
    }
    if spot.from_end && spot.offset < piece.width() {
        problems
            .key("at")
            .error(format!("leaves no room for {} bytes before the end", piece.width()), format!("write -{} or less", piece.width()));
        return None;
    }
    Some(piece)
}
