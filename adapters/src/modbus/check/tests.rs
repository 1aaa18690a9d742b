//! What is accepted. What is refused, and in which words, is in `cases/*/problems.txt`.

use proptest::prelude::*;
use tidegate_core::clock::SystemClock;

use super::*;

const EXAMPLE: &str = include_str!("../example.toml");

/// The first section of the text as the check sees it.
fn section(text: &str) -> Json {
    let file: Json = toml::from_str(text).expect("TOML");
    let mut section = file["adapter"][0].clone();
    let keys = section.as_object_mut().expect("a table");
    keys.remove("name");
    keys.remove("kind");
    section
}

fn checked(text: &str) -> (Option<AdapterPlan>, Vec<String>) {
    let mut problems = Problems::default();
    let plan = check(&section(text), &mut problems);
    (plan, problems.list().iter().map(ToString::to_string).collect())
}

#[test]
fn the_example_is_accepted_and_makes_an_adapter() {
    let (plan, problems) = checked(EXAMPLE);
    assert_eq!(problems, Vec::<String>::new());
    let plan = plan.expect("no problem");
    let points: Vec<_> = plan.leaves.iter().map(|leaf| (leaf.id.as_str(), leaf.points.len())).collect();
    assert_eq!(points, [("boiler", 4), ("meter", 3)]);
    assert_eq!(plan.leaves[0].properties.get("site"), Some("hall 3"));
    let _adapter = (plan.build)(SystemClock::new("boot"));
}

#[test]
fn a_serial_port_is_for_one_adapter_alone() {
    let (plan, problems) = checked(
        "[[adapter]]\ntransport = \"rtu\"\nport = \"/dev/ttyUSB0\"\n[[adapter.device]]\nid = \"a\"\nunit = 1\n\
         [[adapter.device.point]]\nname = \"p\"\nregister = \"input\"\naddress = 0\n",
    );
    assert_eq!((plan.expect("fine").exclusive, problems.len()), (vec!["/dev/ttyUSB0".to_owned()], 0));
}

#[test]
fn addresses_have_a_port_or_get_the_usual_one() {
    let parsed = |text| host_and_port(text);
    let host = |host: &str, port| Some((host.to_owned(), port));
    assert_eq!(parsed("192.0.2.7"), host("192.0.2.7", 502));
    assert_eq!(parsed("plc.example:1502"), host("plc.example", 1502));
    assert_eq!(parsed("[2001:db8::7]:1502"), host("2001:db8::7", 1502));
    assert_eq!(parsed("2001:db8::7"), host("2001:db8::7", 502));
    for bad in ["", ":502", "a b", "plc:0", "plc:99999", "[::1", "[::1]x", "tcp://plc"] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}

#[test]
fn a_line_that_is_too_slow_for_its_polls_is_a_warning() {
    let mut text = "[[adapter]]\ntransport = \"rtu\"\nport = \"/dev/ttyUSB0\"\nbaud = 1200\n".to_owned();
    for unit in 1..=5 {
        text += &format!(
            "[[adapter.device]]\nid = \"u{unit}\"\nunit = {unit}\ninterval = \"100ms\"\n\
             [[adapter.device.point]]\nname = \"p\"\nregister = \"input\"\naddress = 0\n"
        );
    }
    let (plan, problems) = checked(&text);
    assert!(plan.is_some(), "a warning stops nothing");
    assert!(problems.len() == 1 && problems[0].starts_with("warning: baud: at 1200 baud the polls take"), "{problems:?}");
}

/// Every place in a document, as pointers.
fn places(json: &Json, at: &str, found: &mut Vec<String>) {
    match json {
        Json::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found)),
        Json::Array(list) => list.iter().enumerate().for_each(|(i, value)| places(value, &format!("{at}/{i}"), found)),
        _ => found.push(at.to_owned()),
    }
}

proptest! {
    #[test]
    fn whatever_stands_there_is_accepted_or_refused_with_a_reason(
        at in any::<prop::sample::Index>(),
        put in prop_oneof![
            any::<i64>().prop_map(Json::from), any::<f64>().prop_map(Json::from), any::<bool>().prop_map(Json::from), Just(Json::Null),
            ".{0,20}".prop_map(Json::from), Just(Json::from("0s")), Just(Json::from("999999999d")), Just(serde_json::json!([])), Just(serde_json::json!({})),
        ],
    ) {
        let mut section = section(EXAMPLE);
        let mut all = Vec::new();
        places(&section, "", &mut all);
        *section.pointer_mut(&all[at.index(all.len())]).expect("it was found there") = put;
        let mut problems = Problems::default();
        let plan = check(&section, &mut problems);
        prop_assert_eq!(plan.is_none(), problems.any_error());
    }
}
