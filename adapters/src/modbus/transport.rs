//! Ways to a bus, and opening them.

use std::{fmt, io, time::Duration};

use tidegate_core::adapter::AdapterError;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_serial::{DataBits, Parity, SerialPortBuilderExt, StopBits};

use super::tap::Wire;

/// How frames are told apart on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A header with a transaction id and a length (Modbus TCP).
    Mbap,
    /// A checksum at the end and silence between frames; answers carry no number.
    Rtu,
}

/// Where a bus is.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// Modbus TCP, or RTU frames over TCP.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// How frames are told apart.
        framing: Framing,
    },
    /// A serial line.
    Serial(Line),
    /// A wire that was handed over open and cannot be opened again; for tests.
    Given(Framing),
}

/// A serial line's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Such as `/dev/serial/by-id/…`.
    pub port: String,
    /// Bits per second.
    pub baud: u32,
    /// Parity bit.
    pub parity: Parity,
    /// Bits per character.
    pub data_bits: DataBits,
    /// Stop bits.
    pub stop_bits: StopBits,
}

impl Line {
    /// How long so many bytes take on the line.
    pub fn time_for(&self, bytes: usize) -> Duration {
        let parity = u64::from(self.parity != Parity::None);
        let bits = 1 + u64::from(u8::from(self.data_bits)) + parity + u64::from(u8::from(self.stop_bits));
        Duration::from_micros(bits * bytes as u64 * 1_000_000 / u64::from(self.baud.max(1)))
    }

    /// The silence that ends a frame: three and a half characters, and never less than 1.75 ms
    /// (Modbus over serial line V1.02, 2.5.1.1).
    pub fn silence(&self) -> Duration {
        (self.time_for(7) / 2).max(Duration::from_micros(1750))
    }
}

/// How a bus is opened and treated, whatever units are on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bus {
    /// Where it is.
    pub transport: Transport,
    /// Longest time for opening it.
    pub connect_timeout: Duration,
    /// Waited after it was opened, for devices that are deaf at first.
    pub pause_after_connect: Duration,
}

impl Transport {
    /// How frames are told apart.
    pub fn framing(&self) -> Framing {
        match self {
            Transport::Tcp { framing, .. } | Transport::Given(framing) => *framing,
            Transport::Serial(_) => Framing::Rtu,
        }
    }

    /// Whether what is on the wire stays on it when we close and open it again.
    pub(super) fn is_line(&self) -> bool {
        !matches!(self, Transport::Tcp { .. })
    }

    async fn open(&self) -> io::Result<Box<dyn Wire>> {
        match self {
            Transport::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Transport::Serial(line) => {
                let port = tokio_serial::new(&line.port, line.baud).parity(line.parity).data_bits(line.data_bits).stop_bits(line.stop_bits);
                Ok(Box::new(port.open_native_async()?))
            }
            Transport::Given(_) => Err(io::Error::from(io::ErrorKind::NotConnected)),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transport::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Transport::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Transport::Serial(line) => f.write_str(&line.port),
            Transport::Given(_) => f.write_str("the given wire"),
        }
    }
}

impl Bus {
    pub(super) async fn open(&self) -> Result<Box<dyn Wire>, AdapterError> {
        let opened = timeout(self.connect_timeout, self.transport.open()).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", self.connect_timeout.as_millis())))
        });
        let wire = opened.map_err(|source| AdapterError::Open { what: self.transport.to_string(), source })?;
        if !self.pause_after_connect.is_zero() {
            sleep(self.pause_after_connect).await;
        }
        Ok(wire)
    }
}
