//! The write guard: what may be written, and which raw value says it.
//!
//! Promises: a command passes whole or not at all; what passes is declared writable, of the right type, within limits,
//! on a step, one of the labels where there are labels, not sooner than the interval, and permitted by the interlock;
//! and **reading it back would show what was asked for**: the raw value is found by undoing scale, offset and labels,
//! and refused where the leaf cannot hold it. A refusal says in words which limit it met. Numbers with a fraction that
//! the leaf keeps in binary are taken to the nearest it has, and that one too must be within the limits.
//!
//! Pure: time, and the readings that interlocks look at, come from the caller. When each point was last written is kept
//! in memory only, by the clock that never jumps; a restart forgets it.

mod inverse;

use std::{collections::HashMap, time::Duration};

use serde_json::Value as Json;

use crate::{
    clock::Stamp,
    id::{LeafId, PointName},
    profile::{Interlock, LeafProfile, Needs, PointProfile, WriteProfile},
    quantity::Span,
    reading::{Quality, Value},
    scale::{Shown, show},
};

/// Points in one command. More is no set-point change but a program, and would hold the bus.
pub const MOST_POINTS: usize = 64;

/// Guards the leaves of one configuration.
#[derive(Debug, Default)]
pub struct Guard {
    leaves: HashMap<LeafId, HashMap<PointName, Point>>,
}

#[derive(Debug)]
struct Point {
    profile: PointProfile,
    written: Option<Stamp>,
}

/// The newest reading of a point, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The value after scale, offset and labels, and how far to trust it.
    pub shown: Shown,
    /// When it was read.
    pub taken: Stamp,
}

/// Where interlocks find the newest readings; `None` for a point that was never read.
pub type Latest<'a> = &'a dyn Fn(&LeafId, &PointName) -> Option<Seen>;

/// Why a command is not carried out. Prints as one sentence for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", point.as_ref().map(|point| format!("{point}: ")).unwrap_or_default())]
pub struct Refusal {
    /// The point it is about; `None` when it is about the whole command.
    pub point: Option<PointName>,
    /// In words, with the limit that was met.
    pub why: String,
    /// When waiting helps: for how long.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    fn new(why: impl Into<String>) -> Self {
        Self { point: None, why: why.into(), retry_after: None }
    }
}

impl Guard {
    /// For these leaves. A new guard has seen no writes.
    pub fn new<'a>(leaves: impl IntoIterator<Item = &'a LeafProfile>) -> Self {
        let point = |profile: &PointProfile| (profile.name.clone(), Point { profile: profile.clone(), written: None });
        Self { leaves: leaves.into_iter().map(|leaf| (leaf.id.clone(), leaf.points.iter().map(point).collect())).collect() }
    }

    /// Takes over when points were last written, after a changed configuration.
    pub fn remember(&mut self, before: &Guard) {
        for (leaf, points) in &mut self.leaves {
            let Some(before) = before.leaves.get(leaf) else { continue };
            for (name, point) in points {
                point.written = before.get(name).and_then(|point| point.written);
            }
        }
    }

    /// Whether this guard knows the leaf.
    pub fn knows(&self, leaf: &LeafId) -> bool {
        self.leaves.contains_key(leaf)
    }

    /// The raw values to write, in the order of the command; nothing is remembered. For a look ahead.
    pub fn check(
        &self,
        leaf: &LeafId,
        wanted: &[(PointName, Json)],
        now: Stamp,
        latest: Latest<'_>,
    ) -> Result<Vec<(PointName, Value)>, Refusal> {
        self.each(leaf, wanted, |point, value| point.check(leaf, value, now, latest))
    }

    /// As [`Guard::check`] without what only the moment of writing can tell, intervals and interlocks: for a command that waits.
    pub fn fits(&self, leaf: &LeafId, wanted: &[(PointName, Json)]) -> Result<Vec<(PointName, Value)>, Refusal> {
        self.each(leaf, wanted, |point, value| point.raw(value).map(|(raw, _)| raw))
    }

    fn each(
        &self,
        leaf: &LeafId,
        wanted: &[(PointName, Json)],
        one: impl Fn(&Point, &Json) -> Result<Value, Refusal>,
    ) -> Result<Vec<(PointName, Value)>, Refusal> {
        let points = self.leaves.get(leaf).ok_or_else(|| Refusal::new(format!("no device '{leaf}' with points")))?;
        if wanted.is_empty() {
            return Err(Refusal::new("names no point to write"));
        }
        if wanted.len() > MOST_POINTS {
            return Err(Refusal::new(format!("names {} points, and one command may write {MOST_POINTS}", wanted.len())));
        }
        let mut raw = Vec::with_capacity(wanted.len());
        for (at, (name, value)) in wanted.iter().enumerate() {
            let about = |refusal: Refusal| Refusal { point: Some(name.clone()), ..refusal };
            if wanted[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(about(Refusal::new("is named twice in one command")));
            }
            let point = points.get(name).ok_or_else(|| about(Refusal::new(format!("'{leaf}' has no such point"))))?;
            raw.push((name.clone(), one(point, value).map_err(about)?));
        }
        Ok(raw)
    }

    /// As [`Guard::check`], for a command that is about to be carried out: the writes count as made, now.
    pub fn admit(
        &mut self,
        leaf: &LeafId,
        wanted: &[(PointName, Json)],
        now: Stamp,
        latest: Latest<'_>,
    ) -> Result<Vec<(PointName, Value)>, Refusal> {
        let raw = self.check(leaf, wanted, now, latest)?;
        let points = self.leaves.get_mut(leaf);
        for (name, point) in points.into_iter().flatten() {
            if raw.iter().any(|(written, _)| written == name) {
                point.written = Some(now);
            }
        }
        Ok(raw)
    }

    /// The points that the interlocks of these look at: to be read, or looked up, before [`Guard::admit`].
    pub fn interlocks<'a>(&self, leaf: &LeafId, points: impl IntoIterator<Item = &'a PointName>) -> Vec<(LeafId, PointName)> {
        let locks = points.into_iter().filter_map(|name| self.write(leaf, name)?.interlock.as_ref());
        let mut found: Vec<_> = locks.map(|lock| (lock.leaf.as_ref().unwrap_or(leaf).clone(), lock.point.clone())).collect();
        found.sort();
        found.dedup();
        found
    }

    /// Whether writing all of these twice is as good as once. A point that cannot be written is not repeatable.
    pub fn is_repeatable<'a>(&self, leaf: &LeafId, points: impl IntoIterator<Item = &'a PointName>) -> bool {
        points.into_iter().all(|name| self.write(leaf, name).is_some_and(|write| write.repeatable))
    }

    /// What a raw value that came back means; as it is for a point that is not known.
    pub fn shown(&self, leaf: &LeafId, point: &PointName, raw: Value) -> Shown {
        match self.point(leaf, point) {
            Some(point) => show(Some(raw), Quality::Good, &point.profile),
            None => Shown { value: Some(raw), quality: Quality::Good },
        }
    }

    fn point(&self, leaf: &LeafId, point: &PointName) -> Option<&Point> {
        self.leaves.get(leaf)?.get(point)
    }

    fn write(&self, leaf: &LeafId, point: &PointName) -> Option<&WriteProfile> {
        self.point(leaf, point)?.profile.write.as_ref()
    }
}

