//! Power cuts of a disk with a volatile write cache: an `append` that returned is never lost.
//!
//! The rig is `crash/power_cut`, a script; the log is written and judged by the store's own examples. Nothing of the
//! gateway takes part, because the promise at stake is the store's alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::harness::{alone, have, project};

const CUTS: &str = "24";
const NEEDS: &[&str] = &["root", "nbdkit", "nbdfuse", "losetup", "mkfs.ext4", "mount", "setsid"];

fn cut_power(load: &Path, verify: &Path, cuts: &str) -> Output {
    let work = TempDir::new().expect("a temporary folder");
    let script = project().join("tests/crash/power_cut");
    Command::new(script).args([load, verify, work.path()]).arg(cuts).output().expect("the rig runs")
}

/// Builds the store's examples as `cargo test --workspace` builds them, and says where they are.
fn examples() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--workspace", "--examples", "--quiet", "--offline"]).current_dir(project());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.output().expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let test = std::env::current_exe().expect("known on Linux");
    test.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("examples")
}

fn show(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_the_log_acknowledged_is_there_after_every_power_cut() {
    if !have(NEEDS) {
        return;
    }
    let _turn = alone();
    let examples = examples();
    let cut = cut_power(&examples.join("append_load"), &examples.join("append_verify"), CUTS);
    assert!(cut.status.success(), "{}", show(&cut));
    let cuts = String::from_utf8_lossy(&cut.stdout).lines().filter(|line| line.starts_with("cut ")).count();
    assert_eq!(cuts.to_string(), CUTS, "{}", show(&cut));
}

/// A rig that loses nothing proves nothing: who writes without flushing must lose.
#[test]
fn the_rig_does_take_what_was_not_flushed() {
    if !have(NEEDS) {
        return;
    }
    let _turn = alone();
    let scripts = TempDir::new().expect("a temporary folder");
    let script = |name: &str, text: &str| {
        let path = scripts.path().join(name);
        fs::write(&path, text).expect("a new file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
        path
    };
    let careless = "#!/bin/bash\nmkdir -p \"$1\"; n=0\nwhile :; do n=$((n + 1)); echo $n >>\"$1/numbers\"; echo $n; done\n";
    let load = script("careless", careless);
    let verify = script(
        "verify",
        "#!/bin/bash\nn=$(tail -n 1 \"$1/numbers\" 2>/dev/null || true)\necho \"{\\\"highest_contiguous\\\": ${n:-0}}\"\n",
    );
    let cut = cut_power(&load, &verify, "2");
    assert!(!cut.status.success() && show(&cut).contains("LOST"), "{}", show(&cut));
}
