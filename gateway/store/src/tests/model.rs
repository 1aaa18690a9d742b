//! Random steps against a simple model: whatever happens, each message that was acknowledged is, for each reader, delivered,
//! outstanding, or counted as given up.

use std::collections::BTreeMap;

use super::*;

/// What a reader of the model knows.
#[derive(Default)]
struct Seen {
    times: BTreeMap<u64, u32>,
    told: u64,
}

struct Model {
    dir: tempfile::TempDir,
    clock: Arc<HandClock>,
    options: LogOptions,
    log: Option<Log>,
    readers: BTreeMap<&'static str, Option<Reader>>,
    out: BTreeMap<&'static str, Vec<Leased>>,
    seen: BTreeMap<&'static str, Seen>,
    appended: u64,
    crashes: u32,
}

const READERS: [&str; 2] = ["a", "b"];
const WINDOW: usize = 64;

impl Model {
    async fn new(options: LogOptions) -> Self {
        let mut model = Model {
            dir: tempfile::tempdir().expect("a folder"),
            clock: HandClock::at(NOW),
            options,
            log: None,
            readers: BTreeMap::new(),
            out: BTreeMap::new(),
            seen: READERS.map(|name| (name, Seen::default())).into(),
            appended: 0,
            crashes: 0,
        };
        model.open().await;
        model
    }

    async fn open(&mut self) {
        let log = open(self.dir.path(), &self.clock, self.options.clone());
        for reader in READERS {
            let replay = if reader == "b" { Replay::LiveFirst { backfill_percent: 50 } } else { Replay::InOrder };
            let mut opened = log.reader(&name(reader), ReaderOptions { window: WINDOW, replay, ttl: None }).await.expect("a reader");
            opened.begin();
            self.readers.insert(reader, Some(opened));
            self.out.insert(reader, Vec::new());
        }
        self.log = Some(log);
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("open between steps")
    }

    async fn step(&mut self, random: &mut fastrand::Rng) {
        let reader = READERS[random.usize(..2)];
        match random.u32(..100) {
            0..40 => self.append(random).await,
            40..70 => self.lease(reader, random).await,
            70..90 => self.settle(reader, random),
            90..94 => self.begin(reader),
            94..96 => self.clock.advance(Duration::from_secs(random.u64(..10))),
            96..98 => self.reopen().await,
            _ => self.crash().await,
        }
        let status = self.log().status().await.expect("a status");
        assert!(status.bytes <= self.options.max_size);
    }

    async fn append(&mut self, random: &mut fastrand::Rng) {
        let count = random.u64(1..30);
        let class = Class::ALL[random.usize(..4)];
        let messages = (0..count).map(|i| message(&self.clock, class, self.appended + i, random.usize(..200))).collect();
        let urgency = if random.bool() { Urgency::Now } else { Urgency::Lazy };
        self.log().append(messages, urgency).await.expect("appended");
        self.appended += count;
    }

    async fn lease(&mut self, of: &'static str, random: &mut fastrand::Rng) {
        let reader = self.readers.get_mut(of).and_then(Option::as_mut).expect("open");
        if let Ok(leased) = tokio::time::timeout(Duration::from_millis(10), reader.lease(random.usize(1..40))).await {
            self.out.get_mut(of).expect("known").extend(leased.expect("leases"));
        }
        assert!(reader.unsettled() <= WINDOW);
    }

    /// Mostly in order, sometimes not.
    fn settle(&mut self, of: &'static str, random: &mut fastrand::Rng) {
        let out = self.out.get_mut(of).expect("known");
        for _ in 0..random.usize(..out.len() + 1) {
            let at = if random.u32(..10) == 0 { random.usize(..out.len()) } else { 0 };
            let leased = out.remove(at);
            let reader = self.readers.get_mut(of).and_then(Option::as_mut).expect("open");
            if random.u32(..20) == 0 {
                reader.settle(leased.ticket, Fate::Retry);
            } else {
                deliver(self.seen.get_mut(of).expect("known"), &leased);
                reader.settle(leased.ticket, Fate::Delivered);
            }
        }
    }

