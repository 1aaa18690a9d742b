//! What is looked at, on machines made of files.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

/// A machine in a folder.
struct Machine {
    root: tempfile::TempDir,
    etc: PathBuf,
}

const NOW: Timestamp = Timestamp(1_790_000_000_000);

impl Machine {
    /// With this configuration beside its head.
    fn with(text: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let etc = root.path().join("etc/tidegate");
        fs::create_dir_all(&etc).expect("made");
        let head = format!("config_version = 1\n[gateway]\nid = \"gw\"\nstate_dir = \"{}/state\"\n", root.path().display());
        fs::write(etc.join("tidegate.toml"), head + text).expect("written");
        Self { root, etc }
    }

    fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        path
    }

    fn look(&self) -> Vec<Seen> {
        examine(&Scene::at(self.root.path(), &self.etc, &crate::kinds(), NOW))
    }

    /// What is said of one check: verdict and what was seen, for each subject.
    fn says(&self, check: Check) -> Vec<(Verdict, String)> {
        self.look().into_iter().filter(|one| one.check == check).map(|one| (one.verdict, one.seen)).collect()
    }

    fn verdict(&self, check: Check) -> Verdict {
        let says = self.says(check);
        assert_eq!(says.len(), 1, "{says:?}");
        says[0].0
    }
}

#[test]
fn every_check_is_said_on_every_machine_and_has_words() {
    let seen = Machine::with("").look();
    for check in Check::ALL {
        let only_live = matches!(check, Check::BusOpens | Check::HubName | Check::HubAccepts | Check::ClockSkew);
        assert_eq!(seen.iter().any(|one| one.check == *check), !only_live, "{}", check.code());
        for words in [check.title(), check.cause(), check.next_step()] {
            assert!(words.len() > 3, "{}", check.code());
        }
    }
    assert!(Check::ALL.len() >= 40, "{}", Check::ALL.len());
    // Nothing is there to be looked at: that is said, and not taken for fine.
    for check in
        [Check::FlashLife, Check::PowerSupply, Check::SerialPresent, Check::BluetoothOn, Check::FileSystemErrors, Check::MemoryFree]
    {
        let verdict = seen.iter().find(|one| one.check == check).map(|one| one.verdict);
        assert_eq!(verdict, Some(Verdict::Skipped), "{}", check.code());
    }
}

#[test]
fn a_configuration_that_cannot_run_is_told_and_the_rest_is_looked_at_all_the_same() {
    let machine = Machine::with("[lag]\n");
    let says = machine.says(Check::ConfigRuns);
    assert!(says[0].0 == Verdict::Error && says[0].1.contains("lag"), "{says:?}");
    assert_eq!(machine.verdict(Check::StateWritable), Verdict::Skipped);
    assert_eq!(machine.verdict(Check::JournalKept), Verdict::Note);
}

#[test]
fn a_worn_card_a_weak_supply_and_a_hot_board_are_told() {
    let machine = Machine::with("");
    machine.put("sys/block/mmcblk0/device/life_time", "0x02 0x0a\n");
    machine.put("sys/block/mmcblk0/device/pre_eol_info", "0x01\n");
    machine.put("sys/fs/ext4/mmcblk0p2/errors_count", "3\n");
    machine.put("sys/devices/platform/soc/soc:firmware/get_throttled", "10000\n");
    machine.put("sys/class/thermal/thermal_zone0/temp", "84500\n");
    machine.put("proc/meminfo", "MemTotal: 441000 kB\nMemAvailable: 20000 kB\n");
    machine.put("proc/swaps", "Filename Type Size Used Priority\n/var/swap file 102396 0 -2\n/dev/zram0 partition 1 0 5\n");
    assert_eq!(machine.says(Check::FlashLife), [(Verdict::Warning, "90 to 100 % used".to_owned())]);
    assert_eq!(machine.says(Check::FlashReserve), [(Verdict::Fine, "normal".to_owned())]);
    assert_eq!(machine.says(Check::FileSystemErrors), [(Verdict::Error, "3 errors".to_owned())]);
    assert_eq!(machine.says(Check::PowerSupply), [(Verdict::Error, "was too low since boot".to_owned())]);
    assert_eq!(machine.says(Check::Temperature), [(Verdict::Warning, "84 °C".to_owned())]);
    assert_eq!(machine.verdict(Check::MemoryFree), Verdict::Warning);
    assert_eq!(machine.says(Check::SwapOnFlash), [(Verdict::Note, "/var/swap".to_owned())]);
}

