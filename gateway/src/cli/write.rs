//! `tidegate write boiler setpoint=21.5`: a command like the hub's, and what became of it.

use std::path::Path;

use serde_json::Value as Json;
use tidegate_core::quantity::Span;

use super::{complain, remote, say};
use crate::{control::Ask, exit::Exit};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device.
    leaf: String,
    /// What to write: point=value, in the point's unit. Written in this order.
    #[arg(required = true, value_name = "POINT=VALUE")]
    points: Vec<String>,
    /// How long to wait for the outcome, up to 50s. The command goes on either way.
    #[arg(long, default_value = "20s", value_name = "TIME")]
    wait: String,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn write(state_dir: &Path, args: &Args) -> Exit {
    let mut points = Vec::with_capacity(args.points.len());
    for text in &args.points {
        let Some((name, value)) = text.split_once('=') else {
            complain(&format!("'{text}' is not POINT=VALUE, such as setpoint=21.5"));
            return Exit::Usage;
        };
        points.push((name.to_owned(), value_of(value)));
    }
    let Some(wait_ms) = wait_ms(&args.wait) else { return Exit::Usage };
    match remote::ask(state_dir, &Ask::Write { leaf: args.leaf.clone(), points, wait_ms }) {
        Ok(answer) => tell(&answer, args.json),
        Err(exit) => exit,
    }
}

/// A number, true or false where it reads as one; else the text itself. `"1"` in quotes is a text.
fn value_of(text: &str) -> Json {
    match serde_json::from_str(text) {
        Ok(value @ (Json::Bool(_) | Json::Number(_) | Json::String(_))) => value,
        _ => Json::String(text.to_owned()),
    }
}

pub(super) fn wait_ms(text: &str) -> Option<u64> {
    match text.parse::<Span>() {
        Ok(span) => u64::try_from(span.0.as_millis()).ok(),
        Err(error) => {
            complain(&error.to_string());
            None
        }
    }
}

/// What became of a command: fine only when it was done, or sent to a leaf that cannot confirm.
pub(super) fn tell(answer: &Json, as_json: bool) -> Exit {
    let exit = match answer["outcome"].as_str() {
        Some("done" | "sent") => Exit::Fine,
        _ => Exit::Negative,
    };
    if as_json {
        say(&answer.to_string());
        return exit;
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    if let Some(error) = answer["error"].as_str() {
        complain(error);
        return exit;
    }
    match answer["outcome"].as_str() {
        None => say(&format!("stored as {}; no outcome yet, it is carried out when its turn comes", text("command"))),
        Some(word) if text("reason").is_empty() => say(word),
        Some(word) => say(&format!("{word}: {}", text("reason"))),
    }
    for (name, value) in answer["values"].as_object().into_iter().flatten() {
        say(&format!("  {name} = {value}"));
    }
    exit
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::value_of;

    #[test]
    fn values_are_read_as_people_mean_them() {
        for (text, value) in
            [("21.5", json!(21.5)), ("true", json!(true)), ("auto", json!("auto")), ("\"1\"", json!("1")), ("[1]", json!("[1]"))]
        {
            assert_eq!(value_of(text), value, "{text}");
        }
    }
}
