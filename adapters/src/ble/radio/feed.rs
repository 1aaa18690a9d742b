//! A radio elsewhere: another program hears and writes lines into a Unix socket, one for each advertisement.
//!
//! `A4:C1:38:8D:18:B2 -62 s181a=b2188d38c1a4… m0499=0512fc…`: address, strength in dBm (or `-`), then service data (`s`) and
//! manufacturer data (`m`) by their 16-bit numbers, in hexadecimal. A line that is not so is passed over. The demo and the tests use it,
//! and so can a receiver that is not BlueZ.

use std::{io, path::PathBuf, time::Duration};

use async_trait::async_trait;
use tidegate_core::adapter::AdapterError;
use tokio::{io::AsyncReadExt, net::UnixStream, time::timeout};

use super::{CALL, Radio};
use crate::ble::advert::{Address, Advert};

/// An advertisement has at most 1650 bytes; in hexadecimal and with names no line is longer than this.
const LONGEST_LINE: usize = 8192;
/// Silence is normal; this only bounds one wait, so that a lost peer is noticed by the read that follows.
const WAIT: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(in crate::ble) struct Feed {
    path: PathBuf,
    stream: Option<UnixStream>,
    /// What has come and is not a whole line yet.
    rest: Vec<u8>,
    /// Passing over the end of a line that was too long.
    skipping: bool,
}

impl Feed {
    pub(in crate::ble) fn new(path: PathBuf) -> Self {
        Self { path, stream: None, rest: Vec::new(), skipping: false }
    }

    fn lost(&self, why: impl ToString) -> AdapterError {
        AdapterError::Lost { what: self.path.display().to_string(), why: why.to_string() }
    }
}

#[async_trait]
impl Radio for Feed {
    async fn open(&mut self) -> Result<(), AdapterError> {
        self.rest.clear();
        self.skipping = false;
        let opened = timeout(CALL, UnixStream::connect(&self.path)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.stream = Some(opened.map_err(|source| AdapterError::Open { what: self.path.display().to_string(), source })?);
        Ok(())
    }

    async fn hear(&mut self) -> Result<Advert, AdapterError> {
        loop {
            if let Some(advert) = self.heard() {
                return Ok(advert);
            }
            let Some(stream) = &mut self.stream else { return Err(self.lost("not open")) };
            let mut chunk = [0; 4096];
            match timeout(WAIT, stream.read(&mut chunk)).await {
                Err(_) => {}
                Ok(Ok(0)) => return Err(self.lost("the other end closed it")),
                Ok(Ok(count)) => self.rest.extend_from_slice(&chunk[..count]),
                Ok(Err(error)) => return Err(self.lost(error)),
            }
        }
    }

    fn heard(&mut self) -> Option<Advert> {
        loop {
            let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
                if self.rest.len() > LONGEST_LINE {
                    self.rest.clear();
                    self.skipping = true;
                }
                return None;
            };
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if !std::mem::take(&mut self.skipping)
                && let Some(advert) = parse(&line)
            {
                return Some(advert);
            }
        }
    }

    async fn restart_scan(&mut self) -> Result<(), AdapterError> {
        self.open().await
    }

    async fn power_cycle(&mut self) -> Result<(), AdapterError> {
        self.open().await
    }

    async fn close(&mut self) {
        self.stream = None;
    }
}

fn parse(line: &[u8]) -> Option<Advert> {
    let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let mut advert = Advert::new(words.next()?.parse::<Address>().ok()?);
    advert.rssi = words.next()?.parse().ok();
    for word in words {
        let (id, data) = word.get(1..)?.split_once('=')?;
        let entry = (u16::from_str_radix(id, 16).ok()?, bytes(data)?);
        if word.starts_with('s') { advert.service.push(entry) } else { advert.manufacturer.push(entry) }
    }
    Some(advert)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let fine = hex.len().is_multiple_of(2) && hex.bytes().all(|b| b.is_ascii_hexdigit());
    fine.then(|| (0..hex.len()).step_by(2).filter_map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect())
}
