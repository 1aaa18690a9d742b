//! Pairing with a device.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

/// What to pair with.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairRequest {
    /// A kind of adapter that can pair.
    pub kind: String,
    /// As the kind's `pair` describes them.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub options: Json,
}

/// How a pairing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PairState {
    /// It goes on.
    Running,
    /// It is done, and was kept.
    Paired,
    /// Somebody ended it, or nobody looked any more.
    Stopped,
    /// It came to nothing: `why` says why.
    Failed,
}

/// What a device wants of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "ask")]
pub enum PairQuestion {
    /// The digits that it shows, or that stand on it.
    Passkey,
    /// These digits are to be typed on it.
    Show {
        /// Six, most often.
        digits: String,
    },
    /// Does it show these digits?
    Same {
        /// Six, most often.
        digits: String,
    },
}

/// A pairing.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PairView {
    /// Its id.
    pub id: String,
    /// The kind of adapter.
    pub kind: String,
    /// Which device.
    #[schema(value_type = Object)]
    pub options: Json,
    /// Who began it.
    pub who: String,
    /// How it is.
    pub state: PairState,
    /// Why it came to nothing, and the next step.
    pub why: Option<String>,
    /// The present step.
    pub what: String,
    /// What is wanted of a person now.
    pub question: Option<PairQuestion>,
    /// Rises with whatever changes: give it as `seen` to wait for the next change.
    pub revision: u64,
}

/// The answer to what a device wants: a passkey, or whether it shows the same digits.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairAnswer {
    /// Digits, at most 16 of them.
    #[schema(max_length = 16)]
    pub passkey: Option<String>,
    /// Whether it shows them; false ends the pairing.
    pub same: Option<bool>,
}

/// A passkey is a secret.
impl fmt::Debug for PairAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairAnswer").field("passkey", &self.passkey.as_ref().map(|_| "***")).field("same", &self.same).finish()
    }
}
