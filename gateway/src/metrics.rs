//! Figures for Prometheus at `/metrics`, where `[metrics] listen` says.
//!
//! Each scrape takes the counters as they are; nothing is kept for it. Labels are names out of the configuration and our own words
//! (adapter, upstream, reader, class, level), never a leaf or a text from outside, so the number of series is bounded by the
//! configuration. What is served is listed, with its meaning, in `config/README.md`, and a test holds the two together.
//!
//! Plain HTTP and no login: the address is the operator's choice, and the shipped one is the loopback.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tidegate_core::{clock::Timestamp, health::Level, id::Name};
use tidegate_store::{ClassStatus, Counters, ReaderStatus, Status};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    board::{AdapterRow, UpstreamRow},
    unit::UnitError,
    wiring::Parts,
};

/// The format's own media type.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long the log may take to answer a scrape; after it the scrape goes without the log's figures.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until stopped.
pub async fn serve(listen: SocketAddr, parts: Parts, stop: CancellationToken) -> Result<(), UnitError> {
    let listener = TcpListener::bind(listen).await?;
    info!(address = %listen, "metrics served");
    let router = Router::new().route("/metrics", get(scrape)).with_state(parts);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

async fn scrape(State(parts): State<Parts>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], render(&parts).await)
}

/// Everything as text.
pub async fn render(parts: &Parts) -> String {
    let figures = Figures {
        adapters: parts.board.adapters(),
        upstreams: parts.board.upstreams(),
        counters: parts.log.counters(),
        log: tokio::time::timeout(PATIENCE, parts.log.status()).await.ok().and_then(Result::ok),
        levels: parts.health.list().into_iter().map(|entry| entry.level).collect(),
    };
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(figures));
    let mut text = String::new();
    // Writing to a text cannot fail.
    encode(&mut text, &registry).ok();
    text
}

/// What one scrape sees.
#[derive(Debug)]
struct Figures {
    adapters: Vec<(Name, Arc<AdapterRow>)>,
    upstreams: Vec<(Name, Arc<UpstreamRow>)>,
    counters: Counters,
    log: Option<Status>,
    levels: Vec<Level>,
}

/// The value of the label, empty for a figure that has none, and the figure.
type Points = Vec<(String, u64)>;

impl Figures {
    fn adapters(&self, of: fn(&AdapterRow) -> u64) -> Points {
        self.adapters.iter().map(|(name, row)| (name.to_string(), of(row))).collect()
    }

    fn upstreams(&self, of: fn(&UpstreamRow) -> u64) -> Points {
        self.upstreams.iter().map(|(name, row)| (name.to_string(), of(row))).collect()
    }

    fn counted(&self, of: fn(&Counters) -> u64) -> Points {
        vec![(String::new(), of(&self.counters))]
    }

    fn log(&self, of: fn(&Status) -> u64) -> Points {
        self.log.iter().map(|status| (String::new(), of(status))).collect()
    }

    fn classes(&self, of: fn(&ClassStatus) -> u64) -> Points {
        self.log.iter().flat_map(|status| &status.classes).map(|class| (class.class.word().to_owned(), of(class))).collect()
    }

    fn readers(&self, of: fn(&ReaderStatus) -> u64) -> Points {
        self.log.iter().flat_map(|status| &status.readers).map(|reader| (reader.name.to_string(), of(reader))).collect()
    }

    fn levels(&self) -> Points {
        let count = |level| self.levels.iter().filter(|one| **one == level).count() as u64;
        [("note", Level::Note), ("warning", Level::Warning), ("error", Level::Error)]
            .map(|(word, level)| (word.to_owned(), count(level)))
            .into()
    }
}

fn seconds(at: Option<(u64, Timestamp)>) -> u64 {
    at.map_or(0, |(_, time)| time.seconds().unsigned_abs())
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// As it is now.
    Gauge,
}

