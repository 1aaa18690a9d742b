//! What is wrong with a configuration: all of it at once, each with its place and the next step.
//!
//! A check walks the configuration with a [`Problems`] in hand, stepping into keys and list entries as it goes;
//! whatever it records carries the path it stands at. Line numbers are added at the end by whoever read the file.

use std::{fmt, path::PathBuf};

/// One step into a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a table's key.
    Key(String),
    /// Into a list's entry: its place, and the name or id it gives itself, if it has one.
    Entry(usize, Option<String>),
}

/// Where something stands. Prints as `adapter[boiler-bus].device[heater].point[3].scale`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place(pub Vec<Step>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Entry(_, Some(name)) => write!(f, "[{name}]")?,
                Step::Entry(at, None) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It will run, and probably not as meant.
    Warning,
    /// It will not run.
    Error,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, once known.
    pub file: Option<PathBuf>,
    /// The line in it, from 1, once known.
    pub line: Option<usize>,
    /// Where in the configuration.
    pub path: Place,
    /// What is wrong, in words that go after the path: "0 would erase the value".
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// `tidegate.toml:12: adapter[bus].device[heater].point[t].scale: 0 would erase the value; write …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.next.is_empty() {
            write!(f, "; {}", self.next)?;
        }
        Ok(())
    }
}

/// Most problems that one check keeps: enough for any person, and a bound for hostile files.
pub const MAX_PROBLEMS: usize = 200;

/// Collects problems. [`Problems::key`] and [`Problems::entry`] stand one step deeper; the outer one sees everything
/// that was recorded below it.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    at: Vec<Step>,
}

/// A [`Problems`] that stands one step deeper, until it is dropped.
#[derive(Debug)]
pub struct Deeper<'a>(&'a mut Problems);

impl Problems {
    /// Into a key.
    pub fn key(&mut self, key: &str) -> Deeper<'_> {
        self.at.push(Step::Key(key.to_owned()));
        Deeper(self)
    }

    /// Into a list's entry, with the name it gives itself.
    pub fn entry(&mut self, at: usize, name: Option<&str>) -> Deeper<'_> {
        self.at.push(Step::Entry(at, name.map(|n| n.chars().take(64).collect())));
        Deeper(self)
    }

    /// Something that must be mended before it runs.
    pub fn error(&mut self, what: impl Into<String>, next: impl Into<String>) {
        self.record(Severity::Error, what.into(), next.into());
    }

    /// Something that is probably not meant.
    pub fn warning(&mut self, what: impl Into<String>, next: impl Into<String>) {
        self.record(Severity::Warning, what.into(), next.into());
    }

    fn record(&mut self, severity: Severity, what: String, next: String) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem { severity, file: None, line: None, path: Place(self.at.clone()), what, next });
        }
    }

    /// Takes over what a part was checked for on its own, as if it had been recorded where this stands.
    pub fn adopt(&mut self, part: Problems) {
        for mut problem in part.list {
            if self.list.len() == MAX_PROBLEMS {
                return;
            }
            problem.path.0.splice(0..0, self.at.iter().cloned());
            self.list.push(problem);
        }
    }

    /// All so far.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// All so far, to be changed: lines added, sorted.
    pub fn list_mut(&mut self) -> &mut Vec<Problem> {
        &mut self.list
    }

    /// Whether one of them is an error.
    pub fn any_error(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }
}

impl std::ops::Deref for Deeper<'_> {
    type Target = Problems;
    fn deref(&self) -> &Problems {
        self.0
    }
}

impl std::ops::DerefMut for Deeper<'_> {
    fn deref_mut(&mut self) -> &mut Problems {
        self.0
    }
}

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.at.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_it_is_and_what_to_do() {
        let mut problems = Problems::default();
        {
            let mut adapter = problems.key("adapter");
            let mut adapter = adapter.entry(0, Some("bus"));
            let mut point = adapter.key("point");
            let mut point = point.entry(3, None);
            point.key("scale").error("0 would erase the value", "write 0.1");
        }
        problems.warning("no upstream", "add one");
        assert_eq!(problems.list()[0].to_string(), "adapter[bus].point[3].scale: 0 would erase the value; write 0.1");
        assert_eq!(problems.list()[1].to_string(), "warning: no upstream; add one");
        assert!(problems.any_error());
    }

    #[test]
    fn what_a_part_recorded_stands_where_the_part_stands() {
        let mut part = Problems::default();
        part.key("scale").error("0 would erase the value", "");
        let mut problems = Problems::default();
        problems.key("point").entry(1, None).adopt(part);
        assert_eq!(problems.list()[0].to_string(), "point[1].scale: 0 would erase the value");
        (0..10).for_each(|_| {
            let mut part = Problems::default();
            (0..MAX_PROBLEMS).for_each(|_| part.error("x", ""));
            problems.adopt(part);
        });
        assert_eq!(problems.list().len(), MAX_PROBLEMS);
    }

    #[test]
    fn a_hostile_file_cannot_make_problems_without_end() {
        let mut problems = Problems::default();
        (0..10 * MAX_PROBLEMS).for_each(|_| problems.error("x", ""));
        assert_eq!(problems.list().len(), MAX_PROBLEMS);
    }
}
