//! `tidegate check`: the same code that `run` reads its configuration with, and nothing else.

use std::path::Path;

use serde_json::json;
use tidegate_core::problem::{Problem, Severity};

use super::say;
use crate::{config, exit::Exit};

pub(super) fn check(path: &Path, as_json: bool) -> Exit {
    let loaded = config::load(path, &crate::kinds());
    if as_json {
        let problems: Vec<_> = loaded.problems.iter().map(view).collect();
        say(&json!({ "ok": loaded.config.is_some(), "problems": problems }).to_string());
    } else {
        loaded.problems.iter().for_each(|problem| say(&problem.to_string()));
        say(&summary(loaded.config.as_ref(), &loaded.problems));
    }
    if loaded.config.is_some() { Exit::Fine } else { Exit::Configuration }
}

fn summary(config: Option<&config::Config>, problems: &[Problem]) -> String {
    match config {
        None => format!("{} to mend before it can run", problems.iter().filter(|p| p.severity == Severity::Error).count()),
        Some(config) => {
            let leaves: usize = config.adapters.iter().map(|adapter| adapter.plan.leaves.len()).sum();
            let (adapters, upstreams) = (config.adapters.len(), config.upstreams.len());
            format!("fine: gateway {}, {adapters} adapters with {leaves} devices, {upstreams} upstreams", config.gateway.id)
        }
    }
}

fn view(problem: &Problem) -> serde_json::Value {
    json!({
        "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
        "file": problem.file.as_ref().map(|file| file.display().to_string()),
        "line": problem.line,
        "path": problem.path.to_string(),
        "what": problem.what,
        "next": problem.next,
    })
}
