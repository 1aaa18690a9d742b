//! What the demo shows: one line of figures a second, or a small live panel where the output is a terminal.

use std::io::{IsTerminal, Write};

use serde_json::{Value as Json, json};

/// The figures of one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) seconds: u64,
    pub(super) link_up: bool,
    pub(super) readings: u64,
    pub(super) misses: u64,
    /// Messages whose append has returned: what the gateway promises to deliver.
    pub(super) on_disk: u64,
    /// Still waiting in the log, in flight included.
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    /// Different messages that the hub's consumer received.
    pub(super) delivered: u64,
    /// Received once more.
    pub(super) duplicates: u64,
    pub(super) outages: u64,
    pub(super) most_waiting: u64,
}

impl Figures {
    /// Promised, no longer waiting, and not at the hub. Zero is the product.
    pub(super) fn lost(&self) -> u64 {
        self.on_disk.saturating_sub(self.delivered + self.waiting)
    }

    pub(super) fn json(&self, drained: bool) -> Json {
        json!({
            "seconds": self.seconds,
            "readings": self.readings,
            "misses": self.misses,
            "on_disk": self.on_disk,
            "delivered": self.delivered,
            "duplicates": self.duplicates,
            "lost": self.lost(),
            "waiting": self.waiting,
            "most_waiting": self.most_waiting,
            "outages": self.outages,
            "drained": drained,
        })
    }
}

/// Draws figures.
#[derive(Debug)]
pub(super) struct Screen {
    live: bool,
    quiet: bool,
    drawn: usize,
}

/// Cells of the tide's bar.
const BAR: usize = 40;
/// Waiting messages that fill the bar.
const FULL: u64 = 200;

impl Screen {
    /// `quiet` draws nothing, because standard output is for the JSON summary.
    pub(super) fn new(quiet: bool) -> Self {
        Self { live: std::io::stdout().is_terminal(), quiet, drawn: 0 }
    }

    /// Draws over what was drawn before, or a new line where that cannot be.
    pub(super) fn draw(&mut self, figures: &Figures) {
        if self.quiet {
            return;
        }
        let lines = if self.live { panel(figures) } else { vec![line(figures)] };
        let mut out = std::io::stdout().lock();
        if self.live && self.drawn > 0 {
            // Up by what was drawn, and clear from there.
            write!(out, "\x1b[{}A\x1b[J", self.drawn).ok();
        }
        for line in &lines {
            writeln!(out, "{line}").ok();
        }
        out.flush().ok();
        self.drawn = lines.len();
    }
}

fn line(f: &Figures) -> String {
    let link = if f.link_up { "up  " } else { "DOWN" };
    format!(
        "{:>4} s  link {link}  readings {:>6}  on disk {:>6}  waiting {:>5}  in flight {:>3}  delivered {:>6}  duplicates {:>3}  lost {}",
        f.seconds,
        f.readings,
        f.on_disk,
        f.waiting,
        f.in_flight,
        f.delivered,
        f.duplicates,
        f.lost()
    )
}

fn panel(f: &Figures) -> Vec<String> {
    let filled = usize::try_from((f.waiting.min(FULL) * BAR as u64).div_ceil(FULL)).unwrap_or(BAR);
    let bar = "█".repeat(filled) + &"·".repeat(BAR - filled);
    let (gate, word) =
        if f.link_up { ("\x1b[32m", "gate open: the link is up") } else { ("\x1b[33m", "gate closed: the link is down, the log holds") };
    vec![
        format!("{gate}{word}\x1b[0m   {} s, {} outages so far", f.seconds, f.outages),
        format!("tide        {bar}  {} waiting", f.waiting),
        format!("readings    {:>8}   not answered {}", f.readings, f.misses),
        format!("on disk     {:>8}   messages that are promised", f.on_disk),
        format!("in flight   {:>8}", f.in_flight),
        format!("delivered   {:>8}   counted at the hub", f.delivered),
        format!("duplicates  {:>8}   the hub can drop them by their id", f.duplicates),
        format!("lost        {:>8}", f.lost()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_and_is_nowhere_is_lost() {
        let figures = Figures { on_disk: 100, delivered: 60, waiting: 30, ..Figures::default() };
        assert_eq!(figures.lost(), 10);
        assert_eq!(figures.json(true)["lost"], 10);
    }

    #[test]
    fn the_panel_keeps_its_size_whatever_the_figures() {
        let (empty, full) = (panel(&Figures::default()), panel(&Figures { waiting: u64::MAX, ..Figures::default() }));
        assert_eq!(empty.len(), full.len());
    }
}
