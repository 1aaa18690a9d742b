//! One link to a bus: asks one question at a time and gives an answer only to who asked.
//!
//! Promises: a link that still owes an answer is never used for the next question. A TCP connection is dropped and a
//! new one opened; a line is listened to until it has been silent for one time limit. RTU frames carry no number, so
//! there is a second guard: a unit that once failed to answer must first answer a question that no owed answer can be
//! mistaken for ([`Debts`]).
//! Each call ends within the time limits; nothing that comes over the wire panics or is kept beyond one frame.
//!
//! Retries are not made here. A new [`Link`] opens nothing.

use std::{sync::Arc, time::Duration};

use tidegate_core::adapter::AdapterError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::{
    Error, ProtocolError, Request, Response, Slave,
    client::{Client, Context},
    prelude::{ReadCode, rtu, tcp},
    slave::SlaveContext,
};

use super::{
    debt::{Clearing, Debts},
    fault::Fault,
    plan::{Spot, Table},
    tap::{Tap, Undrained, Wire},
    transport::{Bus, Framing, Transport},
};

/// A device that says "more follows" for ever is not followed further.
const MOST_IDENTITY_PARTS: usize = 8;

/// A unit as the link needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its number on the bus.
    pub unit: u8,
    /// How long it may take to answer, beside the time that the bytes take on a line.
    pub timeout: Duration,
    /// Silence before each question to it.
    pub pause: Duration,
}

/// Cells as they came, exactly as many as were asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Of a table of registers.
    Words(Vec<u16>),
    /// Of a table of bits.
    Bits(Vec<bool>),
}

/// See the module.
pub struct Link {
    bus: Arc<Bus>,
    open: Option<Open>,
    debts: Debts,
    /// When the last byte went or came.
    quiet_since: Instant,
}

struct Open {
    tap: Tap,
    context: Context,
    /// How long the unit that was asked and has not answered may still take.
    owes: Option<Duration>,
    /// Whether anything was ever answered on it.
    proven: bool,
}

/// What an answer must look like.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Words(u16),
    Bits(u16),
    Identity,
}

impl Link {
    /// Opens nothing yet.
    pub fn new(bus: Arc<Bus>) -> Self {
        Self { bus, open: None, debts: Debts::default(), quiet_since: Instant::now() }
    }

    /// Over a wire that is already open. Lost once it has to be opened again.
    pub fn over(wire: Box<dyn Wire>, framing: Framing) -> Self {
        let bus = Bus { transport: Transport::Given(framing), connect_timeout: Duration::ZERO, pause_after_connect: Duration::ZERO };
        let mut link = Self::new(Arc::new(bus));
        link.attach(wire);
        link
    }

    /// Opens the bus anew.
    pub async fn connect(&mut self) -> Result<(), AdapterError> {
        self.close();
        let wire = self.bus.open().await?;
        self.attach(wire);
        Ok(())
    }

    /// Lets go of the bus. The next question opens it again.
    pub fn close(&mut self) {
        self.open = None;
    }

    fn attach(&mut self, wire: Box<dyn Wire>) {
        let tap = Tap::new(wire);
        self.open = Some(Open { context: self.context(&tap), tap, owes: None, proven: false });
        self.quiet_since = Instant::now();
    }

    fn context(&self, tap: &Tap) -> Context {
        match self.bus.transport.framing() {
            Framing::Mbap => tcp::attach(tap.clone()),
            Framing::Rtu => rtu::attach(tap.clone()),
        }
    }

