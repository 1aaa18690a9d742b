//! Lines: wherever and however a key is written, a problem with it names its line.

use super::{FINE, keeps_its_promises, kinds::KINDS, texts};
use crate::config::check_text;

/// What a value may be replaced by.
const VALUES: [&str; 8] = ["true", "17", "2.5", "\"text\"", "[1, 2]", "{ inner = 1 }", "1979-05-27T07:32:00Z", "nan"];

#[test]
fn a_value_of_a_wrong_type_is_named_on_its_own_line_wherever_it_is() {
    let lines: Vec<&str> = FINE.lines().collect();
    let mut refused = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with('#')) else { continue };
        for value in VALUES {
            let changed = format!("{key} = {value}");
            let mut text = lines.clone();
            text[at] = &changed;
            let loaded = check_text(&text.join("\n"), &KINDS);
            keeps_its_promises(&loaded);
            if loaded.config.is_none() {
                refused += 1;
                let named = loaded.problems.iter().any(|problem| problem.line == Some(at + 1));
                // Some errors are about what is missing now: an id makes no leaf.
                assert!(named, "line {}: {changed}: {:?}", at + 1, texts(&loaded.problems));
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_key_that_is_left_out_is_named_at_its_section() {
    let text = FINE.replace("id = \"heater\"\n", "");
    let header = 1 + text.lines().position(|line| line == "[[adapter.device]]").expect("the device");
    let loaded = check_text(&text, &KINDS);
    assert_eq!(
        texts(&loaded.problems),
        [format!("tidegate.toml:{header}: adapter[boiler-bus].device[0].id: is missing; add id: text in quotes")]
    );
}

#[test]
fn an_unknown_key_is_named_in_every_table_and_what_it_holds_is_not_repeated() {
    let lines: Vec<&str> = FINE.lines().collect();
    let mut tables = 0;
    for (at, line) in lines.iter().enumerate().filter(|(at, line)| line.starts_with('[') && lines[at + 1] != "name = \"spare\"") {
        for value in ["\"hunter2\"", "['hunter2']", "{ hunter2 = 'hunter2' }"] {
            let stray = format!("{line}\npaswort = {value}");
            let mut text = lines.clone();
            text[at] = &stray;
            let loaded = check_text(&text.join("\n"), &KINDS);
            keeps_its_promises(&loaded);
            let said = texts(&loaded.problems);
            assert!(
                said.iter().any(|text| text.starts_with(&format!("tidegate.toml:{}:", at + 2)) && text.contains("paswort")),
                "{said:?}"
            );
            assert!(!said.iter().any(|text| text.contains("hunter2")), "{said:?}");
            tables += 1;
        }
    }
    assert!(tables > 20, "{tables}");
}

#[test]
fn a_broken_line_is_not_repeated() {
    for broken in ["password = hunter2", "password = \"hunter2", "hunter2", "[hunter2", "password = 'hunter2' 'hunter2'", "a.'hunter2 = 1"]
    {
        let loaded = check_text(&format!("{FINE}\n{broken}\n"), &KINDS);
        keeps_its_promises(&loaded);
        let said = texts(&loaded.problems);
        assert!(loaded.config.is_none() && !said.iter().any(|text| text.contains("hunter2")), "{said:?}");
    }
}
