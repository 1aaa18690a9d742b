//! Passive scanning through bluetoothd's advertisement monitors, where there are any.

use std::time::Duration;

use tidegate_core::{adapter::Adapter, reading::Value};
use tokio::time::timeout;

use crate::{
    cases::adapter,
    stand_in::{Act, Bluetoothd, Bus, bus},
    world::World,
};

fn passive(bus: &Bus) -> Box<dyn Adapter> {
    adapter(&format!(
        "radio = \"hci0\"\nbus = \"{}\"\nscan = \"passive\"\n[[device]]\nid = \"tank\"\naddress = \"C0:00:00:00:00:07\"\ninterval = \"1ms\"\n\
         point = [{{ name = \"level\", from = \"manufacturer:0x02e5\", starts = \"01\", at = 1, type = \"u16\" }}]\n",
        bus.address
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_only_listens_and_hears_what_a_point_describes() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::with(&bus.address, World::with_monitors(true));
    let mut adapter = passive(&bus);
    adapter.connect().await.expect("open");
    let calls = bluetoothd.calls();
    assert!(!calls.iter().any(|call| call == "StartDiscovery") && calls.iter().any(|call| call == "RegisterMonitor"), "{calls:?}");
    // Another packet of the same sender says nothing about the level, and is no fault.
    bluetoothd.act(Act::Advert("C0:00:00:00:00:07", vec![(0x02e5, vec![0x02, 0xff])], vec![]));
    bluetoothd.act(Act::Advert("C0:00:00:00:00:07", vec![(0x02e5, vec![0x01, 0x39, 0x05])], vec![]));
    let level = timeout(Duration::from_secs(20), async {
        loop {
            adapter.ready().await;
            let harvest = adapter.read().await.expect("the radio is there");
            assert_eq!(harvest.misses, []);
            if let Some(reading) = harvest.readings.first() {
                return reading.value.clone();
            }
        }
    });
    assert_eq!(level.await.expect("heard"), Some(Value::Int(1337)));
    adapter.close().await;
    assert_eq!(bluetoothd.calls().last().map(String::as_str), Some("UnregisterMonitor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_be_it_is_refused_and_not_done_otherwise() {
    let Some(bus) = bus() else { return };
    {
        let bluetoothd = Bluetoothd::start(&bus.address);
        let refused = passive(&bus).connect().await.expect_err("no monitors").to_string();
        assert!(refused.contains("this bluetoothd cannot scan passively") && refused.contains("--experimental"), "{refused}");
        assert!(!bluetoothd.calls().iter().any(|call| call == "StartDiscovery"));
    }
    let _bluetoothd = Bluetoothd::with(&bus.address, World::with_monitors(false));
    let refused = passive(&bus).connect().await.expect_err("no room").to_string();
    assert!(refused.contains("no room for its patterns"), "{refused}");
}
