//! Programs of the site that read what arrives: they crash, the gateway loses its power, and nothing is lost between them.

use std::{collections::BTreeMap, fs};

use serde_json::Value as Json;

use super::site_bus::{BUS, Lamp, PASSWORD};
use crate::harness::{Gateway, Lines, Process, QUICK_LOG, SOON, Site, command, have, project, until, until_true};

struct Consumer(Process);

impl Consumer {
    fn start(url: &str, token: &str, name: &str) -> Self {
        let mut start = command("python3");
        start.arg(project().join("tests/peer/consumer.py")).args(["read", url, token, "history", name]);
        Self(Process::start(start, Lines::default(), Lines::default()))
    }

    fn lines(&self) -> Vec<Json> {
        self.0.out.since(0).into_iter().map(|(_, line)| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// Numbers of the lamp's messages, in the order in which they came.
    fn numbers(&self) -> Vec<u64> {
        self.lines().iter().filter(|line| line["device"] == "lamp-1").filter_map(|line| line["n"].as_u64()).collect()
    }
}

#[test]
fn a_consumer_that_crashes_goes_on_where_it_was_and_so_it_does_when_the_power_goes() {
    if !have(&["python3", "device-sdk"]) {
        return;
    }
    let site = Site::new();
    let (door, page) = (format!("{}:1885", site.address()), format!("{}:8080", site.address()));
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}[endpoint]\nplain = \"{door}\"\n{BUS}"));
    gateway.rewrite(|text| text.replace("[web]\nenabled = false", &format!("[web]\ntls = false\nlisten = \"{page}\"")));
    gateway.start();
    fs::write(site.path("password"), PASSWORD).expect("a new file");
    let password = site.path("password").display().to_string();
    gateway.json(&["device", "add", "lamp-1", "--password-file", &password, "--json"]);
    let url = format!("http://{page}");
    let code = until("the claim code is told", SOON, || {
        let lines = gateway.log.since(0);
        lines.iter().find_map(|(_, line)| Some(line.split_once("code=")?.1.split_whitespace().next()?.to_owned()))
    });
    let claimed = command("python3").arg(project().join("tests/peer/consumer.py")).args(["claim", &url, &code]).output().expect("python3");
    let token = String::from_utf8(claimed.stdout).expect("text").trim().to_owned();
    assert!(token.starts_with("tg_"), "{}", String::from_utf8_lossy(&claimed.stderr));

    let mut first = Consumer::start(&url, &token, "a");
    let lamp = Lamp::start(&door, 400);
    until_true("the consumer has some", SOON, || first.numbers().len() >= 60);
    first.0.kill();
    let second = Consumer::start(&url, &token, "a");
    until_true("the next one goes on", SOON, || second.numbers().len() >= 60);
    for _ in 0..2 {
        let have = second.numbers().len();
        gateway.kill();
        gateway.start();
        until_true("it goes on after the power was gone", SOON, || second.numbers().len() >= have + 40 || lamp.acknowledged() == 400);
    }
    // Another one takes a share of the partitions; the lamp is in one of them.
    let third = Consumer::start(&url, &token, "b");
    until_true("all are acknowledged", SOON * 2, || lamp.acknowledged() == 400);
    let all = until("all have been read", SOON, || {
        let mut count: BTreeMap<u64, u32> = BTreeMap::new();
        [&first, &second, &third].iter().flat_map(|consumer| consumer.numbers()).for_each(|n| *count.entry(n).or_default() += 1);
        (count.len() == 400).then_some(count)
    });
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>());
    // Twice is what was in somebody's hands when they, or the gateway, went: a page each, and what a second keeps in memory.
    let twice = all.values().filter(|count| **count > 1).count();
    assert!(twice < 300, "{twice} came more than once");
    for consumer in [&first, &second, &third] {
        assert!(consumer.lines().iter().all(|line| line["missed"].is_null()), "nothing was given up");
        let numbers: Vec<u64> = consumer.lines().iter().filter_map(|line| line["number"].as_u64()).collect();
        let steps = numbers.windows(2).all(|pair| pair[1] <= pair[0] + 1);
        assert!(steps || numbers.is_empty(), "no hole: {numbers:?}");
    }
    gateway.stop();
}
