//! What a user can see wrong: one catalogue that the page, the command line, the API and messages share.
//!
//! Every state that is not green is an [`Entry`]: a code from the [`Condition`] catalogue, what it concerns
//! (an adapter, a leaf, an upstream), and a detail. Parts raise and clear entries on a shared [`Health`];
//! watchers read it or wait for a change. Nothing here decides anything.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Timestamp;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Surprising, nothing lost.
    Warning,
    /// Data was lost, or a person is needed.
    Error,
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $level:ident, $title:literal, $cause:literal, $next:literal;)*) => {
        /// Everything that can be wrong, by its stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Condition { $($(#[$doc])* $name),* }

        impl Condition {
            /// All of them, in the order of the catalogue.
            pub const ALL: &[Condition] = &[$(Condition::$name),*];

            /// Stable, kebab-case; what alarms and documents refer to.
            pub fn code(self) -> &'static str { match self { $(Condition::$name => $code),* } }
            /// How much it matters.
            pub fn level(self) -> Level { match self { $(Condition::$name => Level::$level),* } }
            /// A few words.
            pub fn title(self) -> &'static str { match self { $(Condition::$name => $title),* } }
            /// What usually causes it.
            pub fn cause(self) -> &'static str { match self { $(Condition::$name => $cause),* } }
            /// What to do next.
            pub fn next_step(self) -> &'static str { match self { $(Condition::$name => $next),* } }
        }
    };
}

catalogue! {
    /// A bus cannot be opened, or is lost.
    BusDown = "bus-down", Warning, "Bus not reachable",
        "The device server or serial adapter is off, unplugged, or its address is wrong.",
        "Check power, cable and address; Tidegate keeps trying.";
    /// A bus is open and nothing comes.
    BusStalled = "bus-stalled", Warning, "Nothing is heard any more",
        "The radio or its firmware hangs, its antenna came off, or all sensors are gone at once.",
        "Tidegate restarts the scan, then the radio, step by step. If it stays: unplug the radio, try another USB port, away from USB 3 and Wi-Fi.";
    /// A leaf does not answer.
    LeafSilent = "leaf-silent", Warning, "Device does not answer",
        "It is off, its unit number or line settings differ, or the wiring is broken.",
        "Check power and wiring, then the unit number, baud rate and parity; `tidegate read` asks it once.";
    /// A leaf answers with nonsense.
    LeafGarbled = "leaf-garbled", Warning, "Device answers make no sense",
        "Two devices share one unit number, the line lacks termination, or the parity is wrong.",
        "Check for a double unit number, termination and line settings.";
    /// A leaf refuses some of its points.
    LeafRefuses = "leaf-refuses", Warning, "Device refuses a point",
        "The address, function or count does not exist on this model or firmware.",
        "Compare the point's address and register kind with the device's manual.";
    /// Nobody at the hub's address.
    HubUnreachable = "hub-unreachable", Warning, "Hub not reachable",
        "The network, DNS, a firewall or the hub itself is down.",
        "Nothing is lost: messages wait in the log. Check the network and the host name.";
    /// The hub refuses the credentials.
    HubRefused = "hub-refused", Error, "Hub refuses the connection",
        "Most often the key or certificate is wrong, this clock is more than 5 minutes off, the device id is unknown, or the device is disabled at the hub.",
        "Check the device at the hub (exists, enabled, key), then this gateway's clock. Messages wait in the log.";
    /// Another connection with our identity keeps taking over.
    HubTakenOver = "hub-taken-over", Warning, "Another client uses this identity",
        "A second gateway or tool connects with the same device id; the hub allows one connection for each.",
        "Find and stop the other client, or give it a device id of its own.";
    /// A key or certificate file cannot be used.
    UpstreamUnusable = "upstream-unusable", Error, "Upstream cannot be used",
        "A key or certificate file is missing, unreadable or malformed.",
        "See the detail for the file; mend it and run `tidegate reload`.";
    /// The wall clock is not believed.
    ClockUntrusted = "clock-untrusted", Warning, "Clock not set",
        "There is no battery-backed clock and no time server has answered yet.",
        "Allow NTP (UDP port 123) or set the time. Readings are kept and their times corrected once the clock is right.";
    /// The log is full and messages are being given up.
    LogFull = "log-full", Error, "Log full: oldest messages are given up",
        "The hub has been away for longer than the log has room for.",
        "Restore the link, or give the log more room (log.max_size). What was given up is in the gap ledger.";
    /// The disk is full although the log is within its limit.
    DiskFull = "disk-full", Error, "Disk full",
        "Something else fills the disk that the log is on.",
        "Free space on it. Messages that found no room are in the gap ledger.";
    /// The log was damaged and has been salvaged.
    LogSalvaged = "log-salvaged", Error, "Log was damaged and has been salvaged",
        "The SD card or disk returned damaged data, often after a power cut or at the end of its life.",
        "The damaged file is kept beside the log. Replace the card soon.";
    /// `state.db` was damaged and has been salvaged.
    StateSalvaged = "state-salvaged", Error, "Devices, twins and users were damaged and have been salvaged",
        "The SD card or disk returned damaged data, often after a power cut or at the end of its life.",
        "The damaged file is kept beside the new one. Compare the device list with what should be there; replace the card soon.";
    /// The endpoint cannot listen.
    EndpointDown = "endpoint-down", Error, "Devices cannot connect",
        "A port of the endpoint is in use or not allowed, or a certificate file cannot be used.",
        "See the detail; mend the [endpoint] section or the file. Tidegate keeps trying.";
    /// A message could not be kept or sent.
    MessageRejected = "message-rejected", Error, "A message can never be sent",
        "It is larger than the hub takes, or has a property the hub does not take.",
        "Report fewer points in one message, or mend the property.";
    /// A changed configuration was not applied.
    ReloadRefused = "reload-refused", Warning, "Changed configuration not applied",
        "The changed files have problems; the gateway goes on with what it had.",
        "Run `tidegate check`, mend what it names, then `tidegate reload`.";
    /// The page cannot be served.
    PageUnreachable = "page-unreachable", Warning, "Page cannot be opened",
        "Another program uses its address and port, or the certificate that was brought cannot be read.",
        "See the detail; change web.listen or web.certificate in tidegate.toml, and restart.";
    /// A part of the gateway failed and was started again.
    UnitRestarted = "unit-restarted", Warning, "A part was restarted",
        "It met an error that it could not handle itself.",
        "See the detail; if it comes again, please report it with a support bundle.";
}

