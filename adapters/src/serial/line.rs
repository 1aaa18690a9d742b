//! An open line: bytes in as frames, requests out.
//!
//! Promises: [`Line::next`] may be dropped at any await and loses nothing; a read of nothing means that the port is gone;
//! nothing is kept beyond one read and the longest frame.

use std::{future::pending, time::Duration};

use tidegate_core::adapter::AdapterError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};

use super::frame::{Event, Framer, Spec};
use crate::modbus::Wire;

/// Bytes taken in one read: as much as 88 ms at 115200 baud; the kernel keeps 4096.
const CHUNK: usize = 1024;
/// A port that does not take our bytes for this long, beside their time on the line, is stuck (flow control, a dead adapter).
const STUCK: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Line {
    wire: Option<Box<dyn Wire>>,
    name: String,
    framer: Framer,
    chunk: Box<[u8; CHUNK]>,
    /// When the last byte came.
    pub(super) heard: Instant,
    /// The silence that ends what has begun.
    gap: Duration,
    /// What came outside any frame while somebody waited for certain bytes.
    spare: Vec<u8>,
}

impl Line {
    pub(super) fn new(name: String, spec: Spec, gap: Duration) -> Self {
        Self { wire: None, name, framer: Framer::new(spec), chunk: Box::new([0; CHUNK]), heard: Instant::now(), gap, spare: Vec::new() }
    }

    /// Over an open wire, with nothing heard yet.
    pub(super) fn attach(&mut self, wire: Box<dyn Wire>) {
        self.framer.clear();
        self.spare.clear();
        self.wire = Some(wire);
        self.heard = Instant::now();
    }

    pub(super) fn close(&mut self) {
        self.wire = None;
        self.framer.clear();
    }

    /// Forgets what has begun and not ended.
    pub(super) fn forget(&mut self) {
        self.framer.clear();
    }

    fn lost(&self, why: &str) -> AdapterError {
        AdapterError::Lost { what: self.name.clone(), why: why.to_owned() }
    }

    /// The next frame, or the next bytes that are none. Waits for ever on a silent line.
    pub(super) async fn next(&mut self) -> Result<Event, AdapterError> {
        loop {
            if let Some(event) = self.framer.take() {
                return Ok(event);
            }
            let silent = self.framer.is_inside().then(|| self.heard + self.gap);
            tokio::select! {
                biased;
                count = read(&mut self.wire, &mut self.chunk[..]) => {
                    let count = count.map_err(|why| self.lost(&why))?;
                    self.heard = Instant::now();
                    self.framer.push(&self.chunk[..count]);
                }
                () = until(silent) => self.framer.silence(),
            }
        }
    }

    /// Waits until these bytes have come, framed or not; `false` when the line fell silent or said too much first.
    pub(super) async fn skip_until(&mut self, end: &[u8], wait: Duration, most: usize) -> Result<bool, AdapterError> {
        self.spare.clear();
        while self.spare.len() <= most {
            let Ok(count) = timeout(wait, read(&mut self.wire, &mut self.chunk[..1])).await else { return Ok(false) };
            let count = count.map_err(|why| self.lost(&why))?;
            self.heard = Instant::now();
            self.spare.extend_from_slice(&self.chunk[..count]);
            if self.spare.ends_with(end) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends all of it, in bounded time. `on_line`: how long the bytes take at this speed.
    pub(super) async fn send(&mut self, bytes: &[u8], on_line: Duration) -> Result<(), AdapterError> {
        let Some(wire) = &mut self.wire else { return Err(self.lost("it is closed")) };
        let written = timeout(STUCK + on_line, async {
            wire.write_all(bytes).await?;
            wire.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error.to_string())),
            Err(_) => Err(self.lost("it takes no bytes: check flow control and wiring")),
        }
    }
}

async fn read(wire: &mut Option<Box<dyn Wire>>, into: &mut [u8]) -> Result<usize, String> {
    let Some(wire) = wire else { return Err("it is closed".to_owned()) };
    match wire.read(into).await {
        // What a port says that is not there any more.
        Ok(0) => Err("it is gone (unplugged?)".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}
