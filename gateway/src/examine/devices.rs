//! Serial ports and the Bluetooth radio, as far as that can be seen without opening them.

use rustix::fs::Access;

use super::{Check, MOST_THINGS, Report, Scene, name, read};

/// Milliseconds that an FTDI adapter may hold bytes back before it is worth a word.
const DELAY_MS: u32 = 4;
/// Processes that are looked at for bluetoothd.
const MOST_PROCESSES: usize = 4096;

pub(super) fn look(scene: &Scene, report: &mut Report) {
    let adapters = scene.config.iter().flat_map(|config| &config.adapters);
    let (mut ports, mut radios) = (Vec::new(), Vec::new());
    for adapter in adapters {
        let list = if adapter.kind == "ble" { &mut radios } else { &mut ports };
        list.extend(adapter.plan.exclusive.iter().cloned());
    }
    ports.sort();
    ports.dedup();
    ports.truncate(MOST_THINGS);
    serial(scene, &ports, report);
    radios.retain(|radio: &String| !radio.starts_with('/'));
    radios.truncate(MOST_THINGS);
    bluetooth(scene, &radios, report);
}

fn serial(scene: &Scene, ports: &[String], report: &mut Report) {
    if ports.is_empty() {
        for check in [Check::SerialPresent, Check::SerialAllowed, Check::SerialName, Check::SerialShared, Check::SerialDelay] {
            report.skip(check, "no adapter uses a serial port");
        }
    }
    for port in ports {
        let real = scene.path(port).canonicalize();
        report.judge(
            Check::SerialPresent,
            port,
            real.is_ok(),
            real.as_ref().map_or_else(ToString::to_string, |real| real.display().to_string()),
        );
        let Ok(real) = real else { continue };
        let allowed = rustix::fs::access(&real, Access::READ_OK | Access::WRITE_OK);
        report.judge(
            Check::SerialAllowed,
            port,
            allowed.is_ok(),
            allowed.map_or_else(|error| error.to_string(), |()| "to read and to write".to_owned()),
        );
        let stays = port.contains("/by-id/") || port.contains("/by-path/") || !port.contains("/ttyUSB") && !port.contains("/ttyACM");
        report.judge(Check::SerialName, port, stays, if stays { "it stays" } else { "the kernel may give it to another device" });
        let others = tidegate_adapters::serial::holders(&scene.root, &real, std::process::id());
        let others: Vec<_> = others.into_iter().filter(|holder| !holder.starts_with("tidegate ")).collect();
        report.judge(
            Check::SerialShared,
            port,
            others.is_empty(),
            if others.is_empty() { "nobody else was seen".to_owned() } else { others.join(", ") },
        );
        let timer = format!("/sys/class/tty/{}/device/latency_timer", name(&real));
        if let Some(delay) = scene.read(&timer).and_then(|text| text.parse::<u32>().ok()) {
            report.judge(Check::SerialDelay, port, delay <= DELAY_MS, format!("{delay} ms in {timer}"));
        }
    }
}

fn bluetooth(scene: &Scene, radios: &[String], report: &mut Report) {
    if radios.is_empty() {
        for check in [Check::BluetoothPresent, Check::BluetoothOn, Check::BluetoothService] {
            report.skip(check, "no adapter uses Bluetooth by BlueZ");
        }
        return;
    }
    for radio in radios {
        let there = scene.path(format!("/sys/class/bluetooth/{radio}")).exists();
        report.judge(Check::BluetoothPresent, radio, there, if there { "it is there" } else { "no such radio" });
    }
    let switches = scene.list("/sys/class/rfkill");
    let bluetooth = switches.iter().filter(|path| read(&path.join("type")).as_deref() == Some("bluetooth"));
    let blocked = bluetooth.filter(|path| ["soft", "hard"].iter().any(|how| read(&path.join(how)).as_deref() == Some("1")));
    let blocked: Vec<_> = blocked.map(|path| read(&path.join("name")).unwrap_or_else(|| name(path))).collect();
    report.judge(
        Check::BluetoothOn,
        "",
        blocked.is_empty(),
        if blocked.is_empty() { "not blocked".to_owned() } else { blocked.join(", ") },
    );
    let bus = scene.path("/run/dbus/system_bus_socket").exists();
    let processes = std::fs::read_dir(scene.path("/proc")).into_iter().flatten().flatten().take(MOST_PROCESSES);
    let daemon = processes.into_iter().any(|process| read(&process.path().join("comm")).as_deref() == Some("bluetoothd"));
    let seen = match (bus, daemon) {
        (true, true) => "both run",
        (false, _) => "D-Bus is not there",
        (true, false) => "bluetoothd was not found",
    };
    report.judge(Check::BluetoothService, "", bus && daemon, seen);
}
