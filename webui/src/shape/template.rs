//! Models of devices that are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

/// A model that is known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TemplateView {
    /// What a device's section names it by.
    pub name: String,
    /// It comes with the program; otherwise it is a file in `templates.d`.
    pub packaged: bool,
    /// Who makes the device.
    pub brand: String,
    /// Which models it fits.
    pub models: Vec<String>,
    /// The kind of adapter.
    pub kind: String,
    /// One line.
    pub summary: String,
    /// Where its facts come from.
    pub source: String,
    /// For the person who wires it.
    pub notes: String,
    /// Keys of the adapter as the device has them from the factory.
    #[schema(value_type = Object)]
    pub bus: BTreeMap<String, Json>,
    /// Its points, as a device's section would have them.
    #[schema(value_type = Vec<Object>)]
    pub points: Vec<Json>,
    /// Whether a device can be recognised by its values.
    pub recognises: bool,
    /// The file.
    pub text: String,
}

/// A device to be recognised.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchRequest {
    /// An `[[adapter]]` section with one device, as a search gives it.
    #[schema(value_type = Object)]
    pub section: Json,
}

/// What a model would say of a device.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MatchView {
    /// The template.
    pub template: String,
    /// Whether every value is within what is certain for the model.
    pub fits: bool,
    /// What was read, as the template reads it.
    pub values: Vec<MatchValue>,
}

/// A value that a model is recognised by.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MatchValue {
    /// The point.
    pub point: String,
    /// The value; null when there was none.
    pub value: Json,
    /// Its unit.
    pub unit: Option<String>,
    /// Why there is none.
    pub detail: String,
}
