//! Devices that are connected to: read on a schedule, listened to, written.
//!
//! Promises: each device has a task of its own, so a device that is slow or away delays no other and no advertisement; never more
//! connections at once than the radio has slots, given out in the order in which they were asked for; a connection that is not held is
//! given back after each turn; a device is bad only after [`ATTEMPTS`] attempts have failed, because single ones fail all the time; a write is
//! `done` only when the new value was read back, `sent` when it was acknowledged or cannot be, `uncertain` when the connection ended in between.
//!
//! Bounded: one queue of news for all, one of jobs for each device, a limit on each step. Nothing outlives a restart but the bond, which BlueZ keeps.

mod link;
mod peer;
mod uuid;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidegate_core::{
    adapter::Miss,
    clock::{Clock, Stamp},
    command::Outcome,
    id::PointName,
    reading::Value,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use super::{check::Sensor, decode::Field, host::Host};
use crate::value::Piece;

use link::Link;
pub(super) use peer::{AddressType, Peer, Why};
pub(super) use uuid::Uuid;

/// Attempts that fail before a device is said not to be there. Connections fail now and then without a reason that anybody could name.
pub(super) const ATTEMPTS: u32 = 3;
/// News that wait for the next read of the adapter; a device whose news find no room waits.
const NEWS: usize = 256;
/// Commands that wait for one device.
const JOBS: usize = 8;

/// How a device is connected to.
#[derive(Debug, Clone)]
pub(super) struct Gatt {
    pub(super) kind: Option<AddressType>,
    /// How often its characteristics are read.
    pub(super) every: Duration,
    /// Whether the connection stays between two reads.
    pub(super) hold: bool,
    pub(super) bond: bool,
    pub(super) passkey_file: Option<PathBuf>,
}

/// A value in a characteristic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Characteristic {
    pub(super) service: Option<Uuid>,
    pub(super) uuid: Uuid,
    pub(super) piece: Piece,
    /// The device says new values by itself.
    pub(super) notify: bool,
    /// Whether a write is acknowledged by the device; `None` for as it can.
    pub(super) acknowledged: Option<bool>,
    pub(super) read_back: bool,
}

/// What a device's task tells.
#[derive(Debug)]
pub(super) enum News {
    /// New values of the sensor at this place.
    Values(usize, Vec<Field>, Stamp),
    /// Nothing came of it.
    Missed(Miss),
    /// It is connected, or is not any more.
    Linked(usize, bool),
}

/// One point as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) point: PointName,
    pub(super) value: Result<Value, Why>,
    /// The characteristic's bytes.
    pub(super) raw: Vec<u8>,
    /// What was asked.
    pub(super) request: String,
    pub(super) took: Duration,
}

/// What a device's task is asked to do out of its turn.
#[derive(Debug)]
pub(super) enum Job {
    /// Write these, in this order.
    Write(Vec<(PointName, Value)>, oneshot::Sender<Outcome>),
    /// Read these now; empty for all.
    Read(Vec<PointName>, oneshot::Sender<Result<Vec<Seen>, Why>>),
}

/// The tasks of all devices that are connected to. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Links {
    jobs: Vec<Option<mpsc::Sender<Job>>>,
    pub(super) news: mpsc::Receiver<News>,
    tasks: JoinSet<()>,
}

impl Links {
    /// Begins to connect to those sensors that have characteristics.
    pub(super) fn start(host: &Host, sensors: &[Arc<Sensor>], connections: usize, clock: &Arc<dyn Clock>) -> Self {
        let (tell, news) = mpsc::channel(NEWS);
        let slots = Arc::new(Semaphore::new(connections));
        let (mut jobs, mut tasks) = (Vec::with_capacity(sensors.len()), JoinSet::new());
        for (at, sensor) in sensors.iter().enumerate() {
            let Some(gatt) = sensor.gatt.clone() else {
                jobs.push(None);
                continue;
            };
            let (job, waiting) = mpsc::channel(JOBS);
            jobs.push(Some(job));
            tasks.spawn(Link::new(host.clone(), at, sensor.clone(), gatt, slots.clone(), tell.clone(), waiting, clock.clone()).run());
        }
        Self { jobs, news, tasks }
    }

    /// Whom to ask about the sensor at this place; `None` for one that only advertises.
    pub(super) fn job(&self, at: usize) -> Option<mpsc::Sender<Job>> {
        self.jobs.get(at)?.clone()
    }

    /// Lets all devices go, in bounded time.
    pub(super) async fn close(&mut self) {
        self.jobs.clear();
        // A task that is told so hangs up; one that is in the middle of a step ends with it.
        self.news.close();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(peer::EXCHANGE, ended).await.ok();
        self.tasks.abort_all();
    }
}
