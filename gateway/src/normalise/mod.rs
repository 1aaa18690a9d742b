//! Raw values in, messages out: scale, offset, precision, labels, range, report policy, one JSON body per leaf and poll.
//!
//! Promises: a value is reported as measured or not at all; a leaf that fails gives readings of quality `bad` with
//! the reason, never silence and never 0; a change inside `min_interval` is not forgotten but sent when the interval
//! is over. Time is read from the readings' own stamps and the caller's `now`, never from a clock, so the same
//! readings always give the same messages. Nothing here knows about hubs, logs or buses.

mod body;

use std::{collections::HashMap, sync::Arc};

use tidegate_core::{
    adapter::Miss,
    clock::Stamp,
    id::{LeafId, MessageId, PointName},
    message::{Message, SystemProperties},
    profile::{Deadband, LeafProfile, ReportPolicy},
    reading::{Quality, Reading, Value},
};

use crate::live::LiveLeaf;

pub use body::{BodyStyle, QualityStyle};
pub use tidegate_core::scale::{Shown, show};

/// Makes messages of one adapter's readings. Remembers what was last sent of each point.
#[derive(Debug)]
pub struct Normaliser {
    leaves: HashMap<LeafId, Leaf>,
    style: BodyStyle,
    /// The first of [`Leaf::next_due`], so that nobody has to look through all points to know that nothing waits.
    next_due: Option<u64>,
}

#[derive(Debug)]
struct Leaf {
    profile: LeafProfile,
    by_name: HashMap<PointName, usize>,
    points: Vec<Point>,
    /// When the first value that waits is due, and whether that must be found out anew.
    next_due: Option<u64>,
    moved: bool,
    /// Where those who look on see its latest values.
    live: Option<Arc<LiveLeaf>>,
}

/// What is remembered of a point.
#[derive(Debug, Default)]
struct Point {
    /// The last value sent, and when, in milliseconds since boot.
    sent: Option<(Shown, u64)>,
    /// The latest value, if it is waiting for `min_interval` to end.
    waiting: Option<(Shown, Stamp)>,
}

/// A value that is to leave now.
struct Due {
    point: usize,
    shown: Shown,
    taken: Stamp,
}

impl Normaliser {
    /// For these leaves; readings of others are passed over.
    pub fn new(leaves: impl IntoIterator<Item = LeafProfile>, style: BodyStyle) -> Self {
        let leaf = |profile: LeafProfile| {
            let by_name = profile.points.iter().enumerate().map(|(i, p)| (p.name.clone(), i)).collect();
            let points = profile.points.iter().map(|_| Point::default()).collect();
            (profile.id.clone(), Leaf { profile, by_name, points, next_due: None, moved: false, live: None })
        };
        Self { leaves: leaves.into_iter().map(leaf).collect(), style, next_due: None }
    }

    /// Every value shows here too, whether it is reported or not.
    #[must_use]
    pub fn shown_on(mut self, mut live: impl FnMut(&LeafProfile) -> Arc<LiveLeaf>) -> Self {
        self.leaves.values_mut().for_each(|leaf| leaf.live = Some(live(&leaf.profile)));
        self
    }

    /// What one read brought, as messages: one for each leaf that has something to report, in the order in which the
    /// leaves first appear.
    pub fn take(&mut self, readings: Vec<Reading>, misses: &[Miss]) -> Vec<Message> {
        let mut due: Vec<(LeafId, Vec<Due>)> = Vec::new();
        let mut readings = readings.into_iter().peekable();
        while let Some(first) = readings.peek() {
            let id = first.leaf.clone();
            let mut leaf = self.leaves.get_mut(&id).map(|leaf| (leaf, batch(&mut due, &id)));
            // Adapters read in the order of the profile, so the next reading is most often of the next point.
            let mut next = 0;
            while let Some(reading) = readings.next_if(|reading| reading.leaf == id) {
                let Some((leaf, batch)) = &mut leaf else { continue };
                let Some(at) = leaf.find(&reading.point, next) else { continue };
                next = at + 1;
                let shown = show(reading.value, reading.quality, &leaf.profile.points[at]);
                leaf.report(at, shown, reading.taken, batch);
            }
        }
        for miss in misses {
            let Some(leaf) = self.leaves.get_mut(&miss.leaf) else { continue };
            let batch = batch(&mut due, &miss.leaf);
            let named: Vec<usize> = match miss.points.as_slice() {
                [] => (0..leaf.points.len()).collect(),
                some => some.iter().filter_map(|name| leaf.by_name.get(name).copied()).collect(),
            };
            for at in named {
                let shown = Shown { value: None, quality: Quality::Bad(miss.reason.clone()) };
                leaf.report(at, shown, miss.taken, batch);
            }
        }
        self.look_for_due(due.iter().map(|(id, _)| id));
        due.into_iter().filter_map(|(id, due)| self.message(&id, due)).collect()
    }

    /// When the first value that waits for its `min_interval` is due, in milliseconds since boot.
    pub fn next_due(&self) -> Option<u64> {
        self.next_due
    }

