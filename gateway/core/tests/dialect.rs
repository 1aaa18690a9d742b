//! The IoT Hub dialect against its reference vectors, all of those sections that are text, and against random bytes.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};
use tidegate_core::{
    clock::Timestamp,
    dialect::{
        MAX_KEEP_ALIVE, allowed_silence, bag,
        connection::{ConnectionString, ConnectionStringError, Credential},
        dps::{self, Answer, Assignment, Registration},
        identity::{Identity, UserName, UserNameError},
        key::{Key, KeyError},
        sas::{self, Token, TokenError},
        topic::{Filter, Topic},
    },
    id::HubDeviceId,
};

/// The vectors of one section, of which there must be as many as are known.
fn vectors(pointer: &str, count: usize) -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("iot-hub-vectors.json")).expect("the file is JSON");
    let list = all.pointer(pointer).and_then(Json::as_array).expect("section exists").clone();
    assert_eq!(list.len(), count, "{pointer}");
    list
}

fn text<'a>(vector: &'a Json, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} is text in {vector}"))
}

fn key(base64: &str) -> Key {
    Key::from_base64(base64).expect("a vector's key")
}

fn identity(client_id: &str) -> Identity {
    Identity::from_client_id(client_id).expect("a vector's identity")
}

fn seconds(value: &Json) -> Timestamp {
    Timestamp(value.as_i64().expect("seconds") * 1000)
}

#[test]
fn tokens_are_built_to_the_letter() {
    for v in vectors("/sas/build", 17) {
        let (key, expires, policy) = (key(text(&v, "key_b64")), seconds(&v["se"]), v["skn"].as_str());
        let literal = sas::make_literal(text(&v, "sr"), &key, expires, policy);
        assert_eq!(literal.expose_secret(), text(&v, "token"), "{}", v["id"]);
        // Vectors in another encoding prove that the literal text is what is signed; ours is the encoding of RFC 3986, once.
        let ours = !["pub-double-encoded", "device-lower-hex", "device-unescaped-slash", "special-id-double", "special-id-dotnet"]
            .contains(&text(&v, "id"));
        let made = sas::make(text(&v, "resource"), &key, expires, policy);
        assert_eq!(made.expose_secret() == text(&v, "token"), ours, "{}", v["id"]);
    }
}

#[test]
fn tokens_are_believed_as_the_hub_believes_them() {
    for v in vectors("/sas/verify", 24) {
        let keys: Vec<Key> = v["keys_b64"].as_array().expect("list").iter().map(|k| key(k.as_str().expect("text"))).collect();
        let hosts: Vec<&str> = v["accepted_hosts"].as_array().expect("list").iter().filter_map(Json::as_str).collect();
        let identity = identity(text(&v, "identity"));
        let verdict = Token::parse(text(&v, "token"))
            .and_then(|token| token.verify(&keys.iter().collect::<Vec<_>>(), &hosts, &identity, seconds(&v["now"])));
        let expected = match text(&v, "expect") {
            "ok" => Ok(()),
            "bad_signature" => Err(TokenError::Signature),
            "bad_audience" => Err(TokenError::Audience),
            "expired" => Err(TokenError::Expired),
            "malformed" => Err(TokenError::Malformed),
            other => panic!("unknown expectation {other}"),
        };
        assert_eq!(verdict, expected, "{}", v["id"]);
    }
}

#[test]
fn a_module_has_tokens_of_its_own_and_a_policy_speaks_for_all_below_it() {
    let key = key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let verdict = |resource: &str, policy, client_id: &str| {
        let token = sas::make(resource, &key, Timestamp(10_000), policy);
        let token = Token::parse(token.expose_secret()).expect("our own");
        token.verify(&[&key], &["hub"], &identity(client_id), Timestamp(0))
    };
    assert_eq!(verdict("hub/devices/d/modules/m", None, "d/m"), Ok(()));
    assert_eq!(verdict("hub/devices/d/modules/m", None, "d"), Err(TokenError::Audience));
    assert_eq!(verdict("hub/devices", None, "d"), Err(TokenError::Audience));
    assert_eq!(verdict("hub", Some("iothubowner"), "d/m"), Ok(()));
    assert_eq!(verdict("hub/devices/e", Some("device"), "d"), Err(TokenError::Audience));
    assert_eq!(verdict("hub/devices/d/modules/m/x", Some("device"), "d/m"), Err(TokenError::Audience));
}

