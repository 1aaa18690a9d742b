//! Devices that are connected to: read on a schedule, listened to, written, paired; and everything that goes wrong on the way.

use std::time::Duration;

use tidegate_core::{
    adapter::{Adapter, Miss},
    command::{Action, Command, Outcome},
    id::{LeafId, PointName},
    reading::{Reading, Value},
};
use tokio::time::timeout;

use crate::{
    cases::adapter,
    stand_in::{Act, Bluetoothd, Bus, bus},
    world::{Characteristic, Device, World},
};

const METER: &str = "C0:00:00:00:00:01";
const LOCK: &str = "C0:00:00:00:00:02";
/// Longer than any one step of a connection.
const BOUND: Duration = Duration::from_secs(60);

fn value(uuid: u16, flags: &[&'static str], value: &[u8]) -> Characteristic {
    Characteristic { service: 0x1809, uuid, flags: flags.to_vec(), value: value.to_vec(), ..Characteristic::default() }
}

/// Two values in one characteristic, a battery, a set-point.
fn meter() -> Device {
    let characteristics = vec![
        value(0x2a6e, &["read", "notify"], &[0xca, 0x09, 0x01]),
        value(0x2a19, &["read"], &[87]),
        value(0x2a1f, &["read", "write"], &[0x64, 0x00]),
        value(0x2a20, &["write-without-response"], &[0]),
    ];
    Device { characteristics, ..Device::default() }
}

const POINTS: &str = "
[[device.point]]
name = \"temperature\"
characteristic = \"2a6e\"
type = \"i16\"
[[device.point]]
name = \"alarm\"
characteristic = \"00002a6e-0000-1000-8000-00805f9b34fb\"
at = 2
bit = 0
[[device.point]]
name = \"battery\"
characteristic = \"2a19\"
service = \"1809\"
type = \"u8\"
[[device.point]]
name = \"setpoint\"
characteristic = \"2a1f\"
type = \"i16\"
writable = true
[[device.point]]
name = \"light\"
characteristic = \"2a20\"
type = \"u8\"
writable = true
";

fn section(bus: &Bus, radio: &str, devices: &str) -> Box<dyn Adapter> {
    adapter(&format!("radio = \"hci0\"\nbus = \"{}\"\n{radio}\n{devices}", bus.address))
}

fn device(id: &str, address: &str, more: &str, points: &str) -> String {
    format!("[[device]]\nid = \"{id}\"\naddress = \"{address}\"\ninterval = \"1ms\"\n{more}\n{points}\n")
}

/// Reads until something fits; `Err` of the bus ends the test.
async fn until<T>(adapter: &mut Box<dyn Adapter>, mut fits: impl FnMut(&[Reading], &[Miss]) -> Option<T>) -> T {
    timeout(BOUND, async {
        loop {
            adapter.ready().await;
            let harvest = adapter.read().await.expect("the radio is there");
            if let Some(found) = fits(&harvest.readings, &harvest.misses) {
                return found;
            }
        }
    })
    .await
    .expect("it came")
}

async fn reading(adapter: &mut Box<dyn Adapter>, leaf: &str, point: &str) -> Value {
    until(adapter, |readings, _| {
        readings.iter().find(|one| one.leaf.as_str() == leaf && one.point.as_str() == point).and_then(|one| one.value.clone())
    })
    .await
}

async fn miss(adapter: &mut Box<dyn Adapter>, leaf: &str) -> Miss {
    until(adapter, |_, misses| misses.iter().find(|miss| miss.leaf.as_str() == leaf).cloned()).await
}

fn write(leaf: &str, point: &str, value: Value) -> Command {
    let name = PointName::new(point).expect("a name");
    command(leaf, Action::Write(vec![(name, value)]))
}

fn command(leaf: &str, action: Action) -> Command {
    Command { id: "1".to_owned(), leaf: LeafId::new(leaf).expect("an id"), action }
}

async fn outcome(adapter: &mut Box<dyn Adapter>, command: &Command) -> Outcome {
    timeout(BOUND, adapter.execute(command)).await.expect("bounded").expect("the radio is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_connected_to_read_and_let_go_again() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, meter())]));
    let mut adapter = section(&bus, "", &device("meter", METER, "read_interval = \"1s\"", POINTS));
    adapter.connect().await.expect("open");
    let mut seen = until(&mut adapter, |readings, _| {
        let seen: Vec<_> = readings.iter().map(|one| (one.point.to_string(), one.value.clone().expect("a value"))).collect();
        (!seen.is_empty()).then_some(seen)
    })
    .await;
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let expected =
        [("alarm", Value::Bool(true)), ("battery", Value::Int(87)), ("setpoint", Value::Int(100)), ("temperature", Value::Int(2506))];
    assert_eq!(seen, expected.map(|(name, value)| (name.to_owned(), value)), "light cannot be read, and is told as a miss");
    timeout(BOUND, async {
        while bluetoothd.world(|world| world.devices[METER].connected) {
            adapter.ready().await;
            adapter.read().await.expect("the radio is there");
        }
    })
    .await
    .expect("let go");
    bluetoothd.world(|world| world.devices.get_mut(METER).expect("there").characteristics[1].value = vec![86]);
    until(&mut adapter, |readings, _| readings.iter().any(|one| one.value == Some(Value::Int(86))).then_some(())).await;
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_by_itself_arrives_and_a_connection_that_ends_is_made_again() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, meter())]));
    let point = "[[device.point]]\nname = \"temperature\"\ncharacteristic = \"2a6e\"\ntype = \"i16\"\nnotify = true\n";
    let mut adapter = section(&bus, "", &device("meter", METER, "", point));
    adapter.connect().await.expect("open");
    let notifying = || bluetoothd.world(|world| world.devices[METER].characteristics[0].notifying);
    for round in [1_u8, 2] {
        let drive = async {
            while !notifying() {
                tokio::select! {
                    () = adapter.ready() => drop(adapter.read().await.expect("the radio is there")),
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        };
        timeout(BOUND, drive).await.expect("asked for");
        bluetoothd.act(Act::Notify(METER, 0x2a6e, vec![round, 0, 0]));
        assert_eq!(reading(&mut adapter, "meter", "temperature").await, Value::Int(round.into()));
        bluetoothd.act(Act::HangUp(METER));
        timeout(BOUND, async {
            while notifying() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("hung up");
    }
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_failures_are_no_news_and_three_are() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, Device { fails: 2, ..meter() })]));
    let mut adapter = section(&bus, "", &device("meter", METER, "read_interval = \"1s\"", POINTS));
    adapter.connect().await.expect("open");
    let first = until(&mut adapter, |readings, misses| {
        let told = misses.iter().find(|miss| miss.detail.contains("attempts")).cloned();
        (told.is_some() || !readings.is_empty()).then_some(told)
    })
    .await;
    assert_eq!(first, None, "two attempts that fail are not told");
    bluetoothd.world(|world| {
        let device = world.devices.get_mut(METER).expect("there");
        (device.fails, device.connected) = (u32::MAX, false);
    });
    let told = until(&mut adapter, |_, misses| misses.iter().find(|miss| miss.detail.contains("attempts")).cloned()).await;
    assert_eq!(told.reason.to_string(), "timeout");
    assert!(told.detail.contains("le-connection-abort-by-local (3 attempts)"), "{}", told.detail);
    assert_eq!(told.points.len(), 5, "all of it");
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_done_when_it_was_read_back_and_anything_else_says_what_it_is() {
    let Some(bus) = bus() else { return };
    let mut fixed = meter();
    fixed.characteristics[2].flags = vec!["read"];
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, meter()), (LOCK, fixed)]));
    let both = ["meter", "fixed"].into_iter().zip([METER, LOCK]);
    let devices: String = both.map(|(id, address)| device(id, address, "read_interval = \"1h\"", POINTS)).collect();
    let mut adapter = section(&bus, "", &devices);
    adapter.connect().await.expect("open");
    let at = |change: fn(&mut Characteristic)| {
        bluetoothd.world(|world| change(&mut world.devices.get_mut(METER).expect("there").characteristics[2]));
    };
    let setpoint = PointName::new("setpoint").expect("a name");
    let done = outcome(&mut adapter, &write("meter", "setpoint", Value::Int(-5))).await;
    assert_eq!(done, Outcome::Done(vec![(setpoint, Value::Int(-5))]));
    assert_eq!(bluetoothd.world(|world| world.devices[METER].characteristics[2].value.clone()), [0xfb, 0xff]);
    assert_eq!(outcome(&mut adapter, &write("meter", "light", Value::Int(7))).await, Outcome::Sent, "nobody acknowledges that");
    at(|one| one.stubborn = true);
    let failed = outcome(&mut adapter, &write("meter", "setpoint", Value::Int(9))).await;
    assert_eq!(failed, Outcome::Failed("setpoint: wrote 9, read back -5".to_owned()));
    let fixed = outcome(&mut adapter, &write("fixed", "setpoint", Value::Int(9))).await;
    assert!(matches!(&fixed, Outcome::Rejected(why) if why.contains("cannot be written so")), "{fixed:?}");
    at(|one| one.drops = true);
    let uncertain = outcome(&mut adapter, &write("meter", "setpoint", Value::Int(9))).await;
    assert!(matches!(&uncertain, Outcome::Uncertain(why) if why.contains("Not connected")), "{uncertain:?}");
    bluetoothd.world(|world| world.devices.get_mut(METER).expect("there").fails = 2);
    let failed = outcome(&mut adapter, &write("meter", "setpoint", Value::Int(9))).await;
    assert!(matches!(&failed, Outcome::Failed(why) if why.starts_with("nothing was written")), "{failed:?}");
    let read = outcome(&mut adapter, &command("meter", Action::Read(vec![PointName::new("battery").expect("a name")]))).await;
    assert!(matches!(&read, Outcome::Done(values) if values[0].1 == Value::Int(87)), "{read:?}");
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_paired_with_the_passkey_of_its_file_and_never_with_another() {
    let Some(bus) = bus() else { return };
    let lock = Device {
        passkey: Some(123_456),
        characteristics: vec![Characteristic { secret: true, ..value(0x2a19, &["read"], &[9]) }],
        ..Device::default()
    };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(LOCK, lock)]));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passkey");
    let point = "[[device.point]]\nname = \"battery\"\ncharacteristic = \"2a19\"\ntype = \"u8\"\n";
    let with = |more: &str| section(&bus, "", &device("lock", LOCK, &format!("read_interval = \"1s\"\n{more}"), point));
    let mut unpaired = with("");
    unpaired.connect().await.expect("open");
    let told = miss(&mut unpaired, "lock").await;
    assert_eq!(told.reason.to_string(), "not-bonded");
    assert!(told.detail.contains("tidegate adapters pair"), "{}", told.detail);
    unpaired.close().await;
    let bond = format!("bond = true\npasskey_file = \"{}\"", file.display());
    std::fs::write(&file, "000001\n").expect("written");
    let mut wrong = with(&bond);
    wrong.connect().await.expect("open");
    assert_eq!(miss(&mut wrong, "lock").await.reason.to_string(), "not-bonded");
    assert!(!bluetoothd.world(|world| world.devices[LOCK].paired));
    wrong.close().await;
    std::fs::write(&file, "123456\n").expect("written");
    let mut right = with(&bond);
    right.connect().await.expect("open");
    assert_eq!(reading(&mut right, "lock", "battery").await, Value::Int(9));
    assert!(bluetoothd.world(|world| world.devices[LOCK].paired));
    right.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_bluez_has_forgotten_is_waited_for_or_called_by_its_address_type() {
    let Some(bus) = bus() else { return };
    let world = World::of([(METER, Device { unknown: true, ..meter() }), (LOCK, Device { unknown: true, ..meter() })]);
    let bluetoothd = Bluetoothd::with(&bus.address, world);
    let called = device("called", METER, "address_type = \"random\"", POINTS);
    let waited = device("waited", LOCK, "", POINTS);
    let mut adapter = section(&bus, "", &(called + &waited));
    adapter.connect().await.expect("open");
    bluetoothd.act(Act::Appear(LOCK));
    let mut missing = vec!["called", "waited"];
    until(&mut adapter, |readings, _| {
        missing.retain(|leaf| !readings.iter().any(|one| one.leaf.as_str() == *leaf));
        missing.is_empty().then_some(())
    })
    .await;
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_take_turns_on_few_connections() {
    const ALL: [&str; 6] =
        ["C0:00:00:00:01:01", "C0:00:00:00:01:02", "C0:00:00:00:01:03", "C0:00:00:00:01:04", "C0:00:00:00:01:05", "C0:00:00:00:01:06"];
    let Some(bus) = bus() else { return };
    let world = World::of(ALL.into_iter().map(|address| (address, meter())));
    let bluetoothd = Bluetoothd::with(&bus.address, world);
    let devices: String =
        ALL.iter().enumerate().map(|(n, address)| device(&format!("d{n}"), address, "read_interval = \"1s\"", POINTS)).collect();
    let mut adapter = section(&bus, "connections = 2", &devices);
    adapter.connect().await.expect("open");
    let mut turns = [0; ALL.len()];
    until(&mut adapter, |readings, _| {
        for (n, turns) in turns.iter_mut().enumerate() {
            *turns += readings.iter().filter(|one| one.leaf.as_str() == format!("d{n}") && one.point.as_str() == "battery").count();
        }
        turns.iter().all(|turns| *turns >= 3).then_some(())
    })
    .await;
    assert!(bluetoothd.world(|world| world.most) <= 2, "{} were connected at once", bluetoothd.world(|world| world.most));
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_with_what_there_is() {
    let Some(bus) = bus() else { return };
    let _bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, meter())]));
    let points = "[[device.point]]\nname = \"none\"\ncharacteristic = \"2a99\"\ntype = \"u8\"\n\
                  [[device.point]]\nname = \"long\"\ncharacteristic = \"2a19\"\ntype = \"u32\"\n";
    let mut adapter = section(&bus, "", &device("meter", METER, "", points));
    adapter.connect().await.expect("open");
    let mut told = Vec::new();
    until(&mut adapter, |_, misses| {
        told.extend(misses.iter().map(|miss| (miss.points[0].to_string(), miss.reason.to_string(), miss.detail.clone())));
        (told.len() >= 2).then_some(())
    })
    .await;
    told.sort();
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("long", "garbled"), "{told:?}");
    assert_eq!((told[1].0.as_str(), told[1].1.as_str()), ("none", "no-such-characteristic"), "{told:?}");
    assert!(told[1].2.contains("it has 2a19, 2a1f, 2a20, 2a6e") || told[1].2.contains("2a6e"), "{told:?}");
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_reads_a_device_once_with_its_bytes() {
    let Some(bus) = bus() else { return };
    let _bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, meter())]));
    let mut adapter = section(&bus, "", &device("meter", METER, "read_interval = \"1h\"", POINTS));
    adapter.connect().await.expect("open");
    let looks = timeout(BOUND, adapter.look(None)).await.expect("bounded").expect("the radio is there");
    let line = looks[0].lines.iter().find(|line| line.point.as_str() == "battery").expect("a line");
    assert_eq!(
        (&line.value, line.raw.as_str(), line.request.as_str()),
        (&Some(Value::Int(87)), "57", "read characteristic 2a19 of C0:00:00:00:00:01")
    );
    adapter.close().await;
}

