//! One link to a bus: asks one question at a time and gives an answer only to who asked.
//!
//! Promises: a link that still owes an answer is never used for the next question. A TCP connection is dropped and a
//! new one opened; a line is listened to until it has been silent for one time limit. RTU frames carry no number, so
//! there is a second guard: a unit that once failed to answer must first answer a question that no owed answer can be
//! mistaken for ([`Debts`]).
//! Each call ends within the time limits; nothing that comes over the wire panics or is kept beyond one frame.
//!
//! Retries are not made here, least of all of a change: whoever asked for it has to find out whether it happened.
//! A new [`Link`] opens nothing.

use std::{sync::Arc, time::Duration};

use tidegate_core::adapter::AdapterError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::{
    Error, ProtocolError, Response, Slave,
    client::{Client, Context},
    prelude::{rtu, tcp},
    slave::SlaveContext,
};

use super::{
    change::Change,
    debt::{Clearing, Debts},
    fault::Fault,
    plan::Spot,
    question::Question,
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

/// Why a change was not acknowledged.
#[derive(Debug)]
pub enum Unmade {
    /// Nothing that changes anything has left us.
    Before(Fault),
    /// The request left. Refused, it did not happen; with any other fault it may have.
    After(Fault),
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
        match self.exchange_again_if_closed(asked, spot).await? {
            Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits) => {
                bits.truncate(usize::from(spot.count));
                Ok(Answer::Bits(bits))
            }
            Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => Ok(Answer::Words(words)),
            _ => Err(Fault::Garbled("an answer of another kind".to_owned())),
        }
    }

    /// Changes cells of a unit, or says why that was not acknowledged. An acknowledgement is no proof of a change.
    pub async fn change(&mut self, asked: &Asked, change: &Change) -> Result<(), Unmade> {
        if asked.unit == 0 {
            return Err(Unmade::Before(Fault::Broadcast));
        }
        self.settle(asked).await.map_err(Unmade::Before)?;
        // A question that meets a closed connection is simply asked again. A change is not: so it is looked for before.
        if let Some(open) = &mut self.open
            && !open.tap.is_quiet()
        {
            open.owes = Some(asked.timeout);
            self.settle(asked).await.map_err(Unmade::Before)?;
        }
        self.clear_debts(asked, change.spot()).await.map_err(Unmade::Before)?;
        if self.open.is_none() {
            return Err(Unmade::Before(Fault::Closed));
        }
        self.exchange(asked, Question::change(change, !self.answers_in_order())).await.map(drop).map_err(Unmade::After)
    }

    /// Reads what a unit says it is (function 43, type 14): vendor, product code, revision.
    pub async fn identify(&mut self, asked: &Asked) -> Result<Vec<(String, String)>, Fault> {
        const NAMES: [&str; 7] = ["vendor", "product code", "revision", "vendor url", "product name", "model name", "application"];
        let (mut objects, mut next) = (Vec::new(), 0);
        for _ in 0..MOST_IDENTITY_PARTS {
            self.settle(asked).await?;
            let Response::ReadDeviceIdentification(part) = self.exchange(asked, Question::identity(next)).await? else {
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
            match self.exchange(asked, Question::read(Spot { table, address: spot.address, count: 1 })).await {
                Ok(_) | Err(Fault::Refused(_)) => self.debts.cleared(asked.unit, table),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Late answers among what was heard are owed no longer.
    fn book_heard(&mut self, tap: &Tap) {
        if self.debts.any() {
            tap.answers().into_iter().for_each(|(unit, function)| self.debts.pay(unit, function));
        }
        tap.forget();
    }

    /// Many devices close a connection that was idle. That is noticed only by asking, so a connection that worked
    /// before is opened again, once.
    async fn exchange_again_if_closed(&mut self, asked: &Asked, spot: Spot) -> Result<Response, Fault> {
        let proven = self.open.as_ref().is_some_and(|open| open.proven);
        match self.exchange(asked, Question::read(spot)).await {
            Err(Fault::Closed) if proven => {
                self.settle(asked).await?;
                self.clear_debts(asked, spot).await?;
                self.exchange(asked, Question::read(spot)).await
            }
            other => other,
        }
    }

    async fn exchange(&mut self, asked: &Asked, question: Question) -> Result<Response, Fault> {
        let earliest = self.quiet_since + self.silence_before(asked);
        // The timer would round a moment that has passed up to the next millisecond.
        if earliest > Instant::now() {
            sleep_until(earliest).await;
        }
        let owed = question.owed();
        let limit = asked.timeout + self.time_on_line(question.bytes);
        let Some(open) = &mut self.open else { return Err(Fault::Closed) };
        open.context.set_slave(Slave(asked.unit));
        open.tap.forget();
        open.owes = Some(asked.timeout);
        let answer = timeout(limit, open.context.call(question.request)).await;
        self.quiet_since = Instant::now();
        let judged = match answer {
            Err(_) if open.tap.heard_something() => Err(Fault::Garbled(format!("an incomplete answer: {}", open.tap.shown()))),
            Err(_) => Err(Fault::Silent),
            Ok(Err(error)) => Err(fault_of(&error, &open.tap)),
            Ok(Ok(Err(exception))) => Err(Fault::Refused(exception.into())),
            Ok(Ok(Ok(response))) => {
                question.expected.check(response).map_err(|what| Fault::Garbled(format!("{what}: {}", open.tap.shown())))
            }
        };
        self.conclude(asked, owed, &judged);
        match judged {
            Err(Fault::Closed) if self.bus.transport.is_line() => Err(self.lost(&Undrained::Ended("the other end has gone".to_owned()))),
            other => other,
        }
    }

    /// What an exchange means for the link and for the unit.
    fn conclude(&mut self, asked: &Asked, owed: Option<u8>, judged: &Result<Response, Fault>) {
        match judged {
            Ok(_) | Err(Fault::Refused(_)) => {
                if let Some(open) = &mut self.open {
                    (open.owes, open.proven) = (None, true);
                }
            }
            Err(fault) => {
                if let (Framing::Rtu, Some(function)) = (self.bus.transport.framing(), owed) {
                    self.debts.add(asked.unit, function);
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

    /// Whether what was asked earlier has happened, or never will, once a later question is answered. Not so where each
    /// connection has a queue of its own.
    pub(super) fn answers_in_order(&self) -> bool {
        self.bus.transport.framing() == Framing::Rtu
    }

    fn time_on_line(&self, bytes: usize) -> Duration {
        match &self.bus.transport {
            Transport::Serial(line) => line.time_for(bytes),
            _ => Duration::ZERO,
        }
    }
}

/// Bytes of question and answer together, for whoever estimates how busy a line will be.
pub(super) fn bytes_on_line(spot: Spot) -> usize {
    Question::read(spot).bytes
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
