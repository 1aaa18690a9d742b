//! A `state.db` that does not open, or fails its check, is never deleted: it is renamed, and the rows that can be read are carried
//! over into a new one.
//!
//! It goes table by table from both ends along the rowid, so that one broken page costs the rows of that page. What was lost cannot be
//! counted, because nothing else says how much there was: the report says what was carried over.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, types::Value};
use tracing::{error, warn};

use super::{
    StateError,
    schema::{self, OpenError},
};
use crate::salvage::{is_about_access, put_aside};

/// What was carried over from a damaged `state.db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSalvage {
    /// Where the damaged file is now.
    pub kept_as: PathBuf,
    /// Rows carried over, per table.
    pub saved: Vec<(String, u64)>,
    /// Tables that could not be read to their end.
    pub broken: Vec<String>,
    /// Why it was thought damaged.
    pub why: String,
}

impl fmt::Display for StateSalvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "devices, twins and users were damaged ({}):", self.why)?;
        for (table, rows) in &self.saved {
            write!(f, " {rows} rows of {table},")?;
        }
        write!(f, " carried over")?;
        if !self.broken.is_empty() {
            write!(f, ", not everything of {}", self.broken.join(", "))?;
        }
        write!(f, "; the damaged file is kept as {}", self.kept_as.display())
    }
}

/// Present when damage was met while running: the next start salvages without asking.
const SUSPECT: &str = "state.db.suspect";

/// Notes that the file is damaged, for the next start.
pub(crate) fn mark_suspect(dir: &Path) {
    if let Err(error) = fs::write(dir.join(SUSPECT), b"") {
        warn!(%error, "cannot note that the state is damaged");
    }
}

/// Opens the file; if that cannot be done as it is, salvages it first.
pub(crate) fn open_or_salvage(dir: &Path) -> Result<(Connection, Option<StateSalvage>), StateError> {
    let path = schema::file(dir);
    let suspect = dir.join(SUSPECT).exists();
    let why = match schema::open(&path) {
        Err(OpenError::State(error)) => return Err(error),
        Err(OpenError::Sqlite(error)) if is_about_access(&error) => return Err(StateError::open(path, error)),
        Err(OpenError::Sqlite(error)) => error.to_string(),
        Ok(_) if suspect => "damage was met while it was in use".to_owned(),
        Ok(connection) => match schema::looks_sound(&connection) {
            Ok(true) => return Ok((connection, None)),
            Ok(false) => "its check failed".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    error!(%why, "the state is damaged, salvaging it");
    let salvage = salvage(dir, &path, why)?;
    fs::remove_file(dir.join(SUSPECT)).ok();
    let connection = reopen(&path)?;
    Ok((connection, Some(salvage)))
}

fn reopen(path: &Path) -> Result<Connection, StateError> {
    schema::open(path).map_err(|error| match error {
        OpenError::State(error) => error,
        OpenError::Sqlite(error) => StateError::open(path, error),
    })
}

fn salvage(dir: &Path, path: &Path, why: String) -> Result<StateSalvage, StateError> {
    let kept_as = put_aside(dir, schema::FILE)?;
    let mut fresh = reopen(path)?;
    // A row whose parent was lost stays out at the end, not while the parent is still to come.
    fresh.execute_batch("PRAGMA foreign_keys=OFF")?;
    let (mut saved, mut broken) = (Vec::new(), Vec::new());
    match Connection::open(&kept_as) {
        Ok(damaged) => {
            // A file that is shorter than it says it is would otherwise not be read at all.
            if let Err(error) = damaged.execute_batch("PRAGMA writable_schema=ON; PRAGMA cell_size_check=ON") {
                warn!(%error, "a file that was cut short may not be readable");
            }
            for table in schema::tables(&fresh)? {
                let step = fresh.transaction()?;
                let whole = carry_over(&damaged, &step, &table);
                let rows = step.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))?;
                step.commit()?;
                saved.push((table.clone(), rows.unsigned_abs()));
                if !whole {
                    broken.push(table);
                }
            }
        }
        Err(error) => warn!(%error, "nothing of the damaged state can be read"),
    }
    drop_orphans(&fresh)?;
    fresh.execute_batch("REINDEX")?;
    Ok(StateSalvage { kept_as, saved, broken, why })
}

/// Copies what can be read of one table, from both ends; tells whether that was everything.
fn carry_over(damaged: &Connection, fresh: &Connection, table: &str) -> bool {
    // An older format may lack columns that we have by now.
    let columns = columns(fresh, table).into_iter().filter(|name| columns(damaged, table).contains(name)).collect::<Vec<_>>();
    if columns.is_empty() {
        return false;
    }
    let list = columns.join(", ");
    let marks = vec!["?"; columns.len() + 1].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {table} (rowid, {list}) VALUES ({marks})");
    let walk = |order: &str| -> rusqlite::Result<()> {
        let mut read = damaged.prepare(&format!("SELECT rowid, {list} FROM {table} ORDER BY rowid {order}"))?;
        let mut write = fresh.prepare(&insert)?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..=columns.len()).map(|column| row.get::<_, Value>(column)).collect::<Result<Vec<_>, _>>()?;
            // A row that breaks a rule of its table is not one that we wrote.
            if let Err(error) = write.execute(rusqlite::params_from_iter(values)) {
                warn!(%error, table, "a row is passed over");
            }
        }
        Ok(())
    };
    walk("ASC").is_ok() || {
        if let Err(error) = walk("DESC") {
            warn!(%error, table, "damaged inside");
        }
        false
    }
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let names = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)")?;
        statement.query_map([table], |row| row.get(0))?.collect()
    };
    names().unwrap_or_default()
}

/// What belongs to a row that was lost goes too.
fn drop_orphans(fresh: &Connection) -> Result<(), StateError> {
    let mut statement = fresh.prepare("SELECT \"table\", rowid FROM pragma_foreign_key_check WHERE rowid IS NOT NULL")?;
    let orphans: Vec<(String, i64)> = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (table, rowid) in orphans {
        fresh.execute(&format!("DELETE FROM {table} WHERE rowid = ?"), [rowid])?;
    }
    Ok(())
}