/// Pairs, answering with this passkey.
async fn pair(bus: &Bus, address: &str, passkey: &str) -> Result<(), String> {
    use tidegate_core::pair::PairNews;
    let pair = tidegate_adapters::ble::KIND.pair.expect("it pairs");
    let options = serde_json::json!({ "address": address, "bus": bus.address });
    (pair.check)(&options).expect("fine");
    let (news, mut heard) = tokio::sync::mpsc::channel(8);
    let running = tokio::spawn((pair.run)(options, news));
    while let Some(news) = timeout(BOUND, heard.recv()).await.expect("bounded") {
        if let PairNews::Passkey(reply) = news {
            reply.send(passkey.to_owned()).expect("it waits");
        }
    }
    timeout(BOUND, running).await.expect("bounded").expect("no panic").map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_pairs_with_the_digits_that_the_device_shows() {
    let Some(bus) = bus() else { return };
    let lock = Device { passkey: Some(42), ..meter() };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(LOCK, lock)]));
    let paired = || bluetoothd.world(|world| world.devices[LOCK].paired);
    for wrong in ["000043", "no", "1000000"] {
        let why = pair(&bus, LOCK, wrong).await.expect_err("another passkey");
        assert!(why.contains("AuthenticationFailed") && why.contains("pairing mode"), "{why}");
        assert!(!paired());
    }
    assert_eq!(pair(&bus, LOCK, "000042").await, Ok(()));
    assert!(paired());
    assert_eq!(pair(&bus, LOCK, "").await, Ok(()), "it is paired already");
    assert!(!bluetoothd.world(|world| world.devices[LOCK].connected), "let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_value_that_the_device_refuses_is_told_and_the_others_come() {
    let Some(bus) = bus() else { return };
    let mut device_of = meter();
    device_of.characteristics[1].refuses = true;
    let _bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, device_of)]));
    let mut adapter = section(&bus, "", &device("meter", METER, "read_interval = \"1s\"", POINTS));
    adapter.connect().await.expect("open");
    for _ in 0..2 {
        let told =
            until(&mut adapter, |_, misses| misses.iter().find(|miss| miss.points.iter().any(|p| p.as_str() == "battery")).cloned()).await;
        assert_eq!((told.points.len(), told.reason.to_string().as_str()), (1, "refused"), "{told:?}");
        assert_eq!(reading(&mut adapter, "meter", "temperature").await, Value::Int(2506));
    }
    adapter.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_said_is_not_said_again_because_it_advertises() {
    let Some(bus) = bus() else { return };
    let bluetoothd = Bluetoothd::with(&bus.address, World::of([(METER, meter())]));
    let both =
        "point = [{ name = \"battery\", characteristic = \"2a19\", type = \"u8\" }, { name = \"celsius\", field = \"temperature\" }]\n";
    let mut adapter = section(&bus, "", &device("meter", METER, "read_interval = \"1h\"", both));
    adapter.connect().await.expect("open");
    assert_eq!(reading(&mut adapter, "meter", "battery").await, Value::Int(87));
    let data = vec![0x40, 0x57, 21];
    bluetoothd.act(Act::Advert(METER, vec![], vec![("0000fcd2-0000-1000-8000-00805f9b34fb", data)]));
    let seen = until(&mut adapter, |readings, _| {
        let names: Vec<_> = readings.iter().map(|one| one.point.to_string()).collect();
        (!names.is_empty()).then_some(names)
    })
    .await;
    assert_eq!(seen, ["celsius"]);
    adapter.close().await;
}
