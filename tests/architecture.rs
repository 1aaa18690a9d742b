//! The shape of the project, held by a test: a new edge, a new thing at the top, or a crate without the lints
//! is a decision that somebody sees.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::project;

/// Each crate, its folder, and the crates of ours that it may use, in any kind of dependency (DESIGN.md §3).
const EDGES: &[(&str, &str, &[&str])] = &[
    ("tidegate-core", "gateway/core", &[]),
    ("tidegate-store", "gateway/store", &["tidegate-core"]),
    ("tidegate-endpoint", "gateway/endpoint", &["tidegate-core"]),
    ("tidegate-adapters", "adapters", &["tidegate-core"]),
    ("tidegate-webui", "webui", &["tidegate-core"]),
    ("tidegate", "gateway", &["tidegate-core", "tidegate-store", "tidegate-endpoint", "tidegate-adapters", "tidegate-webui"]),
    // Feeds random bytes to whatever decodes bytes from outside, wherever that is.
    ("tidegate-fuzz", "tests/fuzz", &["tidegate", "tidegate-core", "tidegate-store", "tidegate-endpoint", "tidegate-adapters"]),
];

/// Crates that only these of ours may use: who else needs one has crossed a seam.
const KEPT: &[(&str, &[&str])] = &[
    ("rusqlite", &["tidegate-store"]),
    ("rumqttc", &["tidegate", "tidegate-endpoint"]),
    ("tokio-modbus", &["tidegate-adapters", "tidegate"]),
    ("tokio-serial", &["tidegate-adapters", "tidegate"]),
];

/// All that lies at the top beside dotfiles and what a build leaves there.
const TOP: &[&str] = &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "adapters", "gateway", "systemd", "tests", "webui", "yocto"];

/// Around 350 lines one looks for the second idea in a file; above this somebody has not looked.
const MOST_LINES: usize = 450;

fn manifest(folder: &str) -> toml::Table {
    let path = project().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names in all dependency tables of a manifest, those for one target included.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let of = |table: &toml::Table| -> Vec<String> {
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|kind| table.get(*kind)?.as_table())
            .flat_map(|entries| entries.keys().cloned())
            .collect()
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let for_targets = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table).flat_map(of);
    of(manifest).into_iter().chain(for_targets).collect()
}

#[test]
fn every_crate_uses_only_the_crates_it_may() {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _, _)| *name).collect();
    for (name, folder, allowed) in EDGES {
        let manifest = manifest(folder);
        assert_eq!(manifest["package"]["name"].as_str(), Some(*name), "{folder}");
        for dependency in dependencies(&manifest) {
            let is_ours = ours.contains(dependency.as_str());
            assert!(!is_ours || allowed.contains(&dependency.as_str()), "{name} uses {dependency}: a new edge");
            if let Some((_, keepers)) = KEPT.iter().find(|(kept, _)| *kept == dependency) {
                assert!(keepers.contains(name), "{name} uses {dependency}, which is for {keepers:?}");
            }
        }
    }
}

#[test]
fn every_member_of_the_workspace_is_listed_here_and_takes_its_lints() {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().expect("a list");
    let members: BTreeSet<_> = members.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(members, EDGES.iter().map(|(_, folder, _)| *folder).collect());
    for (name, folder, _) in EDGES {
        let inherits = manifest(folder).get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(inherits, Some(true), "{name}: [lints] workspace = true");
    }
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn the_top_level_is_about_the_product() {
    let mut strangers = BTreeSet::new();
    for entry in fs::read_dir(project()).expect("the project").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP.contains(&name.as_str()) && !is_build_output(&entry.path()) {
            strangers.insert(name);
        }
    }
    assert!(strangers.is_empty(), "at the top lie also {strangers:?}");
}

/// Cargo marks the folder it builds in.
fn is_build_output(path: &Path) -> bool {
    path.join("CACHEDIR.TAG").exists()
}

#[test]
fn there_is_one_tls_and_it_is_rustls_with_ring() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--workspace", "--offline", "--prefix", "none", "--format", "{p}"])
        .current_dir(project())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(packages.contains("rustls") && packages.contains("ring"), "the tree was read");
    for other in ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "openssl", "native-tls"] {
        assert!(!packages.contains(other), "{other} is in the tree: cargo tree -i {other}");
    }
}

/// Every Rust file of ours.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["gateway", "adapters", "webui", "tests"].iter().map(|top| project().join(top)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                let passed_over = name.to_string_lossy().starts_with('.') || name == "node_modules" || is_build_output(&path);
                folders.extend((!passed_over).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "the sources were found");
    found
}

#[test]
fn every_file_begins_with_what_it_promises() {
    for path in sources() {
        let text = fs::read_to_string(&path).expect("UTF-8");
        assert!(text.starts_with("//! "), "{} begins without a module comment", path.display());
    }
}

#[test]
fn no_file_holds_a_second_idea_unnoticed() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).expect("UTF-8").lines().count();
            (lines > MOST_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines:\n{}", long.join("\n"));
}
