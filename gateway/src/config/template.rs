//! Templates: what is known of a model of devices, so that a device's section is two lines.
//!
//! ```text
//! packaged (the kinds' own) ─▶ templates.d/<name>.toml (the site's, instead of a packaged one of that name) ─▶ the device's section
//! ```
//!
//! `template = "eastron-sdm120"` in an `[[adapter.device]]` lays the device's keys over the template's, and its points over the template's
//! points of the same name; other points come behind. `without = ["…"]` leaves points out. That is done before anything is checked, and
//! every value keeps the line that it stands on: what is wrong in a template is told at its place in the template. A template of another
//! kind, or one that is not there, is refused with the nearest names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tidegate_core::problem::{Place, Problem, Problems, Step};

use super::{
    Kinds,
    parse::problem,
    schema,
    source::{Role, Source},
    tree::{Mark, Node, Table, Value},
};

/// Where packaged templates are said to be. They are in the program.
const PACKAGED: &str = "packaged";
/// Names that are told when one is not known.
const MOST_TOLD: usize = 12;

/// What a template says beside its device.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Who makes the device.
    pub brand: String,
    /// Which models it fits.
    #[serde(default)]
    pub models: Vec<String>,
    /// The kind of adapter that it is for.
    pub kind: String,
    /// One line.
    pub summary: String,
    /// Where its facts come from: document, version, section.
    #[serde(default)]
    pub source: String,
    /// For the person who wires it: terminals, factory settings, traps.
    #[serde(default)]
    pub notes: String,
    /// Keys of the adapter as the device has them from the factory: transport, speed, parity. Advice, not laid over anything.
    #[serde(default)]
    #[schemars(schema_with = "any_table")]
    pub bus: BTreeMap<String, Json>,
    /// Within which bounds values of some points are for certain: by these a device that was found is recognised.
    #[serde(default)]
    pub expect: BTreeMap<String, [f64; 2]>,
    /// The keys of the device's section, and its points.
    #[schemars(schema_with = "any_table")]
    pub device: BTreeMap<String, Json>,
}

fn any_table(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "additionalProperties": true })
}

/// A template that may be used.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    about: About,
    device: Table,
}

/// One for a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Whether it comes with the program.
    pub packaged: bool,
    /// What it says.
    pub about: About,
    /// The file.
    pub text: String,
}

