//! One commit: room is made, messages are added, places and totals move, losses are recorded. All of it or none.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
};

use rusqlite::{Connection, TransactionBehavior};
use tidegate_core::{
    clock::{Stamp, TimeQuality},
    message::{Class, Message},
    wire,
};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::{
    StoreError,
    error::{is_damage, is_full},
    gap::{self, GapReason, Loss},
    inbox,
    partition::{Numbered, partition},
    place::{Lane, Place},
    request::{Append, Passed, ReaderShared, Shared},
    room, row, salvage,
    share::{self, Takers},
    writer::{Totals, Writer},
};

/// However full the disk is, the log is not made smaller than this by it.
const LEAST_ROOM: u64 = 256 << 10;

/// What one commit changed, to be told once it is on disk.
struct Outcome {
    totals: Totals,
    places: Vec<(String, Place)>,
    seqs: Vec<(u64, u64)>,
    answers: Vec<Option<inbox::Answer>>,
    heads: [u64; 4],
    bytes: u64,
    evicted: bool,
    lost: u64,
    for_room: u64,
    /// How far each live reader's settling went into this commit.
    durable: Vec<Taken>,
    gap_readers: Vec<String>,
}

/// A live reader's standing as it went into a commit.
struct Taken {
    reader: Arc<ReaderShared>,
    version: u64,
    passed: Passed,
    losses: Vec<Loss>,
}

impl Taken {
    /// The commit did not come about: what it would have recorded waits for the next one.
    fn give_back(self) {
        let mut standing = self.reader.standing();
        self.losses.into_iter().for_each(|loss| gap::push(&mut standing.losses, loss));
    }
}

impl Writer {
    /// Commits the appends with everything that readers have settled. An error means that the promise is lost; a disk without
    /// room is no such error but `false`: who waits is told, and the loss is recorded as soon as that can be done.
    pub(crate) fn commit(&mut self, mut appends: Vec<Append>) -> Result<bool, StoreError> {
        inbox::withdraw(&self.connection, &mut appends)?;
        let losses = std::mem::take(&mut self.unrecorded);
        for attempt in 0..3 {
            match self.attempt(&appends, &losses) {
                Ok(outcome) => {
                    self.told_all(appends, outcome);
                    return Ok(true);
                }
                Err(error) if is_full(&error) && attempt < 2 => self.find_room(attempt)?,
                Err(error) if is_full(&error) => {
                    self.refuse(appends, losses, &error);
                    return Ok(false);
                }
                Err(error) => {
                    if is_damage(&error) {
                        salvage::mark_suspect(&self.dir);
                    }
                    return Err(StoreError::Failed(error.to_string()));
                }
            }
        }
        Ok(false)
    }

    fn attempt(&mut self, appends: &[Append], losses: &[Loss]) -> rusqlite::Result<Outcome> {
        let mut places = self.places.clone();
        let taken = take_standings(&self.shared, &mut places);
        let mut losses = losses.to_vec();
        taken.iter().flat_map(|taken| &taken.losses).for_each(|loss| gap::push(&mut losses, loss.clone()));
        match self.write(appends, places, losses) {
            Ok(outcome) => Ok(Outcome { durable: taken, ..outcome }),
            Err(error) => {
                taken.into_iter().for_each(Taken::give_back);
                Err(error)
            }
        }
    }

    fn write(&mut self, appends: &[Append], mut places: BTreeMap<String, Place>, mut losses: Vec<Loss>) -> rusqlite::Result<Outcome> {
        let mut totals = self.totals.clone();
        let shared = self.shared.clone();
        let now = shared.clock.now();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seqs = append_all(&transaction, appends, now, &mut totals, &mut places)?;
        let answers = inbox::apply(&transaction, appends, now, shared.waits_for_time(now))?;
        let mut room =
            room::Room { connection: &transaction, totals: &mut totals, places: &mut places, losses: &mut losses, shared: &shared };
        room.let_go_of_delivered(self.options.keep_delivered, now)?;
        let evicted = room.make(self.limit)?;
        let lost: u64 = losses.iter().map(|loss| loss.count).sum();
        let for_room = losses.iter().filter(|loss| loss.reason == GapReason::Room).map(|loss| loss.count).sum();
        totals.given_up += lost;
        for loss in &losses {
            gap::record(&transaction, loss)?;
        }
        write_notes(&transaction, (&self.totals, &totals), (&self.places, &places))?;
        room::give_back_pages(&transaction)?;
        transaction.commit()?;
        let mut heads = *shared.heads.borrow();
        appends.iter().flat_map(|a| &a.messages).for_each(|m| heads[m.class as usize] = totals.next_seq);
        let bytes = appends.iter().flat_map(|a| &a.messages).map(|m| m.size() as u64).sum();
        let gap_readers = losses.into_iter().map(|loss| loss.reader).collect();
        let places = places.into_iter().collect();
        Ok(Outcome { totals, places, seqs, answers, heads, bytes, evicted, lost, for_room, durable: Vec::new(), gap_readers })
    }