impl Condition {
    /// What can be wrong with an adapter.
    pub const OF_ADAPTER: &[Condition] = &[Condition::BusDown, Condition::BusStalled];
    /// With a leaf.
    pub const OF_LEAF: &[Condition] = &[Condition::LeafSilent, Condition::LeafGarbled, Condition::LeafRefuses, Condition::MessageRejected];
    /// With an upstream.
    pub const OF_UPSTREAM: &[Condition] = &[
        Condition::HubUnreachable,
        Condition::HubRefused,
        Condition::HubTakenOver,
        Condition::UpstreamUnusable,
        Condition::MessageRejected,
    ];
    /// With a part that runs.
    pub const OF_UNIT: &[Condition] = &[Condition::UnitRestarted];
}

/// One thing that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// [`Condition::code`].
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What it concerns: the name of an adapter, leaf or upstream; empty for the gateway as a whole.
    pub subject: String,
    /// A few words.
    pub title: &'static str,
    /// What was seen, with ids and values.
    pub detail: String,
    /// What usually causes it.
    pub cause: &'static str,
    /// What to do next.
    pub next: &'static str,
    /// Since when.
    pub since: Timestamp,
}

/// Most entries kept; more subjects than this are hostile or a plant that needs another view.
pub const MAX_ENTRIES: usize = 1_000;

/// What is wrong now, shared by all parts.
#[derive(Debug, Clone)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    entries: Mutex<BTreeMap<(Condition, String), Entry>>,
    changed: watch::Sender<u64>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Shared { entries: Mutex::default(), changed: watch::Sender::new(0) }))
    }
}

impl Health {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<(Condition, String), Entry>> {
        // A panic elsewhere while the lock was held leaves a map that is still a map.
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong. Returns whether this is news; raising it again only renews the detail.
    pub fn raise(&self, condition: Condition, subject: &str, detail: impl Into<String>, now: Timestamp) -> bool {
        let detail = detail.into();
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(&(condition, subject.to_owned())) {
            entry.detail = detail;
            return false;
        }
        if entries.len() >= MAX_ENTRIES {
            return false;
        }
        let entry = Entry {
            code: condition.code(),
            level: condition.level(),
            subject: subject.to_owned(),
            title: condition.title(),
            detail,
            cause: condition.cause(),
            next: condition.next_step(),
            since: now,
        };
        entries.insert((condition, subject.to_owned()), entry);
        drop(entries);
        self.0.changed.send_modify(|n| *n += 1);
        true
    }

    /// It is right again. Returns whether it was wrong.
    pub fn clear(&self, condition: Condition, subject: &str) -> bool {
        let was = self.entries().remove(&(condition, subject.to_owned())).is_some();
        if was {
            self.0.changed.send_modify(|n| *n += 1);
        }
        was
    }

    /// Forget a subject that is no longer configured: these conditions of it, because an adapter, a leaf and an upstream may share
    /// one name.
    pub fn forget(&self, conditions: &[Condition], subject: &str) {
        self.entries().retain(|(condition, s), _| s != subject || !conditions.contains(condition));
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// All that is wrong now, in the order of the catalogue.
    pub fn list(&self) -> Vec<Entry> {
        self.entries().values().cloned().collect()
    }

    /// Changes with every entry that comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_news_once() {
        let health = Health::default();
        assert!(health.raise(Condition::BusDown, "bus", "refused", Timestamp(1)));
        assert!(!health.raise(Condition::BusDown, "bus", "time-out", Timestamp(2)));
        let list = health.list();
        assert_eq!((list.len(), list[0].detail.as_str(), list[0].since), (1, "time-out", Timestamp(1)));
        assert!(health.clear(Condition::BusDown, "bus"));
        assert!(!health.clear(Condition::BusDown, "bus"));
    }

    #[test]
    fn what_is_no_longer_configured_is_forgotten_and_its_namesake_is_not() {
        let health = Health::default();
        health.raise(Condition::BusDown, "plant", "refused", Timestamp(1));
        health.raise(Condition::HubUnreachable, "plant", "refused", Timestamp(1));
        health.forget(Condition::OF_ADAPTER, "plant");
        assert_eq!(health.list().iter().map(|entry| entry.code).collect::<Vec<_>>(), ["hub-unreachable"]);
    }

    #[test]
    fn codes_are_kebab_case_and_differ() {
        let codes: std::collections::BTreeSet<_> = Condition::ALL.iter().map(|c| c.code()).collect();
        assert_eq!(codes.len(), Condition::ALL.len());
        assert!(codes.iter().all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }
}
