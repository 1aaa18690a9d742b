//! `tidegate status` and `tidegate reload`: questions to the gateway that runs.

use std::path::Path;

use serde_json::Value as Json;

use super::{complain, output::table, say};
use crate::{
    control::{self, Ask},
    exit::Exit,
};

pub(super) fn ask(state_dir: &Path, question: &Ask) -> Result<Json, Exit> {
    control::ask(state_dir, question).map_err(|error| {
        complain(&format!("no gateway answers on {}: {error}; is it running, and are you its user?", state_dir.display()));
        Exit::Unavailable
    })
}

pub(super) fn reload(state_dir: &Path) -> Exit {
    let answer = match ask(state_dir, &Ask::Reload) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let texts = |list: &Json| list.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>();
    if answer["applied"] != true {
        texts(&answer["problems"]).iter().for_each(|problem| complain(problem));
        complain("not applied: the gateway goes on with what it had");
        return Exit::Configuration;
    }
    let mut changed = false;
    for what in ["adapters", "upstreams"] {
        for how in ["added", "removed", "changed"] {
            for name in texts(&answer["change"][what][how]) {
                changed = true;
                say(&format!("{how} {} {name}", &what[..what.len() - 1]));
            }
        }
    }
    for section in texts(&answer["change"]["restart_needed"]) {
        changed = true;
        say(&format!("[{section}] changed: takes effect when the gateway is restarted"));
    }
    if !changed {
        say("nothing changed");
    }
    Exit::Fine
}

pub(super) fn status(state_dir: &Path, as_json: bool) -> Exit {
    let answer = match ask(state_dir, &Ask::Status) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if as_json {
        say(&answer.to_string());
        return Exit::Fine;
    }
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    say(&format!("gateway {}, version {}", text(&answer["gateway"]), text(&answer["version"])));
    let mut rows = Vec::new();
    for adapter in answer["adapters"].as_array().into_iter().flatten() {
        let state = if adapter["connected"] == true { "open" } else { "down" };
        rows.push(vec![
            format!("adapter {}", text(&adapter["name"])),
            state.into(),
            format!("{} readings, {} misses, {} silent", adapter["readings"], adapter["misses"], adapter["silent_leaves"]),
        ]);
    }
    for upstream in answer["upstreams"].as_array().into_iter().flatten() {
        let state = if upstream["connected"] == true { "connected" } else { "away" };
        let figures = format!("{} delivered, {} in flight, {}", upstream["delivered"], upstream["in_flight"], text(&upstream["target"]));
        rows.push(vec![format!("upstream {}", text(&upstream["name"])), state.into(), figures]);
    }
    table(&rows).iter().for_each(|line| say(line));
    for entry in answer["health"].as_array().into_iter().flatten() {
        let subject = text(&entry["subject"]);
        let of = if subject.is_empty() { String::new() } else { format!(" ({subject})") };
        say(&format!("{}: {}{of}: {}", text(&entry["code"]), text(&entry["title"]), text(&entry["detail"])));
        say(&format!("  likely: {}\n  next:   {}", text(&entry["cause"]), text(&entry["next"])));
    }
    Exit::Fine
}
