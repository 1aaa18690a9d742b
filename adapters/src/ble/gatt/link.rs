//! The task of one device: when it is connected to, what is read then, what is written, and when it is let go.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    adapter::Miss,
    backoff::Backoff,
    clock::Clock,
    command::Outcome,
    id::PointName,
    reading::{Reason, Value},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info};

use super::{ATTEMPTS, Characteristic, Gatt, Job, News, Peer, Seen, Why, peer::Place};
use crate::ble::{
    check::{Point, Sensor, Source},
    decode::Field,
    host::{Host, Signal, Trouble},
};

/// A command waits so long for a connection to become free.
const SLOT: Duration = Duration::from_secs(20);
/// Pauses between attempts that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub(super) struct Link {
    host: Host,
    at: usize,
    sensor: Arc<Sensor>,
    gatt: Gatt,
    slots: Arc<Semaphore>,
    news: mpsc::Sender<News>,
    jobs: mpsc::Receiver<Job>,
    clock: Arc<dyn Clock>,
    failures: u32,
    backoff: Backoff,
    /// When it is connected to, or read, next.
    due: Instant,
}

/// Whom the news go to is not there any more.
struct Over;

impl Link {
    #[allow(clippy::too_many_arguments, reason = "made in one place")]
    pub(super) fn new(
        host: Host,
        at: usize,
        sensor: Arc<Sensor>,
        gatt: Gatt,
        slots: Arc<Semaphore>,
        news: mpsc::Sender<News>,
        jobs: mpsc::Receiver<Job>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self { host, at, sensor, gatt, slots, news, jobs, clock, failures: 0, backoff, due: Instant::now() }
    }

    pub(super) async fn run(mut self) {
        while self.turn().await.is_ok() {}
        debug!(leaf = %self.sensor.id, "no longer connected to");
    }

    /// Waits until there is something to do, and does it.
    async fn turn(&mut self) -> Result<(), Over> {
        let job = tokio::select! {
            job = self.jobs.recv() => Some(job.ok_or(Over)?),
            () = sleep_until(self.due) => None,
        };
        let slot = match self.slot(job.is_some()).await? {
            Some(slot) => slot,
            None => {
                let why = Why::new(Reason::Other("busy"), "all connections of this radio are in use: see `connections`");
                job.into_iter().for_each(|job| refuse(job, &why));
                return Ok(());
            }
        };
        let asked = job.is_some();
        let mut met = self.meet().await;
        if asked && met.is_err() {
            // Nothing has been done yet, and single attempts fail all the time.
            met = self.meet().await;
        }
        let ended = match met {
            Ok(mut peer) => {
                let ended = match self.tell(News::Linked(self.at, true)).await {
                    Ok(()) => self.session(&mut peer, job).await,
                    Err(over) => Err(over),
                };
                peer.leave().await;
                self.tell(News::Linked(self.at, false)).await?;
                ended?
            }
            Err(why) => {
                job.into_iter().for_each(|job| refuse(job, &why));
                Err(why)
            }
        };
        drop(slot);
        match ended {
            // A command that came to nothing says so itself.
            Err(_) if asked && !self.gatt.hold && self.due > Instant::now() => Ok(()),
            Err(why) => self.failed(why).await,
            Ok(()) => Ok(()),
        }
    }

    /// `None`: none became free in time for a command.
    async fn slot(&self, asked: bool) -> Result<Option<OwnedSemaphorePermit>, Over> {
        let wait = if asked { SLOT } else { Duration::from_secs(u64::from(u32::MAX)) };
        tokio::select! {
            got = timeout(wait, self.slots.clone().acquire_owned()) => match got {
                Ok(slot) => slot.map(Some).map_err(|_| Over),
                Err(_) => Ok(None),
            },
            () = self.news.closed() => Err(Over),
        }
    }

    async fn meet(&self) -> Result<Peer, Why> {
        let peer = Peer::connect(&self.host, self.sensor.address, self.gatt.kind).await?;
        if self.gatt.bond {
            match peer.bond().await {
                Ok(true) => info!(leaf = %self.sensor.id, "paired"),
                Ok(false) => {}
                Err(why) => {
                    peer.leave().await;
                    return Err(why);
                }
            }
        }
        Ok(peer)
    }

