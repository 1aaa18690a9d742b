//! Ways out, and doors that are open.

use super::{Check, Report, Scene, name, read};

/// Kinds of upstreams all reach out; without one, no way out is needed.
pub(super) fn look(scene: &Scene, report: &mut Report) {
    let interfaces = scene.list("/sys/class/net");
    let up = |path: &&std::path::PathBuf| name(path) != "lo" && matches!(read(&path.join("operstate")).as_deref(), Some("up" | "unknown"));
    let up: Vec<_> = interfaces.iter().filter(up).map(|path| name(path)).collect();
    let needed = scene.config.as_ref().is_none_or(|config| !config.upstreams.is_empty());
    if !needed {
        for check in [Check::NetworkLink, Check::NetworkRoute, Check::NetworkNames] {
            report.skip(check, "there is no upstream");
        }
    } else {
        report.judge(Check::NetworkLink, "", !up.is_empty(), if up.is_empty() { "none is up".to_owned() } else { up.join(", ") });
        let v4 = scene
            .read("/proc/net/route")
            .is_some_and(|text| text.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000")));
        let zeros = "0".repeat(32);
        let v6 = scene.read("/proc/net/ipv6_route").is_some_and(|text| {
            text.lines().any(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                fields.first() == Some(&zeros.as_str()) && fields.get(1) == Some(&"00") && fields.last() != Some(&"lo")
            })
        });
        let seen = match (v4, v6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "no default route",
        };
        report.judge(Check::NetworkRoute, "", v4 || v6, seen);
        let servers = scene
            .read("/etc/resolv.conf")
            .map_or(0, |text| text.lines().filter(|line| line.trim_start().starts_with("nameserver")).count());
        report.judge(Check::NetworkNames, "", servers > 0, format!("{servers} name servers"));
    }
    match scene.config.as_ref().map(|config| config.endpoint.plain) {
        Some(Some(plain)) => report.judge(Check::OpenDoors, "", plain.ip().is_loopback(), format!("MQTT without TLS on {plain}")),
        Some(None) => report.judge(Check::OpenDoors, "", true, "no door without TLS"),
        None => report.skip(Check::OpenDoors, "the configuration does not say"),
    }
}
