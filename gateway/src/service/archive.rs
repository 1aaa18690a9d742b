//! What has been: the log, its gaps and messages, downloads, and the program's own events.
//!
//! A download is read from the log piece by piece as fast as the browser takes it; nothing of it is held in memory beyond one page.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value as Json;
use tidegate_core::{
    clock::{TimeQuality, Timestamp},
    id::LeafId,
    message::{Class, Message},
    wire,
};
use tidegate_store::{Gap, Past};
use tidegate_webui::{
    Problem,
    shape::{
        EventQuery, EventView, ExportFormat, ExportQuery, GapView, GivenUp, List, LogView, MessageQuery, MessageView, ReaderView, Spot,
        Trend, TrendQuery,
    },
    site::{Archive, Exported},
};
use tokio::sync::watch;
use tracing::Level;

use super::{Service, no_log, trend, views::classes};
use crate::events::Event;

/// Pages of the log that one question looks through before it answers with what it has.
const PAGES: usize = 10;
/// Messages in one piece of a download.
const PIECE: usize = 500;

/// A time of a query: RFC 3339, or milliseconds since 1970.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse::<i64>().ok().map(Timestamp);
    number.or_else(|| text.parse().ok()).map(Some).ok_or_else(|| {
        let next = "write RFC 3339 such as 2026-01-31T12:00:00Z, or milliseconds since 1970";
        Problem::invalid("").field(name, "is not a time", next)
    })
}

