//! A gateway and its leaves register themselves at a hub of our own, by keys of an enrolment group and by certificates, and find their
//! way from there to the hub that they are assigned to.

use std::{fs, process::Command};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::iothub::make_certificates;
use crate::harness::{Gateway, QUICK_LOG, SCENE, SOON, Site, TcpSlave, counting_adapter, have, on_path, until_true};

const GROUP_KEY: &str = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";

/// An authority for devices, and a certificate of it for one.
fn device_certificate(site: &Site, name: &str) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let mut device = CertificateParams::new(Vec::new()).expect("no names");
    device.distinguished_name.push(DnType::CommonName, name);
    let device = device.signed_by(&key, &authority).expect("signed");
    for (file, text) in [("devices-ca", authority.pem()), ("device-cert", device.pem()), ("device-key", key.serialize_pem())] {
        fs::write(site.path(&format!("{file}.pem")), text).expect("a new file");
    }
}

/// Messages in a hub's log from this device.
fn messages(hub: &Gateway, device: &str) -> usize {
    let sqlite = on_path("sqlite3").expect("checked by have()");
    let query = format!("select count(*) from message_0 where leaf = '{device}'");
    let answer = Command::new(sqlite).arg("-readonly").arg(hub.state.join("log.db")).arg(query).output().expect("sqlite3 runs");
    String::from_utf8_lossy(&answer.stdout).trim().parse().unwrap_or(0)
}

#[test]
fn devices_of_a_group_register_themselves_and_strangers_do_not() {
    if !have(&[SCENE, &["sqlite3"]].concat()) {
        return;
    }
    let (above, below) = (Site::new(), Site::new());
    let address = above.address();
    make_certificates(&above, "hub", &address);
    device_certificate(&above, "plant-2");
    let path = |name: &str| above.path(name).display().to_string();
    for (file, key) in [("group", GROUP_KEY), ("other", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")] {
        fs::write(above.path(file), key).expect("a new file");
    }
    let door = format!(
        "[log]\ncommit_interval = \"20ms\"\n[endpoint]\ntls = \"{address}:8883\"\ncertificate_file = \"{}\"\nkey_file = \"{}\"\nclient_ca_file = \"{}\"\n\
         [endpoint.provisioning]\nid_scope = \"0neHall3\"\ngroup_key_file = \"{}\"\nhub = \"{address}\"\n",
        path("hub-cert.pem"),
        path("hub-key.pem"),
        path("devices-ca.pem"),
        path("group"),
    );
    let mut hub = Gateway::new(&above, &door);
    hub.start();
    let mut slave = TcpSlave::start(&below);
    (1..=3).for_each(|unit| slave.add(unit, &[]));
    let upstream = format!(
        "[[upstream]]\nname = \"hub\"\nkind = \"iothub\"\nid_scope = \"0neHall3\"\ndps_host = \"{address}\"\nregistration_id = \"gw-01\"\n\
         group_key_file = \"{}\"\nca_file = \"{}\"\n\
         [[upstream.leaf]]\nid = \"plant-1\"\n\
         [[upstream.leaf]]\nid = \"plant-2\"\nclient_cert_file = \"{}\"\nclient_key_file = \"{}\"\n\
         [[upstream.leaf]]\nid = \"plant-3\"\nkey_file = \"{}\"\n",
        path("group"),
        path("hub-ca.pem"),
        path("device-cert.pem"),
        path("device-key.pem"),
        path("other"),
    );
    let sections = format!("{QUICK_LOG}{}{upstream}", counting_adapter("plant", &slave.address, 1..=3, "100ms"));
    let mut gateway = Gateway::new(&below, &sections);
    gateway.start();
    until_true("both leaves deliver under identities of their own", SOON * 2, || {
        ["plant-1", "plant-2"].iter().all(|device| messages(&hub, device) > 10)
    });
    let listed = hub.json(&["device", "list", "--json"]).to_string();
    for device in ["gw-01", "plant-1", "plant-2"] {
        assert!(listed.contains(&format!("\"{device}\"")), "{device}: {listed}");
    }
    // Its key is none of the group's: it is no device, says why, and loses nothing.
    assert!(!listed.contains("plant-3"), "{listed}");
    let status = gateway.until_health("hub-refused", true);
    assert!(status.to_string().contains("hub/plant-3"), "{status}");
    assert_eq!(messages(&hub, "plant-3"), 0);
    gateway.stop();
    hub.stop();
}
