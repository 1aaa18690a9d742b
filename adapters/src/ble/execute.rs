//! Commands to devices that are connected to; meanwhile the radio is listened to as ever.

use std::time::Duration;

use tidegate_core::{
    adapter::Harvest,
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    reading::{Reason, Value},
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Ble, MOST_MISSES,
    check::{Point, Source},
    gatt::{Job, Seen, Why},
    told,
};

/// Well below the time after which the watchdog takes an adapter for dead.
pub(super) const COMMAND: Duration = Duration::from_secs(90);

/// What a device's task will answer.
type Reads = oneshot::Receiver<Result<Vec<Seen>, Why>>;

enum Waited<T> {
    Said(T),
    Gone,
    TooLong,
}

impl Ble {
    pub(super) async fn carry_out(&mut self, command: &Command) -> Outcome {
        let Some(at) = self.leaves.iter().position(|leaf| leaf.sensor.id == command.leaf) else {
            return Outcome::Rejected(format!("no device '{}' on this radio", command.leaf));
        };
        match &command.action {
            Action::Write(wanted) => self.write(at, wanted.clone()).await,
            Action::Read(names) => match self.readable(at, &command.leaf, names) {
                Ok(names) => self.read_now(at, names).await,
                Err(why) => Outcome::Rejected(why),
            },
            _ => Outcome::Rejected("a Bluetooth sensor takes points, and nothing else".to_owned()),
        }
    }

    /// The points that are read; a sensor cannot be asked for what it advertises.
    fn readable(&self, at: usize, leaf: &LeafId, names: &[PointName]) -> Result<Vec<PointName>, String> {
        let points = self.leaves.get(at).map(|leaf| leaf.sensor.points.as_slice()).unwrap_or_default();
        let can = |point: &&Point| matches!(point.source, Source::Characteristic(_));
        for name in names {
            match points.iter().find(|point| point.name == *name) {
                None => return Err(format!("'{leaf}' has no point '{name}'")),
                Some(point) if !can(&point) => {
                    return Err(format!("'{name}' is advertised, and cannot be asked for: the sensor speaks when it likes"));
                }
                Some(_) => {}
            }
        }
        let all: Vec<_> = points.iter().filter(can).map(|point| point.name.clone()).collect();
        match (names.is_empty(), all.is_empty()) {
            (true, true) => Err("a sensor that advertises cannot be asked; it speaks when it likes".to_owned()),
            (true, false) => Ok(all),
            (false, _) => Ok(names.to_vec()),
        }
    }

    /// Nothing that a person or a hub asks for holds up the radio longer than this.
    fn limit() -> Instant {
        Instant::now() + COMMAND
    }

    async fn write(&mut self, at: usize, wanted: Vec<(PointName, Value)>) -> Outcome {
        let (reply, said) = oneshot::channel();
        match self.ask(at, Job::Write(wanted, reply)) {
            Ok(()) => match self.wait_for(said, Self::limit()).await {
                Waited::Said(outcome) => outcome,
                Waited::Gone => Outcome::Uncertain("the connection to it ended".to_owned()),
                Waited::TooLong => Outcome::Uncertain(format!("nothing came of it within {} s", COMMAND.as_secs())),
            },
            Err(why) => Outcome::Rejected(why),
        }
    }

    async fn read_now(&mut self, at: usize, names: Vec<PointName>) -> Outcome {
        let asked = self.ask_for(at, names);
        match self.seen(asked, Self::limit()).await {
            Err(why) => Outcome::Failed(why.detail),
            Ok(seen) => match seen.iter().find_map(|seen| seen.value.as_ref().err()) {
                Some(why) => Outcome::Failed(why.detail.clone()),
                None => Outcome::Done(seen.into_iter().filter_map(|seen| Some((seen.point, seen.value.ok()?))).collect()),
            },
        }
    }

    /// Begins to read these points of a device.
    pub(super) fn ask_for(&self, at: usize, names: Vec<PointName>) -> Result<Reads, Why> {
        let (reply, said) = oneshot::channel();
        self.ask(at, Job::Read(names, reply)).map_err(|detail| Why { reason: Reason::Other("busy"), detail })?;
        Ok(said)
    }

    /// What was read.
    pub(super) async fn seen(&mut self, asked: Result<Reads, Why>, until: Instant) -> Result<Vec<Seen>, Why> {
        match self.wait_for(asked?, until).await {
            Waited::Said(seen) => seen,
            Waited::Gone => Err(Why { reason: Reason::BusDown, detail: "the connection to it ended".to_owned() }),
            Waited::TooLong => Err(Why { reason: Reason::Timeout, detail: format!("nothing came of it within {} s", COMMAND.as_secs()) }),
        }
    }

    fn ask(&self, at: usize, job: Job) -> Result<(), String> {
        let Some(queue) = self.links.as_ref().and_then(|links| links.job(at)) else {
            return Err("a sensor that advertises takes no commands".to_owned());
        };
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => "too many commands wait for it".to_owned(),
            TrySendError::Closed(_) => "the radio is not there".to_owned(),
        })
    }

    /// Goes on listening until the answer is there, or it has been waited for long enough.
    async fn wait_for<T>(&mut self, mut said: oneshot::Receiver<T>, until: Instant) -> Waited<T> {
        loop {
            let mut harvest = Harvest::default();
            tokio::select! {
                biased;
                said = &mut said => return said.map_or(Waited::Gone, Waited::Said),
                () = sleep_until(until) => return Waited::TooLong,
                news = told(&mut self.links) => self.learn(news, &mut harvest),
                heard = self.radio.hear(), if self.next.is_none() => match heard {
                    Ok(advert) if !self.leaf_of(&advert).is_some_and(|leaf| leaf.holds_event()) => self.take(advert, &mut harvest),
                    // An event, or the end of the radio, is for the next read.
                    other => self.next = Some(other),
                },
            }
            self.misses.extend(harvest.misses);
            self.misses.truncate(MOST_MISSES);
        }
    }
}
