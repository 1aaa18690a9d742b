//! Recorded advertisements and the readings they mean: each folder of `src/ble/cases` is a test.
//!
//! - `section.toml`: the adapter's section without name and kind; `RADIO` stands for the socket of the receiver.
//! - `problems.txt`: what the check says about it; or
//! - `air.txt`: what the receiver hears, and `expected.json`: the newest value of each point, and the misses in their order.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::{Value as Json, json};
use tidegate_adapters::ble::KIND;
use tidegate_core::{
    adapter::Adapter,
    clock::{HandClock, Timestamp},
    problem::Problems,
};
use tokio::{io::AsyncWriteExt, net::UnixListener, time::timeout};

pub(crate) fn adapter(section: &str) -> Box<dyn Adapter> {
    let section: Json = toml::from_str(section).expect("TOML");
    let mut problems = Problems::default();
    let plan = (KIND.check)(&section, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list()));
    (plan.build)(HandClock::at(Timestamp(0)))
}

#[tokio::test]
async fn every_case_reads_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ble/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("readable").path()).collect();
    cases.sort();
    assert!(cases.len() >= 3, "the cases were found");
    for case in cases {
        let read = |name: &str| fs::read_to_string(case.join(name)).ok();
        let section = read("section.toml").unwrap_or_else(|| panic!("{}: no section.toml", case.display()));
        match (read("air.txt"), read("problems.txt")) {
            (Some(air), None) => replay(&case, &section, &air).await,
            (None, Some(expected)) => assert_eq!(problems(&section), expected, "{}", case.display()),
            _ => panic!("{}: either air.txt and expected.json, or problems.txt", case.display()),
        }
    }
}

fn problems(section: &str) -> String {
    let section: Json = toml::from_str(section).expect("TOML");
    let mut problems = Problems::default();
    let plan = (KIND.check)(&section, &mut problems);
    assert_eq!(plan.is_none(), problems.any_error());
    problems.list().iter().map(|problem| format!("{problem}\n")).collect()
}

async fn replay(case: &Path, section: &str, air: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("radio");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut adapter = adapter(&section.replace("RADIO", &socket.display().to_string()));
    adapter.connect().await.unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let (mut receiver, _) = listener.accept().await.expect("a connection");
    receiver.write_all(air.as_bytes()).await.expect("written");
    drop(receiver);
    let expected = fs::read_to_string(case.join("expected.json")).expect("expected.json");
    let expected: Json = serde_json::from_str(&expected).expect("JSON");
    let (mut readings, mut misses) = (BTreeMap::new(), Vec::new());
    // Until the receiver has hung up: then all it heard has been taken.
    loop {
        timeout(Duration::from_secs(20), adapter.ready()).await.expect("something to read");
        let Ok(harvest) = adapter.read().await else { break };
        readings.extend(harvest.readings.iter().map(|r| (format!("{}.{}", r.leaf, r.point), json!(r.value))));
        misses.extend(harvest.misses.iter().map(|miss| format!("{} {}: {}", miss.leaf, miss.reason, miss.detail)));
    }
    let seen = json!({ "readings": readings, "misses": misses });
    assert_eq!(seen, expected, "{}: {seen:#}", case.display());
}

#[tokio::test]
async fn two_presses_are_two_events_and_a_repeated_one_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("radio");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut adapter = adapter(&format!(
        "radio = \"{}\"\n[[device]]\nid = \"gate\"\naddress = \"54:48:E6:8F:80:A5\"\npoint = [{{ name = \"button\" }}]\n",
        socket.display()
    ));
    adapter.connect().await.expect("open");
    let (mut receiver, _) = listener.accept().await.expect("a connection");
    let press = |packet: u8| format!("54:48:E6:8F:80:A5 -50 sfcd2=4400{packet:02x}3a01\n");
    receiver.write_all([press(1), press(1), press(1), press(2), press(2)].concat().as_bytes()).await.expect("written");
    drop(receiver);
    let mut presses = 0;
    loop {
        timeout(Duration::from_secs(20), adapter.ready()).await.expect("something to read");
        let Ok(harvest) = adapter.read().await else { break };
        presses += harvest.readings.len();
    }
    assert_eq!(presses, 2);
}

#[tokio::test]
async fn a_radio_works_again_when_something_was_heard_and_not_because_it_was_opened() {
    use tidegate_core::adapter::Remark;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("radio");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut adapter = adapter(&format!(
        "radio = \"{}\"\n[[device]]\nid = \"a\"\naddress = \"A4:C1:38:8D:18:B2\"\npoint = [{{ name = \"temperature\" }}]\n",
        socket.display()
    ));
    adapter.connect().await.expect("open");
    let (mut receiver, _) = listener.accept().await.expect("a connection");
    assert_eq!(adapter.read().await.expect("open").remark, None, "nothing has been heard");
    // A stranger is enough: it is the radio that is asked about.
    for expected in [Some(Remark::Recovered), None] {
        receiver.write_all(b"59:1F:AA:00:00:01 -80 m004c=10057b1c2d3e4f\n").await.expect("written");
        timeout(Duration::from_secs(20), adapter.ready()).await.expect("heard");
        assert_eq!(adapter.read().await.expect("open").remark, expected);
    }
}
