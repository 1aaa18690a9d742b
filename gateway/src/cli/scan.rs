//! `tidegate adapters scan KIND [OPTION=VALUE …]`: searches for devices, with no gateway, no hub and no configuration.
//!
//! Findings go to standard output as they come, progress to standard error when somebody is watching it. With `--json`
//! each piece of news is one JSON object on a line. What a search may do is said in `tidegate_core::scan`.

use std::{io::IsTerminal, time::Duration};

use serde_json::{Map, Value as Json, json};
use tidegate_core::{
    catalogue::AdapterKind,
    quantity::Span,
    scan::{Finding, NEWS, ScanError, ScanKind, ScanNews},
};
use tokio::sync::mpsc;

use super::{complain, say};
use crate::{config::Kinds, exit::Exit};

/// How long a search may go on when nothing else is asked for: radios never finish by themselves.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The kind of adapter.
    kind: String,
    /// How to search, as KEY=VALUE; `--options` shows what there is.
    options: Vec<String>,
    /// Print the JSON Schema of the options and search for nothing.
    #[arg(long = "options")]
    schema: bool,
    /// End after this time, such as 30s.
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,
    /// One JSON object per line instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) async fn scan(args: &Args, kinds: Kinds) -> Exit {
    let scan = match scanner(&args.kind, kinds.adapters) {
        Ok(scan) => scan,
        Err(why) => {
            complain(&why);
            return Exit::Usage;
        }
    };
    if args.schema {
        say(&format!("{:#}", (scan.options)()));
        return Exit::Fine;
    }
    let Some(options) = options(&args.options) else {
        complain("options are written KEY=VALUE; `--options` shows what there is");
        return Exit::Usage;
    };
    let (news, mut heard) = mpsc::channel(NEWS);
    let search = (scan.run)(options, news);
    let watch = async {
        let mut found = 0_u32;
        while let Some(news) = heard.recv().await {
            found += u32::from(matches!(news, ScanNews::Found(_)));
            show(&news, args.json);
        }
        found
    };
    let both = async { tokio::join!(search, watch) };
    tokio::select! {
        (ended, found) = both => finish(ended, found, args.json),
        () = tokio::time::sleep(args.duration.map_or(LONGEST, |span| span.0)) => Exit::Fine,
        _ = tokio::signal::ctrl_c() => Exit::Fine,
    }
}

fn scanner(name: &str, kinds: &[AdapterKind]) -> Result<ScanKind, String> {
    let searchable = || kinds.iter().filter(|kind| kind.scan.is_some()).map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let kind =
        kinds.iter().find(|kind| kind.name == name).ok_or_else(|| format!("no adapter '{name}'; one can search {}", searchable()))?;
    kind.scan.ok_or_else(|| format!("{name} has no search; one can search {}", searchable()))
}

/// `KEY=VALUE` each; numbers and `true`/`false` are what they look like, everything else is text.
pub(super) fn options(given: &[String]) -> Option<Json> {
    let mut options = Map::new();
    for pair in given {
        let (key, value) = pair.split_once('=')?;
        let plain = serde_json::from_str::<Json>(value).ok().filter(|value| value.is_number() || value.is_boolean());
        options.insert(key.to_owned(), plain.unwrap_or_else(|| Json::from(value)));
    }
    Some(options.into())
}

fn finish(ended: Result<(), ScanError>, found: u32, json: bool) -> Exit {
    match ended {
        Ok(()) if found > 0 => Exit::Fine,
        Ok(()) => {
            if !json {
                say("nothing found");
            }
            Exit::Negative
        }
        Err(error) => failed(&error),
    }
}

/// Says why nothing could be done.
pub(super) fn failed(error: &ScanError) -> Exit {
    complain(&error.to_string());
    match error {
        ScanError::Option { .. } => Exit::Usage,
        ScanError::Unable { .. } => Exit::Unavailable,
    }
}

fn show(news: &ScanNews, json: bool) {
    match news {
        news if json => say(&view(news).to_string()),
        ScanNews::Progress { done, total, what } if std::io::stderr().is_terminal() => complain(&format!("{done}/{total}  {what}")),
        ScanNews::Progress { .. } => {}
        ScanNews::Found(finding) => lines(finding).iter().for_each(|line| say(line)),
    }
}

fn lines(finding: &Finding) -> Vec<String> {
    let facts =
        finding.facts.iter().map(|(name, value)| format!("  {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    let section = finding.section.iter().flat_map(|section| section.lines()).map(|line| format!("    {line}"));
    std::iter::once(finding.id.clone()).chain(facts).chain(section).collect()
}

fn view(news: &ScanNews) -> Json {
    match news {
        ScanNews::Progress { done, total, what } => json!({ "done": done, "total": total, "what": what }),
        ScanNews::Found(Finding { id, facts, section }) => {
            json!({ "found": id, "facts": facts.iter().cloned().collect::<Map<_, _>>(), "section": section })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_what_they_look_like() {
        let given = ["baud=9600", "port=/dev/ttyS0", "deep=true", "text="].map(str::to_owned);
        assert_eq!(options(&given), Some(json!({ "baud": 9600, "port": "/dev/ttyS0", "deep": true, "text": "" })));
        assert_eq!(options(&["baud".to_owned()]), None);
    }

    #[test]
    fn a_finding_is_shown_with_its_facts_and_a_section_to_begin_with() {
        let finding = Finding {
            id: "/dev/ttyS0".to_owned(),
            facts: vec![("driver".to_owned(), "serial8250".into()), ("baud".to_owned(), 9600.into())],
            section: Some("[[adapter]]\nkind = \"serial\"".to_owned()),
        };
        let text = lines(&finding).join("\n");
        assert_eq!(text, "/dev/ttyS0\n  driver: serial8250\n  baud: 9600\n    [[adapter]]\n    kind = \"serial\"");
        assert_eq!(view(&ScanNews::Found(finding))["facts"]["baud"], 9600);
    }
}