/// The templates that come with the program, behind the configuration's own files.
pub(super) fn add_packaged(sources: &mut Vec<Source>, kinds: &Kinds) {
    for template in kinds.adapters.iter().flat_map(|kind| kind.templates) {
        let path = PathBuf::from(PACKAGED).join(format!("{}.toml", template.name));
        sources.push(Source { path, role: Role::Template, text: template.text.to_owned() });
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Takes the templates out of what was parsed. The site's own come first, and so instead of packaged ones.
pub(super) fn take(
    sources: &[Source],
    mut tables: Vec<Option<Table>>,
    problems: &mut Vec<Problem>,
) -> (BTreeMap<String, Ready>, Vec<Option<Table>>) {
    let mut ready = BTreeMap::new();
    for (file, source) in sources.iter().enumerate().filter(|(_, source)| source.role == Role::Template) {
        let Some(table) = tables.get_mut(file).and_then(Option::take) else { continue };
        let name = name_of(&source.path);
        if ready.contains_key(&name) {
            continue;
        }
        let node = Node { mark: Mark { file, line: 0 }, value: Value::Table(table) };
        let mut found = Problems::default();
        schema::check(&schemars::schema_for!(About).into(), &node, "template", &mut found);
        let about = serde_json::from_value::<About>(node.to_json()).ok();
        let device = node.table().and_then(|table| table.get("device")?.table().cloned());
        let wrong = found.any_error();
        problems.extend(std::mem::take(found.list_mut()).into_iter().map(|mut problem| {
            let mark = node.locate(&problem.path.0);
            problem.file = Some(source.path.clone());
            problem.line = (mark.line > 0).then_some(mark.line);
            problem
        }));
        if let (Some(about), Some(device), false) = (about, device, wrong) {
            ready.insert(name, Ready { about, device });
        }
    }
    (ready, tables)
}

/// Lays every device that names a template over it.
pub(super) fn expand(root: &mut Node, templates: &BTreeMap<String, Ready>, sources: &[Source], problems: &mut Vec<Problem>) {
    let Value::Table(table) = &mut root.value else { return };
    let Some(Value::List(adapters)) = table.get_mut("adapter").map(|node| &mut node.value) else { return };
    for (at, adapter) in adapters.iter_mut().enumerate() {
        let named = adapter.own_name().map(str::to_owned);
        let Value::Table(adapter) = &mut adapter.value else { continue };
        let kind = adapter.get("kind").and_then(Node::text).unwrap_or_default().to_owned();
        let Some(Value::List(devices)) = adapter.get_mut("device").map(|node| &mut node.value) else { continue };
        for (index, device) in devices.iter_mut().enumerate() {
            let place = [Step::Key("adapter".to_owned()), Step::Entry(at, named.clone()), Step::Key("device".to_owned())];
            let own = Step::Entry(index, device.own_name().map(str::to_owned));
            let Value::Table(device) = &mut device.value else { continue };
            let mut refuse = |key: &str, mark: Mark, what: String, next: &str| {
                let path = Place(place.iter().cloned().chain([own.clone(), Step::Key(key.to_owned())]).collect());
                let file = sources.get(mark.file).map(|source| source.path.as_path());
                problems.push(problem(file, (mark.line > 0).then_some(mark.line), path, what, next));
            };
            let (template, without) = (device.remove("template"), device.remove("without"));
            let Some(template) = template else {
                if let Some(without) = without {
                    refuse("without", without.mark, "has no meaning without a template".to_owned(), "remove it, or name a template");
                }
                continue;
            };
            let Some(name) = template.text() else {
                refuse("template", template.mark, "is not a name".to_owned(), "write the name of a template as text");
                continue;
            };
            match templates.get(name) {
                Some(ready) if ready.about.kind == kind => match left_out(without.as_ref(), &ready.device) {
                    Ok(without) => lay(device, &ready.device, &without),
                    Err((mark, what)) => refuse("without", mark, what, "name points that the template has"),
                },
                Some(ready) => {
                    let what = format!("'{name}' is for adapters of kind {}", ready.about.kind);
                    refuse("template", template.mark, what, "choose one for this kind, or move the device to an adapter of that kind");
                }
                None => {
                    let next = format!("write one of: {}", nearest(name, &kind, templates));
                    refuse("template", template.mark, format!("'{name}' is no template"), &next);
                }
            }
        }
    }
}

fn nearest(name: &str, kind: &str, templates: &BTreeMap<String, Ready>) -> String {
    let mut names: Vec<_> = templates.iter().filter(|(_, ready)| ready.about.kind == kind).map(|(name, _)| name.as_str()).collect();
    names.sort_by_key(|known| strsim::damerau_levenshtein(known, name));
    names.truncate(MOST_TOLD);
    if names.is_empty() { "none is for this kind".to_owned() } else { names.join(", ") }
}

fn points(device: &Table) -> Vec<Node> {
    match device.get("point").map(|node| &node.value) {
        Some(Value::List(points)) => points.clone(),
        _ => Vec::new(),
    }
}

fn left_out(without: Option<&Node>, template: &Table) -> Result<Vec<String>, (Mark, String)> {
    let Some(without) = without else { return Ok(Vec::new()) };
    let Value::List(list) = &without.value else { return Err((without.mark, "is not a list of names".to_owned())) };
    let known = points(template);
    list.iter()
        .map(|node| match node.text() {
            Some(name) if known.iter().any(|point| point.own_name() == Some(name)) => Ok(name.to_owned()),
            Some(name) => Err((node.mark, format!("'{name}' is no point of the template"))),
            None => Err((node.mark, "is not a list of names".to_owned())),
        })
        .collect()
}

fn lay(device: &mut Table, template: &Table, without: &[String]) {
    let own = device.remove("point");
    let mut all: Vec<Node> = points(template)
        .into_iter()
        .filter(|point| !point.own_name().is_some_and(|name| without.iter().any(|left| left == name)))
        .collect();
    let mark = own.as_ref().or_else(|| template.get("point")).map_or(Mark::default(), |node| node.mark);
    match own.map(|own| own.value) {
        None => {}
        Some(Value::List(own)) => {
            for point in own {
                let same = all.iter_mut().find(|known| known.own_name().is_some() && known.own_name() == point.own_name());
                match (same, point) {
                    (Some(Node { value: Value::Table(known), .. }), Node { value: Value::Table(point), .. }) => known.extend(point),
                    (_, point) => all.push(point),
                }
            }
        }
        // What it is instead is a problem of the check's.
        Some(other) => {
            device.insert("point".to_owned(), Node { mark, value: other });
            return;
        }
    }
    for (key, node) in template.iter().filter(|(key, _)| *key != "point") {
        device.entry(key.clone()).or_insert_with(|| node.clone());
    }
    device.insert("point".to_owned(), Node { mark, value: Value::List(all) });
}

/// The schema of an adapter's section with the keys by which a device names a template.
pub(super) fn with_keys(mut section: Json) -> Json {
    let Some(reference) = section["properties"]["device"]["items"]["$ref"].as_str().map(str::to_owned) else { return section };
    let Some(device) = reference.strip_prefix('#').and_then(|pointer| section.pointer_mut(pointer)) else { return section };
    device["properties"]["template"] = json!({
        "type": ["string", "null"],
        "description": "The model, by the name of a template: its keys and points come first, those of this section are laid over them."
    });
    device["properties"]["without"] = json!({
        "type": ["array", "null"], "items": { "type": "string" }, "description": "Points of the template that are left out."
    });
    section
}

/// Every template that can be used here: the site's own among these files, then the packaged ones.
pub fn list(files: &[super::draft::Draft], kinds: &Kinds) -> Vec<Listed> {
    let mut all = BTreeMap::new();
    let own = files.iter().filter_map(|file| Some((name_of(Path::new(file.name.strip_prefix("templates.d/")?)), false, file.text.clone())));
    let packaged = kinds.adapters.iter().flat_map(|kind| kind.templates).map(|one| (one.name.to_owned(), true, one.text.to_owned()));
    for (name, packaged, text) in own.chain(packaged) {
        let about = toml_edit::de::from_str::<About>(&text);
        if let (Ok(about), false) = (about, all.contains_key(&name)) {
            all.insert(name.clone(), Listed { name, packaged, about, text });
        }
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests;
