//! Opening a serial port with everything that the kernel lets us set.

use std::{io, time::Duration};

use serial2::rs4xx::{Rs485Config, TransceiverMode};
use tidegate_core::adapter::AdapterError;
use tokio_serial::{DataBits, FlowControl, Parity, SerialPortBuilderExt, SerialStream, StopBits};

/// A port and how it is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Such as `/dev/serial/by-id/…`.
    pub path: String,
    /// Bits per second.
    pub baud: u32,
    /// Parity bit.
    pub parity: Parity,
    /// Bits per character.
    pub data_bits: DataBits,
    /// Stop bits.
    pub stop_bits: StopBits,
    /// Who may stop whom.
    pub flow: FlowControl,
    /// Direction by the kernel.
    pub rs485: Option<Rs485>,
}

/// RS-485 direction by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485 {
    /// Before the first bit.
    pub delay_before: Duration,
    /// After the last.
    pub delay_after: Duration,
    /// RTS low while sending.
    pub invert: bool,
    /// Hear while sending.
    pub full_duplex: bool,
}

impl Port {
    /// How long so many bytes take on the line.
    pub fn time_for(&self, bytes: usize) -> Duration {
        let parity = u64::from(self.parity != Parity::None);
        let bits = 1 + u64::from(u8::from(self.data_bits)) + parity + u64::from(u8::from(self.stop_bits));
        Duration::from_micros(bits * bytes as u64 * 1_000_000 / u64::from(self.baud.max(1)))
    }

    /// Opens it for us alone.
    pub(super) fn open(&self) -> Result<SerialStream, AdapterError> {
        let failed = |source: io::Error| AdapterError::Open { what: self.path.clone(), source };
        if let Some(rs485) = self.rs485 {
            rs485.set(&self.path).map_err(failed)?;
        }
        let builder = tokio_serial::new(&self.path, self.baud)
            .parity(self.parity)
            .data_bits(self.data_bits)
            .stop_bits(self.stop_bits)
            .flow_control(self.flow);
        builder.open_native_async().map_err(|error| failed(error.into()))
    }
}

impl Rs485 {
    /// Before the port is opened for use. The setting belongs to the port in the kernel and stays when it is closed.
    /// Looked at again, because some drivers take it and do nothing.
    fn set(self, path: &str) -> io::Result<()> {
        let cannot = |why: String| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                format!("no RS-485 direction by the kernel ({why}); leave rs485 out if the adapter switches by itself"),
            )
        };
        let mut config = Rs485Config::new();
        config.set_delay_before_send(self.delay_before);
        config.set_delay_after_send(self.delay_after);
        config.set_invert_rts(self.invert);
        config.set_full_duplex(self.full_duplex);
        let port = serial2::SerialPort::open(path, serial2::KeepSettings)?;
        port.set_rs4xx_mode(TransceiverMode::Rs485(config)).map_err(|error| cannot(error.to_string()))?;
        match port.get_rs4xx_mode() {
            Ok(TransceiverMode::Rs485(_)) => Ok(()),
            Ok(_) => Err(cannot("the driver ignored it".to_owned())),
            Err(error) => Err(cannot(error.to_string())),
        }
    }
}