#[test]
fn no_debug_text_shows_a_key_or_a_signature() {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let token = sas::make("hub/devices/d", &key(secret), Timestamp(0), None);
    let string = format!("HostName=hub;DeviceId=d;SharedAccessKey={secret}");
    let shown = format!(
        "{:?} {:?} {token:?} {:?}",
        key(secret),
        Token::parse(token.expose_secret()).expect("our own"),
        ConnectionString::parse(&string).expect("valid")
    );
    assert!(!shown.contains("AAECAw") && !shown.contains("sig"), "{shown}");
    let broken = ConnectionString::parse(&string.replace("HostName", "AAECAw")).expect_err("no such field");
    assert!(!broken.to_string().contains("AAECAw"));
}

#[test]
fn keys_of_an_enrolment_group_are_derived() {
    for v in vectors("/dps/derived_keys", 5) {
        let derived = key(text(&v, "group_key_b64")).derive(text(&v, "registration_id"));
        assert_eq!(derived.to_base64().expose_secret(), text(&v, "derived_key_b64"), "{}", v["id"]);
    }
}

#[test]
fn a_registration_goes_as_the_service_wants_it() {
    let all: Json = serde_json::from_str(include_str!("iot-hub-vectors.json")).expect("the file is JSON");
    let v = &all["dps"]["mqtt"];
    let registration = Registration { id_scope: text(v, "id_scope").to_owned(), id: text(v, "registration_id").to_owned() };
    assert_eq!(
        (registration.user_name(), dps::GLOBAL_HOST, dps::ANSWERS),
        (text(v, "username").to_owned(), text(v, "host"), text(v, "subscribe"))
    );
    let password = registration.password(&key(text(v, "key_b64")), Timestamp(1_767_225_600_000));
    assert_eq!(password.expose_secret(), text(v, "password"));
    let (topic, body) = registration.register(1, None);
    assert_eq!(
        (topic.as_str(), serde_json::from_str::<Json>(&body).expect("JSON")),
        (text(v, "register_topic"), v["register_payload"].clone())
    );
    let steps = &v["steps"];
    let read =
        |step: &Json, request| Answer::read(text(step, "recv_topic"), step["recv"].to_string().as_bytes(), request).expect("an answer");
    let Answer::Wait { operation, after } = read(&steps[0], 1) else { panic!("to be asked again") };
    assert_eq!((dps::status(2, &operation).as_str(), after), (text(&steps[1], "send_topic"), Duration::from_secs(3)));
    let device = HubDeviceId::new("leaf-01").expect("valid");
    assert_eq!(read(&steps[2], 2), Answer::Assigned(Assignment { hub: "contoso.azure-devices.net".to_owned(), device }));
}

