//! The router with a real inbox and a leaf of its own: what it promises, step by step.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value as Json, json};
use tidegate_core::{
    adapter::Receipt,
    clock::{HandClock, Timestamp},
    command::{Action, Outcome},
    id::{LeafId, Name, PointName},
    message::{Class, Properties},
    problem::Problems,
    profile::{LeafProfile, RawPoint, RawWrite, Takes},
    reading::Value,
    upstream::Fate,
    wire,
};
use tidegate_store::{Log, LogOptions, Reader, ReaderOptions, Replay, inbox::Origin};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Asked, CallError, Caller, Options, Parts, Router, Sign, route::Taker};
use crate::{leaf::Order, pulse::Pulses, request::Spoken};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
/// For conditions that take milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(20);

/// How the leaf behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Temper {
    /// Does as it is told, and shows it.
    Obedient,
    /// Nobody knows what it did.
    Vague,
    /// Nothing comes back, and the order is never taken to its end.
    Stuck,
}

/// A leaf with a memory, behind a channel as adapters have one.
#[derive(Debug)]
struct Leaf {
    orders: mpsc::Sender<Order>,
    away: AtomicBool,
    memory: Mutex<BTreeMap<PointName, Value>>,
    writes: AtomicUsize,
    temper: Mutex<Temper>,
}

impl Taker for Leaf {
    fn offer(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(mpsc::error::TrySendError::into_inner)
    }

    fn away(&self, _leaf: &LeafId) -> Option<String> {
        self.away.load(SeqCst).then(|| "it sleeps".to_owned())
    }
}

impl Leaf {
    fn start() -> Arc<Self> {
        let (orders, mut taken) = mpsc::channel::<Order>(4);
        let leaf = Arc::new(Self {
            orders,
            away: AtomicBool::new(false),
            memory: Mutex::default(),
            writes: AtomicUsize::new(0),
            temper: Mutex::new(Temper::Obedient),
        });
        let own = Arc::downgrade(&leaf);
        tokio::spawn(async move {
            while let Some(order) = taken.recv().await {
                let Some(command) = order.begin.await else { continue };
                let Some(leaf) = own.upgrade() else { return };
                let temper = *leaf.temper.lock().expect("not poisoned");
                let outcome = leaf.act(&command.action, temper);
                match temper {
                    Temper::Stuck => std::mem::forget(order.outcome),
                    _ => drop(order.outcome.send(outcome)),
                }
            }
        });
        leaf
    }

    fn act(&self, action: &Action, temper: Temper) -> Outcome {
        let mut memory = self.memory.lock().expect("not poisoned");
        match action {
            Action::Write(points) => {
                self.writes.fetch_add(1, SeqCst);
                if temper == Temper::Vague {
                    return Outcome::Uncertain("no answer".to_owned());
                }
                memory.extend(points.iter().cloned());
                Outcome::Done(points.clone())
            }
            Action::Read(names) => Outcome::Done(names.iter().filter_map(|name| Some((name.clone(), memory.get(name)?.clone()))).collect()),
            Action::Raw(_) | Action::Message { .. } => Outcome::Sent,
        }
    }

    fn behave(&self, temper: Temper) {
        *self.temper.lock().expect("not poisoned") = temper;
    }
}

fn name(text: &str) -> PointName {
    PointName::new(text).expect("valid")
}

/// A leaf with a set-point (tenths, 0 to 80), one that may be written twice, and one that may not be written.
fn profile() -> LeafProfile {
    let mut problems = Problems::default();
    let writable = |repeatable| RawWrite { writable: Some(true), repeatable: Some(repeatable), ..RawWrite::default() };
    let takes = Takes::Whole { least: -32_768, most: 32_767 };
    let mut point = |text: &str, write: RawWrite, takes: Takes| {
        let raw = RawPoint { scale: Some(0.1), min: Some(0.0), max: Some(80.0), write, ..RawPoint::default() };
        raw.check_with(name(text), takes, &mut problems)
    };
    let points = vec![
        point("setpoint", writable(false), takes),
        point("again", writable(true), takes),
        point("temperature", RawWrite::default(), takes),
    ];
    assert!(problems.list().is_empty(), "{:?}", problems.list());
    let id = LeafId::new("boiler").expect("valid");
    LeafProfile { id, points, class: Class::Telemetry, ttl: None, properties: Properties::default() }
}

