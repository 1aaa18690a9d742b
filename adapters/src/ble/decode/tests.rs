//! Vectors from the public specifications and from recordings of real devices.

use proptest::prelude::*;

use super::*;
use crate::ble::advert::Address;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn service(uuid: u16, hex: &str, address: &str) -> Advert {
    Advert { service: vec![(uuid, bytes(hex))], ..Advert::new(address.parse().expect("an address")) }
}

fn company(id: u16, hex: &str) -> Advert {
    Advert { manufacturer: vec![(id, bytes(hex))], ..Advert::new(Address([0; 6])) }
}

fn read(advert: &Advert, key: Option<&str>) -> Result<String, Refusal> {
    let key = key.map(|key| Key::parse(key).expect("a key"));
    let fields = decode(advert, key.as_ref(), &mut Counter::default())?;
    Ok(fields.iter().map(|field| format!("{} {}", field.name, field.value)).collect::<Vec<_>>().join(", "))
}

const ANY: &str = "00:00:00:00:00:00";

#[test]
fn bthome_reads_as_its_specification_says() {
    let cases = [
        ("40 02ca09 03bf13", "temperature 25.06, humidity 50.55"),
        ("40 0161", "battery 97"),
        ("40 04138a01", "pressure 1008.83"),
        ("40 05138a14", "illuminance 13460.67"),
        ("40 065e1f 073e1d", "mass 80.3, mass_lb 74.86"),
        ("40 08ca06", "dew_point 17.38"),
        ("40 0a138a14", "energy 1346.067"),
        ("40 0b021b00", "power 69.14"),
        ("40 0c020c", "voltage 3.074"),
        ("40 0d120c 0e021c", "pm2_5 3090, pm10 7170"),
        ("40 12e204 133301", "co2 1250, tvoc 307"),
        ("40 14020c", "moisture 30.74"),
        ("40 2101 1a00", "motion true, door false"),
        ("40 3f020c", "rotation 307.4"),
        ("40 424e3400", "duration 13.39"),
        ("40 451101", "temperature 27.3"),
        ("40 45fff0", "temperature -384.1"),
        ("40 4632", "uv_index 5"),
        ("40 478756", "volume 2215.1"),
        ("40 49dc87", "flow_rate 34.78"),
        ("40 4c41018a01", "gas 25821.505"),
        ("40 4d12138a14", "energy 344593.17"),
        ("40 505d396164", "timestamp 1684093277"),
        ("40 518756", "acceleration 22.151"),
        ("40 530c48656c6c6f20576f726c6421", "text Hello World!"),
        ("40 540c48656c6c6f20576f726c6421", "raw 48 65 6c 6c 6f 20 57 6f 72 6c 64 21"),
        ("40 57ea 58ea", "temperature -22, temperature_2 -7.7"),
        ("40 5c02fbffff", "power -12.78"),
        ("40 5d02fb", "current -1.278"),
        ("44 3a01 3a00 3a04", "button press, button_2 none, button_3 long-press"),
        ("44 3c0103 3c0202", "dimmer -3, dimmer_2 2"),
        // An object of a later version ends what can be read, and takes nothing away.
        ("40 0161 ee0102", "battery 97"),
    ];
    for (hex, expected) in cases {
        assert_eq!(read(&service(bthome::SERVICE, hex, ANY), None).as_deref(), Ok(expected), "{hex}");
    }
}

#[test]
fn bthome_with_a_key() {
    let advert = service(bthome::SERVICE, "41 a47266c95f73 00112233 78237214", "54:48:E6:8F:80:A5");
    assert_eq!(read(&advert, Some("231d39c1d7cc1ab1aee224cd096db932")).as_deref(), Ok("temperature 25.06, humidity 50.55"));
    assert_eq!(read(&advert, None), Err(Refusal::KeyMissing));
    assert_eq!(read(&advert, Some("231d39c1d7cc1ab1aee224cd096db933")), Err(Refusal::KeyWrong));
    let advert = service(bthome::SERVICE, "41 a47266c95f73 00112233 b7ced8e5", "54:48:E6:8F:80:A5");
    assert_eq!(read(&advert, Some("231d39c1d7cc1ab1aee224cd096db932")), Err(Refusal::KeyWrong), "a tag of another version");
}

