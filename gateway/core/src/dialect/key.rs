//! Symmetric keys: the base64 text of a portal or a key file, as bytes that are wiped when dropped and that no log ever shows.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

/// What a hub takes as a key, in bytes (reference §7). A text pasted by half falls out of it.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

/// A symmetric key: 16 to 64 bytes.
#[derive(Clone)]
pub struct Key(SecretSlice<u8>);

impl Key {
    /// From base64, white space around it allowed. The error never holds any of the text.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| KeyError::NotBase64)?;
        Self::from_bytes(bytes)
    }

    /// From the bytes themselves, such as random ones.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyError> {
        let length = bytes.len();
        let key = Self(SecretSlice::from(bytes));
        if LENGTH.contains(&length) { Ok(key) } else { Err(KeyError::Length(length)) }
    }

    /// As it stands in a portal or a key file.
    pub fn to_base64(&self) -> SecretString {
        BASE64_STANDARD.encode(self.0.expose_secret()).into()
    }

    /// The key of one device of an enrolment group, of which this is the key.
    /// The registration id counts with its case; use the lower-case form on both sides.
    pub fn derive(&self, registration_id: &str) -> Key {
        Key(SecretSlice::from(self.mac(registration_id.as_bytes()).finalize().into_bytes().to_vec()))
    }

    /// HMAC-SHA256 of the text, as base64.
    pub(super) fn sign(&self, text: &str) -> String {
        BASE64_STANDARD.encode(self.mac(text.as_bytes()).finalize().into_bytes())
    }

    /// Whether the signature is this key's for the text. Takes the same time whatever is wrong.
    pub(super) fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        self.mac(text.as_bytes()).verify_slice(signature).is_ok()
    }

    fn mac(&self, data: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("HMAC takes keys of any length");
        mac.update(data);
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Cut off, or something else.
    #[error("key is not base64: copy it whole, with the '=' at its end")]
    NotBase64,
    /// Base64, and too short or too long.
    #[error("key has {0} bytes, a hub's keys have 16 to 64: copy it whole")]
    Length(usize),
}
