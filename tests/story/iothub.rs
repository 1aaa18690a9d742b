//! The `iothub` kind against a broker that knows nothing of IoT Hub: TLS by OpenSSL, topics and user name to the letter.
//!
//! That the hub believes the token is shown by the dialect's vectors; here stands what can be seen on the wire.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::harness::{Broker, Gateway, QUICK_LOG, SCENE, SOON, Site, Subscriber, TcpSlave, counting_adapter, have, until};

const HUB: &str = "contoso.azure-devices.net";

/// An authority's certificate in `<name>-ca.pem`, and one of its certificates for `address` with its key beside it.
pub(super) fn make_certificates(site: &Site, name: &str, address: &str) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec![address.to_owned()]).expect("an address").signed_by(&key, &authority).expect("signed");
    for (file, text) in [("ca", authority.pem()), ("cert", server.pem()), ("key", key.serialize_pem())] {
        fs::write(site.path(&format!("{name}-{file}.pem")), text).expect("a new file");
    }
}

struct Hub {
    gateway: Gateway,
    witness: Subscriber,
    broker: Broker,
    _slave: TcpSlave,
    site: Site,
}

/// A gateway that believes the authority `believed`, and a broker that speaks TLS by the authority `hub`.
fn hub(believed: &str) -> Option<Hub> {
    if !have(SCENE) {
        return None;
    }
    let site = Site::new();
    let address = site.address();
    for name in ["hub", "stranger"] {
        make_certificates(&site, name, &address);
    }
    let path = |name: &str| site.path(name).display().to_string();
    let tls = format!(
        "listener 8883 {address}\ncafile {}\ncertfile {}\nkeyfile {}\n",
        path("hub-ca.pem"),
        path("hub-cert.pem"),
        path("hub-key.pem")
    );
    let broker = Broker::with(&site, &format!("allow_anonymous true\n{tls}"));
    let witness = Subscriber::to(&broker, "devices/#", &[]);
    let mut slave = TcpSlave::start(&site);
    slave.add(1, &[]);
    fs::write(site.path("key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").expect("a new file");
    let upstream = format!(
        "[[upstream]]\nname = \"hub\"\nkind = \"iothub\"\nhost = \"{HUB}\"\ngateway_host = \"{address}\"\n\
         device_id = \"gw-01\"\nkey_file = \"{}\"\nca_file = \"{}\"\n",
        path("key"),
        path(&format!("{believed}-ca.pem"))
    );
    let gateway = Gateway::new(&site, &format!("{QUICK_LOG}{}{upstream}", counting_adapter("plant", &slave.address, [1], "100ms")));
    Some(Hub { gateway, witness, broker, _slave: slave, site })
}

#[test]
fn a_message_carries_what_iot_hub_wants_to_know_about_it() {
    let Some(mut hub) = hub("hub") else { return };
    hub.gateway.start();
    let line = until("the first message", SOON, || hub.witness.lines().into_iter().next());
    let (topic, body) = line.split_once(' ').expect("topic and payload");
    let bag = topic.strip_prefix("devices/gw-01/messages/events/").unwrap_or_else(|| panic!("{topic}"));
    let names: Vec<&str> = bag.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, ["%24.mid", "%24.ct", "%24.ce", "%24.ctime", "leaf"], "{bag}");
    for pair in ["%24.ct=application%2Fjson", "%24.ce=utf-8", "leaf=plant-1"] {
        assert!(bag.split('&').any(|p| p == pair), "{pair} in {bag}");
    }
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["n"], 1);
    let user = format!("u'{HUB}/gw-01/?api-version=2021-04-12&");
    assert!(hub.broker.log.since(0).iter().any(|(_, line)| line.contains(" as gw-01 (p2, c0, k230") && line.contains(&user)));
}

#[test]
fn a_hub_with_a_certificate_of_a_strange_authority_gets_nothing() {
    let Some(mut hub) = hub("stranger") else { return };
    hub.gateway.start();
    let status = hub.gateway.until_health("hub-unreachable", true);
    assert!(status.to_string().to_lowercase().contains("certificate"), "the reason is told: {status}");
    assert!(hub.witness.lines().is_empty());
    // With the right authority it goes on, and nothing was lost.
    fs::copy(hub.site.path("hub-ca.pem"), hub.site.path("stranger-ca.pem")).expect("our own files");
    let line = until("the first message", SOON, || hub.witness.lines().into_iter().next());
    assert!(line.contains("\"n\":1"), "{line}");
}