impl Point {
    fn raw(&self, wanted: &Json) -> Result<(Value, &WriteProfile), Refusal> {
        let Some(write) = &self.profile.write else { return Err(Refusal::new("may not be written: it is not declared writable")) };
        Ok((inverse::raw(wanted, &self.profile, write).map_err(Refusal::new)?, write))
    }

    fn check(&self, leaf: &LeafId, wanted: &Json, now: Stamp, latest: Latest<'_>) -> Result<Value, Refusal> {
        let (raw, write) = self.raw(wanted)?;
        self.interval(write, now)?;
        match &write.interlock {
            Some(lock) => lock.permits(leaf, now, latest).map(|()| raw),
            None => Ok(raw),
        }
    }

    fn interval(&self, write: &WriteProfile, now: Stamp) -> Result<(), Refusal> {
        let Some(written) = self.written.filter(|written| written.boot == now.boot) else { return Ok(()) };
        let since = age(now, written);
        if since >= write.interval {
            return Ok(());
        }
        let retry_after = Some(write.interval - since);
        let (since, interval) = (Span(since), Span(write.interval));
        Err(Refusal { point: None, why: format!("was written {since} ago, and may be written once in {interval}"), retry_after })
    }
}

fn age(now: Stamp, then: Stamp) -> Duration {
    Duration::from_millis(now.since_boot_ms.saturating_sub(then.since_boot_ms))
}

impl Interlock {
    /// Whatever is not known for certain permits nothing.
    fn permits(&self, leaf: &LeafId, now: Stamp, latest: Latest<'_>) -> Result<(), Refusal> {
        let on = self.leaf.as_ref().unwrap_or(leaf);
        let name = if on == leaf { format!("'{}'", self.point) } else { format!("'{}' of '{on}'", self.point) };
        let refuse = |why: String| Err(Refusal::new(format!("interlock: {name} {why}")));
        let Some(seen) = latest(on, &self.point) else { return refuse("has not been read yet".to_owned()) };
        if seen.taken.boot != now.boot || age(now, seen.taken) > self.max_age {
            return refuse(format!("was read longer ago than {}", Span(self.max_age)));
        }
        let (Some(value), Quality::Good) = (&seen.shown.value, &seen.shown.quality) else {
            return refuse(format!("is {}", seen.shown.quality));
        };
        match &self.needs {
            Needs::Is(state) if !same(value, state) => refuse(format!("is {value}, and must be {state}")),
            Needs::IsNot(state) if same(value, state) => refuse(format!("is {value}, and must not be")),
            Needs::Between(min, max) => {
                let number = value.as_f64().filter(|n| min.is_none_or(|min| *n >= min) && max.is_none_or(|max| *n <= max));
                let words = match (min, max) {
                    (Some(min), Some(max)) => format!("from {min} to {max}"),
                    (Some(min), None) => format!("at least {min}"),
                    (None, Some(max)) => format!("at most {max}"),
                    (None, None) => "a number".to_owned(),
                };
                if number.is_some() { Ok(()) } else { refuse(format!("is {value}, and must be {words}")) }
            }
            Needs::Is(_) | Needs::IsNot(_) => Ok(()),
        }
    }
}

/// Text and labels by their letters, everything else by its number: a bit is 0 or 1.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests;
