//! Bytes into frames, and noise told apart from them.
//!
//! Promises: what comes out does not depend on how the bytes were split or joined on the way; after anything that is no
//! frame the search goes on one byte later, so that a good frame behind (or inside) a bad one is found; nothing is kept
//! beyond the longest frame and what was pushed last; bytes that are no part of a good frame are told of
//! once, as a [`Bad`] with its cause, except line ends and NULs between frames.
//!
//! Nothing here looks at the clock: whoever pushes also says when the line has been silent. What a frame means is
//! `parse`'s.

mod enclosed;
mod look;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, ops::Range};

use super::checksum::Place;

pub use enclosed::Escape;
use look::Seen;

/// Bytes kept of something bad: enough to recognise it, short enough for a log line.
pub const MOST_SHOWN: usize = 48;

/// How frames are told apart.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Where they begin and end.
    pub shape: Shape,
    /// Longest frame on the line, delimiters included; anything longer is not one.
    pub most: usize,
    /// The checksum in each.
    pub checksum: Option<Place>,
}

/// Where frames begin and end.
#[derive(Debug, Clone)]
pub enum Shape {
    /// At these bytes, which are not part of the frame. Empty frames are none.
    Delimited {
        /// Such as LF.
        end: Vec<u8>,
        /// Whether a CR before the end is taken off, too.
        trim: bool,
    },
    /// After so many bytes.
    Fixed {
        /// What each begins with; may be empty.
        start: Vec<u8>,
        /// All of its bytes.
        length: usize,
    },
    /// Where a number in the frame says.
    Prefixed {
        /// What each begins with; may be empty.
        start: Vec<u8>,
        /// Where the number is.
        offset: usize,
        /// Its bytes, 1 to 4.
        width: usize,
        /// Whether its low byte comes first.
        low_first: bool,
        /// The frame's length is the number and this.
        extra: i64,
    },
    /// Between these bytes.
    Enclosed {
        /// Never empty.
        start: Vec<u8>,
        /// Never empty.
        end: Vec<u8>,
        /// How these bytes are written inside.
        escape: Option<Escape>,
        /// Bytes that follow the end and belong to the frame, such as a block check.
        trailer: usize,
    },
    /// When the line falls silent.
    Idle,
}

/// One frame, escapes undone, its checksum right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// All of it but the delimiter.
    pub whole: Vec<u8>,
    /// What it says: `whole` without start, end and checksum.
    pub body: Range<usize>,
}

impl Frame {
    /// What it says.
    pub fn body(&self) -> &[u8] {
        self.whole.get(self.body.clone()).unwrap_or_default()
    }
}

/// Why bytes are no frame, or a frame is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Bytes outside any frame.
    Noise,
    /// A frame with a wrong checksum.
    Checksum,
    /// It went on beyond the longest frame.
    Oversized,
    /// It began and did not end.
    Incomplete,
    /// An escape that means nothing.
    Escape,
    /// A whole frame that none of the configured messages is like.
    Unknown,
    /// A whole frame that was let go, because more came than the line's `max_rate`.
    Flood,
}

impl Cause {
    /// All, in the order of their discriminants.
    pub const ALL: [Cause; 7] =
        [Cause::Noise, Cause::Checksum, Cause::Oversized, Cause::Incomplete, Cause::Escape, Cause::Unknown, Cause::Flood];
}

/// As it goes after a count: `3 with a wrong checksum`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Noise => "of noise between frames",
            Cause::Checksum => "with a wrong checksum",
            Cause::Oversized => "too long to be a frame",
            Cause::Incomplete => "cut short",
            Cause::Escape => "with a wrong escape",
            Cause::Unknown => "like no configured message",
            Cause::Flood => "beyond max_rate, let go",
        })
    }
}

/// Bytes that are no good frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Why.
    pub cause: Cause,
    /// How many.
    pub count: usize,
    /// The first of them, at most [`MOST_SHOWN`].
    pub sample: Vec<u8>,
}

