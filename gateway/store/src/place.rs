//! Where a reader stands: for each class a few spans of `seq`, each leased and settled from its lower end.

use serde::{Deserialize, Serialize};
use tidegate_core::message::Class;

/// In which order a reader gets a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// Oldest first.
    #[default]
    InOrder,
    /// What comes now first, with this share of what is sent kept for the backlog, 1 to 99.
    LiveFirst {
        /// Percent of messages that are backlog while both wait.
        backfill_percent: u8,
    },
}

/// Spans of one class beyond which a new session does not split off another: each long outage inside a back-fill makes one.
pub(crate) const MOST_SPANS: usize = 16;

/// The end of the span that has none.
pub(crate) const OPEN: u64 = u64::MAX;

/// Seqs `low..end` of one class, not yet durably settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) low: u64,
    pub(crate) end: u64,
}

/// One class of one reader. The last span is always open-ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) spans: Vec<Span>,
    /// Rows of this class that are not settled.
    pub(crate) waiting: u64,
}

/// A reader's place as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) lanes: [Lane; 4],
    /// Messages settled as delivered, ever.
    pub(crate) settled: u64,
}

impl Place {
    /// Before everything that is kept; `rows` per class wait.
    pub(crate) fn at_the_oldest(rows: [u64; 4]) -> Self {
        Self { lanes: rows.map(|waiting| Lane { spans: vec![Span { low: 0, end: OPEN }], waiting }), settled: 0 }
    }

    pub(crate) fn lane(&self, class: Class) -> &Lane {
        &self.lanes[class as usize]
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.waiting).sum()
    }
}

impl Lane {
    /// Whether the row is outstanding here.
    pub(crate) fn holds(&self, seq: u64) -> bool {
        self.spans.iter().any(|span| (span.low..span.end).contains(&seq))
    }

    /// Everything below is settled.
    pub(crate) fn floor(&self) -> u64 {
        self.spans.iter().map(|span| span.low).min().unwrap_or(OPEN)
    }
}
