//! What is known of one sensor: its newest values, when it was heard, when it is missed.
//!
//! Never looks at a clock: the caller says what time it is. What it keeps is bounded by one advertisement.

use std::{sync::Arc, time::Duration};

use tidegate_core::{
    adapter::Miss,
    clock::Stamp,
    id::PointName,
    reading::{Quality, Reading, Reason, Value},
};
use tokio::time::Instant;

use super::{
    advert::Advert,
    check::{Point, Sensor, Source},
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

/// What every sensor says by being heard: how strong, and when.
const OURS: [&str; 2] = ["rssi", "last_seen"];

fn is_ours(source: &Source) -> bool {
    matches!(source, Source::Field(name) if OURS.contains(&name.as_str()))
}

fn is_of_link(point: &Point) -> bool {
    matches!(point.source, Source::Characteristic(_))
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) sensor: Arc<Sensor>,
    key: Option<Key>,
    counter: Counter,
    last: Option<Advert>,
    /// Newest values that have not been handed over.
    fields: Vec<Field>,
    heard: Option<(Instant, Stamp)>,
    /// When values last came over a connection.
    connected: Option<(Instant, Stamp)>,
    rssi: Option<i16>,
    longest_pause: Duration,
    handed_over: Option<Instant>,
    /// There is news from the air, and from a connection.
    waiting: News,
    since: Instant,
    silent: bool,
    /// How often, by cause, and when it was last told.
    refused: [(u64, Option<Instant>); 5],
    /// Connected since: then it advertises nothing, and is not missed.
    linked: Option<Instant>,
    /// How long it was connected since it was last heard.
    excused: Duration,
}

/// Where news came from that have not been handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct News {
    air: bool,
    link: bool,
}

impl News {
    const ALL: Self = Self { air: true, link: true };

