//! Modbus units that exist only in memory, and misbehave on request: for the demo, the benches and the tests.
//!
//! Promises: answers functions 1 to 4, 5, 6, 15, 16, 22 and 43/14 over Modbus TCP, RTU and RTU over TCP; other functions
//! are refused (exception 1), cells nobody set are too (exception 2), units nobody set stay silent, as on a real line.
//! Whatever comes over the wire neither panics nor is kept beyond one frame, but for requests that write: the newest
//! [`MOST_REMEMBERED`] of each unit can be looked at, byte by byte. Live values cannot be written (exception 4).

mod server;
mod writing;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidegate_core::reading::Value;

use super::{plan::Table, value::Shape};

/// Requests remembered of each unit.
const MOST_REMEMBERED: usize = 1024;

/// What a unit does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Answers.
    #[default]
    Answer,
    /// Does not.
    Silent,
    /// Answers, so long after the request came; meanwhile it takes the next.
    Late(Duration),
    /// Sends bytes that are no frame.
    Garbage,
    /// Answers under the number of its neighbour.
    WrongUnit,
    /// Refuses with this exception code.
    Exception(u8),
    /// Sends the first half of its answer.
    Truncated,
    /// Acknowledges what is written, and keeps what it had.
    Pretend,
    /// Carries out what is written and does not answer; answers questions.
    Mute,
    /// Neither carries out nor answers what is written; answers questions.
    DeafToWrites,
}

/// When a live value is read.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since the simulator was made.
    pub elapsed: Duration,
    /// How often the value has been read before.
    pub reads: u64,
}

/// A request that reached a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The Modbus function.
    pub function: u8,
    /// The first cell.
    pub address: u16,
    /// How many cells.
    pub count: u16,
    /// When.
    pub at: Instant,
}

/// The units. Clones share them, so one can be kept to change what the units say while the other serves.
#[derive(Clone)]
pub struct Simulator(Arc<Mutex<State>>);

struct State {
    started: Instant,
    units: BTreeMap<u8, Unit>,
    connections: u64,
}

#[derive(Default)]
struct Unit {
    behaviour: Behaviour,
    /// By their first cell; a later one begins where an earlier one ends, or covers the rest of it.
    blocks: BTreeMap<(Table, u16), Block>,
    identity: Vec<(u8, String)>,
    heard: VecDeque<Heard>,
    total: u64,
    /// Requests that write, as they came.
    writes: VecDeque<Vec<u8>>,
    /// The functions it knows; all when empty.
    functions: Vec<u8>,
}

type Live = Box<dyn Fn(Moment) -> Value + Send>;

struct Block {
    words: Vec<u16>,
    live: Option<(Shape, Live)>,
    reads: u64,
}

/// What a unit does about one request.
enum Reaction {
    Nothing,
    /// An answer from this unit, after a delay.
    Answer(u8, Vec<u8>, Duration),
    /// The first half of an answer.
    Half(u8, Vec<u8>),
    Noise,
}

impl Default for Simulator {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulator {
    /// No units yet.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State { started: Instant::now(), units: BTreeMap::new(), connections: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A content function that panicked leaves the units as they were.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cells with fixed content, from an address on; for bits 0 is off. What goes beyond the table is left out.
    pub fn set(&self, unit: u8, table: Table, address: u16, words: &[u16]) {
        let mut state = self.lock();
        let unit = state.units.entry(unit).or_default();
        for (at, word) in (address..=u16::MAX).zip(words) {
            unit.blocks.insert((table, at), Block { words: vec![*word], live: None, reads: 0 });
        }
    }

    /// A value that is made anew at each read. What the shape cannot hold reads as zeros.
    pub fn live(&self, unit: u8, table: Table, address: u16, shape: Shape, content: impl Fn(Moment) -> Value + Send + 'static) {
        let block = Block { words: vec![0; usize::from(shape.words())], live: Some((shape, Box::new(content))), reads: 0 };
        self.lock().units.entry(unit).or_default().blocks.insert((table, address), block);
    }