    /// Finds out anew when the first value is due, if that has changed for one of these leaves.
    fn look_for_due<'a>(&mut self, touched: impl Iterator<Item = &'a LeafId>) {
        let mut moved = false;
        for id in touched {
            if let Some(leaf) = self.leaves.get_mut(id).filter(|leaf| leaf.moved) {
                leaf.look_for_due();
                moved = true;
            }
        }
        if moved {
            self.next_due = self.leaves.values().filter_map(|leaf| leaf.next_due).min();
        }
    }

    /// The values whose wait is over. `now` is milliseconds since boot.
    pub fn take_waiting(&mut self, now: u64) -> Vec<Message> {
        let mut due: Vec<(LeafId, Vec<Due>)> = Vec::new();
        for (id, leaf) in &mut self.leaves {
            for (at, point) in leaf.points.iter_mut().enumerate() {
                if point.due_at(&leaf.profile.points[at].report).is_some_and(|t| t <= now)
                    && let Some((shown, taken)) = point.waiting.take()
                {
                    leaf.moved = true;
                    point.sent = Some((shown.clone(), now));
                    batch(&mut due, id).push(Due { point: at, shown, taken });
                }
            }
        }
        self.look_for_due(due.iter().map(|(id, _)| id));
        due.into_iter().filter_map(|(id, due)| self.message(&id, due)).collect()
    }

    fn message(&self, id: &LeafId, mut due: Vec<Due>) -> Option<Message> {
        let leaf = self.leaves.get(id)?;
        let taken = due.first()?.taken;
        due.sort_by_key(|d| d.point);
        Some(Message {
            id: MessageId::fresh(),
            leaf: id.clone(),
            class: leaf.profile.class,
            taken,
            ttl: leaf.profile.ttl,
            system: SystemProperties::json(),
            properties: leaf.profile.properties.clone(),
            body: body::write(&self.style, &leaf.profile, taken, due.iter().map(|d| (d.point, &d.shown, d.taken))),
        })
    }
}

/// Values that were read outside of polling, as one message, whatever the report policies say. `None` when no point is known.
pub fn message_of(profile: &LeafProfile, style: &BodyStyle, values: Vec<(PointName, Value)>, taken: Stamp) -> Option<Message> {
    let mut shown: Vec<(usize, Shown)> = Vec::with_capacity(values.len());
    for (name, value) in values {
        let Some(at) = profile.points.iter().position(|point| point.name == name) else { continue };
        shown.push((at, show(Some(value), Quality::Good, &profile.points[at])));
    }
    shown.sort_by_key(|(at, _)| *at);
    (!shown.is_empty()).then(|| Message {
        id: MessageId::fresh(),
        leaf: profile.id.clone(),
        class: profile.class,
        taken,
        ttl: profile.ttl,
        system: SystemProperties::json(),
        properties: profile.properties.clone(),
        body: body::write(style, profile, taken, shown.iter().map(|(at, shown)| (*at, shown, taken))),
    })
}

fn batch<'a>(due: &'a mut Vec<(LeafId, Vec<Due>)>, id: &LeafId) -> &'a mut Vec<Due> {
    let at = due.iter().rposition(|(leaf, _)| leaf == id).unwrap_or_else(|| {
        due.push((id.clone(), Vec::new()));
        due.len() - 1
    });
    &mut due[at].1
}

impl Leaf {
    /// The place of a point; `guess` is looked at first.
    fn find(&self, name: &PointName, guess: usize) -> Option<usize> {
        match self.profile.points.get(guess) {
            Some(point) if point.name == *name => Some(guess),
            _ => self.by_name.get(name).copied(),
        }
    }

    /// Sends the value, keeps it waiting, or lets it go, as the point's policy says.
    fn report(&mut self, at: usize, shown: Shown, taken: Stamp, due: &mut Vec<Due>) {
        if let Some(live) = &self.live {
            live.put(at, &shown, taken.wall);
        }
        let (policy, point) = (&self.profile.points[at].report, &mut self.points[at]);
        let waited = point.waiting.is_some();
        match point.verdict(policy, &shown, taken.since_boot_ms) {
            Verdict::Send => {
                point.sent = Some((shown.clone(), taken.since_boot_ms));
                point.waiting = None;
                due.push(Due { point: at, shown, taken });
            }
            Verdict::Wait => point.waiting = Some((shown, taken)),
            Verdict::Pass => point.waiting = None,
        }
        self.moved |= waited || point.waiting.is_some();
    }

    fn look_for_due(&mut self) {
        let points = self.profile.points.iter().zip(&self.points);
        self.next_due = points.filter_map(|(profile, point)| point.waiting.as_ref().and(point.due_at(&profile.report))).min();
        self.moved = false;
    }
}

enum Verdict {
    Send,
    Wait,
    Pass,
}

impl Point {
    fn verdict(&self, policy: &ReportPolicy, shown: &Shown, now: u64) -> Verdict {
        let Some((last, sent_at)) = &self.sent else { return Verdict::Send };
        let elapsed = std::time::Duration::from_millis(now.saturating_sub(*sent_at));
        let beat = policy.heartbeat.is_some_and(|every| elapsed >= every);
        let news = beat || policy.on_change.is_none_or(|deadband| changed(last, shown, deadband));
        match news {
            false => Verdict::Pass,
            true if elapsed < policy.min_interval => Verdict::Wait,
            true => Verdict::Send,
        }
    }

    fn due_at(&self, policy: &ReportPolicy) -> Option<u64> {
        let (_, sent_at) = self.sent.as_ref()?;
        Some(sent_at.saturating_add(u64::try_from(policy.min_interval.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A change of quality is always one; numbers must leave the deadband, anything else must differ.
fn changed(last: &Shown, now: &Shown, deadband: Deadband) -> bool {
    if last.quality != now.quality {
        return true;
    }
    match (last.number(), now.number()) {
        (Some(a), Some(b)) => match deadband {
            Deadband::None => a != b,
            Deadband::Absolute(by) => (a - b).abs() > by,
            Deadband::Relative(share) => (a - b).abs() > a.abs() * share,
        },
        _ => last.value != now.value,
    }
}

#[cfg(test)]
mod tests;
