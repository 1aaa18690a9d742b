//! The whole configuration's JSON Schema, for editors and forms: the gateway's own keys, and a section for each kind.

use serde_json::{Map, Value as Json, json};

use super::{Kinds, raw, section::with_common_keys, template};

/// JSON Schema (2020-12) of the configuration with these kinds. Closed where the check is closed.
pub fn full_schema(kinds: &Kinds) -> Json {
    let mut schema = raw::schema_of::<raw::Raw>();
    let mut definitions = Map::new();
    let adapters = kinds.adapters.iter().map(|kind| (kind.name, with_common_keys::<raw::RawAdapter>((kind.schema)()), kind.summary));
    let adapters = adapters.map(|(name, schema, summary)| (name, template::with_keys(schema), summary));
    schema["properties"]["adapter"]["items"] = sections("adapter", adapters, &mut definitions);
    let upstreams = kinds.upstreams.iter().map(|kind| (kind.name, with_common_keys::<raw::RawUpstream>((kind.schema)()), kind.summary));
    schema["properties"]["upstream"]["items"] = sections("upstream", upstreams, &mut definitions);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Tidegate configuration".into();
    schema["$defs"] = Json::Object(definitions);
    close(&mut schema, false);
    schema
}

/// One alternative for each kind, told apart by `kind`.
fn sections<'a>(list: &str, kinds: impl Iterator<Item = (&'a str, Json, &'a str)>, definitions: &mut Map<String, Json>) -> Json {
    let mut alternatives = Vec::new();
    for (kind, mut schema, summary) in kinds {
        let name = format!("{list}-{kind}");
        point_into(&mut schema, &format!("#/$defs/{name}"));
        schema["properties"]["kind"] = json!({ "type": "string", "const": kind, "description": summary });
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("$schema");
        }
        alternatives.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, schema);
    }
    if alternatives.is_empty() { json!(false) } else { json!({ "oneOf": alternatives }) }
}

/// A schema that moves into another one takes its references along.
fn point_into(schema: &mut Json, prefix: &str) {
    match schema {
        Json::Object(object) => {
            for (key, value) in object {
                match value {
                    Json::String(pointer) if key == "$ref" && pointer.starts_with('#') => *pointer = format!("{prefix}{}", &pointer[1..]),
                    _ => point_into(value, prefix),
                }
            }
        }
        Json::Array(list) => list.iter_mut().for_each(|value| point_into(value, prefix)),
        _ => {}
    }
}

/// Says of each table with known keys that it has no others. An `alternative` leaves that to the table that it is a part of.
fn close(schema: &mut Json, alternative: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    let combined = ["oneOf", "anyOf", "allOf"].iter().any(|word| object.contains_key(*word));
    let says = ["additionalProperties", "unevaluatedProperties", "patternProperties"].iter().any(|word| object.contains_key(*word));
    let has_keys = object.contains_key("properties");
    for (word, inner) in object.iter_mut() {
        match (word.as_str(), inner) {
            ("properties" | "$defs", Json::Object(schemas)) => schemas.values_mut().for_each(|schema| close(schema, false)),
            ("oneOf" | "anyOf" | "allOf", Json::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| close(schema, alternative || has_keys));
            }
            ("prefixItems", Json::Array(schemas)) => schemas.iter_mut().for_each(|schema| close(schema, false)),
            ("items" | "additionalProperties", schema) => close(schema, false),
            _ => {}
        }
    }
    if has_keys && !alternative && !says {
        object.insert(if combined { "unevaluatedProperties" } else { "additionalProperties" }.to_owned(), Json::Bool(false));
    }
}