    fn told_all(&mut self, appends: Vec<Append>, outcome: Outcome) {
        let shared = self.shared.clone();
        self.totals = outcome.totals;
        self.places = outcome.places.into_iter().collect();
        self.ballast.lay_again();
        if outcome.evicted {
            shared.evictions.fetch_add(1, Release);
        }
        let tally = &shared.tally;
        let count: usize = appends.iter().map(|a| a.messages.len()).sum();
        tally.appended.fetch_add(count as u64, Relaxed);
        tally.appended_bytes.fetch_add(outcome.bytes, Relaxed);
        tally.commits.fetch_add(1, Relaxed);
        tally.given_up.fetch_add(outcome.lost, Relaxed);
        tally.evicted.fetch_add(outcome.for_room, Relaxed);
        for taken in outcome.durable {
            let mut standing = taken.reader.standing();
            tally.settled.fetch_add(taken.passed.delivered - standing.committed.delivered, Relaxed);
            (standing.committed, standing.committed_version) = (taken.passed, taken.version);
            // It went on while the commit ran, and its request may have been answered by this one.
            self.behind |= standing.version != taken.version;
            drop(standing);
            taken.reader.durable.store(taken.passed.rows.iter().sum(), Release);
            taken.reader.bell.notify_one();
        }
        shared.time_floor.store(self.totals.time_floor, Release);
        self.tell_of_gaps(outcome.gap_readers.into_iter());
        // Before anybody who waits is told, so that a reader never knows less than they do.
        if count > 0 {
            shared.heads.send_replace(outcome.heads);
            self.ring_shares(&appends);
        }
        for ((append, seqs), answer) in appends.into_iter().zip(outcome.seqs).zip(outcome.answers) {
            if let Some(receipt) = append.receipt {
                receipt.sign();
            }
            if let Some(done) = append.done {
                done.send(Ok(seqs)).ok();
            }
            if let (Some(told), Some(answer)) = (append.told, answer) {
                told.send(Ok(answer)).ok();
            }
        }
    }

    /// Shares do not look at every commit: there may be hundreds, and most commits are not for them.
    fn ring_shares(&self, appends: &[Append]) {
        let readers = self.shared.readers();
        if !readers.keys().any(|name| share::parts(name).is_some()) {
            return;
        }
        let takers = Takers::among(&self.places);
        for message in appends.iter().flat_map(|append| &append.messages) {
            for name in takers.of(message.leaf.as_str(), |share| self.places.contains_key(share)) {
                if let Some(reader) = readers.get(&name) {
                    reader.bell.notify_one();
                }
            }
        }
    }

    /// The ledger has something new for these readers.
    fn tell_of_gaps(&mut self, names: impl Iterator<Item = String>) {
        let now = Instant::now();
        for name in names {
            if let Some(reader) = self.shared.readers().get(&name) {
                reader.gaps.store(true, Release);
                reader.bell.notify_one();
            }
            self.growing.entry(name).or_insert((now, now)).1 = now;
        }
    }

