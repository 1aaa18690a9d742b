//! One test for each thing that decodes.

use bolero::check;
use tidegate_core::{
    clock::Timestamp,
    dialect::{
        bag,
        connection::ConnectionString,
        dps, edge_route,
        identity::{Identity, UserName},
        key::Key,
        query::{Query, Source},
        sas::Token,
        topic,
    },
    id::{HubDeviceId, LeafId, Name, PointName},
    quantity::{ByteSize, Span},
    wire,
};

/// Runs the target on every input that is text; most decoders of ours take text.
fn text(target: impl Fn(&str) + std::panic::RefUnwindSafe) {
    check!().with_type::<Vec<u8>>().for_each(|bytes: &Vec<u8>| {
        target(&String::from_utf8_lossy(bytes));
    });
}

#[test]
fn bag() {
    text(|input| {
        let pairs = bag::decode(input);
        let borrowed = pairs.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        assert_eq!(bag::decode(&bag::encode_all(borrowed)), pairs, "what was decoded survives another journey");
        bag::decode_strict(input).ok();
    });
}

#[test]
fn routing_queries() {
    text(|input| {
        for source in [Source::Messages, Source::TwinChanges] {
            if let Err(error) = Query::compile(input, source) {
                assert!(input.get(error.at.clone()).is_some(), "{error:?}");
                assert!(!error.pointed_at(input).is_empty());
            }
        }
        if let Err(error) = edge_route::parse(input) {
            assert!(input.get(error.at.clone()).is_some(), "{error:?}");
        }
    });
}

#[test]
fn sas_token() {
    let key = Key::from_bytes(vec![7; 32]).expect("32 bytes");
    let identity = Identity::device(HubDeviceId::new("leaf-01").expect("valid"));
    text(|input| {
        if let Ok(token) = Token::parse(input) {
            assert!(token.verify(&[&key], &["contoso.azure-devices.net"], &identity, Timestamp(0)).is_err(), "nobody guesses a signature");
        }
    });
}

#[test]
fn topics() {
    text(|input| {
        topic::Topic::parse(input);
        dps::Answer::read(input, input.as_bytes(), 1);
        dps::Answer::read("$dps/registrations/res/200/?$rid=1", input.as_bytes(), 1);
        topic::Filter::parse(input);
    });
}

#[test]
fn identities() {
    text(|input| {
        UserName::parse(input).ok();
        Identity::from_client_id(input).ok();
        ConnectionString::parse(input).ok();
    });
}

