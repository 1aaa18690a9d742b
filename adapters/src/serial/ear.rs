//! Hears what a line says by itself, and gathers what a harvest is made of.
//!
//! Bounded: of frames that come faster than `max_rate`, those beyond it are counted and let go, and what is gathered is
//! handed over with the next read, before more is heard.

use std::{mem, sync::Arc, time::Duration};

use tidegate_core::{
    adapter::{Harvest, Miss},
    clock::Clock,
    id::PointName,
    reading::{Quality, Reading, Reason},
};
use tokio::time::Instant;

use super::{
    ask::Fault,
    device::{Checked, Device, Message},
    frame::{Bad, Cause, Event, Frame},
    parse::Got,
    tally::Tally,
};

/// For a device that may be silent as long as it likes, bad frames without a good one are still told of, this often.
const TELL_BAD: Duration = Duration::from_secs(60);
/// Over which frames are counted against `max_rate`.
const WINDOW: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Ear {
    checked: Arc<Checked>,
    clock: Arc<dyn Clock>,
    harvest: Harvest,
    pub(super) tally: Tally,
    speakers: Vec<Speaker>,
    window: (Instant, u32),
}

/// A device that speaks by itself.
struct Speaker {
    device: usize,
    /// When it is looked at next.
    check: Option<Instant>,
    heard: bool,
    /// Bad things on the line when it was last heard, or when these were last told of.
    bad: u64,
}

impl Ear {
    pub(super) fn new(checked: Arc<Checked>, clock: Arc<dyn Clock>) -> Self {
        let speaking = checked.devices.iter().enumerate().filter(|(_, device)| device.speaks());
        let speakers = speaking.map(|(device, _)| Speaker { device, check: None, heard: false, bad: 0 }).collect();
        Self { checked, clock, harvest: Harvest::default(), tally: Tally::default(), speakers, window: (Instant::now(), 0) }
    }

    /// The line has just been opened.
    pub(super) fn start(&mut self) {
        self.harvest = Harvest::default();
        let (now, total) = (Instant::now(), self.tally.total());
        for speaker in &mut self.speakers {
            speaker.check = Some(now + limit(&self.checked.devices[speaker.device]));
            (speaker.heard, speaker.bad) = (false, total);
        }
    }

    pub(super) fn has_news(&self) -> bool {
        !self.harvest.readings.is_empty() || !self.harvest.misses.is_empty()
    }

    pub(super) fn harvest(&mut self) -> Harvest {
        mem::take(&mut self.harvest)
    }

    /// When silence is to be looked at next.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.speakers.iter().filter_map(|speaker| speaker.check).min()
    }

    /// What the line said by itself.
    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Bad(bad) => self.bad(bad),
            Event::Frame(frame) if self.is_too_much() => self.bad(Bad::new(Cause::Flood, &frame.whole)),
            Event::Frame(frame) => {
                if !self.understand(&frame) {
                    self.bad(Bad::new(Cause::Unknown, &frame.whole));
                }
            }
        }
    }

    pub(super) fn bad(&mut self, bad: Bad) {
        self.tally.add(bad, &self.checked.port.path);
    }

    fn is_too_much(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.window.0) >= WINDOW {
            self.window = (now, 0);
        }
        self.window.1 += 1;
        self.window.1 > self.checked.max_rate
    }

    /// A frame that nobody asked for: for each device the first message that it is like. `false` when it is like none.
    pub(super) fn understand(&mut self, frame: &Frame) -> bool {
        let checked = self.checked.clone();
        let mut known = false;
        for speaker in 0..self.speakers.len() {
            let device = &checked.devices[self.speakers[speaker].device];
            let speaking = device.messages.iter().filter(|message| message.asked.is_none() && message.has_readings());
            let found = speaking.into_iter().find_map(|message| Some((message, message.pattern.read(frame)?)));
            if let Some((message, got)) = found {
                known = true;
                let bad = self.tally.total();
                let speaker = &mut self.speakers[speaker];
                if !got.is_empty() {
                    (speaker.heard, speaker.bad) = (true, bad);
                }
                self.take(device, message, got);
            }
        }
        known
    }

    /// Readings of one frame.
    pub(super) fn take(&mut self, device: &Device, message: &Message, got: Vec<(usize, Got)>) {
        let taken = self.clock.now();
        for (at, got) in got {
            let Some(field) = message.pattern.fields.get(at) else { continue };
            let (value, quality) = match got {
                Ok(value) => (Some(value), Quality::Good),
                Err(reason) => (None, Quality::Bad(reason)),
            };
            self.harvest.readings.push(Reading { leaf: device.id.clone(), point: field.name.clone(), value, quality, taken });
        }
    }

    pub(super) fn miss(&mut self, device: &Device, points: Vec<PointName>, fault: &Fault) {
        let miss = Miss { leaf: device.id.clone(), points, reason: fault.reason(), detail: fault.to_string(), taken: self.clock.now() };
        self.harvest.misses.push(miss);
    }

    /// Devices that should have spoken and did not.
    pub(super) fn check_silence(&mut self) {
        let (checked, now, total) = (self.checked.clone(), Instant::now(), self.tally.total());
        for at in 0..self.speakers.len() {
            let speaker = &mut self.speakers[at];
            if speaker.check.is_none_or(|check| check > now) {
                continue;
            }
            let device = &checked.devices[speaker.device];
            let (heard, bad) = (mem::take(&mut speaker.heard), total - speaker.bad);
            speaker.check = Some(now + limit(device));
            if heard || (bad == 0 && device.silent_after.is_zero()) {
                continue;
            }
            if device.silent_after.is_zero() {
                // Told once: it may be silent as long as it likes.
                speaker.bad = total;
            }
            let within = limit(device).as_millis();
            let (reason, detail) = match bad {
                0 => (Reason::Timeout, format!("nothing heard of it for {within} ms")),
                _ => (Reason::Garbled, format!("no good frame for {within} ms; since the start {}", self.tally.words())),
            };
            let spoken = device.messages.iter().filter(|message| message.asked.is_none());
            let points = spoken.flat_map(Message::points).collect();
            self.harvest.misses.push(Miss { leaf: device.id.clone(), points, reason, detail, taken: self.clock.now() });
        }
    }
}

fn limit(device: &Device) -> Duration {
    if device.silent_after.is_zero() { TELL_BAD } else { device.silent_after }
}
