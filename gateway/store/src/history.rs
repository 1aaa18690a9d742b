//! Reads the log's past, for people and consumers: by place, time and leaf. It settles nothing and holds nothing up.
//!
//! A thread of its own with a read-only connection, so that somebody who looks far back does not slow an upstream down. Each question is
//! bounded in the rows that it looks at; who wants more asks again from where the answer ended. There is no index but the place: a
//! time is found by halving, which is right as long as time rises with the place, and near enough where a clock was set.

use std::{fmt, path::Path};

use rusqlite::{Connection, OptionalExtension};
use tidegate_core::{
    clock::Timestamp,
    id::LeafId,
    message::{Class, Message},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    StoreError,
    feed::{self, Fed, Feed, Start},
    row::{self, Found},
    schema,
};

/// Questions that wait.
const QUESTIONS: usize = 16;
/// Places looked at for one answer: some 50 ms from a slow card.
pub(crate) const SPAN: u64 = 20_000;
/// Bytes of bodies in one answer.
pub(crate) const BYTES: u64 = 4 << 20;

/// Which messages.
#[derive(Debug, Clone)]
pub struct Past {
    /// Of this class.
    pub class: Class,
    /// Of this leaf.
    pub leaf: Option<LeafId>,
    /// Taken at this time or later.
    pub from: Option<Timestamp>,
    /// Taken before this time.
    pub to: Option<Timestamp>,
    /// From this place on (newest first: before it); `None`: from the end that is asked for first.
    pub at: Option<u64>,
    /// The newest first.
    pub newest_first: bool,
    /// At most so many.
    pub most: usize,
}

/// An answer.
#[derive(Debug, Default)]
pub struct Page {
    /// Messages with their places, in the order that was asked for. Damaged rows are left out.
    pub messages: Vec<(u64, Message)>,
    /// Where to go on; `None` when there is nothing more.
    pub next: Option<u64>,
}

enum Question {
    Page(Past, oneshot::Sender<Result<Page, StoreError>>),
    Feed(Feed, oneshot::Sender<Result<Fed, StoreError>>),
    Find(usize, Start, oneshot::Sender<Result<u64, StoreError>>),
}

/// Reads the past. Clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub struct History(mpsc::Sender<Question>);

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