#[test]
fn keys_that_everybody_reads_and_certificates_that_end_are_told_and_no_secret_is_repeated() {
    let upstream = "[[upstream]]\nname = \"cloud\"\nkind = \"mqtt\"\naddress = \"192.0.2.1\"\nclient_id = \"gw\"\npassword_file = \"secrets/password\"\nusername = \"x\"\n";
    let machine = Machine::with(upstream);
    assert_eq!(machine.verdict(Check::FilesReadable), Verdict::Error, "it is not there yet");
    let password = machine.put("etc/tidegate/secrets/password", "do not tell\n");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).expect("ours");
    assert_eq!((machine.verdict(Check::FilesReadable), machine.verdict(Check::SecretsPrivate)), (Verdict::Fine, Verdict::Error));
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("ours");
    assert_eq!(machine.verdict(Check::SecretsPrivate), Verdict::Fine);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["gw".to_owned()]).expect("a name");
    // NOW is in September 2026.
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 10, 1);
    let certificate = params.self_signed(&key).expect("signed");
    machine.put("state/web/page.pem", &certificate.pem());
    let says = machine.says(Check::CertificatesValid);
    assert!(says[0].0 == Verdict::Warning && says[0].1.contains("days left"), "{says:?}");
    assert!(!format!("{:?}", machine.look()).contains("do not tell"));
}

#[test]
fn a_door_without_tls_and_a_folder_for_everybody_are_told() {
    let machine = Machine::with("[endpoint]\nplain = \"0.0.0.0:1883\"\n");
    fs::set_permissions(&machine.etc, fs::Permissions::from_mode(0o777)).expect("ours");
    assert_eq!(machine.verdict(Check::ConfigProtected), Verdict::Error);
    assert_eq!(machine.verdict(Check::OpenDoors), Verdict::Warning);
}

#[test]
fn what_was_damaged_and_what_is_not_durable_is_told() {
    let machine = Machine::with("");
    machine.put("state/log.db.damaged-20260101T000000Z", "");
    assert_eq!(machine.verdict(Check::LogDamage), Verdict::Warning);
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
    let text = format!("config_version = 1\n[gateway]\nid = \"gw\"\nstate_dir = \"{}\"\n", memory.path().display());
    fs::write(machine.etc.join("tidegate.toml"), text).expect("written");
    assert_eq!(machine.says(Check::StateDurable), [(Verdict::Error, "tmpfs".to_owned())]);
}

#[test]
fn a_port_of_the_kernel_s_numbering_and_a_missing_one_are_told() {
    let line = "[[adapter]]\nname = \"line\"\nkind = \"modbus\"\ntransport = \"rtu\"\nport = \"/dev/ttyUSB7\"\n[[adapter.device]]\nid = \"a\"\nunit = 1\npoint = [{ name = \"t\", register = \"holding\", address = 0 }]\n";
    let machine = Machine::with(line);
    assert_eq!(machine.verdict(Check::SerialPresent), Verdict::Error);
    machine.put("dev/ttyUSB7", "");
    machine.put("sys/class/tty/ttyUSB7/device/latency_timer", "16\n");
    assert_eq!((machine.verdict(Check::SerialPresent), machine.verdict(Check::SerialName)), (Verdict::Fine, Verdict::Note));
    assert!(machine.says(Check::SerialDelay)[0].1.starts_with("16 ms"));
}
