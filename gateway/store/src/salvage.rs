//! A database that does not open, or fails its check, is never deleted: it is renamed, what is readable is carried over
//! into a new one, and the rest becomes a gap with reason `corrupt`. Rows are read by their trees, and where these have holes, from
//! every page by itself ([`pages`]).

mod pages;

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pages::Pages;
use rusqlite::Connection;
use tidegate_core::{
    clock::Timestamp,
    id::LeafId,
    message::{Class, Message},
    wire,
};
use tracing::{error, warn};

use crate::{
    StoreError,
    commit::write_note,
    gap::{self, GapReason, Loss, UNKNOWN_LEAF},
    inbox,
    partition::Numbered,
    place::Place,
    row::{self, Found},
    schema::{self, OpenError},
    share,
    writer::{Totals, load},
};

/// What was carried over from a damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvage {
    /// Where the damaged file is now.
    pub kept_as: PathBuf,
    /// Messages carried over.
    pub saved: u64,
    /// Messages that were counted and could not be read; an estimate where the counts themselves were damaged.
    pub lost: u64,
    /// Why it was thought damaged.
    pub why: String,
}

impl fmt::Display for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the log was damaged ({}): {} messages carried over, about {} lost, the damaged file is kept as {}",
            self.why,
            self.saved,
            self.lost,
            self.kept_as.display()
        )
    }
}

/// Present when damage was met while running: the next start salvages without asking.
const SUSPECT: &str = "log.db.suspect";

/// Notes that the file is damaged, for the next start.
pub(crate) fn mark_suspect(dir: &Path) {
    if let Err(error) = fs::write(dir.join(SUSPECT), b"") {
        warn!(%error, "cannot note that the log is damaged");
    }
}

/// Opens the file; if that cannot be done as it is, salvages it first.
pub(crate) fn open_or_salvage(dir: &Path, max_size: u64) -> Result<(Connection, Option<Salvage>), StoreError> {
    let suspect = dir.join(SUSPECT).exists();
    let why = match schema::open(dir, max_size) {
        Err(OpenError::Store(error)) => return Err(error),
        Err(OpenError::Sqlite(error)) if is_about_access(&error) => return Err(StoreError::open(schema::file(dir), error)),
        Err(OpenError::Sqlite(error)) => error.to_string(),
        Ok(_) if suspect => "damage was met while it was in use".to_owned(),
        Ok(connection) => match schema::looks_sound(&connection).map(|sound| sound && load(&connection).is_ok()) {
            Ok(true) => return Ok((connection, None)),
            Ok(false) => "its check failed".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    error!(%why, "the log is damaged, salvaging it");
    let salvage = salvage(dir, max_size, why)?;
    fs::remove_file(dir.join(SUSPECT)).ok();
    let connection = schema::open(dir, max_size).map_err(|e| StoreError::open(schema::file(dir), format!("{e:?}")))?;
    Ok((connection, Some(salvage)))
}

/// Not damage: no permission, read-only, locked by another process.
pub(crate) fn is_about_access(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | PermissionDenied | ReadOnly))
}

