//! The messages of one device and the points in them.

use std::collections::BTreeSet;

use regex::bytes::{Regex, RegexBuilder};
use tidegate_core::{
    id::PointName,
    problem::Problems,
    profile::{PointProfile, Takes},
};

use super::{
    super::{
        config::{RawDevice, RawKind, RawMessage, RawParser, RawSerialPoint},
        device::{Asked, Message, Write},
        parse::{At, Field, Fix, Parser, Path, Pattern, Piece, Scalar, Spot, Type},
        template::{self, Template},
    },
    interval,
};

/// A compiled expression may take this much memory: enough for any message, too little for a hostile one to matter.
const MOST_REGEX: usize = 256 * 1024;

/// What messages need to know of their device.
pub(super) struct Context<'a> {
    pub(super) device: &'a RawDevice,
    pub(super) address: &'a str,
    /// Whether {checksum} means something.
    pub(super) has_checksum: bool,
}

pub(super) fn messages(context: &Context<'_>, problems: &mut Problems) -> Vec<(Message, Vec<PointProfile>)> {
    if context.device.message.is_empty() {
        problems.key("message").warning("no message: nothing will be read", "add a [[adapter.device.message]] with its points");
    }
    let mut names = BTreeSet::new();
    let mut list = problems.key("message");
    let mut checked = Vec::new();
    for (at, raw) in context.device.message.iter().enumerate() {
        let problems = &mut *list.entry(at, None);
        checked.extend(message(context, raw, &mut names, problems));
    }
    checked
}

fn message<'a>(
    context: &Context<'a>,
    raw: &'a RawMessage,
    names: &mut BTreeSet<&'a str>,
    problems: &mut Problems,
) -> Option<(Message, Vec<PointProfile>)> {
    only_its_own_keys(raw, problems);
    let only = raw.only.as_ref().map(|text| expression("match", text, context.address, problems));
    let parser = parser(context, raw, problems);
    let asked = asked(context, raw, problems);
    if raw.point.is_empty() {
        problems.key("point").warning("no point: nothing will be read", "add a [[adapter.device.message.point]]");
    }
    let (mut fields, mut writes, mut profiles) = (Vec::new(), Vec::new(), Vec::new());
    let mut list = problems.key("point");
    for (at, point) in raw.point.iter().enumerate() {
        let problems = &mut *list.entry(at, Some(&point.name));
        if !names.insert(&point.name) {
            problems.key("name").error("is taken by another point of this device", "give each point a name of its own");
        }
        if let Some((field, write, profile)) = self::point(context, raw, parser.as_ref(), point, problems) {
            fields.push(field);
            writes.push(write);
            profiles.push(profile);
        }
    }
    drop(list);
    let only = match only {
        Some(only) => Some(only?),
        None => None,
    };
    Some((Message { pattern: Pattern { only, parser: parser?, fields }, asked: asked?, writes }, profiles))
}

fn only_its_own_keys(raw: &RawMessage, problems: &mut Problems) {
    use RawParser::{Csv, Pairs, Regex};
    let keys: [(&str, bool, &[RawParser]); 4] = [
        ("pattern", raw.pattern.is_some(), &[Regex]),
        ("separator", raw.separator.is_some(), &[Csv, Pairs]),
        ("quote", raw.quote.is_some(), &[Csv]),
        ("equals", raw.equals.is_some(), &[Pairs]),
    ];
    for (key, ..) in keys.iter().filter(|(_, given, parsers)| *given && !parsers.contains(&raw.parser)) {
        problems.key(key).error("has no meaning with this parser", "leave it out");
    }
    if raw.request.is_none() {
        for (key, given) in [("prelude", !raw.prelude.is_empty()), ("interval", raw.interval.is_some())] {
            if given {
                problems.key(key).error("has no effect without a request", "add `request`, or leave it out");
            }
        }
    }
}

/// `{address}` stands for the device's, taken literally.
fn expression(key: &str, text: &str, address: &str, problems: &mut Problems) -> Option<Regex> {
    let text = text.replace("{address}", &regex::escape(address));
    let built = RegexBuilder::new(&text).size_limit(MOST_REGEX).dfa_size_limit(MOST_REGEX).build();
    built
        .map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            problems.key(key).error(format!("is no regular expression: {why}"), "see the README for what there is");
        })
        .ok()
}

