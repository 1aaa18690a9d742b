//! Twins by the vectors of the reference, and what a patch may never do.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::Timestamp,
    twin::{Object, Part, Twin, diff, merge},
};

fn vectors(name: &str, count: usize) -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("iot-hub-vectors.json")).expect("JSON");
    let list = all["twin"][name].as_array().expect("a list").clone();
    assert_eq!(list.len(), count);
    list
}

fn object(value: &Json) -> Object {
    value.as_object().expect("an object").clone()
}

#[test]
fn patches_merge_as_specified() {
    for vector in vectors("merge", 17) {
        let mut document = object(&vector["before"]);
        merge(&mut document, &object(&vector["patch"]));
        assert_eq!(Json::Object(document), vector["after"], "{}", vector["id"]);
    }
}

#[test]
fn two_documents_give_the_patch_between_them() {
    for vector in vectors("diff", 8) {
        let patch = diff(&object(&vector["from"]), &object(&vector["to"]));
        assert_eq!(Json::Object(patch), vector["patch"], "{}", vector["id"]);
    }
}

#[test]
fn what_breaks_the_rules_is_refused_by_name() {
    for vector in vectors("validate_reported_edgehub", 22) {
        let reported = match vector["id"].as_str().expect("an id") {
            "value-4096" => json!({ "a": "x".repeat(4096) }),
            "value-4097" => json!({ "a": "x".repeat(4097) }),
            "name-1024" => json!({ "k".repeat(1024): 1 }),
            "name-1025" => json!({ "k".repeat(1025): 1 }),
            "doc-over-32k" => (0..9).map(|n| (format!("k{n}"), Json::from("x".repeat(4000)))).collect(),
            _ => vector["reported"].clone(),
        };
        let mut twin = Twin::default();
        let before = twin.clone();
        let verdict = match twin.patch(Part::Reported, &object(&reported), Timestamp(0)) {
            Ok(()) => "ok",
            Err(error) => {
                assert_eq!(twin, before, "a refused patch changes nothing");
                error.word()
            }
        };
        assert_eq!(verdict, vector["expect"], "{}", vector["id"]);
    }
}

#[test]
fn a_section_cannot_grow_beyond_its_room_patch_by_patch() {
    let mut twin = Twin::default();
    let grown = (0..20).filter(|n| twin.patch(Part::Desired, &object(&json!({ format!("k{n}"): "x".repeat(4000) })), Timestamp(0)).is_ok());
    assert_eq!(grown.count(), 8);
    assert_eq!(twin.desired.version, 9);
}

#[test]
fn every_level_knows_when_it_changed() {
    let mut twin = Twin::default();
    twin.patch(Part::Desired, &object(&json!({ "a": { "b": 1, "c": 2 }, "d": 3 })), Timestamp(0)).expect("fine");
    twin.patch(Part::Desired, &object(&json!({ "a": { "c": null }, "$version": 77 })), Timestamp(1000)).expect("fine");
    let (early, late) = ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.000Z");
    let desired = &twin.for_service()["properties"]["desired"];
    let at = |time: &str, version: u64| json!({ "$lastUpdated": time, "$lastUpdatedVersion": version });
    assert_eq!(
        desired["$metadata"],
        json!({ "$lastUpdated": late, "$lastUpdatedVersion": 3, "d": at(early, 2),
            "a": { "$lastUpdated": late, "$lastUpdatedVersion": 3, "b": at(early, 2) } })
    );
    assert_eq!(twin.for_device(), json!({ "desired": { "a": { "b": 1 }, "d": 3, "$version": 3 }, "reported": { "$version": 1 } }));
    let patch = twin.replace(Part::Desired, &object(&json!({ "d": 4 })), Timestamp(2000)).expect("fine");
    assert_eq!(Json::Object(patch), json!({ "a": null, "d": 4 }));
    assert_eq!(twin.desired.version, 4);
}

fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        "[a-z]{0,3}".prop_map(Json::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            proptest::collection::hash_map("[a-c]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn the_patch_between_two_documents_makes_one_of_the_other(a in document(), b in document()) {
        let clean = |value: &Json| { let mut clean = Object::new(); merge(&mut clean, value.as_object().unwrap_or(&Object::new())); clean };
        let (mut a, b) = (clean(&a), clean(&b));
        let patch = diff(&a, &b);
        merge(&mut a, &patch);
        prop_assert_eq!(a, b);
    }
}
