//! From the text of one file to a tree.
//!
//! Whatever the text is, this ends soon, in bounded memory and on a bounded stack: the parser bounds how deep values and
//! dotted keys are nested each, but not both together, so it works on a thread that has room for their product, and the
//! tree that leaves here is shallow. What the text says is never repeated in a problem: it may hold a secret.

use std::{io, path::Path, thread};

use tidegate_core::problem::{Place, Problem, Severity, Step};
use toml_edit::{Document, Item, TableLike, TomlError, Value as TomlValue};

use super::tree::{Mark, Node, Table, Value};

/// Values may be nested this deep. A point in a device in an adapter is at 6.
const MAX_DEPTH: usize = 32;
/// Longest key in bytes. Ids, which may be keys, have at most 128.
const MAX_KEY: usize = 256;
/// Most values in one configuration: 500 devices with 50 points of 10 keys each. Bounds the memory of the tree to about 50 MiB.
const MAX_VALUES: usize = 250_000;
/// The parser nests 80 values and 80 dotted keys in each of them. Letting go of that takes less than 4 MiB of stack, unoptimised;
/// the rest is for the day this changes. It is address space only until it is used.
const PARSER_STACK: usize = 32 << 20;

/// What became of the files' texts.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// One for each text, in the same order; `None` where there was nothing to be had.
    pub(super) tables: Vec<Option<Table>>,
    /// With file and line.
    pub(super) problems: Vec<Problem>,
}

/// Parses all of them, each on its own, so that one file's syntax error does not hide another's.
pub(super) fn parse(texts: &[(&Path, &str)]) -> Parsed {
    let work = || {
        let mut parsed = Parsed::default();
        let mut values_left = MAX_VALUES;
        for (file, (path, text)) in texts.iter().enumerate() {
            let mut reading = Reading { file, path, line_starts: line_starts(text), values_left, problems: Vec::new() };
            parsed.tables.push(reading.read(text));
            values_left = reading.values_left;
            parsed.problems.append(&mut reading.problems);
        }
        parsed
    };
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().name("parse".to_owned()).stack_size(PARSER_STACK).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the parser failed"))
    });
    done.unwrap_or_else(|error| Parsed {
        tables: texts.iter().map(|_| None).collect(),
        problems: vec![problem(None, None, Place::default(), format!("cannot be read: {error}"), "try again with more memory free")],
    })
}

/// An error that already knows its place in the files.
pub(super) fn problem(file: Option<&Path>, line: Option<usize>, path: Place, what: String, next: &str) -> Problem {
    Problem { severity: Severity::Error, file: file.map(Path::to_owned), line, path, what, next: next.to_owned() }
}

/// Offsets at which lines begin.
fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1)).collect()
}

