//! The routing queries and edge routes of the reference's vectors, and what a hostile query can do.

use std::borrow::Cow;

use serde_json::Value as Json;
use tidegate_core::dialect::{
    edge_route::{self, Sink, SourcePattern},
    query::{BodyText, Facts, MAX_QUERY, Query, Source, Truth},
};

fn vectors() -> Json {
    serde_json::from_str(include_str!("iot-hub-vectors.json")).expect("the vectors are JSON")
}

/// A message of the vectors.
struct Sample {
    json: Json,
    body: Option<Json>,
}

impl Sample {
    fn new(json: &Json) -> Self {
        let system = |name: &str| json["sys"][name].as_str();
        let text = BodyText::applies(system("contentType"), system("contentEncoding"));
        let bytes = json["body"].as_str().map_or_else(|| json["body"].to_string(), str::to_owned);
        Self { body: text.and_then(|text| text.parse(bytes.as_bytes())), json: json.clone() }
    }

    fn look_up(&self, part: &str, name: &str) -> Option<&Json> {
        self.json[part].as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Facts for Sample {
    fn property(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        self.look_up("app", name).map(|value| value.as_str().map(Cow::Borrowed))
    }

    fn system(&self, name: &str) -> Option<Cow<'_, str>> {
        self.look_up("sys", name).and_then(Json::as_str).map(Cow::Borrowed)
    }

    fn body(&self) -> Option<&Json> {
        self.body.as_ref()
    }

    fn twin(&self) -> Option<&Json> {
        self.json.get("twin")
    }
}

fn outcome(query: &str, message: &Json, source: Source) -> &'static str {
    match Query::compile(query, source).map(|query| query.eval(&Sample::new(message))) {
        Ok(Truth::True) => "true",
        Ok(Truth::False) => "false",
        Ok(Truth::Undefined) => "undefined",
        Err(_) => "compile_error",
    }
}

#[test]
fn every_query_of_the_vectors_has_the_result_of_the_gateway_dialect() {
    let vectors = vectors();
    let routing = &vectors["routing"];
    let queries = routing["queries"].as_array().expect("a list");
    assert!(queries.len() >= 120);
    for case in queries {
        let source = if case["source"] == "twinChangeEvents" { Source::TwinChanges } else { Source::Messages };
        let (query, message) = (case["query"].as_str().expect("text"), case["message"].as_str().expect("text"));
        let found = outcome(query, &routing["messages"][message], source);
        assert_eq!(found, case["expected"]["gateway"].as_str().expect("text"), "{}: {query}", case["id"]);
    }
}

#[test]
fn the_twenty_examples_of_the_reference_hold() {
    let message = &vectors()["routing"]["messages"]["telemetry"];
    for (query, expected) in [
        ("true", "true"),
        ("", "undefined"),
        ("PROCESSINGPATH = \"hot\"", "true"),
        ("processingPath = 'HOT'", "false"),
        ("severity = 2", "compile_error"),
        ("as_number(severity) <= 2", "true"),
        ("missing <> 'x'", "undefined"),
        ("NOT is_defined(missing)", "true"),
        ("missing = 'x' OR site = 'A'", "true"),
        ("site = 'A' OR site = 'B' AND severity = '9'", "true"),
        ("NOT site = 'A'", "compile_error"),
        ("site == 'A'", "compile_error"),
        ("site!='A'", "undefined"),
        ("$connectionDeviceId = 'leaf-01'", "true"),
        ("$body.Weather.Temperature = 50 AND $body.Weather.IsEnabled", "true"),
        ("$body.Weather.Temperature = '50'", "false"),
        ("length($body.Weather.City) = 7 AND $body.Weather.Hist[1] = 30", "true"),
        ("$body.Weather.Obj = 1", "undefined"),
        ("$body.Weather.Missing = null", "true"),
        ("$twin.tags.line = 4", "true"),
    ] {
        assert_eq!(outcome(query, message, Source::Messages), expected, "{query}");
    }
}

#[test]
fn an_error_points_at_the_place_and_says_what_to_do() {
    let error = |query: &str| {
        let error = Query::compile(query, Source::Messages).expect_err(query);
        format!("{}\n{error}", error.pointed_at(query))
    };
    assert_eq!(
        error("site = 'A' AND severity <= 2"),
        "site = 'A' AND severity <= 2\n               ^^^^^^^^^^^^^\n\
         character 16: only values of one kind can be compared: this is text and a number; next: write as_number(severity) if it holds a number"
    );
    assert_eq!(
        error("a == 'b'"),
        "a == 'b'\n   ^\ncharacter 4: something to compare or to compute with is missing before this; \
         next: put a property, a value, a function or an opening bracket here"
    );
    assert_eq!(
        error("site = 'A"),
        "site = 'A\n       ^^\ncharacter 8: a text is not closed; next: end it with the quotation mark it begins with"
    );
    assert!(error("level = 'ä' AND ü = 3").contains("\n                ^^^^^\n"), "{}", error("level = 'ä' AND ü = 3"));
    assert!(error("lenght(a) = 1").contains("there is no function lenght"));
    assert!(error("substring(a) = 'x'").contains("substring takes 2 or 3 arguments, and here are 1"));
    assert!(error("a = null").contains("use is_null"));
    assert!(error("(a = 'b'").contains("a bracket is not closed"));
    assert!(error("a = 'b' c").contains("should have ended here"));
    assert!(error("/* a").contains("a comment is not closed"));
}

