//! What every adapter promises (`tidegate_core::adapter::Adapter`), over every row of the catalogue.
//!
//! A new row needs a line in [`trial`]: how to start its simulated leaves, and a section that reaches them.

use std::{future::poll_fn, path::Path, task::Poll, time::Duration};

use serde_json::Value as Json;
use tidegate_adapters::{
    CATALOGUE,
    modbus::{plan::Table, simulator::Simulator, transport::Framing},
    serial::simulator::Cable,
};
use tidegate_core::{
    adapter::Adapter,
    catalogue::{AdapterKind, AdapterPlan},
    clock::{HandClock, Timestamp},
    command::{Action, Command, Outcome},
    id::LeafId,
    problem::Problems,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, UnixListener},
    task::JoinHandle,
    time::timeout,
};

/// A read that takes longer than this is not bounded.
const BOUND: Duration = Duration::from_secs(20);

/// Simulated leaves that answer: one leaf `leaf` with one point.
struct Trial {
    section: Json,
    leaves: JoinHandle<()>,
    address: String,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.leaves.abort();
        // A port's name; an address of the network is no file.
        std::fs::remove_file(&self.address).ok();
    }
}

async fn trial(kind: &AdapterKind) -> Trial {
    match kind.name {
        "ble" => ble(&std::env::temp_dir().join(format!("tidegate-ble-{}-{:08x}", std::process::id(), fastrand::u32(..)))).await,
        "modbus" => modbus("127.0.0.1:0").await,
        "serial" => serial(&fresh_name()),
        other => panic!("how are leaves for '{other}' simulated? Say so here"),
    }
}

/// The same leaves again, after they were gone.
async fn again(kind: &AdapterKind, address: &str) -> Trial {
    match kind.name {
        "ble" => ble(Path::new(address)).await,
        "modbus" => modbus(address).await,
        "serial" => serial(address),
        other => panic!("how are leaves for '{other}' simulated? Say so here"),
    }
}

