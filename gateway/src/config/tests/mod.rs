//! The configuration's promises, held against golden folders, hostile texts and random changes.

mod comparing;
mod golden;
mod hostile;
mod kinds;
mod places;
mod shipped;

use proptest::test_runner::{Config as Proptest, RngSeed};
use tidegate_core::problem::{Problem, Severity};

use super::{Config, Loaded, check_text};

/// A configuration that has every own section and both kinds of sections, and nothing wrong with it.
const FINE: &str = include_str!("../cases/fine/tidegate.toml");

/// Of a text that has nothing wrong with it.
fn fine(text: &str) -> Config {
    let loaded = check_text(text, &kinds::KINDS);
    assert_eq!(texts(&loaded.problems), Vec::<String>::new());
    loaded.config.expect("there is no problem")
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// What holds for every text.
fn keeps_its_promises(loaded: &Loaded) {
    let any_error = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(loaded.config.is_none(), any_error, "{:?}", texts(&loaded.problems));
    assert!(loaded.problems.len() <= 201);
    for problem in &loaded.problems {
        let text = problem.to_string();
        assert!(text.len() < 10_000 && !text.contains(char::is_control), "{text:?}");
        assert!(!problem.next.is_empty(), "what is to be done about {text}");
    }
}

/// Random tests that fail the same way twice; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look further.
pub(super) fn steady(cases: u32) -> Proptest {
    let given = Proptest::default();
    let rng_seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(7) } else { given.rng_seed };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    Proptest { cases, rng_seed, failure_persistence: None, ..given }
}
