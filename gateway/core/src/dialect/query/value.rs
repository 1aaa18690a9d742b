//! What a part of a query is worth for one message.

use std::borrow::Cow;

use serde_json::Value as Json;

/// A value. Numbers are finite or infinite, never NaN: what would be NaN is undefined.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'m> {
    Undefined,
    /// A property without a value, a JSON null, or the word itself.
    Null,
    /// The body has nothing at the end of the path: compares like null, and is not defined.
    Missing,
    Bool(bool),
    Number(f64),
    Text(Cow<'m, str>),
}

impl<'m> Value<'m> {
    /// Objects and arrays are no values.
    pub(super) fn of_json(json: Option<&'m Json>) -> Self {
        match json {
            None => Value::Missing,
            Some(Json::Null) => Value::Null,
            Some(Json::Bool(bool)) => Value::Bool(*bool),
            Some(Json::Number(number)) => number.as_f64().map_or(Value::Undefined, Value::number),
            Some(Json::String(text)) => Value::Text(Cow::Borrowed(text)),
            Some(Json::Array(_) | Json::Object(_)) => Value::Undefined,
        }
    }

    pub(super) fn number(number: f64) -> Self {
        if number.is_nan() { Value::Undefined } else { Value::Number(number) }
    }

    pub(super) fn text(text: String) -> Self {
        if text.len() > super::MAX_TEXT { Value::Undefined } else { Value::Text(Cow::Owned(text)) }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::Missing)
    }
}
