//! The database file: how it is opened, its tables, and how older formats become this one.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use tidegate_core::message::Class;

use crate::{StoreError, row};

/// The file's name in the state folder.
pub(crate) const FILE: &str = "log.db";

/// Ordered migrations; `PRAGMA user_version` is how many of them the file has seen.
const MIGRATIONS: &[&str] =
    &[include_str!("schema/1.sql"), include_str!("inbox/schema.sql"), include_str!("schema/3.sql"), include_str!("schema/4.sql")];

/// Bytes in the WAL before it is copied into the database: so much that pages which change with each commit are copied once in
/// many commits.
const CHECKPOINT: u64 = 4 << 20;
/// Bytes of a page of a new file. Each commit writes its rows and five or six pages beside them (places and totals, the root, the
/// free list), and each as a whole: small pages are what saves the flash. Files of another page size stay as they are.
const PAGE: u64 = 1024;

/// What commands, their ids and their audit may take beside the rows, at the very most: 16 MiB wait, 200 dead ones of 64 KiB, 65,536
/// ids and 20,000 lines, with the loss of half-filled pages. A few megabytes are usual.
const INBOX: u64 = 96 << 20;

/// The log's file in this folder.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Opens or creates the file for writing, and migrates it. `max_size` is what rows may take; the file gets a hard stop above
/// it, so that a fault in our counting cannot fill the disk.
pub(crate) fn open(dir: &Path, max_size: u64) -> Result<Connection, OpenError> {
    let path = file(dir);
    let mut connection = Connection::open(&path)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size={PAGE}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;"
    ))?;
    let page = page_size(&connection)?;
    // A row that takes a little more than half a page takes all of it.
    let pages = max_size.saturating_mul(9) / 4 / page + ((4 << 20) + INBOX) / page;
    let checkpoint = checkpoint(dir) / page;
    connection.execute_batch(&format!(
        "PRAGMA journal_size_limit=8388608; PRAGMA wal_autocheckpoint={checkpoint}; PRAGMA max_page_count={pages};
         PRAGMA cache_size=-1024;"
    ))?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, &path)?;
    Ok(connection)
}

/// On a small disk the WAL stays small too: when the disk is full, what is in the WAL must still fit into the database.
fn checkpoint(dir: &Path) -> u64 {
    let free = rustix::fs::statvfs(dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    (free / 32).clamp(64 << 10, CHECKPOINT)
}

/// Bytes of a page of this file.
pub(crate) fn page_size(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).map(|size| size.unsigned_abs().max(512))
}

/// Why a file cannot be opened as it is.
#[derive(Debug)]
pub(crate) enum OpenError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        OpenError::Sqlite(error)
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(OpenError::Store(StoreError::Newer { path: path.to_owned(), found, known }));
    }
    for (done, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let step = connection.transaction()?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", done as u32 + 1)?;
        step.commit()?;
    }
    Ok(())
}

/// A connection that can only read.
pub(crate) fn open_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA busy_timeout=5000; PRAGMA cache_size=-512;")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Every table answers and the trees hang together. Bounded: a large file is only read at its ends, because reading all of it
/// from a slow card would take minutes; damage inside it shows when its rows are leased.
pub(crate) fn looks_sound(connection: &Connection) -> rusqlite::Result<bool> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    for class in Class::ALL {
        for (half, order) in [(0, "ASC"), (0, "DESC"), (1, "ASC"), (1, "DESC")] {
            let sql = format!("SELECT seq, id, leaf, body FROM {} ORDER BY seq {order} LIMIT 1", row::table(class, half));
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                row.get_ref(3)?;
            }
        }
    }
    connection.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0))?;
    connection.query_row("SELECT count(*) FROM command", [], |row| row.get::<_, i64>(0))?;
    connection.query_row("SELECT count(*) FROM gap", [], |row| row.get::<_, i64>(0))?;
    if pages.unsigned_abs() * page_size(connection)? > CHECKED {
        return Ok(true);
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(verdict == "ok")
}

/// 32 MiB: a second on a slow SD card.
const CHECKED: u64 = 32 << 20;
