//! The past of some points, drawn from the log's own messages: no second database, so it reaches back as far as the log keeps them.
//!
//! The time asked for is cut into buckets; each keeps its smallest, largest and last value, so that a peak between two pixels stays
//! visible. The newest messages are read first: where the limit is reached, it is the beginning that is missing, and the answer says so.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidegate_core::{clock::Timestamp, message::Message};
use tidegate_store::{Gap, History, Past};
use tidegate_webui::{
    Problem,
    shape::{Series, Trend, TrendGap, TrendQuery},
};

use super::{archive::time, no_log};
use crate::live::LiveLeaf;

/// Points of one drawing.
const MOST_POINTS: usize = 8;
/// Buckets when the question does not say.
const BUCKETS: usize = 600;
/// Pages of the log that are looked through: half a million places.
const PAGES: usize = 25;
/// Messages that are read: some 300 ms of one core.
const MESSAGES: usize = 100_000;
/// Messages in one page.
const PIECE: usize = 5_000;
/// Time when the question does not say.
const HOUR_MS: i64 = 3_600_000;
/// Latest rows of the gap ledger that are looked at.
pub(super) const GAPS: usize = 1_000;

/// A question that has been read.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    points: Vec<String>,
    from: i64,
    to: i64,
    bucket: i64,
}

impl Asked {
    /// Reads the question; what is wrong with it is named.
    pub(super) fn read(leaf: &LiveLeaf, query: &TrendQuery, now: Timestamp) -> Result<Self, Problem> {
        let points: Vec<String> = query.points.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if points.is_empty() || points.len() > MOST_POINTS {
            return Err(Problem::invalid("").field("points", format!("names {} points", points.len()), "name 1 to 8, separated by commas"));
        }
        if let Some(stranger) = points.iter().find(|name| !leaf.profile.points.iter().any(|point| point.name.as_str() == *name)) {
            let stranger: String = stranger.chars().take(64).collect();
            return Err(Problem::invalid("").field(
                "points",
                format!("{stranger} is no point of {}", leaf.profile.id),
                "see the device's points",
            ));
        }
        let to = time("to", query.to.as_deref())?.unwrap_or(now).0;
        let from = time("from", query.from.as_deref())?.map_or_else(|| to.saturating_sub(HOUR_MS), |from| from.0);
        // Far enough for anybody, and no sum below can overflow.
        let sane = |ms: i64| (-62_135_596_800_000..=253_402_300_799_000).contains(&ms);
        if !sane(from) || !sane(to) || from >= to {
            return Err(Problem::invalid("").field("from", "is not before `to`", "choose a time that begins before it ends"));
        }
        let most = i64::try_from(query.most.unwrap_or(BUCKETS).clamp(2, 2_000)).unwrap_or(2);
        Ok(Self { points, from, to, bucket: ((to - from + most - 1) / most).max(1) })
    }
}

/// One bucket of one point. Filled from its end to its beginning.
#[derive(Debug, Clone)]
struct Bucket {
    at: i64,
    last: Json,
    least: Option<f64>,
    most: Option<f64>,
}

/// The buckets of each point, by their number.
type Drawn = Vec<BTreeMap<i64, Bucket>>;