fn salvage(dir: &Path, max_size: u64, why: String) -> Result<Salvage, StoreError> {
    let kept_as = put_aside(dir, schema::FILE)?;
    let mut fresh = schema::open(dir, max_size).map_err(|e| StoreError::open(schema::file(dir), format!("{e:?}")))?;
    let mut saved = Saved { totals: Totals { next_seq: 1, ..Totals::default() }, counted: 0, highest: 0 };
    let (mut places, mut lost) = (Default::default(), 0);
    let pages = Pages::open(&kept_as, schema::page_size(&fresh)?).inspect_err(|error| warn!(%error, "its pages cannot be read")).ok();
    // Opened for writing, because SQLite must be able to use the WAL; nothing is written to it.
    match Connection::open(&kept_as) {
        Ok(damaged) => {
            // A file that is shorter than it says it is would otherwise not be read at all.
            if let Err(error) = damaged.execute_batch("PRAGMA writable_schema=ON") {
                warn!(%error, "a file that was cut short may not be readable");
            }
            let known = load(&damaged).ok();
            let known_is_none = known.is_none();
            if let Some((totals, old_places)) = known {
                saved.counted = totals.rows.iter().sum();
                (saved.totals.next_seq, saved.totals.time_floor, saved.totals.given_up) =
                    (totals.next_seq, totals.time_floor, totals.given_up);
                saved.totals.unsynced_from = totals.unsynced_from;
                saved.totals.numbers = totals.numbers;
                places = old_places;
            }
            saved.copy(&damaged, &mut fresh)?;
            if known_is_none || saved.rows() < saved.counted {
                saved.copy_pages(pages.as_ref(), &roots(&damaged), &mut fresh)?;
            }
            if known_is_none {
                let by_size = pages.as_ref().map_or(0, |pages| pages.rows_once(saved.rows()));
                saved.counted = by_size.max(saved.rows() + saved.holes(&fresh)?);
            }
            copy_gaps(&damaged, &fresh);
            inbox::carry_over(&damaged, &fresh);
        }
        Err(error) => warn!(%error, "nothing of the damaged log can be read"),
    }
    let rows = saved.rows();
    lost += saved.counted.max(rows) - rows;
    finish(&mut fresh, saved, places, lost)?;
    Ok(Salvage { kept_as, saved: rows, lost, why })
}

/// Renames a database file of the folder and what belongs to it.
pub(crate) fn put_aside(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let file = dir.join(name);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let stamp = Timestamp(seconds as i64 * 1000).to_string().replace([':', '.'], "");
    let new_name = |n: u32| dir.join(format!("{name}.damaged-{stamp}{}", if n == 0 { String::new() } else { format!("-{n}") }));
    let kept_as = (0..).map(new_name).find(|path| !path.exists()).ok_or_else(|| io::Error::other("no name left"))?;
    fs::rename(&file, &kept_as)?;
    for tail in ["-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{tail}", path.display()));
        if with(&file).exists() {
            fs::rename(with(&file), with(&kept_as))?;
        }
    }
    Ok(kept_as)
}

/// A message that was read, its place, and its number in its partition.
type Kept = (u64, Box<Message>, Option<Numbered>);

struct Saved {
    totals: Totals,
    counted: u64,
    highest: u64,
}

/// Time for reading a damaged file: a gateway that does not come up helps nobody, and the file is kept.
const PATIENCE: Duration = Duration::from_secs(20);
/// A page of the smallest rows that we make holds more than this.
const MOST_STEP: u64 = 4;
/// Rows carried over in one transaction.
const CHUNK: usize = 2_000;

impl Saved {
    fn rows(&self) -> u64 {
        self.totals.rows.iter().sum()
    }