#[test]
fn an_older_counter_is_a_replay_and_a_new_battery_is_not() {
    let mut counter = Counter::default();
    assert_eq!(counter.accept(5000), Ok(()));
    assert_eq!(counter.accept(5000), Ok(()), "the same advertisement again");
    assert_eq!(counter.accept(4999), Err(Refusal::Replayed));
    assert_eq!(counter.accept(3), Ok(()));
}

#[test]
fn ruuvi_reads_as_its_specification_says() {
    let cases = [
        (
            "03291a1ece1efc18f94202ca0b53",
            "temperature 26.3, humidity 20.5, pressure 1027.66, voltage 2.899, acceleration_x -1, acceleration_y -1.726, acceleration_z 0.714",
        ),
        (
            "0512fc5394c37c0004fffc040cac364200cdcbb8334c884f",
            "temperature 24.3, humidity 53.49, pressure 1000.44, voltage 2.977, tx_power 4, movements 66, \
             acceleration_x 0.004, acceleration_y -0.004, acceleration_z 1.036, packet_id 205",
        ),
    ];
    for (hex, expected) in cases {
        assert_eq!(read(&company(ruuvi::COMPANY, hex), None).as_deref(), Ok(expected), "{hex}");
    }
    let six = read(&company(ruuvi::COMPANY, "06170c5668c79e007000c90501d900cd004c884f"), None).expect("format 6");
    assert!(
        six.starts_with("temperature 29.5, humidity 55.3, pressure 1011.02, co2 201, pm2_5 11.2, voc_index 10, nox_index 2, "),
        "{six}"
    );
    // Not available, all of it: nothing is made up.
    let none = read(&company(ruuvi::COMPANY, "058000ffffffff800080008000ffffffffffffffffffffff"), None);
    assert_eq!(none.as_deref(), Ok(""));
}

#[test]
fn free_firmware_of_thermometers() {
    let cases = [
        ("a4c1380283f400a22f5f0bf819", "temperature 16.2, humidity 47, battery 95, voltage 3.064, packet_id 25"),
        ("f4830238c1a4a9066911b60b58f70d", "temperature 17.05, humidity 44.57, battery 88, opening false, voltage 2.998, packet_id 247"),
        ("b2188d38c1a42b089011f70a43200f", "temperature 20.91, humidity 44.96, battery 67, opening false, voltage 2.807, packet_id 32"),
    ];
    for (hex, expected) in cases {
        assert_eq!(read(&service(atc::SERVICE, hex, ANY), None).as_deref(), Ok(expected), "{hex}");
    }
    let sealed = service(atc::SERVICE, "11d603fbfa7b6dfb1e26fd", "A4:C1:38:8D:18:B2");
    let open = read(&sealed, Some("b9ea895fac7eea6d30532432a516f3a3")).expect("the right key");
    assert!(open.starts_with("temperature 23.45, humidity 41.73, battery 61, "), "{open}");
    assert_eq!(read(&sealed, None), Err(Refusal::KeyMissing));
    assert_eq!(read(&sealed, Some("b9ea895fac7eea6d30532432a516f3a4")), Err(Refusal::KeyWrong));
}

