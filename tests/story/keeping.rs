//! The box as a whole, by the real program: looked over, backed up, restored elsewhere, packed for those who help.

use std::{fs, process::Command};

use serde_json::Value as Json;

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

fn tidegate(config: &std::path::Path, args: &[&str]) -> (Option<i32>, String, String) {
    let ran = Command::new(BINARY).arg("--config").arg(config).args(args).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
}

#[test]
fn a_backup_is_restored_on_another_box_and_what_was_there_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    for etc in [&here, &there] {
        fs::create_dir_all(etc.join("devices.d")).expect("made");
    }
    let text =
        |id: &str| format!("# {id}\nconfig_version = 1\n[gateway]\nid = \"{id}\"\nstate_dir = \"{}/state-{id}\"\n", dir.path().display());
    fs::write(here.join("tidegate.toml"), text("a")).expect("written");
    fs::write(there.join("tidegate.toml"), text("b")).expect("written");
    fs::write(there.join("devices.d/old.toml"), "# old\n").expect("written");
    let file = dir.path().join("backup.json");
    let shown = file.display().to_string();
    let (code, said, _) = tidegate(&here, &["backup", &shown]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said, _) = tidegate(&there, &["restore", "--dry-run", &shown]);
    assert_eq!((code, said.as_str()), (Some(0), "removes devices.d/old.toml\nwrites tidegate.toml\n"));
    assert_eq!(fs::read_to_string(there.join("tidegate.toml")).expect("there"), text("b"), "a dry run writes nothing");
    let (code, _, said) = tidegate(&there, &["restore", &shown]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_to_string(there.join("tidegate.toml")).expect("there"), text("a"));
    assert!(!there.join("devices.d/old.toml").exists());
    let (code, _, said) = tidegate(&there, &["restore", &there.join("before-restore.json").display().to_string()]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_to_string(there.join("tidegate.toml")).expect("there"), text("b"), "and back again");
    assert!(there.join("devices.d/old.toml").exists());
    fs::write(&file, "{}").expect("written");
    let (code, _, said) = tidegate(&there, &["restore", &shown]);
    assert!(code == Some(64) && said.contains("no backup"), "{said}");
}

#[test]
fn the_machine_is_looked_over_and_a_key_that_everybody_reads_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let key = dir.path().join("key");
    fs::write(&key, "bm90IG91ciBrZXksIGJ1dCBhIGtleSBhbnl3YXk=").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("ours");
    let text = format!(
        "config_version = 1\n[gateway]\nid = \"gw\"\nstate_dir = \"{0}/state\"\n[[upstream]]\nname = \"c\"\nkind = \"mqtt\"\naddress = \"127.0.0.1:1\"\n\
         client_id = \"gw\"\nusername = \"gw\"\npassword_file = \"{0}/key\"\n",
        dir.path().display()
    );
    fs::write(dir.path().join("tidegate.toml"), text).expect("written");
    let (code, said, _) = tidegate(dir.path(), &["check", "--box", "--json"]);
    let told: Json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let checks = told["checks"].as_array().expect("a list");
    let of = |name: &str| checks.iter().find(|one| one["code"] == name).unwrap_or_else(|| panic!("{name}")).clone();
    assert_eq!((code, &of("secrets-private")["verdict"]), (Some(1), &Json::from("error")), "{said}");
    assert_eq!(of("state-writable")["verdict"], "fine");
    assert!(checks.len() >= 30, "{}", checks.len());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    let (_, said, _) = tidegate(dir.path(), &["check", "--live", "--json"]);
    let told: Json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let hub = told["checks"].as_array().and_then(|all| all.iter().find(|one| one["code"] == "hub-accepts")).expect("tried").clone();
    assert_eq!((&hub["verdict"], &hub["subject"]), (&Json::from("error"), &Json::from("c")), "{hub}");
    let packed = dir.path().join("help.tar.gz");
    let (code, said, _) = tidegate(dir.path(), &["support-bundle", &packed.display().to_string()]);
    assert_eq!(code, Some(0), "{said}");
    let listed = Command::new("tar").arg("xzOf").arg(&packed).output().expect("tar");
    let whole = String::from_utf8_lossy(&listed.stdout);
    assert!(whole.contains("kind = \"mqtt\"") && whole.contains("[secrets-private]") && !whole.contains("bm90IG91ciBrZXk"), "{whole}");
}
