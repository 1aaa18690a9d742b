//! `tidegate adapters`: the kinds, from the catalogue's rows.

use super::{complain, output::table, say};
use crate::exit::Exit;

pub(super) fn adapters(kind: Option<&str>, schema: bool) -> Exit {
    let kinds = crate::kinds();
    let Some(kind) = kind else {
        let rows: Vec<_> = kinds.adapters.iter().map(|kind| vec![kind.name.to_owned(), kind.summary.to_owned()]).collect();
        table(&rows).iter().for_each(|line| say(line));
        return Exit::Fine;
    };
    let Some(row) = kinds.adapters.iter().find(|row| row.name == kind) else {
        let known: Vec<_> = kinds.adapters.iter().map(|row| row.name).collect();
        complain(&format!("no adapter '{kind}'; there is {}", known.join(", ")));
        return Exit::Usage;
    };
    if schema {
        say(&format!("{:#}", (row.schema)()));
    } else {
        say(row.readme.trim_end());
        say("\nExample:\n");
        say(row.example.trim_end());
    }
    Exit::Fine
}