    /// What the unit answers to "read device identification": numbers of objects (0 vendor, 1 product code, 2 revision) and texts.
    pub fn identify(&self, unit: u8, objects: &[(u8, &str)]) {
        self.lock().units.entry(unit).or_default().identity = objects.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
    }

    /// From now on.
    pub fn behave(&self, unit: u8, behaviour: Behaviour) {
        self.lock().units.entry(unit).or_default().behaviour = behaviour;
    }

    /// Requests that reached the unit.
    pub fn count(&self, unit: u8) -> u64 {
        self.lock().units.get(&unit).map_or(0, |unit| unit.total)
    }

    /// The newest of them, oldest first.
    pub fn heard(&self, unit: u8) -> Vec<Heard> {
        self.lock().units.get(&unit).map_or_else(Vec::new, |unit| unit.heard.iter().copied().collect())
    }

    /// The newest requests that write, without unit and checksum, oldest first.
    pub fn writes(&self, unit: u8) -> Vec<Vec<u8>> {
        self.lock().units.get(&unit).map_or_else(Vec::new, |unit| unit.writes.iter().cloned().collect())
    }

    /// What cells hold now; `None` when one of them does not exist. Live values count this as a read.
    pub fn cells(&self, unit: u8, table: Table, address: u16, count: u16) -> Option<Vec<u16>> {
        let state = &mut *self.lock();
        let elapsed = state.started.elapsed();
        state.units.get_mut(&unit)?.cells(table, address, count, elapsed)
    }

    /// From now on the unit knows these functions only, and refuses others.
    pub fn know(&self, unit: u8, functions: &[u8]) {
        self.lock().units.entry(unit).or_default().functions = functions.to_vec();
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> u64 {
        self.lock().connections
    }

    fn react(&self, unit: u8, pdu: &[u8]) -> Reaction {
        let state = &mut *self.lock();
        let elapsed = state.started.elapsed();
        let Some(device) = state.units.get_mut(&unit) else { return Reaction::Nothing };
        device.remember(pdu);
        let changes = writing::is_write(pdu);
        let answer = match device.behaviour {
            Behaviour::Exception(code) => refusal(pdu, code),
            Behaviour::Silent | Behaviour::DeafToWrites if changes => return Reaction::Nothing,
            _ => device.answer(pdu, elapsed),
        };
        match device.behaviour {
            Behaviour::Mute if changes => Reaction::Nothing,
            Behaviour::Silent => Reaction::Nothing,
            Behaviour::Garbage => Reaction::Noise,
            Behaviour::Truncated => Reaction::Half(unit, answer),
            Behaviour::WrongUnit => Reaction::Answer(unit.wrapping_add(1), answer, Duration::ZERO),
            Behaviour::Late(by) => Reaction::Answer(unit, answer, by),
            Behaviour::Answer | Behaviour::Exception(_) | Behaviour::Pretend | Behaviour::Mute | Behaviour::DeafToWrites => {
                Reaction::Answer(unit, answer, Duration::ZERO)
            }
        }
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("units", &self.lock().units.keys().collect::<Vec<_>>()).finish()
    }
}

fn word_at(pdu: &[u8], at: usize) -> u16 {
    let byte = |at: usize| pdu.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(at), byte(at + 1)])
}

fn refusal(pdu: &[u8], code: u8) -> Vec<u8> {
    vec![pdu.first().copied().unwrap_or(0) | 0x80, code]
}

impl Unit {
    fn remember(&mut self, pdu: &[u8]) {
        self.total += 1;
        if self.heard.len() == MOST_REMEMBERED {
            self.heard.pop_front();
        }
        let function = pdu.first().copied().unwrap_or(0);
        if writing::is_write(pdu) {
            if self.writes.len() == MOST_REMEMBERED {
                self.writes.pop_front();
            }
            self.writes.push_back(pdu.to_vec());
        }
        self.heard.push_back(Heard { function, address: word_at(pdu, 1), count: word_at(pdu, 3), at: Instant::now() });
    }

