//! What only trying shows: buses are opened, names resolved, upstreams connected to, the clock compared with the hub's.
//!
//! For a gateway that does not run: two of them would throw each other out of the hub and take each other's ports. Of one that runs
//! its own health tells the same. Every step has a time limit.

use std::{sync::Arc, time::Duration};

use tidegate_core::clock::{Clock, SystemClock, Timestamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Check, Report, Scene, Seen, Verdict};

/// Opening a bus, a name, a connection. IoT Hub delays its CONNACK up to a minute when it is busy.
const BUS: Duration = Duration::from_secs(20);
const NAME: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(65);
/// Tokens are refused when the clock is off by more (reference §1.4); half of it is time to say so.
const SKEW_MS: i64 = 150_000;
/// Bytes of an answer in which the date stands.
const HEAD: usize = 4096;

/// Tries everything that the configuration names.
pub async fn examine(scene: &Scene) -> Vec<Seen> {
    let mut report = Report::default();
    let Some(config) = &scene.config else {
        for check in [Check::BusOpens, Check::HubName, Check::HubAccepts, Check::ClockSkew] {
            report.skip(check, "the configuration cannot run");
        }
        return report.0;
    };
    let clock = SystemClock::new("check");
    for adapter in &config.adapters {
        let mut built = (adapter.plan.build)(clock.clone() as Arc<dyn Clock>);
        let (fine, seen) = match timeout(BUS, built.connect()).await {
            Ok(Ok(())) => (true, "it opens".to_owned()),
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, format!("not open within {} s", BUS.as_secs())),
        };
        timeout(BUS, built.close()).await.ok();
        report.judge(Check::BusOpens, adapter.name.as_str(), fine, seen);
    }
    for upstream in &config.upstreams {
        let subject = upstream.name.as_str();
        let mut built = (upstream.plan.build)(clock.clone() as Arc<dyn Clock>);
        let (fine, seen) = match timeout(CONNECT, built.connect()).await {
            // Dropping its end tells the session to part in good order.
            Ok(Ok(session)) => {
                drop(session);
                (true, format!("{} let us in", built.target()))
            }
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, format!("{} did not answer within a minute", built.target())),
        };
        let target = built.target();
        let host = host_in(&target);
        let found = timeout(NAME, lookup_host((host.as_str(), 443))).await;
        let addresses =
            found.ok().and_then(Result::ok).map(|all| all.map(|one| one.ip().to_string()).collect::<Vec<_>>()).unwrap_or_default();
        report.judge(
            Check::HubName,
            subject,
            !addresses.is_empty(),
            if addresses.is_empty() { format!("{host} is not known") } else { addresses.join(", ") },
        );
        report.judge(Check::HubAccepts, subject, fine, seen);
        // A hub in the cloud says what time it is to whoever asks over HTTPS; a broker does not.
        if upstream.kind == "iothub" && !addresses.is_empty() {
            match timeout(NAME, date_of(&host)).await.ok().flatten() {
                Some(theirs) => {
                    let off = clock.now().wall.0 - theirs.0;
                    report.judge(
                        Check::ClockSkew,
                        subject,
                        off.abs() <= SKEW_MS,
                        format!("{} s {}", off.abs() / 1000, if off < 0 { "behind" } else { "ahead" }),
                    );
                }
                None => report.say(Check::ClockSkew, subject, Verdict::Skipped, "it does not say what time it is"),
            }
        }
    }
    report.0
}

/// Of `contoso.azure-devices.net as gw-01`, `192.0.2.7:1883 as gw-01` or `[2001:db8::7]:1883 as gw-01`.
fn host_in(target: &str) -> String {
    let place = target.split(' ').next().unwrap_or_default();
    let bare = place.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(place, |(host, _)| host);
    bare.trim_matches(['[', ']']).to_owned()
}

/// What a web server says that the time is.
async fn date_of(host: &str) -> Option<Timestamp> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from(host.to_owned()).ok()?;
    let stream = TcpStream::connect((host, 443)).await.ok()?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream.write_all(format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut head = Vec::new();
    stream.take(HEAD as u64).read_to_end(&mut head).await.ok();
    date_in(&String::from_utf8_lossy(&head))
}

fn date_in(head: &str) -> Option<Timestamp> {
    let line = head.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("date")))?.1;
    let at = jiff::fmt::rfc2822::parse(line.trim()).ok()?;
    Some(Timestamp(at.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_host() {
        for (target, host) in [
            ("contoso.azure-devices.net as gw-01", "contoso.azure-devices.net"),
            ("192.0.2.7:1883 as gw-01", "192.0.2.7"),
            ("[2001:db8::7]:1883 as gw-01", "2001:db8::7"),
            ("", ""),
        ] {
            assert_eq!(host_in(target), host);
        }
    }

    #[test]
    fn the_date_of_an_answer_is_read_whatever_the_case() {
        let head = "HTTP/1.1 404 Not Found\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(date_in(head), Some(Timestamp(784_111_777_000)));
        assert_eq!(date_in("HTTP/1.1 200 OK\r\nDate: soon\r\n\r\n"), None);
        assert_eq!(date_in(""), None);
    }
}
