//! Answers into readings: for the log, for a command that asked, for a person who looks.

use std::{borrow::Cow, time::Duration};

use tidegate_core::{
    adapter::{Harvest, LookLine, Miss},
    clock::Clock,
    command::Outcome,
    id::PointName,
    reading::{Quality, Reading, Reason, Value},
};

use super::{
    link::Answer,
    plan::{Request, Slice},
    unit::{Device, Why, Witness},
    value::NotAValue,
};

/// A point's value in an answer.
fn value(device: &Device, slice: &Slice, answer: &Answer) -> Result<Value, NotAValue> {
    const SHORT: NotAValue = NotAValue("not in the answer");
    match answer {
        Answer::Bits(bits) => bits.get(slice.at).map(|bit| Value::Bool(*bit)).ok_or(SHORT),
        Answer::Words(words) => {
            let words = words.get(slice.at..slice.at + slice.count).ok_or(SHORT)?;
            device.points.get(slice.point).ok_or(SHORT)?.shape.decode(words)
        }
    }
}

/// A point's share of an answer, for people.
fn raw(slice: &Slice, answer: &Answer) -> String {
    match answer {
        Answer::Bits(bits) => bits.get(slice.at).map_or(Cow::Borrowed(""), |bit| Cow::Borrowed(if *bit { "1" } else { "0" })).into_owned(),
        Answer::Words(words) => {
            let words = words.get(slice.at..slice.at + slice.count).unwrap_or_default();
            words.iter().map(|word| format!("{word:04x}")).collect::<Vec<_>>().join(" ")
        }
    }
}

fn names(device: &Device, requests: &[Request]) -> Vec<PointName> {
    requests.iter().flat_map(|request| &request.slices).filter_map(|slice| Some(device.points.get(slice.point)?.name.clone())).collect()
}

/// Gathers a harvest.
pub(super) struct Reaper<'a> {
    clock: &'a dyn Clock,
    harvest: Harvest,
}

impl<'a> Reaper<'a> {
    pub(super) fn new(clock: &'a dyn Clock) -> Self {
        Self { clock, harvest: Harvest::default() }
    }

    pub(super) fn into_harvest(self) -> Harvest {
        self.harvest
    }

    /// For a command: all values, or the reason why one did not come.
    pub(super) fn into_outcome(self) -> Outcome {
        if let Some(miss) = self.harvest.misses.first() {
            return Outcome::Failed(miss.detail.clone());
        }
        let mut values = Vec::with_capacity(self.harvest.readings.len());
        for reading in self.harvest.readings {
            match reading.value {
                Some(value) => values.push((reading.point, value)),
                None => return Outcome::Failed(format!("{}: {}", reading.point, reading.quality)),
            }
        }
        Outcome::Done(values)
    }
}

impl Witness for Reaper<'_> {
    fn came(&mut self, device: &Device, request: &Request, answer: &Answer, _: Duration) {
        let taken = self.clock.now();
        self.harvest.readings.reserve(request.slices.len());
        for slice in &request.slices {
            let Some(point) = device.points.get(slice.point) else { continue };
            let (value, quality) = match value(device, slice, answer) {
                Ok(value) => (Some(value), Quality::Good),
                Err(_) => (None, Quality::Bad(Reason::NotAValue)),
            };
            self.harvest.readings.push(Reading { leaf: device.id.clone(), point: point.name.clone(), value, quality, taken });
        }
    }

    fn missed(&mut self, device: &Device, requests: &[Request], why: &Why, _: Duration) {
        let Why { reason, detail } = why.clone();
        let points = names(device, requests);
        self.harvest.misses.push(Miss { leaf: device.id.clone(), points, reason, detail, taken: self.clock.now() });
    }
}

/// Gathers what a person wants to see.
#[derive(Default)]
pub(super) struct Looker {
    lines: Vec<(usize, LookLine)>,
}

impl Looker {
    /// Whether any request was answered.
    pub(super) fn found_somebody(&self) -> bool {
        self.lines.iter().any(|(_, line)| !line.raw.is_empty())
    }

    /// In the order of the configuration.
    pub(super) fn into_lines(mut self, device: &Device) -> Vec<LookLine> {
        debug_assert!(self.lines.len() <= device.points.len(), "each point once");
        self.lines.sort_by_key(|(at, _)| *at);
        self.lines.into_iter().map(|(_, line)| line).collect()
    }

    fn add(&mut self, device: &Device, request: &Request, slice: &Slice, took: Duration, line: impl FnOnce(&mut LookLine)) {
        let Some(point) = device.points.get(slice.point) else { return };
        let mut fresh = LookLine {
            point: point.name.clone(),
            value: None,
            quality: Quality::Bad(Reason::NotAValue),
            request: format!("function {}, {}", request.spot.table.function(), request.spot),
            raw: String::new(),
            detail: String::new(),
            took,
        };
        line(&mut fresh);
        self.lines.push((slice.point, fresh));
    }
}

impl Witness for Looker {
    fn came(&mut self, device: &Device, request: &Request, answer: &Answer, took: Duration) {
        for slice in &request.slices {
            self.add(device, request, slice, took, |line| {
                line.raw = raw(slice, answer);
                match value(device, slice, answer) {
                    Ok(value) => (line.value, line.quality) = (Some(value), Quality::Good),
                    Err(error) => line.detail = error.to_string(),
                }
            });
        }
    }

    fn missed(&mut self, device: &Device, requests: &[Request], why: &Why, took: Duration) {
        for request in requests {
            for slice in &request.slices {
                self.add(device, request, slice, took, |line| {
                    line.quality = Quality::Bad(why.reason.clone());
                    line.detail.clone_from(&why.detail);
                });
            }
        }
    }
}
