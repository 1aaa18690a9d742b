//! A command as requests that change cells, in its order.
//!
//! Promises: points are changed in the order of the command; neighbours that follow each other share a request as far as
//! the device takes them so; a part of a register (a bit, a byte) leaves the rest of it alone; nothing is planned for a
//! point that is not declared writable or a value that its registers cannot hold. Pure.

use tidegate_core::{id::PointName, reading::Value};

use super::super::{
    change::Change,
    link::Answer,
    plan::{Spot, Table},
    unit::{Device, Functions, Point},
    value::Kind,
};

/// Most registers in one request of function 16 (V1.1b3, 6.12).
pub(crate) const MOST_REGISTERS: u16 = 123;
/// Most coils in one request of function 15 (V1.1b3, 6.11).
const MOST_COILS: u16 = 1968;

/// One request and the points that it sets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) points: Vec<Piece>,
}

/// What a step does to the cells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Coils, all of each.
    Coils(u16, Vec<bool>),
    /// Registers, all of each.
    Registers(u16, Vec<u16>),
    /// Some bits of a register: `(old & keep) | put`.
    Part { address: u16, keep: u16, put: u16 },
}

/// A point and what it is set to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// Its place in the device's list.
    pub(super) point: usize,
    /// Its first cell in the step.
    pub(super) at: usize,
    pub(super) value: Value,
}

impl Step {
    pub(super) fn spot(&self) -> Spot {
        let (table, address, count) = match &self.work {
            Work::Coils(address, bits) => (Table::Coil, *address, bits.len()),
            Work::Registers(address, words) => (Table::Holding, *address, words.len()),
            Work::Part { address, .. } => (Table::Holding, *address, 1),
        };
        Spot { table, address, count: u16::try_from(count).unwrap_or(u16::MAX) }
    }

    /// The request, where it can be said without reading first.
    pub(super) fn change(&self, device: &Device) -> Option<Change> {
        let many = device.functions == Functions::Multiple;
        Some(match &self.work {
            Work::Coils(address, bits) => match bits.as_slice() {
                [bit] if !many => Change::Coil(*address, *bit),
                _ => Change::Coils(*address, bits.clone()),
            },
            Work::Registers(address, words) => registers(device, *address, words.clone()),
            Work::Part { address, keep, put } if device.masks => Change::Mask { address: *address, keep: *keep, put: *put },
            Work::Part { .. } => return None,
        })
    }

    /// Whether the unit shows afterwards what was written. The same for all points of a step.
    pub(super) fn reads_back(&self, device: &Device) -> bool {
        self.points.iter().filter_map(|piece| device.points.get(piece.point)).all(|point| point.read_back)
    }

    /// Both in one request, if that leaves the order and the device in peace.
    fn join(&mut self, next: &Step, device: &Device) -> bool {
        if self.reads_back(device) != next.reads_back(device) {
            return false;
        }
        let (here, there) = (self.spot(), next.spot());
        let (behind, before) = (here.end() == u32::from(there.address), there.end() == u32::from(here.address));
        let (fits, single) = (here.count + there.count <= most(device, here.table), device.functions == Functions::Single);
        let near = (behind || before) && fits && !single;
        match (&mut self.work, &next.work) {
            (Work::Coils(address, bits), Work::Coils(other, more)) if near => join_cells((address, bits), (*other, more), before),
            (Work::Registers(address, words), Work::Registers(other, more)) if near => {
                join_cells((address, words), (*other, more), before);
            }
            (Work::Part { address, keep, put }, Work::Part { address: other, keep: more, put: bits })
                if address == other && !*keep & !more == 0 =>
            {
                (*keep, *put) = (*keep & more, *put | bits);
                self.points.extend(next.points.iter().cloned());
                return true;
            }
            _ => return false,
        }
        let (old, new) = if before { (usize::from(there.count), 0) } else { (0, usize::from(here.count)) };
        self.points.iter_mut().for_each(|piece| piece.at += old);
        self.points.extend(next.points.iter().map(|piece| Piece { at: piece.at + new, ..piece.clone() }));
        true
    }
}

impl Piece {
    /// Its value in an answer to the step's cells. A value is compared as decoded: filling behind text, or the sign of a
    /// zero, is no difference.
    pub(super) fn seen(&self, device: &Device, answer: &Answer) -> Option<Value> {
        let point = device.points.get(self.point)?;
        let value = match answer {
            Answer::Bits(bits) => Value::Bool(*bits.get(self.at)?),
            Answer::Words(words) => point.shape.decode(words.get(self.at..self.at + usize::from(point.spot.count))?).ok()?,
        };
        // The same number may have come as another type than it was asked for: a whole one for a float.
        let same = point.shape.encode(&value).is_some_and(|words| Some(words) == point.shape.encode(&self.value));
        Some(if same || value == self.value { self.value.clone() } else { value })
    }
}

/// Function 6 where it will do, function 16 otherwise.
pub(super) fn registers(device: &Device, address: u16, words: Vec<u16>) -> Change {
    match words.as_slice() {
        [word] if device.functions != Functions::Multiple => Change::Register(address, *word),
        _ => Change::Registers(address, words),
    }
}

/// The cells of two steps that touch.
fn join_cells<T: Copy>((address, cells): (&mut u16, &mut Vec<T>), (other, more): (u16, &[T]), before: bool) {
    if before {
        cells.splice(0..0, more.iter().copied());
        *address = other;
    } else {
        cells.extend(more);
    }
}

fn most(device: &Device, table: Table) -> u16 {
    if table.is_bits() { device.limits.bits.min(MOST_COILS) } else { device.limits.registers.min(MOST_REGISTERS) }
}

/// The steps, or why the command is not begun.
pub(super) fn plan(device: &Device, wanted: &[(PointName, Value)]) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for (name, value) in wanted {
        let at = device.points.iter().position(|point| point.name == *name);
        let at = at.ok_or_else(|| format!("'{}' has no point '{name}'", device.id))?;
        let point = &device.points[at];
        if !point.writable {
            return Err(format!("{name} may not be written: it is not declared writable"));
        }
        let work = work(point, value).ok_or_else(|| format!("{name} cannot hold {value}"))?;
        let step = Step { work, points: vec![Piece { point: at, at: 0, value: value.clone() }] };
        if !steps.last_mut().is_some_and(|last| last.join(&step, device)) {
            steps.push(step);
        }
    }
    Ok(steps)
}

fn work(point: &Point, value: &Value) -> Option<Work> {
    let words = point.shape.encode(value)?;
    let address = point.spot.address;
    match (point.spot.table, point.shape.kind) {
        (Table::Coil, _) => Some(Work::Coils(address, words.iter().map(|word| *word != 0).collect())),
        (Table::Holding, Kind::Bit(_) | Kind::Byte { .. }) => {
            let mask = point.shape.mask()?;
            Some(Work::Part { address, keep: !mask, put: *words.first()? & mask })
        }
        (Table::Holding, _) => Some(Work::Registers(address, words)),
        (Table::Discrete | Table::Input, _) => None,
    }
}
