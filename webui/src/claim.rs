//! The code by which the first visitor shows that they are at the box: it is on the console and in the journal, and nowhere else.
//!
//! Made anew at each start while nobody has claimed the box, kept in memory only. 8 characters of 31 are 39 bits; with the
//! throttle of log-ins, guessing takes far longer than a box stays unclaimed.

use std::fmt;

use base64::Engine;
use sha2::{Digest as _, Sha256};

/// Letters and digits that nobody takes for each other.
const ALPHABET: &[u8] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
/// Characters of a code.
const LENGTH: usize = 8;

/// A code. Shown in full by `Display`, never by `Debug`.
#[derive(Clone)]
pub struct ClaimCode(String);

impl ClaimCode {
    /// A fresh one.
    pub fn fresh() -> Self {
        let mut code = String::new();
        while code.len() < LENGTH {
            // Values that would make some characters likelier than others are passed over.
            let usable = random::<16>().into_iter().map(usize::from).filter(|byte| *byte < ALPHABET.len() * 8);
            code.extend(usable.take(LENGTH - code.len()).map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])));
        }
        Self(code)
    }

    /// Whether this is what was shown. Case, spaces and dashes do not matter; the time taken does not tell how much was right.
    pub fn is(&self, said: &str) -> bool {
        let said: String = said.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).collect::<String>().to_ascii_uppercase();
        // Of both the hash is compared, so that nothing can be learnt from how far the comparison came.
        Sha256::digest(said.as_bytes()) == Sha256::digest(self.0.as_bytes())
    }
}

/// As shown: `7KQ2-M9XD`.
impl fmt::Display for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", &self.0[..LENGTH / 2], &self.0[LENGTH / 2..])
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCode(hidden)")
    }
}

/// Bytes from the kernel's generator, by way of TLS's provider, which checks that there are any.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A machine without randomness cannot do TLS either: nothing here could go on.
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).expect("the kernel has random bytes");
    bytes
}

/// A secret text of 256 bits for a cookie or a token.
pub(crate) fn secret() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::<32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_was_shown_however_it_is_typed() {
        let code = ClaimCode::fresh();
        let shown = code.to_string();
        assert_eq!(shown.len(), LENGTH + 1);
        assert!(code.is(&shown) && code.is(&shown.to_lowercase()) && code.is(&format!(" {} ", shown.replace('-', " "))));
        for wrong in ["", "-", "AAAA-AAAA", &shown[..LENGTH], &format!("{shown}2"), &"x".repeat(1 << 20)] {
            assert!(!code.is(wrong), "{}", wrong.len());
        }
        assert!(!format!("{code:?}").contains(&shown[..4]));
    }

    #[test]
    fn secrets_differ_and_are_long() {
        let (a, b) = (secret(), secret());
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
    }
}
