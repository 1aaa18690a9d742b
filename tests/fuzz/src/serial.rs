//! Every framer and parser of serial lines, templates, and the words of a section.

use bolero::check;
use serde_json::json;
use tidegate_adapters::serial::{
    KIND, Serial, checked,
    checksum::{Place, Sum, Writing, named},
    frame::{Escape, Event, Framer, MOST_SHOWN, Shape, Spec},
    template::{self, Template},
};
use tidegate_core::{
    adapter::Adapter,
    clock::{HandClock, Timestamp},
    problem::Problems,
    reading::Value,
};

const MOST: usize = 64;

fn spec(shape: Shape, checksum: Option<Place>) -> Spec {
    Spec { shape, most: MOST, checksum }
}

fn framings() -> Vec<Spec> {
    let crc = Place { sum: named("crc16-modbus").expect("known"), writing: Writing::Low, skip: 0, gap: 0, after: 0 };
    let hex = Place { sum: Sum::Xor, writing: Writing::Hex, skip: 1, gap: 1, after: 1 };
    let enclosed = |start: &[u8], end: &[u8], escape: Option<Escape>, trailer: usize| Shape::Enclosed {
        start: start.to_vec(),
        end: end.to_vec(),
        escape,
        trailer,
    };
    let slip = Escape::Pairs { byte: 0xdb, pairs: vec![(0xdc, 0xc0), (0xdd, 0xdb)] };
    vec![
        spec(Shape::Delimited { end: b"\n".to_vec(), trim: true }, None),
        spec(Shape::Delimited { end: b"\r\n".to_vec(), trim: false }, Some(hex)),
        spec(Shape::Fixed { start: vec![], length: 8 }, Some(crc)),
        spec(Shape::Fixed { start: vec![2], length: 8 }, None),
        spec(Shape::Prefixed { start: vec![2, 3], offset: 2, width: 1, low_first: false, extra: 3 }, Some(crc)),
        spec(Shape::Prefixed { start: vec![], offset: 0, width: 4, low_first: true, extra: -300 }, None),
        spec(Shape::Prefixed { start: vec![], offset: 255, width: 4, low_first: true, extra: 0 }, None),
        spec(enclosed(&[2], &[3], None, 1), Some(hex)),
        spec(enclosed(&[2], &[3], None, 0), None),
        spec(enclosed(&[2], &[3], Some(Escape::Literal(b'\\')), 0), None),
        spec(enclosed(&[0x7e], &[0x7e], Some(Escape::Xor { byte: 0x7d, with: 0x20 }), 0), Some(crc)),
        spec(enclosed(&[0xc0], &[0xc0], Some(slip), 0), None),
        spec(enclosed(&[16, 2], &[16, 3], Some(Escape::Double(vec![16])), 16), None),
        spec(enclosed(&[1, 1, 2], &[1, 1, 3], Some(Escape::Double(vec![1, 1])), 3), Some(crc)),
        spec(Shape::Idle, Some(crc)),
        spec(Shape::Idle, None),
    ]
}

/// Frames, with a silence after every push that is empty.
fn frames<'a>(spec: &Spec, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(spec.clone());
    let mut frames = Vec::new();
    let mut take = |framer: &mut Framer, room: usize| {
        let mut events = 0;
        while let Some(event) = framer.take() {
            events += 1;
            // Two for each byte that was there: what it is, and the noise before it.
            assert!(events <= 2 * (room + MOST + 32), "events without end");
            match event {
                Event::Frame(frame) => {
                    assert!(frame.whole.len() <= MOST + 16 && frame.body().len() <= frame.whole.len(), "{spec:?}");
                    frames.push(frame.whole);
                }
                Event::Bad(bad) => assert!(bad.count > 0 && bad.sample.len() <= MOST_SHOWN, "{bad:?}"),
            }
        }
    };
    for chunk in chunks {
        if chunk.is_empty() {
            framer.silence();
        }
        framer.push(chunk);
        take(&mut framer, chunk.len());
        assert!(framer.pending() <= MOST + 32, "{} bytes kept of {spec:?}", framer.pending());
    }
    framer.silence();
    take(&mut framer, 0);
    frames
}

#[test]
fn framers() {
    let framings = framings();
    check!().with_type::<Vec<u8>>().for_each(|bytes: &Vec<u8>| {
        for spec in &framings {
            let whole = frames(spec, std::iter::once(bytes.as_slice()).filter(|bytes| !bytes.is_empty()));
            let single = frames(spec, bytes.chunks(1));
            assert_eq!(whole, single, "frames do not depend on how the bytes came: {spec:?}");
        }
    });
}

