//! When each leaf is to be looked at next, the earliest first. What is heard of one leaf costs no look at the others.

use std::collections::BTreeSet;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Agenda {
    at: Vec<Option<Instant>>,
    order: BTreeSet<(Instant, usize)>,
}

impl Agenda {
    /// Nothing to be done for so many leaves.
    pub(super) fn new(leaves: usize) -> Self {
        Self { at: vec![None; leaves], order: BTreeSet::new() }
    }

    /// The leaf at this place is to be looked at then, and no more when it was to be before; `None` for never.
    pub(super) fn set(&mut self, leaf: usize, due: Option<Instant>) {
        let Some(at) = self.at.get_mut(leaf).filter(|at| **at != due) else { return };
        if let Some(before) = std::mem::replace(at, due) {
            self.order.remove(&(before, leaf));
        }
        self.order.extend(due.map(|due| (due, leaf)));
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// A leaf that is to be looked at by now. It is off the agenda until it is set again.
    pub(super) fn take(&mut self, now: Instant) -> Option<usize> {
        let (due, leaf) = *self.order.first().filter(|(due, _)| *due <= now)?;
        self.order.remove(&(due, leaf));
        *self.at.get_mut(leaf)? = None;
        Some(leaf)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_comes_first_and_each_only_once() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut agenda = Agenda::new(3);
        assert_eq!((agenda.first(), agenda.take(start)), (None, None));
        agenda.set(0, Some(start + 3 * second));
        agenda.set(1, Some(start + second));
        agenda.set(2, Some(start + second));
        agenda.set(0, Some(start + 2 * second));
        agenda.set(2, None);
        assert_eq!((agenda.first(), agenda.take(start)), (Some(start + second), None));
        let late = start + 9 * second;
        assert_eq!([agenda.take(late), agenda.take(late), agenda.take(late)], [Some(1), Some(0), None]);
        agenda.set(7, Some(start));
        assert_eq!(agenda.first(), None, "there is no such leaf");
    }
}
