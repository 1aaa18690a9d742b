//! Frames between noise, split and joined at every byte.

use proptest::prelude::*;

use super::{
    super::checksum::{Sum, Writing, named},
    *,
};

fn crc(skip: usize, after: usize) -> Place {
    Place { sum: named("crc32").expect("known"), writing: Writing::High, skip, gap: 0, after }
}

fn spec(shape: Shape, checksum: Option<Place>) -> Spec {
    Spec { shape, most: 64, checksum }
}

/// Frames and bads, with the line silent at the end.
fn run(spec: &Spec, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<Bad>) {
    let mut framer = Framer::new(spec.clone());
    let (mut frames, mut bads) = (Vec::new(), Vec::new());
    let mut take = |framer: &mut Framer| {
        while let Some(event) = framer.take() {
            match event {
                Event::Frame(frame) => frames.push(frame.body().to_vec()),
                Event::Bad(bad) => bads.push(bad),
            }
        }
    };
    for chunk in chunks {
        framer.push(chunk);
        take(&mut framer);
        assert!(framer.pending() <= spec.most + chunk.len() + 16, "memory is bounded");
    }
    framer.silence();
    take(&mut framer);
    (frames, bads)
}

fn causes(bads: &[Bad]) -> Vec<Cause> {
    bads.iter().map(|bad| bad.cause).collect()
}

fn lines() -> Spec {
    spec(Shape::Delimited { end: b"\n".to_vec(), trim: true }, None)
}

fn enclosed(escape: Option<Escape>, checksum: Option<Place>) -> Spec {
    spec(Shape::Enclosed { start: vec![2], end: vec![3], escape, trailer: 0 }, checksum)
}

#[test]
fn lines_end_where_they_end_and_empty_ones_are_none() {
    let (frames, bads) = run(&lines(), &[b"one\r\n\r\n\ntwo\nthr", b"ee\r\n"]);
    assert_eq!((frames, bads), (vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()], vec![]));
}

#[test]
fn a_line_without_end_is_one_bad_and_the_next_one_is_found() {
    let endless = vec![b'x'; 5000];
    let (frames, bads) = run(&lines(), &[&endless, &endless, b"x\nnext\n"]);
    assert_eq!((frames, causes(&bads)), (vec![b"next".to_vec()], vec![Cause::Oversized]));
    assert_eq!(bads[0].sample.len(), MOST_SHOWN);
}

#[test]
fn a_start_inside_a_frame_begins_a_new_one() {
    let (frames, bads) = run(&enclosed(None, None), &[b"\x02lost\x02good\x03\r\n?\x02next\x03\x02cut"]);
    assert_eq!(frames, [b"good".to_vec(), b"next".to_vec()]);
    assert_eq!(causes(&bads), [Cause::Incomplete, Cause::Noise, Cause::Incomplete]);
}

#[test]
fn the_block_check_behind_the_end_counts_it() {
    let bcc = Place { sum: Sum::Xor, writing: Writing::High, skip: 1, gap: 0, after: 0 };
    let spec = spec(Shape::Enclosed { start: vec![2], end: vec![3], escape: None, trailer: 1 }, Some(bcc));
    let check = b"AB\x03".iter().fold(0, |sum, byte| sum ^ byte);
    let (frames, bads) = run(&spec, &[&[2, b'A', b'B', 3, check, 2, b'A', b'B', 3, check ^ 1]]);
    assert_eq!((frames, causes(&bads)), (vec![b"AB".to_vec()], vec![Cause::Checksum]));
}

#[test]
fn sml_frames_keep_their_doubled_escape() {
    let start = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1].to_vec();
    let end = [0x1b, 0x1b, 0x1b, 0x1b, 0x1a].to_vec();
    let shape = Shape::Enclosed { start: start.clone(), end: end.clone(), escape: Some(Escape::Double(vec![0x1b; 4])), trailer: 3 };
    let line = [start, vec![7, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 9], end, vec![0, 0xaa, 0xbb]].concat();
    for at in 0..line.len() {
        let (frames, bads) = run(&spec(shape.clone(), None), &[&line[..at], &line[at..]]);
        assert_eq!((frames, bads), (vec![vec![7, 0x1b, 0x1b, 0x1b, 0x1b, 9]], vec![]), "split at {at}");
    }
}

#[test]
fn a_flag_ends_one_frame_and_begins_the_next() {
    let shape = Shape::Enclosed { start: vec![0x7e], end: vec![0x7e], escape: Some(Escape::Xor { byte: 0x7d, with: 0x20 }), trailer: 0 };
    let (frames, bads) = run(&spec(shape, None), &[b"\x7eone\x7etwo\x7e\x7ea\x7d\x5eb\x7e"]);
    assert_eq!((frames, bads), (vec![b"one".to_vec(), b"two".to_vec(), b"a\x7eb".to_vec()], vec![]));
}

#[test]
fn slip_stand_ins_are_undone_and_others_are_wrong() {
    let escape = Escape::Pairs { byte: 0xdb, pairs: vec![(0xdc, 0xc0), (0xdd, 0xdb)] };
    let shape = Shape::Enclosed { start: vec![0xc0], end: vec![0xc0], escape: Some(escape), trailer: 0 };
    let (frames, bads) = run(&spec(shape, None), &[&[0xc0, 1, 0xdb, 0xdc, 0xdb, 0xdd, 0xc0, 0xdb, 7, 0xc0, 5, 0xc0]]);
    assert_eq!(frames[0], [1, 0xc0, 0xdb]);
    assert_eq!(frames.last(), Some(&vec![5]));
    assert!(causes(&bads).contains(&Cause::Escape), "{bads:?}");
}

