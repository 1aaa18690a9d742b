//! How frames are told apart: whether what is said makes one framing, and only that.

use std::time::Duration;

use tidegate_core::{problem::Problems, quantity::Span};

use super::super::{
    checksum::{Place, Sum, WORDS, Writing, named},
    config::{RawByteOrder, RawChecksum, RawCounts, RawEscape, RawEscaping, RawFrame, RawFraming, RawWriting},
    frame::{Escape, Shape, Spec},
    template,
};

const DEFAULT_MOST: u32 = 1024;
/// USB adapters hold bytes back for up to 16 ms.
const DEFAULT_GAP: Duration = Duration::from_millis(20);
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
/// A frame that pauses longer than this is two.
const LONGEST_GAP: Duration = Duration::from_secs(60);
/// Longest start, end or delimiter.
const LONGEST_MARK: usize = 16;

pub(super) fn spec(raw: &RawFrame, problems: &mut Problems) -> Option<Spec> {
    only_its_own_keys(raw, problems);
    let checksum = raw.checksum.as_ref().and_then(|sum| checksum(sum, &mut problems.key("checksum")));
    let most = raw.max_length.unwrap_or(DEFAULT_MOST).max(raw.length.unwrap_or(0)) as usize;
    let shape = shape(raw, problems)?;
    if raw.checksum.is_some() && checksum.is_none() {
        return None;
    }
    Some(Spec { shape, most, checksum })
}

/// The silence that ends what has begun.
pub(super) fn gap(raw: &RawFrame, problems: &mut Problems) -> Duration {
    let (key, given, default) = match raw.kind {
        RawFraming::Idle => ("gap", raw.gap, DEFAULT_GAP),
        _ => ("timeout", raw.timeout, DEFAULT_TIMEOUT),
    };
    let gap = given.map_or(default, |span| span.0);
    if gap.is_zero() || gap > LONGEST_GAP {
        problems.key(key).error(format!("{} is no silence that ends a frame", Span(gap)), "write a time from \"1ms\" to \"60s\"");
    }
    gap
}

fn only_its_own_keys(raw: &RawFrame, problems: &mut Problems) {
    use RawFraming::{Delimiter, Enclosed, Fixed, Idle, Length};
    let keys: [(&str, bool, &[RawFraming]); 12] = [
        ("end", raw.end.is_some(), &[Delimiter, Enclosed]),
        ("start", raw.start.is_some(), &[Enclosed, Fixed, Length]),
        ("trailer", raw.trailer.is_some(), &[Enclosed]),
        ("escape", raw.escape.is_some(), &[Enclosed]),
        ("length", raw.length.is_some(), &[Fixed]),
        ("offset", raw.offset.is_some(), &[Length]),
        ("width", raw.width.is_some(), &[Length]),
        ("order", raw.order.is_some(), &[Length]),
        ("counts", raw.counts.is_some(), &[Length]),
        ("plus", raw.plus.is_some(), &[Length]),
        ("gap", raw.gap.is_some(), &[Idle]),
        ("timeout", raw.timeout.is_some() && raw.kind == Idle, &[]),
    ];
    for (key, _, kinds) in keys.iter().filter(|(_, given, kinds)| *given && !kinds.contains(&raw.kind)) {
        let words: Vec<_> = kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        let next = match words.is_empty() {
            true => "leave it out; for idle there is `gap`".to_owned(),
            false => format!("leave it out; it is for {}", words.join(" and ")),
        };
        problems.key(key).error("has no meaning with this type of frame", next);
    }
}

fn mark(key: &str, given: Option<&String>, problems: &mut Problems) -> Option<Vec<u8>> {
    let mut problems = problems.key(key);
    let Some(text) = given else {
        problems.error("is missing", "write the bytes, with escapes: '\\x02', '\\r\\n'");
        return None;
    };
    match template::bytes(text) {
        Ok(bytes) if (1..=LONGEST_MARK).contains(&bytes.len()) => Some(bytes),
        Ok(_) => {
            problems.error(format!("is not 1 to {LONGEST_MARK} bytes"), "write the bytes, with escapes: '\\x02', '\\r\\n'");
            None
        }
        Err(why) => {
            problems.error(why, "escapes are \\r \\n \\t \\0 \\\\ \\xHH");
            None
        }
    }
}

