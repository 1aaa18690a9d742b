//! The board: clock, memory, heat, power, limits.

use rustix::process::{Resource, getrlimit, getuid};

use super::{Check, Report, Scene, Verdict, name, read};
use crate::timekeeper::{RELEASED, Witness};

/// Memory that should be left, in KiB.
const FREE_KIB: u64 = 64 << 10;
/// Where boards begin to slow down, in thousandths of a degree.
const HOT: i64 = 80_000;
/// Connections, files and pipes of a gateway with everything switched on.
const OPEN_FILES: u64 = 1024;
/// The firmware's word on power (Raspberry Pi): bit 0 is now, bit 16 since boot.
const THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";

pub(super) fn look(scene: &Scene, report: &mut Report) {
    clock(scene, report);
    let memory = scene.read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:").map(str::to_owned))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    match memory {
        Some(free) => report.judge(Check::MemoryFree, "", free >= FREE_KIB, format!("{} MiB available", free >> 10)),
        None => report.skip(Check::MemoryFree, "the kernel does not tell"),
    }
    load(scene, report);
    heat(scene, report);
    match scene.read(THROTTLED).and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()) {
        None => report.skip(Check::PowerSupply, "this board does not tell"),
        Some(bits) => {
            let seen = match (bits & 1 != 0, bits & (1 << 16) != 0) {
                (true, _) => "too low now",
                (false, true) => "was too low since boot",
                (false, false) => "was never too low since boot",
            };
            report.judge(Check::PowerSupply, "", bits & (1 | 1 << 16) == 0, seen);
        }
    }
    let limit = getrlimit(Resource::Nofile).current;
    report.judge(
        Check::OpenFiles,
        "",
        limit.is_none_or(|limit| limit >= OPEN_FILES),
        limit.map_or("no limit".to_owned(), |limit| limit.to_string()),
    );
    report.judge(Check::NotRoot, "", !getuid().is_root(), format!("user {}", getuid().as_raw()));
    let dogs: Vec<_> =
        scene.list("/sys/class/watchdog").iter().map(|path| (name(path), read(&path.join("state")).unwrap_or_default())).collect();
    match dogs.iter().find(|(_, state)| state == "active") {
        Some((dog, _)) => report.say(Check::HardwareWatchdog, "", Verdict::Fine, dog.clone()),
        None => report.judge(Check::HardwareWatchdog, "", false, if dogs.is_empty() { "there is none" } else { "it is not switched on" }),
    }
    let kept = scene.path("/var/log/journal").is_dir();
    report.judge(Check::JournalKept, "", kept, if kept { "on disk" } else { "in memory" });
}

fn clock(scene: &Scene, report: &mut Report) {
    report.judge(Check::ClockSet, "", scene.now >= RELEASED, scene.now.to_string());
    let witness = Witness::at(&scene.root);
    let other = ["/run/chrony", "/run/ntpd.pid", "/run/openntpd.pid"].into_iter().find(|path| scene.path(path).exists());
    match (witness.time_service, witness.service_has_set_it, other) {
        (true, true, _) => report.say(Check::ClockService, "", Verdict::Fine, "systemd-timesyncd has set it since boot"),
        (_, _, Some(other)) => report.say(Check::ClockService, "", Verdict::Fine, format!("{other} is there")),
        (true, false, None) => report.judge(Check::ClockService, "", false, "systemd-timesyncd has not reached a server since boot"),
        (false, _, None) => report.judge(Check::ClockService, "", false, "none was found"),
    }
    let battery = witness.hardware_clock;
    report.judge(Check::ClockBattery, "", battery, if battery { "rtc0 is there" } else { "no hardware clock" });
}

fn load(scene: &Scene, report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let text = scene.read("/proc/loadavg").unwrap_or_default();
    match text.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()) {
        Some(load) => report.judge(Check::Load, "", load <= 2.0 * cores, format!("{load} over five minutes on {cores} cores")),
        None => report.skip(Check::Load, "the kernel does not tell"),
    }
}

fn heat(scene: &Scene, report: &mut Report) {
    let zones = scene.list("/sys/class/thermal");
    let degrees = zones.iter().filter_map(|zone| read(&zone.join("temp"))?.parse::<i64>().ok());
    match degrees.filter(|degrees| (-40_000..=150_000).contains(degrees)).max() {
        Some(most) => report.judge(Check::Temperature, "", most < HOT, format!("{} °C", most / 1000)),
        None => report.skip(Check::Temperature, "this board does not tell"),
    }
}
