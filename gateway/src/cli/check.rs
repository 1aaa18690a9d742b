//! `tidegate check`: the same code that `run` reads its configuration with; with `--box` also what the machine is like, and with
//! `--live` what only trying shows.

use std::path::Path;

use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::{Clock, SystemClock},
    problem::{Problem, Severity},
};

use super::{complain, say};
use crate::{
    config,
    control::{self, Ask},
    examine::{self, Scene, Seen, Verdict},
    exit::Exit,
};

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Args {
    /// Also look the machine over: disk and flash wear, clock, power, memory, ports, radio, network, keys, certificates.
    #[arg(long = "box")]
    whole_box: bool,
    /// Also open buses and connect to upstreams, for a gateway that does not run. Implies --box.
    #[arg(long)]
    live: bool,
    /// Also show what is fine and what could not be looked at.
    #[arg(long)]
    all: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn check(path: &Path, args: Args) -> Exit {
    if args.whole_box || args.live {
        return whole_box(path, args);
    }
    let loaded = config::load(path, &crate::kinds());
    if args.json {
        let problems: Vec<_> = loaded.problems.iter().map(view).collect();
        say(&json!({ "ok": loaded.config.is_some(), "problems": problems }).to_string());
    } else {
        loaded.problems.iter().for_each(|problem| say(&problem.to_string()));
        say(&summary(loaded.config.as_ref(), &loaded.problems));
    }
    if loaded.config.is_some() { Exit::Fine } else { Exit::Configuration }
}

/// What is not fine on the machine ends with [`Exit::Negative`] when it is an error.
fn whole_box(path: &Path, args: Args) -> Exit {
    let scene = Scene::of(path, &crate::kinds(), SystemClock::new("check").now().wall);
    let mut seen = examine::examine(&scene);
    if args.live {
        let state = config::state_dir(path);
        if state.is_some_and(|state| control::ask(&state, &Ask::Status).is_ok()) {
            complain("the gateway runs: a second one would take its ports and its place at the hub. `tidegate status` says how both are.");
            return Exit::Unavailable;
        }
        let ran = super::block_on(async {
            seen.extend(examine::live::examine(&scene).await);
            Exit::Fine
        });
        if ran != Exit::Fine {
            return ran;
        }
    }
    if args.json {
        let problems: Vec<_> = scene.problems().iter().map(view).collect();
        let checks: Vec<_> = seen.iter().map(examined).collect();
        say(&json!({ "ok": scene.config().is_some(), "problems": problems, "checks": checks }).to_string());
    } else {
        scene.problems().iter().for_each(|problem| say(&problem.to_string()));
        seen.iter().flat_map(|one| lines(one, args.all)).for_each(|line| say(&line));
        say(&summary(scene.config(), scene.problems()));
        let count = |verdict| seen.iter().filter(|one| one.verdict == verdict).count();
        say(&format!(
            "{} fine, {} to know, {} warnings, {} errors, {} that could not be looked at",
            count(Verdict::Fine),
            count(Verdict::Note),
            count(Verdict::Warning),
            count(Verdict::Error),
            count(Verdict::Skipped)
        ));
    }
    match seen.iter().any(|one| one.verdict == Verdict::Error) {
        _ if scene.config().is_none() => Exit::Configuration,
        true => Exit::Negative,
        false => Exit::Fine,
    }
}

fn lines(one: &Seen, all: bool) -> Vec<String> {
    let word = match one.verdict {
        Verdict::Fine => "fine",
        Verdict::Skipped => "not seen",
        Verdict::Note => "note",
        Verdict::Warning => "warning",
        Verdict::Error => "error",
    };
    let subject = if one.subject.is_empty() { String::new() } else { format!(" {}", one.subject) };
    let first = format!("{word}: {}{subject}: {} [{}]", one.check.title(), one.seen, one.check.code());
    match one.verdict {
        Verdict::Fine | Verdict::Skipped if all => vec![first],
        Verdict::Fine | Verdict::Skipped => Vec::new(),
        _ => vec![first, format!("    {}", one.check.cause()), format!("    {}", one.check.next_step())],
    }
}

fn examined(one: &Seen) -> Json {
    json!({
        "code": one.check.code(), "subject": one.subject, "verdict": one.verdict, "seen": one.seen,
        "title": one.check.title(), "cause": one.check.cause(), "next": one.check.next_step(),
    })
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

fn view(problem: &Problem) -> Json {
    json!({
        "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
        "file": problem.file.as_ref().map(|file| file.display().to_string()),
        "line": problem.line,
        "path": problem.path.to_string(),
        "what": problem.what,
        "next": problem.next,
    })
}