fn separator(key: &str, given: Option<&String>, default: &[u8], problems: &mut Problems) -> Option<Vec<u8>> {
    let Some(text) = given else { return Some(default.to_vec()) };
    match template::bytes(text) {
        Ok(bytes) if !bytes.is_empty() && bytes.len() <= 8 => Some(bytes),
        _ => {
            problems.key(key).error("is not 1 to 8 bytes", "write the bytes, with escapes: ',', '\\t', '\\r\\n'");
            None
        }
    }
}

fn parser(context: &Context<'_>, raw: &RawMessage, problems: &mut Problems) -> Option<Parser> {
    Some(match raw.parser {
        RawParser::Regex => match &raw.pattern {
            Some(text) => Parser::Regex(Some(expression("pattern", text, context.address, problems)?)),
            None => {
                if raw.point.iter().any(|point| point.pattern.is_none() && point.write.is_none()) {
                    problems
                        .key("pattern")
                        .error("is missing", "write the expression with a group for each point: '^(?<weight>[-+0-9.]+) kg'");
                    return None;
                }
                Parser::Regex(None)
            }
        },
        RawParser::Json => Parser::Json,
        RawParser::Csv => {
            let one = |key: &str, given: Option<&String>, default: &[u8], problems: &mut Problems| {
                let bytes = separator(key, given, default, problems)?;
                let byte = bytes.first().copied().filter(|_| bytes.len() == 1);
                if byte.is_none() {
                    problems.key(key).error("is more than one byte", "write one byte");
                }
                byte
            };
            let quote = match raw.quote.as_deref() {
                Some("") => None,
                _ => Some(one("quote", raw.quote.as_ref(), b"\"", problems)?),
            };
            Parser::Csv { separator: one("separator", raw.separator.as_ref(), b",", problems)?, quote }
        }
        RawParser::Pairs => {
            let between = separator("separator", raw.separator.as_ref(), b",", problems);
            let equals = separator("equals", raw.equals.as_ref(), b"=", problems);
            Parser::Pairs { between: between?, equals: equals? }
        }
        RawParser::Layout => Parser::Layout,
        RawParser::Nmea => Parser::Nmea,
    })
}

/// The outer `None`: a problem was told.
fn asked(context: &Context<'_>, raw: &RawMessage, problems: &mut Problems) -> Option<Option<Asked>> {
    let Some(text) = &raw.request else { return Some(None) };
    let request = request("request", text, context, false, problems);
    let mut prelude = Vec::new();
    let mut list = problems.key("prelude");
    for (at, exchange) in raw.prelude.iter().enumerate() {
        let problems = &mut *list.entry(at, None);
        let send = self::request("send", &exchange.send, context, false, problems);
        let until = separator("until", Some(&exchange.until), b"", problems);
        prelude.extend(send.zip(until));
    }
    drop(list);
    let interval = interval(raw.interval.or(context.device.interval), problems);
    Some(Some(Asked { prelude, request: request?, interval, shown: text.clone() }))
}

fn request(key: &str, text: &str, context: &Context<'_>, with_value: bool, problems: &mut Problems) -> Option<Template> {
    let mut problems = problems.key(key);
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(why) => {
            problems.error(why, "see the README for how requests are written");
            return None;
        }
    };
    if template.has_address() && context.address.is_empty() {
        problems.error("needs an address", "add `address` to the device");
    }
    if template.has_checksum() && !context.has_checksum {
        problems.error("needs a checksum", "add `checksum` to the frame, or `request_checksum` to the adapter");
    }
    match (template.has_value(), with_value) {
        (true, false) => problems.error("has a {value}, and there is none", "leave it out"),
        (false, true) => problems.error("does not say the value", "write {value} where it stands"),
        _ => {}
    }
    Some(template)
}

