//! Edits keep what they do not change, to the byte.

use serde_json::json;

use super::*;

const MAIN: &str = r#"# What this gateway is.
config_version = 1

[gateway]
id = "gw-01"   # never change this

[log]
max_size = "64MiB" # a tenth
"#;

const BOILER: &str = r#"# The boiler house.
[[adapter]]
name = "plant"
kind = "modbus" # over TCP

# The big one.
[[adapter.device]]
id = "boiler"
unit = 0x10
point = [
    # Inlet.
    { name = "temperature", address = 100, scale = 0.1 }, # in tenths
    { name = "pump", address = 3 },
]
"#;

fn files() -> Vec<Draft> {
    let file = |name: &str, text: &str| Draft { name: name.into(), text: text.into() };
    vec![file("tidegate.toml", MAIN), file("devices.d/boiler.toml", BOILER)]
}

fn edit(edit: serde_json::Value) -> Result<Vec<Draft>, EditError> {
    let mut files = files();
    apply(&mut files, "tidegate.toml", &serde_json::from_value(edit).expect("an edit"))?;
    Ok(files)
}

fn boiler(change: serde_json::Value) -> String {
    edit(change).expect("edited").remove(1).text
}

#[test]
fn a_value_changes_and_nothing_around_it_does() {
    let changed = boiler(json!({ "at": ["adapter", "plant", "device", "boiler", "point", "temperature", "scale"], "set": 0.01 }));
    assert_eq!(changed, BOILER.replace("scale = 0.1 }", "scale = 0.01 }"));
    let changed = edit(json!({ "at": ["log", "max_size"], "set": "1GiB" })).expect("edited").remove(0).text;
    assert_eq!(changed, MAIN.replace("\"64MiB\"", "\"1GiB\""));
}

#[test]
fn a_value_that_is_the_same_stays_as_it_was_written() {
    let changed = boiler(json!({ "at": ["adapter", 0, "device", 0, "unit"], "set": 16 }));
    assert_eq!(changed, BOILER);
}

#[test]
fn values_and_entries_are_added_and_taken_away() {
    let changed = boiler(json!({ "at": ["adapter", "plant", "device", "boiler", "interval"], "set": "1s" }));
    assert!(changed.contains("interval = \"1s\""), "{changed}");
    let changed = boiler(json!({ "at": ["adapter", "plant", "device", "boiler", "point", "pump"], "remove": true }));
    assert!(!changed.contains("pump") && changed.contains("# in tenths"), "{changed}");
    let changed = boiler(json!({ "at": ["adapter", "plant", "device", "boiler", "point"], "append": { "name": "level", "address": 7 } }));
    assert!(
        changed.contains("\n    { name = \"level\", address = 7 }") || changed.contains("{ address = 7, name = \"level\" }"),
        "{changed}"
    );
    let changed =
        boiler(json!({ "at": ["adapter", "plant", "device"], "append": { "id": "small", "unit": 2, "point": [{ "name": "t" }] } }));
    assert!(changed.contains("[[adapter.device]]\nid = \"small\"") && changed.contains("[[adapter.device.point]]"), "{changed}");
    let changed = edit(json!({ "at": ["metrics", "listen"], "set": "127.0.0.1:9464" })).expect("edited").remove(0).text;
    assert!(changed.starts_with(MAIN) && changed.ends_with("[metrics]\nlisten = \"127.0.0.1:9464\"\n"), "{changed}");
}

#[test]
fn a_new_section_goes_into_the_file_that_is_named() {
    let section = json!({ "name": "line", "kind": "serial", "device": [{ "id": "scale" }] });
    let files = edit(json!({ "at": ["adapter"], "append": section, "file": "devices.d/new.toml" })).expect("edited");
    assert_eq!(files[2].name, "devices.d/new.toml");
    let parsed: toml::Table = files[2].text.parse().expect("TOML");
    assert_eq!(parsed["adapter"][0]["device"][0]["id"].as_str(), Some("scale"));
}

#[test]
fn a_whole_section_is_replaced_where_it_stands() {
    let section = json!({ "_file": "x", "name": "plant", "kind": "modbus", "address": "h:502", "device": [] });
    let changed = boiler(json!({ "at": ["adapter", "plant"], "set": section }));
    assert!(changed.starts_with("# The boiler house.\n[[adapter]]\nname = \"plant\"\nkind = \"modbus\" # over TCP\n"), "{changed}");
    assert!(changed.contains("address = \"h:502\"") && !changed.contains("_file") && !changed.contains("boiler\""), "{changed}");
    let gone = boiler(json!({ "at": ["adapter", "plant"], "remove": true }));
    assert!(!gone.contains("[[adapter]]"), "{gone}");
}

#[test]
fn what_leads_nowhere_is_named() {
    let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
    for bad in [
        json!({ "at": [], "set": 1 }),
        json!({ "at": [7], "set": 1 }),
        json!({ "at": ["adapter", "nobody", "name"], "set": "x" }),
        json!({ "at": ["adapter", 9], "remove": true }),
        json!({ "at": ["log", "max_size", "deeper"], "set": 1 }),
        json!({ "at": ["log", "nothing"], "remove": true }),
        json!({ "at": ["log", "max_size"] }),
        json!({ "at": ["log", "max_size"], "set": 1, "remove": true }),
        json!({ "at": ["log", "max_size"], "append": 1 }),
        json!({ "at": ["log", "x"], "set": u64::MAX }),
        json!({ "at": ["log", "x"], "set": [null] }),
        json!({ "at": ["log", "x"], "set": deep }),
        json!({ "at": ["adapter", "plant", "device", "boiler"], "set": 7 }),
    ] {
        let error = edit(bad.clone()).expect_err("leads nowhere");
        assert!(!error.what.is_empty() && !error.next.is_empty(), "{bad}");
    }
    let mut files = files();
    files[0].text = "= nonsense".into();
    let error = apply(&mut files, "tidegate.toml", &serde_json::from_value(json!({ "at": ["log", "x"], "set": 1 })).expect("an edit"));
    assert!(error.expect_err("no TOML").what.contains("is not TOML"));
}
