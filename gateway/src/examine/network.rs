//! Ways out, and doors that are open.

use std::{net::Ipv6Addr, path::PathBuf};

use super::{Check, MOST_THINGS, Report, Scene, name, read};

/// Where a machine is on the network, from the kernel's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub host: String,
    /// Beside loopback and link-local ones.
    pub addresses: Vec<String>,
    /// Interfaces that are up.
    pub interfaces: Vec<String>,
    /// By IPv4 and by IPv6.
    pub routed: (bool, bool),
    /// Name servers.
    pub name_servers: Vec<String>,
}

impl Network {
    /// Of this machine.
    pub fn here() -> Self {
        network(&Scene::bare())
    }
}

fn network(scene: &Scene) -> Network {
    let is_up = |path: &&PathBuf| name(path) != "lo" && matches!(read(&path.join("operstate")).as_deref(), Some("up" | "unknown"));
    let text = |path: &str| scene.read(path).unwrap_or_default();
    let v4 = text("/proc/net/route").lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let zeros = "0".repeat(32);
    let v6 = text("/proc/net/ipv6_route").lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.first() == Some(&zeros.as_str()) && fields.get(1) == Some(&"00") && fields.last() != Some(&"lo")
    });
    let resolv = text("/etc/resolv.conf");
    let servers = resolv.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(|server| server.trim().to_owned());
    Network {
        host: text("/proc/sys/kernel/hostname"),
        addresses: addresses(scene),
        interfaces: scene.list("/sys/class/net").iter().filter(is_up).map(|path| name(path)).collect(),
        routed: (v4, v6),
        name_servers: servers.take(MOST_THINGS).collect(),
    }
}

/// IPv4 first.
fn addresses(scene: &Scene) -> Vec<String> {
    let (mut found, mut last) = (Vec::new(), String::new());
    // Local addresses stand as leaves of the kernel's tree of routes, each once in two tables.
    for line in scene.read("/proc/net/fib_trie").unwrap_or_default().lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            address.trim().clone_into(&mut last);
        } else if line.contains("/32 host LOCAL") && !last.starts_with("127.") && !found.contains(&last) {
            found.push(last.clone());
        }
    }
    for line in scene.read("/proc/net/if_inet6").unwrap_or_default().lines() {
        let address = line.split_whitespace().next().and_then(|hex| u128::from_str_radix(hex, 16).ok()).map(Ipv6Addr::from);
        if let Some(address) = address.filter(|address| !address.is_loopback() && !address.is_unicast_link_local()) {
            found.push(address.to_string());
        }
    }
    found.truncate(MOST_THINGS);
    found
}

/// Kinds of upstreams all reach out; without one, no way out is needed.
pub(super) fn look(scene: &Scene, report: &mut Report) {
    if scene.config.as_ref().is_none_or(|config| !config.upstreams.is_empty()) {
        let Network { interfaces, routed, name_servers, .. } = network(scene);
        let up = !interfaces.is_empty();
        report.judge(Check::NetworkLink, "", up, if up { interfaces.join(", ") } else { "none is up".to_owned() });
        let seen = match routed {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "no default route",
        };
        report.judge(Check::NetworkRoute, "", routed.0 || routed.1, seen);
        report.judge(Check::NetworkNames, "", !name_servers.is_empty(), format!("{} name servers", name_servers.len()));
    } else {
        for check in [Check::NetworkLink, Check::NetworkRoute, Check::NetworkNames] {
            report.skip(check, "there is no upstream");
        }
    }
    match scene.config.as_ref().map(|config| config.endpoint.plain) {
        Some(Some(plain)) => report.judge(Check::OpenDoors, "", plain.ip().is_loopback(), format!("MQTT without TLS on {plain}")),
        Some(None) => report.judge(Check::OpenDoors, "", true, "no door without TLS"),
        None => report.skip(Check::OpenDoors, "the configuration does not say"),
    }
}
