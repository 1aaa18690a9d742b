//! Room: what goes when there is not enough of it, and the ballast for a disk that others have filled.
//!
//! Rows that every reader has passed go first, then the oldest of the lowest class. A row that is leased is not given up:
//! its fate is being decided. What goes is counted in the ledger for each reader that had not passed it, in the same
//! transaction.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::Ordering::{Relaxed, Release},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension};
use tidegate_core::{
    clock::{Stamp, TimeQuality, Timestamp},
    id::LeafId,
    message::Class,
};

use crate::{
    gap::{self, GapReason, Loss, UNKNOWN_LEAF},
    place::Place,
    request::Shared,
    row::{self, SIZE},
    share::{self, Takers},
    writer::{Halves, Totals},
};

/// Rows looked at in one go.
const CHUNK: usize = 1024;
/// Delivered rows let go in one commit: more than any commit adds, so that they never pile up, and bounded.
const LET_GO: usize = 4096;
/// An older half of so many rows is emptied at a stroke: SQLite reads each of its pages to free it, which is a moment for these and
/// would hold the writer up for more.
const AT_A_STROKE: u64 = 16_384;
/// Fewer delivered rows than this are not worth touching their pages.
const WORTH_IT: u64 = 256;

/// Bytes freed beyond what is needed, at most: a few thousand rows, which one commit deletes in a moment.
const SLACK: u64 = 1 << 20;

/// Makes room inside one transaction.
pub(crate) struct Room<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) totals: &'a mut Totals,
    pub(crate) places: &'a mut BTreeMap<String, Place>,
    pub(crate) losses: &'a mut Vec<Loss>,
    pub(crate) shared: &'a Shared,
}

struct Victim {
    seq: u64,
    size: u64,
    leaf: String,
    wall: i64,
}