#[test]
fn mibeacon_plain_and_with_a_key() {
    let plain = [
        ("5020aa01da219335342d580d1004fe004802", "temperature 25.4, humidity 58.4"),
        ("50305b05034c94b438c1a40d10041001ea01", "temperature 27.2, humidity 49"),
        ("71209800 12 f34f6b8d7cc4 0d 041002c400", "temperature 19.6"),
        // A head without an object says that somebody is there.
        ("30585b0502483cd438c1a408", ""),
    ];
    for (hex, expected) in plain {
        assert_eq!(read(&service(mibeacon::SERVICE, hex, ANY), None).as_deref(), Ok(expected), "{hex}");
    }
    let sealed = [
        ("5858480b685f1234 2d585a 0b1841e2aa000e00a4964fb5", "5A:58:2D:34:12:5F", "814aac74c4f17b6c1581e1ab87816b99", "humidity 59.6"),
        ("58586f0607892012342d585f176dd54f0200002fa453fa", "58:2D:34:12:20:89", "a3bfe9853dd85a620debe3620caaa351", "temperature 22.6"),
    ];
    for (hex, address, key, expected) in sealed {
        assert_eq!(read(&service(mibeacon::SERVICE, hex, address), Some(key)).as_deref(), Ok(expected), "{hex}");
    }
    let wrong = service(mibeacon::SERVICE, "58598d0a170fc4e044ef547cc27a5c03a1000000790df258", "54:EF:44:E0:C4:0F");
    assert_eq!(read(&wrong, Some("814aac74c4f17b6c1581e1ab87816b98")), Err(Refusal::KeyWrong));
    let legacy = service(mibeacon::SERVICE, "5830b603d28b98c54124f8c3491476757e00000099", "F8:24:41:C5:98:8B");
    assert_eq!(read(&legacy, Some("814aac74c4f17b6c1581e1ab87816b99")), Err(Refusal::Unknown));
}

#[test]
fn beacons() {
    let ibeacon = company(beacon::APPLE, "0215 fda50693a4e24fb1afcfc6eb07647825 2711 4a0b c5");
    assert_eq!(read(&ibeacon, None).as_deref(), Ok("uuid fda50693-a4e2-4fb1-afcf-c6eb07647825, major 10001, minor 18955, tx_power -59"));
    let cases = [
        ("00ee 00010203040506070809 0a0b0c0d0e0f 0000", "namespace 00010203040506070809, instance 0a0b0c0d0e0f, tx_power -18"),
        ("10ee 03 676f6f2e676c 2f533664", "url https://goo.gl/S6d, tx_power -18"),
        ("10ee 00 676f6f676c65 07", "url http://www.google.com, tx_power -18"),
        ("2000 0bb8 1580 00000064 000003e8", "voltage 3, temperature 21.5, adverts 100, uptime 100"),
        ("2000 0000 8000 00000001 0000000a", "adverts 1, uptime 1"),
    ];
    for (hex, expected) in cases {
        assert_eq!(read(&service(beacon::EDDYSTONE, hex, ANY), None).as_deref(), Ok(expected), "{hex}");
    }
}

#[test]
fn what_is_cut_short_is_never_a_reading() {
    for (uuid, hex) in [(bthome::SERVICE, "40 02ca09 03bf13"), (mibeacon::SERVICE, "5020aa01da219335342d580d1004fe004802")] {
        let whole = bytes(hex);
        for length in 0..whole.len() {
            let advert = Advert { service: vec![(uuid, whole[..length].to_vec())], ..Advert::new(Address([0; 6])) };
            if let Ok(text) = read(&advert, None) {
                assert!(["", "temperature 25.06"].contains(&text.as_str()), "{length}: {text}");
            }
        }
    }
}

#[test]
fn units_are_those_of_the_formats() {
    let known =
        [("temperature", Some("°C")), ("temperature_2", Some("°C")), ("pm2_5", Some("µg/m³")), ("rssi", Some("dBm")), ("door", None)];
    for (field, unit) in known {
        assert_eq!(unit_of(field), unit, "{field}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(data in prop::collection::vec(any::<u8>(), 0..64), sealed in any::<bool>()) {
        let key = sealed.then(|| Key::parse("231d39c1d7cc1ab1aee224cd096db932").expect("a key"));
        for uuid in [bthome::SERVICE, mibeacon::SERVICE, atc::SERVICE, beacon::EDDYSTONE] {
            let advert = Advert { service: vec![(uuid, data.clone())], ..Advert::new(Address([0; 6])) };
            decode(&advert, key.as_ref(), &mut Counter::default()).ok();
        }
        for id in [ruuvi::COMPANY, beacon::APPLE] {
            let advert = Advert { manufacturer: vec![(id, data.clone())], ..Advert::new(Address([0; 6])) };
            decode(&advert, key.as_ref(), &mut Counter::default()).ok();
        }
    }
}
