//! What the bytes at the front of the buffer are. Pure; decides only on bytes that are there.

use super::{Cause, Frame, Shape, Spec, enclosed};

/// What is at the front.
pub(super) enum Seen {
    /// Too little to say.
    Nothing,
    /// A good frame of so many bytes.
    Frame {
        /// It.
        frame: Frame,
        /// Bytes it took on the line.
        used: usize,
    },
    /// So many bytes that mean nothing and are nobody's fault: an empty line, the end of what is discarded.
    Pass(usize),
    /// The beginning (or more) of something too long.
    Discard {
        /// Bytes that are there of it.
        count: usize,
        /// Whether it goes on.
        on: bool,
    },
    /// So many bytes outside any frame.
    Noise(usize),
    /// Something like a frame over `extent` bytes. The search goes on `skip` bytes further.
    Bad {
        /// What is wrong with it.
        cause: Cause,
        /// How far it goes.
        extent: usize,
        /// How far to skip.
        skip: usize,
    },
}

pub(super) fn look(spec: &Spec, bytes: &[u8], discarding: bool, last: bool) -> Seen {
    match &spec.shape {
        Shape::Delimited { end, trim } => delimited(spec, bytes, end, *trim, discarding, last),
        Shape::Idle => idle(spec, bytes, discarding, last),
        Shape::Fixed { start, length } => started(spec, bytes, start, last, |_| Some(Some(*length))),
        Shape::Prefixed { start, offset, width, low_first, extra } => started(spec, bytes, start, last, |bytes| {
            if offset + width > spec.most {
                return None;
            }
            let Some(number) = bytes.get(*offset..offset + width) else { return Some(None) };
            let add = |sum: i64, byte: &u8| sum << 8 | i64::from(*byte);
            let number = if *low_first { number.iter().rev().fold(0, add) } else { number.iter().fold(0, add) };
            let length = usize::try_from(number + extra).ok()?;
            (length >= offset + width && length <= spec.most).then_some(Some(length))
        }),
        Shape::Enclosed { start, end, escape, trailer } => match sync(bytes, start, last) {
            Sync::At => enclosed::look(spec, bytes, &enclosed::Marks { start, end, escape: escape.as_ref(), trailer: *trailer }, last),
            Sync::Noise(count) => Seen::Noise(count),
            Sync::Wait => Seen::Nothing,
        },
    }
}

/// The place of `needle` in `bytes`.
pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

enum Sync {
    At,
    Noise(usize),
    Wait,
}

/// Where the next frame can begin. The end of the bytes may be the beginning of a start.
fn sync(bytes: &[u8], start: &[u8], last: bool) -> Sync {
    match find(bytes, start) {
        _ if start.is_empty() => Sync::At,
        Some(0) => Sync::At,
        Some(at) => Sync::Noise(at),
        None if last => Sync::Noise(bytes.len()),
        None => {
            let kept = (1..start.len()).rev().find(|kept| bytes.ends_with(&start[..*kept])).unwrap_or(0);
            if kept == bytes.len() { Sync::Wait } else { Sync::Noise(bytes.len() - kept) }
        }
    }
}

/// Judges the checksum and cuts the body out. `end`: where the body ends at the latest.
pub(super) fn judge(spec: &Spec, whole: Vec<u8>, begin: usize, end: usize) -> Result<Frame, Cause> {
    let mut body = begin..end;
    if let Some(place) = &spec.checksum {
        let counted = place.check(&whole).map_err(|_| Cause::Checksum)?;
        body.end = body.end.min(counted.end);
    }
    body.start = body.start.min(body.end);
    Ok(Frame { whole, body })
}

fn delimited(spec: &Spec, bytes: &[u8], end: &[u8], trim: bool, discarding: bool, last: bool) -> Seen {
    let Some(at) = find(bytes, end) else {
        return match last {
            true if discarding => Seen::Pass(bytes.len()),
            true => Seen::Bad { cause: Cause::Incomplete, extent: bytes.len(), skip: bytes.len() },
            // The last bytes may be the beginning of the delimiter.
            false if bytes.len() >= spec.most + end.len() || (discarding && bytes.len() >= end.len()) => {
                Seen::Discard { count: bytes.len() + 1 - end.len(), on: true }
            }
            false => Seen::Nothing,
        };
    };
    let used = at + end.len();
    if discarding {
        return Seen::Pass(used);
    }
    if at > spec.most {
        return Seen::Discard { count: used, on: false };
    }
    let line = &bytes[..at];
    let line = if trim { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    if line.is_empty() {
        return Seen::Pass(used);
    }
    match judge(spec, line.to_vec(), 0, line.len()) {
        Ok(frame) => Seen::Frame { frame, used },
        Err(cause) => Seen::Bad { cause, extent: used, skip: used },
    }
}

fn idle(spec: &Spec, bytes: &[u8], discarding: bool, last: bool) -> Seen {
    if discarding && last {
        return Seen::Pass(bytes.len());
    }
    if bytes.len() > spec.most || discarding {
        return Seen::Discard { count: bytes.len(), on: true };
    }
    if !last {
        return Seen::Nothing;
    }
    match judge(spec, bytes.to_vec(), 0, bytes.len()) {
        Ok(frame) => Seen::Frame { frame, used: bytes.len() },
        Err(cause) => Seen::Bad { cause, extent: bytes.len(), skip: bytes.len() },
    }
}

/// Frames that say how long they are. `length`: `None` when this is none, `Some(None)` when it cannot be known yet.
fn started(spec: &Spec, bytes: &[u8], start: &[u8], last: bool, length: impl Fn(&[u8]) -> Option<Option<usize>>) -> Seen {
    match sync(bytes, start, last) {
        Sync::At => {}
        Sync::Noise(count) => return Seen::Noise(count),
        Sync::Wait => return Seen::Nothing,
    }
    let whole = match length(bytes) {
        None => return Seen::Noise(1),
        Some(length) => length.and_then(|length| bytes.get(..length)),
    };
    match whole {
        Some(whole) => match judge(spec, whole.to_vec(), 0, whole.len()) {
            Ok(frame) => Seen::Frame { frame, used: whole.len() },
            Err(cause) => Seen::Bad { cause, extent: whole.len(), skip: 1 },
        },
        None if last => Seen::Bad { cause: Cause::Incomplete, extent: bytes.len(), skip: 1 },
        None => Seen::Nothing,
    }
}
