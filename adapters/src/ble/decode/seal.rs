//! AES-CCM with a tag of four bytes, as the encrypted formats use it, and the counters that stop replays.

use std::fmt;

use aes::Aes128;
use ccm::{
    Ccm,
    aead::{
        Aead, KeyInit, Payload,
        consts::{U4, U12, U13},
    },
};

use super::Refusal;

type Ccm12 = Ccm<Aes128, U4, U12>;
type Ccm13 = Ccm<Aes128, U4, U13>;
type Ccm11 = Ccm<Aes128, U4, ccm::consts::U11>;

/// A sensor's key (bindkey). Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// From 32 hexadecimal digits, as the makers' apps show it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut key = [0; 16];
        for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }

    /// The text of `sealed` (with its tag at the end), if the key made it.
    pub(super) fn open(&self, nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let payload = Payload { msg: sealed, aad };
        let opened = match nonce.len() {
            11 => Ccm11::new(&self.0.into()).decrypt(nonce.try_into().map_err(|_| Refusal::Malformed)?, payload),
            12 => Ccm12::new(&self.0.into()).decrypt(nonce.try_into().map_err(|_| Refusal::Malformed)?, payload),
            _ => Ccm13::new(&self.0.into()).decrypt(nonce.try_into().map_err(|_| Refusal::Malformed)?, payload),
        };
        opened.map_err(|_| Refusal::KeyWrong)
    }
}

/// The last counter that a sensor sent under its key. Only what its key has made moves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter(Option<u32>);

/// A sensor that got a new battery begins near zero again; a counter that is that low is believed.
const FRESH: u32 = 100;

impl Counter {
    /// Accepts a counter that is not older than the last: the same one is the same advertisement once more.
    pub(super) fn accept(&mut self, counter: u32) -> Result<(), Refusal> {
        if self.0.is_some_and(|last| counter < last && counter > FRESH) {
            return Err(Refusal::Replayed);
        }
        self.0 = Some(counter);
        Ok(())
    }
}