/// A receiver on a socket that hears one thermometer again and again.
async fn ble(path: &Path) -> Trial {
    std::fs::remove_file(path).ok();
    let listener = UnixListener::bind(path).expect("a socket");
    let leaves = tokio::spawn(async move {
        let mut receivers = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            receivers.spawn(async move {
                while stream.write_all(b"A4:C1:38:8D:18:B2 -60 sfcd2=4002ca09\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
    let address = path.display().to_string();
    let section = format!(
        "radio = \"{address}\"\n[[device]]\nid = \"leaf\"\naddress = \"A4:C1:38:8D:18:B2\"\ninterval = \"30ms\"\n\
         [[device.point]]\nname = \"temperature\"\n"
    );
    Trial { section: toml::from_str(&section).expect("TOML"), leaves, address }
}

async fn modbus(address: &str) -> Trial {
    let listener = loop {
        // A port that was just given up may take a moment to be free.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let address = listener.local_addr().expect("bound").to_string();
    let simulator = Simulator::new();
    simulator.set(1, Table::Holding, 0, &[42]);
    let leaves = tokio::spawn(async move {
        simulator.serve_tcp(listener, Framing::Mbap).await.ok();
    });
    let section = format!(
        "transport = \"tcp\"\naddress = \"{address}\"\ntimeout = \"300ms\"\n[[device]]\nid = \"leaf\"\nunit = 1\ninterval = \"30ms\"\n\
         [[device.point]]\nname = \"p\"\nregister = \"holding\"\naddress = 0\n"
    );
    Trial { section: toml::from_str(&section).expect("TOML"), leaves, address }
}

/// A name for a port that is not there yet.
fn fresh_name() -> String {
    std::env::temp_dir().join(format!("tidegate-contract-{}-{:016x}", std::process::id(), fastrand::u64(..))).display().to_string()
}

/// Speaks every 30 ms. The name is a link, as udev makes them, because each pty has another number.
fn serial(address: &str) -> Trial {
    let cable = Cable::lay().expect("a pty");
    std::fs::remove_file(address).ok();
    std::os::unix::fs::symlink(&cable.path, address).expect("a link");
    let leaves = tokio::spawn(async move {
        cable.speak(Duration::from_millis(30), || b"p=42\r\n".to_vec()).await.ok();
    });
    let section = format!(
        "port = \"{address}\"\nframe = {{ type = \"line\" }}\n[[device]]\nid = \"leaf\"\n[[device.message]]\nparser = \"pairs\"\n\
         point = [{{ name = \"p\" }}]\n"
    );
    Trial { section: toml::from_str(&section).expect("TOML"), leaves, address: address.to_owned() }
}

fn plan(kind: &AdapterKind, section: &Json) -> AdapterPlan {
    let mut problems = Problems::default();
    let plan = (kind.check)(section, &mut problems);
    plan.unwrap_or_else(|| panic!("{}: {:?}", kind.name, problems.list()))
}

fn build(kind: &AdapterKind, section: &Json) -> Box<dyn Adapter> {
    (plan(kind, section).build)(HandClock::at(Timestamp(0)))
}

/// Turns until a reading comes.
async fn until_read(kind: &AdapterKind, adapter: &mut Box<dyn Adapter>) {
    loop {
        timeout(BOUND, adapter.ready()).await.unwrap_or_else(|_| panic!("{}: nothing is ever due", kind.name));
        let read = timeout(BOUND, adapter.read()).await.unwrap_or_else(|_| panic!("{}: a read is not bounded", kind.name));
        if !read.unwrap_or_else(|error| panic!("{}: {error}", kind.name)).readings.is_empty() {
            return;
        }
    }
}

#[test]
fn every_row_documents_itself() {
    let mut names: Vec<_> = CATALOGUE.iter().map(|kind| kind.name).collect();
    names.dedup();
    assert_eq!(names.len(), CATALOGUE.len(), "names are unique and sorted lists stay sorted");
    for kind in CATALOGUE {
        assert!(kind.readme.starts_with("# ") && kind.readme.len() > 1000, "{}: the README is for people", kind.name);
        assert!(!kind.summary.is_empty() && !kind.summary.ends_with('.'));
        let schema = (kind.schema)();
        assert_eq!(schema["type"], "object", "{}", kind.name);
        let undocumented: Vec<_> =
            schema["properties"].as_object().expect("keys").iter().filter(|(_, key)| key.get("description").is_none()).collect();
        assert!(undocumented.is_empty(), "{}: {undocumented:?}", kind.name);
    }
}

#[test]
fn every_example_is_accepted_without_a_word() {
    for kind in CATALOGUE {
        let file: Json = toml::from_str(kind.example).expect("TOML");
        let sections = file["adapter"].as_array().expect("[[adapter]]");
        for section in sections {
            assert_eq!(section["kind"], kind.name);
            let mut section = section.clone();
            let keys = section.as_object_mut().expect("a table");
            keys.remove("name").expect("a name");
            keys.remove("kind");
            let schema = (kind.schema)();
            keys.keys().for_each(|key| assert!(schema["properties"].get(key).is_some(), "{}: {key} is in the schema", kind.name));
            let mut problems = Problems::default();
            let plan = (kind.check)(&section, &mut problems).expect("accepted");
            assert!(problems.list().is_empty() && !plan.leaves.is_empty(), "{}: {:?}", kind.name, problems.list());
        }
    }
}

#[tokio::test]
async fn connect_may_come_again_after_an_error_and_after_close() {
    for kind in CATALOGUE {
        let gone = trial(kind).await;
        let (section, address) = (gone.section.clone(), gone.address.clone());
        drop(gone);
        let mut adapter = build(kind, &section);
        // The leaves may still be on their way out.
        while timeout(BOUND, adapter.connect()).await.expect("connecting is bounded").is_ok() {
            adapter.close().await;
        }
        let _trial = again(kind, &address).await;
        adapter.connect().await.unwrap_or_else(|error| panic!("{}: {error}", kind.name));
        until_read(kind, &mut adapter).await;
        adapter.close().await;
        adapter.connect().await.unwrap_or_else(|error| panic!("{}: after close: {error}", kind.name));
        until_read(kind, &mut adapter).await;
        adapter.connect().await.unwrap_or_else(|error| panic!("{}: while open: {error}", kind.name));
        until_read(kind, &mut adapter).await;
    }
}

#[tokio::test]
async fn ready_may_be_dropped_at_any_await_and_nothing_is_lost() {
    for kind in CATALOGUE {
        let trial = trial(kind).await;
        let mut adapter = build(kind, &trial.section);
        adapter.connect().await.expect("open");
        for _ in 0..5 {
            for _ in 0..50 {
                // Polled once and dropped, as by a command that came first.
                let mut ready = adapter.ready();
                poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await;
            }
            until_read(kind, &mut adapter).await;
        }
    }
}

#[tokio::test]
async fn a_lost_bus_is_an_error_in_bounded_time_and_ready_does_not_wait_for_it_for_ever() {
    for kind in CATALOGUE {
        let trial = trial(kind).await;
        let mut adapter = build(kind, &trial.section);
        adapter.connect().await.expect("open");
        until_read(kind, &mut adapter).await;
        drop(trial);
        let lost = timeout(BOUND, async {
            loop {
                adapter.ready().await;
                if adapter.read().await.is_err() {
                    return;
                }
            }
        });
        assert!(lost.await.is_ok(), "{}: the loss was never told", kind.name);
    }
}

#[tokio::test]
async fn commands_for_unknown_leaves_are_rejected_and_reading_goes_on() {
    for kind in CATALOGUE {
        let trial = trial(kind).await;
        let mut adapter = build(kind, &trial.section);
        adapter.connect().await.expect("open");
        let nobody = Command { id: "1".to_owned(), leaf: LeafId::new("nobody").expect("valid"), action: Action::Read(vec![]) };
        let outcome = timeout(BOUND, adapter.execute(&nobody)).await.expect("commands are bounded").expect("the bus is there");
        assert!(matches!(outcome, Outcome::Rejected(_)), "{}: {outcome:?}", kind.name);
        until_read(kind, &mut adapter).await;
    }
}

#[tokio::test]
async fn one_plan_makes_as_many_adapters_as_are_wanted() {
    for kind in CATALOGUE {
        let trial = trial(kind).await;
        let plan = plan(kind, &trial.section);
        for _ in 0..3 {
            let mut adapter = (plan.build)(HandClock::at(Timestamp(0)));
            adapter.connect().await.expect("open");
            until_read(kind, &mut adapter).await;
            adapter.close().await;
        }
    }
}
