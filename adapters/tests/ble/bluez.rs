//! BlueZ as the adapter sees it: what it is asked, what it says, and what happens when it is not there any more.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tidegate_core::{adapter::Adapter, reading::Value};
use tokio::time::timeout;

use crate::{
    cases::adapter,
    stand_in::{Act, Bluetoothd, Bus, bus},
};

const BTHOME: &str = "0000fcd2-0000-1000-8000-00805f9b34fb";
/// More than the limit of one call, and less than two.
const BOUND: Duration = Duration::from_secs(19);

fn on(bus: &Bus, radio: &str) -> Box<dyn Adapter> {
    adapter(&format!(
        "radio = \"{radio}\"\nbus = \"{}\"\n\
         [[device]]\nid = \"a\"\naddress = \"A4:C1:38:8D:18:B2\"\ninterval = \"1ms\"\npoint = [{{ name = \"temperature\" }}, {{ name = \"rssi\" }}]\n\
         [[device]]\nid = \"tag\"\naddress = \"CB:B8:33:4C:88:4F\"\ninterval = \"1ms\"\npoint = [{{ name = \"humidity\" }}]\n",
        bus.address
    ))
}

fn thermometer(celsius: u8) -> Act {
    Act::Advert("A4:C1:38:8D:18:B2", vec![], vec![(BTHOME, vec![0x40, 0x57, celsius])])
}

/// The next value of a point.
async fn value(adapter: &mut Box<dyn Adapter>, leaf: &str, point: &str) -> Value {
    timeout(BOUND, async {
        loop {
            adapter.ready().await;
            let harvest = adapter.read().await.expect("the radio is there");
            if let Some(reading) = harvest.readings.iter().find(|r| r.leaf.as_str() == leaf && r.point.as_str() == point) {
                return reading.value.clone().expect("a value");
            }
        }
    })
    .await
    .expect("it came")
}

