//! The thread that owns the writing connection: collects what belongs into one commit, commits, tells.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Release},
    time::Duration,
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    id::LeafId,
    message::{Class, Message},
};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::Instant,
};
use tracing::{error, warn};

use crate::{
    LogOptions, Opening, StoreError,
    error::is_full,
    gap::{self, Loss},
    partition::PARTITIONS,
    place::Place,
    request::{Append, ReaderShared, Request, Shared},
    room::Ballast,
    salvage,
    share::{self, Leaves},
    status::{self, Status},
};

/// Requests taken into one commit: enough to spread the cost of a flush, few enough to bound its memory.
const GROUP: usize = 512;
/// Bytes of messages in one commit.
const GROUP_BYTES: usize = 4 << 20;

/// What is kept in all; written with each commit, so that opening needs no scan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) next_seq: u64,
    pub(crate) rows: [u64; 4],
    pub(crate) bytes: [u64; 4],
    /// The newest trusted wall time.
    pub(crate) time_floor: i64,
    /// The lowest seq that may carry an unsynced time, while there is one.
    pub(crate) unsynced_from: Option<u64>,
    /// Messages in the gap ledger, ever.
    pub(crate) given_up: u64,
    /// How each class lies in its two tables.
    #[serde(default)]
    pub(crate) halves: [Halves; 4],
    /// The next number of each partition.
    #[serde(default)]
    pub(crate) numbers: [u64; PARTITIONS],
}

/// The two tables of a class: rows come into the newer one, and the older one only loses some.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Halves {
    /// Which of the two is the newer one, 0 or 1.
    pub(crate) newer: usize,
    /// The newer one has rows from this seq on, the older one rows before it.
    pub(crate) begin: u64,
    /// What the older one keeps.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Halves {
    /// Where a row is.
    pub(crate) fn of(&self, seq: u64) -> usize {
        if seq >= self.begin { self.newer } else { 1 - self.newer }
    }
}

impl Totals {
    /// A row is no longer kept.
    pub(crate) fn gone(&mut self, class: Class, seq: u64, size: u64) {
        let halves = &mut self.halves[class as usize];
        if seq < halves.begin {
            halves.rows = halves.rows.saturating_sub(1);
            halves.bytes = halves.bytes.saturating_sub(size);
        }
        let (rows, bytes) = (&mut self.rows[class as usize], &mut self.bytes[class as usize]);
        (*rows, *bytes) = (rows.saturating_sub(1), bytes.saturating_sub(size));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// The writer's state.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) shared: Arc<Shared>,
    pub(crate) totals: Totals,
    pub(crate) places: BTreeMap<String, Place>,
    pub(crate) ballast: Ballast,
    /// The room, or what a full disk has left of it.
    pub(crate) limit: u64,
    /// A reader has settled more while the last commit ran.
    pub(crate) behind: bool,
    /// Losses that found no room on the disk yet.
    pub(crate) unrecorded: Vec<Loss>,
    /// Since when each reader has gaps that it was not told of, and when they last grew, so that a growing one is not sent yet.
    pub(crate) growing: BTreeMap<String, (Instant, Instant)>,
}

/// What waits for the next commit.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    bytes: usize,
    deadline: Option<Instant>,
    now: bool,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.deadline.is_none()
    }

    fn within(&mut self, wait: Duration, now: bool) {
        self.deadline.get_or_insert_with(|| Instant::now() + wait);
        self.now |= now;
    }

    fn is_full(&self) -> bool {
        self.appends.len() >= GROUP || self.bytes >= GROUP_BYTES
    }
}

impl Writer {
    /// Opens the file and starts the thread.
    pub(crate) fn start(
        dir: &Path,
        options: LogOptions,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Request>,
    ) -> Result<Opening, StoreError> {
        std::fs::create_dir_all(dir).map_err(|e| StoreError::open(dir, e))?;
        let ballast = Ballast::lay(dir);
        let (connection, salvaged) = salvage::open_or_salvage(dir, options.max_size)?;
        let (totals, places) = load(&connection)?;
        let messages = totals.rows.iter().sum();
        shared.time_floor.store(totals.time_floor, Release);
        shared.heads.send_replace([totals.next_seq; 4]);
        let (dir, runtime) = (dir.to_owned(), tokio::runtime::Builder::new_current_thread().enable_time().build()?);
        let limit = options.max_size;
        let mut writer = Writer {
            connection,
            dir,
            limit,
            options,
            shared,
            totals,
            places,
            ballast,
            behind: false,
            unrecorded: Vec::new(),
            growing: BTreeMap::new(),
        };
        std::thread::Builder::new().name("log-writer".into()).spawn(move || {
            // A failure, or a panic, ends the promise: everybody is told, and the process begins afresh.
            let guard = FailOnDrop(writer.shared.clone());
            runtime.block_on(writer.run(queue));
            drop(guard);
        })?;
        Ok(Opening { messages, salvaged })
    }

