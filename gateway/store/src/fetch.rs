//! The thread that owns the reading connection. It sees what is committed and nothing else, and a slow flush does not hold it up.

use std::{fmt, path::Path, sync::Arc};

use rusqlite::Connection;
use tidegate_core::message::Class;
use tokio::sync::{mpsc, oneshot};

use crate::{
    StoreError,
    error::is_damage,
    request::Shared,
    row::{self, Found},
    salvage, schema,
    share::Leaves,
};

/// Fetches that wait. Each reader has at most one.
const FETCHES: usize = 64;

/// Rows wanted.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) class: Class,
    pub(crate) from: u64,
    pub(crate) end: u64,
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    pub(crate) leaves: Leaves,
}

/// Rows found, oldest first.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Found>,
    /// The span ends with them: neither the limit of rows nor that of bytes left any out.
    pub(crate) all: bool,
    /// Everything of the span before this was looked at.
    pub(crate) reached: u64,
}

type Fetch = (Want, oneshot::Sender<Result<Batch, StoreError>>);

/// Hands fetches to the thread.
#[derive(Clone)]
pub(crate) struct Fetcher(mpsc::Sender<Fetch>);

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    /// Opens the connection and starts the thread; it ends with the last handle.
    pub(crate) fn start(dir: &Path, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let path = schema::file(dir);
        let connection = schema::open_reading(&path).map_err(|e| StoreError::open(&path, e))?;
        let (fetches, mut queue) = mpsc::channel::<Fetch>(FETCHES);
        let dir = dir.to_owned();
        std::thread::Builder::new().name("log-reader".into()).spawn(move || {
            while let Some((want, reply)) = queue.blocking_recv() {
                let rows = fetch(&connection, &want).map_err(|error| {
                    if is_damage(&error) {
                        salvage::mark_suspect(&dir);
                    }
                    StoreError::Failed(error.to_string())
                });
                if let Err(error) = &rows {
                    shared.fail(error.clone());
                }
                // The reader may have gone.
                reply.send(rows).ok();
            }
        })?;
        Ok(Self(fetches))
    }

    /// Asks for the rows, oldest first, at least one if there is one.
    pub(crate) async fn fetch(&self, want: Want) -> Result<oneshot::Receiver<Result<Batch, StoreError>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send((want, reply)).await.map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }
}

fn fetch(connection: &Connection, want: &Want) -> rusqlite::Result<Batch> {
    let own = if let Leaves::Only(leaf) = &want.leaves { Some(leaf.as_str()) } else { None };
    let filter = if own.is_some() { " AND leaf = ?4" } else { "" };
    let class = want.class as usize;
    let sql = format!("SELECT {} FROM message_{class} WHERE seq >= ?1 AND seq < ?2{filter} ORDER BY seq LIMIT ?3", row::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let end = i64::try_from(want.end).unwrap_or(i64::MAX);
    let mut rows = match own {
        Some(leaf) => statement.query((want.from as i64, end, want.rows as i64, leaf))?,
        None => statement.query((want.from as i64, end, want.rows as i64))?,
    };
    let (mut found, mut bytes, mut seen, mut reached) = (Vec::with_capacity(want.rows.min(64)), 0, 0, want.from);
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? as u64;
        seen += 1;
        if !want.leaves.takes(row.get_ref(row::LEAF)?.as_str().unwrap_or("")) {
            reached = seq + 1;
            continue;
        }
        let one = row::read(row, want.class)?;
        if let Found::Message { size, .. } = &one {
            bytes += size;
        }
        if bytes > want.bytes && !found.is_empty() {
            return Ok(Batch { rows: found, all: false, reached });
        }
        reached = seq + 1;
        found.push(one);
    }
    let all = seen < want.rows;
    Ok(Batch { rows: found, all, reached })
}