fn point(
    context: &Context<'_>,
    message: &RawMessage,
    parser: Option<&Parser>,
    raw: &RawSerialPoint,
    problems: &mut Problems,
) -> Option<(Field, Option<Write>, PointProfile)> {
    let at = place(context, message, parser, raw, problems);
    let scalar = scalar(message, raw, problems);
    let write = write(context, message, raw, problems);
    let takes = match (&raw.write, scalar.kind) {
        (None, _) => Takes::Nothing("a point is written by a template: add `write`"),
        (Some(_), Type::Text) => Takes::Text { most_bytes: 200 },
        (Some(_), Type::Bool) => Takes::Bit,
        (Some(_), Type::Hex) => Takes::Whole { least: 0, most: u64::MAX },
        (Some(_), _) => Takes::Any,
    };
    let name = PointName::new(&raw.name)
        .map_err(|error| problems.key("name").error(format!("'{}' is not a point name", error.text), error.rule))
        .ok()?;
    let profile = raw.point.check_with(name.clone(), takes, problems);
    Some((Field { name, at: at?, scalar, optional: raw.optional == Some(true) }, write, profile))
}

fn scalar(message: &RawMessage, raw: &RawSerialPoint, problems: &mut Problems) -> Scalar {
    let text = !matches!(message.parser, RawParser::Layout | RawParser::Nmea);
    let kind = match raw.kind {
        None if message.parser == RawParser::Json => Type::Json,
        None | Some(RawKind::Number) => Type::Number,
        Some(RawKind::Hex) => Type::Hex,
        Some(RawKind::Bool) => Type::Bool,
        Some(RawKind::Text) => Type::Text,
        Some(_) if text => {
            problems.key("type").error("is for layout", "write \"number\", \"hex\", \"bool\" or \"text\", or leave it out");
            Type::Number
        }
        Some(_) => Type::Number,
    };
    Scalar { kind, comma: message.decimal_comma == Some(true) }
}

fn write(context: &Context<'_>, message: &RawMessage, raw: &RawSerialPoint, problems: &mut Problems) -> Option<Write> {
    let writable = raw.point.write.writable == Some(true);
    let Some(text) = raw.write.as_ref().filter(|_| writable) else {
        let given = [
            ("write", raw.write.is_some()),
            ("confirm", raw.confirm.is_some()),
            ("refuse", raw.refuse.is_some()),
            ("read_back", raw.read_back.is_some()),
        ];
        for (key, _) in given.iter().filter(|(key, given)| *given && (!writable || *key != "write")) {
            problems.key(key).error("has no effect without writable = true and `write`", "add them, or leave it out");
        }
        return None;
    };
    if raw.read_back == Some(true) && message.request.is_none() {
        problems.key("read_back").error("needs a message with a request", "leave it out; `confirm` can say what was set");
    }
    let pattern = |key: &str, given: &Option<String>, problems: &mut Problems| match given {
        Some(text) => expression(key, text, context.address, problems).map(Some),
        None => Some(None),
    };
    let template = request("write", text, context, true, problems);
    let (confirm, refuse) = (pattern("confirm", &raw.confirm, problems), pattern("refuse", &raw.refuse, problems));
    Some(Write { template: template?, confirm: confirm?, refuse: refuse?, read_back: raw.read_back != Some(false) })
}

fn place(
    context: &Context<'_>,
    message: &RawMessage,
    parser: Option<&Parser>,
    raw: &RawSerialPoint,
    problems: &mut Problems,
) -> Option<At> {
    only_keys_of_its_parser(message.parser, raw, problems);
    let nowhere = raw.write.is_some() && raw.field.is_none() && raw.pattern.is_none() && raw.column.is_none() && raw.at.is_none();
    let field = raw.field.as_ref().unwrap_or(&raw.name);
    match message.parser {
        RawParser::Regex => match (&raw.pattern, parser) {
            (Some(text), _) => expression("pattern", text, context.address, problems).map(At::Own),
            (None, Some(Parser::Regex(Some(pattern)))) => {
                let known = pattern.capture_names().flatten().any(|group| group == field);
                match known {
                    true => Some(At::Group(field.clone())),
                    false if nowhere => Some(At::Nowhere),
                    false => {
                        problems
                            .key("field")
                            .error(format!("the pattern has no group '{field}'"), "name a group of the pattern: (?<name>…)");
                        None
                    }
                }
            }
            _ => nowhere.then_some(At::Nowhere),
        },
        _ if nowhere && matches!(message.parser, RawParser::Csv | RawParser::Layout | RawParser::Nmea) => Some(At::Nowhere),
        RawParser::Json => field.parse::<Path>().map(At::Path).map_err(|why| problems.key("field").error(why, "write a path: a.b[0]")).ok(),
        RawParser::Csv => match raw.column {
            Some(column @ 1..) => Some(At::Column(usize::from(column) - 1)),
            _ => {
                problems.key("column").error("is missing", "write which column, from 1");
                None
            }
        },
        RawParser::Pairs => Some(At::Key(field.trim().as_bytes().to_vec())),
        RawParser::Layout => piece(raw, problems).map(At::Bytes),
        RawParser::Nmea => fix(field, problems).map(At::Fix),
    }
}

