//! `tidegate inbox`: the commands that wait and those that ended without being done, and who had what written.
//! Reads the file beside the gateway, or without one; carrying out and letting go ask the gateway.

use std::path::Path;

use serde_json::{Value as Json, json};
use tidegate_store::inbox::{self, Audited, Entry, State};

use super::{complain, output::table, remote, say, write};
use crate::{control::Ask, exit::Exit, request::Request};

/// Commands shown.
const COMMANDS: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// One JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Carry a dead command out after all: the same words as a new command of yours.
    Retry {
        /// Its number in the list.
        seq: u64,
        /// How long to wait for the outcome, up to 50s.
        #[arg(long, default_value = "20s", value_name = "TIME")]
        wait: String,
    },
    /// Let a dead command go.
    Delete {
        /// Its number in the list.
        seq: u64,
    },
    /// Show who had what written, newest last.
    Audit {
        /// Lines shown.
        #[arg(long, default_value_t = 50)]
        lines: usize,
    },
}

pub(super) fn inbox(state_dir: &Path, args: &Args) -> Exit {
    match &args.what {
        None => list(state_dir, args.json),
        Some(What::Audit { lines }) => audit(state_dir, *lines, args.json),
        Some(What::Retry { seq, wait }) => {
            let Some(wait_ms) = write::wait_ms(wait) else { return Exit::Usage };
            match remote::ask(state_dir, &Ask::Retry { seq: *seq, wait_ms }) {
                Ok(answer) => write::tell(&answer, args.json),
                Err(exit) => exit,
            }
        }
        Some(What::Delete { seq }) => match remote::ask(state_dir, &Ask::Delete { seq: *seq }) {
            Err(exit) => exit,
            Ok(answer) => match answer["error"].as_str() {
                Some(error) => {
                    complain(error);
                    Exit::Negative
                }
                None => {
                    say(&if args.json { answer.to_string() } else { format!("deleted {seq}") });
                    Exit::Fine
                }
            },
        },
    }
}

fn look(state_dir: &Path, most: usize) -> Result<inbox::InboxView, Exit> {
    inbox::inspect(state_dir, most).map_err(|error| {
        complain(&format!("cannot read the inbox in {}: {error}", state_dir.display()));
        Exit::Unavailable
    })
}

fn list(state_dir: &Path, as_json: bool) -> Exit {
    let view = match look(state_dir, COMMANDS) {
        Ok(view) => view,
        Err(exit) => return exit,
    };
    if as_json {
        say(&json!({ "commands": view.commands.iter().map(entry).collect::<Vec<_>>() }).to_string());
        return Exit::Fine;
    }
    let rows: Vec<Vec<String>> = view.commands.iter().map(row).collect();
    if rows.is_empty() {
        say("no command waits, and none is dead");
    }
    table(&rows).iter().for_each(|line| say(line));
    Exit::Fine
}

fn state(entry: &Entry) -> &str {
    match entry.state {
        State::Waiting => "waiting",
        State::Begun => "begun",
        State::Dead => &entry.outcome,
    }
}

fn words(entry: &Entry) -> String {
    Request::from_stored(&entry.command.body).map_or_else(|_| "not readable".to_owned(), |request| request.in_words())
}

fn row(entry: &Entry) -> Vec<String> {
    let command = &entry.command;
    let came = command.life.came.wall.to_string();
    vec![entry.seq.to_string(), state(entry).to_owned(), command.leaf.to_string(), words(entry), came, entry.reason.clone()]
}

fn entry(entry: &Entry) -> Json {
    let command = &entry.command;
    json!({
        "seq": entry.seq,
        "state": state(entry),
        "dead": entry.state == State::Dead,
        "leaf": command.leaf.as_str(),
        "command": command.origin.id,
        "source": command.origin.source,
        "who": command.origin.who,
        "what": words(entry),
        "came": command.life.came.wall.to_string(),
        "deliveries": entry.deliveries,
        "reason": entry.reason,
    })
}

fn audit(state_dir: &Path, lines: usize, as_json: bool) -> Exit {
    let view = match look(state_dir, lines) {
        Ok(view) => view,
        Err(exit) => return exit,
    };
    let lines: Vec<&Audited> = view.audit.iter().rev().collect();
    if as_json {
        say(&json!({ "audit": lines.iter().map(|line| audited(line)).collect::<Vec<_>>() }).to_string());
        return Exit::Fine;
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let note = &line.note;
            let from = format!("{} ({})", note.origin.who, note.origin.source);
            vec![line.at.wall.to_string(), from, note.leaf.clone(), note.event.clone(), note.what.clone()]
        })
        .collect();
    table(&rows).iter().for_each(|line| say(line));
    Exit::Fine
}

fn audited(line: &Audited) -> Json {
    let note = &line.note;
    json!({
        "n": line.n, "at": line.at.wall.to_string(), "who": note.origin.who, "source": note.origin.source,
        "command": note.origin.id, "leaf": note.leaf, "event": note.event, "what": note.what,
    })
}