impl Room<'_> {
    /// Rows that every reader has passed and that are older than `keep`.
    pub(crate) fn let_go_of_delivered(&mut self, keep: Duration, now: Stamp) -> rusqlite::Result<()> {
        if self.places.is_empty() || (!keep.is_zero() && now.quality == TimeQuality::Unsynced) {
            return Ok(());
        }
        let before = if keep.is_zero() { i64::MAX } else { now.wall.0 - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX) };
        for class in Class::ALL {
            let passed = self.totals.rows[class as usize].saturating_sub(self.most_waiting(class));
            if passed < WORTH_IT {
                continue;
            }
            if self.totals.halves[class as usize].rows == 0 {
                self.turn_over(class);
            }
            let halves = self.totals.halves[class as usize];
            if halves.rows > AT_A_STROKE {
                self.drop_passed(class, before, LET_GO)?;
            } else if self.floor(class) >= halves.begin && self.newest_of_older(class)?.is_none_or(|wall| wall < before) {
                self.empty(class)?;
            }
        }
        Ok(())
    }

    /// What is kept becomes the older half; rows come into the other table from now on.
    fn turn_over(&mut self, class: Class) {
        let (rows, bytes) = (self.totals.rows[class as usize], self.totals.bytes[class as usize]);
        let halves = &mut self.totals.halves[class as usize];
        *halves = Halves { newer: 1 - halves.newer, begin: self.totals.next_seq, rows, bytes };
    }

    fn newest_of_older(&self, class: Class) -> rusqlite::Result<Option<i64>> {
        let sql =
            format!("SELECT wall_ms FROM {} ORDER BY seq DESC LIMIT 1", row::table(class, 1 - self.totals.halves[class as usize].newer));
        self.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()
    }

    /// All of the older half at a stroke, which costs no page of it a write.
    fn empty(&mut self, class: Class) -> rusqlite::Result<()> {
        let halves = &mut self.totals.halves[class as usize];
        self.connection.prepare_cached(&format!("DELETE FROM {}", row::table(class, 1 - halves.newer)))?.execute([])?;
        let (rows, bytes) = (&mut self.totals.rows[class as usize], &mut self.totals.bytes[class as usize]);
        (*rows, *bytes) = (rows.saturating_sub(halves.rows), bytes.saturating_sub(halves.bytes));
        (halves.rows, halves.bytes) = (0, 0);
        Ok(())
    }

    fn most_waiting(&self, class: Class) -> u64 {
        self.places.values().map(|place| place.lane(class).waiting).max().unwrap_or(u64::MAX)
    }

    /// Below this, every reader has settled everything of the class. Nothing is below it when there is no reader.
    fn floor(&self, class: Class) -> u64 {
        self.places.iter().map(|(name, place)| share::floor(name, place.lane(class))).min().unwrap_or(0)
    }

    /// Up to `most` passed rows with a wall time before `before`, from the oldest on. Returns the bytes.
    fn drop_passed(&mut self, class: Class, before: i64, most: usize) -> rusqlite::Result<u64> {
        let floor = self.floor(class);
        let rows = self.rows(class, 0, floor, most)?;
        let goers: Vec<Victim> = rows.into_iter().take_while(|row| row.wall < before).collect();
        let Some(last) = goers.last().map(|row| row.seq) else { return Ok(0) };
        for half in 0..2 {
            let sql = format!("DELETE FROM {} WHERE seq <= ?", row::table(class, half));
            self.connection.prepare_cached(&sql)?.execute([last as i64])?;
        }
        goers.iter().for_each(|row| self.totals.gone(class, row.seq, row.size));
        Ok(goers.iter().map(|row| row.size).sum())
    }

    fn rows(&self, class: Class, from: u64, end: u64, most: usize) -> rusqlite::Result<Vec<Victim>> {
        let sql =
            format!("SELECT seq, {SIZE}, leaf, wall_ms FROM message_{} WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?", class as usize);
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Victim { seq: row.get::<_, i64>(0)? as u64, size: row.get::<_, i64>(1)? as u64, leaf: row.get(2)?, wall: row.get(3)? })
        };
        statement.query_map((from as i64, end, most as i64), read)?.collect()
    }

    /// Gives rows up until what is kept fits into `limit`, those that have just come in included: a reading that comes into
    /// a log full of alerts goes before them. `true` when rows were given up that somebody still wanted.
    pub(crate) fn make(&mut self, limit: u64) -> rusqlite::Result<bool> {
        if self.totals.bytes() <= limit {
            return Ok(false);
        }
        // A little more than needed, so that not every commit of a full log gives rows up.
        let target = limit.saturating_sub(SLACK.min(limit / 64));
        for class in Class::ALL {
            while self.totals.bytes() > target && self.drop_passed(class, i64::MAX, CHUNK)? > 0 {}
        }
        let mut evicted = false;
        for class in Class::ALL {
            if self.totals.bytes() <= limit {
                // A higher class never goes for the sake of the little more.
                break;
            }
            let mut from = 0;
            while self.totals.bytes() > target {
                if !evicted {
                    // Odd from here to the commit: leases that overlap are repeated.
                    self.shared.evictions.fetch_add(1, Release);
                    evicted = true;
                }
                match self.evict(class, from, target)? {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        if evicted && self.shared.evictions.load(Relaxed).is_multiple_of(2) {
            self.shared.evictions.fetch_add(1, Release);
        }
        Ok(evicted)
    }

    /// One chunk of a class from this seq on. `None` at its end.
    fn evict(&mut self, class: Class, from: u64, target: u64) -> rusqlite::Result<Option<u64>> {
        let rows = self.rows(class, from, u64::MAX, CHUNK)?;
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(None) };
        let (leased, takers) = (self.leased(class), Takers::among(self.places));
        let sql = |half| format!("DELETE FROM {} WHERE seq = ?", row::table(class, half));
        let mut delete = [self.connection.prepare_cached(&sql(0))?, self.connection.prepare_cached(&sql(1))?];
        for row in rows {
            if self.totals.bytes() <= target {
                break;
            }
            if leased.iter().any(|&(first, last)| (first..=last).contains(&row.seq)) {
                continue;
            }
            delete[self.totals.halves[class as usize].of(row.seq)].execute([row.seq as i64])?;
            self.totals.gone(class, row.seq, row.size);
            self.count(class, &row, &takers);
        }
        Ok(Some(last + 1))
    }

    /// First and last seq of what readers have leased, a few pairs.
    fn leased(&self, class: Class) -> Vec<(u64, u64)> {
        let readers = self.shared.readers();
        let standings = readers.values().flat_map(|reader| reader.standing().leased.clone());
        standings.filter(|(of, _, _)| *of == class as usize).map(|(_, first, last)| (first, last)).collect()
    }

    fn count(&mut self, class: Class, row: &Victim, takers: &Takers) {
        let Ok(leaf) = LeafId::new(&row.leaf).or_else(|_| LeafId::new(UNKNOWN_LEAF)) else { return };
        let time = Timestamp(row.wall);
        let loss = |reader: &str| Loss {
            reader: reader.to_owned(),
            leaf: leaf.clone(),
            class,
            reason: GapReason::Room,
            count: 1,
            seqs: (row.seq, row.seq),
            times: (time, time),
        };
        if self.places.is_empty() {
            gap::push(self.losses, loss(""));
        }
        let losses = &mut *self.losses;
        takers.each(&row.leaf, self.places, |name, place| {
            let lane = &mut place.lanes[class as usize];
            if lane.holds(row.seq) {
                lane.waiting = lane.waiting.saturating_sub(1);
                gap::push(losses, loss(name));
            }
        });
    }
}

/// Pages that are free inside the file and stay so: 16 MiB, which the next busy hour uses again without asking the file system.
const FREE_KEPT: i64 = 16 << 10;
/// Pages given back in one commit, since each may have to be moved first: a quarter of a megabyte.
const GIVEN_BACK: i64 = 256;

/// Makes the file smaller, a little at a time, when most of it is empty.
pub(crate) fn give_back_pages(connection: &Connection) -> rusqlite::Result<()> {
    let number = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    let free = number("PRAGMA freelist_count")?;
    if free > FREE_KEPT && free * 2 > number("PRAGMA page_count")? {
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({GIVEN_BACK})"))?;
    }
    Ok(())
}

/// A file that only takes up room. When others have filled the disk, SQLite cannot even delete (it must write its WAL first):
/// this goes, and then it can.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    thrown_off: Option<Instant>,
}

