//! For people who are placing sensors: listens until each has been heard, and reads those that are connected to once.

use std::{collections::HashMap, time::Duration};

use tidegate_core::{
    adapter::{AdapterError, Harvest, Look, LookLine},
    id::LeafId,
    reading::{Quality, Reason, Value},
};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::{
    Ble,
    check::{Point, Source},
    execute::COMMAND,
    gatt::{Seen, Why},
    leaf::Leaf,
};

/// How long a person who looks waits for sensors that have not been heard yet.
const LOOK: Duration = Duration::from_secs(15);

impl Ble {
    pub(super) async fn look_at(&mut self, wanted: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
        let (start, mut details) = (Instant::now(), HashMap::new());
        let asked = |leaf: &Leaf| wanted.is_none_or(|id| leaf.sensor.id == *id);
        while self.leaves.iter().any(|leaf| asked(leaf) && !leaf.was_heard()) {
            let Ok(heard) = timeout_at(start + LOOK, self.radio.hear()).await else { break };
            let mut harvest = Harvest::default();
            self.take(heard?, &mut harvest);
            details.extend(harvest.misses.into_iter().map(|miss| (miss.leaf.clone(), miss)));
        }
        info!(radio = %self.checked.radio, "listened");
        let took = start.elapsed();
        // All are asked together, and take turns on the connections.
        let until = Instant::now() + COMMAND;
        let mut reads = Vec::new();
        for (at, leaf) in self.leaves.iter().enumerate().filter(|(_, leaf)| asked(leaf)) {
            reads.push((at, leaf.sensor.clone(), leaf.sensor.gatt.is_some().then(|| self.ask_for(at, Vec::new()))));
        }
        let mut looks = Vec::new();
        for (at, sensor, read) in reads {
            let read = match read {
                Some(read) => Some(self.seen(read, until).await),
                None => None,
            };
            let Some(leaf) = self.leaves.get(at) else { continue };
            let line = |point: &Point| match (&point.source, &read) {
                (Source::Characteristic(_), Some(Ok(seen))) => seen.iter().find(|seen| seen.point == point.name).map(of_link),
                (Source::Characteristic(_), Some(Err(why))) => Some(not_read(point, leaf, why)),
                _ => Some(of_air(point, leaf, details.get(&sensor.id), took)),
            };
            looks.push(Look { leaf: sensor.id.clone(), identity: vec![], lines: sensor.points.iter().filter_map(line).collect() });
        }
        Ok(looks)
    }
}

fn of_air(point: &Point, leaf: &Leaf, miss: Option<&tidegate_core::adapter::Miss>, took: Duration) -> LookLine {
    let known = leaf.readings().into_iter().find(|reading| reading.point == point.name);
    let (reason, detail) = match (miss, leaf.was_heard()) {
        (Some(miss), _) => (miss.reason.clone(), miss.detail.clone()),
        (None, true) => (Reason::Other("no-such-field"), format!("it was heard and says no '{}'", field(point))),
        (None, false) => (Reason::Timeout, format!("not heard within {} s", LOOK.as_secs())),
    };
    LookLine {
        point: point.name.clone(),
        quality: if known.is_some() { Quality::Good } else { Quality::Bad(reason) },
        request: format!("listened for {}", leaf.sensor.address),
        raw: leaf.raw(),
        detail: if known.is_some() { String::new() } else { detail },
        value: known.and_then(|reading| reading.value),
        took,
    }
}

fn field(point: &Point) -> &str {
    match &point.source {
        Source::Field(field) => field,
        _ => point.name.as_str(),
    }
}

fn of_link(seen: &Seen) -> LookLine {
    let quality = seen.value.as_ref().map_or_else(|why| Quality::Bad(why.reason.clone()), |_| Quality::Good);
    LookLine {
        point: seen.point.clone(),
        value: seen.value.as_ref().ok().cloned(),
        quality,
        request: seen.request.clone(),
        raw: Value::Bytes(seen.raw.clone()).to_string(),
        detail: seen.value.as_ref().err().map(|why| why.detail.clone()).unwrap_or_default(),
        took: seen.took,
    }
}

fn not_read(point: &Point, leaf: &Leaf, why: &Why) -> LookLine {
    LookLine {
        point: point.name.clone(),
        value: None,
        quality: Quality::Bad(why.reason.clone()),
        request: format!("connected to {}", leaf.sensor.address),
        raw: String::new(),
        detail: why.detail.clone(),
        took: Duration::ZERO,
    }
}
