//! Recorded frames and the readings they mean: each folder of `src/modbus/cases` is a test.
//!
//! - `section.toml`: the adapter's section without name and kind; `PEER` stands for the address of the scripted peer.
//! - `problems.txt`: what the check says about it; or
//! - `bus.hex`: what goes over the wire, `> ` from us and `< ` to us; `! close` the peer hangs up; `! dropped` we
//!   hang up. The next line is then said on another connection. And `expected.json`: the harvests, one for each turn;
//!   or `commands.json`: objects of points and raw values, each written by one command, with what came of it.

use std::{fs, path::Path};

use serde_json::{Value as Json, json};
use tidegate_adapters::modbus::KIND;
use tidegate_core::{
    adapter::{Adapter, Harvest},
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    problem::Problems,
    reading::Value,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::site::{adapter, turn};

#[tokio::test]
async fn every_case_reads_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/modbus/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("readable").path()).collect();
    cases.sort();
    assert!(cases.len() >= 6, "the cases were found");
    for case in cases {
        let read = |name: &str| fs::read_to_string(case.join(name)).ok();
        let section = read("section.toml").unwrap_or_else(|| panic!("{}: no section.toml", case.display()));
        match (read("bus.hex"), read("problems.txt")) {
            (Some(bus), None) => replay(&case, &section, &bus).await,
            (None, Some(expected)) => assert_eq!(problems(&section), expected, "{}", case.display()),
            _ => panic!("{}: either bus.hex with expected.json or commands.json, or problems.txt", case.display()),
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

async fn replay(case: &Path, section: &str, bus: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut adapter = adapter(&section.replace("PEER", &listener.local_addr().expect("bound").to_string()));
    let peer = tokio::spawn(play(listener, bus.to_owned()));
    adapter.connect().await.unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    if let Ok(commands) = fs::read_to_string(case.join("commands.json")) {
        obey(case, &mut adapter, &commands).await;
    }
    let expected = fs::read_to_string(case.join("expected.json")).unwrap_or_else(|_| "[]".to_owned());
    let expected: Vec<Json> = serde_json::from_str(&expected).expect("a list of harvests");
    let mut harvests = Vec::new();
    for _ in 0..expected.len() {
        harvests.push(shown(&turn(&mut adapter).await));
    }
    peer.await.unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    assert_eq!(Json::from(harvests.clone()), Json::from(expected), "{}: {:#}", case.display(), Json::from(harvests));
}

/// Carries out `[{ "write": { … }, "outcome": … }, …]` on the only device.
async fn obey(case: &Path, adapter: &mut Box<dyn Adapter>, commands: &str) {
    let commands: Vec<Json> = serde_json::from_str(commands).expect("a list of commands");
    for command in commands {
        let points = command["write"].as_object().expect("points").iter();
        let value = |value: &Json| serde_json::from_value::<Value>(value.clone()).expect("a raw value");
        let points = points.map(|(point, raw)| (PointName::new(point).expect("a name"), value(raw))).collect();
        let leaf = LeafId::new(command["leaf"].as_str().unwrap_or("d")).expect("an id");
        let outcome =
            adapter.execute(&Command { id: "c".to_owned(), leaf, action: Action::Write(points) }).await.expect("the bus is there");
        let told = match &outcome {
            Outcome::Done(values) => {
                json!({ "done": values.iter().map(|(point, v)| (point.to_string(), json!(v))).collect::<serde_json::Map<_, _>>() })
            }
            Outcome::Failed(why) | Outcome::Uncertain(why) | Outcome::Rejected(why) => json!({ outcome.word(): why }),
            Outcome::Sent | Outcome::Expired => json!(outcome.word()),
        };
        assert_eq!(told, command["outcome"], "{}", case.display());
    }
}

fn shown(harvest: &Harvest) -> Json {
    let readings: Json =
        harvest.readings.iter().map(|r| (format!("{}.{}", r.leaf, r.point), reading(r))).collect::<serde_json::Map<_, _>>().into();
    let misses: Vec<_> = harvest
        .misses
        .iter()
        .map(|miss| json!({ "leaf": miss.leaf, "points": miss.points, "reason": miss.reason.to_string(), "detail": miss.detail }))
        .collect();
    json!({ "readings": readings, "misses": misses })
}

fn reading(reading: &tidegate_core::reading::Reading) -> Json {
    match &reading.value {
        Some(value) => json!(value),
        None => json!(reading.quality.to_string()),
    }
}

/// Plays the peer's part; panics where we say something else than was recorded.
async fn play(listener: TcpListener, script: String) {
    let accept = async || listener.accept().await.expect("a connection").0;
    let mut stream: Option<TcpStream> = None;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = line.split_at(1);
        if mark == "!" {
            let mut open = stream.take().expect("a connection");
            match rest.trim() {
                "close" => {}
                "dropped" => assert_eq!(open.read(&mut [0; 1]).await.unwrap_or(0), 0, "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        if stream.is_none() {
            stream = Some(accept().await);
        }
        let stream = stream.as_mut().expect("just made");
        let bytes: Vec<u8> = rest.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
        match mark {
            "<" => stream.write_all(&bytes).await.expect("written"),
            ">" => {
                let mut said = vec![0; bytes.len()];
                stream.read_exact(&mut said).await.unwrap_or_else(|error| panic!("waiting for {line}: {error}"));
                assert_eq!(said, bytes, "{line}");
            }
            _ => panic!("{line}"),
        }
    }
}
