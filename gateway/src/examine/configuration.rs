//! The configuration itself, and who may change it.

use std::{os::unix::fs::PermissionsExt, path::Path};

use tidegate_core::problem::Severity;

use super::{Check, MOST_THINGS, Report, Scene};
use crate::config::draft;

/// Problems that are told here; `tidegate check` names all of them anyway.
const MOST_TOLD: usize = 3;

pub(super) fn look(scene: &Scene, report: &mut Report) {
    for (check, severity, many) in [(Check::ConfigRuns, Severity::Error, "errors"), (Check::ConfigClean, Severity::Warning, "warnings")] {
        let all: Vec<_> = scene.problems.iter().filter(|problem| problem.severity == severity).collect();
        let told: Vec<_> = all.iter().take(MOST_TOLD).map(|problem| problem.to_string()).collect();
        let seen = if all.is_empty() { format!("no {many}") } else { format!("{} {many}: {}", all.len(), told.join("; ")) };
        report.judge(check, "", all.is_empty() && (check != Check::ConfigRuns || scene.config.is_some()), seen);
    }
    let (folder, _) = draft::place(&scene.config_path);
    let (files, _) = draft::read(&scene.config_path);
    let paths = std::iter::once(folder.clone()).chain(files.iter().take(MOST_THINGS).map(|file| folder.join(&file.name)));
    let open: Vec<_> =
        paths.filter(|path| mode(path).is_some_and(|mode| mode & 0o002 != 0)).map(|path| path.display().to_string()).collect();
    let seen = if open.is_empty() { format!("{} files", files.len()) } else { format!("everybody may change {}", open.join(", ")) };
    report.judge(Check::ConfigProtected, "", open.is_empty(), seen);
}

pub(super) fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode())
}
