//! Recorded frames and the readings they mean: each folder of `src/serial/cases` is a test.
//!
//! - `section.toml`: the adapter's section without name and kind; `PORT` stands for the pty.
//! - `problems.txt`: what the check says about it; or
//! - `line.txt`: what goes over the line, `> ` from us and `< ` to us, with the escapes of templates; `! pause` waits until the
//!   line's silence has ended what was begun. And `expected.txt`: the readings and misses in their order, and at the end
//!   what was counted as no message; or `commands.json`: writes, with what came of each.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value as Json, json};
use tidegate_adapters::serial::{KIND, Serial, simulator::Cable, template};
use tidegate_core::{
    adapter::Adapter,
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    problem::Problems,
    reading::Value,
};
use tokio::time::timeout;

use crate::site::{SOON, on_cable, turn, words};

#[tokio::test]
async fn every_case_reads_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serial/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("readable").path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "the cases were found");
    let mut wrong = Vec::new();
    for case in cases {
        let read = |name: &str| fs::read_to_string(case.join(name)).ok();
        let section = read("section.toml").unwrap_or_else(|| panic!("{}: no section.toml", case.display()));
        let (found, expected) = match (read("line.txt"), read("problems.txt")) {
            (Some(line), None) => replay(&case, &section, &line).await,
            (None, Some(expected)) => (problems(&section), expected),
            _ => panic!("{}: either line.txt with what is expected, or problems.txt", case.display()),
        };
        if found != expected {
            wrong.push(format!("== {}\n{found}-- expected\n{expected}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn problems(section: &str) -> String {
    let section: Json = toml::from_str(section).expect("TOML");
    let mut problems = Problems::default();
    let plan = (KIND.check)(&section, &mut problems);
    assert_eq!(plan.is_none(), problems.any_error());
    problems.list().iter().map(|problem| format!("{problem}\n")).collect()
}

async fn replay(case: &Path, section: &str, line: &str) -> (String, String) {
    let (mut serial, cable) = on_cable(section).await;
    let peer = tokio::spawn(play(case.display().to_string(), cable, line.to_owned()));
    let ended = match fs::read_to_string(case.join("commands.json")) {
        Ok(commands) => obey(&mut serial, &commands).await,
        Err(_) => {
            let expected = fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
            let wanted = expected.lines().filter(|line| !line.starts_with("bad: ")).count();
            let mut found = Vec::new();
            while found.len() < wanted {
                found.extend(words(&turn(&mut serial).await.unwrap_or_else(|error| panic!("{}: {error}", case.display()))));
            }
            // What came of the last bytes, too.
            let pause = Duration::from_millis(300);
            while timeout(pause, serial.ready()).await.is_ok() {
                found.extend(words(&serial.read().await.expect("the line is there")));
            }
            found.extend(Some(serial.tally().words()).filter(|words| !words.is_empty()).map(|words| format!("bad: {words}")));
            (found.join("\n") + "\n", expected)
        }
    };
    timeout(SOON, peer).await.expect("the line is played to its end").unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    ended
}

/// Carries out `[{ "leaf": …, "write": { … }, "outcome": … }, …]`.
async fn obey(serial: &mut Serial, commands: &str) -> (String, String) {
    let commands: Vec<Json> = serde_json::from_str(commands).expect("a list of commands");
    let mut found = Vec::new();
    for command in &commands {
        let value = |value: &Json| serde_json::from_value::<Value>(value.clone()).expect("a raw value");
        let action = match (&command["write"], &command["read"]) {
            (Json::Object(points), _) => {
                Action::Write(points.iter().map(|(point, raw)| (PointName::new(point).expect("a name"), value(raw))).collect())
            }
            (_, Json::Array(points)) => {
                Action::Read(points.iter().map(|point| PointName::new(point.as_str().expect("text")).expect("a name")).collect())
            }
            _ => Action::Raw(command["raw"].as_str().expect("what to do").as_bytes().to_vec().into()),
        };
        let leaf = LeafId::new(command["leaf"].as_str().expect("a leaf")).expect("an id");
        let outcome = serial.execute(&Command { id: "c".to_owned(), leaf, action }).await.expect("the line is there");
        let told = match &outcome {
            Outcome::Done(values) => {
                json!({ "done": values.iter().map(|(point, v)| (point.to_string(), json!(v))).collect::<serde_json::Map<_, _>>() })
            }
            Outcome::Failed(why) | Outcome::Uncertain(why) | Outcome::Rejected(why) => json!({ outcome.word(): why }),
            Outcome::Sent | Outcome::Expired => json!(outcome.word()),
        };
        found.push(format!("{told}\n"));
    }
    (found.concat(), commands.iter().map(|command| format!("{}\n", command["outcome"])).collect())
}

/// Plays the devices' part; panics where we say something else than was recorded. Ends with the cable in its hand.
async fn play(case: String, mut cable: Cable, script: String) -> Cable {
    for line in script.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (mark, rest) = line.split_at(1);
        let bytes = template::bytes(rest.strip_prefix(' ').unwrap_or(rest)).unwrap_or_else(|why| panic!("{line}: {why}"));
        match mark {
            "<" => cable.say(&bytes).await.expect("written"),
            ">" => {
                let mut said = Vec::new();
                while said.len() < bytes.len() {
                    let mut chunk = vec![0; bytes.len() - said.len()];
                    let count =
                        timeout(SOON, cable.hear(&mut chunk)).await.unwrap_or_else(|_| panic!("{case}: waiting for {line}, had {said:?}"));
                    said.extend_from_slice(&chunk[..count.expect("the line is there")]);
                }
                assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&bytes), "{case}: {line}");
            }
            "!" => tokio::time::sleep(Duration::from_millis(200)).await,
            _ => panic!("{line}"),
        }
    }
    cable
}
