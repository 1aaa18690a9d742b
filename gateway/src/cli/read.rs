//! `tidegate read`: asks devices once, with no hub and no log, through the same code as `run`.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidegate_core::{
    adapter::{Adapter, AdapterError, Look, LookLine},
    clock::SystemClock,
    id::LeafId,
    profile::{LeafProfile, PointProfile},
};

use super::{complain, output::table, say};
use crate::{
    config::{AdapterSection, Config},
    exit::Exit,
    normalise::{Shown, show},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this adapter.
    adapter: Option<String>,
    /// Only this device.
    device: Option<LeafId>,
    /// One JSON object per point instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) async fn read(config: Config, args: Args) -> Exit {
    let wanted = |section: &&AdapterSection| args.adapter.as_ref().is_none_or(|name| section.name.as_str() == name);
    let sections: Vec<&AdapterSection> = config.adapters.iter().filter(wanted).collect();
    let knows = |id: &LeafId| sections.iter().any(|section| section.plan.leaves.iter().any(|leaf| leaf.id == *id));
    if sections.is_empty() || args.device.as_ref().is_some_and(|id| !knows(id)) {
        let known: Vec<&str> = config.adapters.iter().map(|section| section.name.as_str()).collect();
        complain(&format!("no such adapter or device; adapters: {}", known.join(", ")));
        return Exit::Usage;
    }
    let mut all_good = true;
    for section in sections {
        match look(section, args.device.as_ref()).await {
            Ok(looks) => looks.iter().for_each(|look| all_good &= print(section, look, args.json)),
            Err(error) => {
                complain(&format!("{}: {error}", section.name));
                all_good = false;
            }
        }
    }
    if all_good { Exit::Fine } else { Exit::Negative }
}

async fn look(section: &AdapterSection, device: Option<&LeafId>) -> Result<Vec<Look>, AdapterError> {
    let mut adapter: Box<dyn Adapter> = (section.plan.build)(SystemClock::new("read") as Arc<_>);
    adapter.connect().await?;
    let looks = adapter.look(device).await;
    adapter.close().await;
    looks
}

/// `false` when a point is not good.
fn print(section: &AdapterSection, look: &Look, as_json: bool) -> bool {
    let profile = section.plan.leaves.iter().find(|leaf| leaf.id == look.leaf);
    let lines: Vec<(&LookLine, Option<&PointProfile>, Shown)> = look.lines.iter().map(|line| shown(line, profile)).collect();
    if as_json {
        lines.iter().for_each(|line| say(&view(section, look, line).to_string()));
    } else {
        let identity: String = look.identity.iter().map(|(key, value)| format!("  {key}: {value}")).collect();
        say(&format!("{} / {}{identity}", section.name, look.leaf));
        table(&lines.iter().map(row).collect::<Vec<_>>()).iter().for_each(|line| say(line));
    }
    lines.iter().all(|(_, _, shown)| shown.quality.is_good())
}

fn shown<'a>(line: &'a LookLine, profile: Option<&'a LeafProfile>) -> (&'a LookLine, Option<&'a PointProfile>, Shown) {
    let point = profile.and_then(|leaf| leaf.points.iter().find(|point| point.name == line.point));
    let shown = match point {
        Some(point) => show(line.value.clone(), line.quality.clone(), point),
        None => Shown { value: line.value.clone(), quality: line.quality.clone() },
    };
    (line, point, shown)
}

fn row((line, point, shown): &(&LookLine, Option<&PointProfile>, Shown)) -> Vec<String> {
    let value = shown.value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let unit = point.and_then(|point| point.unit.clone()).unwrap_or_default();
    let raw = if line.raw.is_empty() { String::new() } else { format!("raw {}", line.raw) };
    let said = if line.detail.is_empty() { shown.quality.to_string() } else { format!("{} ({})", shown.quality, line.detail) };
    vec![
        format!("  {}", line.point),
        format!("{value} {unit}").trim().to_owned(),
        said,
        raw,
        line.request.clone(),
        format!("{:.1?}", line.took),
    ]
}

fn view(section: &AdapterSection, look: &Look, (line, point, shown): &(&LookLine, Option<&PointProfile>, Shown)) -> Json {
    json!({
        "adapter": section.name.as_str(),
        "leaf": look.leaf.as_str(),
        "point": line.point.as_str(),
        "value": shown.value,
        "unit": point.and_then(|point| point.unit.clone()),
        "quality": shown.quality.to_string(),
        "detail": line.detail,
        "raw": line.raw,
        "request": line.request,
        "took_ms": line.took.as_secs_f64() * 1000.0,
    })
}
