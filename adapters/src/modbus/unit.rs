//! One unit on a bus: what to ask it for, how often to ask again, and when to leave it alone for a while.
//!
//! Promises: each point that is due is accounted for exactly once in each poll, as a value or as a miss with its
//! reason. A unit that gives no sign of life in [`SILENT_POLLS`] polls is put aside and asked one small question at
//! growing intervals, so that it costs the others one time limit now and then. A request that the unit refuses for its
//! addresses is split until the cell that it does not have stands alone; that is remembered until the bus is opened again.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_core::{
    adapter::AdapterError,
    backoff::Backoff,
    id::{LeafId, PointName},
    reading::Reason,
};
use tokio::time::sleep;

use super::{
    fault::Fault,
    link::{Answer, Asked, Link},
    plan::{Limits, Request, Spot, plan},
    value::Shape,
};

/// Polls without a sign of life after which a unit is put aside: one may be noise, two a restart.
const SILENT_POLLS: u32 = 3;
/// The longest a unit that was put aside is left alone. A repaired device is back within a minute.
const LONGEST_ASIDE: Duration = Duration::from_secs(60);
/// Before a device that said it is busy is asked again.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What the configuration says about a unit, checked.
#[derive(Debug)]
pub struct Device {
    /// The leaf it is.
    pub id: LeafId,
    /// How it is asked.
    pub asked: Asked,
    /// How often a question is repeated within one poll.
    pub retries: u8,
    /// What one request may hold.
    pub limits: Limits,
    /// By which functions it is written.
    pub functions: Functions,
    /// Whether it knows function 22, which changes bits of a register and leaves the others alone.
    pub masks: bool,
    /// What it takes to show what was written.
    pub write_settle: Duration,
    /// Its points.
    pub points: Vec<Point>,
}

/// By which functions a device is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Functions {
    /// 5 and 6 for one cell, 15 and 16 for several.
    #[default]
    Either,
    /// 5 and 6 only.
    Single,
    /// 15 and 16 only.
    Multiple,
}

/// A point of a unit.
#[derive(Debug)]
pub struct Point {
    /// Its name.
    pub name: PointName,
    /// Where it lies.
    pub spot: Spot,
    /// What it holds; bits of a table of bits need none.
    pub shape: Shape,
    /// How often it is read.
    pub interval: Duration,
    /// Whether commands may set it.
    pub writable: bool,
    /// Whether it shows what was written to it. Without, a write is `sent` at best.
    pub read_back: bool,
}

impl Device {
    /// The intervals of its points, each once, the shortest first: one poll for each.
    pub fn intervals(&self) -> Vec<Duration> {
        let mut intervals: Vec<_> = self.points.iter().map(|point| point.interval).collect();
        intervals.sort();
        intervals.dedup();
        intervals
    }

    /// The fewest requests for some points.
    pub fn plan(&self, points: impl IntoIterator<Item = usize>) -> Vec<Request> {
        plan(points.into_iter().filter_map(|at| Some((at, self.points.get(at)?.spot))), &self.limits)
    }

    /// The requests of each poll, in the order of [`Device::intervals`].
    pub fn polls(&self) -> Vec<Vec<Request>> {
        let of = |interval| self.plan((0..self.points.len()).filter(move |at| self.points[*at].interval == interval));
        self.intervals().into_iter().map(of).collect()
    }
}

/// Who is told what came of each request.
pub trait Witness {
    /// An answer, exactly as long as the request asks.
    fn came(&mut self, device: &Device, request: &Request, answer: &Answer, took: Duration);
    /// No answer to the first of these requests; the others were therefore not asked.
    fn missed(&mut self, device: &Device, requests: &[Request], why: &Why, took: Duration);
}

/// Why points gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// For the quality.
    pub reason: Reason,
    /// For people.
    pub detail: String,
}

/// A device and what has been learned about it.
#[derive(Debug)]
pub struct Unit {
    /// What the configuration says.
    pub device: Arc<Device>,
    polls: Vec<Vec<Request>>,
    silent_polls: u32,
    aside: Backoff,
    probes: usize,
}

/// What became of a unit's turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is to be polled as planned.
    Present,
    /// It is to be left alone for so long.
    Aside(Duration),
}

/// What happened during one poll.
#[derive(Debug, Default)]
struct Tally {
    life: bool,
    silent: u32,
    lost: Option<AdapterError>,
    /// The last fault.
    why: Option<Why>,
}

impl Tally {
    /// Whether there is no use in asking further: nobody there, or the second silence of somebody who is.
    fn is_enough(&self) -> bool {
        self.lost.is_some() || self.silent > u32::from(self.life)
    }
}

impl Unit {
    /// Nothing learned yet.
    pub fn new(device: Arc<Device>) -> Self {
        let first = device.intervals().first().copied().unwrap_or_default().max(Duration::from_secs(1));
        let polls = device.polls();
        Self { device, polls, silent_polls: 0, aside: Backoff::new(first.min(LONGEST_ASIDE), LONGEST_ASIDE), probes: 0 }
    }

    /// Whether it is only probed at present.
    pub fn is_aside(&self) -> bool {
        self.silent_polls >= SILENT_POLLS
    }