#[test]
fn framers_with_silences() {
    let framings = framings();
    check!().with_type::<Vec<Vec<u8>>>().for_each(|chunks: &Vec<Vec<u8>>| {
        for spec in &framings {
            frames(spec, chunks.iter().map(Vec::as_slice));
        }
    });
}

/// Through the whole adapter, from a pipe: every parser, with lines as frames.
#[test]
fn parsers() {
    let message = |parser: &str, point: serde_json::Value| json!({ "parser": parser, "point": [point] });
    let types = ["u8", "i8", "u16", "u24", "i24", "i32", "u48", "u64", "f16", "f32", "f64", "bcd32", "string", "bytes", "bool"];
    let layout = types.iter().enumerate().map(|(at, kind)| {
        let mut point = json!({ "name": format!("p{at}"), "at": if at % 2 == 0 { 1 } else { -9 }, "type": kind });
        if matches!(*kind, "string" | "bytes") {
            point["length"] = json!(3);
        }
        message("layout", point)
    });
    let mut messages = vec![
        json!({ "parser": "regex", "pattern": "^(?<a>[0-9]+),(?<b>.*)$", "point": [{ "name": "a" }, { "name": "b", "type": "text" }] }),
        json!({ "parser": "regex", "point": [{ "name": "own", "pattern": "(?-u:[\\x80-\\xff]+)", "type": "hex" }] }),
        message("json", json!({ "name": "j", "field": "a[0].b" })),
        message("pairs", json!({ "name": "k" })),
        json!({ "parser": "csv", "decimal_comma": true, "point": [{ "name": "c", "column": 2 }, { "name": "d", "column": 1, "type": "bool" }] }),
        json!({ "parser": "nmea", "point": [{ "name": "latitude" }, { "name": "time" }, { "name": "hdop" }, { "name": "course" }] }),
    ];
    messages.extend(layout);
    // Each parser on a device of its own, so that every frame meets every one.
    let devices: Vec<_> =
        messages.into_iter().enumerate().map(|(at, message)| json!({ "id": format!("d{at}"), "message": [message] })).collect();
    let section = json!({ "port": "/dev/null", "max_rate": 10_000, "frame": { "type": "line" }, "device": devices });
    let mut problems = Problems::default();
    let (checked, _) = checked(&section, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list()));
    check!().with_type::<Vec<u8>>().for_each(|bytes: &Vec<u8>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (mut device, wire) = tokio::io::duplex(1 << 16);
            let mut serial = Serial::new(checked.clone(), HandClock::at(Timestamp(0)));
            serial.attach(Box::new(wire));
            let line = [b"$GPGGA,".as_slice(), bytes, b"\n", bytes, b"\n"].concat();
            tokio::io::AsyncWriteExt::write_all(&mut device, &line).await.expect("there is room");
            drop(device);
            for _ in 0..1_000 {
                serial.ready().await;
                if serial.read().await.is_err() {
                    return;
                }
            }
            panic!("the end of the line was never told");
        });
    });
}

#[test]
fn templates() {
    check!().with_type::<(Vec<u8>, i64, Vec<u8>)>().for_each(|(text, number, value): &(Vec<u8>, i64, Vec<u8>)| {
        let (text, value) = (String::from_utf8_lossy(text), String::from_utf8_lossy(value).into_owned());
        template::bytes(&text).ok();
        let Ok(template) = Template::parse(&text) else { return };
        for value in [Value::Int(*number), Value::Float(*number as f64 / 3.0), Value::Text(value.clone())] {
            let Ok(bytes) = template.render("01", Some(&value), None) else { continue };
            assert!(bytes.len() <= 4 * text.len() + 400 * text.len().max(1), "bounded");
        }
    });
}

/// Sections that are nearly right: every text in them may be anything.
#[test]
fn sections() {
    check!().with_type::<(String, String, String)>().for_each(|(one, two, three): &(String, String, String)| {
        let section = json!({
            "port": "/dev/x", "frame": { "type": "enclosed", "start": one, "end": two, "escape": { "type": "double", "bytes": three } },
            "request_checksum": { "type": one },
            "device": [{ "id": "d", "address": one, "message": [
                { "parser": "regex", "pattern": two, "match": three, "request": one, "point": [{ "name": "p", "pattern": one }] },
                { "parser": "json", "point": [{ "name": "q", "field": two, "writable": true, "write": three, "confirm": one }] },
                { "parser": "pairs", "separator": one, "equals": two, "point": [{ "name": "r", "field": three }] },
            ] }],
        });
        let mut problems = Problems::default();
        let plan = (KIND.check)(&section, &mut problems);
        assert_eq!(plan.is_none(), problems.any_error());
    });
}