async fn lost(adapter: &mut Box<dyn Adapter>) -> String {
    timeout(BOUND, async {
        loop {
            adapter.ready().await;
            if let Err(error) = adapter.read().await {
                return error.to_string();
            }
        }
    })
    .await
    .expect("the loss is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bluez_signals_is_read_and_it_is_asked_for_duplicates() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::start(&bus.address);
    let mut adapter = on(&bus, "hci0");
    adapter.connect().await.expect("open");
    assert_eq!(
        bluetoothd.calls(),
        ["Get", "Powered=true", "filter DuplicateData=true Transport=\"le\"", "StartDiscovery"],
        "switched on where it is not, then scanning"
    );
    bluetoothd.act(thermometer(21));
    assert_eq!(value(&mut adapter, "a", "temperature").await, Value::Int(21));
    bluetoothd.act(thermometer(22));
    assert_eq!(value(&mut adapter, "a", "temperature").await, Value::Int(22));
    bluetoothd.act(thermometer(23));
    assert_eq!(value(&mut adapter, "a", "rssi").await, Value::Int(-60));
    let ruuvi = vec![
        0x05, 0x12, 0xfc, 0x53, 0x94, 0xc3, 0x7c, 0, 4, 0xff, 0xfc, 4, 0x0c, 0xac, 0x36, 0x42, 0, 0xcd, 0xcb, 0xb8, 0x33, 0x4c, 0x88, 0x4f,
    ];
    bluetoothd.act(Act::Advert("CB:B8:33:4C:88:4F", vec![(0x0499, ruuvi)], vec![]));
    assert_eq!(value(&mut adapter, "tag", "humidity").await, Value::Float(53.49));
    adapter.close().await;
    assert_eq!(bluetoothd.calls().last().map(String::as_str), Some("StopDiscovery"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bluetoothd_ending_is_told_and_its_return_is_heard() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::start(&bus.address);
    let mut adapter = on(&bus, "hci0");
    adapter.connect().await.expect("open");
    drop(bluetoothd);
    assert_eq!(lost(&mut adapter).await, "lost Bluetooth adapter hci0: bluetoothd ended");
    let refused = adapter.connect().await.expect_err("nobody there").to_string();
    assert!(refused.contains("bluetoothd does not run: systemctl start bluetooth"), "{refused}");
    let bluetoothd = Bluetoothd::start(&bus.address);
    adapter.connect().await.expect("open again");
    bluetoothd.act(thermometer(5));
    assert_eq!(value(&mut adapter, "a", "temperature").await, Value::Int(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_radio_that_is_switched_off_or_unplugged_is_a_lost_bus() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::start(&bus.address);
    for (act, why) in [(Act::SwitchOff, "it was switched off"), (Act::Unplug, "it was unplugged")] {
        let mut adapter = on(&bus, "hci0");
        adapter.connect().await.expect("open");
        bluetoothd.act(act);
        assert_eq!(lost(&mut adapter).await, format!("lost Bluetooth adapter hci0: {why}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bus_and_no_adapter_each_name_the_next_step() {
    let Some(bus) = bus() else { return };
    let _bluetoothd = Bluetoothd::start(&bus.address);
    let refused = on(&bus, "hci7").connect().await.expect_err("no such adapter").to_string();
    assert!(refused.contains("no such Bluetooth adapter: is it plugged in?"), "{refused}");
    let mut adapter = on(&bus, "hci0");
    adapter.connect().await.expect("open");
    drop(bus);
    assert_eq!(lost(&mut adapter).await, "lost Bluetooth adapter hci0: D-Bus is gone");
    let refused = adapter.connect().await.expect_err("no bus").to_string();
    assert!(refused.contains("no D-Bus: is the package dbus installed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_answers_nothing_does_not_hold_us_up() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::start(&bus.address);
    bluetoothd.mute.store(true, Relaxed);
    let mut adapter = on(&bus, "hci0");
    let connected = timeout(BOUND, adapter.connect()).await.expect("bounded");
    assert!(connected.is_err(), "and refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_shows_who_is_around_with_what_they_say() {
    use tidegate_core::scan::{NEWS, ScanError, ScanNews};
    let Some(bus) = bus() else { return };
    let scan = tidegate_adapters::ble::KIND.scan.expect("it searches");
    let options = serde_json::json!({ "bus": bus.address, "listen": "60s" });
    let (news, _heard) = tokio::sync::mpsc::channel(NEWS);
    let refused = timeout(BOUND, (scan.run)(options.clone(), news)).await.expect("bounded").expect_err("no bluetoothd");
    assert!(matches!(refused, ScanError::Unable { .. }), "{refused}");
    let bluetoothd = Bluetoothd::start(&bus.address);
    let (news, mut heard) = tokio::sync::mpsc::channel(NEWS);
    let running = tokio::spawn((scan.run)(options, news));
    let finding = timeout(BOUND, async {
        loop {
            match heard.recv().await.expect("it runs") {
                ScanNews::Found(finding) => return finding,
                // It listens by now.
                ScanNews::Progress { .. } => bluetoothd.act(thermometer(21)),
            }
        }
    })
    .await
    .expect("found");
    assert_eq!(finding.id, "A4:C1:38:8D:18:B2");
    assert!(finding.facts.contains(&("temperature".to_owned(), "21 °C".into())), "{finding:?}");
    let section: serde_json::Value = toml::from_str(&finding.section.expect("a beginning")).expect("TOML");
    assert_eq!(section["adapter"][0]["device"][0]["point"][0]["name"], "temperature");
    drop(heard);
    timeout(BOUND, running).await.expect("it ends with its listener").expect("no panic").expect("in good order");
    assert_eq!(bluetoothd.calls().last().map(String::as_str), Some("StopDiscovery"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_radio_that_somebody_else_is_switching_on_is_used_once_it_is_on() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::start(&bus.address);
    bluetoothd.world(|world| world.switching = u32::MAX);
    let mut adapter = on(&bus, "hci0");
    timeout(BOUND, adapter.connect()).await.expect("bounded").expect("open");
    bluetoothd.act(thermometer(21));
    assert_eq!(value(&mut adapter, "a", "temperature").await, Value::Int(21));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_bluetoothd_has_forgotten_is_got_rid_of() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::start(&bus.address);
    bluetoothd.world(|world| world.stuck = true);
    let mut adapter = on(&bus, "hci0");
    timeout(BOUND, adapter.connect()).await.expect("bounded").expect("open");
    assert_eq!(bluetoothd.calls().iter().filter(|call| *call == "Powered=false").count(), 1, "switched off once");
    bluetoothd.act(thermometer(21));
    assert_eq!(value(&mut adapter, "a", "temperature").await, Value::Int(21));
}