    /// The link is lost: some of what is out was delivered all the same.
    fn begin(&mut self, of: &'static str) {
        let out = std::mem::take(self.out.get_mut(of).expect("known"));
        let seen = self.seen.get_mut(of).expect("known");
        out.iter().filter(|leased| number(&leased.message).is_some()).take(out.len() / 2).for_each(|leased| deliver(seen, leased));
        self.readers.get_mut(of).and_then(Option::as_mut).expect("open").begin();
    }

    async fn reopen(&mut self) {
        self.readers.clear();
        self.log.take().expect("open").close().await;
        self.open().await;
    }

    /// The process is killed: only what is in the files counts.
    async fn crash(&mut self) {
        self.crashes += 1;
        let copy = tempfile::tempdir().expect("a folder");
        for file in ["log.db", "log.db-wal"] {
            let from = self.dir.path().join(file);
            if from.exists() {
                std::fs::copy(from, copy.path().join(file)).expect("copied");
            }
        }
        self.readers.clear();
        self.log.take().expect("open").close().await;
        self.dir = copy;
        self.open().await;
    }

    /// Delivers all that is left, and compares.
    async fn finish(mut self) {
        for of in READERS {
            self.begin(of);
            let reader = self.readers.get_mut(of).and_then(Option::as_mut).expect("open");
            let seen = self.seen.get_mut(of).expect("known");
            let log = self.log.as_ref().expect("open between steps");
            let patience = tokio::time::Instant::now() + Duration::from_secs(30);
            // A disk may take a second for a flush when others use it as well.
            while !has_all(log, of).await && tokio::time::Instant::now() < patience {
                let Ok(leased) = tokio::time::timeout(Duration::from_millis(200), reader.lease(64)).await else { continue };
                for leased in leased.expect("leases") {
                    deliver(seen, &leased);
                    reader.settle(leased.ticket, Fate::Delivered);
                }
            }
        }
        let status = self.log().status().await.expect("a status");
        for (of, reader) in READERS.iter().zip(&status.readers) {
            let seen = &self.seen[of];
            assert_eq!(reader.outstanding, 0, "reader {of}");
            let missing = self.appended - seen.times.len() as u64;
            assert!(seen.told >= missing, "reader {of}: {missing} missing, {} told", seen.told);
            if self.crashes == 0 {
                let delivered_though_given_up = seen.told - missing;
                assert!(delivered_though_given_up <= WINDOW as u64 * 64, "{delivered_though_given_up}");
            }
        }
    }
}

/// Nothing waits for this reader, and it was told of every gap.
async fn has_all(log: &Log, of: &str) -> bool {
    let status = log.status().await.expect("a status");
    let waits = status.readers.iter().any(|reader| reader.name.as_str() == of && reader.outstanding > 0);
    !waits && log.gaps(10_000).await.expect("readable").iter().all(|gap| gap.reader != of || gap.told)
}

fn deliver(seen: &mut Seen, leased: &Leased) {
    match number(&leased.message) {
        Some(n) => *seen.times.entry(n).or_default() += 1,
        None => {
            let body: serde_json::Value = serde_json::from_slice(leased.message.body.stored()).expect("JSON");
            seen.told += body["gap"]["count"].as_u64().expect("a count");
        }
    }
}

async fn run(seed: u64, steps: u32, max_size: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = Model::new(LogOptions { max_size, commit_interval: Duration::from_millis(1), ..options() }).await;
    for _ in 0..steps {
        model.step(&mut random).await;
    }
    model.finish().await;
}

#[tokio::test]
async fn random_steps_with_room_enough_lose_nothing() {
    for seed in 0..4 {
        run(seed, 300, 64 << 20).await;
    }
}

#[tokio::test]
async fn random_steps_in_little_room_lose_only_what_is_counted() {
    for seed in 100..104 {
        run(seed, 300, 60_000).await;
    }
}
