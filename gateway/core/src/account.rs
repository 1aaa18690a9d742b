//! People and programs that may use the page and its API: who they are, what they may do, and what they did.
//!
//! Secrets are never here: of a password there is a hash, of a session's or token's text the SHA-256. Nothing here decides; the page
//! asks, and the store keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, device::PasswordHash};

/// What somebody may do. Each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but users, tokens and secrets.
    Viewer,
    /// Make devices do something, ask them, test a connection.
    Operator,
    /// Change the configuration, users and tokens.
    Admin,
}

impl Role {
    /// All, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// As stored and as shown.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Role> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// Longest name of a user or a token: it must stay readable in a list.
pub const MAX_ACCOUNT_NAME: usize = 64;

/// Whether a text can be the name of a user or a token: 1 to 64 ASCII letters, digits, `.`, `_` or `-`.
pub fn is_account_name(text: &str) -> bool {
    (1..=MAX_ACCOUNT_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Somebody who logs in with a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Checked by [`is_account_name`].
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Of their password.
    pub password: PasswordHash,
    /// When they were made.
    pub created: Timestamp,
    /// When they last logged in.
    pub last_login: Option<Timestamp>,
}

/// The SHA-256 of a secret text, by which sessions and tokens are found. Knowing it does not open anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// A user's session in one browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Of the cookie's text.
    pub secret: Digest,
    /// Whose.
    pub user: String,
    /// When they logged in.
    pub created: Timestamp,
    /// When it was last used, to within a few minutes.
    pub used: Timestamp,
}

/// What a program shows instead of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// By which people refer to it.
    pub id: String,
    /// Of its text.
    pub secret: Digest,
    /// What it is for.
    pub name: String,
    /// Who made it; it goes when they go.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends; `None`: when it is deleted.
    pub expires: Option<Timestamp>,
    /// When it was last used, to within a few minutes.
    pub used: Option<Timestamp>,
}

/// One line of the audit: who changed what, from where, and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// The user; for a token `user/token`; empty for somebody who was not logged in.
    pub who: String,
    /// The address they came from.
    pub from: String,
    /// What was done, such as `user.create`.
    pub what: &'static str,
    /// To whom or what.
    pub target: String,
    /// More, for people; never a secret.
    pub detail: String,
    /// `ok`, or why not.
    pub result: String,
}

/// A line of the audit as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAct {
    /// Rises with each line.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// As in [`Act`].
    pub who: String,
    /// As in [`Act`].
    pub from: String,
    /// As in [`Act`].
    pub what: String,
    /// As in [`Act`].
    pub target: String,
    /// As in [`Act`].
    pub detail: String,
    /// As in [`Act`].
    pub result: String,
}

/// What became of a change to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChange {
    /// They are now as given; for a deletion, they were.
    Done(User),
    /// There is nobody of this name.
    Missing,
    /// Somebody of this name is there already; for a claim, anybody.
    Exists,
    /// They are the last admin: without one nobody could ever change anything again.
    LastAdmin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_in_order_and_names_stay_plain() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
        assert!(is_account_name("ada.l-1_2"));
        for bad in ["", "a b", "ä", "a/b", "<b>", &"x".repeat(65)] {
            assert!(!is_account_name(bad), "{bad}");
        }
    }
}
