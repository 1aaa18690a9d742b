//! Searching: who is found, who is not bothered, and what is said when there is nothing to search with.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidegate_adapters::modbus::{KIND, plan::Table, simulator::Behaviour, simulator::Simulator};
use tidegate_core::{
    problem::Problems,
    scan::{Finding, NEWS, ScanError, ScanNews},
};
use tokio::{sync::mpsc, time::timeout};

use crate::site::{Way, serve, units};

/// Far longer than any of these searches.
const BOUND: Duration = Duration::from_secs(60);

/// All that a search says.
async fn search(options: Json) -> (Result<(), ScanError>, Vec<ScanNews>) {
    let scan = KIND.scan.expect("it searches");
    (scan.longest)(&options).expect("makes sense");
    let (news, mut heard) = mpsc::channel(NEWS);
    let all = async {
        let mut all = Vec::new();
        while let Some(news) = heard.recv().await {
            all.push(news);
        }
        all
    };
    timeout(BOUND, async { tokio::join!((scan.run)(options, news), all) }).await.expect("it ends")
}

fn found(news: &[ScanNews]) -> Vec<&Finding> {
    news.iter().filter_map(|news| if let ScanNews::Found(finding) = news { Some(finding) } else { None }).collect()
}

fn fact(finding: &Finding, name: &str) -> String {
    let value = finding.facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value.clone()).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where a section says it is: `127.0.0.1:1502`, or the port of a line.
fn value_of(place: &str, key: &str) -> String {
    place.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).expect("says so").trim_matches('"').to_owned()
}

/// The section of a finding passes the adapter's check; what it has no point for is a warning.
fn runs(finding: &Finding) -> Json {
    let section: Json = toml::from_str(finding.section.as_deref().expect("a beginning")).expect("TOML");
    let mut bus = section["adapter"][0].clone();
    for key in ["name", "kind"] {
        bus.as_object_mut().expect("a table").remove(key);
    }
    let mut problems = Problems::default();
    assert!((KIND.check)(&bus, &mut problems).is_some(), "{:?}", problems.list());
    bus
}

#[tokio::test]
async fn units_are_found_over_every_wire_with_what_they_say_of_themselves() {
    for way in [Way::Tcp, Way::RtuOverTcp, Way::Pty] {
        let simulator = units([3, 17]);
        simulator.identify(17, &[(0, "Contoso"), (1, "TM-1")]);
        simulator.set(20, Table::Coil, 0, &[1]);
        let served = serve(&simulator, way).await;
        let options = match way {
            Way::Pty => json!({ "transport": "rtu", "port": value_of(&served.place, "port"), "units": "1-24", "timeout": "60ms" }),
            _ => json!({
                "transport": value_of(&served.place, "transport"), "address": value_of(&served.place, "address"),
                "units": "1-24", "timeout": "60ms"
            }),
        };
        let (ended, news) = search(options).await;
        assert_eq!(ended, Ok(()));
        let found = found(&news);
        let numbers: Vec<_> = found.iter().map(|finding| fact(finding, "unit")).collect();
        assert_eq!(numbers, ["3", "17", "20"], "{way:?}: {found:?}");
        assert_eq!(fact(found[0], "says"), "3000 in holding register 0");
        assert_eq!((fact(found[1], "vendor"), fact(found[1], "product code")), ("Contoso".to_owned(), "TM-1".to_owned()));
        assert!(fact(found[2], "says").contains("refused"), "a refusal is an answer: {:?}", found[2]);
        assert_eq!(runs(found[1])["device"][0]["unit"], 17);
        let (mut last, mut whole) = (0, 0);
        for news in &news {
            if let ScanNews::Progress { done, total, .. } = news {
                assert!(*done <= *total, "{news:?}");
                (last, whole) = (*done, *total);
            }
        }
        assert_eq!((last, whole), (24, 24), "{way:?}: every step is over");
        for unit in [3, 17, 20] {
            assert_eq!(simulator.writes(unit), Vec::<Vec<u8>>::new());
        }
    }
}