    /// Whether it answered when it was last polled; a unit that was never polled is taken to be there.
    pub fn is_present(&self) -> bool {
        self.silent_polls == 0
    }

    /// Reads some of its polls. An error means that the bus was lost on the way; what came before was told.
    pub async fn poll(&mut self, link: &mut Link, polls: &[usize], witness: &mut impl Witness) -> Result<Standing, AdapterError> {
        if self.is_aside() && !self.probe(link, witness).await? {
            return Ok(Standing::Aside(self.aside.pause()));
        }
        let mut tally = Tally::default();
        for which in polls {
            let Some(slot) = self.polls.get_mut(*which) else { continue };
            let requests = std::mem::take(slot);
            let retries = if self.silent_polls == 0 { self.device.retries } else { 0 };
            self.polls[*which] = gather(&self.device, link, retries, requests, &mut tally, witness).await;
        }
        if let Some(lost) = tally.lost {
            return Err(lost);
        }
        Ok(self.stand(tally.life || tally.silent == 0))
    }

    fn stand(&mut self, life: bool) -> Standing {
        if life {
            self.silent_polls = 0;
            self.aside.reset();
            return Standing::Present;
        }
        self.silent_polls = self.silent_polls.saturating_add(1);
        if self.is_aside() { Standing::Aside(self.aside.pause()) } else { Standing::Present }
    }

    /// Reads points now, put aside or not; nothing is learned for later.
    pub async fn ask_now(&self, link: &mut Link, requests: Vec<Request>, witness: &mut impl Witness) -> Result<(), AdapterError> {
        let mut tally = Tally::default();
        gather(&self.device, link, self.device.retries, requests, &mut tally, witness).await;
        tally.lost.map_or(Ok(()), Err)
    }

    /// One small question, another one each time. Whether somebody is there again.
    async fn probe(&mut self, link: &mut Link, witness: &mut impl Witness) -> Result<bool, AdapterError> {
        let Some(point) = self.device.points.get(self.probes % self.device.points.len().max(1)) else { return Ok(true) };
        self.probes = self.probes.wrapping_add(1);
        let begun = Instant::now();
        match link.ask(&self.device.asked, point.spot).await {
            Ok(_) => self.silent_polls = 0,
            Err(fault) if fault.shows_life() => self.silent_polls = 0,
            Err(fault) => {
                let reason = if matches!(fault, Fault::Silent) { Reason::PutAside } else { fault.reason() };
                let detail = format!("{}; put aside, asked again now and then", fault.words(&self.device.asked, point.spot));
                witness.missed(&self.device, &self.polls.concat(), &Why { reason, detail }, begun.elapsed());
                return if let Fault::Lost(error) = fault { Err(error) } else { Ok(false) };
            }
        }
        self.aside.reset();
        Ok(true)
    }
}

/// Asks for each request in turn, splitting what is refused, and returns them as they are to be asked next time:
/// the one that met silence last, so that it cannot hide the others for ever.
async fn gather(
    device: &Device,
    link: &mut Link,
    retries: u8,
    requests: Vec<Request>,
    tally: &mut Tally,
    witness: &mut impl Witness,
) -> Vec<Request> {
    let mut open = VecDeque::from(requests);
    let mut done = Vec::with_capacity(open.len());
    let mut last = None;
    while !tally.is_enough()
        && let Some(request) = open.pop_front()
    {
        let begun = Instant::now();
        let fault = match ask(device, link, retries, request.spot).await {
            Ok(answer) => {
                tally.life = true;
                witness.came(device, &request, &answer, begun.elapsed());
                done.push(request);
                continue;
            }
            Err(fault) => fault,
        };
        tally.life |= fault.shows_life();
        if let Fault::Refused(2 | 3) = fault
            && let Some((left, right)) = request.split()
        {
            open.push_front(right);
            open.push_front(left);
            continue;
        }
        let why = Why { reason: fault.reason(), detail: fault.words(&device.asked, request.spot) };
        tally.silent += u32::from(!fault.shows_life());
        if let Fault::Lost(error) = fault {
            tally.lost = Some(error);
        }
        open.push_front(request);
        let missed = if tally.is_enough() { open.len() } else { 1 };
        witness.missed(device, &open.make_contiguous()[..missed], &why, begun.elapsed());
        tally.why = Some(why);
        match open.pop_front() {
            Some(request) if tally.is_enough() => last = Some(request),
            Some(request) => done.push(request),
            None => {}
        }
    }
    if let (None, Some(why), false) = (&last, &tally.why, open.is_empty()) {
        // An earlier poll of the same turn was enough.
        witness.missed(device, open.make_contiguous(), why, Duration::ZERO);
    }
    open.into_iter().chain(done).chain(last).collect()
}

/// One question, with its repetitions.
pub(super) async fn ask(device: &Device, link: &mut Link, retries: u8, spot: Spot) -> Result<Answer, Fault> {
    let mut left = retries;
    loop {
        let fault = match link.ask(&device.asked, spot).await {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        let again = fault.is_busy() || matches!(fault, Fault::Silent | Fault::Garbled(_) | Fault::Closed);
        if left == 0 || !again {
            return Err(fault);
        }
        left -= 1;
        if fault.is_busy() {
            sleep(BUSY_PAUSE).await;
        }
    }
}