struct Reading<'a> {
    file: usize,
    path: &'a Path,
    line_starts: Vec<usize>,
    values_left: usize,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn read(&mut self, text: &str) -> Option<Table> {
        match Document::parse(text) {
            Ok(document) => {
                let root = self.table(document.as_table(), 0, &mut Vec::new());
                // A tree with parts left out would be judged for what is not in it.
                self.problems.is_empty().then_some(root)
            }
            Err(error) => {
                self.syntax(&error);
                None
            }
        }
    }

    fn syntax(&mut self, error: &TomlError) {
        let next = match error.message() {
            "duplicate key" => "a key stands once in its table: remove one of the two",
            _ => "mend this line: text stands in quotes, one `key = value` in each line, sections are [name] or [[name]]",
        };
        let line = error.span().map(|span| self.line(span.start));
        self.problems.push(problem(Some(self.path), line, Place::default(), format!("is not TOML: {}", error.message()), next));
    }

    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    fn mark(&self, span: Option<std::ops::Range<usize>>, otherwise: Mark) -> Mark {
        span.map_or(otherwise, |span| Mark { file: self.file, line: self.line(span.start) })
    }

    fn refuse(&mut self, mark: Mark, at: &[Step], what: String, next: &str) {
        let line = (mark.line > 0).then_some(mark.line);
        self.problems.push(problem(Some(self.path), line, Place(at.to_vec()), what, next));
    }

    /// Takes one value from what is left; says so once when none is.
    fn take_value(&mut self, mark: Mark) -> bool {
        if self.values_left == 1 {
            let what = format!("the configuration has more than {MAX_VALUES} values");
            self.refuse(mark, &[], what, "move some devices to another gateway");
        }
        self.values_left = self.values_left.saturating_sub(1);
        self.values_left > 0
    }

    fn table(&mut self, table: &dyn TableLike, depth: usize, at: &mut Vec<Step>) -> Table {
        let mut read = Table::new();
        let outer = Mark { file: self.file, line: 0 };
        for (key, item) in table.iter() {
            let mark = self.mark(table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span()), outer);
            if key.len() > MAX_KEY {
                self.refuse(mark, at, format!("a key has {} bytes", key.len()), "keys have at most 256 bytes: shorten it");
                continue;
            }
            if !self.take_value(mark) {
                break;
            }
            at.push(Step::Key(key.to_owned()));
            if let Some(value) = self.item(item, mark, depth + 1, at) {
                read.insert(key.to_owned(), Node { mark, value });
            }
            at.pop();
        }
        read
    }

    fn item(&mut self, item: &Item, mark: Mark, depth: usize, at: &mut Vec<Step>) -> Option<Value> {
        match item {
            Item::None => None,
            Item::Value(value) => self.value(value, mark, depth, at),
            Item::Table(table) => self.nested(mark, depth, at, |it, at| Value::Table(it.table(table, depth, at))),
            Item::ArrayOfTables(list) => self.nested(mark, depth, at, |it, at| {
                let entries = list.iter().enumerate().map_while(|(index, table)| {
                    let mark = it.mark(table.span(), mark);
                    it.entry(index, mark, at, |it, at| Some(Value::Table(it.table(table, depth + 1, at))))
                });
                Value::List(entries.flatten().collect())
            }),
        }
    }

    fn value(&mut self, value: &TomlValue, mark: Mark, depth: usize, at: &mut Vec<Step>) -> Option<Value> {
        Some(match value {
            TomlValue::String(text) => Value::Text(text.value().clone()),
            TomlValue::Integer(n) => Value::Integer(*n.value()),
            TomlValue::Float(x) => Value::Float(*x.value()),
            TomlValue::Boolean(b) => Value::Bool(*b.value()),
            TomlValue::Datetime(_) => Value::Date,
            TomlValue::InlineTable(table) => return self.nested(mark, depth, at, |it, at| Value::Table(it.table(table, depth, at))),
            TomlValue::Array(list) => {
                return self.nested(mark, depth, at, |it, at| {
                    let entries = list.iter().enumerate().map_while(|(index, value)| {
                        let mark = it.mark(value.span(), mark);
                        it.entry(index, mark, at, |it, at| it.value(value, mark, depth + 1, at))
                    });
                    Value::List(entries.flatten().collect())
                });
            }
        })
    }

    /// One entry of a list: the outer `None` ends the list, the inner one leaves the entry out.
    fn entry(
        &mut self,
        index: usize,
        mark: Mark,
        at: &mut Vec<Step>,
        read: impl FnOnce(&mut Self, &mut Vec<Step>) -> Option<Value>,
    ) -> Option<Option<Node>> {
        if !self.take_value(mark) {
            return None;
        }
        at.push(Step::Entry(index, None));
        let value = read(self, at);
        at.pop();
        Some(value.map(|value| Node { mark, value }))
    }

    fn nested(
        &mut self,
        mark: Mark,
        depth: usize,
        at: &mut Vec<Step>,
        read: impl FnOnce(&mut Self, &mut Vec<Step>) -> Value,
    ) -> Option<Value> {
        if depth < MAX_DEPTH {
            return Some(read(self, at));
        }
        let place = at.iter().take(4).cloned().collect::<Vec<_>>();
        self.refuse(mark, &place, format!("is nested more than {MAX_DEPTH} deep"), "no section of ours is: check the dots and brackets");
        None
    }
}
