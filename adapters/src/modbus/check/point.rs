//! The points of one device: where they lie, what they hold, and whether the device can be asked for them so.

use std::{collections::BTreeSet, time::Duration};

use tidegate_core::{
    id::PointName,
    problem::Problems,
    profile::{PointProfile, Real, Takes},
};

use super::{
    super::{
        config::{RawAddress, RawDevice, RawFunctions, RawKind, RawLayout, RawModbusPoint, RawTable},
        plan::{Limits, Spot, Table},
        unit::Point,
        value::{Kind, Layout, Order, Shape},
        write::MOST_REGISTERS,
    },
    interval,
};

/// Cells in a table.
const CELLS: u32 = 65_536;

pub(super) fn points(raw: &RawDevice, default: Duration, limits: &Limits, problems: &mut Problems) -> Vec<(PointProfile, Point)> {
    let mut names = BTreeSet::new();
    let mut list = problems.key("point");
    let mut checked = Vec::new();
    for (at, point) in raw.point.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&point.name));
        if !names.insert(&point.name) {
            problems.key("name").error("is taken by another point of this device", "give each point a name of its own");
        }
        checked.extend(self::point(raw, point, default, limits, problems));
    }
    checked
}

fn point(
    device: &RawDevice,
    raw: &RawModbusPoint,
    default: Duration,
    limits: &Limits,
    problems: &mut Problems,
) -> Option<(PointProfile, Point)> {
    let table = match raw.register {
        RawTable::Coil => Table::Coil,
        RawTable::Discrete => Table::Discrete,
        RawTable::Holding => Table::Holding,
        RawTable::Input => Table::Input,
    };
    let interval = interval(raw.interval, default, problems);
    let shape = if table.is_bits() { bit_cell(raw, problems) } else { registers(device, raw, problems) };
    let address = address(raw, device.address_base.unwrap_or(0), problems);
    let name = PointName::new(&raw.name)
        .map_err(|error| problems.key("name").error(format!("'{}' is not a point name", error.text), error.rule))
        .ok();
    let takes = shape.map_or(Takes::Any, |shape| takes(table, shape));
    let profile = name.clone().map(|name| raw.point.check_with(name, takes, problems));
    let writable = raw.point.write.writable == Some(true) && matches!(table, Table::Coil | Table::Holding);
    writing(device, raw, shape.filter(|_| writable), problems);
    let spot = Spot { table, address: address?, count: shape?.words() };
    let most = if table.is_bits() { limits.bits } else { limits.registers };
    if spot.end() > CELLS {
        problems
            .key("address")
            .error(format!("a point of {} registers at {} ends beyond 65535", spot.count, spot.address), "check address and type");
    } else if spot.count > most {
        problems.key("type").error(
            format!("takes {} registers, and max_registers allows {most} in one request", spot.count),
            "raise max_registers, or make the point shorter",
        );
    }
    Some((profile?, Point { name: name?, spot, shape: shape?, interval, writable, read_back: raw.read_back != Some(false) }))
}

/// What raw values the cells take.
fn takes(table: Table, shape: Shape) -> Takes {
    let whole = |bits: u32, signed: bool| match signed {
        true => Takes::Whole { least: i64::MIN >> (64 - bits), most: u64::MAX >> (65 - bits) },
        false => Takes::Whole { least: 0, most: u64::MAX >> (64 - bits) },
    };
    match (table, shape.kind) {
        (Table::Discrete, _) => Takes::Nothing("no discrete input can be written"),
        (Table::Input, _) => Takes::Nothing("no input register can be written"),
        (_, Kind::Bool | Kind::Bit(_)) => Takes::Bit,
        (_, Kind::Byte { signed, .. }) => whole(8, signed),
        (_, Kind::Whole { words, signed }) => whole(16 * u32::from(words.clamp(1, 4)), signed),
        (_, Kind::F16) => Takes::Real(Real::Half),
        (_, Kind::F32) => Takes::Real(Real::Single),
        (_, Kind::F64) => Takes::Real(Real::Double),
        (_, Kind::Bcd { words }) => Takes::Whole { least: 0, most: 10_u64.pow(4 * u32::from(words.min(4))) - 1 },
        (_, Kind::Text { words, layout }) => Takes::Text { most_bytes: usize::from(words) * layout.bytes_per_word() },
        (_, Kind::Bytes { words }) => Takes::Bytes { count: 2 * usize::from(words) },
    }
}

/// Whether the device can be written so. `shape`: of a point that is writable.
fn writing(device: &RawDevice, raw: &RawModbusPoint, shape: Option<Shape>, problems: &mut Problems) {
    let Some(shape) = shape else {
        if raw.read_back.is_some() {
            problems.key("read_back").error("has no effect without writable = true", "add writable = true, or leave it out");
        }
        return;
    };
    if device.unit == 0 {
        problems.key("writable").error("unit 0 calls all units at once, and none confirms", "write the unit's own number, or leave it out");
    }
    let single = device.write_functions == Some(RawFunctions::Single);
    let most = if single { 1 } else { MOST_REGISTERS.min(device.max_registers.unwrap_or(MOST_REGISTERS)) };
    if shape.words() > most {
        problems.key("writable").error(
            format!("takes {} registers, and {most} can be written in one request: a value would be half new and half old", shape.words()),
            if single {
                "leave writable out, or leave write_functions out if the device has function 16"
            } else {
                "leave writable out, or make the point shorter"
            },
        );
    }
    if raw.read_back == Some(false) && shape.mask().is_some() && device.mask_write != Some(true) {
        problems.key("read_back").error(
            "must be true for a part of a register, which is read before it is written",
            "leave it out, or add mask_write = true at the device if it has function 22",
        );
    }
}

