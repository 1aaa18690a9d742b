//! One device's C2D messages while they are on their way to it: who has been given what, and until when it is theirs.
//!
//! What waits is in the records; locks are here, in memory, and end with the session. A message that is not settled within
//! [`LOCK`] is free again, its delivery count unchanged (reference §3.2). Nothing here looks at the clock.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_core::{
    c2d::{C2d, LOCK, MAX_DEPTH, Settled, Settlement},
    clock::{Stamp, TimeQuality},
    dialect::identity::Identity,
};

use crate::records::{Kept, Records};

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counted.
    Settled(Settled),
    /// The lock had run out before, so it did not (412002 DeviceMessageLockLost).
    LockLost,
}

/// The queue of one device, as its session sees it.
#[derive(Debug)]
pub struct Queue {
    records: Arc<dyn Records>,
    identity: Identity,
    most_deliveries: u32,
    /// Until when (milliseconds since boot) each message given out is locked.
    locks: BTreeMap<i64, u64>,
    /// Below this nothing waits that is not locked, so the next look begins here.
    from: i64,
}

impl Queue {
    /// With nothing given out.
    pub fn new(records: Arc<dyn Records>, identity: Identity, most_deliveries: u32) -> Self {
        Self { records, identity, most_deliveries, locks: BTreeMap::new(), from: 0 }
    }

    /// Gives out what waits, oldest first, at most so many, and locks it.
    pub async fn deliver(&mut self, now: Stamp, most: usize) -> Kept<Vec<C2d>> {
        let mut given = Vec::new();
        for message in self.records.c2d_after(&self.identity, self.from, MAX_DEPTH).await? {
            if given.len() == most {
                return Ok(given);
            }
            self.from = message.id;
            // An expiry cannot be judged by a clock that nobody believes.
            let expired = now.quality == TimeQuality::Synced && message.expires <= now.wall;
            if !expired && !self.locks.contains_key(&message.id) {
                self.locks.insert(message.id, now.since_boot_ms + LOCK.as_millis() as u64);
                given.push(message);
            }
        }
        Ok(given)
    }

    /// Frees what was not settled in time. Returns the ids that are free again.
    pub fn release(&mut self, now: Stamp) -> Vec<i64> {
        let free: Vec<i64> = self.locks.iter().filter(|(_, until)| **until <= now.since_boot_ms).map(|(id, _)| *id).collect();
        for id in &free {
            self.give_back(*id);
        }
        free
    }

    /// Frees one that cannot be delivered after all.
    pub fn give_back(&mut self, id: i64) {
        if self.locks.remove(&id).is_some() {
            self.from = self.from.min(id - 1);
        }
    }

    /// When the next lock runs out, in milliseconds since boot.
    pub fn next_release(&self) -> Option<u64> {
        self.locks.values().min().copied()
    }

    /// What the device says about messages that it was given. One verdict for each.
    pub async fn settle(&mut self, ids: &[i64], what: Settlement, now: Stamp) -> Kept<Vec<Verdict>> {
        self.release(now);
        let held: Vec<i64> = ids.iter().copied().filter(|id| self.locks.contains_key(id)).collect();
        if held.is_empty() {
            return Ok(vec![Verdict::LockLost; ids.len()]);
        }
        let settled = self.records.settle_c2d(&self.identity, held.clone(), what, self.most_deliveries, now.wall).await?;
        let settled: BTreeMap<i64, Settled> = held.into_iter().zip(settled).collect();
        for (id, what) in &settled {
            match what {
                Settled::Enqueued { .. } => self.give_back(*id),
                _ => drop(self.locks.remove(id)),
            }
        }
        Ok(ids.iter().map(|id| settled.get(id).map_or(Verdict::LockLost, |settled| Verdict::Settled(*settled))).collect())
    }
}
