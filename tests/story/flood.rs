//! Devices that are faster than the line up, and a hub above that takes nothing for a while: what was acknowledged arrives all the same.

use std::{fs, io::Write, process::Stdio};

use crate::harness::{Broker, Gateway, QUICK_LOG, SOON, Site, Subscriber, command, have, mqtt_upstream, outstanding, until, until_true};

const MESSAGES: u64 = 20_000;
const PASSWORD: &str = "sesame-seeds";

#[test]
fn twenty_thousand_messages_that_a_stopped_hub_could_not_take_arrive_when_it_is_back() {
    if !have(&["mosquitto", "mosquitto_sub", "mosquitto_pub"]) {
        return;
    }
    let site = Site::new();
    let broker = Broker::start(&site);
    let witness = Subscriber::start(&broker);
    let door = format!("{}:1885", site.address());
    let sections = format!("{QUICK_LOG}[endpoint]\nplain = \"{door}\"\n{}", mqtt_upstream(&broker.address));
    let mut gateway = Gateway::new(&site, &sections);
    gateway.start();
    fs::write(site.path("password"), PASSWORD).expect("a new file");
    let password = site.path("password").display().to_string();
    gateway.json(&["device", "add", "pump-7", "--password-file", &password, "--json"]);
    // It holds its connection and takes nothing: the uplink falls behind by all of it.
    broker.pause();
    let (host, port) = door.rsplit_once(':').expect("host:port");
    let topic = "devices/pump-7/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8";
    let mut publisher = command("mosquitto_pub")
        .args(["-h", host, "-p", port, "-i", "pump-7", "-u", "pump-7", "-P", PASSWORD, "-q", "1", "-l", "-t", topic])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub runs");
    let mut lines = publisher.stdin.take().expect("piped");
    (1..=MESSAGES).for_each(|n| writeln!(lines, "{{\"n\":{n}}}").expect("it reads"));
    drop(lines);
    // It ends when everything has been acknowledged.
    let ended = until("mosquitto_pub ends", SOON * 4, || publisher.try_wait().expect("it can be waited for"));
    assert!(ended.success(), "{ended}");
    until_true("all of them wait", SOON, || outstanding(&gateway) >= MESSAGES - 100);
    // And the power goes before any of it has left.
    gateway.kill();
    broker.resume();
    gateway.start();
    until_true("the log is delivered", SOON * 3, || outstanding(&gateway) == 0);
    let tally = witness.settle(std::time::Duration::from_millis(1_500));
    let mut came: Vec<u64> = tally.of("pump-7").filter_map(crate::harness::Delivery::number).collect();
    came.sort_unstable();
    came.dedup();
    assert_eq!(came.len() as u64, MESSAGES);
    assert!(tally.gaps().is_empty());
    gateway.stop();
}
