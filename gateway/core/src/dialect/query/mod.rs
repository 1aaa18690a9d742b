//! The routing query language: which messages a route takes.
//!
//! `as_number(severity) <= 2 AND $body.weather.temperature > 30` — the grammar and the types of reference §6.2 to §6.5, in the dialect
//! that §6.6 calls *gateway*: documented cloud behaviour on the open-source core. Where that core behaves otherwise,
//! `gateway/decisions/` lists it.
//!
//! What is promised: a [`Query`] that compiled can be evaluated on any message, in time that its length bounds, without a panic and
//! without an error; whatever cannot work is refused at compile time with the place and the next step. A message is routed only when the
//! result is [`Truth::True`]; `undefined` never routes. A body that the query does not look into is not parsed.
//!
//! ```text
//! text ─▶ lexer (longest match) ─▶ parser (precedence) ─▶ types (checked once) ─▶ eval (per message)
//! ```
//!
//! Nothing here does I/O, and nothing looks at the clock.

mod eval;
mod facts;
mod function;
mod lexer;
mod parser;
mod path;
mod types;
mod value;

use std::{fmt, ops::Range};

pub use facts::{BodyText, Facts};
pub(crate) use lexer::{Kind, lex};

/// The longest query, in bytes: far above anything a person writes, small enough that a hostile one costs microseconds.
pub const MAX_QUERY: usize = 4096;
/// How deep brackets, functions and signs may nest. Reading recurses there, so this bounds the stack; chains of operators are bounded by
/// [`MAX_QUERY`].
pub const MAX_DEPTH: usize = 64;
/// The longest text that evaluation builds; above it the result is undefined. Properties are at most 8 KiB together, so only a query
/// that repeats them on purpose gets there.
pub const MAX_TEXT: usize = 64 * 1024;

/// What a route listens to; some functions exist on one source only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Messages of devices and everything shaped like them.
    Messages,
    /// Changes of twins: `twin_change_includes` works here.
    TwinChanges,
}

/// What a query makes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// The message is routed.
    True,
    /// It is not.
    False,
    /// Something that the query needs is missing or of another type: not routed.
    Undefined,
}

/// A query that can be evaluated.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    root: parser::Node,
    reads_body: bool,
    reads_twin: bool,
}

impl Query {
    /// Compiles a query, or says where and why it cannot work. An empty query is undefined for every message.
    pub fn compile(text: &str, source: Source) -> Result<Self, QueryError> {
        if text.len() > MAX_QUERY {
            return Err(QueryError::new(
                MAX_QUERY..text.len(),
                format!("a query is at most {MAX_QUERY} bytes long"),
                "split it into several routes",
            ));
        }
        let root = parser::parse(text)?;
        types::check(&root, source)?;
        let (reads_body, reads_twin) = (root.any(&parser::Node::is_body), root.any(&parser::Node::is_twin));
        Ok(Self { text: text.to_owned(), root, reads_body, reads_twin })
    }

    /// What it makes of a message.
    pub fn eval(&self, facts: &dyn Facts) -> Truth {
        eval::truth(&self.root, facts)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether evaluating it may parse the body.
    pub fn reads_body(&self) -> bool {
        self.reads_body
    }

    /// Whether evaluating it may look into the twin.
    pub fn reads_twin(&self) -> bool {
        self.reads_twin
    }
}

/// Why a query cannot work, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// The bytes of the query that are meant; empty at the end of it.
    pub at: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

impl QueryError {
    fn new(at: Range<usize>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { at, what: what.into(), next: next.into() }
    }

    /// The query with a line below it that points at the place, for a terminal. Long queries are cut around the place.
    pub fn pointed_at(&self, text: &str) -> String {
        /// Characters shown on either side of the place.
        const AROUND: usize = 40;
        let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let chars_before = |byte: usize| text.char_indices().take_while(|(at, _)| *at < byte).count();
        let (from, to) = (chars_before(self.at.start), chars_before(self.at.end));
        let skip = from.saturating_sub(AROUND);
        let shown: String = flat.chars().skip(skip).take(to - skip + AROUND).collect();
        let marks = "^".repeat((to - from).max(1).min(shown.chars().count().saturating_sub(from - skip).max(1)));
        format!("{shown}\n{}{marks}", " ".repeat(from - skip))
    }
}

/// `character 8: properties are text and cannot be compared with a number; next: write as_number(severity)`.
impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}; next: {}", self.at.start + 1, self.what, self.next)
    }
}

impl std::error::Error for QueryError {}

#[cfg(test)]
mod tests;
