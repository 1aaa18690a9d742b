//! Values as the page gets them: JSON, and text where JSON in a browser cannot hold the value.

use serde_json::{Value as Json, json};
use tidegate_core::reading::Value;
use tidegate_webui::shape::LatestView;

use crate::live::Seen;

/// Whole numbers beyond this are not exact in a browser (2^53).
const EXACT: u64 = 1 << 53;

pub(super) fn json(value: Option<&Value>) -> Json {
    match value {
        None => Json::Null,
        Some(Value::Bool(bit)) => json!(bit),
        Some(Value::Int(n)) if n.unsigned_abs() > EXACT => json!(n.to_string()),
        Some(Value::Int(n)) => json!(n),
        Some(Value::Uint(n)) if *n > EXACT => json!(n.to_string()),
        Some(Value::Uint(n)) => json!(n),
        // Not a number and infinite have no JSON; normalising has made them bad readings before.
        Some(Value::Float(n)) => json!(n),
        Some(Value::Text(text)) => json!(text),
        Some(bytes @ Value::Bytes(_)) => json!(bytes.to_string()),
    }
}

pub(super) fn latest(seen: &Seen, unit: Option<&str>) -> LatestView {
    LatestView {
        value: json(seen.shown.value.as_ref()),
        quality: seen.shown.quality.to_string(),
        at: seen.at.0,
        unit: unit.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_round_is_text() {
        let text = |value: Value| json(Some(&value)).to_string();
        assert_eq!(text(Value::Uint(u64::MAX)), "\"18446744073709551615\"");
        assert_eq!(text(Value::Int(i64::MIN)), "\"-9223372036854775808\"");
        assert_eq!(text(Value::Int(-(1 << 53))), "-9007199254740992");
        assert_eq!(text(Value::Float(f64::NAN)), "null");
        assert_eq!(text(Value::Bytes(vec![0, 255])), "\"00 ff\"");
    }
}