    /// The disk is full for our own transaction. The ballast goes, so that something can be written at all; then an eighth of
    /// what is kept, and from now on the log takes no more than it has: the disk will not have grown.
    fn find_room(&mut self, attempt: u32) -> Result<(), StoreError> {
        self.leave_evictions();
        self.ballast.throw_off();
        warn!(attempt, "disk full: making room");
        let target = self.totals.bytes() - self.totals.bytes() / 8;
        let freed = self.checkpoint().and_then(|()| self.shrink_to(target)).and_then(|()| self.checkpoint());
        match freed {
            Ok(()) => self.limit = self.limit.min(target.max(LEAST_ROOM)),
            Err(error) => warn!(%error, "disk full, and no row can be given up either"),
        }
        Ok(())
    }

    /// Copies the WAL into the database, and gives the file's free pages back to the disk.
    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA incremental_vacuum(4096)")?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Gives up rows until at most `target` bytes are kept, in a transaction of its own.
    fn shrink_to(&mut self, target: u64) -> rusqlite::Result<()> {
        let (mut totals, mut places, mut losses) = (self.totals.clone(), self.places.clone(), Vec::new());
        let shared = self.shared.clone();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut room =
            room::Room { connection: &transaction, totals: &mut totals, places: &mut places, losses: &mut losses, shared: &shared };
        room.make(target)?;
        let lost: u64 = losses.iter().map(|loss| loss.count).sum();
        totals.given_up += lost;
        for loss in &losses {
            gap::record(&transaction, loss)?;
        }
        write_notes(&transaction, (&self.totals, &totals), (&self.places, &places))?;
        transaction.commit()?;
        (self.totals, self.places) = (totals, places);
        self.shared.tally.given_up.fetch_add(lost, Relaxed);
        self.shared.tally.evicted.fetch_add(lost, Relaxed);
        self.tell_of_gaps(losses.into_iter().map(|loss| loss.reader));
        self.leave_evictions();
        Ok(())
    }

    /// An attempt that gave rows up has ended, one way or the other: the count is even again.
    fn leave_evictions(&self) {
        if !self.shared.evictions.load(Relaxed).is_multiple_of(2) {
            self.shared.evictions.fetch_add(1, Release);
        }
    }

    /// Nothing can be written. Whoever waits is told so; what nobody waits for is counted as soon as the disk takes it.
    fn refuse(&mut self, appends: Vec<Append>, losses: Vec<Loss>, error: &rusqlite::Error) {
        self.leave_evictions();
        self.shared.tally.refused.fetch_add(1, Relaxed);
        self.unrecorded = losses;
        let mut dropped = 0;
        for append in appends {
            let waits = append.receipt.is_some() || append.done.is_some() || append.told.is_some();
            if let Some(told) = append.told {
                told.send(Err(StoreError::Full(error.to_string()))).ok();
            }
            if let Some(done) = append.done {
                done.send(Err(StoreError::Full(error.to_string()))).ok();
            }
            if !waits {
                dropped += append.messages.len();
                self.count_unkept(&append.messages);
            }
        }
        error!(%error, dropped, "disk full: nothing could be kept");
    }

    fn count_unkept(&mut self, messages: &[Message]) {
        let (takers, seq) = (Takers::among(&self.places), self.totals.next_seq);
        for message in messages {
            if self.places.is_empty() {
                gap::push(&mut self.unrecorded, loss("", message, seq));
            }
            for reader in takers.of(message.leaf.as_str(), |share| self.places.contains_key(share)) {
                gap::push(&mut self.unrecorded, loss(&reader, message, seq));
            }
        }
    }

    /// Corrects the times of one boot, a bounded number of rows at a time.
    pub(crate) fn correct(&mut self, trusted: Stamp) -> Result<u64, StoreError> {
        /// Rows in one transaction.
        const CHUNK: u64 = 5_000;
        inbox::correct(&self.connection, trusted)?;
        let Some(mut from) = self.totals.unsynced_from else { return Ok(0) };
        let (mut corrected, end) = (0, self.totals.next_seq);
        let offset = trusted.wall.0 - trusted.since_boot_ms as i64;
        while from < end {
            let step = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for table in Class::ALL.into_iter().flat_map(|class| [row::table(class, 0), row::table(class, 1)]) {
                let sql = format!(
                    "UPDATE {table} SET wall_ms = since_boot_ms + ?, unsynced = 0 WHERE seq >= ? AND seq < ? AND unsynced = 1 AND boot = ?"
                );
                corrected +=
                    step.prepare_cached(&sql)?.execute((offset, from as i64, (from + CHUNK) as i64, trusted.boot.0 as i64))? as u64;
            }
            from += CHUNK;
            let mut totals = self.totals.clone();
            totals.unsynced_from = (from < end).then_some(from);
            totals.time_floor = totals.time_floor.max(trusted.wall.0);
            write_note(&step, "totals", &totals)?;
            step.commit()?;
            self.totals = totals;
        }
        Ok(corrected)
    }
}