#[test]
fn words() {
    text(|input| {
        LeafId::new(input).ok();
        Name::new(input).ok();
        PointName::new(input).ok();
        input.parse::<Timestamp>().ok();
        if let Ok(span) = input.parse::<Span>() {
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        if let Ok(size) = input.parse::<ByteSize>() {
            assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }
    });
}

#[test]
fn kept_properties() {
    text(|input| {
        if let Some((system, properties)) = wire::properties_from_text(input) {
            let again = wire::properties_to_text(&system, &properties);
            assert!(wire::properties_from_text(&again).is_some());
        }
    });
}

#[test]
fn registers() {
    use tidegate_adapters::modbus::value::{Kind, Layout, Order, Shape};
    let kinds = [
        Kind::Bool,
        Kind::Bit(15),
        Kind::Byte { high: true, signed: true },
        Kind::Whole { words: 4, signed: true },
        Kind::F16,
        Kind::F32,
        Kind::F64,
        Kind::Bcd { words: 4 },
        Kind::Text { words: 8, layout: Layout::HighFirst },
        Kind::Bytes { words: 8 },
    ];
    check!().with_type::<Vec<u16>>().for_each(|words: &Vec<u16>| {
        for kind in kinds {
            for order in Order::ALL {
                Shape { kind, order }.decode(words).ok();
            }
        }
    });
}

#[test]
fn advertisements() {
    use tidegate_adapters::ble::{
        advert::{Address, Advert},
        decode::{Counter, Key, decode, unit_of},
    };
    let key = Key::parse("231d39c1d7cc1ab1aee224cd096db932").expect("a key");
    check!().with_type::<(bool, Vec<u8>)>().for_each(|(sealed, data): &(bool, Vec<u8>)| {
        for id in [0xfcd2, 0xfe95, 0x181a, 0xfeaa, 0x0499, 0x004c] {
            let mut advert = Advert::new(Address([1, 2, 3, 4, 5, 6]));
            advert.service.push((id, data.clone()));
            advert.manufacturer.push((id, data.clone()));
            for field in decode(&advert, sealed.then_some(&key), &mut Counter::default()).unwrap_or_default() {
                unit_of(&field.name);
            }
            assert!(advert.raw().len() < 100 + 6 * data.len());
        }
    });
}

#[test]
fn configuration() {
    let kinds = tidegate::kinds();
    text(|input| {
        let loaded = tidegate::config::check_text(input, &kinds);
        let refused = loaded.problems.iter().any(|problem| problem.severity == tidegate_core::problem::Severity::Error);
        assert_eq!(loaded.config.is_none(), refused, "refused exactly when an error is named");
    });
}

#[test]
fn control_requests() {
    text(|input| {
        serde_json::from_str::<tidegate::control::Ask>(input).ok();
    });
}

#[test]
fn writes() {
    use tidegate_core::{
        clock::{Clock as _, SystemClock},
        guard::Guard,
        message::{Class, Properties},
        problem::Problems,
        profile::{LeafProfile, RawPoint, Takes},
    };
    let now = SystemClock::new("fuzz").now();
    let (leaf, point) = (LeafId::new("boiler").expect("valid"), PointName::new("p").expect("valid"));
    let takes = Takes::Whole { least: -32_768, most: 32_767 };
    text(|input| {
        let (keys, wanted) = input.split_once('\n').unwrap_or(("{\"writable\":true}", input));
        let (Ok(raw), Ok(wanted)) = (serde_json::from_str::<RawPoint>(keys), serde_json::from_str(wanted)) else { return };
        let points = vec![raw.check_with(point.clone(), takes, &mut Problems::default())];
        let profile = LeafProfile { id: leaf.clone(), points, class: Class::Telemetry, ttl: None, properties: Properties::default() };
        let guard = Guard::new([&profile]);
        if let Ok(raw) = guard.check(&leaf, &[(point.clone(), wanted)], now, &|_, _| None) {
            assert!(guard.shown(&leaf, &point, raw[0].1.clone()).value.is_some(), "what may be written can be shown");
        }
    });
}

#[test]
fn packets() {
    check!().with_type::<Vec<u8>>().for_each(|bytes: &Vec<u8>| {
        assert!(tidegate_endpoint::count_packets(bytes) <= bytes.len());
    });
}

#[test]
fn certificates() {
    check!().with_type::<Vec<u8>>().for_each(|bytes: &Vec<u8>| {
        tidegate_endpoint::common_name(bytes);
    });
}

#[test]
fn twin_patches() {
    use tidegate_core::twin::{Object, Part, Twin};
    text(|input| {
        let Ok(patch) = serde_json::from_str::<Object>(input) else { return };
        let mut twin = Twin::default();
        let before = twin.clone();
        if twin.patch(Part::Reported, &patch, Timestamp(0)).is_err() {
            assert_eq!(twin, before);
        }
        twin.for_service();
    });
}

#[test]
fn site_topics_and_filters() {
    use tidegate_endpoint::site::filter::{covers, is_filter, is_topic, matches, overlap};
    check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(one, other): &(Vec<u8>, Vec<u8>)| {
        let texts = [one, other].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let [one, other] = &texts;
        if is_filter(one) && is_filter(other) && covers(one, other) {
            assert!(overlap(one, other) && overlap(other, one), "{one:?} {other:?}");
        }
        if is_filter(one) && is_topic(other) {
            assert_eq!(matches(one, other), covers(one, other), "{one:?} {other:?}");
        }
    });
}

#[test]
fn site_rules() {
    use tidegate::site::rule::{READY_MADE, ready_made};
    let rules: Vec<_> = READY_MADE.iter().flat_map(|name| ready_made(name)).collect();
    check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(topic, payload): &(Vec<u8>, Vec<u8>)| {
        let topic = String::from_utf8_lossy(topic);
        for rule in &rules {
            if let Some(found) = rule.find(&topic) {
                rule.body(&found, &payload.clone().into()).ok();
                assert!(rule.command_filter(&found.leaf).is_some());
            }
        }
    });
}
