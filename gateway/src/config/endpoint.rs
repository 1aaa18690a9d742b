//! `[endpoint]`, from what the file says to what the program runs on.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tidegate_core::{
    dialect::{dps::is_id_scope, identity::is_host},
    problem::Problems,
    quantity::Span,
};

use super::raw::{RawEndpoint, RawProvisioning};
use crate::site::SiteSection;

/// `[endpoint]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// MQTT over TLS.
    pub tls: Option<SocketAddr>,
    /// MQTT without.
    pub plain: Option<SocketAddr>,
    /// WebSocket over TLS.
    pub websocket: Option<SocketAddr>,
    /// Host names that user names and tokens may carry; empty for any.
    pub host_names: Vec<String>,
    /// Names for our own certificate; empty for the machine's.
    pub certificate_names: Vec<String>,
    /// Certificate chain and key of the operator's own.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Authorities whose certificates devices may show.
    pub client_ca: Option<PathBuf>,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// How long a C2D message waits that names no expiry.
    pub c2d_ttl: Duration,
    /// How often a C2D message may be abandoned.
    pub max_delivery_count: u32,
    /// How long feedback waits to be read.
    pub feedback_ttl: Duration,
    /// How devices may register themselves, if they may.
    pub provisioning: Option<ProvisioningSection>,
    /// Topics of the site, if there are any.
    pub site: Option<SiteSection>,
}

/// `[endpoint.provisioning]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningSection {
    /// The scope that devices name.
    pub id_scope: String,
    /// The file with the enrolment group's key.
    pub group_key: Option<PathBuf>,
    /// The name that devices are told; `None` for the first of the certificate.
    pub hub: Option<String>,
}

impl Endpoint {
    /// Whether there is anything to listen on.
    pub fn runs(&self) -> bool {
        self.tls.is_some() || self.plain.is_some() || self.websocket.is_some()
    }
}

/// IoT Hub's bounds for both times to live.
const TTL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(2 * 86_400));

/// Problems are recorded; what is returned beside them is not run.
pub(super) fn check(raw: &RawEndpoint, problems: &mut Problems) -> Endpoint {
    let plain = address("plain", raw.plain.as_deref(), problems);
    if plain.is_some_and(|address| !address.ip().is_loopback()) {
        problems.key("plain").warning("devices speak in the clear here, passwords included", "use tls, or an address of loopback");
    }
    let certificate = match (&raw.certificate_file, &raw.key_file) {
        (Some(certificate), Some(key)) => Some((path("certificate_file", certificate, problems), path("key_file", key, problems))),
        (None, None) => None,
        (Some(_), None) => {
            problems.key("certificate_file").error("has no key", "add key_file, or leave both out for a certificate of the gateway's own");
            None
        }
        (None, Some(_)) => {
            problems.key("key_file").error("has no certificate", "add certificate_file, or leave both out");
            None
        }
    };
    for (key, names) in [("host_names", &raw.host_names), ("certificate_names", &raw.certificate_names)] {
        if let Some(name) = names.iter().find(|name| !is_host(name)) {
            let shown: String = name.chars().take(40).collect();
            problems
                .key(key)
                .error(format!("'{shown}' is not a host name or address"), "write names such as \"gw-01.local\", without port");
        }
    }
    Endpoint {
        tls: address("tls", raw.tls.as_deref(), problems),
        plain,
        websocket: address("websocket", raw.websocket.as_deref(), problems),
        host_names: raw.host_names.clone(),
        certificate_names: raw.certificate_names.clone(),
        certificate,
        client_ca: raw.client_ca_file.as_ref().map(|file| path("client_ca_file", file, problems)),
        max_sessions: raw.max_sessions,
        c2d_ttl: ttl("c2d_ttl", raw.c2d_ttl, problems),
        max_delivery_count: raw.max_delivery_count,
        feedback_ttl: ttl("feedback_ttl", raw.feedback_ttl, problems),
        provisioning: raw
            .provisioning
            .as_ref()
            .map(|provisioning| check_provisioning(provisioning, raw, &mut problems.key("provisioning"))),
        site: raw.site_bus.as_ref().map(|site| super::site::check(site, &mut problems.key("site_bus"))),
    }
}

fn check_provisioning(raw: &RawProvisioning, endpoint: &RawEndpoint, problems: &mut Problems) -> ProvisioningSection {
    if !is_id_scope(&raw.id_scope) {
        problems.key("id_scope").error("is not an id scope", "write 1 to 64 letters and digits, such as \"0neHall3\"");
    }
    if raw.group_key_file.is_none() && endpoint.client_ca_file.is_none() {
        problems.error("lets nobody in", "add group_key_file, or client_ca_file in [endpoint]");
    }
    if let Some(hub) = raw.hub.as_ref().filter(|hub| !is_host(hub)) {
        let shown: String = hub.chars().take(40).collect();
        problems.key("hub").error(format!("'{shown}' is not a host name or address"), "write a name such as \"gw-01.local\", without port");
    }
    let group_key = raw.group_key_file.as_ref().map(|file| path("group_key_file", file, problems));
    ProvisioningSection { id_scope: raw.id_scope.clone(), group_key, hub: raw.hub.clone() }
}

fn address(key: &str, text: Option<&str>, problems: &mut Problems) -> Option<SocketAddr> {
    let parsed = text?.parse();
    if parsed.is_err() {
        problems.key(key).error("is not an address and port", "write numbers, such as \"[::]:8883\" or \"127.0.0.1:1883\"");
    }
    parsed.ok()
}

fn path(key: &str, text: &str, problems: &mut Problems) -> PathBuf {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        problems.key(key).error("is not a path from the root", "write the whole path: where the program is started from changes");
    }
    path
}

fn ttl(key: &str, span: Span, problems: &mut Problems) -> Duration {
    if !(TTL.0..=TTL.1).contains(&span.0) {
        let what = format!("{span} is too {}", if span.0 < TTL.0 { "short" } else { "long" });
        problems.key(key).error(what, "write \"1min\" to \"2d\", as the hub has it");
    }
    span.0
}