/// Takes along what live readers have settled since the last commit.
fn take_standings(shared: &Shared, places: &mut BTreeMap<String, Place>) -> Vec<Taken> {
    let mut all = Vec::new();
    for (name, reader) in shared.readers().iter() {
        let mut standing = reader.standing();
        let changed = standing.version != standing.committed_version;
        let Some(place) = places.get_mut(name).filter(|_| changed) else { continue };
        for (class, lane) in place.lanes.iter_mut().enumerate() {
            let passed = standing.passed.rows[class] - standing.committed.rows[class];
            *lane = Lane { spans: standing.spans[class].clone(), waiting: lane.waiting.saturating_sub(passed) };
        }
        place.settled += standing.passed.delivered - standing.committed.delivered;
        let losses = std::mem::take(&mut standing.losses);
        all.push(Taken { reader: reader.clone(), version: standing.version, passed: standing.passed, losses });
    }
    all
}

fn loss(reader: &str, message: &Message, seq: u64) -> Loss {
    Loss {
        reader: reader.to_owned(),
        leaf: message.leaf.clone(),
        class: message.class,
        reason: GapReason::Room,
        count: 1,
        seqs: (seq, seq),
        times: (message.taken.wall, message.taken.wall),
    }
}

/// Adds the messages, each at the next seq. A time that is known by now is corrected on the way in.
fn append_all(
    connection: &Connection,
    appends: &[Append],
    now: Stamp,
    totals: &mut Totals,
    places: &mut BTreeMap<String, Place>,
) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut statements = Vec::with_capacity(Class::ALL.len());
    for class in Class::ALL {
        statements.push(connection.prepare_cached(&row::insert(class, totals.halves[class as usize].newer))?);
    }
    let (mut seqs, takers) = (Vec::with_capacity(appends.len()), Takers::among(places));
    for append in appends {
        let first = totals.next_seq;
        for message in &append.messages {
            let (seq, class) = (totals.next_seq, message.class as usize);
            totals.next_seq += 1;
            let properties = wire::properties_to_text(&message.system, &message.properties);
            let taken = message.taken.corrected_by(&now).unwrap_or(message.taken);
            let partition = partition(message.leaf.as_str());
            let number = Numbered::new(partition, totals.numbers[partition]);
            totals.numbers[partition] += 1;
            row::write(&mut statements[class], seq, message, taken, &properties, Some(number))?;
            totals.rows[class] += 1;
            totals.bytes[class] += row::size(message, &properties);
            takers.each(message.leaf.as_str(), places, |_, place| place.lanes[class].waiting += 1);
            match taken.quality {
                TimeQuality::Unsynced => _ = totals.unsynced_from.get_or_insert(seq),
                TimeQuality::Synced => totals.time_floor = totals.time_floor.max(taken.wall.0),
            }
        }
        seqs.push((first, totals.next_seq.saturating_sub(1).max(first)));
    }
    Ok(seqs)
}

fn write_notes(
    connection: &Connection,
    totals: (&Totals, &Totals),
    places: (&BTreeMap<String, Place>, &BTreeMap<String, Place>),
) -> rusqlite::Result<()> {
    if totals.0 != totals.1 {
        write_note(connection, "totals", totals.1)?;
    }
    for (name, place) in places.1 {
        if places.0.get(name) != Some(place) {
            write_note(connection, &format!("place {name}"), place)?;
        }
    }
    Ok(())
}

pub(crate) fn write_note<T: serde::Serialize>(connection: &Connection, key: &str, value: &T) -> rusqlite::Result<()> {
    let text = serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    connection
        .prepare_cached("INSERT INTO note (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")?
        .execute((key, text))?;
    Ok(())
}
