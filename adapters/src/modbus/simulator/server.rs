//! The simulator's side of the wire: frames in, frames out, some of them late.

use std::{collections::VecDeque, future::pending, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    super::{rtu::crc, tap::Wire, transport::Framing},
    Reaction, Simulator,
};

/// Connections at once; more are closed again.
const MOST_CONNECTIONS: usize = 64;
/// Answers that wait for their time on one connection; more are forgotten.
const MOST_LATE: usize = 64;
/// The longest frame.
const MOST_BYTES: usize = 260;
/// After so long a silence an unfinished RTU frame is over. Longer than on a real line: schedulers pause.
const FRAME_SILENCE: Duration = Duration::from_millis(20);
/// What a garbling unit sends: neither a frame with a right checksum nor a header with the right numbers.
const NOISE: [u8; 11] = [0x55, 0xaa, 0x00, 0x55, 0xaa, 0x00, 0xff, 0x55, 0xaa, 0x13, 0x37];

/// An answer that waits for its time.
struct Late {
    due: Instant,
    unit: u8,
    frame: Vec<u8>,
}

impl Simulator {
    /// Takes connections until it is dropped; then they are gone as well, as if the power were.
    pub async fn serve_tcp(self, listener: TcpListener, framing: Framing) -> io::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    if connections.len() < MOST_CONNECTIONS {
                        stream.set_nodelay(true)?;
                        connections.spawn(self.clone().serve(stream, framing));
                    }
                }
                // How a connection ended is its own affair.
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Serves one open wire until its other end goes.
    pub async fn serve(self, mut wire: impl Wire, framing: Framing) -> io::Result<()> {
        self.lock().connections += 1;
        let mut buffer = Vec::with_capacity(MOST_BYTES);
        let mut late = VecDeque::new();
        let mut chunk = [0; MOST_BYTES];
        let mut frame_over: Option<Instant> = None;
        loop {
            tokio::select! {
                read = wire.read(&mut chunk) => {
                    let count = read?;
                    if count == 0 {
                        return Ok(());
                    }
                    buffer.extend_from_slice(&chunk[..count]);
                    while let Some((reaction, header)) = self.take_frame(&mut buffer, framing)? {
                        self.send(&mut wire, &mut late, framing, reaction, header).await?;
                    }
                    frame_over = (framing == Framing::Rtu && !buffer.is_empty()).then(|| Instant::now() + FRAME_SILENCE);
                }
                () = at(frame_over) => {
                    buffer.clear();
                    frame_over = None;
                }
                () = at(late.front().map(|late: &Late| late.due)) => {
                    if let Some(late) = late.pop_front() {
                        wire.write_all(&late.frame).await?;
                    }
                }
            }
        }
    }

    /// The next whole frame's reaction, with the transaction id of its header.
    fn take_frame(&self, buffer: &mut Vec<u8>, framing: Framing) -> io::Result<Option<(Reaction, u16)>> {
        match framing {
            Framing::Mbap => self.take_mbap(buffer),
            Framing::Rtu => Ok(self.take_rtu(buffer).map(|reaction| (reaction, 0))),
        }
    }

    fn take_mbap(&self, buffer: &mut Vec<u8>) -> io::Result<Option<(Reaction, u16)>> {
        let [id_high, id_low, 0, 0, length_high, length_low, unit, ..] = buffer[..] else {
            let sane = buffer.len() < 7;
            return if sane { Ok(None) } else { Err(io::ErrorKind::InvalidData.into()) };
        };
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        if !(2..=254).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if buffer.len() < 6 + length {
            return Ok(None);
        }
        let reaction = self.react(unit, &buffer[7..6 + length]);
        buffer.drain(..6 + length);
        Ok(Some((reaction, u16::from_be_bytes([id_high, id_low]))))
    }

    fn take_rtu(&self, buffer: &mut Vec<u8>) -> Option<Reaction> {
        let length = rtu_length(buffer)?;
        let (frame, checksum) = buffer.get(..length)?.split_at(length - 2);
        let right = crc(frame).to_le_bytes() == checksum;
        let reaction = right.then(|| self.react(frame[0], &frame[1..]));
        match reaction {
            Some(_) => drop(buffer.drain(..length)),
            // Noise: what follows cannot be told apart before the next silence.
            None => buffer.clear(),
        }
        reaction
    }

    async fn send(&self, wire: &mut impl Wire, late: &mut VecDeque<Late>, framing: Framing, reaction: Reaction, id: u16) -> io::Result<()> {
        match reaction {
            Reaction::Nothing => Ok(()),
            Reaction::Noise => wire.write_all(&NOISE).await,
            Reaction::Half(unit, pdu) => {
                let frame = frame(framing, id, unit, &pdu);
                wire.write_all(&frame[..frame.len() / 2]).await
            }
            Reaction::Answer(unit, pdu, by) => {
                // A unit answers in order: after what it still owes.
                let owed = late.iter().filter(|late| late.unit == unit).map(|late| late.due).max();
                let frame = frame(framing, id, unit, &pdu);
                if by.is_zero() && owed.is_none() {
                    return wire.write_all(&frame).await;
                }
                let due = owed.unwrap_or_else(Instant::now).max(Instant::now() + by);
                let place = late.partition_point(|other| other.due <= due);
                if late.len() < MOST_LATE {
                    late.insert(place, Late { due, unit, frame });
                }
                Ok(())
            }
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

/// How long the request at the beginning of the buffer is, once that can be told. Functions that nobody knows the
/// length of are left to the silence.
fn rtu_length(buffer: &[u8]) -> Option<usize> {
    match *buffer.get(1)? {
        1..=6 => Some(8),
        15 | 16 => buffer.get(6).map(|bytes| 9 + usize::from(*bytes)),
        22 => Some(10),
        23 => buffer.get(10).map(|bytes| 13 + usize::from(*bytes)),
        43 => Some(7),
        _ => (buffer.len() > MOST_BYTES).then_some(MOST_BYTES),
    }
}

/// A whole frame around a PDU.
fn frame(framing: Framing, id: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 8);
    match framing {
        Framing::Mbap => {
            frame.extend(id.to_be_bytes());
            frame.extend([0, 0]);
            frame.extend(u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
            frame.push(unit);
            frame.extend(pdu);
        }
        Framing::Rtu => {
            frame.push(unit);
            frame.extend(pdu);
            frame.extend(crc(&frame).to_le_bytes());
        }
    }
    frame
}