impl Bad {
    /// Of all these bytes.
    pub fn new(cause: Cause, bytes: &[u8]) -> Self {
        Self { cause, count: bytes.len(), sample: bytes.iter().take(MOST_SHOWN).copied().collect() }
    }
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame.
    Frame(Frame),
    /// No frame.
    Bad(Bad),
}

/// See the module.
#[derive(Debug)]
pub struct Framer {
    spec: Spec,
    buffer: Vec<u8>,
    /// Where the search stands in the buffer. Everything before it is done with.
    at: usize,
    /// Up to here bytes have been told of as bad.
    told: usize,
    noise: Bad,
    /// The rest of something too long, up to the next delimiter or silence.
    discarding: bool,
    out: VecDeque<Event>,
}

impl Framer {
    /// An empty one.
    pub fn new(spec: Spec) -> Self {
        Self { spec, buffer: Vec::new(), at: 0, told: 0, noise: Bad::new(Cause::Noise, &[]), discarding: false, out: VecDeque::new() }
    }

    /// Bytes from the line. Everything that is ready must be taken with [`Framer::take`] before more is pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.told = self.told.saturating_sub(self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next thing that the bytes so far hold.
    pub fn take(&mut self) -> Option<Event> {
        self.search(false)
    }

    /// The line has been silent: what is there is all there will be. Then [`Framer::take`] until it is empty.
    pub fn silence(&mut self) {
        let mut found = VecDeque::new();
        while let Some(event) = self.search(true) {
            found.push_back(event);
        }
        self.discarding = false;
        self.tell_noise();
        found.append(&mut self.out);
        self.out = found;
    }

    /// Whether a frame, or noise, has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.pending() > 0 || self.noise.count > 0 || self.discarding
    }

    /// Bytes that wait for more.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Forgets what has come.
    pub fn clear(&mut self) {
        *self = Self::new(self.spec.clone());
    }

    fn search(&mut self, last: bool) -> Option<Event> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(event);
            }
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return None;
            }
            match look::look(&self.spec, rest, self.discarding, last) {
                Seen::Nothing => return None,
                Seen::Frame { frame, used } => {
                    self.tell_noise();
                    self.advance(used);
                    self.out.push_back(Event::Frame(frame));
                }
                Seen::Pass(count) => {
                    self.discarding = false;
                    self.advance(count);
                }
                Seen::Discard { count, on } => {
                    self.tell(Cause::Oversized, count);
                    self.advance(count);
                    self.discarding = on;
                }
                Seen::Noise(count) => self.skip(count),
                Seen::Bad { cause, extent, skip } => {
                    self.tell(cause, extent);
                    self.skip(skip);
                }
            }
        }
    }

    fn advance(&mut self, count: usize) {
        self.at = (self.at + count.max(1)).min(self.buffer.len());
        self.told = self.told.max(self.at);
    }

    /// Past bytes that are no frame; those that nobody has been told of are noise.
    fn skip(&mut self, count: usize) {
        let end = (self.at + count.max(1)).min(self.buffer.len());
        let untold = self.buffer.get(self.told.max(self.at)..end).unwrap_or_default();
        let quiet = |byte: &&u8| matches!(byte, b'\r' | b'\n' | 0);
        for byte in untold.iter().filter(|byte| !quiet(byte)) {
            self.noise.count += 1;
            if self.noise.sample.len() < MOST_SHOWN {
                self.noise.sample.push(*byte);
            }
        }
        self.at = end;
        self.told = self.told.max(end);
    }

    /// Says once that these bytes are bad; what was told of before is not told of again.
    fn tell(&mut self, cause: Cause, extent: usize) {
        if self.discarding {
            return;
        }
        let end = (self.at + extent).min(self.buffer.len());
        if self.told < end {
            self.tell_noise();
            let fresh = self.buffer.get(self.told.max(self.at)..end).unwrap_or_default();
            self.out.push_back(Event::Bad(Bad::new(cause, fresh)));
            self.told = end;
        }
    }

    fn tell_noise(&mut self) {
        if self.noise.count > 0 {
            self.out.push_back(Event::Bad(std::mem::replace(&mut self.noise, Bad::new(Cause::Noise, &[]))));
        }
    }
}
