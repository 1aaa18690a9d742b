//! A close look at single devices for a while: what each read brought, as lines of the program's own log.
//!
//! For the person who wires one: values as they were decoded and what did not come, with the reason. It ends by itself after [`LONGEST`], so
//! that nobody's journal fills because somebody forgot; at most [`MOST`] devices at once. A device that nobody looks at costs one
//! comparison a read. Lost with the process.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tidegate_core::{
    adapter::Harvest,
    id::LeafId,
    reading::{Quality, Value},
};
use tokio::time::Instant;
use tracing::info;

/// How long a look may last.
pub const LONGEST: Duration = Duration::from_secs(600);
/// Devices that are looked at at once.
pub const MOST: usize = 8;
/// Characters of a line.
const MOST_TEXT: usize = 380;

/// Who is looked at, shared by all parts.
#[derive(Debug, Clone, Default)]
pub struct Closeups(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    any: AtomicBool,
    until: Mutex<BTreeMap<LeafId, Instant>>,
}

impl Closeups {
    /// Those whose time is not over.
    fn current(&self) -> MutexGuard<'_, BTreeMap<LeafId, Instant>> {
        // A map is whole between any two statements.
        let mut until = self.0.until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        until.retain(|_, end| *end > now);
        self.0.any.store(!until.is_empty(), Relaxed);
        until
    }

    /// From now on for this long, at most [`LONGEST`]; whether there was room.
    pub fn begin(&self, leaf: LeafId, duration: Duration) -> bool {
        let mut until = self.current();
        if until.len() >= MOST && !until.contains_key(&leaf) {
            return false;
        }
        until.insert(leaf, Instant::now() + duration.min(LONGEST));
        self.0.any.store(true, Relaxed);
        true
    }

    /// No longer.
    pub fn end(&self, leaf: &LeafId) {
        self.current().remove(leaf);
    }

    /// How much longer; `None` when it is not looked at.
    pub fn left(&self, leaf: &LeafId) -> Option<Duration> {
        Some(self.current().get(leaf)?.saturating_duration_since(Instant::now()))
    }

    /// Says what a read brought of those that are looked at.
    pub fn tell(&self, harvest: &Harvest) {
        if !self.0.any.load(Relaxed) {
            return;
        }
        let looked_at: Vec<LeafId> = self.current().keys().cloned().collect();
        for leaf in looked_at {
            let mut text = String::new();
            for reading in harvest.readings.iter().filter(|reading| reading.leaf == leaf) {
                let value = reading.value.as_ref().map_or_else(|| "null".to_owned(), plain);
                let quality = if reading.quality == Quality::Good { String::new() } else { format!(" ({})", reading.quality) };
                write!(text, "{}={value}{quality} ", reading.point).ok();
            }
            if !text.is_empty() {
                info!(target: "tidegate::closeup", device = %leaf, "read, before scale and offset: {}", cut(&text));
            }
            for miss in harvest.misses.iter().filter(|miss| miss.leaf == leaf) {
                info!(target: "tidegate::closeup", device = %leaf, points = miss.points.len(), "did not come: {}", cut(&miss.detail));
            }
            for _ in harvest.messages.iter().filter(|message| message.leaf == leaf) {
                info!(target: "tidegate::closeup", device = %leaf, "said a message of its own");
            }
        }
    }
}

/// On one line, whatever a device says.
fn plain(value: &Value) -> String {
    if let Value::Text(text) = value { format!("{text:?}") } else { value.to_string() }
}

fn cut(text: &str) -> String {
    text.trim_end().chars().take(MOST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str) -> LeafId {
        LeafId::new(name).expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_ends_by_itself_or_when_somebody_ends_it_and_there_are_only_so_many() {
        let closeups = Closeups::default();
        assert_eq!(closeups.left(&leaf("a")), None);
        assert!(closeups.begin(leaf("a"), Duration::from_secs(86_400)));
        assert_eq!(closeups.left(&leaf("a")), Some(LONGEST), "however long it was asked for");
        for n in 1..MOST {
            assert!(closeups.begin(leaf(&format!("d{n}")), Duration::from_secs(10)));
        }
        assert!(
            !closeups.begin(leaf("b"), LONGEST) && closeups.begin(leaf("a"), LONGEST),
            "no room for another one, and the same one again"
        );
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(closeups.begin(leaf("b"), LONGEST));
        closeups.end(&leaf("b"));
        assert_eq!(closeups.left(&leaf("b")), None);
        tokio::time::advance(LONGEST).await;
        closeups.tell(&Harvest::default());
        assert!(!closeups.0.any.load(Relaxed), "nobody is looked at any more");
    }
}