#[tokio::test]
async fn a_line_that_has_answered_is_not_asked_at_other_speeds() {
    let simulator = units([2]);
    let served = serve(&simulator, Way::Pty).await;
    let port = value_of(&served.place, "port");
    let (ended, news) = search(json!({ "transport": "rtu", "port": port, "units": "1-20", "timeout": "50ms" })).await;
    assert_eq!(ended, Ok(()));
    let steps = news.iter().filter(|news| matches!(news, ScanNews::Progress { what, .. } if !what.is_empty())).count();
    assert_eq!((found(&news).len(), steps), (1, 20), "each unit once, at one speed");
    let section = runs(found(&news)[0]);
    assert_eq!((&section["baud"], &section["parity"]), (&json!(9600), &json!("none")));
}

#[tokio::test]
async fn of_a_device_of_its_own_one_number_is_enough_and_hosts_that_are_not_there_cost_little() {
    let simulator = Simulator::new();
    [1, 255, 0].iter().for_each(|unit| simulator.set(*unit, Table::Holding, 0, &[1]));
    let served = serve(&simulator, Way::Tcp).await;
    let address = value_of(&served.place, "address");
    let port = address.rsplit_once(':').expect("host and port").1;
    // Nobody listens on the other addresses of this machine.
    let (ended, news) = search(json!({ "address": format!("127.0.0.1-200:{port}") })).await;
    assert_eq!(ended, Ok(()));
    let found = found(&news);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].id, format!("{address} unit 1"));
    assert_eq!((simulator.count(255), simulator.count(0)), (0, 0));
    assert!(matches!(news.last(), Some(ScanNews::Progress { done: 600, total: 600, .. })), "{:?}", news.last());
}

#[tokio::test]
async fn a_search_that_nobody_hears_any_more_ends_and_lets_go_of_the_port() {
    let simulator = Simulator::new();
    simulator.behave(1, Behaviour::Silent);
    let served = serve(&simulator, Way::Pty).await;
    let port = value_of(&served.place, "port");
    let scan = KIND.scan.expect("it searches");
    let (news, mut heard) = mpsc::channel(NEWS);
    let running = tokio::spawn((scan.run)(json!({ "transport": "rtu", "port": port, "timeout": "1s" }), news));
    heard.recv().await.expect("it begins");
    drop(heard);
    timeout(BOUND, running).await.expect("it ends").expect("no panic").expect("in good order");
    let free = tokio_serial::SerialStream::open(&tokio_serial::new(&port, 9600));
    assert!(free.is_ok(), "{free:?}");
}

#[tokio::test]
async fn a_port_that_is_not_there_or_taken_is_told_with_the_next_step() {
    let (ended, _) = search(json!({ "transport": "rtu", "port": "/dev/nowhere" })).await;
    assert!(matches!(&ended, Err(ScanError::Unable { next, .. }) if next.contains("scan serial")), "{ended:?}");
    let served = serve(&units([1]), Way::Pty).await;
    let port = value_of(&served.place, "port");
    let _held = tokio_serial::SerialStream::open(&tokio_serial::new(&port, 9600)).expect("ours first");
    let (ended, _) = search(json!({ "transport": "rtu", "port": port })).await;
    assert!(matches!(&ended, Err(ScanError::Unable { .. })), "{ended:?}");
}

#[test]
fn how_long_it_takes_is_known_before() {
    let longest = KIND.scan.expect("it searches").longest;
    let seconds = |options: Json| longest(&options).expect("makes sense").as_secs();
    assert_eq!(seconds(json!({ "address": "192.0.2.7" })), 1 + 3, "one second to connect, then three units");
    assert_eq!(seconds(json!({ "address": "192.0.2.1-64" })), 2 * (1 + 3), "32 hosts at a time");
    let line = |units: &str| seconds(json!({ "transport": "rtu", "port": "/dev/ttyS0", "baud": 9600, "parity": "even", "units": units }));
    assert!((78..90).contains(&line("1-247")) && line("1-10") < 4, "{} and {}", line("1-247"), line("1-10"));
}