impl History {
    /// Opens the log in this folder, which must be there.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = schema::file(dir);
        let connection = schema::open_reading(&path).map_err(|e| StoreError::open(&path, e))?;
        let (questions, mut queue) = mpsc::channel::<Question>(QUESTIONS);
        std::thread::Builder::new().name("log-history".into()).spawn(move || {
            while let Some(question) = queue.blocking_recv() {
                // The one who asked may have gone.
                match question {
                    Question::Page(past, reply) => drop(reply.send(page(&connection, &past).map_err(StoreError::from))),
                    Question::Feed(feed, reply) => drop(reply.send(feed::feed(&connection, &feed).map_err(StoreError::from))),
                    Question::Find(of, start, reply) => drop(reply.send(feed::find(&connection, of, start))),
                }
            }
        })?;
        Ok(Self(questions))
    }

    /// The next messages.
    pub async fn page(&self, past: Past) -> Result<Page, StoreError> {
        self.ask(|reply| Question::Page(past, reply)).await
    }

    /// The next messages of a partition.
    pub async fn feed(&self, feed: Feed) -> Result<Fed, StoreError> {
        self.ask(|reply| Question::Feed(feed, reply)).await
    }

    /// Where a consumer of a partition begins.
    pub async fn find(&self, partition: usize, start: Start) -> Result<u64, StoreError> {
        self.ask(|reply| Question::Find(partition, start, reply)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Question) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(question(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

pub(crate) fn table(class: Class) -> String {
    format!("message_{}", class as usize)
}

/// First and last place of a class.
pub(crate) fn ends(connection: &Connection, class: Class) -> rusqlite::Result<Option<(u64, u64)>> {
    let sql = format!("SELECT min(seq), max(seq) FROM {}", table(class));
    let (first, last): (Option<i64>, Option<i64>) = connection.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(first.zip(last).map(|(first, last)| (first.unsigned_abs(), last.unsigned_abs())))
}

/// The first place whose message was taken at this time or later, between two places.
fn place_of(connection: &Connection, class: Class, (mut low, mut high): (u64, u64), time: Timestamp) -> rusqlite::Result<u64> {
    let sql = format!("SELECT wall_ms FROM {} WHERE seq >= ? ORDER BY seq LIMIT 1", table(class));
    let mut statement = connection.prepare_cached(&sql)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let wall: Option<i64> = statement.query_row([middle as i64], |row| row.get(0)).optional()?;
        if wall.is_some_and(|wall| wall < time.0) { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

fn page(connection: &Connection, past: &Past) -> rusqlite::Result<Page> {
    let Some((first, last)) = ends(connection, past.class)? else { return Ok(Page::default()) };
    let (mut low, mut end) = (first, last + 1);
    if let Some(from) = past.from {
        low = place_of(connection, past.class, (first, last + 1), from)?;
    }
    if let Some(to) = past.to {
        end = place_of(connection, past.class, (first, last + 1), to)?;
    }
    match past.at {
        Some(at) if past.newest_first => end = end.min(at),
        Some(at) => low = low.max(at),
        None => {}
    }
    if low >= end {
        return Ok(Page::default());
    }
    let (low, end) = match past.newest_first {
        true => (low.max(end.saturating_sub(SPAN)), end),
        false => (low, end.min(low.saturating_add(SPAN))),
    };
    let order = if past.newest_first { "DESC" } else { "ASC" };
    let of_leaf = if past.leaf.is_some() { "AND leaf = ?3" } else { "AND ?3 IS NULL" };
    let sql = format!("SELECT {} FROM {} WHERE seq >= ?1 AND seq < ?2 {of_leaf} ORDER BY seq {order}", row::COLUMNS, table(past.class));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((low as i64, end as i64, past.leaf.as_ref().map(LeafId::as_str)))?;
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = rows.next()? {
        let Found::Message { seq, message, size, .. } = row::read(row, past.class)? else { continue };
        bytes += size;
        if page.messages.len() >= past.most || (bytes > BYTES && !page.messages.is_empty()) {
            page.next = Some(if past.newest_first { seq + 1 } else { seq });
            return Ok(page);
        }
        page.messages.push((seq, *message));
    }
    page.next = match past.newest_first {
        true => (low > first).then_some(low),
        false => (end <= last).then_some(end),
    };
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use tidegate_core::{
        clock::{BootId, HandClock, Stamp, TimeQuality},
        id::MessageId,
        message::{Body, Properties, SystemProperties},
    };

    use super::*;
    use crate::{Log, LogOptions, Urgency};

    fn message(leaf: &str, at: i64) -> Message {
        let wall = Timestamp(at);
        Message {
            id: MessageId::fresh(),
            leaf: LeafId::new(leaf).expect("valid"),
            class: Class::Telemetry,
            taken: Stamp { wall, boot: BootId(1), since_boot_ms: 0, quality: TimeQuality::Synced },
            ttl: None,
            system: SystemProperties::json(),
            properties: Properties::default(),
            body: Body::Untimed(Bytes::from_static(b"{\"t\":1}")),
        }
    }

    fn past() -> Past {
        Past { class: Class::Telemetry, leaf: None, from: None, to: None, at: None, newest_first: false, most: 10 }
    }

    async fn times(history: &History, mut past: Past) -> Vec<i64> {
        let mut found = Vec::new();
        loop {
            let page = history.page(past.clone()).await.expect("readable");
            found.extend(page.messages.iter().map(|(_, message)| message.taken.wall.0));
            match page.next {
                Some(next) => past.at = Some(next),
                None => return found,
            }
        }
    }

    #[tokio::test]
    async fn the_past_is_read_by_leaf_and_time_from_either_end_in_pages() {
        let dir = tempfile::tempdir().expect("a folder");
        let options = LogOptions { max_size: 64 << 20, commit_interval: Duration::from_millis(10), keep_delivered: Duration::ZERO };
        let (log, _) = Log::open(dir.path(), options, HandClock::at(Timestamp(0)) as Arc<_>).expect("opens");
        let history = History::open(dir.path()).expect("opens");
        assert_eq!(times(&history, past()).await, [0; 0]);
        let messages = (0..100).map(|n| message(if n % 2 == 0 { "even" } else { "odd" }, 1_000 + n)).collect();
        log.append(messages, Urgency::Now).await.expect("kept");
        assert_eq!(times(&history, past()).await, (1_000..1_100).collect::<Vec<_>>());
        let newest = Past { newest_first: true, ..past() };
        assert_eq!(times(&history, newest.clone()).await, (1_000..1_100).rev().collect::<Vec<_>>());
        let some = Past { leaf: LeafId::new("odd").ok(), from: Some(Timestamp(1_010)), to: Some(Timestamp(1_020)), ..past() };
        assert_eq!(times(&history, some.clone()).await, [1_011, 1_013, 1_015, 1_017, 1_019]);
        let nothing = Past { from: Some(Timestamp(9_000)), ..newest };
        assert_eq!(times(&history, nothing).await, [0; 0]);
        let other = Past { class: Class::Alert, ..some };
        assert_eq!(times(&history, other).await, [0; 0]);
        log.close().await;
    }
}
