//! What the program said, remembered for the page: the latest lines of its own log with their names and values.
//!
//! A layer of tracing beside the one that writes to the journal. Bounded in lines and in the length of each; nothing is kept on disk,
//! where the journal is. Lines come through the same filter as the journal's.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use tidegate_core::clock::Timestamp;
use tokio::sync::watch;
use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Lines remembered: some 400 KiB, and hours of a gateway where little happens.
const LINES: usize = 2_000;
/// Longest text, name or value of a line, in characters.
const LONGEST: usize = 400;
/// Most values of a line.
const VALUES: usize = 16;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Rises with each.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// How important.
    pub level: Level,
    /// The part that said it.
    pub target: String,
    /// What it said.
    pub text: String,
    /// Names and values.
    pub fields: BTreeMap<String, String>,
}

impl Event {
    /// For programs.
    pub fn view(&self) -> Json {
        json!({ "at": self.at.to_string(), "level": self.level.as_str(), "target": self.target, "text": self.text, "fields": self.fields })
    }
}

/// The latest lines. Clones share them.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    lines: Mutex<VecDeque<Event>>,
    latest: watch::Sender<u64>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("latest", &*self.0.latest.borrow()).finish_non_exhaustive()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Inner { lines: Mutex::default(), latest: watch::Sender::new(0) }))
    }
}

/// The process's own: logging is one for a process.
static PROCESS: LazyLock<Events> = LazyLock::new(Events::default);

impl Events {
    /// Those of this process.
    pub fn of_process() -> Events {
        PROCESS.clone()
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of the latest line; changes with each.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.0.latest.subscribe()
    }

    /// Lines before this one (`None`: the latest), newest first, as far as they are wanted.
    pub fn before(&self, id: Option<u64>, most: usize, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let lines = self.lines();
        let older = lines.iter().rev().filter(|event| id.is_none_or(|id| event.id < id));
        older.filter(|event| wanted(event)).take(most).cloned().collect()
    }

    /// The latest lines after this one, oldest first, at most so many; and how many were left out or are forgotten.
    pub fn after(&self, id: u64, most: usize) -> (Vec<Event>, u64) {
        let lines = self.lines();
        let newer = lines.iter().filter(|event| event.id > id).count();
        let events: Vec<Event> = lines.iter().skip(lines.len() - newer.min(most)).cloned().collect();
        let said = lines.back().map_or(0, |last| last.id.saturating_sub(id));
        let missed = said.saturating_sub(events.len() as u64);
        (events, missed)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.lines().iter().cloned().collect()
    }

    fn add(&self, mut event: Event) {
        let mut lines = self.lines();
        event.id = lines.back().map_or(1, |last| last.id + 1);
        let id = event.id;
        if lines.len() >= LINES {
            lines.pop_front();
        }
        lines.push_back(event);
        drop(lines);
        self.0.latest.send_replace(id);
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(i64::try_from(since.as_millis()).unwrap_or(0));
        // Our own parts by their own names.
        let target = meta.target().trim_start_matches("tidegate::").to_owned();
        self.add(Event { id: 0, at, level: *meta.level(), target, text: said.text, fields: said.fields });
    }
}

#[derive(Default)]
struct Said {
    text: String,
    fields: BTreeMap<String, String>,
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Said {
    fn note(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.text = short(value);
        } else if self.fields.len() < VALUES && !field.name().starts_with("log.") {
            self.fields.insert(field.name().to_owned(), short(value));
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn lines_are_remembered_with_their_values_and_the_oldest_give_way() {
        let events = Events::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(events.clone()), || {
            tracing::warn!(leaf = "boiler", tries = 3, "does not answer\n{}", "x".repeat(10_000));
            (1..2_500).for_each(|n| tracing::info!(n, "line"));
        });
        let all = events.before(None, usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].id, all[0].fields["n"].as_str()), (LINES, 2_500, "2499"));
        let (latest, missed) = events.after(2_400, 20);
        assert_eq!((latest.len(), latest[0].id, missed), (20, 2_481, 80));
        assert_eq!(events.after(2_500, 20), (vec![], 0));
        assert_eq!(*events.latest().borrow(), 2_500);
    }

    #[test]
    fn a_long_line_with_control_characters_is_made_fit() {
        let events = Events::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(events.clone()), || {
            tracing::error!(leaf = "boi\nler", "a\u{1b}[31m{}", "x".repeat(10_000));
        });
        let line = events.before(None, 1, |event| event.level == Level::ERROR).remove(0);
        assert_eq!((line.text.chars().count(), line.fields["leaf"].as_str()), (LONGEST, "boi ler"));
        assert!(line.text.starts_with("a [31mxx"));
    }
}
