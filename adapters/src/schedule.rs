//! When which unit is due.
//!
//! Promises: no drift (a poll's times are its start plus whole intervals), slots that were missed are skipped and not
//! made up for, units start a little apart so that a bus is not asked in long bursts, and polls of one unit stay in step so
//! that what is due together is read together. Who has waited longest is first. Never looks at a clock: the caller does.

use std::time::Duration;

use tokio::time::Instant;

/// Units start spread over this time, or over their interval if that is shorter: little enough for the first values to come at once.
const SPREAD: Duration = Duration::from_secs(1);

/// Units start in groups this far apart. Those of a group are asked one after the other without a pause, so that the processor
/// wakes once for all of them; a hundred units in a second are groups of five.
const GRAIN: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    units: Vec<Unit>,
    /// Slots that were skipped because the bus was too slow, since it was last asked.
    skipped: u64,
}

#[derive(Debug)]
struct Unit {
    polls: Vec<Poll>,
    /// A unit that is put aside is not due before this.
    aside_until: Option<Instant>,
}

#[derive(Debug)]
struct Poll {
    interval: Duration,
    due: Instant,
}

/// A unit whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which unit.
    pub unit: usize,
    /// Which of its polls, in their order.
    pub polls: Vec<usize>,
}

impl Schedule {
    /// For each unit the intervals of its polls, none of them zero.
    pub fn new(units: impl IntoIterator<Item = Vec<Duration>>, now: Instant) -> Self {
        let unit = |intervals: Vec<Duration>| Unit {
            polls: intervals.into_iter().map(|interval| Poll { interval, due: now }).collect(),
            aside_until: None,
        };
        let mut schedule = Self { units: units.into_iter().map(unit).collect(), skipped: 0 };
        schedule.start(now);
        schedule
    }

    /// Everything begins anew, now.
    pub fn start(&mut self, now: Instant) {
        let count = u32::try_from(self.units.len()).unwrap_or(u32::MAX).max(1);
        for (at, unit) in (0_u32..).zip(&mut self.units) {
            let shortest = unit.polls.iter().map(|poll| poll.interval).min().unwrap_or(SPREAD);
            let apart = shortest.min(SPREAD) / count * at;
            let begin = now + GRAIN * u32::try_from(apart.as_millis() / GRAIN.as_millis()).unwrap_or(0);
            unit.polls.iter_mut().for_each(|poll| poll.due = begin);
            unit.aside_until = None;
        }
        self.skipped = 0;
    }

    /// When the next unit is due; `None` when there is nothing to poll at all.
    pub fn next(&self) -> Option<Instant> {
        self.units.iter().filter_map(Unit::due).min()
    }

    /// The unit that has been due longest, with all its polls that are; they are then due again one interval on.
    pub fn take(&mut self, now: Instant) -> Option<Turn> {
        let dues = self.units.iter().enumerate().filter_map(|(at, unit)| Some((unit.due()?, at)));
        let (_, at) = dues.min().filter(|(due, _)| *due <= now)?;
        let unit = &mut self.units[at];
        unit.aside_until = None;
        let mut polls = Vec::with_capacity(unit.polls.len());
        for (which, poll) in unit.polls.iter_mut().enumerate() {
            if poll.due <= now {
                polls.push(which);
                self.skipped += poll.advance(now);
            }
        }
        Some(Turn { unit: at, polls })
    }

    /// Not due before `until`; then all that was due meanwhile is, once.
    pub fn put_aside(&mut self, unit: usize, until: Instant) {
        if let Some(unit) = self.units.get_mut(unit) {
            unit.aside_until = Some(until);
        }
    }

    /// How many slots were skipped since this was last asked. Those of units that are put aside count as well.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}

impl Unit {
    fn due(&self) -> Option<Instant> {
        let due = self.polls.iter().map(|poll| poll.due).min()?;
        Some(self.aside_until.map_or(due, |until| due.max(until)))
    }
}

impl Poll {
    /// To the first slot after now; how many were skipped.
    fn advance(&mut self, now: Instant) -> u64 {
        let interval = self.interval.max(Duration::from_millis(1));
        let late = now.duration_since(self.due).as_nanos();
        let missed = u32::try_from(late / interval.as_nanos()).unwrap_or(u32::MAX - 1);
        self.due += interval * (missed + 1);
        u64::from(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn units_start_apart_and_keep_their_rhythm_without_drift() {
        let start = Instant::now();
        let mut schedule = Schedule::new(vec![vec![SECOND]; 4], start);
        let mut turns = Vec::new();
        for _ in 0..12 {
            // Each read is noticed a little late; that must not add up.
            let now = schedule.next().expect("there are polls") + millis(3);
            turns.push((schedule.take(now).expect("due").unit, now.duration_since(start) - millis(3)));
        }
        let expected: Vec<_> = (0..12_usize).map(|i| (i % 4, millis(250 * i as u64))).collect();
        assert_eq!(turns, expected);
    }

    #[test]
    fn polls_of_one_unit_that_are_due_together_are_taken_together() {
        let start = Instant::now();
        let mut schedule = Schedule::new([vec![SECOND, 3 * SECOND]], start);
        let polls: Vec<_> = (0..4).map(|_| schedule.take(schedule.next().expect("polls")).expect("due").polls).collect();
        assert_eq!(polls, [vec![0, 1], vec![0], vec![0], vec![0, 1]]);
    }

    #[test]
    fn missed_slots_are_skipped_and_not_made_up_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new([vec![SECOND]], start);
        let late = start + millis(5_400);
        assert!(schedule.take(late).is_some());
        assert_eq!(schedule.take(late), None);
        assert_eq!(schedule.next(), Some(start + 6 * SECOND));
        assert_eq!((schedule.take_skipped(), schedule.take_skipped()), (5, 0));
    }

    #[test]
    fn on_a_bus_that_is_too_slow_everybody_gets_a_turn() {
        let start = Instant::now();
        let mut schedule = Schedule::new(vec![vec![millis(10)]; 3], start);
        let mut turns = [0; 3];
        for i in 0..30 {
            turns[schedule.take(start + millis(100 + 50 * i)).expect("always due").unit] += 1;
        }
        assert_eq!(turns, [10; 3]);
    }

    #[test]
    fn a_unit_that_is_put_aside_waits_and_the_others_do_not() {
        let start = Instant::now();
        let mut schedule = Schedule::new(vec![vec![SECOND]; 2], start);
        schedule.take(start).expect("the first unit");
        schedule.put_aside(0, start + 10 * SECOND);
        let others: Vec<_> = (0..9).map(|_| schedule.take(schedule.next().expect("polls")).expect("due").unit).collect();
        assert_eq!(others, [1; 9]);
        let turns: Vec<_> = (0..2).map(|_| schedule.take(start + 10 * SECOND).expect("due").unit).collect();
        assert!(turns.contains(&0));
    }

    #[test]
    fn without_polls_nothing_is_ever_due() {
        let mut schedule = Schedule::new([vec![]], Instant::now());
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.take(Instant::now()), None);
    }
}