    fn answer(&mut self, pdu: &[u8], elapsed: Duration) -> Vec<u8> {
        if !self.functions.is_empty() && !pdu.first().is_some_and(|function| self.functions.contains(function)) {
            return refusal(pdu, 1);
        }
        if writing::is_write(pdu) {
            return self.write(pdu);
        }
        let table = match (pdu, pdu.len()) {
            ([1, ..], 5) => Table::Coil,
            ([2, ..], 5) => Table::Discrete,
            ([3, ..], 5) => Table::Holding,
            ([4, ..], 5) => Table::Input,
            ([43, 14, code, ..], 4) => return self.identification(*code),
            _ => return refusal(pdu, 1),
        };
        let (address, count) = (word_at(pdu, 1), word_at(pdu, 3));
        let most = if table.is_bits() { 2000 } else { 125 };
        if !(1..=most).contains(&count) {
            return refusal(pdu, 3);
        }
        let Some(cells) = self.cells(table, address, count, elapsed) else { return refusal(pdu, 2) };
        let data: Vec<u8> = match table.is_bits() {
            true => cells.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0))).collect(),
            false => cells.iter().flat_map(|word| word.to_be_bytes()).collect(),
        };
        let mut answer = vec![table.function(), u8::try_from(data.len()).unwrap_or(u8::MAX)];
        answer.extend(data);
        answer
    }

    /// `None` when one of them does not exist. A live value is made once for each request, so its words agree.
    fn cells(&mut self, table: Table, address: u16, count: u16, elapsed: Duration) -> Option<Vec<u16>> {
        let end = usize::from(address) + usize::from(count);
        let mut cells = Vec::with_capacity(usize::from(count));
        while usize::from(address) + cells.len() < end {
            let at = u16::try_from(usize::from(address) + cells.len()).ok()?;
            let next = self.blocks.range((table, at.saturating_add(1))..).next().map(|((table, start), _)| (*table, *start));
            let ((_, start), block) = self.blocks.range_mut((table, 0)..=(table, at)).next_back()?;
            let until_next =
                next.filter(|(other, start)| *other == table && *start > at).map_or(usize::MAX, |(_, start)| usize::from(start - at));
            block.renew(elapsed);
            let own = block.words.get(usize::from(at - *start)..).filter(|rest| !rest.is_empty())?;
            let most = own.len().min(until_next).min(end - usize::from(at));
            cells.extend_from_slice(&own[..most]);
        }
        Some(cells)
    }

    /// Basic identification, as a stream or object by object.
    fn identification(&self, code: u8) -> Vec<u8> {
        if self.identity.is_empty() {
            return vec![43 | 0x80, 1];
        }
        let mut answer = vec![43, 14, code, 1, 0, 0, u8::try_from(self.identity.len()).unwrap_or(u8::MAX)];
        for (id, text) in self.identity.iter().take(usize::from(u8::MAX)) {
            let text = &text.as_bytes()[..text.len().min(60)];
            answer.extend([*id, text.len() as u8]);
            answer.extend(text);
        }
        // A PDU has room for 253 bytes; what is longer would not be an answer.
        if answer.len() > 253 { vec![43 | 0x80, 4] } else { answer }
    }
}

impl Block {
    fn renew(&mut self, elapsed: Duration) {
        if let Some((shape, content)) = &self.live {
            let made = shape.encode(&content(Moment { elapsed, reads: self.reads }));
            self.words = made.unwrap_or_else(|| vec![0; usize::from(shape.words())]);
        }
        self.reads = self.reads.saturating_add(1);
    }
}

/// A content that swings around a mean: what temperatures do.
pub fn sine(mean: f64, swing: f64, period: Duration) -> impl Fn(Moment) -> Value + Send + 'static {
    let period = period.as_secs_f64().max(f64::MIN_POSITIVE);
    move |moment| Value::Float(mean + swing * (moment.elapsed.as_secs_f64() / period * std::f64::consts::TAU).sin())
}

/// A content that rises by one at each read: shows what was lost, and in which order things came.
pub fn counter() -> impl Fn(Moment) -> Value + Send + 'static {
    |moment| Value::Int(i64::try_from(moment.reads).unwrap_or(i64::MAX))
}
