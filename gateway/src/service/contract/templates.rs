//! Models: listed with what they know, recognised on a device, and used by a line.

use tidegate_adapters::modbus::{plan::Table, simulator::Simulator, transport::Framing};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_device_that_was_found_is_recognised_by_its_values_and_set_up_by_the_name_of_its_model() {
    let house = house().await;
    let cookie = house.claim().await;
    let all = house.page(&cookie, "GET", "/templates", Json::Null).await.json();
    let names: Vec<_> = all["items"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    for name in ["eastron-sdm120", "pzem-004t", "xy-md02"] {
        assert!(names.contains(&json!(name)), "{names:?}");
    }
    // 30.5 °C and 54.6 %, as the sensor's manual has them.
    let simulator = Simulator::new();
    simulator.set(1, Table::Input, 1, &[0x0131, 0x0222]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(simulator.clone().serve_tcp(listener, Framing::Mbap));
    let section = json!({
        "name": "plant", "kind": "modbus", "transport": "tcp", "address": address.to_string(), "device": [{ "id": "unit-1", "unit": 1 }]
    });
    let matches = house.page(&cookie, "POST", "/templates/match", json!({ "section": section })).await;
    assert_eq!(matches.status, 200, "{matches:?}");
    let matches = matches.json();
    let fitting: Vec<_> = matches["items"].as_array().expect("a list").iter().filter(|one| one["fits"] == true).collect();
    assert_eq!(fitting.len(), 1, "{matches}");
    assert_eq!((&fitting[0]["template"], &fitting[0]["values"][0]["value"]), (&json!("xy-md02"), &json!(30.5)));
    assert!(simulator.writes(1).is_empty());
    let edit = json!({
        "at": ["adapter"], "file": "devices.d/plant.toml",
        "append": { "name": "plant", "kind": "modbus", "transport": "tcp", "address": address.to_string(),
                    "device": [{ "id": "hall", "unit": 1, "template": "xy-md02", "without": ["humidity"] }] }
    });
    let edited = house.page(&cookie, "POST", "/config/edit", json!({ "files": {}, "edits": [edit] })).await.json();
    assert_eq!((&edited["check"]["ok"], &edited["check"]["forecast"]["after"]["per_minute"]), (&json!(true), &json!(6.0)), "{edited}");
    for section in [json!({}), json!({ "kind": "modbus" }), json!({ "kind": "modbus", "device": [] }), json!(1)] {
        let refused = house.page(&cookie, "POST", "/templates/match", json!({ "section": section })).await;
        assert_eq!(refused.status, 422, "{refused:?}");
    }
}

/// A device as a template's case has it: what its registers hold, and what that means.
#[derive(serde::Deserialize)]
struct Case {
    registers: BTreeMap<String, BTreeMap<u16, Vec<u16>>>,
    values: BTreeMap<String, Json>,
}

#[tokio::test]
async fn every_packaged_template_reads_its_case_as_its_document_says() {
    let house = house().await;
    let cookie = house.claim().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/templates");
    for template in house.page(&cookie, "GET", "/templates", Json::Null).await.json()["items"].as_array().expect("a list") {
        let name = template["name"].as_str().expect("a name");
        let case = std::fs::read_to_string(folder.join(format!("{name}.case.json"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let case: Case = serde_json::from_str(&case).unwrap_or_else(|error| panic!("{name}: {error}"));
        let simulator = Simulator::new();
        for (table, blocks) in &case.registers {
            let table = match table.as_str() {
                "input" => Table::Input,
                "holding" => Table::Holding,
                "coil" => Table::Coil,
                _ => Table::Discrete,
            };
            blocks.iter().for_each(|(address, words)| simulator.set(1, table, *address, words));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(simulator.serve_tcp(listener, Framing::Mbap));
        let section = format!(
            "[[adapter]]\nname = \"a\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"{address}\"\n[[adapter.device]]\nid = \"d\"\nunit = 1\ntemplate = \"{name}\"\n"
        );
        let looks = house.page(&cookie, "POST", "/look", json!({ "section": section })).await;
        assert_eq!(looks.status, 200, "{name}: {looks:?}");
        let looks = looks.json();
        let lines = looks["items"][0]["lines"].as_array().expect("lines");
        let read: BTreeMap<String, Json> =
            lines.iter().map(|line| (line["point"].as_str().expect("a name").to_owned(), line["value"].clone())).collect();
        assert_eq!(read, case.values, "{name}");
        assert_eq!(template["points"].as_array().map(Vec::len), Some(case.values.len()), "{name}: every point is in its case");
    }
}
