//! What packages install agrees with the program and with itself: unit, users, folders, rules, scripts.

use std::{collections::BTreeSet, fs, process::Command};

use crate::harness::{have, project};

/// How much of the system the unit may see at the most, as `systemd-analyze security` counts (0 nothing, 10 everything).
const MOST_EXPOSURE: f64 = 1.5;

fn file(name: &str) -> String {
    let path = project().join("systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All values of a key, in the file's order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// `systemd-analyze` on the unit, or `None`, said loudly, where there is none.
fn analyze(arguments: &[&str], unit: &std::path::Path) -> Option<std::process::Output> {
    have(&["systemd-analyze"]).then(|| Command::new("systemd-analyze").args(arguments).arg(unit).output().expect("it is there"))
}

#[test]
fn the_unit_is_understood_by_systemd_down_to_the_last_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("tidegate.service");
    // The program need not be installed here.
    fs::write(&unit, file("tidegate.service").replace("/usr/bin/tidegate", "/bin/true")).expect("written");
    let Some(output) = analyze(&["verify", "--man=no"], &unit) else { return };
    // A misspelt key is only a warning, so silence is what counts.
    let said: String = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains("tidegate")).collect();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_units_sandbox_stays_closed() {
    let unit = project().join("systemd/tidegate.service");
    let Some(output) = analyze(&["security", "--offline=true", "--no-pager"], &unit) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{text}"));
    let level: f64 = line.split_whitespace().find_map(|word| word.parse().ok()).expect("a number");
    assert!(level <= MOST_EXPOSURE, "{line}");
}

#[test]
fn serial_lines_and_bluetooth_stay_usable_in_the_sandbox() {
    let unit = file("tidegate.service");
    let devices = values(&unit, "DeviceAllow");
    // Linux devices.txt: ttyS, ttyACM, ttyUSB, ttyAMA and ttySC, ttymxc. By number, because a driver may be loaded later.
    for major in ["4", "166", "188", "204", "207"] {
        assert!(devices.contains(&format!("char-{major} rw").as_str()), "{devices:?}");
    }
    assert!(!values(&unit, "PrivateDevices").contains(&"yes"));
    assert!(values(&unit, "RestrictAddressFamilies")[0].contains("AF_UNIX"), "BlueZ is spoken to over a Unix socket");
    let users = file("sysusers.conf");
    for group in ["dialout", "bluetooth"] {
        assert!(users.contains(&format!("m tidegate {group}")), "{users}");
    }
}

#[test]
fn users_folders_and_paths_agree() {
    let unit = file("tidegate.service");
    assert_eq!(values(&unit, "User"), ["tidegate"]);
    assert!(file("sysusers.conf").contains("u tidegate - "));
    assert_eq!(values(&unit, "StateDirectory"), ["tidegate"]);
    let shipped = file("tidegate.toml");
    assert!(shipped.contains("state_dir = \"/var/lib/tidegate\""), "what the unit's StateDirectory makes");
    let folders = file("tmpfiles.conf");
    for folder in [
        "/var/lib/tidegate 0700",
        "/etc/tidegate 0750",
        "/etc/tidegate/devices.d",
        "/etc/tidegate/upstreams.d",
        "/etc/tidegate/secrets 0700",
    ] {
        assert!(folders.contains(&format!("d {folder}")), "{folder}");
    }
    let package = file("package");
    for part in ["tidegate.service", "sysusers.conf", "tmpfiles.conf", "60-tidegate-serial.rules", "tidegate.toml"] {
        assert!(package.contains(&format!("systemd/{part}")), "{part} is not packed");
    }
    assert!(values(&unit, "ExecStart")[0].starts_with("/usr/bin/tidegate run") && package.contains("/usr/bin/tidegate\n"));
}

#[test]
fn a_configuration_with_problems_is_not_tried_again_for_ever() {
    let unit = file("tidegate.service");
    assert_eq!(values(&unit, "RestartPreventExitStatus"), [(tidegate::exit::Exit::Configuration as u8).to_string()]);
    let table = file("README.md");
    for (code, name) in [(0, "Fine"), (70, "Internal"), (74, "StoreLost"), (75, "AlreadyRunning"), (78, "Configuration"), (130, "AtOnce")] {
        assert!(table.contains(&format!("| {code} |")), "{name} is not explained");
    }
}

#[test]
fn every_line_of_the_unit_has_its_reason() {
    let unit = file("tidegate.service");
    // One comment may explain a block; a blank line ends it.
    let unexplained: BTreeSet<&str> = unit
        .split("\n\n")
        .filter(|block| block.lines().any(|line| line.contains('=')) && !block.contains('#'))
        .flat_map(str::lines)
        .filter(|line| line.contains('='))
        .collect();
    assert_eq!(unexplained, BTreeSet::from(["WantedBy=multi-user.target"]));
}
