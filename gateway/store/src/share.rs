//! Leaves that have a reader of their own.
//!
//! A share is a reader named `reader/leaf`: it gets that leaf's messages, and the reader before the slash gets them no longer. So
//! every message is for exactly one of a reader and its shares, and each keeps its own place, window and order: one that
//! cannot send holds up nobody. Neither a [`Name`](tidegate_core::id::Name) nor a leaf id holds a slash, so the name says it all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rusqlite::Connection;
use tidegate_core::{id::LeafId, message::Class};

use crate::place::{Lane, OPEN, Place};

/// The reader and the leaf of a share; `None` for other readers.
pub(crate) fn parts(name: &str) -> Option<(&str, &str)> {
    name.split_once('/')
}

/// The name of a share.
pub(crate) fn name(reader: &str, leaf: &str) -> String {
    format!("{reader}/{leaf}")
}

/// Which messages a reader is for.
#[derive(Debug, Clone, Default)]
pub(crate) enum Leaves {
    /// All.
    #[default]
    All,
    /// Those of one leaf: of a share.
    Only(LeafId),
    /// All but those that have shares.
    Except(Arc<BTreeSet<LeafId>>),
}

impl Leaves {
    pub(crate) fn takes(&self, leaf: &str) -> bool {
        match self {
            Leaves::All => true,
            Leaves::Only(own) => own.as_str() == leaf,
            Leaves::Except(others) => !others.contains(leaf),
        }
    }
}

/// Who is who among the readers of one commit.
#[derive(Debug)]
pub(crate) struct Takers {
    /// Readers that are no shares.
    whole: Vec<String>,
    any_share: bool,
}

impl Takers {
    pub(crate) fn among(places: &BTreeMap<String, Place>) -> Self {
        let (shares, whole): (Vec<_>, Vec<_>) = places.keys().partition(|name| parts(name).is_some());
        Self { whole: whole.into_iter().cloned().collect(), any_share: !shares.is_empty() }
    }

    /// The readers that a leaf's messages are for.
    pub(crate) fn of<'a>(&'a self, leaf: &'a str, has: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
        self.whole.iter().map(move |reader| {
            let share = self.any_share.then(|| name(reader, leaf)).filter(|share| has(share));
            share.unwrap_or_else(|| reader.clone())
        })
    }

    /// Calls for each reader's place that a leaf's messages are for.
    pub(crate) fn each(&self, leaf: &str, places: &mut BTreeMap<String, Place>, mut with: impl FnMut(&str, &mut Place)) {
        for reader in &self.whole {
            let share = self.any_share.then(|| name(reader, leaf)).filter(|share| places.contains_key(share));
            let taker = share.as_deref().unwrap_or(reader);
            if let Some(place) = places.get_mut(taker) {
                with(taker, place);
            }
        }
    }
}

/// Below this everything is settled. A share for which nothing waits holds nothing back, wherever it stands.
pub(crate) fn floor(name: &str, lane: &Lane) -> u64 {
    if lane.waiting == 0 && parts(name).is_some() { OPEN } else { lane.floor() }
}

/// Counts the rows that wait for a reader, in its spans.
pub(crate) fn waiting(connection: &Connection, class: Class, lane: &Lane, leaves: &Leaves) -> rusqlite::Result<u64> {
    let sql = format!("SELECT leaf FROM message_{} WHERE seq >= ? AND seq < ?", class as usize);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut count = 0;
    for span in &lane.spans {
        let mut rows = statement.query((span.low as i64, i64::try_from(span.end).unwrap_or(i64::MAX)))?;
        while let Some(row) = rows.next()? {
            // What is not text any more is damaged, and for the reader that takes the rest.
            count += u64::from(leaves.takes(row.get_ref(0)?.as_str().unwrap_or("")));
        }
    }
    Ok(count)
}

/// What a reader by its name takes beside all the others.
pub(crate) fn leaves_of(name: &str, places: &BTreeMap<String, Place>) -> Leaves {
    if let Some((_, leaf)) = parts(name) {
        return LeafId::new(leaf).map_or(Leaves::All, Leaves::Only);
    }
    let shares = places.keys().filter_map(|other| parts(other).filter(|(reader, _)| *reader == name));
    let leaves: BTreeSet<LeafId> = shares.filter_map(|(_, leaf)| LeafId::new(leaf).ok()).collect();
    if leaves.is_empty() { Leaves::All } else { Leaves::Except(Arc::new(leaves)) }
}
