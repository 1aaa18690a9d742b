//! The functions of reference §6.5: their names, what they take, and what they make of it.

use std::ops::Range;

use super::{QueryError, types::Type, value::Value};

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Exp,
    Square,
    Ceiling,
    Floor,
    Sign,
    Sqrt,
    Power,
    AsNumber,
    IsBool,
    IsNumber,
    IsString,
    IsNull,
    IsDefined,
    Concat,
    Length,
    Lower,
    Upper,
    Substring,
    IndexOf,
    StartsWith,
    EndsWith,
    Contains,
}

use Function::{
    Abs, AsNumber, Ceiling, Concat, Contains, EndsWith, Exp, Floor, IndexOf, IsBool, IsDefined, IsNull, IsNumber, IsString, Length, Lower,
    Power, Sign, Sqrt, Square, StartsWith, Substring, Upper,
};

/// What a function is called, takes and gives.
struct Row {
    function: Function,
    name: &'static str,
    /// Fewest and most arguments.
    count: (usize, usize),
    /// What arguments may be: none named for anything, one for all of them, else place by place.
    takes: &'static [Type],
    gives: Type,
}

const fn row(function: Function, name: &'static str, count: (usize, usize), takes: &'static [Type], gives: Type) -> Row {
    Row { function, name, count, takes, gives }
}

const TABLE: &[Row] = &[
    row(Abs, "abs", (1, 1), NUMBERS, Type::Number),
    row(Exp, "exp", (1, 1), NUMBERS, Type::Number),
    row(Square, "square", (1, 1), NUMBERS, Type::Number),
    row(Ceiling, "ceiling", (1, 1), NUMBERS, Type::Number),
    row(Floor, "floor", (1, 1), NUMBERS, Type::Number),
    row(Sign, "sign", (1, 1), NUMBERS, Type::Number),
    row(Sqrt, "sqrt", (1, 1), NUMBERS, Type::Number),
    row(Power, "power", (2, 2), NUMBERS, Type::Number),
    row(AsNumber, "as_number", (1, 1), &[Type::Text, Type::Number], Type::Number),
    row(IsBool, "is_bool", (1, 1), ANY, Type::Bool),
    row(IsNumber, "is_number", (1, 1), ANY, Type::Bool),
    row(IsString, "is_string", (1, 1), ANY, Type::Bool),
    row(IsNull, "is_null", (1, 1), ANY, Type::Bool),
    row(IsDefined, "is_defined", (1, 1), ANY, Type::Bool),
    row(Concat, "concat", (2, MOST_TEXTS), TEXTS, Type::Text),
    row(Length, "length", (1, 1), TEXTS, Type::Number),
    row(Lower, "lower", (1, 1), TEXTS, Type::Text),
    row(Upper, "upper", (1, 1), TEXTS, Type::Text),
    row(Substring, "substring", (2, 3), &[Type::Text, Type::Number, Type::Number], Type::Text),
    row(IndexOf, "index_of", (2, 2), TEXTS, Type::Number),
    row(StartsWith, "starts_with", (2, 2), TEXTS, Type::Bool),
    row(EndsWith, "ends_with", (2, 2), TEXTS, Type::Bool),
    row(Contains, "contains", (2, 2), TEXTS, Type::Bool),
];

const NUMBERS: &[Type] = &[Type::Number];
const TEXTS: &[Type] = &[Type::Text];
const ANY: &[Type] = &[];
/// As many as a query has room for.
const MOST_TEXTS: usize = 1000;

