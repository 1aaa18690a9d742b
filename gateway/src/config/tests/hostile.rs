//! Texts that nobody means well with, and random changes to good ones: always an answer, soon.

use std::{
    fs,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{FINE, keeps_its_promises, kinds::KINDS, steady, texts};
use crate::config::{check_text, load};

/// Unoptimised, on a busy machine. What takes longer has stopped being proportional to the text.
const SOON: Duration = Duration::from_secs(30);

/// A section that waits for its devices.
const LINE: &str = "[[adapter]]\nname = \"long\"\nkind = \"line\"\ntransport = \"tcp\"\naddress = \"192.0.2.9:502\"\n";

fn is_refused_soon(what: &str, text: &str) {
    let begin = Instant::now();
    let loaded = check_text(text, &KINDS);
    keeps_its_promises(&loaded);
    assert!(loaded.config.is_none(), "{what}");
    assert!(begin.elapsed() < SOON, "{what} took {:?}", begin.elapsed());
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let dotted = vec!["b"; 79].join(".");
    is_refused_soon("brackets", &format!("a = {}", "[".repeat(1 << 20)));
    is_refused_soon("braces", &format!("a = {}", "{a=".repeat(300_000)));
    is_refused_soon("dots", &format!("a{} = 1", ".a".repeat(500_000)));
    is_refused_soon("dots in braces", &format!("a = {}1{}", format!("{{{dotted} = ").repeat(79), "}".repeat(79)));
    is_refused_soon(
        "as deep as the parser goes",
        &format!("[{dotted}]\n{dotted} = {}1{}", format!("{{{dotted} = ").repeat(78), "}".repeat(78)),
    );
}

#[test]
fn a_megabyte_of_keys_or_sections_is_refused() {
    is_refused_soon("keys", &(0..100_000).map(|n| format!("k{n} = 1\n")).collect::<String>());
    is_refused_soon("sections", &"[[adapter]]\n".repeat(80_000));
    is_refused_soon("devices", &format!("{FINE}\n{LINE}{}", "[[adapter.device]]\n".repeat(50_000)));
    is_refused_soon("tables", &(0..60_000).map(|n| format!("[a.t{n}.x]\n")).collect::<String>());
    is_refused_soon("values", &format!("a = [{}]", "1,".repeat(500_000)));
    is_refused_soon("one long key", &format!("{FINE}\n{} = 1", "k".repeat(900_000)));
    is_refused_soon("one long value", &FINE.replace("\"in-order\"", &format!("\"{}\"", "v".repeat(900_000))));
}

#[test]
fn more_problems_than_anybody_reads_are_cut_off_and_it_is_said() {
    let loaded = check_text(&format!("{FINE}\n{LINE}{}", "[[adapter.device]]\n".repeat(500)), &KINDS);
    let said = texts(&loaded.problems);
    assert_eq!(said.len(), 201);
    assert_eq!(said[200], "there are more problems than the 200 that are listed; mend these and check again");
}

#[test]
fn two_hundred_warnings_do_not_hide_an_error() {
    let device = |n| format!("[[adapter.device]]\nid = \"unlucky-{n}\"\nunit = 13\n");
    let many: String = (0..300).map(device).collect();
    let only_warnings = check_text(&format!("{FINE}\n{LINE}{many}"), &KINDS);
    keeps_its_promises(&only_warnings);
    assert!(only_warnings.config.is_some());
    for mistake in
        ["[[adapter]]\nname = \"boiler-bus\"\nkind = \"wide\"\n", "[[upstream]]\nname = \"x\"\nkind = \"?\"\n", &device(0), "[logg]\n"]
    {
        let loaded = check_text(&format!("{FINE}\n{LINE}{many}\n{mistake}"), &KINDS);
        keeps_its_promises(&loaded);
        assert!(loaded.config.is_none(), "{mistake}");
    }
}

#[test]
fn files_that_are_none_or_too_large_or_too_many_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let devices = folder.path().join("devices.d");
    fs::create_dir_all(devices.join("folder.toml")).expect("a folder");
    fs::write(folder.path().join("tidegate.toml"), FINE).expect("a file");
    fs::write(devices.join("large.toml"), "#".repeat((1 << 20) + 1)).expect("a file");
    fs::write(devices.join("ignored.toml~"), "not TOML").expect("a file");
    fs::write(devices.join(".#hidden.toml"), "not TOML").expect("a file");
    std::os::unix::fs::symlink("/nowhere", devices.join("dangling.toml")).expect("a link");
    let pipe = devices.join("pipe.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
    let loaded = load(folder.path(), &KINDS);
    keeps_its_promises(&loaded);
    let what = ["points to nothing", "is not a file", "is larger than 1 MiB", "is not a file"];
    assert_eq!(loaded.problems.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>(), what);

    fs::remove_dir_all(&devices).expect("ours");
    fs::create_dir(&devices).expect("a folder");
    (0..256).for_each(|n| fs::write(devices.join(format!("{n}.toml")), "").expect("a file"));
    let loaded = load(folder.path(), &KINDS);
    assert_eq!(loaded.problems[0].what, "the configuration has more than 256 files");
    (0..251).for_each(|n| fs::remove_file(devices.join(format!("{n}.toml"))).expect("ours"));
    (251..256).for_each(|n| fs::write(devices.join(format!("{n}.toml")), "#".repeat(1 << 20)).expect("a file"));
    let loaded = load(folder.path(), &KINDS);
    keeps_its_promises(&loaded);
    assert_eq!(loaded.problems[0].what, "the configuration's files are larger than 4 MiB together");
}

#[test]
fn a_configuration_that_is_not_there_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("other.toml"), folder.path().join("no/such/folder")] {
        let loaded = load(&path, &KINDS);
        keeps_its_promises(&loaded);
        assert_eq!(loaded.problems.len(), 1);
        assert!(loaded.problems[0].to_string().contains("does not exist; create it"), "{}", loaded.problems[0]);
    }
}

