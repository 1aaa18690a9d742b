//! Templates as the configuration uses them, and the packaged ones.

use tidegate_core::problem::Severity;

use super::*;
use crate::config::{check_text, draft};

const HEAD: &str = "config_version = 1\n[gateway]\nid = \"gw\"\n[[adapter]]\nname = \"bus\"\nkind = \"modbus\"\ntransport = \"tcp\"\naddress = \"192.0.2.1\"\n[[adapter.device]]\nid = \"meter\"\nunit = 1\n";

fn errors(text: &str) -> Vec<String> {
    check_text(&format!("{HEAD}{text}"), &crate::kinds())
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .map(ToString::to_string)
        .collect()
}

fn names(text: &str) -> Vec<String> {
    let loaded = check_text(&format!("{HEAD}{text}"), &crate::kinds());
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    config.adapters[0].plan.leaves[0].points.iter().map(|point| point.name.to_string()).collect()
}

#[test]
fn every_packaged_template_runs_with_nothing_but_an_id_and_a_unit_and_says_where_its_facts_come_from() {
    let all = list(&[], &crate::kinds());
    assert!(all.len() >= 5);
    for template in all {
        assert!(!names(&format!("template = \"{}\"\n", template.name)).is_empty(), "{}", template.name);
        let about = &template.about;
        assert!(template.packaged && about.source.len() > 20 && about.notes.len() > 20 && !about.models.is_empty(), "{}", template.name);
        let points = names(&format!("template = \"{}\"\n", template.name));
        assert!(about.expect.keys().all(|name| points.contains(name)), "{}", template.name);
        // What it advises for the bus is understood by the kind.
        let bus: String = about.bus.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let text = format!(
            "config_version = 1\n[gateway]\nid = \"gw\"\n[[adapter]]\nname = \"bus\"\nkind = \"{}\"\n{bus}port = \"/dev/ttyS0\"\n",
            about.kind
        );
        let loaded = check_text(&text, &crate::kinds());
        assert!(loaded.config.is_some(), "{}: {:?}", template.name, loaded.problems);
    }
}

#[test]
fn a_device_lays_its_keys_and_points_over_the_template_s() {
    let text = "template = \"xy-md02\"\ninterval = \"1min\"\n[[adapter.device.point]]\nname = \"humidity\"\nscale = 0.01\n\
                [[adapter.device.point]]\nname = \"address\"\nregister = \"holding\"\naddress = 257\n";
    let loaded = check_text(&format!("{HEAD}{text}"), &crate::kinds());
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    let plan = &config.adapters[0].plan;
    let points = &plan.leaves[0].points;
    let told: Vec<_> = points.iter().map(|point| (point.name.as_str(), point.scale, point.unit.as_deref())).collect();
    assert_eq!(told, [("temperature", 0.1, Some("°C")), ("humidity", 0.01, Some("%")), ("address", 1.0, None)]);
    assert_eq!(plan.pace, [Some(1.0)], "once a minute, and not as the template says");
    assert_eq!(names("template = \"xy-md02\"\nwithout = [\"humidity\"]\n"), ["temperature"]);
}

#[test]
fn what_names_no_template_is_told_with_the_nearest_and_its_line() {
    for (text, what) in [
        (
            "template = \"eastron-sdm12\"\n",
            "tidegate.toml:12: adapter[bus].device[meter].template: 'eastron-sdm12' is no template; write one of: eastron-sdm120,",
        ),
        ("template = 7\n", "is not a name"),
        ("without = [\"x\"]\n", "has no meaning without a template"),
        ("template = \"xy-md02\"\nwithout = [\"pressure\"]\n", "'pressure' is no point of the template"),
        ("template = \"xy-md02\"\nwithout = 1\n", "is not a list of names"),
        (
            "template = \"xy-md02\"\n[[adapter.device.point]]\nname = \"humidity\"\nscale = 0\n",
            "tidegate.toml:15: adapter[bus].device[meter].point[humidity].scale",
        ),
    ] {
        let errors = errors(text);
        assert!(errors.len() == 1 && errors[0].contains(what), "{errors:?}");
    }
    let other = "config_version = 1\n[gateway]\nid = \"gw\"\n[[adapter]]\nname = \"radio\"\nkind = \"ble\"\n[[adapter.device]]\nid = \"a\"\naddress = \"A4:C1:38:8D:18:B2\"\ntemplate = \"xy-md02\"\n";
    let problems = check_text(other, &crate::kinds()).problems;
    assert!(problems.iter().any(|problem| problem.to_string().contains("is for adapters of kind modbus")), "{problems:?}");
}

#[test]
fn a_template_of_the_site_goes_before_a_packaged_one_and_its_mistakes_are_told_in_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| draft::Draft { name: name.into(), text: text.into() };
    let own = "brand = \"Ours\"\nkind = \"modbus\"\nsummary = \"as we know it\"\n[device]\n[[device.point]]\nname = \"t\"\nregister = \"input\"\naddress = 1\n";
    let main = format!("{HEAD}template = \"xy-md02\"\n");
    let check =
        |own: &str| draft::check(dir.path(), &[file("tidegate.toml", &main), file("templates.d/xy-md02.toml", own)], &crate::kinds());
    let config = check(own).config.expect("runs");
    assert_eq!(config.adapters[0].plan.leaves[0].points.len(), 1);
    for (wrong, place) in [
        (own.replace("\"input\"", "\"inputs\""), "templates.d/xy-md02.toml:7"),
        (own.replace("brand", "brend"), "templates.d/xy-md02.toml"),
        (own.replace("address = 1", "address = 70000"), "templates.d/xy-md02.toml:8"),
        (own.replace("[device]", "[device"), "templates.d/xy-md02.toml:4"),
    ] {
        let problems = check(&wrong).problems;
        assert!(problems.iter().any(|problem| problem.to_string().contains(place)), "{place}: {problems:?}");
    }
    let listed = list(&[file("templates.d/xy-md02.toml", own), file("templates.d/bad.toml", "x")], &crate::kinds());
    let ours = listed.iter().find(|one| one.name == "xy-md02").expect("listed");
    assert_eq!((ours.packaged, ours.about.brand.as_str(), listed.iter().any(|one| one.name == "bad")), (false, "Ours", false));
}