    fn copy(&mut self, damaged: &Connection, fresh: &mut Connection) -> Result<(), StoreError> {
        let until = Instant::now() + PATIENCE;
        for (class, table) in tables(damaged) {
            let (mut from, mut step) = (0_u64, 1_u64);
            loop {
                let (rows, broken) = read_rows(damaged, class, &table, from, CHUNK);
                self.keep(fresh, class, &rows)?;
                let last = rows.last().map(|(seq, ..)| *seq);
                match (last, broken) {
                    (Some(last), _) => (from, step) = (last + 1, 1),
                    // Behind a broken page: in steps too short to pass over a whole one, as far as seqs are known to reach; beyond
                    // that further and further.
                    (None, true) => {
                        from += step;
                        step = if from < self.totals.next_seq { MOST_STEP.min(step * 2) } else { step * 2 };
                    }
                    (None, false) => break,
                }
                if from > i64::MAX as u64 / 2 || Instant::now() > until {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Messages that are missing between the first and the last one of the class that has the most: those before it may have gone in peace.
    fn holes(&self, fresh: &Connection) -> Result<u64, StoreError> {
        let Some(class) = Class::ALL.into_iter().max_by_key(|class| self.totals.rows[*class as usize]) else { return Ok(0) };
        let ends = format!("SELECT min(seq), max(seq) FROM message_{}", class as usize);
        let (first, last): (Option<i64>, Option<i64>) = fresh.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (Some(first), Some(last)) = (first, last) else { return Ok(0) };
        let mut there = 0;
        for class in Class::ALL {
            let count = format!("SELECT count(*) FROM message_{} WHERE seq BETWEEN ? AND ?", class as usize);
            there += fresh.query_row(&count, (first, last), |row| row.get::<_, i64>(0))?;
        }
        Ok((last - first + 1 - there).max(0).unsigned_abs())
    }

    /// What the trees did not show.
    fn copy_pages(&mut self, pages: Option<&Pages>, roots: &HashMap<u32, Class>, fresh: &mut Connection) -> Result<(), StoreError> {
        let Some(pages) = pages else { return Ok(()) };
        // Binding and reading back makes of raw columns a row, which is believed by its checksum.
        let scratch = Connection::open_in_memory()?;
        let mut as_row = scratch.prepare("SELECT ?,?,?,?,?,?,?,?,?,?,?,?,?")?;
        let mut found: [Vec<Kept>; Class::ALL.len()] = Default::default();
        let (mut result, mut waiting) = (Ok(()), 0);
        pages.rows(Instant::now() + PATIENCE, |raw| {
            let class = match raw.root {
                // Another table's.
                Some(root) if !roots.is_empty() && !roots.contains_key(&root) => return true,
                Some(root) => roots.get(&root).copied().unwrap_or(Class::Telemetry),
                None => Class::Telemetry,
            };
            let row = as_row.query_row(rusqlite::params_from_iter(&raw.columns), |row| row::read(row, class));
            if let Ok(Found::Message { seq, message, number, .. }) = row {
                found[class as usize].push((seq, message, number));
                waiting += 1;
            }
            if waiting >= CHUNK {
                result = self.keep_new(fresh, &mut found);
                waiting = 0;
            }
            result.is_ok()
        });
        result.and_then(|()| self.keep_new(fresh, &mut found))
    }

    fn keep_new(&mut self, fresh: &mut Connection, found: &mut [Vec<Kept>; Class::ALL.len()]) -> Result<(), StoreError> {
        for class in Class::ALL {
            let mut rows = std::mem::take(&mut found[class as usize]);
            rows.sort_by_key(|(seq, ..)| *seq);
            rows.dedup_by_key(|(seq, ..)| *seq);
            let known = Class::ALL.map(|class| format!("SELECT 1 FROM message_{} WHERE seq = ?1", class as usize)).join(" UNION ALL ");
            let mut is_known = fresh.prepare(&known)?;
            let mut new = Vec::with_capacity(rows.len());
            for (seq, message, number) in rows {
                if !is_known.exists([seq as i64])? {
                    new.push((seq, message, number));
                }
            }
            drop(is_known);
            self.keep(fresh, class, &new)?;
        }
        Ok(())
    }

    fn keep(&mut self, fresh: &mut Connection, class: Class, rows: &[Kept]) -> Result<(), StoreError> {
        let transaction = fresh.transaction()?;
        {
            let mut insert = transaction.prepare_cached(&row::insert(class, 0))?;
            for (seq, message, number) in rows {
                let properties = wire::properties_to_text(&message.system, &message.properties);
                row::write(&mut insert, *seq, message, message.taken, &properties, *number)?;
                self.totals.rows[class as usize] += 1;
                self.totals.bytes[class as usize] += row::size(message, &properties);
                self.highest = self.highest.max(*seq);
                if let Some(number) = number {
                    let next = &mut self.totals.numbers[number.partition()];
                    *next = (*next).max(number.number() + 1);
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The tables of messages in a file of this or an older format, each by itself: damage in one must not hide the others.
fn tables(damaged: &Connection) -> Vec<(Class, String)> {
    let is_there = |name: &str| damaged.prepare(&format!("SELECT 1 FROM {name}")).is_ok();
    let of = |class: Class| {
        let halves = [row::table(class, 0), row::table(class, 1)];
        let whole = format!("message_{}", class as usize);
        if halves.iter().any(|half| is_there(half)) { Vec::from(halves) } else { vec![whole] }.into_iter().map(move |table| (class, table))
    };
    Class::ALL.into_iter().flat_map(of).collect()
}

/// The pages at the top of these tables, as far as the file's own list of them can be read.
fn roots(damaged: &Connection) -> HashMap<u32, Class> {
    let all = tables(damaged).into_iter();
    let root = |table: &str| damaged.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table], |row| row.get::<_, u32>(0));
    all.filter_map(|(class, table)| Some((root(&table).ok()?, class))).collect()
}

/// As many rows as can be read from here on, and whether it ended at damage.
fn read_rows(damaged: &Connection, class: Class, table: &str, from: u64, most: usize) -> (Vec<Kept>, bool) {
    let sql = |columns: &str| format!("SELECT {columns} FROM {table} WHERE seq >= ? ORDER BY seq LIMIT ?");
    let mut kept = Vec::new();
    // A file of an older format has no numbers.
    let older = row::COLUMNS.replace(", number", ", NULL");
    let Ok(mut statement) = damaged.prepare(&sql(row::COLUMNS)).or_else(|_| damaged.prepare(&sql(&older))) else {
        return (kept, false);
    };
    let Ok(mut rows) = statement.query((from as i64, most as i64)) else { return (kept, true) };
    loop {
        match rows.next() {
            Ok(None) => return (kept, false),
            Err(_) => return (kept, true),
            Ok(Some(found)) => {
                if let Ok(Found::Message { seq, message, number, .. }) = row::read(found, class) {
                    kept.push((seq, message, number));
                }
            }
        }
    }
}

fn copy_gaps(damaged: &Connection, fresh: &Connection) {
    let copy = || -> rusqlite::Result<()> {
        let mut read = damaged.prepare(&format!("SELECT {} FROM gap ORDER BY id", gap::COLUMNS))?;
        let mut rows = read.query([])?;
        let mut write = fresh.prepare(&format!("INSERT INTO gap ({}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", gap::COLUMNS))?;
        while let Some(row) = rows.next()? {
            for column in 0..12 {
                write.raw_bind_parameter(column + 1, row.get::<_, rusqlite::types::Value>(column)?)?;
            }
            write.raw_execute()?;
        }
        Ok(())
    };
    if let Err(error) = copy() {
        warn!(%error, "the gap ledger could not be carried over whole");
    }
}

/// Totals and places for what was carried over; what was lost goes into the ledger of every reader.
fn finish(
    fresh: &mut Connection,
    saved: Saved,
    mut places: std::collections::BTreeMap<String, Place>,
    lost: u64,
) -> Result<(), StoreError> {
    let mut totals = saved.totals;
    // Never a seq again that may have been used: far beyond what the damaged file can have reached when it did not say.
    let margin = if totals.next_seq == 1 { 1 << 32 } else { 0 };
    totals.numbers.iter_mut().for_each(|next| *next += margin);
    totals.next_seq = totals.next_seq.max(saved.highest + 1) + margin;
    let step = fresh.transaction()?;
    let taken: Vec<_> = places.keys().map(|name| share::leaves_of(name, &places)).collect();
    for (place, leaves) in places.values_mut().zip(&taken) {
        for class in Class::ALL {
            place.lanes[class as usize].waiting = share::waiting(&step, class, place.lane(class), leaves)?;
        }
    }
    // Whose they were is not known, so no share can say that it lost them.
    let whole = places.keys().filter(|name| share::parts(name).is_none()).cloned();
    let readers: Vec<String> = if places.is_empty() { vec![String::new()] } else { whole.collect() };
    if lost > 0 {
        for reader in readers {
            let leaf = LeafId::new(UNKNOWN_LEAF).map_err(|e| StoreError::Failed(e.to_string()))?;
            let seqs = (1, totals.next_seq.saturating_sub(1));
            let times = (Timestamp(0), Timestamp(totals.time_floor));
            let loss = Loss { reader, leaf, class: Class::Telemetry, reason: GapReason::Corrupt, count: lost, seqs, times };
            gap::record(&step, &loss)?;
            totals.given_up += lost;
        }
    }
    write_note(&step, "totals", &totals)?;
    for (name, place) in &places {
        write_note(&step, &format!("place {name}"), place)?;
    }
    step.commit()?;
    Ok(())
}