/// The address on the wire.
fn address(raw: &RawModbusPoint, base: u8, problems: &mut Problems) -> Option<u16> {
    let mut problems = problems.key("address");
    let number = match &raw.address {
        RawAddress::Number(number) => Some(*number),
        RawAddress::Text(text) => match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
    };
    let Some(number) = number else {
        problems.error("is not an address", "write a number, or hexadecimal as text: \"0x64\"");
        return None;
    };
    let on_wire = number.checked_sub(i64::from(base)).and_then(|n| u16::try_from(n).ok());
    if on_wire.is_none() {
        let next = match number {
            0 => "with address_base = 1 the first register is 1",
            100_000.. => "leave the leading digit out: it says which table, and `register` says that here",
            _ => "write a number from 0 to 65535",
        };
        problems.error(format!("{number} is not in any table"), next);
    }
    on_wire
}

/// Coils and discrete inputs are bits and nothing else.
fn bit_cell(raw: &RawModbusPoint, problems: &mut Problems) -> Option<Shape> {
    let given = [
        ("bit", raw.bit.is_some()),
        ("length", raw.length.is_some()),
        ("layout", raw.layout.is_some()),
        ("order", raw.order.is_some()),
        ("type", raw.kind.is_some_and(|kind| kind != RawKind::Bool)),
    ];
    for (key, _) in given.iter().filter(|(_, given)| *given) {
        problems
            .key(key)
            .error("is for registers; coils and discrete inputs are single bits", "leave it out, or read \"holding\" or \"input\"");
    }
    Some(Shape { kind: Kind::Bool, order: Order::Abcd })
}

fn registers(device: &RawDevice, raw: &RawModbusPoint, problems: &mut Problems) -> Option<Shape> {
    let order = raw.order.or(device.order).unwrap_or_default().order();
    let kind = kind(raw, problems)?;
    let is_list = matches!(kind, Kind::Text { .. } | Kind::Bytes { .. });
    if raw.length.is_some() && !is_list {
        problems.key("length").error("is for \"string\" and \"bytes\"; other types know their length", "leave it out");
    }
    if raw.layout.is_some() && !matches!(kind, Kind::Text { .. }) {
        problems.key("layout").error("is for \"string\"", "leave it out; for numbers there is `order`");
    }
    if raw.order.is_some() && is_list {
        problems.key("order").error("is for numbers", "leave it out; for \"string\" there is `layout`");
    }
    Some(Shape { kind, order })
}

fn kind(raw: &RawModbusPoint, problems: &mut Problems) -> Option<Kind> {
    let given = raw.kind.unwrap_or(if raw.bit.is_some() { RawKind::Bool } else { RawKind::U16 });
    if let Some(bit) = raw.bit {
        if given != RawKind::Bool {
            problems.key("bit").error("makes the point a bool", "leave `type` out, or `bit`");
        }
        if bit > 15 {
            problems.key("bit").error(format!("{bit} is not in a register"), "write 0 to 15, 0 the least significant");
        }
        return Some(Kind::Bit(bit));
    }
    let whole = |words, signed| Kind::Whole { words, signed };
    let byte = |high, signed| Kind::Byte { high, signed };
    Some(match given {
        RawKind::Bool => Kind::Bool,
        RawKind::U8High => byte(true, false),
        RawKind::U8Low => byte(false, false),
        RawKind::I8High => byte(true, true),
        RawKind::I8Low => byte(false, true),
        RawKind::U16 => whole(1, false),
        RawKind::I16 => whole(1, true),
        RawKind::U32 => whole(2, false),
        RawKind::I32 => whole(2, true),
        RawKind::U48 => whole(3, false),
        RawKind::I48 => whole(3, true),
        RawKind::U64 => whole(4, false),
        RawKind::I64 => whole(4, true),
        RawKind::F16 => Kind::F16,
        RawKind::F32 => Kind::F32,
        RawKind::F64 => Kind::F64,
        RawKind::Bcd16 => Kind::Bcd { words: 1 },
        RawKind::Bcd32 => Kind::Bcd { words: 2 },
        RawKind::Bcd64 => Kind::Bcd { words: 4 },
        RawKind::String => Kind::Text { words: length(raw, problems)?, layout: layout(raw) },
        RawKind::Bytes => Kind::Bytes { words: length(raw, problems)? },
    })
}

fn length(raw: &RawModbusPoint, problems: &mut Problems) -> Option<u16> {
    let length = raw.length.filter(|length| *length > 0);
    if length.is_none() {
        problems.key("length").error("is missing", "write how many registers the text or the bytes take");
    }
    length
}

fn layout(raw: &RawModbusPoint) -> Layout {
    match raw.layout.unwrap_or(RawLayout::HighFirst) {
        RawLayout::HighFirst => Layout::HighFirst,
        RawLayout::LowFirst => Layout::LowFirst,
        RawLayout::HighOnly => Layout::HighOnly,
        RawLayout::LowOnly => Layout::LowOnly,
    }
}
