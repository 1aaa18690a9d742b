//! `tidegate adapters`: the kinds, from the catalogue's rows; `tidegate adapters scan` and `tidegate adapters pair`.

use super::{complain, output::table, pair, say, scan};
use crate::exit::Exit;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    /// The kind to show.
    kind: Option<String>,
    /// Print the JSON Schema of its configuration.
    #[arg(long, requires = "kind")]
    schema: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Search for devices of a kind, changing nothing; Ctrl-C ends the search.
    Scan(scan::Args),
    /// Pair with a device that wants to be known before it talks.
    Pair(pair::Args),
}

pub(super) fn adapters(args: &Args) -> Exit {
    match &args.action {
        Some(Action::Scan(args)) => return super::block_on(scan::scan(args, crate::kinds())),
        Some(Action::Pair(args)) => return super::block_on(pair::pair(args, crate::kinds())),
        None => {}
    }
    let kinds = crate::kinds();
    let Some(kind) = args.kind.as_deref() else {
        let rows: Vec<_> = kinds.adapters.iter().map(|kind| vec![kind.name.to_owned(), kind.summary.to_owned()]).collect();
        table(&rows).iter().for_each(|line| say(line));
        return Exit::Fine;
    };
    let Some(row) = kinds.adapters.iter().find(|row| row.name == kind) else {
        let known: Vec<_> = kinds.adapters.iter().map(|row| row.name).collect();
        complain(&format!("no adapter '{kind}'; there is {}", known.join(", ")));
        return Exit::Usage;
    };
    if args.schema {
        say(&format!("{:#}", (row.schema)()));
    } else {
        say(row.readme.trim_end());
        say("\nExample:\n");
        say(row.example.trim_end());
    }
    Exit::Fine
}