/// What means something in TOML, or to us, or to a terminal.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "[", "]", "[[", "]]", "{", "}", "\"", "'", "\"\"\"", "=", ".", ",", "#", "\n", "\r", "\0", "\u{1b}[2J", "ü", "-1", "1e999", "nan", "true",
    "0x", "1979-05-27", "9223372036854775807", "[[adapter]]\n", "[adapter]\n", "[[upstream]]\n", "kind = \"wide\"\n", "a.b.c = 1\n",
];

/// Something to put into a text.
fn piece() -> impl Strategy<Value = String> {
    let taken_from = |text: &'static str| {
        any::<prop::sample::Index>().prop_map(move |at| {
            let lines: Vec<&str> = text.lines().collect();
            format!("{}\n", lines[at.index(lines.len())])
        })
    };
    prop_oneof![taken_from(FINE), prop::sample::select(PIECES).prop_map(str::to_owned), "\\PC{0,8}",]
}

proptest! {
    #![proptest_config(steady(400))]

    #[test]
    fn random_changes_end_in_a_configuration_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..30usize, piece()), 1..6),
    ) {
        let mut text = FINE.to_owned();
        for (at, remove, piece) in changes {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let from = at.index(starts.len());
            let to = (from + remove).min(starts.len() - 1);
            text.replace_range(starts[from]..starts[to], &piece);
        }
        keeps_its_promises(&check_text(&text, &KINDS));
    }

    #[test]
    fn random_lines_in_random_order_end_in_a_configuration_or_an_error(
        lines in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let all: Vec<&str> = FINE.lines().collect();
        let text: String = lines.iter().map(|at| format!("{}\n", all[at.index(all.len())])).collect();
        keeps_its_promises(&check_text(&text, &KINDS));
    }

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("tidegate.toml"), bytes).expect("a file");
        let loaded = load(folder.path(), &KINDS);
        keeps_its_promises(&loaded);
        prop_assert!(loaded.config.is_none());
    }
}
