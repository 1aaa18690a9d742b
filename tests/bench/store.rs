//! What the log costs: `cargo bench -p tidegate-store --bench store`.
//!
//! Appends on a real file with real flushes: one message at a time, fifty in one commit, and sixty-four that wait side by side and
//! share commits. Then leasing and settling a backlog, and how many bytes a commit writes. A flush takes what the disk takes; the
//! folder is `TMPDIR`, so point that at the disk that matters.
#![expect(clippy::print_stdout, reason = "a benchmark's figures are its result")]

use std::{fs, sync::Arc, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use tidegate_core::{
    clock::{Clock, HandClock, Timestamp},
    id::{LeafId, MessageId, Name},
    message::{Body, Class, Message, Properties, SystemProperties},
    upstream::Fate,
};
use tidegate_store::{Log, LogOptions, ReaderOptions, Replay, Urgency};
use tokio::runtime::Runtime;

fn main() {
    bytes_of_a_commit();
    divan::main();
}

/// A log in a folder that goes with it, and what drives it.
struct Bench {
    log: Log,
    runtime: Runtime,
    clock: Arc<HandClock>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let clock = HandClock::at(Timestamp(1_767_225_600_000));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let options = LogOptions { max_size: 4 << 30, commit_interval: Duration::from_millis(500), keep_delivered: Duration::ZERO };
        let (log, _) = Log::open(dir.path(), options, clock.clone()).expect("opens");
        log.hold_unsynced(false);
        Self { log, runtime, clock, _dir: dir }
    }

    /// A message of one leaf and poll, ten points.
    fn message(&self, n: usize) -> Message {
        let points: Vec<String> = (0..10).map(|i| format!("\"r{i}\":{}.{}", 20 + i, n % 10)).collect();
        Message {
            id: MessageId::fresh(),
            leaf: LeafId::new(format!("unit-{}", n % 100)).expect("valid"),
            class: Class::Telemetry,
            taken: self.clock.now(),
            ttl: None,
            system: SystemProperties::json(),
            properties: Properties::default(),
            body: Body::Untimed(format!("{{{}}}", points.join(",")).into()),
        }
    }

    fn batch(&self, count: usize) -> Vec<Message> {
        (0..count).map(|n| self.message(n)).collect()
    }

    fn fill(&self, messages: usize) {
        for _ in 0..messages / 1_000 {
            self.runtime.block_on(self.log.append(self.batch(1_000), Urgency::Now)).expect("kept");
        }
    }
}

/// One flush for each.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn append_single(bencher: Bencher<'_, '_>) {
    let bench = Bench::start();
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| bench.batch(1))
        .bench_values(|batch| bench.runtime.block_on(bench.log.append(batch, Urgency::Now)).expect("kept"));
}

/// One flush for all of them, as the polls of half a second make it.
#[divan::bench(args = [50, 500], sample_count = 100, sample_size = 1)]
fn append_group(bencher: Bencher<'_, '_>, messages: usize) {
    let bench = Bench::start();
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| bench.batch(messages))
        .bench_values(|batch| bench.runtime.block_on(bench.log.append(batch, Urgency::Now)).expect("kept"));
}

/// Each waits for its own acknowledgement; what comes while a commit runs shares the next one.
#[divan::bench(args = [64], sample_count = 100, sample_size = 1)]
fn append_side_by_side(bencher: Bencher<'_, '_>, appenders: usize) {
    let bench = Bench::start();
    bencher.counter(ItemsCount::new(appenders)).with_inputs(|| bench.batch(appenders)).bench_values(|batch| {
        bench.runtime.block_on(async {
            let appends = batch.into_iter().map(|message| {
                let log = bench.log.clone();
                tokio::spawn(async move { log.append(vec![message], Urgency::Now).await })
            });
            for append in appends.collect::<Vec<_>>() {
                append.await.expect("no panic").expect("kept");
            }
        });
    });
}

/// A backlog of ten thousand leased and settled as delivered, until all of it is settled on disk.
#[divan::bench(args = [512, 4096], sample_count = 10, sample_size = 1)]
fn lease_and_settle(bencher: Bencher<'_, '_>, window: usize) {
    const BACKLOG: usize = 10_000;
    let bench = Bench::start();
    let name = Name::new("bench").expect("valid");
    let options = ReaderOptions { window, replay: Replay::InOrder, ttl: None };
    let mut reader = bench.runtime.block_on(bench.log.reader(&name, options)).expect("opens");
    bencher.counter(ItemsCount::new(BACKLOG)).with_inputs(|| bench.fill(BACKLOG)).bench_local_values(|()| {
        bench.runtime.block_on(async {
            let mut settled = 0;
            while settled < BACKLOG {
                let leased = reader.lease(256).await.expect("a lease");
                settled += leased.len();
                reader.settle_all(leased.into_iter().map(|leased| (leased.ticket, Fate::Delivered)));
            }
        });
    });
}

/// What the system counts as written to disk by this process, commits of fifty messages, delivered as they come.
fn bytes_of_a_commit() {
    const COMMITS: usize = 400;
    let bench = Bench::start();
    let name = Name::new("bench").expect("valid");
    let options = ReaderOptions { window: 512, replay: Replay::InOrder, ttl: None };
    let mut reader = bench.runtime.block_on(bench.log.reader(&name, options)).expect("opens");
    let (begun, before) = (written(), bench.log.counters());
    bench.runtime.block_on(async {
        for _ in 0..COMMITS {
            bench.log.append(bench.batch(50), Urgency::Now).await.expect("kept");
            let leased = reader.lease(256).await.expect("a lease");
            reader.settle_all(leased.into_iter().map(|leased| (leased.ticket, Fate::Delivered)));
        }
    });
    let after = bench.log.counters();
    let (commits, bytes) = (after.commits - before.commits, after.appended_bytes - before.appended_bytes);
    match (written(), begun) {
        (Some(now), Some(begun)) => println!(
            "commits of 50 messages: {commits} commits, {:.0} bytes each, {:.2} bytes written per byte of message\n",
            (now - begun) as f64 / commits as f64,
            (now - begun) as f64 / bytes as f64
        ),
        _ => println!("no /proc/self/io: bytes are not measured\n"),
    }
}

fn written() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}
