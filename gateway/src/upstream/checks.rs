//! What the configurations of all kinds have in common: files, durations, windows.
//!
//! Each check records what is wrong and what to do, and answers with something usable all the same, so that one look finds
//! every problem.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tidegate_core::{
    problem::{Problems, Severity},
    quantity::Span,
};

use super::link::MOST_IN_FLIGHT;

/// The section as the kind's raw type. It satisfies the schema, so this fails only where a schema cannot say it all.
pub(super) fn raw<T: DeserializeOwned>(section: &Json, problems: &mut Problems) -> Option<T> {
    match T::deserialize(section) {
        Ok(raw) => Some(raw),
        Err(error) => {
            problems.error(error.to_string(), "see the example of this kind");
            None
        }
    }
}

/// Whether one of the problems after the first `before` is an error: those are of this section.
pub(super) fn any_error_since(before: usize, problems: &Problems) -> bool {
    problems.list().iter().skip(before).any(|problem| problem.severity == Severity::Error)
}

/// A path must at least be one.
pub(super) fn file(key: &str, path: Option<&str>, problems: &mut Problems) {
    if path.is_some_and(|path| path.trim().is_empty() || path.contains('\0')) {
        problems.key(key).error("is not a path", "write the file's absolute path, or the name of a systemd credential");
    }
}

/// Certificate and key come together.
pub(super) fn pair(certificate: Option<&str>, key: Option<&str>, problems: &mut Problems) -> Option<(String, String)> {
    file("client_cert_file", certificate, problems);
    file("client_key_file", key, problems);
    match (certificate, key) {
        (Some(certificate), Some(key)) => return Some((certificate.to_owned(), key.to_owned())),
        (Some(_), None) => problems.error("client_cert_file needs client_key_file", "name the private key's file too"),
        (None, Some(_)) => problems.error("client_key_file needs client_cert_file", "name the certificate's file too"),
        (None, None) => {}
    }
    None
}

/// A duration within limits; `why` tells where they come from.
pub(super) fn between(key: &str, value: Span, least: Span, most: Span, why: &str, problems: &mut Problems) {
    if value < least || value > most {
        problems.key(key).error(format!("{value} is not between {least} and {most}"), why);
    }
}

/// How many messages may wait for their acknowledgement.
pub(super) fn in_flight(value: u32, problems: &mut Problems) -> usize {
    let value = usize::try_from(value).unwrap_or(usize::MAX);
    if !(1..=MOST_IN_FLIGHT).contains(&value) {
        problems.key("in_flight").error(format!("{value} is not between 1 and {MOST_IN_FLIGHT}"), "16 to 128 is usual");
    }
    value.clamp(1, MOST_IN_FLIGHT)
}

/// Whether the text is printable and of some length: client ids, user names.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control)
}
