//! The latest lines of the program's own log, for those who ask from afar. Lost with the process; the journal keeps the rest.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Lines kept.
const KEPT: usize = 500;
/// Longest line; the rest of it is cut off.
const LONGEST: usize = 1_000;

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The latest `most` lines, oldest first.
pub fn recent(most: usize) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().skip(lines.len().saturating_sub(most)).cloned().collect()
}

/// Writes to standard error and remembers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tee;

impl io::Write for Tee {
    /// The subscriber writes one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= KEPT {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(line).trim_end().chars().take(LONGEST).collect());
        drop(lines);
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Tee {
    type Writer = Tee;
    fn make_writer(&self) -> Tee {
        Tee
    }
}
