//! Models of devices: listed, and tried on a device that was found.

use async_trait::async_trait;
use serde_json::{Map, Value as Json, json};
use tidegate_webui::{
    Problem,
    shape::{LookRequest, MatchRequest, MatchValue, MatchView, TemplateView},
    site::{Templates, Workshop},
};

use super::Service;
use crate::config::template::{self, Listed};

/// Models that are tried on one device.
const MOST_TRIED: usize = 64;

fn view(one: Listed) -> TemplateView {
    TemplateView {
        points: one.about.device.get("point").and_then(Json::as_array).cloned().unwrap_or_default(),
        name: one.name,
        packaged: one.packaged,
        brand: one.about.brand,
        models: one.about.models,
        kind: one.about.kind,
        summary: one.about.summary,
        source: one.about.source,
        notes: one.about.notes,
        bus: one.about.bus,
        recognises: !one.about.expect.is_empty(),
        text: one.text,
    }
}

impl Service {
    fn listed(&self) -> Vec<Listed> {
        template::list(&self.files().0, &self.ends.kinds)
    }

    /// One model on one device: only the points that it is recognised by are read.
    async fn try_on(&self, section: &Json, device: &Map<String, Json>, model: &Listed) -> Result<MatchView, Problem> {
        let points = model.about.device.get("point").and_then(Json::as_array).into_iter().flatten();
        let others = points.filter_map(|point| point["name"].as_str()).filter(|name| !model.about.expect.contains_key(*name));
        let mut device = device.clone();
        device.remove("point");
        device.insert("template".to_owned(), model.name.as_str().into());
        device.insert("without".to_owned(), others.collect());
        let mut section = section.clone();
        section["device"] = json!([device]);
        let text =
            toml_edit::ser::to_string_pretty(&json!({ "adapter": [section] })).map_err(|error| Problem::malformed(error.to_string()))?;
        let looks = self.look_at(LookRequest { section: text, device: None }).await?;
        let lines = looks.into_iter().flat_map(|look| look.lines);
        let values: Vec<_> =
            lines.map(|line| MatchValue { point: line.point, value: line.value, unit: line.unit, detail: line.detail }).collect();
        let fits = |(name, [least, most]): (&String, &[f64; 2])| {
            let value = values.iter().find(|value| value.point == *name).and_then(|value| value.value.as_f64());
            value.is_some_and(|value| (*least..=*most).contains(&value))
        };
        Ok(MatchView { template: model.name.clone(), fits: model.about.expect.iter().all(fits), values })
    }
}

#[async_trait]
impl Templates for Service {
    fn templates(&self) -> Vec<TemplateView> {
        self.listed().into_iter().map(view).collect()
    }

    async fn recognise(&self, request: MatchRequest) -> Result<Vec<MatchView>, Problem> {
        let wrong =
            |what: &str| Problem::invalid("the device cannot be asked").field("section", what, "give a section as a search gives it");
        let section = request.section;
        let kind = section["kind"].as_str().ok_or_else(|| wrong("has no kind"))?;
        let device = section["device"].get(0).and_then(Json::as_object).ok_or_else(|| wrong("has no device"))?;
        let mut matches = Vec::new();
        for model in self.listed().iter().filter(|one| one.about.kind == kind && !one.about.expect.is_empty()).take(MOST_TRIED) {
            matches.push(self.try_on(&section, device, model).await?);
        }
        matches.sort_by_key(|one| !one.fits);
        Ok(matches)
    }
}
