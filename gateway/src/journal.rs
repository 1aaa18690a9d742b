//! The program's own log: its level, which can be changed while it runs, and its latest lines, for those who ask from afar. Lost with
//! the process; the journal keeps the rest.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{EnvFilter, Registry, fmt::MakeWriter, reload};

use crate::config::LogLevel;

/// Lines kept.
const KEPT: usize = 500;
/// Longest line; the rest of it is cut off.
const LONGEST: usize = 1_000;

/// Set once, where the log is started.
pub(crate) static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// The filter of a level. `TIDEGATE_LOG` overrides it, in tracing's directives (`tidegate=debug`).
pub(crate) fn filter(level: LogLevel) -> EnvFilter {
    // A close look at a device is asked for by somebody, and short.
    let configured = format!("{level},rumqttc=warn,tidegate::closeup=info");
    EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new(configured))
}

/// From now on lines less important than this are not written.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = FILTER.get() {
        // Fails only when the log is gone.
        handle.reload(filter(level)).ok();
    }
}

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
