//! Every decoder of advertisements, what a receiver writes into its socket, and the words of a section.

use std::{io::Write, os::unix::net::UnixListener};

use bolero::check;
use serde_json::json;
use tidegate_adapters::ble::{
    KIND,
    advert::{Address, Advert},
    decode::{Counter, Key, decode, format_of, unit_of},
};
use tidegate_core::{
    clock::{HandClock, Timestamp},
    problem::Problems,
};

/// Numbers that mean something to a decoder.
const SERVICES: [u16; 5] = [0xfcd2, 0xfe95, 0x181a, 0xfeaa, 0x1234];
const COMPANIES: [u16; 3] = [0x0499, 0x004c, 0x02e5];

#[test]
fn adverts() {
    check!().with_type::<(u8, u8, bool, Vec<u8>, Vec<u8>)>().for_each(|(service, company, sealed, first, second)| {
        let mut advert = Advert::new(Address([0x54, 0x48, 0xe6, 0x8f, 0x80, 0xa5]));
        advert.service.push((SERVICES[usize::from(*service) % SERVICES.len()], first.clone()));
        advert.manufacturer.push((COMPANIES[usize::from(*company) % COMPANIES.len()], second.clone()));
        let key = sealed.then(|| Key::parse("231d39c1d7cc1ab1aee224cd096db932")).flatten();
        let mut counter = Counter::default();
        for _ in 0..2 {
            let Ok(fields) = decode(&advert, key.as_ref(), &mut counter) else { continue };
            assert!(format_of(&advert).is_some());
            // Bytes cannot say more fields than they are.
            assert!(fields.len() <= first.len().max(second.len()) + 8, "{} fields", fields.len());
            for field in &fields {
                assert!(!field.name.is_empty() && unit_of(&field.name).is_none_or(|unit| !unit.is_empty()));
            }
        }
    });
}

#[test]
fn receivers() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("radio");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let section = json!({
        "radio": socket,
        "device": [{
            "id": "d", "address": "54:48:E6:8F:80:A5", "interval": "1ms",
            "point": [
                { "name": "temperature" },
                { "name": "raw", "from": "manufacturer:02e5", "starts": "01", "at": -1, "type": "u8" },
                { "name": "text", "from": "service:181a", "type": "string", "length": 8 },
            ],
        }],
    });
    check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(noise, data)| {
        let mut problems = Problems::default();
        let plan = (KIND.check)(&section, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.list()));
        let mut adapter = (plan.build)(HandClock::at(Timestamp(0)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            adapter.connect().await.expect("open");
            let (mut receiver, _) = listener.accept().expect("a connection");
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            receiver.write_all(noise).ok();
            receiver.write_all(format!("\n54:48:E6:8F:80:A5 -50 m02e5={hex} s181a={hex} sfcd2={hex}\n").as_bytes()).ok();
            drop(receiver);
            // It ends when the receiver has hung up.
            loop {
                adapter.ready().await;
                if adapter.read().await.is_err() {
                    break;
                }
            }
        });
    });
}

#[test]
fn sections() {
    check!().with_type::<(String, String, String, i32, u16)>().for_each(|(one, two, three, at, length)| {
        let section = json!({
            "radio": one, "bus": two,
            "device": [{
                "id": three, "address": one, "key_file": two, "passkey_file": three, "bond": true,
                "point": [
                    { "name": one, "from": two, "starts": three, "at": at, "type": "bytes", "length": length },
                    { "name": two, "characteristic": one, "service": three, "at": at, "type": "u32", "writable": true },
                    { "name": three, "field": one },
                ],
            }],
        });
        let mut problems = Problems::default();
        let plan = (KIND.check)(&section, &mut problems);
        assert!(plan.is_some() || !problems.list().is_empty(), "a refusal says why");
    });
}
