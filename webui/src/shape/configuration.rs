//! The configuration: its files, checks, changes, trial and history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

/// The configuration's files and what goes on with them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ConfigView {
    /// Of all files together; what a conditional change must name.
    pub etag: String,
    /// The folder.
    pub path: String,
    /// Whether this program may write there.
    pub writable: bool,
    /// The files, the main one first.
    pub files: Vec<FileBrief>,
    /// What is wrong with them as they are.
    pub problems: Vec<ConfigProblem>,
    /// The change that is on trial.
    pub trial: Option<TrialView>,
}

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FileBrief {
    /// `tidegate.toml`, or below `devices.d/` or `upstreams.d/`.
    pub name: String,
    /// Its size.
    pub bytes: usize,
}

/// A file of the configuration with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Of all files together.
    pub etag: String,
}

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ConfigProblem {
    /// `error` or `warning`.
    pub severity: String,
    /// The file.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The place, such as `adapter[plant].device[boiler].point[t].scale`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// Proposed files: texts by name, null for a file that goes.
pub type Drafts = BTreeMap<String, Option<String>>;

/// A proposal to be checked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// Texts by name, null for a file that goes; files that are not named stay as they are.
    pub files: Drafts,
}

/// What came of a check.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CheckView {
    /// Whether it can run.
    pub ok: bool,
    /// What is wrong with it; warnings do not keep it from running.
    pub problems: Vec<ConfigProblem>,
    /// What applying it would do; null when it cannot run.
    pub change: Option<ChangeView>,
    /// What it will cost; null when it cannot run.
    pub forecast: Option<ForecastView>,
}

/// What a configuration costs at most, and what the present one does.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ForecastView {
    /// Of the proposal.
    pub after: CostView,
    /// Of what is on disk; null when that cannot run.
    pub before: Option<CostView>,
}

/// Upper bounds of what polling makes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CostView {
    /// Devices.
    pub devices: usize,
    /// Of them, those that speak when they like and are not counted.
    pub unasked: usize,
    /// Messages a minute.
    pub per_minute: f64,
    /// Bytes of messages a day.
    pub bytes_per_day: f64,
    /// Blocks of 4096 bytes written to flash a day.
    pub blocks_per_day: f64,
}

/// What a change does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ChangeView {
    /// Adapters that start, end or are started again.
    pub adapters: ChangesView,
    /// Upstreams that start, end or are started again.
    pub upstreams: ChangesView,
    /// Sections that take effect when the program is started again.
    pub restart_needed: Vec<String>,
}

/// Names of sections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct ChangesView {
    /// New.
    pub added: Vec<String>,
    /// Gone.
    pub removed: Vec<String>,
    /// Different.
    pub changed: Vec<String>,
}

/// Changes by path.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// Drafts to begin with; may be empty.
    #[serde(default)]
    pub files: Drafts,
    /// Carried out in this order.
    #[schema(max_items = 200)]
    pub edits: Vec<Edit>,
}

/// One change.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The place: keys, and for an entry of a list its `name` or `id`, or its number from 0.
    #[schema(value_type = Vec<Json>, max_items = 16)]
    pub at: Vec<Json>,
    /// The new value.
    pub set: Option<Json>,
    /// Takes the value away.
    #[serde(default)]
    pub remove: bool,
    /// Adds an entry to the list at this place.
    pub append: Option<Json>,
    /// With `append`: the file for a new section; the main file when left out.
    pub file: Option<String>,
}

/// What came of edits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EditView {
    /// The files that differ from what is on disk.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub files: Drafts,
    /// What their check says.
    pub check: CheckView,
}

/// A change to be applied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// Texts by name, null for a file that goes.
    pub files: Drafts,
    /// Why, for the history.
    #[serde(default)]
    #[schema(max_length = 400)]
    pub comment: String,
    /// Seconds of trial, 20 to 3600; null: for good at once.
    #[schema(minimum = 20, maximum = 3600)]
    pub trial_s: Option<u64>,
}

/// How an earlier change is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevertRequest {
    /// Seconds of trial, 20 to 3600; null: for good at once.
    #[schema(minimum = 20, maximum = 3600)]
    pub trial_s: Option<u64>,
}

/// What applying did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApplyView {
    /// The configuration's new etag.
    pub etag: String,
    /// What was started, ended or started again.
    pub change: ChangeView,
    /// The trial, if it is one.
    pub trial: Option<TrialView>,
}

/// A change on trial.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrialView {
    /// Its entry in the history.
    pub id: String,
    /// Who applied it.
    pub who: String,
    /// When.
    pub began: String,
    /// When it rolls back by itself.
    pub ends: String,
    /// Seconds until then.
    pub left_s: u64,
    /// Why it was made.
    pub comment: String,
    /// What is worse than before; it rolls back soon if this stays.
    pub worse: Vec<WorseView>,
}

/// Something that was right before a trial and is not now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorseView {
    /// The adapter, device or upstream.
    pub subject: String,
    /// The health catalogue's code.
    pub code: String,
}

/// A change in the history.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HistoryBrief {
    /// By which it is named.
    pub id: String,
    /// When.
    pub at: String,
    /// Who.
    pub who: String,
    /// Why.
    pub comment: String,
    /// The files that it changed.
    pub files: Vec<String>,
    /// `applied`, `trial`, `kept` or `rolled-back`.
    pub result: String,
    /// Why it was rolled back.
    pub why: Option<String>,
}

/// A change in full.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HistoryView {
    /// What it was.
    #[serde(flatten)]
    pub brief: HistoryBrief,
    /// What it changed, as a unified diff.
    pub diff: String,
    /// The files as they were; null for one that was not there.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub before: Drafts,
    /// The files as they became.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub after: Drafts,
}

/// The kinds that sections may be of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KindsView {
    /// For `[[adapter]]`.
    pub adapters: Vec<KindView>,
    /// For `[[upstream]]`.
    pub upstreams: Vec<KindView>,
}

/// A kind.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KindView {
    /// The word in `kind = "…"`.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Markdown; empty where there is none.
    pub readme: String,
    /// A complete section in TOML.
    pub example: String,
    /// JSON Schema of the options of its search; null when it has none.
    #[schema(value_type = Option<Object>)]
    pub scan: Option<Json>,
    /// How one pairs with a device of this kind: JSON Schema of the options; null where there is nothing to pair.
    #[schema(value_type = Option<Object>)]
    pub pair: Option<Json>,
}

/// An upstream to be tried: one that is configured, or a proposed section.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTestRequest {
    /// One `[[upstream]]` section in TOML.
    pub section: Option<String>,
    /// The name of one that is configured.
    pub name: Option<String>,
}

/// How a connection went.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UpstreamTestView {
    /// Whether every step did.
    pub ok: bool,
    /// The steps, up to the first that did not.
    pub steps: Vec<StepView>,
}

/// One step of a test.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepView {
    /// `check`, `resolve`, `reach` or `connect`.
    pub step: String,
    /// Whether it went well.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// How long it took.
    pub took_ms: f64,
}

/// A secret to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// What it is: a connection string, a key, a password. 1 byte to 64 KiB; white space around it does not count.
    #[schema(min_length = 1, max_length = 65_536)]
    pub value: String,
}

impl std::fmt::Debug for SecretRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretRequest")
    }
}

/// A secret that is kept. What it is, is never shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// The file to name in the configuration.
    pub path: String,
}