/// Reads the log.
pub(super) async fn draw(history: &History, leaf: &LiveLeaf, asked: Asked, gaps: &[Gap]) -> Result<Trend, Problem> {
    let mut past = Past {
        class: leaf.profile.class,
        leaf: Some(leaf.profile.id.clone()),
        from: Some(Timestamp(asked.from)),
        to: Some(Timestamp(asked.to)),
        at: None,
        newest_first: true,
        most: PIECE,
    };
    let oldest = Past { leaf: None, from: None, to: None, newest_first: false, most: 1, ..past.clone() };
    let oldest = history.page(oldest).await.map_err(no_log)?;
    let mut drawn: Drawn = vec![BTreeMap::new(); asked.points.len()];
    let (mut read, mut complete) = (0, false);
    for _ in 0..PAGES {
        let page = history.page(past.clone()).await.map_err(no_log)?;
        read += page.messages.len();
        past.at = page.next;
        complete = page.next.is_none();
        let asked = asked.clone();
        // Beside the async workers: a page is some thousand small JSON texts.
        let work = move || {
            page.messages.iter().for_each(|(_, message)| fill(&mut drawn, &asked, message));
            drawn
        };
        drawn = tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal("drawing a trend", error))?;
        if complete || read >= MESSAGES {
            break;
        }
    }
    let unit = |name: &str| leaf.profile.points.iter().find(|point| point.name.as_str() == name).and_then(|point| point.unit.clone());
    let named = asked.points.iter().zip(drawn).map(|(name, buckets)| (name.clone(), series(unit(name), buckets)));
    let gap = |gap: &&Gap| gap.leaf == leaf.profile.id && gap.last.0 >= asked.from && gap.first.0 < asked.to;
    let gaps = gaps.iter().filter(gap).map(|gap| TrendGap {
        from: gap.first.0,
        to: gap.last.0,
        count: gap.count,
        reason: gap.reason.word().to_owned(),
        reader: gap.reader.clone(),
    });
    Ok(Trend {
        device: leaf.profile.id.to_string(),
        from: asked.from,
        to: asked.to,
        kept_since: oldest.messages.first().map(|(_, message)| message.taken.wall.0),
        bucket_ms: asked.bucket,
        complete,
        points: named.collect(),
        gaps: gaps.collect(),
    })
}

fn fill(drawn: &mut Drawn, asked: &Asked, message: &Message) {
    let at = message.taken.wall.0;
    if at < asked.from || at >= asked.to {
        return;
    }
    let Ok(mut body) = serde_json::from_slice::<BTreeMap<String, Json>>(message.body.stored()) else { return };
    for (name, buckets) in asked.points.iter().zip(drawn) {
        let Some(value) = body.remove(name) else { continue };
        let number = value.as_f64();
        let bucket = buckets.entry((at - asked.from) / asked.bucket).or_insert(Bucket { at, last: Json::Null, least: None, most: None });
        if at >= bucket.at {
            (bucket.at, bucket.last) = (at, value);
        }
        if let Some(number) = number {
            bucket.least = Some(bucket.least.map_or(number, |least| least.min(number)));
            bucket.most = Some(bucket.most.map_or(number, |most| most.max(number)));
        }
    }
}

fn series(unit: Option<String>, buckets: BTreeMap<i64, Bucket>) -> Series {
    let mut series = Series { unit, ..Series::default() };
    for bucket in buckets.into_values() {
        series.at.push(bucket.at);
        series.last.push(bucket.last);
        series.min.push(bucket.least);
        series.max.push(bucket.most);
    }
    series
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_core::{
        clock::{BootId, Stamp, TimeQuality},
        id::{LeafId, MessageId},
        message::{Body, Class, Properties, SystemProperties},
    };

    use super::*;

    fn message(at: i64, body: &'static str) -> Message {
        let taken = Stamp { wall: Timestamp(at), boot: BootId(1), since_boot_ms: 0, quality: TimeQuality::Synced };
        let (leaf, body) = (LeafId::new("a").expect("valid"), Body::Untimed(Bytes::from_static(body.as_bytes())));
        let (id, system) = (MessageId::fresh(), SystemProperties::json());
        Message { id, leaf, class: Class::Telemetry, taken, ttl: None, system, properties: Properties::default(), body }
    }

    #[test]
    fn a_peak_between_two_pixels_stays_visible_and_a_bad_value_is_none() {
        let asked = Asked { points: vec!["t".into(), "pump".into()], from: 0, to: 1_000, bucket: 100 };
        let mut drawn: Drawn = vec![BTreeMap::new(); 2];
        let newest_first = [
            message(1_000, "{\"t\":999}"),
            message(250, "{\"t\":null,\"quality\":{\"t\":\"bad: timeout\"}}"),
            message(199, "{\"t\":2.5,\"pump\":true}"),
            message(150, "{\"t\":9}"),
            message(100, "{\"t\":1,\"pump\":false}"),
            message(50, "not JSON"),
        ];
        newest_first.iter().for_each(|message| fill(&mut drawn, &asked, message));
        let t = series(None, drawn.remove(0));
        assert_eq!(t.at, [199, 250]);
        assert_eq!(t.last, [Json::from(2.5), Json::Null]);
        assert_eq!((t.min, t.max), (vec![Some(1.0), None], vec![Some(9.0), None]));
        assert_eq!(series(None, drawn.remove(0)).last, [Json::from(true)]);
    }
}