fn shape(raw: &RawFrame, problems: &mut Problems) -> Option<Shape> {
    let start = |problems: &mut Problems| match &raw.start {
        Some(_) => mark("start", raw.start.as_ref(), problems),
        None => Some(Vec::new()),
    };
    match raw.kind {
        RawFraming::Line => Some(Shape::Delimited { end: b"\n".to_vec(), trim: true }),
        RawFraming::Delimiter => Some(Shape::Delimited { end: mark("end", raw.end.as_ref(), problems)?, trim: false }),
        RawFraming::Idle => Some(Shape::Idle),
        RawFraming::Fixed => {
            let start = start(problems)?;
            let Some(length) = raw.length.map(|length| length as usize).filter(|length| *length > start.len()) else {
                problems.key("length").error("is missing, or leaves no room", "write how many bytes a frame has, all of them");
                return None;
            };
            if start.is_empty() && raw.checksum.is_none() {
                problems.warning(
                    "nothing tells where a frame begins: one lost byte shifts all that follow until the line is silent",
                    "add `start` or `checksum` if the frames have them",
                );
            }
            Some(Shape::Fixed { start, length })
        }
        RawFraming::Length => {
            let start = start(problems)?;
            let (offset, width) = (raw.offset.map_or(start.len(), usize::from), usize::from(raw.width.unwrap_or(1)));
            if offset < start.len() {
                problems.key("offset").error("is inside the start bytes", "count from the frame's first byte");
                return None;
            }
            if offset + width > raw.max_length.unwrap_or(DEFAULT_MOST) as usize {
                problems.key("offset").error("is beyond max_length", "check the two");
                return None;
            }
            let counted = match raw.counts.unwrap_or(RawCounts::Rest) {
                RawCounts::Frame => 0,
                RawCounts::Rest => (offset + width) as i64,
            };
            let extra = counted + i64::from(raw.plus.unwrap_or(0));
            Some(Shape::Prefixed { start, offset, width, low_first: raw.order == Some(RawByteOrder::LowFirst), extra })
        }
        RawFraming::Enclosed => {
            let (start, end) = (mark("start", raw.start.as_ref(), problems), mark("end", raw.end.as_ref(), problems));
            let escape = match &raw.escape {
                Some(escape) => Some(self::escape(escape, &mut problems.key("escape"))?),
                None => None,
            };
            Some(Shape::Enclosed { start: start?, end: end?, escape, trailer: usize::from(raw.trailer.unwrap_or(0)) })
        }
    }
}

fn escape(raw: &RawEscape, problems: &mut Problems) -> Option<Escape> {
    if raw.with.is_some() && raw.kind != RawEscaping::Xor {
        problems.key("with").error("is for xor", "leave it out");
    }
    if raw.kind == RawEscaping::Slip {
        if raw.bytes.is_some() {
            problems.key("bytes").error("are known for slip", "leave it out");
        }
        return Some(Escape::Pairs { byte: 0xdb, pairs: vec![(0xdc, 0xc0), (0xdd, 0xdb)] });
    }
    let bytes = mark("bytes", raw.bytes.as_ref(), problems)?;
    match (raw.kind, bytes.as_slice()) {
        (RawEscaping::Double, _) => Some(Escape::Double(bytes)),
        (RawEscaping::Xor, [byte]) => Some(Escape::Xor { byte: *byte, with: raw.with.unwrap_or(0x20) }),
        (RawEscaping::Literal, [byte]) => Some(Escape::Literal(*byte)),
        _ => {
            problems.key("bytes").error("is more than one byte", "write one byte; only double takes several");
            None
        }
    }
}

pub(super) fn checksum(raw: &RawChecksum, problems: &mut Problems) -> Option<Place> {
    let writing = raw.written.map(|written| match written {
        RawWriting::HighFirst => Writing::High,
        RawWriting::LowFirst => Writing::Low,
        RawWriting::Hex => Writing::Hex,
    });
    let after = usize::from(raw.after.unwrap_or(0));
    let (sum, standard, one) = match raw.kind.as_str() {
        "nmea" => (Sum::Xor, Writing::Hex, 1),
        word => match named(word) {
            Some(sum) => (sum, Writing::High, 0),
            None => {
                problems.key("type").error(format!("'{word}' is not a checksum"), format!("write \"nmea\" or one of {}", WORDS.join(", ")));
                return None;
            }
        },
    };
    let bytes = |given: Option<u8>| given.map_or(one, usize::from);
    Some(Place { sum, writing: writing.unwrap_or(standard), skip: bytes(raw.skip), gap: bytes(raw.gap), after })
}