    /// Reads cells of a unit.
    pub async fn ask(&mut self, asked: &Asked, spot: Spot) -> Result<Answer, Fault> {
        self.settle(asked).await?;
        self.clear_debts(asked, spot).await?;
        let (request, expected) = question(spot);
        match self.exchange_again_if_closed(asked, request, expected, spot).await? {
            Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits) => {
                bits.truncate(usize::from(spot.count));
                Ok(Answer::Bits(bits))
            }
            Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => Ok(Answer::Words(words)),
            _ => Err(Fault::Garbled("an answer of another kind".to_owned())),
        }
    }

    /// Reads what a unit says it is (function 43, type 14): vendor, product code, revision.
    pub async fn identify(&mut self, asked: &Asked) -> Result<Vec<(String, String)>, Fault> {
        const NAMES: [&str; 7] = ["vendor", "product code", "revision", "vendor url", "product name", "model name", "application"];
        let (mut objects, mut next) = (Vec::new(), 0);
        for _ in 0..MOST_IDENTITY_PARTS {
            self.settle(asked).await?;
            let request = Request::ReadDeviceIdentification(ReadCode::Basic, next);
            let Response::ReadDeviceIdentification(part) = self.exchange(asked, request, Expected::Identity).await? else {
                return Err(Fault::Garbled("an answer of another kind".to_owned()));
            };
            for object in part.device_id_objects {
                let name = NAMES.get(usize::from(object.id)).map_or_else(|| format!("object {}", object.id), |name| (*name).to_owned());
                objects.push((name, String::from_utf8_lossy(&object.value).trim_end_matches(['\0', ' ']).to_owned()));
            }
            if !part.more_follows || part.next_object_id <= next {
                break;
            }
            next = part.next_object_id;
        }
        Ok(objects)
    }

    /// Makes sure that there is a link and that it owes nobody an answer.
    async fn settle(&mut self, asked: &Asked) -> Result<(), Fault> {
        let is_line = self.bus.transport.is_line();
        match self.open.take() {
            Some(open) if open.owes.is_none() => self.open = Some(open),
            Some(mut open) if is_line => {
                let silence = open.owes.take().unwrap_or(asked.timeout);
                open.tap.drain(silence).await.map_err(|why| self.lost(&why))?;
                self.book_heard(&open.tap);
                open.context = self.context(&open.tap);
                self.open = Some(open);
                self.quiet_since = Instant::now();
            }
            // Dropped here: what still comes on the old connection goes nowhere.
            _ => self.reopen(asked).await?,
        }
        Ok(())
    }

    async fn reopen(&mut self, asked: &Asked) -> Result<(), Fault> {
        self.connect().await.map_err(Fault::Lost)?;
        // A serial server hands what its line still says to whoever is connected.
        if self.debts.any()
            && let Some(open) = &self.open
        {
            let mut tap = open.tap.clone();
            tap.drain(asked.timeout).await.map_err(|why| self.lost(&why))?;
            self.book_heard(&tap);
        }
        Ok(())
    }

    fn lost(&mut self, why: &Undrained) -> Fault {
        self.open = None;
        let why = match why {
            Undrained::Ended(why) => why.clone(),
            Undrained::NeverSilent => "somebody talks on the line without end".to_owned(),
        };
        Fault::Lost(AdapterError::Lost { what: self.bus.transport.to_string(), why })
    }

    /// A unit that owes answers is asked for a cell that no owed answer can be about; see [`Debts`]. A refusal will do.
    async fn clear_debts(&mut self, asked: &Asked, spot: Spot) -> Result<(), Fault> {
        while let Some(clearing) = self.debts.clearing(asked.unit) {
            let Clearing::Table(table) = clearing else { return Err(Fault::Owes) };
            let (request, expected) = question(Spot { table, address: spot.address, count: 1 });
            match self.exchange(asked, request, expected).await {
                Ok(_) | Err(Fault::Refused(_)) => self.debts.cleared(asked.unit, table),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Late answers among what was heard are owed no longer.
    fn book_heard(&mut self, tap: &Tap) {
        if self.debts.any() {
            tap.answers().into_iter().for_each(|(unit, table)| self.debts.pay(unit, table));
        }
        tap.forget();
    }

    /// Many devices close a connection that was idle. That is noticed only by asking, so a connection that worked
    /// before is opened again, once.
    async fn exchange_again_if_closed(
        &mut self,
        asked: &Asked,
        request: Request<'static>,
        expected: Expected,
        spot: Spot,
    ) -> Result<Response, Fault> {
        let proven = self.open.as_ref().is_some_and(|open| open.proven);
        match self.exchange(asked, request.clone(), expected).await {
            Err(Fault::Closed) if proven => {
                self.settle(asked).await?;
                self.clear_debts(asked, spot).await?;
                self.exchange(asked, request, expected).await
            }
            other => other,
        }
    }

    async fn exchange(&mut self, asked: &Asked, request: Request<'static>, expected: Expected) -> Result<Response, Fault> {
        let earliest = self.quiet_since + self.silence_before(asked);
        // The timer would round a moment that has passed up to the next millisecond.
        if earliest > Instant::now() {
            sleep_until(earliest).await;
        }
        let table = table_of(&request);
        let limit = asked.timeout + self.time_on_line(expected);
        let Some(open) = &mut self.open else { return Err(Fault::Closed) };
        open.context.set_slave(Slave(asked.unit));
        open.tap.forget();
        open.owes = Some(asked.timeout);
        let answer = timeout(limit, open.context.call(request)).await;
        self.quiet_since = Instant::now();
        let judged = match answer {
            Err(_) if open.tap.heard_something() => Err(Fault::Garbled(format!("an incomplete answer: {}", open.tap.shown()))),
            Err(_) => Err(Fault::Silent),
            Ok(Err(error)) => Err(fault_of(&error, &open.tap)),
            Ok(Ok(Err(exception))) => Err(Fault::Refused(exception.into())),
            Ok(Ok(Ok(response))) => expected.check(response).map_err(|what| Fault::Garbled(format!("{what}: {}", open.tap.shown()))),
        };
        self.conclude(asked, table, &judged);
        match judged {
            Err(Fault::Closed) if self.bus.transport.is_line() => Err(self.lost(&Undrained::Ended("the other end has gone".to_owned()))),
            other => other,
        }
    }

    /// What an exchange means for the link and for the unit.
    fn conclude(&mut self, asked: &Asked, table: Option<Table>, judged: &Result<Response, Fault>) {
        match judged {
            Ok(_) | Err(Fault::Refused(_)) => {
                if let Some(open) = &mut self.open {
                    (open.owes, open.proven) = (None, true);
                }
            }
            Err(fault) => {
                // Identification has an answer of its own kind, which cannot be mistaken for cells.
                if let (Framing::Rtu, Some(table)) = (self.bus.transport.framing(), table) {
                    self.debts.add(asked.unit, table);
                }
                if let Some(tap) = self.open.as_ref().map(|open| open.tap.clone()) {
                    self.book_heard(&tap);
                }
                if matches!(fault, Fault::Closed | Fault::Lost(_)) {
                    self.open = None;
                }
            }
        }
    }

    fn silence_before(&self, asked: &Asked) -> Duration {
        match &self.bus.transport {
            Transport::Serial(line) => asked.pause.max(line.silence()),
            _ => asked.pause,
        }
    }

    fn time_on_line(&self, expected: Expected) -> Duration {
        match &self.bus.transport {
            Transport::Serial(line) => line.time_for(frame_bytes(expected)),
            _ => Duration::ZERO,
        }
    }
}

/// Bytes of question and answer together, as RTU frames.
fn frame_bytes(expected: Expected) -> usize {
    8 + match expected {
        Expected::Words(count) => 5 + 2 * usize::from(count),
        Expected::Bits(count) => 5 + usize::from(count).div_ceil(8),
        Expected::Identity => 256,
    }
}

/// As [`frame_bytes`], for whoever estimates how busy a line will be.
pub(super) fn bytes_on_line(spot: Spot) -> usize {
    frame_bytes(question(spot).1)
}

fn question(spot: Spot) -> (Request<'static>, Expected) {
    match spot.table {
        Table::Coil => (Request::ReadCoils(spot.address, spot.count), Expected::Bits(spot.count)),
        Table::Discrete => (Request::ReadDiscreteInputs(spot.address, spot.count), Expected::Bits(spot.count)),
        Table::Holding => (Request::ReadHoldingRegisters(spot.address, spot.count), Expected::Words(spot.count)),
        Table::Input => (Request::ReadInputRegisters(spot.address, spot.count), Expected::Words(spot.count)),
    }
}

fn table_of(request: &Request<'_>) -> Option<Table> {
    match request {
        Request::ReadCoils(..) => Some(Table::Coil),
        Request::ReadDiscreteInputs(..) => Some(Table::Discrete),
        Request::ReadHoldingRegisters(..) => Some(Table::Holding),
        Request::ReadInputRegisters(..) => Some(Table::Input),
        _ => None,
    }
}

impl Expected {
    fn check(self, response: Response) -> Result<Response, String> {
        let (came, wanted, what) = match (self, &response) {
            (Expected::Words(count), Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words)) => {
                (words.len(), usize::from(count), "registers")
            }
            (Expected::Bits(count), Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits)) => {
                (bits.len() / 8, usize::from(count).div_ceil(8), "bytes of bits")
            }
            (Expected::Identity, Response::ReadDeviceIdentification(_)) => (0, 0, ""),
            _ => return Err("an answer of another kind".to_owned()),
        };
        if came == wanted { Ok(response) } else { Err(format!("{came} {what} instead of {wanted}")) }
    }
}

fn fault_of(error: &Error, tap: &Tap) -> Fault {
    let what = match error {
        Error::Protocol(ProtocolError::HeaderMismatch { .. }) => "an answer from another unit or to another question",
        Error::Protocol(ProtocolError::FunctionCodeMismatch { .. }) => "an answer to another function",
        // What the system says has a number; what the codec says about the bytes has none.
        Error::Transport(error) if tap.has_ended() || error.raw_os_error().is_some() => return Fault::Closed,
        Error::Transport(_) => "bytes that are no answer",
    };
    Fault::Garbled(format!("{what}: {}", tap.shown()))
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("bus", &self.bus)
            .field("open", &self.open.is_some())
            .field("debts", &self.debts)
            .finish_non_exhaustive()
    }
}