#[test]
fn a_key_that_was_not_copied_whole_is_noticed() {
    assert_eq!(Key::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").err(), Some(KeyError::NotBase64));
    assert_eq!(Key::from_base64("AAEC").err(), Some(KeyError::Length(3)));
    assert!(Key::from_base64(" AAECAwQFBgcICQoLDA0ODw==\n").is_ok());
}

#[test]
fn bags_are_written_to_the_letter() {
    for v in vectors("/property_bags/encode", 14) {
        let pairs = v["properties"].as_array().expect("list");
        let pairs = pairs.iter().map(|p| (p[0].as_str().expect("key"), p[1].as_str()));
        assert_eq!(bag::encode_all(pairs), text(&v, "bag"), "{}", v["id"]);
    }
}

#[test]
fn bags_are_read_in_both_tempers() {
    let pairs = |value: &Json| -> Vec<bag::Pair> {
        let list = value.as_array().expect("list").iter();
        list.map(|p| (p[0].as_str().expect("key").to_owned(), p[1].as_str().map(str::to_owned))).collect()
    };
    for v in vectors("/property_bags/decode", 19) {
        assert_eq!(bag::decode(text(&v, "bag")), pairs(&v["tolerant"]), "{}", v["id"]);
        match bag::decode_strict(text(&v, "bag")) {
            Ok(strict) => assert_eq!(strict, pairs(&v["strict"]), "{}", v["id"]),
            Err(_) => assert_eq!(v["strict"], json!("error"), "{}", v["id"]),
        }
    }
}

#[test]
fn a_bag_of_thirty_thousand_keys_is_read_at_once() {
    let hostile: String = (0..30_000).map(|i| format!("{}&", i % 10_000)).collect();
    let begun = std::time::Instant::now();
    assert_eq!(bag::decode(&hostile).len(), 10_000);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn user_names_are_read_leniently_and_written_exactly() {
    for v in vectors("/mqtt_username", 8) {
        let (name, client_id) = (text(&v, "username"), text(&v, "client_id"));
        let read = UserName::parse(name);
        // The parser that made the vectors wants api-version first. Reference §1.2 leaves the order free, and so do we.
        let any_order = v["note"].as_str().is_some_and(|note| note.contains("wants api-version first"));
        let accepted = read.as_ref().is_ok_and(|read| read.belongs_to(client_id));
        assert_eq!(accepted, v["accept"] == json!(true) || any_order, "{name}");
        let Some(parsed) = v["parsed"].as_object() else { continue };
        let read = read.expect("parsed");
        let mut parameters = json!({ "api-version": read.api_version });
        for (key, value) in [("model-id", &read.model_id), ("DeviceClientType", &read.client_type)] {
            if let Some(value) = value {
                parameters[key] = json!(value);
            }
        }
        let module = read.identity.module.as_ref().map(HubDeviceId::as_str);
        assert_eq!(
            json!({ "host": read.host, "device": read.identity.device.as_str(), "module": module, "params": parameters }),
            json!(parsed),
            "{name}"
        );
        if name.contains("/?") {
            assert_eq!(read.to_string(), name);
        }
    }
    assert_eq!(UserName::parse("contoso.azure-devices.net/leaf-01"), Err(UserNameError::ApiVersion));
}

#[test]
fn user_names_of_the_official_sdks_are_understood() {
    let python = "myhub.azure-devices.net/gw-01/mod1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%29gwtest%2F1.0";
    let read = UserName::parse(python).expect("python");
    assert!(read.belongs_to("gw-01/mod1") && !read.belongs_to("gw-01"));
    assert_eq!(read.client_type.as_deref(), Some("azure-iot-device-iothub-py/2.14.0(3.11.7;Linux)gwtest/1.0"));
    let node = "h/gw-01/?api-version=2021-04-12&DeviceClientType=azure-iot-device/1.18.4 (node)";
    assert_eq!(UserName::parse(node).expect("with a raw slash").identity, identity("gw-01"));
}

/// A topic as the vectors write it.
fn shown(topic: Option<&Topic<'_>>) -> Json {
    let mut shown = match topic {
        None => json!({ "kind": "unknown" }),
        Some(Topic::Event { device, module, bag }) => json!({ "kind": "d2c", "device": device, "module": module, "bag": bag }),
        Some(Topic::CloudToDevice { device, bag }) => json!({ "kind": "c2d", "device": device, "bag": bag }),
        Some(Topic::ModuleInput { device, module, input, bag }) => {
            json!({ "kind": "module_input", "device": device, "module": module, "input": input, "bag": bag })
        }
        Some(Topic::MethodRequest { method, request }) => json!({ "kind": "method_request", "method": method, "rid": request }),
        Some(Topic::MethodResponse { status, request }) => {
            json!({ "kind": "method_response", "status": status.to_string(), "rid": request })
        }
        Some(Topic::TwinGet { request }) => json!({ "kind": "twin_get", "rid": request }),
        Some(Topic::ReportedPatch { request, version }) => {
            json!({ "kind": "twin_patch_reported", "rid": request, "version": version.map(|v| v.to_string()) })
        }
        Some(Topic::TwinResponse { status, request, version }) => {
            json!({ "kind": "twin_response", "status": status.to_string(), "rid": request, "version": version.map(|v| v.to_string()) })
        }
        Some(Topic::DesiredPatch { version }) => json!({ "kind": "twin_desired", "version": version.to_string() }),
    };
    shown.as_object_mut().expect("object").retain(|_, value| !value.is_null());
    shown
}

#[test]
fn topics_are_read_and_written_in_both_directions() {
    for v in vectors("/topics", 23) {
        let text = text(&v, "topic");
        let topic = Topic::parse(text);
        let mut expected = v["parsed"].clone();
        let slashless = expected["kind"] == json!("d2c") && expected.get("bag").is_none();
        if slashless {
            expected["bag"] = json!("");
        }
        assert_eq!(shown(topic.as_ref()), expected, "{text}");
        let Some(topic) = topic else { continue };
        assert_eq!(topic.comes_from_device(), v["direction"] == json!("c->s"), "{text}");
        assert_eq!(topic.to_string(), if slashless { format!("{text}/") } else { text.to_owned() });
    }
}

#[test]
fn a_patch_for_one_version_never_becomes_a_patch_for_any() {
    assert_eq!(Topic::parse("$iothub/twin/PATCH/properties/reported/?$rid=8&$version=new"), None);
    assert_eq!(Topic::parse("$iothub/twin/PATCH/properties/reported/?$rid="), None);
}

#[test]
fn only_the_filters_of_the_dialect_are_known() {
    for filter in [
        "devices/leaf-01/messages/devicebound/#",
        "devices/edge-7/modules/filter/inputs/#",
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
    ] {
        assert_eq!(Filter::parse(filter).expect(filter).to_string(), filter);
    }
    assert_eq!(Filter::parse("devices/d/modules/m/#"), Some(Filter::ModuleInputs { device: "d", module: "m" }));
    for filter in ["#", "$iothub/#", "devices/#", "devices//messages/devicebound/#", "devices/d/#", "devices/+/messages/devicebound/x"] {
        assert_eq!(Filter::parse(filter), None, "{filter}");
    }
}

#[test]
fn a_silent_client_is_waited_for_as_the_hub_waits() {
    for v in vectors("/keepalive", 6) {
        let keep_alive = Duration::from_secs(v["client_keepalive_s"].as_u64().expect("seconds"));
        assert_eq!(allowed_silence(keep_alive).as_secs_f64(), v["server_timeout_s"].as_f64().expect("seconds"));
    }
    assert_eq!(allowed_silence(Duration::ZERO), allowed_silence(Duration::MAX / 4));
    assert!(allowed_silence(MAX_KEEP_ALIVE) > MAX_KEEP_ALIVE * 14 / 10);
}

#[test]
fn connection_strings_are_read_and_errors_name_the_field() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let read =
        ConnectionString::parse(&format!("hostname=hub.net;DeviceId=gw;ModuleId=m;SharedAccessKey={key};GatewayHostName=gw.local\n"))
            .expect("valid");
    assert_eq!((read.host.as_str(), read.gateway_host.as_deref()), ("hub.net", Some("gw.local")));
    assert_eq!(read.identity, identity("gw/m"));
    let Credential::Key { key: k, policy: None } = read.credential else { panic!("a key") };
    assert_eq!(k.to_base64().expose_secret(), key);
    let x509 = ConnectionString::parse("HostName=hub.net;DeviceId=gw;x509=true").expect("valid");
    assert!(matches!(x509.credential, Credential::X509));
    let refused = |text: &str| ConnectionString::parse(text).expect_err(text);
    use ConnectionStringError as E;
    assert_eq!(refused(&format!("HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={key}")), E::Missing("DeviceId"));
    assert_eq!(refused("DeviceId=d;x509=true"), E::Missing("HostName"));
    assert_eq!(refused("HostName=h;DeviceId=d"), E::Missing("SharedAccessKey"));
    assert_eq!(refused("HostName=h/x;DeviceId=d;x509=true"), E::Invalid("HostName"));
    assert_eq!(refused("HostName=h;DeviceId=a/b;x509=true"), E::Invalid("DeviceId"));
    assert_eq!(refused("HostName=h;DeviceId=d;x509=perhaps"), E::Invalid("x509"));
    assert_eq!(refused("HostName=h;HostName=h;DeviceId=d;x509=true"), E::Twice("HostName"));
    assert_eq!(refused(&format!("HostName=h;DeviceId=d;x509=true;SharedAccessKey={key}")), E::TwoCredentials);
    assert_eq!(refused("HostName=h;DeviceId=d;SharedAccessKey=AAEC"), E::Key(KeyError::Length(3)));
    assert_eq!(refused("HostName=h;EntityPath=x"), E::Unknown);
    assert_eq!(refused("nonsense"), E::Form);
}

proptest! {
    #[test]
    fn what_one_side_writes_the_other_reads(pairs in proptest::collection::btree_map(".{1,20}", proptest::option::of(".{0,20}"), 0..8)) {
        let bag = bag::encode_all(pairs.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
        for read in [Ok(bag::decode(&bag)), bag::decode_strict(&bag)] {
            prop_assert_eq!(read.expect("our own").into_iter().collect::<BTreeMap<_, _>>(), pairs.clone());
        }
    }

    #[test]
    fn methods_of_any_name_survive_their_topic(name in ".{1,40}") {
        let topic = Topic::MethodRequest { method: name.as_str().into(), request: "1f" }.to_string();
        prop_assert_eq!(Topic::parse(&topic), Some(Topic::MethodRequest { method: name.as_str().into(), request: "1f" }));
    }

    #[test]
    fn a_token_is_believed_until_it_ends_and_by_its_key_alone(
        bytes in proptest::collection::vec(any::<u8>(), 16..64), id in "[A-Za-z0-9=@#$%()+!*,'?._-]{1,20}", life in 1_i64..100_000,
    ) {
        let (key, identity) = (Key::from_bytes(bytes).expect("16 to 64"), identity(&id));
        let token = sas::make(&identity.resource("hub"), &key, Timestamp(life * 1000), None);
        let token = Token::parse(token.expose_secret()).expect("our own");
        prop_assert_eq!(token.verify(&[&key], &["hub"], &identity, Timestamp(life * 1000)), Ok(()));
        prop_assert_eq!(token.verify(&[&key], &["hub"], &identity, Timestamp((life + 301) * 1000)), Err(TokenError::Expired));
        prop_assert_eq!(token.verify(&[&key.derive("x")], &["hub"], &identity, Timestamp(0)), Err(TokenError::Signature));
        prop_assert_eq!(token.verify(&[], &["hub"], &identity, Timestamp(0)), Err(TokenError::Signature));
    }

    #[test]
    fn strangers_can_write_what_they_like(text in r"(SharedAccessSignature |devices/|\$iothub/|HostName=)?([ -~]|.){0,60}") {
        // Any answer is right; a panic is not.
        let _: Vec<bag::Pair> = bag::decode(&text);
        bag::decode_strict(&text).ok();
        if let Some(topic) = Topic::parse(&text) {
            prop_assert_eq!(Topic::parse(&topic.to_string()).map(|t| t.to_string()), Some(topic.to_string()));
        }
        if let Ok(token) = Token::parse(&text) {
            token.verify(&[], &["h"], &identity("d"), Timestamp(i64::MAX)).ok();
        }
        ConnectionString::parse(&text).ok();
        Filter::parse(&text);
        if let Ok(name) = UserName::parse(&text) {
            prop_assert_eq!(UserName::parse(&name.to_string()), Ok(name));
        }
    }
}