/// Room for a few large transactions.
const BALLAST: usize = 1 << 20;
/// How long a full disk is left alone before the ballast is tried again.
const PAUSE: Duration = Duration::from_secs(60);

impl Ballast {
    /// Lays the ballast, if the disk has room for it.
    pub(crate) fn lay(dir: &Path) -> Self {
        let ballast = Self { path: dir.join("ballast"), thrown_off: None };
        let whole = fs::metadata(&ballast.path).is_ok_and(|m| m.len() == BALLAST as u64);
        let thrown_off = (!whole && !ballast.write()).then(Instant::now);
        Self { thrown_off, ..ballast }
    }

    /// `false` when the disk has no room for it; then nothing of it is left.
    fn write(&self) -> bool {
        let write = || {
            let mut file = File::create(&self.path)?;
            // Not zeros, which some file systems and cards do not store.
            file.write_all(&[0xB5; BALLAST])?;
            file.sync_all()
        };
        let written: std::io::Result<()> = write();
        written.map_err(|_| fs::remove_file(&self.path)).is_ok()
    }

    /// Frees its room.
    pub(crate) fn throw_off(&mut self) {
        fs::remove_file(&self.path).ok();
        self.thrown_off = Some(Instant::now());
    }

    /// Once the disk has taken commits again for a while.
    pub(crate) fn lay_again(&mut self) {
        if self.thrown_off.is_some_and(|at| at.elapsed() >= PAUSE) {
            self.thrown_off = (!self.write()).then(Instant::now);
        }
    }
}
