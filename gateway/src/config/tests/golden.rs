//! One folder for each mistake: `cases/<case>/` is a configuration folder, and its `problems.txt` what `tidegate check` says.
//!
//! `TIDEGATE_GOLDEN=write cargo test golden` writes the files anew, for a reviewer to read in the difference.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{keeps_its_promises, kinds::KINDS, texts};
use crate::config::load;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).expect("the cases").flatten().map(|entry| entry.path()).collect();
    cases.sort();
    cases
}

#[test]
fn each_mistake_is_named_with_its_line_and_the_next_step() {
    let write = std::env::var("TIDEGATE_GOLDEN").is_ok_and(|value| value == "write");
    let mut wrong = Vec::new();
    for case in cases() {
        let loaded = load(&case, &KINDS);
        keeps_its_promises(&loaded);
        let mut said: String =
            texts(&loaded.problems).iter().map(|line| line.replace(&format!("{}/", case.display()), "") + "\n").collect();
        if said.is_empty() {
            said = "fine\n".to_owned();
        }
        let golden = case.join("problems.txt");
        if write {
            fs::write(&golden, &said).expect("the case's folder");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- said\n{said}", case.display()));
        }
    }
    assert!(cases().len() > 25, "the cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn line_ends_of_other_systems_and_an_editors_mark_change_nothing() {
    for case in cases() {
        let Ok(text) = fs::read_to_string(case.join("tidegate.toml")) else { continue };
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.toml");
        let mut said = Vec::new();
        for text in [text.clone(), format!("\u{feff}{}", text.replace('\n', "\r\n"))] {
            fs::write(&file, text).expect("a new file");
            let loaded = load(folder.path(), &KINDS);
            keeps_its_promises(&loaded);
            said.push(texts(&loaded.problems));
        }
        assert_eq!(said[0], said[1], "{}", case.display());
    }
}

#[test]
fn the_file_and_its_folder_are_the_same_configuration() {
    for case in cases().iter().filter(|case| case.join("tidegate.toml").exists()) {
        let by_folder = load(case, &KINDS);
        let by_file = load(&case.join("tidegate.toml"), &KINDS);
        assert_eq!(texts(&by_folder.problems), texts(&by_file.problems));
    }
}