struct Scene {
    log: Log,
    router: Router,
    leaf: Arc<Leaf>,
    clock: Arc<HandClock>,
    reader: Reader,
    stop: CancellationToken,
    bell: Arc<Notify>,
    dir: Arc<tempfile::TempDir>,
}

impl Scene {
    async fn new() -> Self {
        Self::at(Arc::new(tempfile::tempdir().expect("a folder")), HandClock::at(NOW), Leaf::start()).await
    }

    async fn at(dir: Arc<tempfile::TempDir>, clock: Arc<HandClock>, leaf: Arc<Leaf>) -> Self {
        let options = LogOptions { max_size: 8 << 20, commit_interval: Duration::from_millis(5), keep_delivered: Duration::ZERO };
        let (log, _) = Log::open(dir.path(), options, clock.clone()).expect("opens");
        log.hold_unsynced(false);
        let bell = Arc::new(Notify::new());
        let router = Router::new(Parts {
            log: log.clone(),
            gateway: LeafId::new("gw-01").expect("valid"),
            options: Options { ttl: HOUR, most_deliveries: 3 },
            clock: clock.clone(),
            pulse: Pulses::default().expect("router", HOUR),
            bell: bell.clone(),
        });
        let taker: Arc<dyn Taker> = leaf.clone();
        router.routes().attach("double", &[profile()], &taker);
        let reading = ReaderOptions { window: 4096, replay: Replay::InOrder, ttl: None };
        let reader = log.reader(&Name::new("hub").expect("valid"), reading).await.expect("a reader");
        Self { log, router, leaf, clock, reader, stop: CancellationToken::new(), bell, dir }
    }

    fn run(&self) -> tokio::task::JoinHandle<()> {
        let (router, stop) = (self.router.clone(), self.stop.clone());
        tokio::spawn(async move { router.run(stop).await.map_err(|error| error.why).expect("runs") })
    }

    /// What the hub is told next.
    async fn told(&mut self) -> Json {
        let leased = tokio::time::timeout(SOON, self.reader.lease(1)).await.expect("soon").expect("leases");
        let message = leased[0].message.clone();
        self.reader.settle(leased[0].ticket, Fate::Delivered);
        let mut told: Json = serde_json::from_slice(&wire::body(&message)).expect("JSON");
        told["correlation"] = json!(message.system.correlation_id);
        told
    }

    async fn nothing_told(&mut self) {
        assert!(tokio::time::timeout(Duration::from_millis(300), self.reader.lease(1)).await.is_err(), "something was told");
    }

    async fn send(&self, id: &str, body: &str) -> oneshot::Receiver<()> {
        self.send_as(id, body, Sign::Stored).await
    }

    async fn send_as(&self, id: &str, body: &str, sign: Sign) -> oneshot::Receiver<()> {
        let (receipt, signed) = Receipt::new();
        let spoken = Spoken::read(&body.as_bytes().to_vec().into(), None);
        let origin = Origin { source: "cloud".into(), who: "hub".into(), id: id.into() };
        let leaf = spoken.leaf.or_else(|| Some("boiler".to_owned()));
        let asked =
            Asked { origin, leaf, request: spoken.request, expires: None, again: false, receipt: Some(receipt), sign, teller: None };
        self.router.submit(asked).await.expect("taken");
        signed
    }

    /// The process ends without a word; what is on disk is found by the next one.
    async fn restart(self) -> Self {
        self.stop.cancel();
        let Self { log, router, leaf, clock, reader, dir, .. } = self;
        drop((router, reader));
        log.close().await;
        Self::at(dir, clock, leaf).await
    }
}

async fn signed(receipt: oneshot::Receiver<()>) {
    tokio::time::timeout(SOON, receipt).await.expect("soon").expect("signed");
}

const WRITE: &str = r#"{"write":{"setpoint":21.5}}"#;

