//! `state.db`: how it is opened, its tables, and how older formats become this one.

use std::{
    fs::OpenOptions,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::StateError;

/// The file's name in the state folder.
pub(crate) const FILE: &str = "state.db";

/// Ordered migrations; `PRAGMA user_version` is how many of them the file has seen. A new table is a new number at the end, never a
/// change of one that has been released.
const MIGRATIONS: &[&str] =
    &[include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql"), include_str!("schema/4.sql")];

pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Why a file cannot be opened as it is.
#[derive(Debug)]
pub(crate) enum OpenError {
    Sqlite(rusqlite::Error),
    State(StateError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        OpenError::Sqlite(error)
    }
}

/// Opens or creates the file, and migrates it. It holds keys, so nobody else may read it; SQLite gives the WAL the same rights.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let made = made.and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600)));
    made.map_err(|error| OpenError::State(StateError::open(path, error)))?;
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
         PRAGMA journal_size_limit=1048576; PRAGMA wal_autocheckpoint=256; PRAGMA cache_size=-1024; PRAGMA foreign_keys=ON;
         PRAGMA cell_size_check=ON; PRAGMA secure_delete=ON;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, path)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(OpenError::State(StateError::Newer { path: path.to_owned(), found, known }));
    }
    for (done, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let step = connection.transaction()?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", done as u32 + 1)?;
        step.commit()?;
    }
    Ok(())
}

/// The tables that we make, by name.
pub(crate) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The trees hang together and every table can be counted. The whole file is read: it is small, because what is in it is bounded by
/// the number of devices.
pub(crate) fn looks_sound(connection: &Connection) -> rusqlite::Result<bool> {
    for table in tables(connection)? {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))?;
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(verdict == "ok")
}
