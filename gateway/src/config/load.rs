//! Reads, checks and judges: the steps of the check in their order, and lines for what was found.

use std::path::{Path, PathBuf};

use tidegate_core::problem::{MAX_PROBLEMS, Place, Problem, Problems, Severity, Step};

use super::{
    AdapterSection, Config, Kinds, UpstreamSection, migrate,
    overlay::{self, Overlay},
    own::{self, Own},
    parse::{self, problem},
    section::{self, Checked},
    source::{self, Role, Source},
    template,
    tree::{Mark, Node, Table, Value},
    whole,
};

/// Most characters of one part of a problem's text. Long enough for every text of ours, and a bound for what a kind repeats.
const MOST_TEXT: usize = 500;
/// Most characters of one step of a place.
const MOST_STEP: usize = 64;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// `None` exactly when one of the problems is an error.
    pub config: Option<Config>,
    /// Sorted by file and line, at most [`MAX_PROBLEMS`] and one that says that there are more.
    pub problems: Vec<Problem>,
}

/// Reads and checks the configuration in a folder, or the file with its `devices.d` and `upstreams.d` beside it.
pub fn load(path: &Path, kinds: &Kinds) -> Loaded {
    load_with(path, kinds, &Overlay::new())
}

/// As [`load`], with settings of a hub laid over what the files say.
pub fn load_with(path: &Path, kinds: &Kinds, overlay: &Overlay) -> Loaded {
    let (sources, problems) = source::read(path);
    judge(sources, problems, kinds, overlay)
}

/// The state folder that the main file names, whatever else is wrong with the configuration; `None` when it names none that
/// could be one.
pub fn state_dir(path: &Path) -> Option<PathBuf> {
    let (sources, _) = source::read(path);
    let main = sources.first().filter(|source| source.role == Role::Main)?;
    let parsed = parse::parse(&[(main.path.as_path(), main.text.as_str())]);
    let table = parsed.tables.into_iter().next()??;
    let state_dir = PathBuf::from(table.get("gateway")?.table()?.get("state_dir")?.text()?);
    state_dir.is_absolute().then_some(state_dir)
}

/// Checks a configuration of one file that is not on disk (an example, a form's proposal), as if it were `tidegate.toml`.
pub fn check_text(text: &str, kinds: &Kinds) -> Loaded {
    let source = Source { path: PathBuf::from("tidegate.toml"), role: Role::Main, text: text.to_owned() };
    judge(vec![source], Vec::new(), kinds, &Overlay::new())
}

pub(super) fn judge(mut sources: Vec<Source>, mut problems: Vec<Problem>, kinds: &Kinds, overlay: &Overlay) -> Loaded {
    template::add_packaged(&mut sources, kinds);
    let texts: Vec<_> = sources.iter().map(|source| (source.path.as_path(), source.text.as_str())).collect();
    let mut parsed = parse::parse(&texts);
    problems.append(&mut parsed.problems);
    let main_is_there = matches!((sources.first(), parsed.tables.first()), (Some(main), Some(Some(_))) if main.role == Role::Main);
    let (templates, tables) = template::take(&sources, parsed.tables, &mut problems);
    let mut root = merge(&sources, tables, &mut problems);
    template::expand(&mut root, &templates, &sources, &mut problems);
    overlay::lay(overlay, &mut root, &mut problems);
    let all_is_there = main_is_there && problems.is_empty();
    let mut checking = Checking { root, sources: &sources, kinds, main_is_there, all_is_there, found: Problems::default() };
    let config = checking.config();
    problems.append(&mut checking.placed());
    finish(config, problems, &sources)
}

/// All files as one: the main file's table, with the other files' sections behind its own.
fn merge(sources: &[Source], tables: Vec<Option<Table>>, problems: &mut Vec<Problem>) -> Node {
    let mut root = Table::new();
    for (source, table) in sources.iter().zip(tables) {
        let list = match source.role {
            Role::Main => {
                root.extend(table.into_iter().flatten());
                continue;
            }
            Role::Devices => "adapter",
            Role::Upstreams => "upstream",
            Role::Template => continue,
        };
        for (key, node) in table.into_iter().flatten() {
            match node.value {
                Value::List(sections) if key == list => add(&mut root, list, node.mark, sections),
                _ => problems.push(stranger(source, key, node.mark, list)),
            }
        }
    }
    Node { mark: Mark::default(), value: Value::Table(root) }
}

fn add(root: &mut Table, list: &str, mark: Mark, mut sections: Vec<Node>) {
    let node = root.entry(list.to_owned()).or_insert(Node { mark, value: Value::List(Vec::new()) });
    // If the main file has something else under this name, that is a problem of its own.
    if let Value::List(all) = &mut node.value {
        all.append(&mut sections);
    }
}

fn stranger(source: &Source, key: String, mark: Mark, list: &str) -> Problem {
    let what = format!("does not belong into this folder, which holds [[{list}]] sections");
    let next = if key == list { "begin each section with double brackets" } else { "move it to tidegate.toml, or remove it" };
    problem(Some(&source.path), (mark.line > 0).then_some(mark.line), Place(vec![Step::Key(key)]), what, next)
}

/// A check under way.
struct Checking<'a> {
    root: Node,
    sources: &'a [Source],
    kinds: &'a Kinds,
    /// `tidegate.toml` was read; otherwise nobody asks for what it should hold.
    main_is_there: bool,
    /// So was everything else; otherwise nobody asks for sections that may be in the missing files.
    all_is_there: bool,
    found: Problems,
}

