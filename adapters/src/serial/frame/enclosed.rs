//! Frames between start and end bytes, and the ways in which these are written inside.

use super::{
    Cause, Shape, Spec,
    look::{Seen, judge},
};

/// How bytes that would end a frame are written inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Escape {
    /// After this byte comes the byte exclusive-or `with` (HDLC, PPP: 7D and 20).
    Xor {
        /// The byte that announces it.
        byte: u8,
        /// What the next byte is changed by.
        with: u8,
    },
    /// After this byte comes a stand-in (SLIP: DB, with DC for C0 and DD for DB).
    Pairs {
        /// The byte that announces it.
        byte: u8,
        /// Stand-ins and what they stand for.
        pairs: Vec<(u8, u8)>,
    },
    /// These bytes stand twice for once (DLE DLE; SML's four times 1B).
    Double(Vec<u8>),
    /// After this byte comes any byte as it is.
    Literal(u8),
}

pub(super) struct Marks<'a> {
    pub(super) start: &'a [u8],
    pub(super) end: &'a [u8],
    pub(super) escape: Option<&'a Escape>,
    pub(super) trailer: usize,
}

enum Step {
    /// So many bytes on the line that mean this one.
    Byte(usize, u8),
    /// The escape, doubled.
    Twice,
    End,
    /// Another frame begins.
    Start,
    Wrong,
    /// Too little to say.
    More,
}

/// `bytes` begin with the start.
pub(super) fn look(spec: &Spec, bytes: &[u8], marks: &Marks<'_>, last: bool) -> Seen {
    let incomplete = |extent: usize| match last {
        // A flag that ends one frame and begins the next is no frame by itself.
        true if extent == marks.start.len() && marks.start == marks.end => Seen::Pass(extent),
        true => Seen::Bad { cause: Cause::Incomplete, extent, skip: 1 },
        false => Seen::Nothing,
    };
    let window = bytes.get(..spec.most).unwrap_or(bytes);
    let full = window.len() == spec.most;
    let mut whole = marks.start.to_vec();
    let mut at = marks.start.len();
    loop {
        match step(window, at, marks, spec) {
            Step::Byte(used, meaning) => {
                at += used;
                whole.push(meaning);
            }
            Step::Twice => {
                let Some(Escape::Double(twice)) = marks.escape else { return Seen::Nothing };
                at += 2 * twice.len();
                whole.extend_from_slice(twice);
            }
            Step::End => break,
            Step::Start => return Seen::Bad { cause: Cause::Incomplete, extent: at, skip: at },
            Step::Wrong => return Seen::Bad { cause: Cause::Escape, extent: at + 1, skip: 1 },
            Step::More if full => return Seen::Bad { cause: Cause::Oversized, extent: window.len(), skip: 1 },
            Step::More => return incomplete(bytes.len()),
        }
    }
    let shared = marks.start == marks.end;
    if shared && at == marks.start.len() {
        return Seen::Pass(at);
    }
    let body_end = whole.len();
    whole.extend_from_slice(marks.end);
    let after = at + marks.end.len();
    let Some(trailer) = bytes.get(after..after + marks.trailer) else { return incomplete(bytes.len()) };
    whole.extend_from_slice(trailer);
    let used = if shared { at } else { after + marks.trailer };
    match judge(spec, whole, marks.start.len(), body_end) {
        Ok(frame) => Seen::Frame { frame, used },
        Err(cause) => Seen::Bad { cause, extent: used, skip: 1 },
    }
}

fn step(bytes: &[u8], at: usize, marks: &Marks<'_>, spec: &Spec) -> Step {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Step::More };
    let byte = rest[0];
    match (marks.escape, rest.get(1)) {
        (Some(Escape::Double(twice)), _) => match doubled(rest, twice) {
            Doubled::Yes => return Step::Twice,
            Doubled::Maybe => return Step::More,
            Doubled::No => {}
        },
        (Some(Escape::Xor { byte: mark, .. } | Escape::Pairs { byte: mark, .. } | Escape::Literal(mark)), None) if byte == *mark => {
            return Step::More;
        }
        (Some(Escape::Xor { byte: mark, with }), Some(next)) if byte == *mark => return Step::Byte(2, next ^ with),
        (Some(Escape::Literal(mark)), Some(next)) if byte == *mark => return Step::Byte(2, *next),
        (Some(Escape::Pairs { byte: mark, pairs }), Some(next)) if byte == *mark => {
            return pairs.iter().find(|(pair, _)| pair == next).map_or(Step::Wrong, |(_, meant)| Step::Byte(2, *meant));
        }
        _ => {}
    }
    if rest.starts_with(marks.end) {
        return Step::End;
    }
    // Binary frames without escapes may hold the start by chance, and only a checksum can tell.
    let start_is_sure = marks.escape.is_some() || spec.checksum.is_none();
    if start_is_sure && marks.start != marks.end && rest.starts_with(marks.start) {
        return Step::Start;
    }
    let may_become = |mark: &[u8]| rest.len() < mark.len() && mark.starts_with(rest);
    if may_become(marks.end) || (start_is_sure && may_become(marks.start)) {
        return Step::More;
    }
    match marks.escape {
        Some(Escape::Double(twice)) if rest.starts_with(twice) => Step::Wrong,
        _ => Step::Byte(1, byte),
    }
}

enum Doubled {
    Yes,
    No,
    Maybe,
}

fn doubled(rest: &[u8], twice: &[u8]) -> Doubled {
    let wanted = twice.iter().chain(twice);
    let same = rest.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    match same {
        _ if same == 2 * twice.len() => Doubled::Yes,
        _ if same == rest.len() && same > 0 => Doubled::Maybe,
        _ => Doubled::No,
    }
}

impl Escape {
    /// The bytes as they are written inside a frame.
    pub fn write(&self, bytes: &[u8], marks: &[u8]) -> Vec<u8> {
        let mut written = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            match self {
                Escape::Double(twice) if rest.starts_with(twice) => {
                    written.extend(twice.iter().chain(twice));
                    rest = &rest[twice.len()..];
                    continue;
                }
                Escape::Xor { byte: mark, with } if byte == mark || marks.contains(byte) => written.extend([*mark, byte ^ with]),
                Escape::Literal(mark) if byte == mark || marks.contains(byte) => written.extend([*mark, *byte]),
                Escape::Pairs { byte: mark, pairs } => match pairs.iter().find(|(_, meant)| meant == byte) {
                    Some((pair, _)) => written.extend([*mark, *pair]),
                    None => written.push(*byte),
                },
                _ => written.push(*byte),
            }
            rest = after;
        }
        written
    }
}

impl Shape {
    /// What frames begin with.
    pub fn start(&self) -> &[u8] {
        match self {
            Shape::Fixed { start, .. } | Shape::Prefixed { start, .. } | Shape::Enclosed { start, .. } => start,
            Shape::Delimited { .. } | Shape::Idle => &[],
        }
    }
}
