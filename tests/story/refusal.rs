//! The hub knows us not: it is told to a person, tried slowly, and nothing is lost.

use std::{fs, path::Path, process::Command};

use crate::harness::{
    Broker, Gateway, QUICK_LOG, SOON, Site, Subscriber, TcpSlave, counting_adapter, have, mqtt_upstream, on_path, until, until_true,
};

/// Sets the password of a user in mosquitto's file.
fn set_password(file: &Path, user: &str, password: &str) {
    let tool = on_path("mosquitto_passwd").expect("checked by have()");
    let mut command = Command::new(tool);
    if !file.exists() {
        command.arg("-c");
    }
    let done = command.arg("-b").arg(file).args([user, password]).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_refused_password_is_told_tried_slowly_and_costs_nothing_once_mended() {
    if !have(&["mosquitto", "mosquitto_sub", "mosquitto_passwd", "pymodbus"]) {
        return;
    }
    let site = Site::new();
    let passwords = site.path("passwords");
    set_password(&passwords, "witness", "sees");
    set_password(&passwords, "gateway", "right");
    let broker = Broker::with(&site, &format!("allow_anonymous false\npassword_file {}\n", passwords.display()));
    let witness = Subscriber::with(&broker, &["-u", "witness", "-P", "sees"]);
    let mut slave = TcpSlave::start(&site);
    slave.add(1, &[]);
    let secret = site.path("secret");
    fs::write(&secret, "wrong\n").expect("a new file");
    let upstream = format!("{}username = \"gateway\"\npassword_file = \"{}\"\n", mqtt_upstream(&broker.address), secret.display());
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}{}{upstream}", counting_adapter("plant", &slave.address, [1], "50ms")));
    let from = broker.log.len();
    gateway.start();
    let status = gateway.until_health("hub-refused", true);
    let entry = status["health"].as_array().and_then(|all| all.iter().find(|e| e["code"] == "hub-refused")).cloned().expect("just seen");
    assert_eq!((entry["subject"].as_str(), entry["level"].as_str()), (Some("hub"), Some("error")), "{entry}");
    assert!(!entry["next"].as_str().unwrap_or_default().is_empty(), "a next step: {entry}");
    until_true("readings wait", SOON, || slave.counter(1) > 60);
    // Three seconds of polls, and no storm of attempts: the pauses begin at seconds.
    let attempts = broker.log.since(from).iter().filter(|(_, line)| line.contains("not authorised")).count();
    assert!((1..=4).contains(&attempts), "{attempts} attempts");
    for secret_word in ["wrong", "right"] {
        assert!(gateway.log.since(0).iter().all(|(_, line)| !line.contains(secret_word)), "a password in the log");
    }

    fs::write(&secret, "right\n").expect("our own file");
    // A changed file behind the configuration: the upstream is started afresh by a changed section, or by its next attempt.
    gateway.rewrite(|text| text.replace("client_id = \"gw-01\"", "client_id = \"gw-02\""));
    let told = gateway.cli(&["reload"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    gateway.until_health("hub-refused", false);
    until("what waited arrives", SOON, || (witness.count() > 60).then_some(()));
    gateway.stop();
    let tally = witness.settle(std::time::Duration::from_millis(300));
    assert_eq!(*tally.assert_unbroken("plant-1").start(), 1, "from the first read on");
    tally.assert_in_order();
    assert_eq!(tally.duplicates(), 0);
}
