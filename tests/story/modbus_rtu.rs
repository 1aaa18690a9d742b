//! Values of a libmodbus slave on a serial line. Ptys have neither parity nor timing; the rest of the line is real.

use crate::harness::{Broker, Gateway, Line, QUICK_LOG, RtuSlave, SOON, Site, Subscriber, have, mqtt_upstream, until, until_true};

struct Serial {
    gateway: Gateway,
    witness: Subscriber,
    _broker: Broker,
    slave: Option<RtuSlave>,
    line: Line,
    _site: Site,
}

/// A running gateway with one unit on a line: its counter, and a register that always holds 21.
fn serial() -> Option<Serial> {
    if !have(&["socat", "libmodbus", "mosquitto", "mosquitto_sub"]) {
        return None;
    }
    let site = Site::new();
    let broker = Broker::start(&site);
    let witness = Subscriber::start(&broker);
    let line = Line::lay(&site, "bus");
    let slave = Some(RtuSlave::start(&line, 7));
    let adapter = format!(
        "[[adapter]]\nname = \"bus\"\nkind = \"modbus\"\ntransport = \"rtu\"\nport = \"{}\"\nbaud = 19200\ntimeout = \"300ms\"\n\
         [[adapter.device]]\nid = \"meter\"\nunit = 7\ninterval = \"100ms\"\n\
         [[adapter.device.point]]\nname = \"n\"\nregister = \"holding\"\naddress = 100\ntype = \"u32\"\n\
         [[adapter.device.point]]\nname = \"fixed\"\nregister = \"holding\"\naddress = 7\ntype = \"u16\"\n\
         [[adapter.device.point]]\nname = \"input\"\nregister = \"input\"\naddress = 7\ntype = \"u16\"\n\
         [[adapter.device.point]]\nname = \"coil\"\nregister = \"coil\"\naddress = 3\ntype = \"bool\"\n",
        line.gateway.display()
    );
    let mut gateway = Gateway::new(&site, &format!("{QUICK_LOG}{adapter}{}", mqtt_upstream(&broker.address)));
    gateway.start();
    Some(Serial { gateway, witness, _broker: broker, slave, line, _site: site })
}

impl Serial {
    /// Whatever arrives from here on: good values that are right, or bad readings.
    #[track_caller]
    fn good_after(&self, from: usize) {
        until("a good reading", SOON, || {
            let tally = self.witness.tally();
            tally.all()[from..].iter().find(|d| d.number().is_some() && d.body["fixed"] == 21).map(|_| ())
        });
    }

    #[track_caller]
    fn bad_after(&self, from: usize) {
        until("a bad reading", SOON, || {
            let tally = self.witness.tally();
            tally.all()[from..].iter().find(|d| d.body["quality"]["fixed"].as_str().is_some_and(|q| q.starts_with("bad"))).map(|_| ())
        });
    }

    fn assert_never_wrong(&self) {
        for delivery in self.witness.tally().of("meter") {
            let body = &delivery.body;
            assert!(body["fixed"].is_null() || body["fixed"] == 21, "{body}");
            assert!(body["input"].is_null() || body["input"] == 0xBEEF, "{body}");
            assert!(body["coil"].is_null() || body["coil"] == true, "{body}");
        }
    }
}

#[test]
fn a_meter_on_a_line_is_read_without_a_gap() {
    let Some(serial) = serial() else { return };
    until_true("twenty polls arrive", SOON, || serial.witness.count() >= 20);
    serial.assert_never_wrong();
    let tally = serial.witness.tally();
    assert_eq!(*tally.assert_unbroken("meter").start(), 1);
    tally.assert_in_order();
}

#[test]
fn noise_and_silence_on_a_line_are_bad_readings_and_never_wrong_ones() {
    let Some(mut serial) = serial() else { return };
    serial.good_after(0);
    for trouble in ["noise", "silent"] {
        let from = serial.witness.count();
        serial.slave.as_mut().expect("running").behave(trouble);
        serial.bad_after(from);
        let from = serial.witness.count();
        serial.slave.as_mut().expect("running").behave("answer");
        serial.good_after(from);
    }
    serial.assert_never_wrong();
}

#[test]
fn a_serial_adapter_that_is_pulled_out_and_plugged_in_again_is_opened_again() {
    let Some(mut serial) = serial() else { return };
    serial.good_after(0);
    let from = serial.witness.count();
    serial.slave = None;
    serial.line.unplug();
    serial.bad_after(from);
    serial.gateway.until_health("bus-down", true);
    let from = serial.witness.count();
    serial.line.plug();
    serial.slave = Some(RtuSlave::start(&serial.line, 7));
    serial.good_after(from);
    serial.gateway.until_health("bus-down", false);
    serial.assert_never_wrong();
}
