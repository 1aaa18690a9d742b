//! An adapter on a pty, and what it harvests as lines of text.

use std::time::Duration;

use serde_json::Value as Json;
use tidegate_adapters::serial::{Serial, checked, simulator::Cable};
use tidegate_core::{
    adapter::{Adapter, AdapterError, Harvest},
    clock::{HandClock, Timestamp},
    problem::Problems,
};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn serial(section: &str) -> Serial {
    let section: Json = toml::from_str(section).expect("TOML");
    let mut problems = Problems::default();
    let (checked, _) = checked(&section, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list()));
    Serial::new(checked, HandClock::at(Timestamp(0)))
}

/// On a fresh cable; `PORT` in the section stands for its name.
pub(crate) async fn on_cable(section: &str) -> (Serial, Cable) {
    let cable = Cable::lay().expect("a pty");
    let mut serial = serial(&section.replace("PORT", &cable.path.display().to_string()));
    serial.connect().await.expect("the pty opens");
    (serial, cable)
}

/// The next harvest that has something.
pub(crate) async fn turn(serial: &mut Serial) -> Result<Harvest, AdapterError> {
    let turn = async {
        loop {
            serial.ready().await;
            let harvest = serial.read().await?;
            if !harvest.readings.is_empty() || !harvest.misses.is_empty() {
                return Ok(harvest);
            }
        }
    };
    timeout(SOON, turn).await.expect("something comes")
}

/// `leaf.point = value`, or `leaf.point: bad: reason`; `miss leaf [points]: reason: detail`.
pub(crate) fn words(harvest: &Harvest) -> Vec<String> {
    let readings = harvest.readings.iter().map(|r| match &r.value {
        Some(value) => format!("{}.{} = {}", r.leaf, r.point, serde_json::to_string(value).expect("JSON")),
        None => format!("{}.{}: {}", r.leaf, r.point, r.quality),
    });
    let misses = harvest.misses.iter().map(|miss| {
        let points: Vec<_> = miss.points.iter().map(|point| point.as_str()).collect();
        format!("miss {} [{}]: {}: {}", miss.leaf, points.join(", "), miss.reason, miss.detail)
    });
    readings.chain(misses).collect()
}
