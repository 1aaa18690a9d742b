//! A device as the registry of our own hub keeps it: who it is, how it proves that, and whether it may connect.

use std::fmt;

use crate::{clock::Timestamp, dialect::identity::Identity, dialect::key::Key};

/// One entry of the registry: a device, or a module of one.
#[derive(Debug, Clone)]
pub struct Device {
    /// Who it is. Device and module ids are [`crate::id::LeafId`]s too, so that they can be topic levels and file names.
    pub identity: Identity,
    /// Differs whenever an identity is made anew under the same name, so that what was meant for the old one is not taken for the new.
    pub generation: String,
    /// Rises with each change of this entry. A change that names an older one is refused.
    pub etag: u64,
    /// A device that is not enabled cannot connect; its twin and its queue stay.
    pub enabled: bool,
    /// Why it is as it is, for people.
    pub reason: Option<String>,
    /// How it proves who it is.
    pub proof: Proof,
    /// When the entry was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
}

/// A registry entry to be made.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Who.
    pub identity: Identity,
    /// How it will prove that.
    pub proof: Proof,
    /// Whether it may connect.
    pub enabled: bool,
    /// Why it is as it is, for people.
    pub reason: Option<String>,
    /// For its generation: any text that no earlier device of this name had.
    pub generation: String,
    /// Now.
    pub now: Timestamp,
}

/// What became of a change to the registry.
#[derive(Debug, Clone)]
pub enum Written {
    /// It is as given.
    Done(Device),
    /// There is one of this name already.
    Exists,
    /// There is none of this name; for a module, or its device is not there.
    Missing,
    /// It has been changed since: its etag is another.
    Changed,
}

/// How a device proves who it is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By tokens signed with either key: two, so that one can be replaced while the other is in use.
    Keys {
        /// Tried first.
        primary: Key,
        /// Tried second.
        secondary: Key,
    },
    /// By a certificate that is known by its thumbprint, whoever signed it.
    Thumbprints {
        /// Tried first.
        primary: Thumbprint,
        /// Tried second.
        secondary: Option<Thumbprint>,
    },
    /// By a certificate of an authority that the endpoint trusts, with the device id as its common name.
    Authority,
    /// By a password, for simple devices that know no better: the text of an argon2id hash, never the password.
    Password(PasswordHash),
}

impl Proof {
    /// As stored and as shown.
    pub fn word(&self) -> &'static str {
        match self {
            Proof::Keys { .. } => "sas",
            Proof::Thumbprints { .. } => "selfSigned",
            Proof::Authority => "certificateAuthority",
            Proof::Password(_) => "password",
        }
    }
}

/// What is kept of a password: a PHC string such as `$argon2id$v=19$…`. Not shown in debug texts.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

/// A certificate's SHA-1 (40 digits) or SHA-256 (64 digits) in hexadecimal, kept in upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// From hexadecimal text; colons and spaces between digits, as openssl prints them, are passed over.
    pub fn new(text: &str) -> Result<Self, ThumbprintError> {
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect::<String>().to_ascii_uppercase();
        let fine = matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if fine { Ok(Self(digits)) } else { Err(ThumbprintError(digits.chars().count())) }
    }

    /// Whether it is a SHA-1; otherwise it is a SHA-256.
    pub fn is_sha1(&self) -> bool {
        self.0.len() == 40
    }

    /// The digits, in upper case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no thumbprint; how many characters it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("thumbprint has {0} characters: use the 40 hexadecimal digits of the certificate's SHA-1 or the 64 of its SHA-256")]
pub struct ThumbprintError(usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_read_as_openssl_prints_it() {
        let plain = Thumbprint::new(&"ab".repeat(20)).expect("forty digits");
        assert_eq!(Thumbprint::new(&["AB"; 20].join(":")), Ok(plain.clone()));
        assert!(plain.is_sha1() && !Thumbprint::new(&"0".repeat(64)).expect("sixty-four").is_sha1());
        for bad in ["", "ab", &"g".repeat(40), &"0".repeat(41), &"ä".repeat(20)] {
            assert!(Thumbprint::new(bad).is_err(), "{bad}");
        }
    }
}
