//! A configuration with mistakes: all of them are named, nothing is opened, and the exit code says so.

use std::{fs, net::TcpListener, time::Duration};

use crate::harness::{Ended, Gateway, SOON, Site, mqtt_upstream};

/// Seven mistakes in two files.
const MISTAKES: &str = "\
[log]
commit_interval = 500
[[adapter]]
name = \"plant\"
kind = \"modbuss\"
[[adapter]]
name = \"line\"
kind = \"modbus\"
transport = \"tcp\"
address = \"127.0.0.1:502\"
timout = \"1s\"
[[adapter.device]]
id = \"boiler\"
unit = 1
interval = \"1s\"
[[adapter.device.point]]
name = \"t\"
register = \"holding\"
address = 0
type = \"u16\"
scale = 0.0
[[adapter.device.point]]
name = \"u\"
register = \"holding\"
address = 65535
type = \"u32\"
";

const IN_ANOTHER_FILE: &str = "\
[[upstream]]
name = \"hub\"
kind = \"mqtt\"
address = \"127.0.0.1:1883\"
client_id = \"gw-01\"
qos = 7
[[upstream]]
name = \"hub\"
kind = \"mqtt\"
address = \"127.0.0.1:1883\"
client_id = \"gw-02\"
";

fn with_mistakes(site: &Site) -> Gateway {
    let gateway = Gateway::new(site, MISTAKES);
    let folder = gateway.config.join("upstreams.d");
    fs::create_dir_all(&folder).expect("a new folder");
    fs::write(folder.join("hub.toml"), IN_ANOTHER_FILE).expect("a new file");
    gateway
}

#[test]
fn check_names_every_mistake_with_file_and_line_and_what_to_do() {
    let site = Site::new();
    let gateway = with_mistakes(&site);
    let checked = gateway.cli(&["check", "--json"]);
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
    let answer: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(answer["ok"], false);
    let problems = answer["problems"].as_array().expect("a list");
    let main = fs::read_to_string(gateway.config.join("tidegate.toml")).expect("written before");
    for (key, file, line_text) in [
        ("commit_interval", "tidegate.toml", "commit_interval = 500"),
        ("kind", "tidegate.toml", "kind = \"modbuss\""),
        ("timout", "tidegate.toml", "timout = \"1s\""),
        ("scale", "tidegate.toml", "scale = 0.0"),
        ("address", "tidegate.toml", "address = 65535"),
        ("qos", "hub.toml", "qos = 7"),
        ("upstream[hub]", "hub.toml", "name = \"hub\""),
    ] {
        let text = if file == "hub.toml" { IN_ANOTHER_FILE } else { main.as_str() };
        let lines: Vec<usize> = text.lines().enumerate().filter(|(_, line)| *line == line_text).map(|(at, _)| at + 1).collect();
        let found = problems.iter().find(|problem| {
            let here = |name: &str| problem[name].as_str().unwrap_or_default();
            let at = |key: &str| here("path").ends_with(key) || here("path").ends_with(&format!("{key}.name"));
            at(key) && here("file").ends_with(file) && !here("next").is_empty()
        });
        let found = found.unwrap_or_else(|| panic!("no problem for {key} in {file}: {problems:#?}"));
        let line = found["line"].as_u64().unwrap_or_default() as usize;
        // A problem of a whole section may stand at its header, the line before.
        assert!(lines.iter().any(|at| *at == line || *at == line + 1), "{key}: line {line}, expected one of {lines:?}: {found}");
    }
    let text = String::from_utf8_lossy(&gateway.cli(&["check"]).stdout).into_owned();
    assert!(text.contains("modbus") && text.contains("timeout"), "the nearest known words are named: {text}");
}

#[test]
fn run_refuses_to_start_and_opens_nothing() {
    let site = Site::new();
    let mut gateway = with_mistakes(&site);
    // Whoever connects to the upstream would be seen here.
    let address = site.address();
    let listener = TcpListener::bind((address.as_str(), 1883)).expect("an address of our own");
    listener.set_nonblocking(true).expect("a socket");
    gateway.configure(&format!("{MISTAKES}{}", mqtt_upstream(&format!("{address}:1883"))));
    gateway.spawn();
    assert_eq!(gateway.ended(SOON), Ended::Code(78));
    assert!(listener.accept().is_err(), "nobody connected");
    assert!(!gateway.state.exists(), "no state folder was made");
    for word in ["modbuss", "timout", "commit_interval", "qos"] {
        assert!(gateway.log.find(0, word).is_some(), "{word} is named: {}", gateway.log.tail(30));
    }
}

#[test]
fn a_missing_configuration_is_a_problem_with_a_next_step() {
    let site = Site::new();
    let gateway = Gateway::new(&site, "");
    fs::remove_file(gateway.config.join("tidegate.toml")).expect("written before");
    let checked = gateway.cli(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("tidegate.toml"), "{checked:?}");
}

#[test]
fn a_word_that_is_no_command_is_a_usage_error() {
    let site = Site::new();
    assert_eq!(Gateway::new(&site, "").cli(&["dance"]).status.code(), Some(64));
}

#[test]
fn a_second_gateway_on_the_same_state_folder_does_not_start() {
    let site = Site::new();
    let mut first = Gateway::new(&site, "");
    first.start();
    let other_site = Site::new();
    let mut second = Gateway::with_state(&other_site, &first.state, "");
    second.spawn();
    assert_eq!(second.ended(SOON), Ended::Code(75));
    assert!(first.is_running());
    assert!(first.json(&["status", "--json"])["health"].is_array(), "the first is still served");
    first.stop();
    // The lock went with its owner.
    second.start();
    second.signal(rustix::process::Signal::INT);
    assert_eq!(second.ended(SOON + Duration::ZERO), Ended::Code(0), "Ctrl-C is an ordered stop too");
}
