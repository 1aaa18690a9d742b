//! Older versions of the configuration, brought up to date one version at a time, in memory: the files stay as they are.
//!
//! A newer version is refused, because what it means is not known here; after that nothing else is checked.

use tidegate_core::problem::Problems;

use super::tree::{Table, Value};

/// One step: from its place in the list, counted from 1, to the next version.
#[derive(Debug)]
pub(super) struct Migration {
    /// What has changed for the person who wrote the file: "[log] size is now called max_size".
    pub(super) what: &'static str,
    /// Does to the merged configuration what the person would do to the files. Moved values keep their lines.
    pub(super) apply: fn(&mut Table),
}

/// All steps there have been. The newest version is one more than their number.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// Brings a configuration up to date. `false` when it cannot be, and nothing else is worth checking.
pub(super) fn migrate(root: &mut Table, migrations: &[Migration], problems: &mut Problems) -> bool {
    let newest = migrations.len() + 1;
    let Some(node) = root.get_mut("config_version") else { return true };
    let Value::Integer(number) = node.value else { return true };
    let Some(version) = usize::try_from(number).ok().filter(|version| *version > 0) else { return true };
    if version > newest {
        let what = format!("{number} is newer than this program, which reads up to {newest}");
        problems.key("config_version").error(what, "update Tidegate, or go back to the configuration of the older one");
        return false;
    }
    node.value = Value::Integer(i64::try_from(newest).unwrap_or(i64::MAX));
    for (at, migration) in migrations.iter().enumerate().skip(version - 1) {
        (migration.apply)(root);
        let next = format!("change the files accordingly, and config_version to {newest}");
        problems.key("config_version").warning(format!("is {number}; since version {}: {}", at + 2, migration.what), next);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::{Mark, Node};

    const STEPS: &[Migration] = &[
        Migration { what: "size is called room", apply: |root| rename(root, "size", "room") },
        Migration { what: "room is called max_size", apply: |root| rename(root, "room", "max_size") },
    ];

    fn rename(root: &mut Table, old: &str, new: &str) {
        if let Some(node) = root.remove(old) {
            root.insert(new.to_owned(), node);
        }
    }

    fn of_version(version: i64, key: &str) -> Table {
        let node = |value, line| Node { mark: Mark { file: 0, line }, value };
        [("config_version".to_owned(), node(Value::Integer(version), 1)), (key.to_owned(), node(Value::Bool(true), 7))].into()
    }

    #[test]
    fn an_old_configuration_takes_every_step_from_its_own_version_and_keeps_its_lines() {
        for (version, key, steps) in [(1, "size", 2), (2, "room", 1), (3, "max_size", 0)] {
            let (mut root, mut problems) = (of_version(version, key), Problems::default());
            assert!(migrate(&mut root, STEPS, &mut problems));
            assert_eq!(root["max_size"].mark.line, 7);
            assert_eq!(root["config_version"].value, Value::Integer(3));
            assert_eq!((problems.list().len(), problems.any_error()), (steps, false));
        }
    }

    #[test]
    fn a_newer_configuration_is_refused_and_left_alone() {
        let (mut root, mut problems) = (of_version(4, "size"), Problems::default());
        assert!(!migrate(&mut root, STEPS, &mut problems));
        assert_eq!(root, of_version(4, "size"));
        assert!(problems.any_error());
    }
}
