//! What hearing costs: `cargo bench -p tidegate-adapters --bench serial`.
//!
//! - `frame`: bytes into frames, alone, for each framing; `parse`: a frame into values, for each parser.
//! - `line`: whole turns of the adapter over a pipe in memory: framing, parsing, readings with time and leaf.
//!   A line at 115200 baud carries 11 520 bytes a second; the figure per frame times that rate is its share of a core.

use std::{hint::black_box, sync::Arc};

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use tidegate_adapters::serial::{
    Checked, Serial, checked,
    checksum::{Place, Writing, named},
    frame::{Event, Framer, Shape, Spec},
};
use tidegate_core::{adapter::Adapter, clock::SystemClock, problem::Problems};
use tokio::io::AsyncWriteExt;

fn main() {
    divan::main();
}

/// A line of a scale, of a board and of a receiver, and the section that reads it.
const LINES: [(&str, &str, &str); 4] = [
    (
        "regex",
        "ST,GS,+  12.35kg\r\n",
        "parser = \"regex\"\npattern = '^(?<s>ST|US),GS,(?<n>[-+ ]*[0-9.]+) *kg$'\npoint = [{ name = \"n\" }, { name = \"s\", type = \"text\" }]",
    ),
    (
        "json",
        "{\"t\":21.5,\"h\":40,\"door\":false}\r\n",
        "parser = \"json\"\npoint = [{ name = \"t\" }, { name = \"h\" }, { name = \"door\" }]",
    ),
    ("csv", "1,21.5,40,0\r\n", "parser = \"csv\"\npoint = [{ name = \"a\", column = 2 }, { name = \"b\", column = 3 }]"),
    ("pairs", "t=21.5,h=40\r\n", "parser = \"pairs\"\npoint = [{ name = \"t\" }, { name = \"h\" }]"),
];

fn section(message: &str) -> Arc<Checked> {
    let text = format!(
        "port = \"/dev/null\"\nmax_rate = 10000\nframe = {{ type = \"line\" }}\n[[device]]\nid = \"d\"\n[[device.message]]\n{message}\n"
    );
    let section: serde_json::Value = toml::from_str(&text).expect("TOML");
    let mut problems = Problems::default();
    checked(&section, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list())).0
}

fn run(spec: &Spec, bytes: &[u8]) -> usize {
    let mut framer = Framer::new(spec.clone());
    let mut frames = 0;
    // As a UART hands them over.
    for chunk in bytes.chunks(32) {
        framer.push(chunk);
        while let Some(event) = framer.take() {
            frames += usize::from(matches!(event, Event::Frame(_)));
        }
    }
    frames
}

#[divan::bench]
fn frame_lines(bencher: Bencher<'_, '_>) {
    let spec = Spec { shape: Shape::Delimited { end: b"\n".to_vec(), trim: true }, most: 1024, checksum: None };
    let bytes = b"ST,GS,+  12.35kg\r\n".repeat(1000);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| assert_eq!(run(black_box(&spec), &bytes), 1000));
}

fn nmea() -> Spec {
    let checksum = Place { sum: named("xor").expect("known"), writing: Writing::Hex, skip: 1, gap: 1, after: 2 };
    let shape = Shape::Enclosed { start: b"$".to_vec(), end: b"\r\n".to_vec(), escape: None, trailer: 0 };
    Spec { shape, most: 1024, checksum: Some(checksum) }
}

#[divan::bench]
fn frame_nmea(bencher: Bencher<'_, '_>) {
    let bytes = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n".repeat(1000);
    let spec = nmea();
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| assert_eq!(run(black_box(&spec), &bytes), 1000));
}

/// The worst that can come: a start in every byte, and never an end.
#[divan::bench(sample_count = 20)]
fn frame_hostile(bencher: Bencher<'_, '_>) {
    let (spec, bytes) = (nmea(), b"$".repeat(11_520));
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| run(black_box(&spec), &bytes));
}

#[divan::bench(args = ["regex", "json", "csv", "pairs"])]
fn line(bencher: Bencher<'_, '_>, which: &str) {
    const FRAMES: usize = 1000;
    let (_, text, message) = LINES.iter().find(|(name, ..)| *name == which).expect("known");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let checked = section(message);
    let bytes = text.as_bytes().repeat(FRAMES);
    bencher.counter(ItemsCount::new(FRAMES)).bench(|| {
        runtime.block_on(async {
            let (mut device, wire) = tokio::io::duplex(1 << 20);
            let mut serial = Serial::new(checked.clone(), SystemClock::new("bench"));
            serial.attach(Box::new(wire));
            device.write_all(&bytes).await.expect("there is room");
            let mut readings = 0;
            while readings < FRAMES {
                serial.ready().await;
                readings += usize::from(!black_box(serial.read().await.expect("open")).readings.is_empty());
            }
        });
    });
}