fn only_keys_of_its_parser(parser: RawParser, raw: &RawSerialPoint, problems: &mut Problems) {
    use RawParser::{Csv, Json, Layout, Nmea, Pairs, Regex};
    let keys: [(&str, bool, &[RawParser]); 8] = [
        ("field", raw.field.is_some(), &[Regex, Json, Pairs, Nmea]),
        ("pattern", raw.pattern.is_some(), &[Regex]),
        ("column", raw.column.is_some(), &[Csv]),
        ("at", raw.at.is_some(), &[Layout]),
        ("bit", raw.bit.is_some(), &[Layout]),
        ("length", raw.length.is_some(), &[Layout]),
        ("order", raw.order.is_some(), &[Layout]),
        ("type", raw.kind.is_some(), &[Regex, Json, Csv, Pairs, Layout]),
    ];
    for (key, ..) in keys.iter().filter(|(_, given, parsers)| *given && !parsers.contains(&parser)) {
        problems.key(key).error("has no meaning with this parser", "leave it out");
    }
}

fn fix(field: &str, problems: &mut Problems) -> Option<Fix> {
    Some(match field {
        "latitude" => Fix::Latitude,
        "longitude" => Fix::Longitude,
        "altitude" => Fix::Altitude,
        "speed" => Fix::Speed,
        "course" => Fix::Course,
        "satellites" => Fix::Satellites,
        "hdop" => Fix::Hdop,
        "fixed" => Fix::Fixed,
        "time" => Fix::Time,
        "date" => Fix::Date,
        other => {
            problems.key("field").error(
                format!("'{other}' is nothing that a receiver says"),
                "write latitude, longitude, altitude, speed, course, satellites, hdop, fixed, time or date",
            );
            return None;
        }
    })
}

fn piece(raw: &RawSerialPoint, problems: &mut Problems) -> Option<Piece> {
    let Some(at) = raw.at else {
        problems.key("at").error("is missing", "write the first byte, from 0; from the end when negative");
        return None;
    };
    let spot = Spot { offset: at.unsigned_abs() as usize, from_end: at < 0 };
    let length = raw.length.filter(|length| *length > 0).map(usize::from);
    let piece = match (raw.kind, raw.bit) {
        (None | Some(RawKind::Bool), Some(bit)) => Piece::Bit(spot, bit),
        (Some(_), Some(_)) => {
            problems.key("bit").error("makes the point a bool", "leave `type` out, or `bit`");
            return None;
        }
        (None | Some(RawKind::Number | RawKind::Hex), None) => {
            problems.key("type").error("is missing", "write what the bytes hold, such as \"u16\"");
            return None;
        }
        (Some(kind), None) => {
            let Some(piece) = kind.form()?.at(spot, raw.order.unwrap_or_default().order(), length) else {
                problems.key("length").error("is missing", "write how many bytes it takes");
                return None;
            };
            piece
        }
    };
    let is_list = matches!(piece, Piece::Text(..) | Piece::Bytes(..));
    if raw.length.is_some() && !is_list {
        problems.key("length").error("is for \"string\" and \"bytes\"; other types know their length", "leave it out");
    }
    if spot.from_end && spot.offset < piece.width() {
        problems
            .key("at")
            .error(format!("leaves no room for {} bytes before the end", piece.width()), format!("write -{} or less", piece.width()));
    }
    Some(piece)
}