#[test]
fn silence_ends_what_only_silence_can_end() {
    let idle = spec(Shape::Idle, None);
    let mut framer = Framer::new(idle);
    framer.push(b"ab");
    assert_eq!(framer.take(), None);
    framer.push(b"c");
    framer.silence();
    assert!(matches!(framer.take(), Some(Event::Frame(frame)) if frame.body() == b"abc"));
    framer.push(&[0; 500]);
    assert!(matches!(framer.take(), Some(Event::Bad(bad)) if bad.cause == Cause::Oversized));
    framer.push(&[0; 500]);
    assert_eq!(framer.take(), None);
    framer.silence();
    framer.push(b"de");
    framer.silence();
    assert!(matches!(framer.take(), Some(Event::Frame(frame)) if frame.body() == b"de"));
}

/// Makes a frame of a body.
type Wrap = fn(&[u8]) -> Vec<u8>;

/// A good frame of each framing that can be told from noise, around these bytes.
fn framings() -> Vec<(Spec, Wrap)> {
    let hdlc = Escape::Xor { byte: 0x7d, with: 0x20 };
    fn sum(bytes: &[u8]) -> Vec<u8> {
        crc(0, 0).write(bytes)
    }
    vec![
        // Without escapes a frame must be text, and so must its checksum.
        (enclosed(None, Some(Place { writing: Writing::Hex, ..crc(1, 1) })), |body| {
            let body: Vec<u8> = body.iter().map(|byte| byte | 0x20).collect();
            let sum = Place { writing: Writing::Hex, ..crc(0, 0) }.write(&body);
            [&[2], &body[..], &sum, &[3]].concat()
        }),
        (spec(Shape::Enclosed { start: vec![2], end: vec![3], escape: Some(hdlc), trailer: 0 }, Some(crc(1, 1))), |body| {
            let inside = [body, &sum(body)].concat();
            let inside = Escape::Xor { byte: 0x7d, with: 0x20 }.write(&inside, &[2, 3]);
            [&[2][..], &inside, &[3]].concat()
        }),
        (
            spec(
                Shape::Enclosed { start: vec![16, 2], end: vec![16, 3], escape: Some(Escape::Double(vec![16])), trailer: 0 },
                Some(crc(2, 2)),
            ),
            |body| {
                let inside = Escape::Double(vec![16]).write(&[body, &sum(body)].concat(), &[]);
                [&[16, 2][..], &inside, &[16, 3]].concat()
            },
        ),
        (spec(Shape::Prefixed { start: vec![0xaa], offset: 1, width: 1, low_first: false, extra: 6 }, Some(crc(0, 0))), |body| {
            let head = [&[0xaa, body.len() as u8][..], body].concat();
            [&head[..], &sum(&head)].concat()
        }),
        (spec(Shape::Prefixed { start: vec![], offset: 0, width: 2, low_first: true, extra: 6 }, Some(crc(0, 0))), |body| {
            let head = [&[body.len() as u8, 0][..], body].concat();
            [&head[..], &sum(&head)].concat()
        }),
        (spec(Shape::Fixed { start: vec![], length: 12 }, Some(crc(0, 0))), |body| {
            let body: Vec<u8> = body.iter().copied().chain([9; 8]).take(8).collect();
            [&body[..], &sum(&body)].concat()
        }),
    ]
}

/// What [`framings`] puts around the body, taken off again: what stands in the frame as its body.
fn bodies(spec: &Spec, wire: &[u8]) -> Vec<u8> {
    let (frames, bads) = run(spec, &[wire]);
    assert_eq!((frames.len(), bads.len()), (1, 0), "{spec:?} {wire:02x?}");
    frames[0].clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Noise without the end of a frame cannot eat one that has a checksum, wherever the reads fall.
    #[test]
    fn every_good_frame_between_noise_is_found_however_it_is_split(
        parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 1..20)), 1..6),
        cuts in prop::collection::vec(1_usize..40, 1..40),
    ) {
        for (spec, wrap) in framings() {
            let hostile: &[u8] = match &spec.shape { Shape::Enclosed { escape: Some(_), .. } => &[0x7d, 16], _ => &[] };
            let mut line = Vec::new();
            let mut expected = Vec::new();
            for (noise, body) in &parts {
                // An escape right before a frame makes its start part of the noise: that is what escapes mean.
                line.extend(noise.iter().filter(|byte| !hostile.contains(byte)));
                let wire = wrap(body);
                expected.push(bodies(&spec, &wire));
                line.extend(wire);
            }
            let mut chunks = Vec::new();
            let mut rest = &line[..];
            for cut in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let (frames, _) = run(&spec, &chunks);
            prop_assert_eq!(&frames, &expected, "{:?}", spec.shape);
            let single: Vec<&[u8]> = line.chunks(1).collect();
            prop_assert_eq!(run(&spec, &single).0, expected, "{:?}", spec.shape);
        }
    }

    /// Lines between lines of noise: the delimiter is all there is to hold on to.
    #[test]
    fn every_good_line_between_noisy_ones_is_found(
        lines in prop::collection::vec(("[ -~]{1,40}", prop::collection::vec(any::<u8>(), 0..100)), 1..6),
        size in 1_usize..20,
    ) {
        let mut line = Vec::new();
        for (good, noise) in &lines {
            line.extend(noise.iter().filter(|byte| **byte != b'\n'));
            line.push(b'\n');
            line.extend(good.as_bytes());
            line.extend(b"\r\n");
        }
        let chunks: Vec<&[u8]> = line.chunks(size).collect();
        let (frames, _) = run(&self::lines(), &chunks);
        let mut frames = frames.iter();
        for (good, _) in &lines {
            prop_assert!(frames.any(|frame| frame == good.as_bytes()), "{:?}", good);
        }
    }
}