fn past(device: Option<&str>, class: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Past, Problem> {
    let leaf = match device.filter(|device| !device.is_empty()) {
        None => None,
        Some(id) => Some(LeafId::new(id).map_err(|error| Problem::invalid("").field("device", "is not a device id", error.rule))?),
    };
    let class = match class.filter(|class| !class.is_empty()) {
        None => Class::Telemetry,
        Some(word) => Class::ALL
            .into_iter()
            .find(|class| class.word() == word)
            .ok_or_else(|| Problem::invalid("").field("class", "is not a class", "use telemetry, status, outcome or alert"))?,
    };
    Ok(Past { class, leaf, from: time("from", from)?, to: time("to", to)?, at: None, newest_first: false, most: PIECE })
}

fn message(seq: u64, message: &Message) -> MessageView {
    let bytes = wire::body(message);
    let body = serde_json::from_slice::<Json>(&bytes).ok().or_else(|| std::str::from_utf8(&bytes).ok().map(Json::from));
    MessageView {
        seq,
        id: message.id.to_string(),
        device: message.leaf.to_string(),
        class: message.class.word().to_owned(),
        at: message.taken.wall.to_string(),
        time_quality: if message.taken.quality == TimeQuality::Synced { "ok" } else { "unsynced" }.to_owned(),
        properties: message.properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        content_type: message.system.content_type.as_deref().map(str::to_owned),
        body_base64: body.is_none().then(|| STANDARD.encode(&bytes)),
        body: body.unwrap_or(Json::Null),
    }
}

/// A cell of a CSV file. Text that a spreadsheet would take for a formula gets a mark before it.
fn cell(out: &mut String, text: &str, is_text: bool) {
    let formula = is_text && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula || text.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(if formula { "'" } else { "" });
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

/// One line for each point of a message; one for the whole of a message that is none of ours.
fn lines(out: &mut String, seq: u64, message: &Message) {
    let bytes = wire::body(message);
    let object = serde_json::from_slice::<BTreeMap<String, Json>>(&bytes).unwrap_or_default();
    let quality = |point: &str| object.get("quality").and_then(|all| all.get(point)?.as_str()).unwrap_or("good").to_owned();
    let mut line = |point: &str, value: &Json, quality: &str| {
        let head = [seq.to_string(), message.id.to_string(), message.leaf.to_string(), message.class.word().to_owned()];
        out.push_str(&head.join(","));
        out.push(',');
        out.push_str(&message.taken.wall.to_string());
        out.push(',');
        cell(out, point, true);
        out.push(',');
        match value {
            Json::Null => {}
            Json::String(text) => cell(out, text, true),
            other => cell(out, &other.to_string(), other.is_object() || other.is_array()),
        }
        out.push(',');
        cell(out, quality, true);
        out.push('\n');
    };
    if object.is_empty() {
        line("", &Json::from(String::from_utf8_lossy(&bytes).into_owned()), "");
    }
    for (point, value) in object.iter().filter(|(key, _)| !tidegate_core::id::RESERVED_POINTS.contains(&key.as_str())) {
        line(point, value, &quality(point));
    }
}

fn gap(gap: &Gap) -> GapView {
    GapView {
        reader: gap.reader.clone(),
        device: gap.leaf.to_string(),
        class: gap.class.word().to_owned(),
        reason: gap.reason.word().to_owned(),
        count: gap.count,
        first: gap.first.to_string(),
        last: gap.last.to_string(),
        first_seq: gap.first_seq,
        last_seq: gap.last_seq,
        told: gap.told,
    }
}

fn event(event: Event) -> EventView {
    EventView {
        id: event.id,
        at: event.at.to_string(),
        level: event.level.to_string().to_lowercase(),
        target: event.target,
        text: event.text,
        fields: event.fields,
    }
}

fn spot(oldest: Option<(u64, Timestamp)>) -> Option<Spot> {
    oldest.map(|(seq, at)| Spot { seq, at: at.to_string() })
}

#[async_trait]
impl Archive for Service {
    async fn log(&self) -> Result<LogView, Problem> {
        let log = &self.ends.parts.log;
        let status = log.status().await.map_err(no_log)?;
        let reader = |reader: &tidegate_store::ReaderStatus| ReaderView {
            name: reader.name.to_string(),
            outstanding: reader.outstanding,
            oldest: spot(reader.oldest),
            settled: reader.settled,
        };
        let counters = crate::view::counters(&log.counters());
        let counters = counters.as_object().into_iter().flatten().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        Ok(LogView {
            depth: status.depth,
            bytes: status.bytes,
            max_bytes: status.max_size,
            file_bytes: status.file_bytes,
            next_seq: status.next_seq,
            oldest: spot(status.oldest),
            classes: classes(&status),
            readers: status.readers.iter().map(reader).collect(),
            given_up: GivenUp { gaps: status.gaps, messages: status.gap_messages },
            counters: counters.collect(),
        })
    }

    async fn gaps(&self, most: usize) -> Result<Vec<GapView>, Problem> {
        let gaps = self.ends.parts.log.gaps(most).await.map_err(no_log)?;
        Ok(gaps.iter().map(gap).collect())
    }

    async fn messages(&self, query: MessageQuery) -> Result<List<MessageView>, Problem> {
        let mut past = past(query.device.as_deref(), query.class.as_deref(), query.from.as_deref(), query.to.as_deref())?;
        let most = query.limit.unwrap_or(100).clamp(1, 1000);
        past.at = query.after;
        let mut items = Vec::new();
        for _ in 0..PAGES {
            past.most = most - items.len();
            let page = self.history.page(past.clone()).await.map_err(no_log)?;
            items.extend(page.messages.iter().map(|(seq, one)| message(*seq, one)));
            past.at = page.next;
            if page.next.is_none() || items.len() >= most {
                break;
            }
        }
        Ok(List { items, next: past.at.map(|next| next.to_string()) })
    }

    async fn export(&self, query: ExportQuery) -> Result<Exported, Problem> {
        let past = past(query.device.as_deref(), query.class.as_deref(), query.from.as_deref(), query.to.as_deref())?;
        let csv = query.format == ExportFormat::Csv;
        let head = if csv { "seq,id,device,class,at,point,value,quality\n" } else { "" };
        let (history, begun) = (self.history.clone(), (Some(past), head.to_owned()));
        let pieces = stream::try_unfold(begun, move |(past, mut text)| {
            let history = history.clone();
            async move {
                let Some(mut past) = past else { return Ok(None) };
                let page = history.page(past.clone()).await.map_err(std::io::Error::other)?;
                for (seq, one) in &page.messages {
                    if csv {
                        lines(&mut text, *seq, one);
                    } else if let Ok(line) = serde_json::to_string(&message(*seq, one)) {
                        text.push_str(&line);
                        text.push('\n');
                    }
                }
                past.at = page.next;
                let rest = page.next.map(|_| past);
                Ok(Some((Bytes::from(text), (rest, String::new()))))
            }
        });
        Ok(Box::pin(pieces))
    }

    async fn trend(&self, device: &str, query: TrendQuery) -> Result<Option<Trend>, Problem> {
        let Some(leaf) = self.ends.parts.live.leaf(device) else { return Ok(None) };
        let asked = trend::Asked::read(&leaf, &query, self.now())?;
        let gaps = self.ends.parts.log.gaps(trend::GAPS).await.map_err(no_log)?;
        trend::draw(&self.history, &leaf, asked, &gaps).await.map(Some)
    }

    fn events(&self, query: &EventQuery) -> Result<Vec<EventView>, Problem> {
        let level = query.level.as_deref().filter(|level| !level.is_empty()).unwrap_or("info");
        let wrong = || Problem::invalid("").field("level", "is not a level", "use error, warn, info, debug or trace");
        let level: Level = level.parse().map_err(|_| wrong())?;
        let text = query.text.as_deref().unwrap_or_default().to_lowercase();
        let says = |said: &str| said.to_lowercase().contains(&text);
        let wanted = |event: &Event| {
            let said = || says(&event.text) || says(&event.target) || event.fields.iter().any(|(name, value)| says(name) || says(value));
            event.level <= level && (text.is_empty() || said())
        };
        let most = query.limit.unwrap_or(100).clamp(1, 1000);
        Ok(self.events.before(query.before, most, wanted).into_iter().map(event).collect())
    }

    fn events_after(&self, id: u64, most: usize) -> (Vec<EventView>, u64) {
        let (events, missed) = self.events.after(id, most);
        (events.into_iter().map(event).collect(), missed)
    }

    fn event_changes(&self) -> watch::Receiver<u64> {
        self.events.latest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_takes_no_text_for_a_formula() {
        let written = |text: &str, is_text| {
            let mut out = String::new();
            cell(&mut out, text, is_text);
            out
        };
        assert_eq!(written("=HYPERLINK(\"x\")", true), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(written("-1.5", false), "-1.5");
        assert_eq!(written("a,b\n\"c\"", true), "\"a,b\n\"\"c\"\"\"");
        assert_eq!(written("plain", true), "plain");
    }

    #[test]
    fn times_are_text_or_numbers_and_nonsense_is_named() {
        assert_eq!(time("from", Some("1970-01-01T00:00:01Z")).expect("a time"), Some(Timestamp(1_000)));
        assert_eq!(time("from", Some("1000")).expect("a time"), Some(Timestamp(1_000)));
        assert_eq!(time("from", None).expect("none"), None);
        for bad in ["yesterday", "1e3", "99999999999999999999", "2026-13-01T00:00:00Z"] {
            assert_eq!(time("from", Some(bad)).expect_err("no time").code(), "invalid", "{bad}");
        }
    }
}
