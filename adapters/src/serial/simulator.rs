//! Simulated devices on a pty pair: for tests, and for the demo.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep_until},
};
use tokio_serial::{SerialPort, SerialStream};

/// A pty pair: the devices' end, and the name by which a gateway opens the other. Dropped, the line is unplugged.
#[derive(Debug)]
pub struct Cable {
    device: SerialStream,
    /// Keeps the line from hanging up while no gateway is on it.
    _held: SerialStream,
    /// The gateway's end.
    pub path: PathBuf,
}

impl Cable {
    /// A fresh one. Needs a runtime.
    pub fn lay() -> io::Result<Self> {
        // Not locked by us, so that the gateway can lock it.
        let (device, held) = SerialStream::pair()?;
        let path = held.name().ok_or_else(|| io::Error::other("a pty without a name"))?.into();
        Ok(Self { device, _held: held, path })
    }

    /// Says something at once.
    pub async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.device.write_all(bytes).await
    }

    /// What the gateway says, up to this many bytes.
    pub async fn hear(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.device.read(bytes).await
    }

    /// Speaks by itself: what `say` returns, each `interval`, for ever. Never makes up for lost time.
    pub async fn speak(mut self, interval: Duration, mut say: impl FnMut() -> Vec<u8> + Send) -> io::Result<()> {
        let mut next = Instant::now();
        loop {
            // A pty holds 4096 bytes. What nobody reads is waited with, as by a device with flow control.
            self.device.write_all(&say()).await?;
            next = (next + interval).max(Instant::now());
            sleep_until(next).await;
        }
    }

    /// Answers each request that ends with `end`, where `answer` has something to say.
    pub async fn answer(mut self, end: &[u8], mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send) -> io::Result<()> {
        let mut heard = Vec::new();
        loop {
            let byte = self.device.read_u8().await?;
            heard.push(byte);
            if heard.ends_with(end) {
                if let Some(said) = answer(&heard) {
                    self.device.write_all(&said).await?;
                }
                heard.clear();
            }
            // Nobody asks so long a question; a device forgets.
            if heard.len() > 1024 {
                heard.clear();
            }
        }
    }
}