impl Kind {
    fn encode(self, figure: u64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Kind::Counter => ConstCounter::new(figure).encode(encoder),
            Kind::Gauge => ConstGauge::new(figure).encode(encoder),
        }
    }
}

/// A row of what is served.
struct Family {
    name: &'static str,
    kind: Kind,
    /// Empty for a figure of the gateway as a whole.
    label: &'static str,
    help: &'static str,
    read: fn(&Figures) -> Points,
}

const fn counter(name: &'static str, label: &'static str, help: &'static str, read: fn(&Figures) -> Points) -> Family {
    Family { name, kind: Kind::Counter, label, help, read }
}

const fn gauge(name: &'static str, label: &'static str, help: &'static str, read: fn(&Figures) -> Points) -> Family {
    Family { name, kind: Kind::Gauge, label, help, read }
}

/// All that is served, without the prefix `tidegate_`; counters get `_total` from the format.
const FAMILIES: &[Family] = &[
    gauge("adapter_connected", "adapter", "Whether the bus is open", |f| f.adapters(|row| row.connected.load(Relaxed).into())),
    counter("adapter_connects", "adapter", "Times the bus was opened", |f| f.adapters(|row| row.connects.load(Relaxed))),
    counter("adapter_reads", "adapter", "Reads done", |f| f.adapters(|row| row.reads.load(Relaxed))),
    counter("adapter_readings", "adapter", "Values that came, of any quality", |f| f.adapters(|row| row.readings.load(Relaxed))),
    counter("adapter_misses", "adapter", "Devices or points that gave no value", |f| f.adapters(|row| row.misses.load(Relaxed))),
    counter("adapter_messages", "adapter", "Messages handed to the log", |f| f.adapters(|row| row.messages.load(Relaxed))),
    counter("adapter_rejected", "adapter", "Messages that no hub would take", |f| f.adapters(|row| row.rejected.load(Relaxed))),
    counter("adapter_recoveries", "adapter", "Steps taken because nothing came from an open bus", |f| {
        f.adapters(|row| row.recoveries.load(Relaxed))
    }),
    gauge("adapter_silent_leaves", "adapter", "Devices that do not answer now", |f| f.adapters(|row| row.silent.load(Relaxed))),
    gauge("upstream_connected", "upstream", "Whether there is a session", |f| f.upstreams(|row| row.connected.load(Relaxed).into())),
    counter("upstream_sessions", "upstream", "Sessions begun", |f| f.upstreams(|row| row.sessions.load(Relaxed))),
    counter("upstream_delivered", "upstream", "Messages that the hub acknowledged", |f| f.upstreams(|row| row.delivered.load(Relaxed))),
    counter("upstream_rejected", "upstream", "Messages that it can never take", |f| f.upstreams(|row| row.rejected.load(Relaxed))),
    gauge("upstream_in_flight", "upstream", "Published and not answered yet", |f| f.upstreams(|row| row.in_flight.load(Relaxed))),
    counter("upstream_arrivals", "upstream", "Things that came down", |f| f.upstreams(|row| row.arrivals.load(Relaxed))),
    gauge("upstream_last_delivered_timestamp_seconds", "upstream", "When the hub last acknowledged; 0 for never", |f| {
        f.upstreams(|row| row.last_delivered.load(Relaxed) / 1000)
    }),
    counter("log_appended", "", "Messages whose commit is on disk", |f| f.counted(|c| c.appended)),
    counter("log_appended_bytes", "", "Their bytes", |f| f.counted(|c| c.appended_bytes)),
    counter("log_commits", "", "Commits; each is one flush of the disk", |f| f.counted(|c| c.commits)),
    counter("log_settled", "", "Messages settled as delivered, over all readers", |f| f.counted(|c| c.settled)),
    counter("log_given_up", "", "Messages given up, over all readers", |f| f.counted(|c| c.given_up)),
    counter("log_evicted", "", "Of them, those given up for want of room", |f| f.counted(|c| c.evicted)),
    counter("log_refused", "", "Commits for which the disk had no room at all", |f| f.counted(|c| c.refused)),
    counter("log_leased", "", "Messages handed to upstreams", |f| f.counted(|c| c.leased)),
    counter("log_leased_again", "", "Of them, those handed out once more: each may be a duplicate", |f| f.counted(|c| c.leased_again)),
    gauge("log_messages", "class", "Messages kept", |f| f.classes(|class| class.depth)),
    gauge("log_bytes", "class", "What they count against the room", |f| f.classes(|class| class.bytes)),
    gauge("log_room_bytes", "", "The room", |f| f.log(|status| status.max_size)),
    gauge("log_file_bytes", "", "The file, without what is not copied into it yet", |f| f.log(|status| status.file_bytes)),
    gauge("log_oldest_timestamp_seconds", "", "Time of the oldest message kept; 0 for none", |f| f.log(|status| seconds(status.oldest))),
    gauge("log_gaps", "", "Rows of the gap ledger", |f| f.log(|status| status.gaps)),
    gauge("reader_outstanding", "reader", "Messages that this upstream has yet to get", |f| f.readers(|reader| reader.outstanding)),
    gauge("reader_oldest_timestamp_seconds", "reader", "Time of the oldest of them; 0 for none", |f| f.readers(|r| seconds(r.oldest))),
    gauge("health_entries", "level", "Things that are not right now", Figures::levels),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in FAMILIES {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            let points = (family.read)(self);
            match points.first() {
                Some((_, figure)) if family.label.is_empty() => family.kind.encode(*figure, metric)?,
                _ => {
                    for (value, figure) in points {
                        family.kind.encode(figure, metric.encode_family(&[(family.label, value)])?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_served_is_listed_in_the_document_and_nothing_else_is() {
        let document = include_str!("config/README.md");
        let listed: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("| `tidegate_")?.split('`').next()).collect();
        let served: Vec<String> = FAMILIES
            .iter()
            .map(|family| match family.kind {
                Kind::Counter => format!("{}_total", family.name),
                Kind::Gauge => family.name.to_owned(),
            })
            .collect();
        assert_eq!(listed, served);
    }

    #[test]
    fn rules_and_dashboard_ask_for_nothing_that_is_not_served() {
        let document = include_str!("config/README.md");
        let served: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for (file, text) in [
            ("alerts.yml", include_str!("../../systemd/monitoring/alerts.yml")),
            ("dashboard.json", include_str!("../../systemd/monitoring/dashboard.json")),
            ("README.md", include_str!("../../systemd/monitoring/README.md")),
        ] {
            let asked: Vec<&str> = text.split(word).filter(|name| name.starts_with("tidegate_")).collect();
            assert!(asked.len() >= 5, "{file} asks for something");
            for name in asked {
                assert!(served.contains(&name), "{file}: {name}");
            }
        }
        assert!(serde_json::from_str::<serde_json::Value>(include_str!("../../systemd/monitoring/dashboard.json")).is_ok());
    }

    #[test]
    fn labels_are_our_own_words() {
        assert!(FAMILIES.iter().all(|family| ["", "adapter", "upstream", "reader", "class", "level"].contains(&family.label)));
    }

    #[test]
    fn figures_are_text_that_prometheus_reads() {
        let name = Name::new("plant").expect("valid");
        let row = Arc::new(AdapterRow::default());
        row.readings.store(7, Relaxed);
        let figures = Figures {
            adapters: vec![(name, row)],
            upstreams: vec![],
            counters: Counters { commits: 3, ..Counters::default() },
            log: None,
            levels: vec![Level::Error],
        };
        let mut registry = Registry::with_prefix("tidegate");
        registry.register_collector(Box::new(figures));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "tidegate_adapter_readings_total{adapter=\"plant\"} 7",
            "tidegate_log_commits_total 3",
            "tidegate_health_entries{level=\"error\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
