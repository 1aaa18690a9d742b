//! Which units owe answers, on wires where an answer carries no number and may come late.
//!
//! Units answer in order. So an answer to one function settles every question that was asked before the first open
//! question of that function; and an answer to a function that no open question used settles them all. That is how a
//! unit is cleared: it is asked for a cell of a table that such a function reads. Requests that write are owed for like
//! the others, and never used for clearing. What is never answered is forgotten after [`NEVER`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::plan::Table;

/// An answer that did not come in this time never will. Twenty times the usual time limit.
const NEVER: Duration = Duration::from_secs(10);
/// Open questions that are remembered of a unit. One that has left so many open is not asked until some are forgotten.
const MOST_OPEN: usize = 64;
/// The tables, in the order in which they are used for clearing.
const TABLES: [Table; 4] = [Table::Input, Table::Holding, Table::Discrete, Table::Coil];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Debts(BTreeMap<u8, VecDeque<(u8, Instant)>>);

impl Debts {
    /// A question went out and no answer came in time. When all are open that can be remembered, the newest is replaced:
    /// such a unit is not asked any more (see [`Debts::clearing`]), so this does not happen twice.
    pub(super) fn add(&mut self, unit: u8, function: u8) {
        let open = self.0.entry(unit).or_default();
        open.truncate(MOST_OPEN - 1);
        open.push_back((function, Instant::now()));
    }

    /// An answer to this function was heard, late or not: all up to the first open question of it is settled.
    pub(super) fn pay(&mut self, unit: u8, function: u8) {
        let Some(open) = self.0.get_mut(&unit) else { return };
        if let Some(at) = open.iter().position(|(owed, _)| *owed == function) {
            open.drain(..=at);
        }
        if open.is_empty() {
            self.0.remove(&unit);
        }
    }

    /// Whether anybody owes anything.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The table to ask for so that the unit is cleared; `None` when it owes nothing (any more).
    pub(super) fn clearing(&mut self, unit: u8) -> Option<Clearing> {
        let open = self.0.get_mut(&unit)?;
        while open.front().is_some_and(|(_, asked)| asked.elapsed() > NEVER) {
            open.pop_front();
        }
        if open.is_empty() {
            self.0.remove(&unit);
            return None;
        }
        let fresh = TABLES.into_iter().find(|table| open.iter().all(|(owed, _)| *owed != table.function()));
        Some(match fresh.or_else(|| newest_read(open)) {
            Some(table) if open.len() < MOST_OPEN => Clearing::Table(table),
            _ => Clearing::TooMany,
        })
    }

    /// The clearing question was answered.
    pub(super) fn cleared(&mut self, unit: u8, table: Table) {
        let function = table.function();
        let was_open = self.0.get(&unit).is_some_and(|open| open.iter().any(|(owed, _)| *owed == function));
        if was_open {
            // It may have been the answer to the earlier one: then this one is still to come.
            self.pay(unit, function);
            self.add(unit, function);
        } else {
            self.0.remove(&unit);
        }
    }
}

/// The table of the newest open question that reads. An answer from it settles almost all, and then other tables are free again.
fn newest_read(open: &VecDeque<(u8, Instant)>) -> Option<Table> {
    open.iter().rev().find_map(|(owed, _)| TABLES.into_iter().find(|table| table.function() == *owed))
}

/// How a unit can be cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clearing {
    /// By an answer from this table.
    Table(Table),
    /// By waiting.
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear(debts: &mut Debts) -> u32 {
        for questions in 0..10 {
            match debts.clearing(1) {
                None => return questions,
                Some(Clearing::Table(table)) => debts.cleared(1, table),
                Some(Clearing::TooMany) => panic!("not so many"),
            }
        }
        panic!("never cleared");
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_an_old_one_clears_a_unit() {
        let mut debts = Debts::default();
        assert_eq!(debts.clearing(1), None);
        debts.add(1, Table::Input.function());
        assert_eq!(debts.clearing(1), Some(Clearing::Table(Table::Holding)));
        assert_eq!(clear(&mut debts), 1);
        assert!(!debts.any());
    }

    #[tokio::test]
    async fn a_late_answer_settles_what_was_asked_before_it_and_nothing_after() {
        let mut debts = Debts::default();
        [Table::Holding, Table::Input, Table::Holding].into_iter().for_each(|table| debts.add(1, table.function()));
        debts.pay(1, Table::Input.function());
        assert_eq!(debts.0[&1].len(), 1, "the last one is still open");
        debts.pay(1, Table::Coil.function());
        debts.pay(2, Table::Holding.function());
        assert!(debts.any(), "what was never asked settles nothing");
        debts.pay(1, Table::Holding.function());
        assert!(!debts.any());
    }

    #[tokio::test]
    async fn a_unit_that_owes_from_every_table_is_cleared_in_a_few_questions() {
        let mut debts = Debts::default();
        for _ in 0..5 {
            TABLES.into_iter().for_each(|table| debts.add(1, table.function()));
        }
        assert!(clear(&mut debts) <= 10);
    }

    #[tokio::test]
    async fn a_write_that_was_not_answered_is_cleared_by_a_question_and_settled_by_its_late_answer() {
        let mut debts = Debts::default();
        debts.add(1, 16);
        assert_eq!(debts.clearing(1), Some(Clearing::Table(Table::Input)));
        debts.pay(1, 16);
        assert_eq!(debts.clearing(1), None);
        for _ in 0..5 {
            TABLES.into_iter().for_each(|table| debts.add(1, table.function()));
            debts.add(1, 6);
        }
        assert!(clear(&mut debts) <= 12);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let mut debts = Debts::default();
        (0..10 * MOST_OPEN).for_each(|_| debts.add(1, Table::Holding.function()));
        assert_eq!(debts.0[&1].len(), MOST_OPEN);
        assert_eq!(debts.clearing(1), Some(Clearing::TooMany));
    }
}