    /// While it is connected. The inner error: the connection is of no use any more.
    async fn session(&mut self, peer: &mut Peer, mut job: Option<Job>) -> Result<Result<(), Why>, Over> {
        if let Err(why) = self.subscribe(peer).await? {
            job.into_iter().for_each(|job| refuse(job, &why));
            return Ok(Err(why));
        }
        loop {
            match job.take() {
                // Nobody waits for it any more, and was told so.
                Some(Job::Write(_, reply)) if reply.is_closed() => {}
                Some(Job::Write(wanted, reply)) => {
                    let outcome = self.write(peer, &wanted).await;
                    let ended = matches!(outcome, Outcome::Uncertain(_));
                    reply.send(outcome).ok();
                    if ended && !self.gatt.hold {
                        // The next one gets a connection that is known to work.
                        return Ok(Ok(()));
                    }
                }
                Some(Job::Read(names, reply)) => {
                    let seen = self.read(peer, |point| names.is_empty() || names.contains(&point.name)).await;
                    self.answer(seen, reply).await?;
                }
                None => {}
            }
            if self.due <= Instant::now() {
                if let Err(why) = self.poll(peer).await? {
                    return Ok(Err(why));
                }
                self.due = Instant::now() + self.gatt.every;
            }
            if self.gatt.hold {
                tokio::select! {
                    next = self.jobs.recv() => job = Some(next.ok_or(Over)?),
                    signal = peer.signal() => match signal {
                        Some(Signal::Value(path, bytes)) => self.notified(peer, &path, &bytes).await?,
                        Some(Signal::Connected(false)) | None => return Ok(Err(peer.hung_up())),
                        Some(_) => {}
                    },
                    () = sleep_until(self.due) => {}
                }
            } else {
                match self.jobs.try_recv() {
                    Ok(next) => job = Some(next),
                    Err(mpsc::error::TryRecvError::Empty) => return Ok(Ok(())),
                    Err(mpsc::error::TryRecvError::Disconnected) => return Err(Over),
                }
            }
        }
    }

    fn points(&self) -> impl Iterator<Item = (&Point, &Characteristic)> {
        self.sensor.points.iter().filter_map(|point| match &point.source {
            Source::Characteristic(characteristic) => Some((point, characteristic)),
            _ => None,
        })
    }

    async fn tell(&self, news: News) -> Result<(), Over> {
        self.news.send(news).await.map_err(|_| Over)
    }

    async fn values(&mut self, fields: Vec<Field>) -> Result<(), Over> {
        if fields.is_empty() {
            return Ok(());
        }
        self.tell(News::Values(self.at, fields, self.clock.now())).await
    }

    /// A turn, or a word of its own, that came through whole.
    fn works(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }

    async fn missed(&self, points: Vec<PointName>, why: Why) -> Result<(), Over> {
        let miss = Miss { leaf: self.sensor.id.clone(), points, reason: why.reason, detail: why.detail, taken: self.clock.now() };
        self.tell(News::Missed(miss)).await
    }

    async fn failed(&mut self, why: Why) -> Result<(), Over> {
        self.failures = self.failures.saturating_add(1);
        self.due = Instant::now() + self.backoff.pause();
        debug!(leaf = %self.sensor.id, failures = self.failures, why = %why.detail, "not connected");
        if self.failures < ATTEMPTS {
            return Ok(());
        }
        let points = self.points().map(|(point, _)| point.name.clone()).collect();
        let detail = format!("{} ({} attempts)", why.detail, self.failures);
        self.missed(points, Why { detail, ..why }).await
    }

    async fn subscribe(&mut self, peer: &Peer) -> Result<Result<(), Why>, Over> {
        let mut wanted: Vec<(Place, Vec<PointName>)> = Vec::new();
        let mut misses = Vec::new();
        for (point, characteristic) in self.points().filter(|(_, characteristic)| characteristic.notify) {
            match peer.place(characteristic.service, characteristic.uuid) {
                Ok(place) => match wanted.iter_mut().find(|(known, _)| known.path == place.path) {
                    Some((_, names)) => names.push(point.name.clone()),
                    None => wanted.push((place.clone(), vec![point.name.clone()])),
                },
                Err(why) => misses.push((vec![point.name.clone()], why)),
            }
        }
        for (place, names) in wanted {
            match peer.notify(&place.path).await.map_err(|trouble| Why::of("asking for notifications", &trouble)) {
                Ok(()) => {}
                Err(why) if why.reason == Reason::Timeout => return Ok(Err(why)),
                Err(why) => misses.push((names, why)),
            }
        }
        for (names, why) in misses {
            self.missed(names, why).await?;
        }
        Ok(Ok(()))
    }

