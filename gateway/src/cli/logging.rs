//! Where log lines go: standard error, which systemd hands to the journal.

use tracing_subscriber::{Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{
    config::{Diagnostics, LogFormat},
    events::Events,
    journal::{self, Tee},
};

/// From now on. The level can be changed later ([`journal::set_level`]).
pub(super) fn start(diagnostics: &Diagnostics) {
    let (filter, handle) = reload::Layer::<_, Registry>::new(journal::filter(diagnostics.level));
    let lines = fmt::layer().with_writer(Tee);
    let lines = match diagnostics.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        // The journal adds its own time; colours belong to terminals.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => lines.without_time().with_ansi(false).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    // A second call, in a test that runs two programs in one process, keeps the first.
    if tracing_subscriber::registry().with(filter).with(lines).with(Events::of_process()).try_init().is_ok() {
        journal::FILTER.set(handle).ok();
    }
}
