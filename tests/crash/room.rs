//! No room: the log's own limit is reached, or the disk is really full. The gateway stays up, and the gap reports
//! tell exactly what was given up.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::harness::{Gateway, SCENE, SOON, Scene, alone, have, mqtt_upstream, outstanding, until_true};

const UNITS: u8 = 4;

/// Units whose messages are about two kilobytes, so that room runs out in seconds.
fn heavy(log: &str) -> Scene {
    Scene::with(|slave, broker| {
        let mut adapter = format!(
            "[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{}\"\ntimeout = \"5s\"\n",
            slave.address
        );
        let text: Vec<u16> = (0..100).map(|n| 0x4141 + n).collect();
        for unit in 1..=UNITS {
            slave.add(unit, &[text.as_slice(), text.as_slice()].concat());
            adapter += &format!("[[adapter.device]]\nid = \"plant-{unit}\"\nunit = {unit}\ninterval = \"20ms\"\n");
            adapter += "[[adapter.device.point]]\nname = \"n\"\nregister = \"holding\"\naddress = 200\ntype = \"u32\"\n";
            for (name, address) in [("a", 0), ("b", 100)] {
                adapter += &format!(
                    "[[adapter.device.point]]\nname = \"{name}\"\nregister = \"holding\"\naddress = {address}\ntype = \"bytes\"\nlength = 100\n"
                );
            }
        }
        format!("[log]\ncommit_interval = \"50ms\"\n{log}{adapter}{}", mqtt_upstream(&broker.address))
    })
}

/// Delivered and given up together are all that the units ever answered.
#[track_caller]
fn assert_the_sum_is_the_truth(scene: &mut Scene) {
    let tally = scene.deliver_the_rest();
    tally.assert_in_order();
    let polled: u64 = (1..=UNITS).map(|unit| scene.slave.counter(unit)).sum();
    let delivered: u64 = tally.counters().values().map(|numbers| numbers.len() as u64).sum();
    assert!(tally.gaps().iter().all(|gap| gap["reason"] == "room"), "{:?}", tally.gaps());
    assert!(tally.given_up() > 0, "some were given up");
    assert_eq!(delivered + tally.given_up(), polled, "delivered {delivered}, given up {}, read {polled}", tally.given_up());
    for unit in 1..=UNITS {
        let leaf = format!("plant-{unit}");
        let newest = tally.of(&leaf).filter_map(crate::harness::Delivery::number).max();
        assert_eq!(newest, Some(scene.slave.counter(unit)), "the oldest give way, not the newest");
    }
}

#[test]
fn when_the_log_reaches_its_limit_the_gap_reports_and_the_delivered_are_the_whole_truth() {
    if !have(SCENE) {
        return;
    }
    let _turn = alone();
    let mut scene = heavy("max_size = \"1MiB\"\n");
    scene.gateway.start();
    scene.arrive(20);
    scene.broker.stop();
    scene.gateway.until_health("log-full", true);
    let polled = scene.slave.counter(1);
    until_true("it goes on for a while", SOON, || scene.slave.counter(1) > polled + 100);
    let bytes = scene.gateway.json(&["queue", "--json"])["bytes"].as_u64().expect("a number");
    assert!(bytes <= 1 << 20, "{bytes} bytes are kept");
    // A kill in the middle of giving up leaves either both, the message and no gap, or neither: the sum stays exact up to
    // what had not been committed, so here the stop is an ordered one; kills have their own story.
    scene.gateway.stop();
    scene.broker.start_again();
    assert_the_sum_is_the_truth(&mut scene);
}

/// A small tmpfs; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).expect("a new folder");
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).output().expect("mount runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the gateway that still runs in a failing story is ended after this.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn when_the_disk_is_full_the_gateway_stays_up_and_the_gap_reports_tell_the_truth() {
    if !have(&[SCENE, &["root", "mount"]].concat()) {
        return;
    }
    let _turn = alone();
    let mut scene = heavy("max_size = \"64MiB\"\n");
    let disk = scene.site.path("disk");
    let _mounted = SmallDisk::mount(&disk, "6m");
    let sections = std::fs::read_to_string(scene.gateway.config.join("tidegate.toml")).expect("written before");
    let sections = sections.split_once("[log]").map(|(_, rest)| format!("[log]{rest}")).expect("there is one");
    let other_site = crate::harness::Site::new();
    scene.gateway = Gateway::with_state(&other_site, &disk.join("state"), &sections);
    scene.gateway.start();
    scene.arrive(20);
    scene.broker.stop();
    until_true("messages are given up", SOON * 3, || scene.gateway.json(&["queue", "--json"]).to_string().contains("\"room\""));
    let polled = scene.slave.counter(1);
    until_true("it goes on for a while", SOON, || scene.slave.counter(1) > polled + 100);
    assert!(scene.gateway.is_running(), "a full disk ends nothing");
    let processor = scene.gateway.processor_time();
    let waited = Duration::from_secs(1);
    std::thread::sleep(waited);
    let used = scene.gateway.processor_time() - processor;
    assert!(used < waited, "no endless loop: {used:?} of processor time in {waited:?}");
    scene.broker.start_again();
    until_true("it delivers again", SOON * 2, || outstanding(&scene.gateway) < 50);
    scene.gateway.stop();
    assert_the_sum_is_the_truth(&mut scene);
}