impl Checking<'_> {
    /// `None` when something was not fit to run; an error has been recorded, if there was room for it.
    fn config(&mut self) -> Option<Config> {
        let (kinds, found) = (self.kinds, &mut self.found);
        if let Value::Table(table) = &mut self.root.value
            && !migrate::migrate(table, migrate::MIGRATIONS, found)
        {
            return None;
        }
        let own = if self.main_is_there { own::check(&self.root, found) } else { None };
        let adapters = sections(&self.root, "adapter", found, |node, problems| section::adapter(node, kinds, problems));
        let upstreams = sections(&self.root, "upstream", found, |node, problems| section::upstream(node, kinds, problems));
        let together = self.together(&adapters, &upstreams);
        let fits = !together.any_error();
        self.found.adopt(together);
        assemble(own?, adapters, upstreams).filter(|_| fits)
    }

    fn together(&self, adapters: &[Checked<AdapterSection>], upstreams: &[Checked<UpstreamSection>]) -> Problems {
        let mut problems = Problems::default();
        let tell = |steps: &[Step]| tell(self.root.locate(steps), self.sources);
        whole::names("adapter", adapters, &tell, &mut problems);
        whole::names("upstream", upstreams, &tell, &mut problems);
        whole::leaves_and_ports(&self.root, adapters, &tell, &mut problems);
        whole::interlocks(&self.root, adapters, &mut problems);
        if self.all_is_there {
            whole::nothing_to_do(&self.root, adapters, upstreams, &mut problems);
        }
        problems
    }

    /// The problems, each with the file and the line at which its place, or the deepest part of it that exists, was read.
    fn placed(&mut self) -> Vec<Problem> {
        let mut list = std::mem::take(self.found.list_mut());
        for problem in &mut list {
            let mark = self.root.locate(&problem.path.0);
            problem.file = self.sources.get(mark.file).map(|source| source.path.clone());
            problem.line = (mark.line > 0).then_some(mark.line);
        }
        list
    }
}

fn sections<S>(root: &Node, list: &str, found: &mut Problems, check: impl Fn(&Node, &mut Problems) -> Checked<S>) -> Vec<Checked<S>> {
    let Some(Value::List(nodes)) = root.table().and_then(|table| table.get(list)).map(|node| &node.value) else { return Vec::new() };
    let mut found = found.key(list);
    nodes.iter().enumerate().map(|(at, node)| check(node, &mut found.entry(at, node.own_name()))).collect()
}

/// `None` when one of the sections is not fit to run, switched off or not.
fn assemble(own: Own, adapters: Vec<Checked<AdapterSection>>, upstreams: Vec<Checked<UpstreamSection>>) -> Option<Config> {
    let mut config = Config {
        gateway: own.gateway,
        log: own.log,
        body: own.body,
        clock: own.clock,
        metrics: own.metrics,
        endpoint: own.endpoint,
        web: own.web,
        diagnostics: own.diagnostics,
        commands: own.commands,
        twin: own.twin,
        adapters: Vec::new(),
        upstreams: Vec::new(),
        idle_upstreams: Vec::new(),
    };
    for Checked { enabled, section, .. } in adapters {
        config.adapters.extend(Some(section?).filter(|_| enabled));
    }
    for Checked { enabled, section, .. } in upstreams {
        let section = section?;
        if enabled { config.upstreams.push(section) } else { config.idle_upstreams.push(section.name) }
    }
    Some(config)
}

/// `devices.d/boiler.toml:12`: the file by its last two names at most, which is how people know it.
fn tell(mark: Mark, sources: &[Source]) -> String {
    let Some(source) = sources.get(mark.file) else { return "another place".to_owned() };
    let names: Vec<_> = source.path.iter().map(|name| name.to_string_lossy()).collect();
    let keep = if source.role == Role::Main { 1 } else { 2 };
    format!("{}:{}", names[names.len().saturating_sub(keep)..].join("/"), mark.line)
}

/// Puts the problems in order, and sees to it that there is a configuration or an error.
fn finish(config: Option<Config>, mut problems: Vec<Problem>, sources: &[Source]) -> Loaded {
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    let config = config.filter(|_| !problems.iter().any(is_error));
    let full = problems.len() >= MAX_PROBLEMS;
    // Errors first, so that none gives way to a warning.
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    problems.truncate(MAX_PROBLEMS);
    problems.iter_mut().for_each(tidy);
    let file = |problem: &Problem| sources.iter().position(|source| Some(&source.path) == problem.file.as_ref());
    problems.sort_by_key(|problem| (file(problem), problem.line));
    if full || (config.is_none() && !problems.iter().any(is_error)) {
        let severity = if config.is_none() { Severity::Error } else { Severity::Warning };
        let what = format!("there are more problems than the {} that are listed", problems.len());
        let next = "mend these and check again".to_owned();
        problems.push(Problem { severity, file: None, line: None, path: Place::default(), what, next });
    }
    Loaded { config, problems }
}

/// Makes a problem fit for a terminal, whatever a key or value was: one line, no control characters, not too long.
fn tidy(problem: &mut Problem) {
    for step in &mut problem.path.0 {
        match step {
            Step::Key(text) | Step::Entry(_, Some(text)) => *text = plain(text, MOST_STEP),
            Step::Entry(_, None) => {}
        }
    }
    problem.what = plain(&problem.what, MOST_TEXT);
    problem.next = plain(&problem.next, MOST_TEXT);
}

fn plain(text: &str, most: usize) -> String {
    let shown = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut plain: String = shown.clone().take(most).collect();
    if shown.count() > most {
        plain.push('…');
    }
    plain
}
