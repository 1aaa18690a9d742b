//! Devices on a serial line that we did not write: pyserial scripts on a socat line, through the real binary.

use crate::harness::{
    Broker, Gateway, Line, Lines, Process, QUICK_LOG, SOON, Site, Subscriber, command, have, mqtt_upstream, project, python, until,
    until_true,
};

fn peer(kind: &str, line: &Line) -> Process {
    let mut start = command(python().to_str().expect("UTF-8"));
    start.arg(project().join("tests/peer/line.py")).arg(kind).arg(&line.device).arg("115200");
    let process = Process::start(start, Lines::default(), Lines::default());
    until_true("pyserial is ready", SOON, || process.out.find(0, "ready").is_some());
    process
}

fn adapter(line: &Line, rest: &str) -> String {
    format!("[[adapter]]\nname = \"line\"\nkind = \"serial\"\nport = \"{}\"\nbaud = 115200\n{rest}", line.gateway.display())
}

const BOARD: &str = r#"frame = { type = "line" }
[[adapter.device]]
id = "board"
silent_after = "1s"
[[adapter.device.message]]
parser = "json"
point = [{ name = "n" }, { name = "fixed" }, { name = "zero" }]
"#;

const CONTROLLER: &str = r#"timeout = "300ms"
frame = { type = "enclosed", start = '\x02', end = '\x03', trailer = 1, checksum = { type = "xor", skip = 1 } }
[[adapter.device]]
id = "oven"
address = "07"
interval = "100ms"
[[adapter.device.message]]
parser = "regex"
request = '\x02{address}RT\x03{checksum}'
pattern = '^{address}RT(?<setpoint>[-+0-9.]+)$'
[[adapter.device.message.point]]
name = "setpoint"
writable = true
write_max = 200.0
write = '\x02{address}WS{value:.1}\x03{checksum}'
confirm = '^{address}OK'
"#;

#[test]
fn a_board_that_prints_is_read_through_noise_unplugged_and_found_again() {
    if !have(&["socat", "pymodbus", "mosquitto", "mosquitto_sub"]) {
        return;
    }
    let site = Site::new();
    let broker = Broker::start(&site);
    let witness = Subscriber::start(&broker);
    let mut line = Line::lay(&site, "line");
    let board = peer("board", &line);
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}{}{}", adapter(&line, BOARD), mqtt_upstream(&broker.address)));
    gateway.start();
    let good = |from: usize| witness.tally().all()[from..].iter().filter(|d| d.body["n"].is_u64()).count();
    until_true("readings", SOON, || good(0) >= 40);
    let mut last = 0;
    for delivery in witness.tally().of("board") {
        let body = &delivery.body;
        let Some(n) = body["n"].as_u64() else { continue };
        // Every line that was whole on the wire is there, noise or not.
        assert!(last == 0 || n == last + 1, "{n} came after {last}");
        assert!(body["fixed"] == 21 && body["zero"] == 0, "{body}");
        last = n;
    }
    line.unplug();
    drop(board);
    until("a bad reading", SOON, || {
        witness.tally().of("board").into_iter().find(|d| d.body["quality"]["n"].as_str().is_some_and(|q| q.starts_with("bad"))).map(|_| ())
    });
    line.plug();
    let _board = peer("board", &line);
    let from = witness.tally().all().len();
    until_true("readings after the plug is back", SOON, || good(from) >= 5);
}

#[test]
fn a_controller_is_asked_through_a_biting_cable_and_says_what_it_holds() {
    if !have(&["socat", "pymodbus"]) {
        return;
    }
    let site = Site::new();
    let line = Line::lay(&site, "line");
    let peer = peer("controller", &line);
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}{}", adapter(&line, CONTROLLER)));
    let said = |gateway: &Gateway, arguments: &[&str]| String::from_utf8_lossy(&gateway.cli(arguments).stdout).into_owned();
    let shown = said(&gateway, &["read", "line", "--json"]);
    assert!(shown.contains("\"value\":20.0") && shown.contains("\"quality\":\"good\""), "{shown}");
    gateway.start();
    let wrote = said(&gateway, &["write", "oven", "setpoint=121.5"]);
    assert!(wrote.contains("done"), "{wrote}");
    assert!(peer.out.find(0, "121.5").is_some(), "the controller took it: {}", peer.out.tail(5));
}
