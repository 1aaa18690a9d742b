//! The configuration's files as the page sees and proposes them: read, checked, edited by path. Nothing here writes; that is
//! [`super::trial`]'s.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tidegate_core::problem::{Problem as Found, Severity};
use tidegate_webui::{
    Problem,
    shape::{
        ChangeView, ChangesView, CheckView, ConfigProblem, CostView, Drafts, EditRequest, EditView, FileBrief, FileView, ForecastView,
        KindView, KindsView,
    },
};

use super::{Service, edit};
use crate::{
    config::{
        self, Changes, Config, Difference,
        draft::{self, Draft},
    },
    forecast::forecast,
};

/// All files together, in the order of their names: what a conditional change must name.
pub(super) fn etag(files: &[Draft]) -> String {
    let mut hash = Sha256::new();
    let mut sorted: Vec<&Draft> = files.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for file in sorted {
        for part in [&file.name, &file.text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    format!("\"{}\"", hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The files with the drafts in their place.
pub(super) fn with_drafts(mut files: Vec<Draft>, drafts: &Drafts) -> Vec<Draft> {
    for (name, text) in drafts {
        files.retain(|file| file.name != *name);
        if let Some(text) = text {
            files.push(Draft { name: name.clone(), text: text.clone() });
        }
    }
    files
}

fn names(changes: &Changes) -> ChangesView {
    let names = |names: &[tidegate_core::id::Name]| names.iter().map(ToString::to_string).collect();
    ChangesView { added: names(&changes.added), removed: names(&changes.removed), changed: names(&changes.changed) }
}

pub(super) fn change(difference: &Difference) -> ChangeView {
    ChangeView {
        adapters: names(&difference.adapters),
        upstreams: names(&difference.upstreams),
        restart_needed: difference.restart_needed.clone(),
    }
}

fn cost(config: &Config) -> CostView {
    let forecast = forecast(config);
    CostView {
        devices: forecast.devices,
        unasked: forecast.unasked,
        per_minute: forecast.per_minute,
        bytes_per_day: forecast.bytes_per_day.round(),
        blocks_per_day: forecast.blocks_per_day.round(),
    }
}

impl Service {
    /// The files as they are. Blocks for as long as the disk takes to read at most 4 MiB.
    pub(super) fn files(&self) -> (Vec<Draft>, Vec<Found>) {
        draft::read(&self.ends.config_path)
    }

    /// As the page shows it: the file by its name within the configuration.
    pub(super) fn problem(&self, problem: &Found) -> ConfigProblem {
        let (folder, _) = draft::place(&self.ends.config_path);
        let file = problem.file.as_ref().map(|file| file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().into_owned());
        ConfigProblem {
            severity: if problem.severity == Severity::Error { "error" } else { "warning" }.to_owned(),
            file,
            line: problem.line,
            path: problem.path.to_string(),
            what: problem.what.clone(),
            next: problem.next.clone(),
        }
    }

    /// Names that no file of the configuration may have.
    pub(super) fn check_names(&self, drafts: &Drafts) -> Result<(), Problem> {
        let bad = drafts.keys().find(|name| !draft::is_name(&self.ends.config_path, name));
        bad.map_or(Ok(()), |name| {
            let name: String = name.chars().take(100).collect();
            let (_, main) = draft::place(&self.ends.config_path);
            let next = format!("use {main}, devices.d/<name>.toml, upstreams.d/<name>.toml or templates.d/<name>.toml");
            Err(Problem::invalid("").field(format!("files.{name}"), "is not a name of a configuration file", next))
        })
    }

    /// Checks the files with these drafts in their place, and says what applying them would do.
    pub(super) fn check_drafts(&self, drafts: &Drafts) -> Result<CheckView, Problem> {
        self.check_names(drafts)?;
        let (files, unreadable) = self.files();
        // A file that cannot be read may be the one that a draft replaces.
        let still = unreadable.iter().filter(|problem| !self.problem(problem).file.is_some_and(|file| drafts.contains_key(&file)));
        let mut problems: Vec<ConfigProblem> = still.map(|problem| self.problem(problem)).collect();
        let before = draft::check(&self.ends.config_path, &files, &self.ends.kinds);
        let after = draft::check(&self.ends.config_path, &with_drafts(files, drafts), &self.ends.kinds);
        problems.extend(after.problems.iter().map(|problem| self.problem(problem)));
        let ok = after.config.is_some() && problems.iter().all(|problem| problem.severity != "error");
        let difference = match (&before.config, &after.config) {
            (Some(before), Some(after)) if ok => Some(change(&config::difference(before, after))),
            // Nothing to compare with: all of it is new.
            (None, Some(_)) if ok => Some(ChangeView::default()),
            _ => None,
        };
        let forecast =
            after.config.as_ref().filter(|_| ok).map(|after| ForecastView { after: cost(after), before: before.config.as_ref().map(cost) });
        Ok(CheckView { ok, problems, change: difference, forecast })
    }

    pub(super) fn one_file(&self, name: &str) -> Option<FileView> {
        let (files, _) = self.files();
        let etag = etag(&files);
        files.into_iter().find(|file| file.name == name).map(|file| FileView { name: file.name, text: file.text, etag })
    }

    pub(super) fn briefs(files: &[Draft]) -> Vec<FileBrief> {
        files.iter().map(|file| FileBrief { name: file.name.clone(), bytes: file.text.len() }).collect()
    }

    /// All files as one object. A file that is no TOML is left out; the problems of `GET /config` name it.
    pub(super) fn sections(&self) -> Json {
        let (files, _) = self.files();
        let mut all = json!({ "etag": etag(&files) });
        let (mut adapters, mut upstreams) = (Vec::new(), Vec::new());
        for file in &files {
            let Ok(Json::Object(table)) = toml_edit::de::from_str::<Json>(&file.text) else { continue };
            for (key, value) in table {
                let list = match key.as_str() {
                    "adapter" => &mut adapters,
                    "upstream" => &mut upstreams,
                    _ => {
                        all[key] = value;
                        continue;
                    }
                };
                for mut section in value.as_array().cloned().unwrap_or_default() {
                    if let Some(section) = section.as_object_mut() {
                        section.insert("_file".to_owned(), json!(file.name));
                    }
                    list.push(section);
                }
            }
        }
        all["adapter"] = Json::Array(adapters);
        all["upstream"] = Json::Array(upstreams);
        all
    }

    /// The file that an adapter's section is in.
    pub(super) fn file_of_adapter(&self, name: &str) -> Option<String> {
        let sections = self.sections();
        let section = sections["adapter"].as_array()?.iter().find(|section| section["name"] == name)?;
        section["_file"].as_str().map(str::to_owned)
    }

    /// Changes by path, over the files with the drafts in their place.
    pub(super) fn edit_drafts(&self, request: &EditRequest) -> Result<EditView, Problem> {
        self.check_names(&request.files)?;
        let (on_disk, _) = self.files();
        let (_, main) = draft::place(&self.ends.config_path);
        let mut files = with_drafts(on_disk.clone(), &request.files);
        for (number, one) in request.edits.iter().enumerate() {
            if let Some(file) = &one.file {
                self.check_names(&BTreeMap::from([(file.clone(), None)]))?;
            }
            edit::apply(&mut files, &main, one)
                .map_err(|error| Problem::invalid("").field(format!("edits[{number}].{}", error.key), error.what, error.next))?;
        }
        let mut changed: Drafts = files
            .iter()
            .filter(|file| !on_disk.iter().any(|old| old == *file))
            .map(|file| (file.name.clone(), Some(file.text.clone())))
            .collect();
        let gone = on_disk.iter().filter(|old| !files.iter().any(|file| file.name == old.name));
        changed.extend(gone.map(|old| (old.name.clone(), None)));
        let check = self.check_drafts(&changed)?;
        Ok(EditView { files: changed, check })
    }

    pub(super) fn all_kinds(&self) -> KindsView {
        let adapters = self.ends.kinds.adapters.iter().map(|kind| KindView {
            name: kind.name.to_owned(),
            summary: kind.summary.to_owned(),
            readme: kind.readme.to_owned(),
            example: kind.example.to_owned(),
            scan: kind.scan.map(|scan| (scan.options)()),
            pair: kind.pair.map(|pair| (pair.options)()),
        });
        let upstreams = self.ends.kinds.upstreams.iter().map(|kind| KindView {
            name: kind.name.to_owned(),
            summary: kind.summary.to_owned(),
            readme: String::new(),
            example: kind.example.to_owned(),
            scan: None,
            pair: None,
        });
        KindsView { adapters: adapters.collect(), upstreams: upstreams.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> Draft {
        Draft { name: name.into(), text: text.into() }
    }

    #[test]
    fn the_etag_knows_names_and_texts_and_not_the_order() {
        let (a, b) = (file("a", "1"), file("b", "2"));
        assert_eq!(etag(&[a.clone(), b.clone()]), etag(&[b.clone(), a.clone()]));
        assert_ne!(etag(&[a.clone(), b.clone()]), etag(std::slice::from_ref(&a)));
        assert_ne!(etag(&[file("a", "12"), file("b", "")]), etag(&[file("a", "1"), file("b", "2")]));
        assert_ne!(etag(&[file("a1", "2")]), etag(&[file("a", "12")]));
    }

    #[test]
    fn drafts_replace_add_and_take_away() {
        let drafts = Drafts::from([("a".into(), Some("new".into())), ("b".into(), None), ("c".into(), Some("c".into()))]);
        let files = with_drafts(vec![file("a", "old"), file("b", "b")], &drafts);
        assert_eq!(files, [file("a", "new"), file("c", "c")]);
    }
}
