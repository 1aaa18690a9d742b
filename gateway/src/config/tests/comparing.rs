//! Two configurations beside each other: what a reload has to restart.

use tidegate_core::id::Name;

use super::{FINE, fine};
use crate::config::difference;

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::new(name).expect("a name")).collect()
}

fn changed(from: &str, to: &str) -> String {
    assert!(FINE.contains(from), "{from}");
    FINE.replace(from, to)
}

#[test]
fn comments_and_the_order_of_keys_are_no_change() {
    let text = changed("retries = 2\n", "");
    let text = text.replacen("kind = \"line\"\n", "# It was like this before.\nretries = 2\nkind = 'line'\n", 1);
    assert!(difference(&fine(FINE), &fine(&text)).is_empty());
}

#[test]
fn only_the_section_that_changed_is_named() {
    let change = difference(&fine(FINE), &fine(&changed("retries = 2", "retries = 3")));
    assert_eq!(change.adapters.changed, names(&["boiler-bus"]));
    assert_eq!((change.adapters.added.len(), change.adapters.removed.len(), change.restart_needed.len()), (0, 0, 0));
    assert_eq!(change.upstreams, Default::default());
}

#[test]
fn a_section_under_another_name_is_one_removed_and_one_added() {
    let change = difference(&fine(FINE), &fine(&changed("name = \"cloud\"", "name = \"sky\"")));
    assert_eq!((change.upstreams.removed, change.upstreams.added), (names(&["cloud"]), names(&["sky"])));
}

#[test]
fn a_section_switched_off_is_removed_and_an_upstream_keeps_its_place_in_the_log() {
    let new = fine(
        &changed("name = \"cloud\"", "name = \"cloud\"\nenabled = false").replace("name = \"second\"", "name = \"second\"\nenabled = true"),
    );
    assert_eq!(difference(&fine(FINE), &new).upstreams.removed, names(&["cloud"]));
    assert!(new.knows_upstream(&names(&["cloud"])[0]) && new.knows_upstream(&names(&["second"])[0]));
    assert!(!new.knows_upstream(&names(&["third"])[0]));
}

#[test]
fn changes_of_the_gateways_own_sections_need_a_restart() {
    for (section, from, to) in [
        ("gateway", "id = \"gw-01\"", "id = \"gw-02\""),
        ("log", "commit_interval = \"500ms\"", "commit_interval = \"1s\""),
        ("body", "units = false", "units = true"),
        ("clock", "wait = \"5min\"", "wait = \"6min\""),
        ("metrics", "listen = \"127.0.0.1:9464\"", "listen = \"127.0.0.1:9465\""),
        ("diagnostics", "level = \"info\"", "level = \"debug\""),
        ("endpoint", "plain = \"127.0.0.1:1883\"", "plain = \"127.0.0.1:1884\""),
    ] {
        let change = difference(&fine(FINE), &fine(&changed(from, to)));
        assert_eq!(change.restart_needed, [section]);
        assert_eq!(change.view()["restart_needed"][0], section);
    }
}
