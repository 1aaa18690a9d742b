//! What is known of one sensor: its newest values, when it was heard, when it is missed.
//!
//! Never looks at a clock: the caller says what time it is. What it keeps is bounded by one advertisement.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    adapter::Miss,
    clock::Stamp,
    reading::{Quality, Reading, Reason, Value},
};
use tokio::time::Instant;

use super::{
    advert::Advert,
    check::Sensor,
    decode::{Counter, Field, Key, Refusal, decode},
};

/// A learned silence is at least this: radio loses many advertisements in a row near microwaves and people.
const SHORTEST_SILENCE: Duration = Duration::from_secs(60);
/// And at most this.
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);
/// A sensor is missed after so many of the longest pauses heard.
const PAUSES: u32 = 10;
/// An event that is said again within this time has happened once: sensors repeat each for a second or two. Later it is another.
const REPEATS: Duration = Duration::from_secs(5);
/// A refusal of the same cause is told again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) sensor: Arc<Sensor>,
    key: Option<Key>,
    counter: Counter,
    last: Option<Advert>,
    /// Newest values that have not been handed over.
    fields: Vec<Field>,
    heard: Option<(Instant, Stamp)>,
    rssi: Option<i16>,
    longest_pause: Duration,
    handed_over: Option<Instant>,
    waiting: bool,
    since: Instant,
    silent: bool,
    /// How often, by cause, and when it was last told.
    refused: [(u64, Option<Instant>); 5],
}

impl Leaf {
    pub(super) fn new(sensor: Arc<Sensor>, key: Option<Key>, now: Instant) -> Self {
        Self {
            sensor,
            key,
            counter: Counter::default(),
            last: None,
            fields: Vec::new(),
            heard: None,
            rssi: None,
            longest_pause: Duration::ZERO,
            handed_over: None,
            waiting: false,
            since: now,
            silent: false,
            refused: Default::default(),
        }
    }

    /// Takes an advertisement in. What it cannot be read for is told as a miss, once in a while.
    pub(super) fn take(&mut self, advert: Advert, now: Instant, stamp: Stamp) -> Option<Miss> {
        let pause = self.heard.map(|(before, _)| now - before);
        self.longest_pause = self.longest_pause.max(pause.unwrap_or_default());
        self.heard = Some((now, stamp));
        self.silent = false;
        self.rssi = advert.rssi.or(self.rssi);
        if advert.manufacturer.is_empty() && advert.service.is_empty() {
            return None;
        }
        let repeated = pause.is_some_and(|pause| pause < REPEATS) && self.last.as_ref().is_some_and(|last| last.repeats(&advert));
        let miss = match decode(&advert, self.key.as_ref(), &mut self.counter) {
            Ok(mut fields) => {
                fields.retain(|field| !(repeated && field.event));
                self.merge(fields);
                None
            }
            Err(cause) => self.refuse(cause, &advert, now, stamp),
        };
        self.last = Some(advert);
        miss
    }

    /// Whether something has happened that has not been handed over; the next advertisement waits until it has.
    pub(super) fn holds_event(&self) -> bool {
        self.fields.iter().any(|field| field.event)
    }

    /// Sensors that say one thing at a time (MiBeacon) fill the picture bit by bit.
    fn merge(&mut self, fields: Vec<Field>) {
        for field in fields {
            self.waiting = true;
            self.fields.retain(|known| known.name != field.name);
            self.fields.push(field);
        }
    }

    fn refuse(&mut self, cause: Refusal, advert: &Advert, now: Instant, stamp: Stamp) -> Option<Miss> {
        let (count, told) = &mut self.refused[cause as usize];
        *count += 1;
        if told.is_some_and(|told| now - told < TELL_AGAIN) {
            return None;
        }
        *told = Some(now);
        let reason = if cause == Refusal::Malformed { Reason::Garbled } else { Reason::Other(cause.word()) };
        let detail = format!("{} from {} ({count} so far): {}", cause.word(), advert.address, advert.raw());
        Some(Miss { leaf: self.sensor.id.clone(), points: vec![], reason, detail, taken: stamp })
    }

    /// When something is to be done about it without another word from it.
    pub(super) fn due(&self) -> Option<Instant> {
        let missed = (!self.silent).then(|| self.missed_at());
        let values = self.waiting.then(|| self.handed_over_at());
        [missed, values].into_iter().flatten().min()
    }

    fn handed_over_at(&self) -> Instant {
        match self.handed_over {
            Some(before) if !self.holds_event() => before + self.sensor.interval,
            _ => self.since,
        }
    }

    fn patience(&self) -> Duration {
        let learned = (self.longest_pause * PAUSES).clamp(SHORTEST_SILENCE, LONGEST_SILENCE);
        self.sensor.silent_after.unwrap_or(learned)
    }

    fn missed_at(&self) -> Instant {
        self.heard.map_or(self.since, |(at, _)| at) + self.patience()
    }

    /// The values, if it is time for them.
    pub(super) fn hand_over(&mut self, now: Instant) -> Vec<Reading> {
        if !self.waiting || now < self.handed_over_at() {
            return Vec::new();
        }
        self.waiting = false;
        self.handed_over = Some(now);
        let readings = self.readings();
        self.fields.retain(|field| !field.event);
        readings
    }

    /// What is known now, point by point; points that were never heard are left out.
    pub(super) fn readings(&self) -> Vec<Reading> {
        let Some((_, taken)) = self.heard else { return Vec::new() };
        let value = |field: &str| match field {
            "rssi" => self.rssi.map(|rssi| Value::Int(rssi.into())),
            "last_seen" => Some(Value::Text(taken.wall.to_string())),
            _ => self.fields.iter().find(|known| known.name == field).map(|known| known.value.clone()),
        };
        let reading = |(point, field): &(_, String)| {
            let value = Some(value(field)?);
            Some(Reading { leaf: self.sensor.id.clone(), point: Clone::clone(point), value, quality: Quality::Good, taken })
        };
        self.sensor.points.iter().filter_map(reading).collect()
    }

    /// Once for each silence.
    pub(super) fn missed(&mut self, now: Instant, stamp: Stamp) -> Option<Miss> {
        if self.silent || now < self.missed_at() {
            return None;
        }
        self.silent = true;
        // What it said before the silence is not what it says after it.
        self.fields.clear();
        self.waiting = false;
        let detail = format!("{} has not been heard for {} s", self.sensor.address, (now - self.missed_at() + self.patience()).as_secs());
        Some(Miss { leaf: self.sensor.id.clone(), points: vec![], reason: Reason::Timeout, detail, taken: stamp })
    }

    /// The last advertisement as it came.
    pub(super) fn raw(&self) -> String {
        self.last.as_ref().map(Advert::raw).unwrap_or_default()
    }

    pub(super) fn was_heard(&self) -> bool {
        self.heard.is_some()
    }
}
