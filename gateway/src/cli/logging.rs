//! Where log lines go: standard error, which systemd hands to the journal.

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Diagnostics, LogFormat};

/// From now on. `TIDEGATE_LOG` overrides the configured level, in tracing's directives (`tidegate=debug`).
pub(super) fn start(diagnostics: &Diagnostics) {
    let configured = format!("{},rumqttc=warn,rumqttd=warn", diagnostics.level);
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new(configured));
    let lines = fmt().with_env_filter(filter).with_writer(crate::journal::Tee);
    // A second call, in a test that runs two programs in one process, keeps the first.
    match diagnostics.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init().ok(),
        // The journal adds its own time; colours belong to terminals.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => lines.without_time().with_ansi(false).try_init().ok(),
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init().ok(),
    };
}
