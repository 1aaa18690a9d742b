//! What a checked section is made of: the line, its devices, their messages.

use std::{sync::Arc, time::Duration};

use regex::bytes::Regex;
use tidegate_core::id::{LeafId, PointName};

use super::{checksum::Place, frame::Spec, parse::Pattern, port::Port, template::Template};

/// A checked section.
#[derive(Debug)]
pub struct Checked {
    /// The port.
    pub(super) port: Port,
    /// How frames are told apart.
    pub(super) spec: Spec,
    /// The silence that ends what has begun.
    pub(super) gap: Duration,
    /// For {checksum} in requests.
    pub(super) request_checksum: Option<Place>,
    /// Repetitions of a request.
    pub(super) retries: u8,
    /// Silence before each request.
    pub(super) pause: Duration,
    /// Most frames in a second.
    pub(super) max_rate: u32,
    /// The devices.
    pub(super) devices: Vec<Arc<Device>>,
}

/// One leaf.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: LeafId,
    pub(super) address: String,
    pub(super) timeout: Duration,
    /// Zero for never.
    pub(super) silent_after: Duration,
    /// Takes bytes as they are.
    pub(super) raw: bool,
    pub(super) messages: Vec<Message>,
}

/// A message that a device sends.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) pattern: Pattern,
    /// `None`: the device speaks by itself.
    pub(super) asked: Option<Asked>,
    /// For each field that can be written, how; as long as the pattern's fields.
    pub(super) writes: Vec<Option<Write>>,
}

/// How a message is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) prelude: Vec<(Template, Vec<u8>)>,
    pub(super) request: Template,
    pub(super) interval: Duration,
    /// As the user wrote it, for people.
    pub(super) shown: String,
}

/// How a point is written.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) template: Template,
    pub(super) confirm: Option<Regex>,
    pub(super) refuse: Option<Regex>,
    pub(super) read_back: bool,
}

impl Device {
    /// Whether it ever says something by itself.
    pub(super) fn speaks(&self) -> bool {
        self.messages.iter().any(|message| message.asked.is_none() && message.has_readings())
    }

    /// The intervals of its asked messages, in their order.
    pub(super) fn intervals(&self) -> Vec<Duration> {
        self.messages.iter().filter_map(|message| message.asked.as_ref()).map(|asked| asked.interval).collect()
    }

    /// Messages a minute at most; `None` when it speaks when it likes.
    pub(super) fn pace(&self) -> Option<f64> {
        (!self.speaks()).then(|| self.intervals().iter().map(|interval| 60.0 / interval.as_secs_f64()).sum())
    }

    /// Its asked messages.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&Message, &Asked)> {
        self.messages.iter().filter_map(|message| Some((message, message.asked.as_ref()?)))
    }

    /// A point's message and its place in it.
    pub(super) fn find(&self, point: &PointName) -> Option<(&Message, usize)> {
        self.messages.iter().find_map(|message| Some((message, message.pattern.fields.iter().position(|field| field.name == *point)?)))
    }
}

impl Message {
    /// Whether any of its points is ever read.
    pub(super) fn has_readings(&self) -> bool {
        self.pattern.fields.iter().any(super::parse::Field::is_read)
    }

    /// The points that are read.
    pub(super) fn points(&self) -> Vec<PointName> {
        self.pattern.fields.iter().filter(|field| field.is_read()).map(|field| field.name.clone()).collect()
    }
}
