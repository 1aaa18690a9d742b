//! What must not leave: known by its content, or by its form.

use std::{borrow::Cow, path::Path, sync::LazyLock};

use regex::{Captures, Regex};

use crate::examine::{Scene, secret_files};

/// What stands instead.
const GONE: &str = "(removed)";
/// Shorter ones would tear words apart; a password that short is found by no pattern either.
const SHORTEST: usize = 6;
/// Texts that are looked for.
const MOST: usize = 4096;

/// Secrets by their form, wherever they came from: the name stays, the value goes.
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?i)(SharedAccessKey\s*=\s*)([^;\s\x22&]+)",
        r"(?i)(\bsig=)([^&\s\x22]+)",
        r"(?i)(\bBearer\s+)([\w.~+/=-]+)",
        r"()(\btg_[A-Za-z0-9_-]{8,})",
        r"(?i)((?:password|passwd|secret|bindkey|api_key|token)[\x22']?\s*[:=]\s*[\x22']?)([^\s\x22',;}]+)",
        r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@]+:)([^\s/@]+)",
        r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    ]
    .iter()
    .filter_map(|form| Regex::new(form).ok())
    .collect()
});

/// What must not be told.
#[derive(Default)]
pub struct Secrets {
    /// Longest first, so that a part of one does not leave the rest of it.
    texts: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.texts.len())
    }
}

impl Secrets {
    /// All that this gateway has in files.
    pub fn of(scene: &Scene, config_path: &Path) -> Self {
        let mut texts = Vec::new();
        for (_, content) in secret_files(scene, config_path) {
            for line in content.lines().map(str::trim).filter(|line| !line.starts_with("-----")) {
                texts.push(line.to_owned());
                // Parts of a connection string; the host and the device are none.
                let values =
                    line.split(';').filter_map(|part| part.split_once('=')).filter(|(name, _)| name.to_ascii_lowercase().contains("key"));
                texts.extend(values.map(|(_, value)| value.to_owned()));
            }
        }
        Self::those(texts)
    }

    fn those(mut texts: Vec<String>) -> Self {
        texts.retain(|text| text.chars().count() >= SHORTEST);
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        texts.truncate(MOST);
        Self { texts }
    }

    /// The text without them, and how many were taken out.
    pub fn remove(&self, text: &str) -> (String, usize) {
        let mut count = 0;
        let mut clean = Cow::Borrowed(text);
        for secret in &self.texts {
            let found = clean.matches(secret.as_str()).count();
            if found > 0 {
                count += found;
                clean = Cow::Owned(clean.replace(secret.as_str(), GONE));
            }
        }
        for form in FORMS.iter() {
            let replaced = form.replace_all(&clean, |found: &Captures<'_>| {
                let kept = found.get(1).map_or("", |kept| kept.as_str());
                let gone = found.get(2).is_some_and(|value| value.as_str() == GONE);
                count += usize::from(!gone);
                format!("{kept}{GONE}")
            });
            if let Cow::Owned(replaced) = replaced {
                clean = Cow::Owned(replaced);
            }
        }
        (clean.into_owned(), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_known_and_what_is_around_stays() {
        let none = Secrets::default();
        assert_eq!(FORMS.len(), 7);
        for (text, clean) in [
            ("HostName=h;SharedAccessKey=abc=;x=1", "HostName=h;SharedAccessKey=(removed);x=1"),
            ("sr=h&sig=a%2Fb%3D&se=17", "sr=h&sig=(removed)&se=17"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer (removed)"),
            ("made tg_0123456789abcdef now", "made (removed) now"),
            ("password = \"hunter2\" # no", "password = \"(removed)\" # no"),
            ("{\"password\":\"hunter2\"}", "{\"password\":\"(removed)\"}"),
            ("mqtt://ada:hunter2@h:1883", "mqtt://ada:(removed)@h:1883"),
            ("password_file = \"secrets/x\"", "password_file = \"secrets/x\""),
            ("a key -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- b", "a key -----BEGIN PRIVATE KEY-----(removed) b"),
        ] {
            assert_eq!(none.remove(text).0, clean);
        }
    }

    #[test]
    fn a_longer_secret_goes_before_a_part_of_it_and_short_ones_tear_nothing_apart() {
        let secrets = Secrets::those(vec!["horse battery".to_owned(), "correct horse battery".to_owned(), "of".to_owned()]);
        assert_eq!(secrets.remove("of correct horse battery!"), ("of (removed)!".to_owned(), 1));
    }
}