    async fn run(&mut self, mut queue: mpsc::Receiver<Request>) {
        let mut group = Group::default();
        loop {
            let request = match if group.is_full() { Err(TryRecvError::Empty) } else { queue.try_recv() } {
                Ok(request) => Some(request),
                // What is not taken now stays in the queue and goes into the next group.
                Err(_) if group.is_full() || group.now => None,
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => match group.deadline {
                    None => queue.recv().await,
                    Some(deadline) => match tokio::time::timeout_at(deadline, self.shared.urgent.notified()).await {
                        Ok(()) => continue,
                        Err(_) => queue.try_recv().ok(),
                    },
                },
            };
            let closing = match request {
                Some(Request::Append(append)) => {
                    group.bytes += append.messages.iter().map(Message::size).sum::<usize>();
                    group.within(self.options.commit_interval, append.now);
                    group.appends.push(append);
                    continue;
                }
                Some(Request::Settled { now }) => {
                    group.within(self.options.commit_interval, now);
                    continue;
                }
                Some(other) => {
                    // Questions are about what is on disk and must not cost a flush; the rest comes in its turn.
                    if !other.only_asks() && !group.is_empty() {
                        self.commit_group(&mut group);
                    }
                    self.answer(other)
                }
                None if group.is_empty() => Some(None),
                None => {
                    self.commit_group(&mut group);
                    None
                }
            };
            if let Some(done) = closing {
                self.commit_group(&mut group);
                self.shut(done);
                return;
            }
            if self.shared.failed.borrow().is_some() {
                return;
            }
            if std::mem::take(&mut self.behind) {
                group.within(self.options.commit_interval, false);
            }
        }
    }

    fn commit_group(&mut self, group: &mut Group) {
        let Group { appends, .. } = std::mem::take(group);
        /// A disk without room is tried again after this, also when nobody appends: readers wait for their settling.
        const AGAIN: Duration = Duration::from_secs(1);
        match self.commit(appends) {
            Ok(true) => {}
            Ok(false) => group.within(AGAIN, false),
            Err(error) => {
                error!(%error, "the log failed");
                self.shared.fail(error);
            }
        }
    }

    /// `Some` when asked to close.
    fn answer(&mut self, request: Request) -> Option<Option<tokio::sync::oneshot::Sender<()>>> {
        match request {
            Request::Append(_) | Request::Settled { .. } => {}
            Request::Open(name, reply) => drop(reply.send(self.open_reader(name))),
            Request::Forget(name, reply) => drop(reply.send(self.forget_reader(&name))),
            Request::Readers(reply) => drop(reply.send(Ok(self.places.keys().cloned().collect()))),
            Request::TakeGaps(name, reply) => drop(reply.send(self.take_gaps(&name))),
            Request::Told(id) => self.told(id),
            Request::Correct(stamp, reply) => drop(reply.send(self.correct(stamp))),
            Request::Status(reply) => drop(reply.send(self.status())),
            Request::Gaps(most, reply) => drop(reply.send(status::gaps(&self.connection, most).map_err(StoreError::from))),
            Request::Look(look) => look(&self.connection),
            Request::Close(done) => return Some(Some(done)),
        }
        None
    }

    fn open_reader(&mut self, name: String) -> Result<Arc<ReaderShared>, StoreError> {
        if !self.places.contains_key(&name)
            && let Some((of, leaf)) = share::parts(&name)
        {
            self.part(of, leaf)?;
        }
        let mut readers = self.shared.readers();
        // A reader that was dropped left its share here with nobody else holding it.
        if readers.get(&name).is_some_and(|shared| Arc::strong_count(shared) > 1) {
            return Err(StoreError::InUse(name));
        }
        let rows = self.totals.rows;
        if !self.places.contains_key(&name) {
            // What was given up while nobody read is told to the first one who does.
            unless_full(self.connection.execute("UPDATE gap SET reader=? WHERE reader='' AND state=0", [&name]))?;
        }
        let place = self.places.entry(name.clone()).or_insert_with(|| Place::at_the_oldest(rows));
        let shared = Arc::new(ReaderShared::new(&name, place));
        readers.insert(name, shared.clone());
        drop(readers);
        self.commit(Vec::new())?;
        Ok(shared)
    }