    async fn notified(&mut self, peer: &Peer, path: &str, bytes: &[u8]) -> Result<(), Over> {
        let (mut fields, mut garbled) = (Vec::new(), Vec::new());
        for (point, characteristic) in self.points().filter(|(_, characteristic)| characteristic.notify) {
            if peer.place(characteristic.service, characteristic.uuid).is_ok_and(|place| place.path == path) {
                match taken_apart(characteristic, bytes) {
                    Ok(value) => fields.push(Field { name: point.source.key(&point.name), value, event: false }),
                    Err(why) => garbled.push((point.name.clone(), why)),
                }
            }
        }
        self.works();
        self.values(fields).await?;
        for (name, why) in garbled {
            self.missed(vec![name], why).await?;
        }
        Ok(())
    }

    /// What is due by the clock: everything that does not come by itself.
    async fn poll(&mut self, peer: &Peer) -> Result<Result<(), Why>, Over> {
        let seen = self.read(peer, |point| matches!(&point.source, Source::Characteristic(it) if !it.notify)).await;
        let broken = seen.iter().find_map(|seen| seen.value.as_ref().err().filter(|why| why.reason == Reason::Timeout)).cloned();
        self.hand_over(seen.iter().filter(|seen| !matches!(&seen.value, Err(why) if why.reason == Reason::Timeout))).await?;
        if broken.is_none() {
            self.works();
        }
        Ok(broken.map_or(Ok(()), Err))
    }