#[tokio::test]
async fn a_command_reaches_the_leaf_and_its_outcome_the_hub() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    signed(scene.send("m1", WRITE).await).await;
    let told = scene.told().await;
    assert_eq!((&told["outcome"], &told["values"], &told["correlation"]), (&json!("done"), &json!({ "setpoint": 21.5 }), &json!("m1")));
    assert_eq!(scene.leaf.memory.lock().expect("not poisoned")[&name("setpoint")], Value::Int(215));
    let audit: Vec<_> = scene.router.inbox().audit(9).await.expect("listed").into_iter().map(|line| line.note.event).collect();
    assert_eq!(audit, ["done", "begun"]);
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_and_not_carried_out_again() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    for _ in 0..5 {
        signed(scene.send("m1", WRITE).await).await;
    }
    assert_eq!(scene.told().await["outcome"], "done");
    signed(scene.send("m1", WRITE).await).await;
    scene.nothing_told().await;
    assert_eq!(scene.leaf.writes.load(SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_rejected_in_words_and_nothing_reaches_the_bus() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    for (n, (body, part)) in [
        (r#"{"leaf":"nobody","write":{"a":1}}"#, "no leaf 'nobody'"),
        (r#"{"write":{"nothing":1}}"#, "no such point"),
        (r#"{"write":{"temperature":1}}"#, "not declared writable"),
        (r#"{"write":{"setpoint":80.1}}"#, "80"),
        (r#"{"write":{"setpoint":"warm"}}"#, "setpoint"),
        (r#"{"write":"#, "not understood"),
    ]
    .into_iter()
    .enumerate()
    {
        signed(scene.send(&format!("m{n}"), body).await).await;
        let told = scene.told().await;
        assert_eq!(told["outcome"], "rejected", "{body}");
        assert!(told["reason"].as_str().expect("a reason").contains(part), "{body}: {told}");
    }
    assert_eq!(scene.leaf.writes.load(SeqCst), 0);
}

#[tokio::test]
async fn a_leaf_that_was_away_is_served_when_it_is_back_in_the_order_of_the_commands() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    scene.leaf.away.store(true, SeqCst);
    for n in 0..20 {
        signed(scene.send(&format!("m{n}"), &format!(r#"{{"write":{{"setpoint":{n}}}}}"#)).await).await;
    }
    scene.nothing_told().await;
    scene.leaf.away.store(false, SeqCst);
    scene.bell.notify_one();
    for n in 0..20 {
        let told = scene.told().await;
        assert_eq!((&told["correlation"], &told["outcome"]), (&json!(format!("m{n}")), &json!("done")));
    }
}

#[tokio::test]
async fn a_command_that_waited_too_long_expires_and_never_reaches_the_leaf() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    scene.leaf.away.store(true, SeqCst);
    signed(scene.send("m1", WRITE).await).await;
    scene.clock.advance(HOUR);
    assert_eq!(scene.told().await["outcome"], "expired");
    scene.leaf.away.store(false, SeqCst);
    signed(scene.send("m2", r#"{"read":["setpoint"]}"#).await).await;
    assert_eq!(scene.told().await["correlation"], "m2");
    assert_eq!(scene.leaf.writes.load(SeqCst), 0);
}

#[tokio::test]
async fn an_uncertain_write_is_made_again_only_where_that_does_no_harm() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    scene.leaf.behave(Temper::Vague);
    scene.send("m1", WRITE).await;
    assert_eq!(scene.told().await["outcome"], "uncertain");
    assert_eq!(scene.leaf.writes.load(SeqCst), 1, "not repeatable");
    scene.send("m2", r#"{"write":{"again":5}}"#).await;
    let told = scene.told().await;
    assert_eq!((&told["outcome"], &told["deliveries"]), (&json!("uncertain"), &json!(3)));
    assert_eq!(scene.leaf.writes.load(SeqCst), 4, "three deliveries");
    scene.leaf.behave(Temper::Obedient);
    scene.send("m3", r#"{"write":{"again":5}}"#).await;
    assert_eq!(scene.told().await["outcome"], "done");
}

#[tokio::test]
async fn after_a_restart_a_begun_write_is_done_where_the_leaf_shows_it_and_uncertain_where_not() {
    let mut scene = Scene::new().await;
    for (id, value) in [("shown", 21.5), ("lost", 30.0)] {
        signed(scene.send(id, &format!(r#"{{"write":{{"setpoint":{value}}}}}"#)).await).await;
    }
    signed(scene.send("again", r#"{"write":{"again":5}}"#).await).await;
    // As a power cut leaves it: begun, and not finished.
    for seq in 1..=3 {
        scene.router.inbox().begin(seq, None).await.expect("begun");
    }
    scene.leaf.memory.lock().expect("not poisoned").insert(name("setpoint"), Value::Int(215));
    scene = scene.restart().await;
    let _run = scene.run();
    let told = scene.told().await;
    assert_eq!((&told["correlation"], &told["outcome"]), (&json!("shown"), &json!("done")));
    let told = scene.told().await;
    assert_eq!(
        (&told["correlation"], &told["outcome"], &told["values"]),
        (&json!("lost"), &json!("uncertain"), &json!({ "setpoint": 21.5 }))
    );
    let told = scene.told().await;
    assert_eq!((&told["correlation"], &told["outcome"]), (&json!("again"), &json!("done")));
    assert_eq!(scene.leaf.writes.load(SeqCst), 1, "only the repeatable one was made again");
}

#[tokio::test]
async fn what_waited_before_a_restart_is_carried_out_after_it() {
    let mut scene = Scene::new().await;
    for n in 0..50 {
        signed(scene.send(&format!("m{n}"), WRITE).await).await;
    }
    scene = scene.restart().await;
    let _run = scene.run();
    for n in 0..50 {
        assert_eq!(scene.told().await["correlation"], format!("m{n}"));
    }
    assert_eq!(scene.leaf.writes.load(SeqCst), 50);
}

#[tokio::test]
async fn acknowledged_by_the_leaf_means_not_before_the_outcome() {
    let mut scene = Scene::new().await;
    let _run = scene.run();
    scene.leaf.away.store(true, SeqCst);
    let mut first = scene.send_as("m1", WRITE, Sign::Leaf).await;
    let second = scene.send_as("m1", WRITE, Sign::Leaf).await;
    scene.nothing_told().await;
    assert!(first.try_recv().is_err());
    scene.leaf.away.store(false, SeqCst);
    scene.bell.notify_one();
    assert_eq!(scene.told().await["outcome"], "done");
    signed(first).await;
    signed(second).await;
    signed(scene.send_as("m1", WRITE, Sign::Leaf).await).await;
}

#[tokio::test]
async fn a_queue_that_is_full_says_so_and_keeps_what_it_has() {
    let mut scene = Scene::new().await;
    for n in 0..super::lane::MOST_PER_LEAF {
        let receipt = scene.send(&format!("m{n}"), r#"{"read":[]}"#).await;
        // The limit is judged against what has been kept.
        if n + 100 > super::lane::MOST_PER_LEAF {
            signed(receipt).await;
        }
    }
    let _last = scene.send("one-more", r#"{"read":[]}"#).await;
    let told = scene.told().await;
    assert_eq!((&told["correlation"], &told["outcome"]), (&json!("one-more"), &json!("rejected")));
    assert_eq!(scene.router.waiting(), (super::lane::MOST_PER_LEAF, 1));
}

#[tokio::test]
async fn a_method_is_answered_or_says_how_far_it_came() {
    let scene = Scene::new().await;
    let caller = |ms| Caller {
        origin: Origin { source: "cloud".into(), who: "hub".into(), id: "1f".into() },
        until: tokio::time::Instant::now() + Duration::from_millis(ms),
    };
    let write = || Spoken::read(&WRITE.as_bytes().to_vec().into(), None).request.expect("understood");
    let told = scene.router.call(caller(10_000), "boiler", write()).await.expect("done");
    assert_eq!((told.word, Json::Object(told.values)), ("done", json!({ "setpoint": 21.5 })));
    assert!(matches!(scene.router.call(caller(100), "nobody", write()).await, Err(CallError::NoLeaf(_))));
    scene.leaf.away.store(true, SeqCst);
    assert!(matches!(scene.router.call(caller(100), "boiler", write()).await, Err(CallError::Away { .. })));
    scene.leaf.away.store(false, SeqCst);
    scene.leaf.behave(Temper::Stuck);
    assert_eq!(scene.router.call(caller(300), "boiler", write()).await, Err(CallError::NoAnswer));
    assert_eq!(scene.router.call(caller(0), "boiler", write()).await, Err(CallError::NotBegun));
    assert_eq!(scene.leaf.writes.load(SeqCst), 2);
}
