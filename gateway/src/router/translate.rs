//! Between the words of those who ask (points by name, values in the point's unit) and what an adapter is told (raw values).

use serde_json::{Map, Value as Json};
use tidegate_core::{
    command::{Action, Outcome},
    id::PointName,
    profile::{LeafProfile, PointProfile},
    reading::{Quality, Value},
};

use super::route::Route;
use crate::{normalise::show, outcome::Told, request::Request};

/// What the leaf is to be told, as far as can be known before the moment, or why it will not be, in words.
pub(super) fn action(route: &Route, request: &Request) -> Result<Action, String> {
    let profile = &route.profile;
    match request {
        Request::Write(wanted) if route.taker.takes_any_point() => {
            let points: Map<String, Json> = wanted.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            let body = serde_json::json!({ "write": points }).to_string();
            Ok(Action::Message { properties: Vec::new(), body: body.into() })
        }
        Request::Write(wanted) => route.guard().fits(&profile.id, wanted).map(Action::Write).map_err(|refusal| refusal.to_string()),
        Request::Read(_) if route.taker.takes_any_point() => {
            Err(format!("'{}' says what it has by itself and cannot be asked", profile.id))
        }
        Request::Read(names) => {
            names.iter().try_for_each(|name| point(profile, name).map(drop))?;
            Ok(Action::Read(names.clone()))
        }
        Request::Raw(bytes) => Ok(Action::Raw(bytes.clone())),
        Request::Message { properties, body } if route.taker.takes_messages() => {
            Ok(Action::Message { properties: properties.clone(), body: body.clone() })
        }
        Request::Message { .. } => Err(format!("'{}' takes no messages; name points to write", profile.id)),
    }
}

/// Whether doing it twice is as good as once.
pub(super) fn is_repeatable(route: &Route, request: &Request) -> bool {
    match request {
        Request::Write(_) if route.taker.takes_any_point() => true,
        Request::Write(wanted) => route.guard().is_repeatable(&route.profile.id, wanted.iter().map(|(name, _)| name)),
        Request::Read(_) => true,
        Request::Raw(_) => false,
        Request::Message { .. } => true,
    }
}

fn point<'a>(profile: &'a LeafProfile, name: &PointName) -> Result<&'a PointProfile, String> {
    profile.points.iter().find(|point| point.name == *name).ok_or_else(|| format!("'{}' has no point '{name}'", profile.id))
}

/// A point, for people and programs.
pub(super) fn view(point: &PointProfile) -> Json {
    let mut view = Map::new();
    view.insert("name".to_owned(), point.name.as_str().into());
    let labels: Vec<&str> = point.labels.values().map(String::as_str).collect();
    for (key, value) in [
        ("unit", point.unit.as_deref().map(Json::from)),
        ("min", point.min.map(Json::from)),
        ("max", point.max.map(Json::from)),
        ("writable", point.write.as_ref().map(|_| true.into())),
        ("write_min", point.write.as_ref().and_then(|write| write.min).map(Json::from)),
        ("write_max", point.write.as_ref().and_then(|write| write.max).map(Json::from)),
        ("write_step", point.write.as_ref().and_then(|write| write.step).map(Json::from)),
        ("labels", (!labels.is_empty()).then(|| Json::from(labels))),
    ] {
        if let Some(value) = value {
            view.insert(key.to_owned(), value);
        }
    }
    Json::Object(view)
}

/// What became of it, in the points' units.
pub(super) fn told(profile: &LeafProfile, outcome: &Outcome) -> Told {
    let mut told = Told::plain(outcome);
    if let Outcome::Done(values) = outcome {
        told.values = shown(profile, values);
    }
    told
}

fn shown(profile: &LeafProfile, values: &[(PointName, Value)]) -> Map<String, Json> {
    let one = |(name, value): &(PointName, Value)| {
        let value = match point(profile, name) {
            Ok(point) => show(Some(value.clone()), Quality::Good, point).value,
            Err(_) => Some(value.clone()),
        };
        (name.to_string(), value.as_ref().map_or(Json::Null, json))
    };
    values.iter().map(one).collect()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Bool(bit) => Json::Bool(*bit),
        Value::Int(n) => Json::from(*n),
        Value::Uint(n) => Json::from(*n),
        // NaN and infinity have no place in JSON.
        Value::Float(n) => Json::from(*n),
        Value::Text(text) => Json::from(text.as_str()),
        bytes @ Value::Bytes(_) => Json::from(bytes.to_string().replace(' ', "")),
    }
}