    async fn hand_over(&mut self, seen: impl Iterator<Item = &Seen>) -> Result<(), Over> {
        let (mut fields, mut misses) = (Vec::new(), Vec::new());
        for seen in seen {
            match &seen.value {
                Ok(value) => fields.push(Field { name: Source::gatt_key(&seen.point), value: value.clone(), event: false }),
                Err(why) => misses.push((seen.point.clone(), why.clone())),
            }
        }
        self.values(fields).await?;
        for (name, why) in misses {
            self.missed(vec![name], why).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, seen: Vec<Seen>, reply: oneshot::Sender<Result<Vec<Seen>, Why>>) -> Result<(), Over> {
        self.hand_over(seen.iter().filter(|seen| seen.value.is_ok())).await?;
        reply.send(Ok(seen)).ok();
        Ok(())
    }

    /// Each characteristic once, however many points are in it.
    async fn read(&self, peer: &Peer, wanted: impl Fn(&Point) -> bool) -> Vec<Seen> {
        let mut read: Vec<(String, Result<Vec<u8>, Why>, Duration)> = Vec::new();
        let mut seen = Vec::new();
        for (point, characteristic) in self.points().filter(|(point, _)| wanted(point)) {
            let request = format!("read characteristic {} of {}", characteristic.uuid, self.sensor.address);
            let nothing = |why: &Why, took| Seen {
                point: point.name.clone(),
                value: Err(why.clone()),
                raw: Vec::new(),
                request: request.clone(),
                took,
            };
            let place = match peer.place(characteristic.service, characteristic.uuid) {
                Ok(place) => place,
                Err(why) => {
                    seen.push(nothing(&why, Duration::ZERO));
                    continue;
                }
            };
            if !read.iter().any(|(path, ..)| *path == place.path) {
                let start = Instant::now();
                let bytes = peer.read(&place.path).await.map_err(|trouble| Why::of(&request, &trouble));
                read.push((place.path.clone(), bytes, start.elapsed()));
            }
            let Some((_, bytes, took)) = read.iter().find(|(path, ..)| *path == place.path) else { continue };
            seen.push(match bytes {
                Ok(raw) => {
                    let value = taken_apart(characteristic, raw);
                    Seen { point: point.name.clone(), value, raw: raw.clone(), request, took: *took }
                }
                Err(why) => nothing(why, *took),
            });
        }
        seen
    }

    async fn write(&self, peer: &Peer, wanted: &[(PointName, Value)]) -> Outcome {
        // Everything that can be known before is, so that a command passes whole or not at all.
        let mut steps = Vec::with_capacity(wanted.len());
        for (name, value) in wanted {
            let Some((_, characteristic)) = self.points().find(|(point, _)| point.name == *name) else {
                return Outcome::Rejected(format!("'{}' has no point '{name}' that can be written", self.sensor.id));
            };
            let place = match peer.place(characteristic.service, characteristic.uuid) {
                Ok(place) => place,
                Err(why) => return Outcome::Rejected(format!("{name}: {}", why.detail)),
            };
            let acknowledged = characteristic.acknowledged.unwrap_or_else(|| place.can("write"));
            if !place.can(if acknowledged { "write" } else { "write-without-response" }) {
                return Outcome::Rejected(format!("{name}: characteristic {} cannot be written so", characteristic.uuid));
            }
            let Some(bytes) = characteristic.piece.write(value) else {
                return Outcome::Rejected(format!("{name}: {value} does not fit into characteristic {}", characteristic.uuid));
            };
            steps.push((name, characteristic, place, bytes, acknowledged));
        }
        let (mut done, mut all_seen) = (Vec::new(), true);
        for (written, (name, characteristic, place, bytes, acknowledged)) in steps.into_iter().enumerate() {
            match write_one(peer, name, characteristic, place, bytes, acknowledged).await {
                Outcome::Done(seen) => done.extend(seen),
                Outcome::Sent => all_seen = false,
                Outcome::Failed(why) if written == 0 => return Outcome::Failed(format!("{name}: {why}")),
                Outcome::Failed(why) | Outcome::Uncertain(why) => {
                    let before = if written == 0 { String::new() } else { format!(" ({written} written before it)") };
                    return Outcome::Uncertain(format!("{name}: {why}{before}"));
                }
                other => return other,
            }
        }
        if all_seen { Outcome::Done(done) } else { Outcome::Sent }
    }
}

async fn write_one(
    peer: &Peer,
    name: &PointName,
    characteristic: &Characteristic,
    place: &Place,
    bytes: Vec<u8>,
    acknowledged: bool,
) -> Outcome {
    match peer.write(&place.path, bytes.clone(), acknowledged).await {
        Ok(()) => {}
        Err(trouble) if is_refusal(&trouble) => return Outcome::Failed(format!("the device refused: {}", trouble.text)),
        Err(trouble) => return Outcome::Uncertain(format!("nobody knows whether it arrived: {}", trouble.text)),
    }
    if !characteristic.read_back || !place.can("read") {
        return Outcome::Sent;
    }
    let wanted = characteristic.piece.read(&bytes);
    match peer.read(&place.path).await {
        Ok(raw) => match (characteristic.piece.read(&raw), wanted) {
            (Some(Ok(seen)), Some(Ok(wanted))) if seen == wanted => Outcome::Done(vec![(name.clone(), seen)]),
            (Some(Ok(seen)), Some(Ok(wanted))) => Outcome::Failed(format!("wrote {wanted}, read back {seen}")),
            _ => Outcome::Uncertain(format!("written, and what was read back is no value: {}", Value::Bytes(raw))),
        },
        Err(trouble) => Outcome::Uncertain(format!("written, and not read back: {}", trouble.text)),
    }
}

/// The device, or BlueZ in its place, said no: nothing was written.
fn is_refusal(trouble: &Trouble) -> bool {
    let names = ["NotPermitted", "NotAuthorized", "NotSupported", "InvalidValueLength", "InvalidOffset", "InvalidArguments"];
    names.iter().any(|name| trouble.is(name)) || (trouble.is("Failed") && trouble.text.contains("ATT error"))
}

fn taken_apart(characteristic: &Characteristic, bytes: &[u8]) -> Result<Value, Why> {
    let shown = || Value::Bytes(bytes.to_vec());
    match characteristic.piece.read(bytes) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Why::new(Reason::NotAValue, format!("characteristic {}: {error}: {}", characteristic.uuid, shown()))),
        None => Err(Why::new(Reason::Garbled, format!("characteristic {} is too short: {}", characteristic.uuid, shown()))),
    }
}

/// A command that nothing came of: it was never begun at the device.
fn refuse(job: Job, why: &Why) {
    match job {
        Job::Write(_, reply) => drop(reply.send(Outcome::Failed(format!("nothing was written: {}", why.detail)))),
        Job::Read(_, reply) => drop(reply.send(Err(why.clone()))),
    }
}
