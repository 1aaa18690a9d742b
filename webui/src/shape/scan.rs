//! Searching for devices.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::{IntoParams, ToSchema};

/// What to search for, and how.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// A kind of adapter that can search.
    pub kind: String,
    /// As the kind's `scan` describes them.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub options: Json,
}

/// How long a search may take.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScanEstimate {
    /// Seconds at most, when nothing answers.
    pub longest_s: f64,
}

/// How a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScanState {
    /// It goes on.
    Running,
    /// There is nothing more to look for.
    Finished,
    /// Somebody ended it, or nobody looked any more.
    Stopped,
    /// It could not go on: `why` says why.
    Failed,
}

/// A search.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScanView {
    /// Its id.
    pub id: String,
    /// The kind of adapter.
    pub kind: String,
    /// How it searches.
    #[schema(value_type = Object)]
    pub options: Json,
    /// Who began it.
    pub who: String,
    /// When.
    pub began: String,
    /// How it is.
    pub state: ScanState,
    /// What stopped it, and the next step.
    pub why: Option<String>,
    /// Steps that are over.
    pub done: u32,
    /// Steps there will be, as far as is known.
    pub total: u32,
    /// The present step.
    pub what: String,
    /// Seconds it takes at most.
    pub longest_s: f64,
    /// Seconds it has taken.
    pub took_s: f64,
    /// Rises with whatever changes: give it as `seen` to wait for the next change.
    pub revision: u64,
    /// What was found, in the order in which it was.
    pub found: Vec<FindingView>,
    /// Found and not kept: there are too many.
    pub more: u64,
}

/// Something that was found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FindingView {
    /// What it is called where it was found.
    pub id: String,
    /// What was seen.
    pub facts: Vec<FactView>,
    /// The beginning of an `[[adapter]]` section that would read it.
    #[schema(value_type = Option<Object>)]
    pub section: Option<Json>,
    /// The configured device that it is.
    pub known: Option<String>,
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FactView {
    /// Its name.
    pub name: String,
    /// A number, a bit or text.
    pub value: Json,
}

/// Waiting for news of a search.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ScanQuery {
    /// The `revision` that was seen: answers when there is a later one.
    pub seen: Option<u64>,
    /// Seconds to wait for that, 0 to 30; 0 when left out.
    #[param(minimum = 0, maximum = 30)]
    pub wait_s: Option<u8>,
}