    /// A new share begins where its reader stands, and takes what waits there for its leaf along.
    fn part(&mut self, of: &str, leaf: &str) -> Result<(), StoreError> {
        // What is settled in memory comes first, so that the two agree on what waits.
        self.commit(Vec::new())?;
        let rows = self.totals.rows;
        let mut whole = self.places.remove(of).unwrap_or_else(|| Place::at_the_oldest(rows));
        let own = LeafId::new(leaf).map(Leaves::Only).map_err(|error| StoreError::Failed(error.to_string()))?;
        let mut share = Place { settled: 0, ..whole.clone() };
        for class in Class::ALL {
            let waiting = share::waiting(&self.connection, class, whole.lane(class), &own)?;
            let lane = &mut whole.lanes[class as usize];
            lane.waiting = lane.waiting.saturating_sub(waiting);
            share.lanes[class as usize].waiting = waiting;
        }
        let step = self.connection.transaction()?;
        let name = share::name(of, leaf);
        for (name, place) in [(of, &whole), (&name, &share)] {
            crate::commit::write_note(&step, &format!("place {name}"), place)?;
        }
        step.commit()?;
        self.places.extend([(of.to_owned(), whole), (name, share)]);
        Ok(())
    }

    fn forget_reader(&mut self, name: &str) -> Result<u64, StoreError> {
        self.shared.readers().remove(name);
        let waited = self.places.remove(name).map_or(0, |place| place.waiting());
        if !unless_full(self.connection.execute("DELETE FROM note WHERE key = ?", [format!("place {name}")]))? {
            warn!(reader = name, "disk full: its place is forgotten now and again at the next start");
        }
        Ok(waited)
    }

    /// Closes the reader's open gaps and returns all that the hub has not been told of. A gap that still grows waits.
    /// Tells whether there may be more.
    fn take_gaps(&mut self, name: &str) -> Result<(Vec<crate::Gap>, bool), StoreError> {
        /// Gaps told at once.
        const MOST: usize = 256;
        /// A gap that grew less than this ago probably still grows.
        const SETTLE: Duration = Duration::from_secs(1);
        /// A gap that never stops growing is told of all the same, in parts.
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut growing = self.growing.get(name).is_some_and(|(since, grew)| grew.elapsed() < SETTLE && since.elapsed() < PATIENCE);
        if !growing {
            // On a full disk it is told of later; what waits in the log can leave all the same.
            growing = !unless_full(self.connection.execute("UPDATE gap SET state=1 WHERE state=0 AND reader=?", [name]))?;
        }
        if !growing {
            self.growing.remove(name);
        }
        let sql = format!("SELECT {} FROM gap WHERE state=1 AND reader=? ORDER BY id LIMIT {MOST}", gap::COLUMNS);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let gaps = statement.query_map([name], gap::read)?.collect::<Result<Vec<_>, _>>()?;
        let more = growing || gaps.len() == MOST;
        Ok((gaps, more))
    }

    /// The hub knows of this gap. Rows long told of are let go.
    fn told(&mut self, id: i64) {
        let mark = self.connection.execute("UPDATE gap SET state=2 WHERE id=?", [id]);
        let trim = self.connection.execute("DELETE FROM gap WHERE state=2 AND id <= (SELECT max(id) FROM gap) - ?", [gap::KEPT_TOLD]);
        if let Err(error) = mark.and(trim) {
            // It is sent again under the same id after a restart.
            warn!(%error, "cannot note that the hub knows of a gap");
        }
    }

    fn status(&mut self) -> Result<Status, StoreError> {
        Ok(status::read(&self.connection, &self.totals, &self.places, self.options.max_size)?)
    }

    fn shut(&mut self, done: Option<tokio::sync::oneshot::Sender<()>>) {
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            // The WAL holds it all the same.
            warn!(%error, "the last checkpoint failed");
        }
        if let Some(done) = done {
            self.shared.fail(StoreError::Closed);
            done.send(()).ok();
        }
    }
}

/// Whether it was done; a disk without room is no failure.
fn unless_full(done: rusqlite::Result<usize>) -> rusqlite::Result<bool> {
    match done {
        Ok(_) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

struct FailOnDrop(Arc<Shared>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0.fail(StoreError::Failed("the writer ended".into()));
    }
}

/// Totals and places as the last commit left them.
pub(crate) fn load(connection: &Connection) -> Result<(Totals, BTreeMap<String, Place>), StoreError> {
    let (mut totals, mut places) = (Totals { next_seq: 1, ..Totals::default() }, BTreeMap::new());
    let mut statement = connection.prepare("SELECT key, value FROM note")?;
    let mut rows = statement.query([])?;
    let damaged = |key: &str| StoreError::Failed(format!("note '{key}' is damaged"));
    while let Some(row) = rows.next()? {
        let (key, value): (String, String) = (row.get(0)?, row.get(1)?);
        if key == "totals" {
            totals = serde_json::from_str(&value).map_err(|_| damaged(&key))?;
        } else if let Some(name) = key.strip_prefix("place ") {
            places.insert(name.to_owned(), serde_json::from_str(&value).map_err(|_| damaged(&key))?);
        }
    }
    Ok((totals, places))
}
