//! What the log is on.

use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags};

use super::{Check, Report, Scene, Verdict, entries, name};

/// What the rest of the system needs to go on.
const RESERVE: u64 = 64 << 20;
/// Files that must still fit: databases, journals, the page's.
const INODES: u64 = 1000;
/// A log that is fuller than this, in percent, will soon give messages up.
const FULL: u64 = 80;
/// `0x09`: 80 to 90 % of the erase cycles are used (JEDEC JESD84-B51, DEVICE_LIFE_TIME_EST).
const WORN: u8 = 0x09;
/// Kinds of file systems (`statfs(2)`) that lose what was written, or promise what they cannot keep.
const FLEETING: [(u64, &str); 8] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x0000_4d44, "FAT"),
];

pub(super) fn look(scene: &Scene, report: &mut Report) {
    match scene.state_dir() {
        Some(state) => folder(scene, state, report),
        None => {
            for check in [Check::StateWritable, Check::StateDurable, Check::StateRoom, Check::StateInodes, Check::LogFill, Check::LogDamage]
            {
                report.skip(check, "the configuration does not say where");
            }
        }
    }
    errors(scene, report);
    flash(scene, report);
    swap(scene, report);
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn folder(scene: &Scene, state: &Path, report: &mut Report) {
    let shown = state.display().to_string();
    // One that is not there yet is made at the first start, below the nearest that is.
    let Some(nearest) = state.ancestors().find(|path| path.exists()) else { return };
    let disk = rustix::fs::statvfs(nearest).ok();
    let read_only = disk.as_ref().is_some_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY));
    let writable = !read_only && nearest.is_dir() && rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let seen = match (read_only, writable) {
        (true, _) => "its file system is mounted read-only".to_owned(),
        (_, true) if nearest == state => "it is there".to_owned(),
        (_, true) => format!("it can be made in {}", nearest.display()),
        _ => format!("{} cannot be written", nearest.display()),
    };
    report.judge(Check::StateWritable, &shown, writable, seen);
    if let Ok(kind) = rustix::fs::statfs(nearest) {
        let kind = kind.f_type as u64 & 0xffff_ffff;
        let fleeting = FLEETING.iter().find(|(number, _)| *number == kind);
        report.judge(
            Check::StateDurable,
            &shown,
            fleeting.is_none(),
            fleeting.map_or_else(|| format!("file system {kind:#x}"), |(_, word)| (*word).to_owned()),
        );
    }
    let size = |file: &str| std::fs::metadata(state.join(file)).map_or(0, |meta| meta.len());
    let used = size("log.db") + size("log.db-wal");
    if let Some(disk) = disk {
        let (free, whole) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        let most = scene.config.as_ref().and_then(|config| config.log.max_size).unwrap_or((whole / 10).max(RESERVE));
        let needed = most.saturating_sub(used) + RESERVE;
        report.judge(
            Check::StateRoom,
            &shown,
            free >= needed,
            format!("{} free; the log may need {} more", mib(free), mib(most.saturating_sub(used))),
        );
        // File systems that make inodes as they need them count none.
        let enough = disk.f_files == 0 || disk.f_favail >= INODES;
        report.judge(Check::StateInodes, &shown, enough, format!("{} of {} left", disk.f_favail, disk.f_files));
        let percent = used * 100 / most.max(1);
        report.judge(Check::LogFill, &shown, percent < FULL, format!("{percent} % of {}", mib(most)));
    }
    let damaged: Vec<_> = entries(state).iter().map(|path| name(path)).filter(|file| file.contains(".damaged-")).collect();
    report.judge(Check::LogDamage, &shown, damaged.is_empty(), if damaged.is_empty() { "none".to_owned() } else { damaged.join(", ") });
}

/// What ext4 has counted since it was made or last checked.
fn errors(scene: &Scene, report: &mut Report) {
    let systems = scene.list("/sys/fs/ext4");
    let counted: Vec<_> =
        systems.iter().filter_map(|path| Some((name(path), super::read(&path.join("errors_count"))?.parse::<u64>().ok()?))).collect();
    if counted.is_empty() {
        return report.skip(Check::FileSystemErrors, "no file system here counts them");
    }
    for (device, errors) in counted {
        report.judge(Check::FileSystemErrors, &device, errors == 0, format!("{errors} errors"));
    }
}

/// How much of its erase cycles the most worn eMMC has used, in percent, rounded up to tens; `None` where none says so.
pub(crate) fn flash_used() -> Option<u8> {
    let devices = entries(Path::new("/sys/block"));
    let devices = devices.iter().filter(|path| name(path).starts_with("mmcblk"));
    devices.filter_map(|device| used_in(&super::read(&device.join("device/life_time"))?)).max().map(|used| used.min(11) * 10)
}

/// Two areas; the worse counts. 0 is not defined.
fn used_in(text: &str) -> Option<u8> {
    text.split_whitespace().filter_map(|text| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok()).max().filter(|used| *used > 0)
}

/// What an eMMC says of itself. SD cards say nothing.
fn flash(scene: &Scene, report: &mut Report) {
    let (mut life, mut reserve) = (false, false);
    for device in scene.list("/sys/block").iter().filter(|path| name(path).starts_with("mmcblk")) {
        let number = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        let read = |file: &str| super::read(&device.join("device").join(file));
        let used = read("life_time").and_then(|text| used_in(&text));
        if let Some(used) = used {
            life = true;
            let seen =
                if used > 0x0a { "beyond its estimated life".to_owned() } else { format!("{} to {} % used", (used - 1) * 10, used * 10) };
            report.judge(Check::FlashLife, &name(device), used < WORN, seen);
        }
        if let Some(state) = read("pre_eol_info").and_then(|text| number(&text)).filter(|state| (1..=3).contains(state)) {
            reserve = true;
            let words = ["normal", "80 % of the spare blocks are used", "90 % of the spare blocks are used"];
            report.judge(Check::FlashReserve, &name(device), state == 1, words[usize::from(state) - 1]);
        }
    }
    for (check, seen) in [(Check::FlashLife, life), (Check::FlashReserve, reserve)] {
        if !seen {
            report.skip(check, "no eMMC here says how it is; SD cards never do");
        }
    }
}

fn swap(scene: &Scene, report: &mut Report) {
    let Some(text) = scene.read("/proc/swaps") else { return report.skip(Check::SwapOnFlash, "the kernel does not tell") };
    let on: Vec<_> =
        text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).filter(|device| !device.contains("zram")).collect();
    if on.is_empty() {
        report.say(Check::SwapOnFlash, "", Verdict::Fine, "none");
    } else {
        report.judge(Check::SwapOnFlash, "", false, on.join(", "));
    }
}