impl Function {
    /// By its name, compared without regard to case.
    pub(super) fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.function)
    }

    pub(super) fn unknown(name: &str, at: Range<usize>) -> QueryError {
        let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
        let name: String = name.chars().take(40).collect();
        QueryError::new(at, format!("there is no function {name}"), format!("use one of {}", names.join(", ")))
    }

    fn row(self) -> &'static Row {
        // Every function has a row; a test goes through them.
        TABLE.iter().find(|row| row.function == self).unwrap_or(&TABLE[0])
    }

    /// The kind of what comes out.
    pub(super) fn result(self) -> Type {
        self.row().gives
    }

    pub(super) fn check_count(self, count: usize, at: Range<usize>) -> Result<(), QueryError> {
        let Row { name, count: (least, most), .. } = self.row();
        if (*least..=*most).contains(&count) {
            return Ok(());
        }
        let wanted = match *most {
            most if most == *least => format!("{least}"),
            MOST_TEXTS => format!("{least} or more"),
            most => format!("{least} or {most}"),
        };
        Err(QueryError::new(at, format!("{name} takes {wanted} arguments, and here are {count}"), "add or remove arguments"))
    }

    pub(super) fn check_argument(self, place: usize, found: Type, at: Range<usize>) -> Result<(), QueryError> {
        let Row { name, takes: wanted, .. } = self.row();
        // Texts may be null (reference §6.5: null counts as empty, or makes the result undefined).
        let null_text = found == Type::Null && wanted.contains(&Type::Text);
        let fits = match (self, wanted.len()) {
            _ if matches!(found, Type::Dynamic | Type::Undefined) || null_text => true,
            (AsNumber, _) => wanted.contains(&found),
            (_, 0) => true,
            (_, 1) => wanted[0] == found,
            _ => wanted.get(place) == Some(&found),
        };
        if fits {
            return Ok(());
        }
        let kind = if wanted.get(place).or(wanted.first()) == Some(&Type::Number) { "a number" } else { "text" };
        let next = if kind == "a number" && found == Type::Text { "wrap it in as_number(…)" } else { "use another argument" };
        Err(QueryError::new(at, format!("{name} takes {kind} here"), next))
    }

    /// What the function makes of its arguments: their number is right, their kinds may be anything that a message holds.
    pub(super) fn apply<'m>(self, arguments: &[Value<'m>]) -> Value<'m> {
        let first = &arguments[0];
        match self {
            IsBool => Value::Bool(matches!(first, Value::Bool(_))),
            IsNumber => Value::Bool(first.as_number().is_some_and(f64::is_finite)),
            IsString => Value::Bool(first.as_text().is_some()),
            IsNull => Value::Bool(first.is_null()),
            IsDefined => Value::Bool(!matches!(first, Value::Undefined | Value::Missing)),
            Concat => join(arguments),
            AsNumber => as_number(first),
            Abs | Exp | Square | Ceiling | Floor | Sign | Sqrt | Power => self.compute(arguments),
            _ => self.of_text(arguments),
        }
    }

    fn compute<'m>(self, arguments: &[Value<'m>]) -> Value<'m> {
        let Some(x) = arguments[0].as_number() else { return Value::Undefined };
        Value::number(match self {
            Abs => x.abs(),
            Exp => x.exp(),
            Square => x * x,
            Ceiling => x.ceil(),
            Floor => x.floor(),
            Sign if x == 0.0 => 0.0,
            Sign => x.signum(),
            Sqrt => x.sqrt(),
            _ => match arguments.get(1).and_then(Value::as_number) {
                Some(power) => x.powf(power),
                None => return Value::Undefined,
            },
        })
    }

    fn of_text<'m>(self, arguments: &[Value<'m>]) -> Value<'m> {
        let Some(text) = arguments[0].as_text() else { return Value::Undefined };
        let other = || arguments.get(1).and_then(Value::as_text);
        let about = |judge: fn(&str, &str) -> bool| other().map_or(Value::Undefined, |other| Value::Bool(judge(text, other)));
        match self {
            Length => Value::Number(text.chars().count() as f64),
            Lower => Value::text(text.to_lowercase()),
            Upper => Value::text(text.to_uppercase()),
            Substring => substring(text, &arguments[1..]),
            IndexOf => other()
                .map_or(Value::Undefined, |other| Value::Number(text.find(other).map_or(-1.0, |at| text[..at].chars().count() as f64))),
            StartsWith => about(|text, other| text.starts_with(other)),
            EndsWith => about(|text, other| text.ends_with(other)),
            _ => about(|text, other| text.contains(other)),
        }
    }
}

/// Joins texts; null counts as empty, anything else that is no text makes the whole undefined.
pub(super) fn join<'m>(parts: &[Value<'m>]) -> Value<'m> {
    let mut joined = String::new();
    for part in parts {
        match part {
            Value::Text(text) => joined.push_str(text),
            Value::Null => {}
            _ => return Value::Undefined,
        }
        if joined.len() > super::MAX_TEXT {
            return Value::Undefined;
        }
    }
    Value::text(joined)
}

/// A decimal number with or without an exponent; words like `inf` are none.
fn as_number<'m>(value: &Value<'m>) -> Value<'m> {
    match value {
        Value::Number(number) => Value::Number(*number),
        Value::Text(text) => {
            let text = text.trim();
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            text.parse().ok().filter(|_| plain).map_or(Value::Undefined, Value::number)
        }
        _ => Value::Undefined,
    }
}

/// Characters from `start`, all of the rest or so many; `start` at the very end gives nothing, without a length only.
fn substring<'m>(text: &str, numbers: &[Value<'m>]) -> Value<'m> {
    let whole = |value: &Value<'_>| value.as_number().filter(|n| n.fract() == 0.0 && (0.0..=1e9).contains(n)).map(|n| n as usize);
    let Some(start) = whole(&numbers[0]) else { return Value::Undefined };
    let length = text.chars().count();
    let wanted = match numbers.get(1) {
        None if start <= length => length - start,
        Some(wanted) => match whole(wanted) {
            Some(wanted) if start < length && wanted <= length - start => wanted,
            _ => return Value::Undefined,
        },
        None => return Value::Undefined,
    };
    Value::text(text.chars().skip(start).take(wanted).collect())
}