#[test]
fn hostile_queries_are_refused_or_cheap_on_a_small_stack() {
    let message = vectors()["routing"]["messages"]["telemetry"].clone();
    let run = move || {
        let many = |part: &str, size: usize| part.repeat(size / part.len());
        let nested = |open: &str, inner: &str, close: &str, times: usize| format!("{}{inner}{}", open.repeat(times), close.repeat(times));
        for query in [
            nested("(", "true", ")", 2000),
            nested("NOT ", "true", "", 1000),
            nested("- ", "1", "", 2000),
            nested("upper(", "'a'", ")", 500),
            "true OR ".to_owned() + &many("false OR ", 4000) + "true",
            "1 + ".to_owned() + &many("1 + ", 4000) + "1 = 1000",
            format!("concat({}'a') = 'b'", many("site, ", 4000)),
            format!("$body{} = 1", many(".a", 4000)),
            format!("a = '{}", many("\\'", 4000)),
            many("'", 4096),
            many("(", 4096),
            many("$", 4096),
            format!("a = {}", many("9", 4000)),
            format!("a = '{}'", many("\u{1F980}", 4000)),
        ] {
            assert!(query.len() <= MAX_QUERY, "{}", query.len());
            assert!(!outcome(&query, &message, Source::Messages).is_empty());
        }
        assert!(Query::compile(&many("a", MAX_QUERY + 1), Source::Messages).is_err());
        let long = Query::compile(&format!("concat({}'a') = 'b'", many("big, ", 4000)), Source::Messages).expect("fits");
        let big = serde_json::json!({ "app": { "big": many("x", 8000) } });
        assert_eq!(long.eval(&Sample::new(&big)), Truth::Undefined, "texts do not grow without bound");
    };
    // A worker's stack has 2 MiB; unoptimised code needs the most.
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).expect("a thread").join().expect("no panic");
}

#[test]
fn bodies_are_looked_into_in_three_encodings_and_only_when_they_are_json_objects() {
    let text = r#"{"a":"ä"}"#;
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_big: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    for (encoding, bytes) in [("UTF-8", text.as_bytes().to_vec()), ("utf-16", utf16), ("utf-16", utf16_big), ("Utf-32", utf32)] {
        let kind = BodyText::applies(Some("application/json"), Some(encoding)).expect("known");
        assert_eq!(kind.parse(&bytes).expect("read")["a"], "ä", "{encoding}");
        assert_eq!(kind.parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(kind.parse(b"[1]"), None);
    }
    assert_eq!(BodyText::applies(Some("application/json; charset=\"UTF-8\""), None), Some(BodyText::Utf8));
    for (kind, encoding) in [
        (None, Some("utf-8")),
        (Some("text/plain"), Some("utf-8")),
        (Some("application/json"), Some("gzip")),
        (Some("application/json"), None),
    ] {
        assert_eq!(BodyText::applies(kind, encoding), None);
    }
}

#[test]
fn edge_routes_of_the_vectors_match_and_read() {
    let vectors = vectors();
    let sources = vectors["edge_routes"]["sources"].as_object().expect("a map");
    for case in vectors["edge_routes"]["match"].as_array().expect("a list") {
        let pattern = SourcePattern::new(case["pattern"].as_str().expect("text"));
        for (name, source) in sources {
            assert_eq!(pattern.matches(source.as_str().expect("text")), case["matches"][name], "{pattern:?} {source}");
        }
    }
    for case in vectors["edge_routes"]["parse"].as_array().expect("a list") {
        let text = case["route"].as_str().expect("text");
        let found = edge_route::parse(text);
        let Some(parsed) = case["parsed"].as_object() else {
            let error = found.map(|_| ()).expect_err(text);
            assert!(error.at.end <= text.len() && error.at.start <= error.at.end, "{text}: {error:?}");
            continue;
        };
        let route = found.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(route.source.text(), parsed["source"]);
        assert_eq!(route.condition.text(), parsed["condition"]);
        match route.sink {
            Sink::Upstream => assert_eq!(parsed["sink"]["name"], "$upstream"),
            Sink::Module { module, input } => assert_eq!(parsed["sink"]["arg"], format!("/modules/{module}/inputs/{input}")),
        }
    }
}

#[test]
fn an_error_in_a_condition_points_into_the_whole_route() {
    let text = "FROM /messages WHERE  t > 30 INTO $upstream";
    let error = edge_route::parse(text).expect_err("a text and a number");
    assert_eq!(&text[error.at], "t > 30");
}