    fn any(self) -> bool {
        self.air || self.link
    }
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
            connected: None,
            rssi: None,
            longest_pause: Duration::ZERO,
            handed_over: None,
            waiting: News::default(),
            since: now,
            silent: false,
            refused: Default::default(),
            linked: None,
            excused: Duration::ZERO,
        }
    }

    /// Takes an advertisement in. What it cannot be read for is told as a miss, once in a while.
    pub(super) fn take(&mut self, advert: Advert, now: Instant, stamp: Stamp) -> Option<Miss> {
        let pause = self.heard.map(|(before, _)| now - before);
        self.longest_pause = self.longest_pause.max(pause.unwrap_or_default());
        self.heard = Some((now, stamp));
        (self.silent, self.excused) = (false, Duration::ZERO);
        self.rssi = advert.rssi.or(self.rssi);
        if advert.manufacturer.is_empty() && advert.service.is_empty() {
            return None;
        }
        // Where nothing else is wanted, being heard is the news.
        self.waiting.air |= self.sensor.points.iter().all(|point| is_ours(&point.source));
        let repeated = pause.is_some_and(|pause| pause < REPEATS) && self.last.as_ref().is_some_and(|last| last.repeats(&advert));
        let miss = match self.decode(&advert) {
            Ok(mut fields) => {
                fields.retain(|field| !(repeated && field.event));
                self.waiting.air |= !fields.is_empty();
                self.merge(fields);
                None
            }
            Err(cause) => self.refuse(cause, &advert, now, stamp),
        };
        self.last = Some(advert);
        miss
    }

    /// Formats that are known where points name their fields, and bytes where points name those.
    fn decode(&mut self, advert: &Advert) -> Result<Vec<Field>, Refusal> {
        let mut fields = Vec::new();
        if self.sensor.points.iter().any(|point| matches!(point.source, Source::Field(_)) && !is_ours(&point.source)) {
            let maps = self.sensor.points.iter().any(|point| matches!(point.source, Source::Bytes(_)));
            match decode(advert, self.key.as_ref(), &mut self.counter) {
                Ok(known) => fields = known,
                // It may be one that only the points describe.
                Err(Refusal::Unknown) if maps => {}
                Err(cause) => return Err(cause),
            }
        }
        for point in &self.sensor.points {
            let Source::Bytes(map) = &point.source else { continue };
            fields.extend(map.read(advert)?.map(|value| Field { name: point.source.key(&point.name), value, event: false }));
        }
        Ok(fields)
    }

    /// Values that came over a connection.
    pub(super) fn give(&mut self, fields: Vec<Field>, now: Instant, stamp: Stamp) {
        self.connected = Some((now, stamp));
        self.waiting.link |= !fields.is_empty();
        self.merge(fields);
    }

    /// These were asked for and did not come.
    pub(super) fn forget(&mut self, points: &[PointName]) {
        self.fields.retain(|field| !points.iter().any(|point| Source::gatt_key(point) == field.name));
    }

    /// It is connected to, or is not any more.
    pub(super) fn link(&mut self, up: bool, now: Instant) {
        match (up, self.linked.take()) {
            (true, _) => self.linked = Some(now),
            (false, Some(since)) => self.excused += now - since,
            (false, None) => {}
        }
    }

    /// Whether something has happened that has not been handed over; the next advertisement waits until it has.
    pub(super) fn holds_event(&self) -> bool {
        self.fields.iter().any(|field| field.event)
    }

    /// Sensors that say one thing at a time (MiBeacon) fill the picture bit by bit.
    fn merge(&mut self, fields: Vec<Field>) {
        for field in fields {
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
        let missed = (!self.silent && self.linked.is_none() && self.sensor.advertises()).then(|| self.missed_at());
        let values = self.waiting.any().then(|| self.handed_over_at());
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
        self.heard.map_or(self.since, |(at, _)| at) + self.excused + self.patience()
    }

    /// The values, if it is time for them.
    pub(super) fn hand_over(&mut self, now: Instant) -> Vec<Reading> {
        if !self.waiting.any() || now < self.handed_over_at() {
            return Vec::new();
        }
        let news = std::mem::take(&mut self.waiting);
        self.handed_over = Some(now);
        let readings = self.readings_of(news);
        self.fields.retain(|field| !field.event);
        readings
    }

    /// What is known now, point by point; points that were never heard are left out.
    pub(super) fn readings(&self) -> Vec<Reading> {
        self.readings_of(News::ALL)
    }

    /// Only of where there is news: what a connection said a minute ago is no news because the air has some.
    fn readings_of(&self, news: News) -> Vec<Reading> {
        let value = |source: &Source, key: &str| match source {
            Source::Field(field) if field == OURS[0] => self.rssi.map(|rssi| Value::Int(rssi.into())),
            Source::Field(field) if field == OURS[1] => self.heard.map(|(_, taken)| Value::Text(taken.wall.to_string())),
            _ => self.fields.iter().find(|known| known.name == key).map(|known| known.value.clone()),
        };
        let reading = |point: &Point| {
            let of_link = is_of_link(point);
            if !(if of_link { news.link } else { news.air }) {
                return None;
            }
            let (_, taken) = if of_link { self.connected } else { self.heard }?;
            let value = Some(value(&point.source, &point.source.key(&point.name))?);
            Some(Reading { leaf: self.sensor.id.clone(), point: point.name.clone(), value, quality: Quality::Good, taken })
        };
        self.sensor.points.iter().filter_map(reading).collect()
    }

    /// Once for each silence.
    pub(super) fn missed(&mut self, now: Instant, stamp: Stamp) -> Option<Miss> {
        if self.silent || self.linked.is_some() || !self.sensor.advertises() || now < self.missed_at() {
            return None;
        }
        self.silent = true;
        // What it said before the silence is not what it says after it.
        self.fields.retain(|field| self.sensor.points.iter().any(|point| is_of_link(point) && point.source.key(&point.name) == field.name));
        self.waiting.air = false;
        let heard = |point: &&Point| self.sensor.gatt.is_some() && !is_of_link(point);
        let points = self.sensor.points.iter().filter(heard).map(|point| point.name.clone()).collect();
        let detail = format!("{} has not been heard for {} s", self.sensor.address, (now - self.missed_at() + self.patience()).as_secs());
        Some(Miss { leaf: self.sensor.id.clone(), points, reason: Reason::Timeout, detail, taken: stamp })
    }

    /// The last advertisement as it came.
    pub(super) fn raw(&self) -> String {
        self.last.as_ref().map(Advert::raw).unwrap_or_default()
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.is_some() || !self.sensor.advertises()
    }
}
