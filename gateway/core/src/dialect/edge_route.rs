//! IoT Edge's form of a route: `FROM /messages/* WHERE condition INTO $upstream` (reference §6.8).
//!
//! Reading it takes the text apart and compiles the condition, so that a route which reads also runs. What a sink means here is decided by
//! whoever translates it.

use super::query::{Kind, Query, QueryError, Source, lex};

/// A route, taken apart.
#[derive(Debug, Clone)]
pub struct EdgeRoute {
    /// Which messages come into question.
    pub source: SourcePattern,
    /// Which of them are taken; `true` when the route has no WHERE.
    pub condition: Query,
    /// Where they go.
    pub sink: Sink,
}

/// Where an edge route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// `$upstream`: the hub above.
    Upstream,
    /// `BrokeredEndpoint("/modules/{module}/inputs/{input}")`
    Module {
        /// The module.
        module: String,
        /// Its input.
        input: String,
    },
}

/// `/messages/*`: which sources of messages a route listens to. `*` works at the end only, and case does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern(String);

impl SourcePattern {
    /// Any text is a pattern; one that matches nothing is not told from one that will.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether a source such as `/messages/modules/m1/outputs/o1` is meant: by whole segments, from the left.
    pub fn matches(&self, source: &str) -> bool {
        let closed = |text: &str| format!("{}/", text.trim_end_matches(['*', '/'])).to_ascii_lowercase();
        closed(source).starts_with(&closed(&self.0))
    }

    /// A pattern for twin changes only.
    fn is_of_twin_changes(&self) -> bool {
        self.matches("/twinChangeNotifications") && !self.matches("/messages")
    }
}

/// Reads a route; errors point into the whole text.
pub fn parse(text: &str) -> Result<EdgeRoute, QueryError> {
    let mut rest = Rest { text, at: 0 };
    if rest.word("SELECT") && !rest.word("*") {
        return Err(rest.wrong("SELECT is followed by *", "write SELECT *, or leave both out"));
    }
    if !rest.word("FROM") {
        return Err(rest.wrong("a route begins with FROM", "write FROM /messages/* INTO $upstream"));
    }
    let source = SourcePattern::new(rest.run());
    if !source.text().starts_with('/') {
        return Err(rest.wrong("FROM is followed by a source that begins with /", "write FROM /messages/*"));
    }
    let listens = if source.is_of_twin_changes() { Source::TwinChanges } else { Source::Messages };
    let condition = if rest.word("WHERE") { rest.condition(listens)? } else { Query::compile("true", listens)? };
    if !rest.word("INTO") {
        return Err(rest.wrong("a route ends with INTO and where it leads", "write INTO $upstream"));
    }
    let sink = sink(rest.left())
        .ok_or_else(|| rest.wrong("this is no place to send to", "write $upstream or BrokeredEndpoint(\"/modules/name/inputs/name\")"))?;
    Ok(EdgeRoute { source, condition, sink })
}

/// What is left of the text.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        self.text[self.at..].trim()
    }

    /// The next run without blanks, taken.
    fn run(&mut self) -> &'a str {
        self.skip_blanks();
        let left = &self.text[self.at..];
        let run = &left[..left.find(char::is_whitespace).unwrap_or(left.len())];
        self.at += run.len();
        run
    }

    fn skip_blanks(&mut self) {
        let left = &self.text[self.at..];
        self.at += left.len() - left.trim_start().len();
    }

    /// Takes the next run if it is this word, in any case.
    fn word(&mut self, word: &str) -> bool {
        let before = self.at;
        let there = self.run().eq_ignore_ascii_case(word);
        if !there {
            self.at = before;
        }
        there
    }

    /// Everything up to the word INTO, compiled.
    fn condition(&mut self, listens: Source) -> Result<Query, QueryError> {
        let (from, left) = (self.at, &self.text[self.at..]);
        let moved = |error: QueryError| QueryError { at: error.at.start + from..error.at.end + from, ..error };
        let tokens = lex(left).map_err(moved)?;
        let into = tokens.iter().find(|token| matches!(&token.kind, Kind::Name(name) if name.eq_ignore_ascii_case("into")));
        let end = into.map_or(left.len(), |token| token.at.start);
        if left[..end].trim().is_empty() {
            return Err(self.wrong("WHERE is followed by a condition", "write one, or leave WHERE out"));
        }
        self.at = from + end;
        let blanks = left.len() - left.trim_start().len();
        Query::compile(left[..end].trim(), listens)
            .map_err(|error| moved(QueryError { at: error.at.start + blanks..error.at.end + blanks, ..error }))
    }

    fn wrong(&self, what: &str, next: &str) -> QueryError {
        let start = self.text.len() - self.text[self.at..].trim_start().len();
        QueryError { at: start..self.text.len(), what: what.to_owned(), next: next.to_owned() }
    }
}

fn sink(text: &str) -> Option<Sink> {
    if text == "$upstream" {
        return Some(Sink::Upstream);
    }
    let inner = text.strip_prefix("BrokeredEndpoint")?.trim_start().strip_prefix('(')?.strip_suffix(')')?.trim();
    let path = ['"', '\''].into_iter().find_map(|quote| inner.strip_prefix(quote)?.strip_suffix(quote))?;
    match path.strip_prefix('/')?.split('/').collect::<Vec<_>>().as_slice() {
        ["modules", module, "inputs", input] if !module.is_empty() && !input.is_empty() => {
            Some(Sink::Module { module: (*module).to_owned(), input: (*input).to_owned() })
        }
        _ => None,
    }
}
