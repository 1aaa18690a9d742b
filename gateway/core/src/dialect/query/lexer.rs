//! From text to tokens, by longest match; of equally long ones the first in the grammar wins (reference §6.2).
//!
//! That is why `site!='A'` reads one property with an odd name: `!` and `'` may stand in names, and the whole run is longer than
//! any other token. Faithful to the grammar, because routes move between gateway and cloud.

use std::ops::Range;

use winnow::{
    ModalResult, Parser,
    ascii::digit1,
    combinator::{alt, opt, repeat},
    token::{any, one_of, take_while},
};

use super::QueryError;

/// A piece of the query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: Range<usize>,
}

/// What kind of piece.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Without its quotes, escapes resolved.
    Text(String),
    Number(f64),
    True,
    False,
    Null,
    Undefined,
    And,
    Or,
    Not,
    Operator(&'static str),
    /// One of `( ) , { }`.
    Mark(char),
    /// An application property or a function's name.
    Name(String),
    /// With its `$`.
    System(String),
}

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: [&str; 14] = ["||", "??", "<=", ">=", "<>", "!=", "+", "-", "*", "/", "%", "=", "<", ">"];

/// What may not stand in a name.
fn is_name(c: char) -> bool {
    !matches!(
        c,
        '(' | ')' | '<' | '>' | '@' | ',' | ';' | ':' | '\\' | '"' | '/' | '[' | ']' | '?' | '=' | '{' | '}' | ' ' | '\t' | '\r' | '\n'
    )
}

/// All tokens of a query. Blanks and comments are passed over.
pub(crate) fn lex(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens = Vec::new();
    let mut from = skip_blanks(text, 0)?;
    while from < text.len() {
        let (kind, length) = token(text, from)?;
        tokens.push(Token { kind, at: from..from + length });
        from = skip_blanks(text, from + length)?;
    }
    Ok(tokens)
}

fn skip_blanks(text: &str, mut from: usize) -> Result<usize, QueryError> {
    loop {
        let rest = &text[from..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        from += blanks;
        let Some(comment) = text[from..].strip_prefix("/*") else { return Ok(from) };
        match comment.find("*/") {
            Some(end) => from += end + 4,
            None => return Err(QueryError::new(from..text.len(), "a comment is not closed", "end it with */")),
        }
    }
}

fn token(text: &str, from: usize) -> Result<(Kind, usize), QueryError> {
    let rest = &text[from..];
    let name = length(|input: &mut &str| take_while(1.., is_name).parse_next(input), rest);
    let string = length(quoted, rest);
    let number = length(number, rest);
    let system = length(system, rest);
    let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
    let longest = [string, number, operator.map_or(0, |o| o.len()), name, system].into_iter().max().unwrap_or(0);
    let at = from..from + longest;
    let whole = &rest[..longest];
    let kind = match longest {
        0 => match rest.chars().next() {
            Some(mark @ ('(' | ')' | ',' | '{' | '}')) => return Ok((Kind::Mark(mark), 1)),
            Some('"') => return Err(unclosed(from, text)),
            Some(other) => {
                let end = from + other.len_utf8();
                return Err(QueryError::new(from..end, format!("{other} does not belong here"), "remove it, or put the text in quotes"));
            }
            None => return Err(QueryError::new(from..from, "the query ends too early", "complete it")),
        },
        n if n == string => Kind::Text(unquote(whole, from)?),
        n if rest.starts_with('\'') && !rest[1..].contains('\'') && n == name => return Err(unclosed(from, text)),
        n if n == number => Kind::Number(value_of(whole).ok_or_else(|| not_a_number(at.clone(), whole))?),
        n if n == operator.map_or(0, |o| o.len()) => Kind::Operator(operator.copied().unwrap_or_default()),
        n if n == name && n > 0 && !rest.starts_with('$') => keyword(whole).unwrap_or_else(|| Kind::Name(whole.to_owned())),
        _ => Kind::System(whole.to_owned()),
    };
    Ok((kind, longest))
}

fn unclosed(from: usize, text: &str) -> QueryError {
    QueryError::new(from..text.len(), "a text is not closed", "end it with the quotation mark it begins with")
}

fn not_a_number(at: Range<usize>, whole: &str) -> QueryError {
    QueryError::new(at, format!("{whole} is read as a number and is none"), "rename the property: names like e1 cannot be asked for")
}

/// How much of `rest` the parser takes; 0 for nothing.
fn length<'a, O>(mut parser: impl FnMut(&mut &'a str) -> ModalResult<O>, rest: &'a str) -> usize {
    let mut left = rest;
    match parser(&mut left) {
        Ok(_) => rest.len() - left.len(),
        Err(_) => 0,
    }
}

fn quoted<'a>(input: &mut &'a str) -> ModalResult<&'a str> {
    let inside =
        |quote: char| repeat::<_, _, (), _, _>(0.., alt((('\\', any).void(), take_while(1.., move |c| c != quote && c != '\\').void())));
    alt((('\'', inside('\''), '\'').take(), ('"', inside('"'), '"').take())).parse_next(input)
}

fn number<'a>(input: &mut &'a str) -> ModalResult<&'a str> {
    let hex = ("0x", take_while(1.., |c: char| c.is_ascii_hexdigit())).take();
    let exponent = || (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1);
    let real = (opt('-'), opt(digit1), '.', digit1, opt(exponent())).take();
    let scientific = (opt('-'), opt(digit1), exponent()).take();
    let integer = (opt('-'), digit1).take();
    alt((hex, real, scientific, integer)).parse_next(input)
}

fn system<'a>(input: &mut &'a str) -> ModalResult<&'a str> {
    ('$', take_while(1.., |c| is_name(c) || c == '[' || c == ']')).take().parse_next(input)
}

fn value_of(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|n| n as f64),
        None => text.parse().ok(),
    }
}

fn keyword(word: &str) -> Option<Kind> {
    Some(match word {
        "true" => Kind::True,
        "false" => Kind::False,
        "null" => Kind::Null,
        "undefined" => Kind::Undefined,
        _ if word.eq_ignore_ascii_case("and") => Kind::And,
        _ if word.eq_ignore_ascii_case("or") => Kind::Or,
        _ if word.eq_ignore_ascii_case("not") => Kind::Not,
        _ => return None,
    })
}

/// Takes the quotation marks off and resolves `\'`, `\"`, `\\` and `\uXXXX`.
fn unquote(whole: &str, from: usize) -> Result<String, QueryError> {
    let inner = &whole[1..whole.len() - 1];
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let here = from + 1 + at;
        match chars.next() {
            Some((_, c @ ('\'' | '"' | '\\'))) => text.push(c),
            Some((u, 'u')) => {
                let digits = inner.get(u + 1..u + 5).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let Some(code) = code.and_then(char::from_u32) else {
                    return Err(QueryError::new(
                        here..here + 2,
                        "\\u needs four hexadecimal digits of one character",
                        "write \\u0041 for A",
                    ));
                };
                text.push(code);
                chars.nth(3);
            }
            _ => {
                return Err(QueryError::new(
                    here..here + 1,
                    "this escape is not known",
                    "write \\', \\\", \\\\ or \\u and four hexadecimal digits",
                ));
            }
        }
    }
    Ok(text)
}
