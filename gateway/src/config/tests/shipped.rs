//! What we ship is right: the configuration that packages install, the examples of the kinds, and the schema for editors.

use super::{FINE, keeps_its_promises, kinds::KINDS, texts};
use crate::config::{check_text, full_schema, parse, schema, tree};

const SHIPPED: &str = include_str!("../../../../systemd/tidegate.toml");
/// Before an example's section.
const HEAD: &str = "config_version = 1\n[gateway]\nid = \"gw-01\"\n";

#[test]
fn the_shipped_configuration_is_fine_and_says_that_nothing_is_connected_yet() {
    let loaded = check_text(SHIPPED, &crate::kinds());
    assert!(loaded.config.is_some(), "{:?}", texts(&loaded.problems));
    assert_eq!(loaded.problems.len(), 2, "{:?}", texts(&loaded.problems));
}

/// In the shipped file `#key = value` is something to switch on, `# Words` is a comment.
#[test]
fn everything_that_the_shipped_configuration_offers_is_fine_when_it_is_switched_on() {
    let on = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty()).unwrap_or(line).to_owned();
    let text: String = SHIPPED.lines().map(|line| on(line) + "\n").collect();
    let loaded = check_text(&text, &crate::kinds());
    assert_eq!(texts(&loaded.problems), Vec::<String>::new());
    let config = loaded.config.expect("there is no problem");
    assert!(
        !config.adapters.is_empty() && !config.upstreams.is_empty() && config.log.max_size.is_some() && config.metrics.listen.is_some()
    );
}

#[test]
fn the_shipped_configuration_writes_the_defaults_out() {
    let of = |text: &str| check_text(text, &KINDS).config.expect("fine");
    let change = crate::config::difference(&of(SHIPPED), &of(&format!("{HEAD}state_dir = \"/var/lib/tidegate\"\n")));
    assert!(change.is_empty(), "{change:?}");
}

#[test]
fn the_example_of_every_kind_is_fine() {
    let kinds = crate::kinds();
    let adapters = kinds.adapters.iter().map(|kind| (kind.name, kind.example));
    let upstreams = kinds.upstreams.iter().map(|kind| (kind.name, kind.example));
    for (kind, example) in adapters.chain(upstreams) {
        let loaded = check_text(&format!("{HEAD}{example}"), &kinds);
        keeps_its_promises(&loaded);
        let config = loaded.config.unwrap_or_else(|| panic!("{kind}: {:?}", texts(&loaded.problems)));
        let shown = config.adapters.iter().map(|section| section.kind).chain(config.upstreams.iter().map(|section| section.kind));
        let shown: Vec<_> = shown.collect();
        assert!(!shown.is_empty() && shown.iter().all(|of| *of == kind), "{kind}: its example shows {shown:?}");
    }
    assert!(!kinds.adapters.is_empty() && !kinds.upstreams.is_empty());
}

#[test]
fn the_schema_for_editors_agrees_with_the_check() {
    let kinds = KINDS;
    let schema = full_schema(&kinds);
    let problems_of = |text: &str| {
        let parsed = parse::parse(&[(std::path::Path::new("x"), text)]);
        let table = parsed.tables.into_iter().next().flatten().expect("it is TOML");
        let node = tree::Node { mark: tree::Mark::default(), value: tree::Value::Table(table) };
        let mut problems = tidegate_core::problem::Problems::default();
        schema::check(&schema, &node, "", &mut problems);
        texts(problems.list())
    };
    assert_eq!(problems_of(FINE), Vec::<String>::new());
    assert_eq!(problems_of(&FINE.replace("retries", "retrys")), ["adapter[boiler-bus].retrys: is not a key here; did you mean retries?"]);
    assert_eq!(schema["properties"]["log"]["additionalProperties"], false);
    assert_eq!(schema["properties"]["log"]["properties"]["commit_interval"]["default"], "500ms");
}

#[test]
fn an_interlock_on_a_point_that_does_not_exist_is_named() {
    let device = |id: &str, unit: u8, lock: &str| {
        format!(
            "[[adapter.device]]\nid = \"{id}\"\nunit = {unit}\n[[adapter.device.point]]\nname = \"limit\"\nregister = \"holding\"\naddress = 1\n\
             writable = true\ninterlock = {{ {lock} }}\n"
        )
    };
    let head = format!("{HEAD}[[adapter]]\nname = \"plant\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"192.0.2.7\"\n");
    let fine = device("fan", 1, "leaf = \"boiler\", point = \"limit\", max = 3");
    let text = format!("{head}{fine}{}", device("boiler", 2, "point = \"pump\", is = false"));
    let loaded = check_text(&text, &crate::kinds());
    let line = "adapter[plant].device[boiler]: point limit has an interlock on pump of boiler, which does not exist";
    assert!(texts(&loaded.problems).iter().any(|text| text.contains(line)), "{:?}", texts(&loaded.problems));
    assert_eq!(loaded.problems.iter().filter(|problem| problem.what.contains("interlock")).count(), 1);
}
