//! Shared access signatures: `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, made by devices and verified by hubs.
//!
//! The signature covers the *literal* text of `sr`, however it is encoded, so a verifier never re-encodes; it decodes only to compare
//! the audience. A verdict is reached in the order signature, audience, expiry: who has no key learns nothing about the rest.

use std::{borrow::Cow, fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::{encode, identity::Identity, key::Key};
use crate::clock::Timestamp;

const SCHEME: &str = "SharedAccessSignature ";
/// Clocks of devices and hubs may differ by this much (reference §1.3).
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Signs a resource such as `contoso.azure-devices.net/devices/leaf-01` until `expires` (whole seconds count).
/// `policy` names the key if it is not the device's own.
pub fn make(resource: &str, key: &Key, expires: Timestamp, policy: Option<&str>) -> SecretString {
    make_literal(&encode(resource).to_string(), key, expires, policy)
}

/// As [`make`], for a resource that is encoded already.
pub fn make_literal(sr: &str, key: &Key, expires: Timestamp, policy: Option<&str>) -> SecretString {
    let expires = expires.seconds();
    let signature = key.sign(&format!("{sr}\n{expires}"));
    let mut token = format!("{SCHEME}sr={sr}&sig={}&se={expires}", encode(&signature));
    if let Some(policy) = policy {
        token.push_str("&skn=");
        token.extend(encode(policy));
    }
    token.into()
}

/// A token that has been read and not yet believed.
pub struct Token<'a> {
    sr: &'a str,
    signed: String,
    signature: Vec<u8>,
    expires: Timestamp,
    policy: Option<String>,
}

impl<'a> Token<'a> {
    /// Takes a token apart. Fields come in any order, their names in any case, each once; unknown ones are ignored.
    pub fn parse(text: &'a str) -> Result<Self, TokenError> {
        let fields = text.strip_prefix(SCHEME).ok_or(TokenError::Malformed)?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.split('&') {
            let (name, value) = field.split_once('=').ok_or(TokenError::Malformed)?;
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(TokenError::Malformed);
            }
        }
        let (Some(sr), Some(sig), Some(se)) = (sr, sig, se) else { return Err(TokenError::Malformed) };
        let (sig, se) = (decoded(sig)?, decoded(se)?);
        let seconds = se.parse::<u64>().map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            sr,
            signed: format!("{sr}\n{se}"),
            signature: BASE64_STANDARD.decode(sig.as_bytes()).map_err(|_| TokenError::Malformed)?,
            expires: Timestamp(0).plus(Duration::from_secs(seconds)),
            policy: skn.map(decoded).transpose()?.map(Cow::into_owned).filter(|policy| !policy.is_empty()),
        })
    }

    /// The policy whose key signed it; `None` for the device's own key. Tells which keys to try.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// When it ends. Not to be believed before [`Token::verify`].
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether one of the keys (primary, then secondary) signed it, it speaks for this identity at one of these hosts, and it has not ended.
    /// A device's own token names the identity exactly; a policy's token may name anything above it.
    pub fn verify(&self, keys: &[&Key], hosts: &[&str], identity: &Identity, now: Timestamp) -> Result<(), TokenError> {
        // Every key is tried, so that the time does not tell which one it was.
        if !keys.iter().fold(false, |any, key| key.has_signed(&self.signed, &self.signature) | any) {
            return Err(TokenError::Signature);
        }
        if !hosts.iter().any(|host| self.speaks_for(host, identity)) {
            return Err(TokenError::Audience);
        }
        if now.since(self.expires) > CLOCK_SKEW {
            return Err(TokenError::Expired);
        }
        Ok(())
    }

    /// As [`Token::verify`], for a resource of these segments that is none of a hub's, and one key.
    pub fn verify_resource(&self, key: &Key, segments: &[&str], now: Timestamp) -> Result<(), TokenError> {
        if !key.has_signed(&self.signed, &self.signature) {
            return Err(TokenError::Signature);
        }
        let resource = decoded(self.sr)?;
        let given: Vec<&str> = resource.split('/').collect();
        if given.len() != segments.len() || !given.iter().zip(segments).all(|(given, wanted)| is_same_segment(given, wanted)) {
            return Err(TokenError::Audience);
        }
        if now.since(self.expires) > CLOCK_SKEW {
            return Err(TokenError::Expired);
        }
        Ok(())
    }

    fn speaks_for(&self, host: &str, identity: &Identity) -> bool {
        let Ok(resource) = decoded(self.sr) else { return false };
        let wanted = identity.resource_segments(host);
        let given: Vec<&str> = resource.split('/').take(wanted.len() + 1).collect();
        let enough = if self.policy.is_some() { given.len() <= wanted.len() } else { given.len() == wanted.len() };
        enough && given.iter().zip(&wanted).all(|(given, wanted)| is_same_segment(given, wanted))
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("sr", &self.sr).field("expires", &self.expires).field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Without regard to case, as it stands or decoded once more: some clients encode the id and then the whole again (reference §1.3).
fn is_same_segment(given: &str, wanted: &str) -> bool {
    given.eq_ignore_ascii_case(wanted) || decoded(given).is_ok_and(|given| given.eq_ignore_ascii_case(wanted))
}

fn decoded(text: &str) -> Result<Cow<'_, str>, TokenError> {
    percent_decode_str(text).decode_utf8().map_err(|_| TokenError::Malformed)
}

/// Why a token opens nothing. Over the wire they are all the same CONNACK 5; this is for our own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token.
    #[error("token is malformed")]
    Malformed,
    /// None of the keys made it.
    #[error("token was signed with another key")]
    Signature,
    /// It is for something else.
    #[error("token is for another device or host")]
    Audience,
    /// It has ended.
    #[error("token has expired, or the device's clock is wrong")]
    Expired,
}
