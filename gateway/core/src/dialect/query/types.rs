//! What kind of value each part of a query can have: checked once, so that evaluation has no errors.
//!
//! Properties are texts: comparing one with a number is refused here, because it could never be true and nobody would know why.
//! Values from bodies and twins are known only per message, so they go with everything.

use super::{
    QueryError, Source,
    parser::{Binary, Expr, Node},
};

/// The kind of a part's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Number,
    Bool,
    Null,
    Undefined,
    /// From a body or a twin: known per message.
    Dynamic,
}

impl Type {
    fn words(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Number => "a number",
            Type::Bool => "true or false",
            Type::Null => "null",
            Type::Undefined => "undefined",
            Type::Dynamic => "a value of the body or twin",
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Type::Dynamic | Type::Undefined)
    }
}

/// Refuses what cannot work, and returns the kind of the whole.
pub(super) fn check(node: &Node, source: Source) -> Result<Type, QueryError> {
    let (first, mut links) = node.chain();
    let so_far = single(first, source)?;
    links.try_fold(so_far, |so_far, (binary, left, right)| check_binary(binary, (left, so_far), (right, check(right, source)?)))
}

/// A part that is not a chain.
fn single(node: &Node, source: Source) -> Result<Type, QueryError> {
    Ok(match &node.expr {
        Expr::Empty | Expr::Undefined | Expr::Whole => Type::Undefined,
        Expr::Null => Type::Null,
        Expr::Bool(_) => Type::Bool,
        Expr::Number(_) => Type::Number,
        Expr::Text(_) | Expr::Property(_) | Expr::System { .. } => Type::Text,
        Expr::Body(_) | Expr::Twin(_) => Type::Dynamic,
        Expr::Negate(inner) => {
            want((inner, check(inner, source)?), &[Type::Number], "a sign needs a number")?;
            Type::Number
        }
        Expr::Not(inner) => {
            let found = check(inner, source)?;
            if !matches!(found, Type::Bool | Type::Null) && !found.is_open() {
                let next = "NOT binds tighter than =: write NOT (a = b)";
                return Err(QueryError::new(inner.at.clone(), format!("NOT is followed by {}", found.words()), next));
            }
            Type::Bool
        }
        // A chain begins with something else.
        Expr::Binary(..) => Type::Undefined,
        Expr::Call(function, arguments) => {
            for (at, argument) in arguments.iter().enumerate() {
                let found = check(argument, source)?;
                function.check_argument(at, found, argument.at.clone())?;
            }
            function.result()
        }
        Expr::TwinChange(_) if source == Source::TwinChanges => Type::Bool,
        Expr::TwinChange(_) => {
            let next = "give the route the source of twin changes, or remove the function";
            return Err(QueryError::new(node.at.clone(), "twin_change_includes works on twin changes only", next));
        }
    })
}

/// A part and its kind.
type Side<'q> = (&'q Node, Type);

fn want((node, found): Side<'_>, types: &[Type], what: &str) -> Result<(), QueryError> {
    if found.is_open() || types.contains(&found) {
        return Ok(());
    }
    Err(QueryError::new(node.at.clone(), format!("{what}, and this is {}", found.words()), conversion(node, found)))
}

/// What most often was meant.
fn conversion(node: &Node, found: Type) -> String {
    match (&node.expr, found) {
        (Expr::Property(name) | Expr::System { name, .. }, Type::Text) => format!("write as_number({name}) if it holds a number"),
        (_, Type::Text) => "write the number without quotation marks".to_owned(),
        _ => "compare it with = first, or use another part".to_owned(),
    }
}

fn check_binary(binary: Binary, left: Side<'_>, right: Side<'_>) -> Result<Type, QueryError> {
    match binary {
        Binary::And | Binary::Or => {
            for side in [left, right] {
                want(side, &[Type::Bool, Type::Null], "AND and OR join conditions")?;
            }
            Ok(Type::Bool)
        }
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            for side in [left, right] {
                want(side, &[Type::Number], "this operator computes with numbers")?;
            }
            Ok(Type::Number)
        }
        Binary::Join => {
            for side in [left, right] {
                want(side, &[Type::Text, Type::Null], "|| joins texts")?;
            }
            Ok(Type::Text)
        }
        Binary::Coalesce => same(left, right, "?? chooses between two values of one kind"),
        Binary::Equal | Binary::Differ | Binary::Less | Binary::AtMost | Binary::More | Binary::AtLeast => {
            same(left, right, "only values of one kind can be compared").map(|_| Type::Bool)
        }
    }
}

/// The common kind of two parts.
fn same((left, a): Side<'_>, (right, b): Side<'_>, what: &str) -> Result<Type, QueryError> {
    match (a, b) {
        _ if a == b => Ok(a),
        (Type::Undefined, other) | (other, Type::Undefined) => Ok(other),
        (Type::Dynamic, _) | (_, Type::Dynamic) => Ok(Type::Dynamic),
        _ => {
            let (text, node) = if a == Type::Text { (true, left) } else { (b == Type::Text, right) };
            let next = match (text, a == Type::Null || b == Type::Null) {
                (_, true) => "use is_null(…) or is_defined(…)".to_owned(),
                (true, _) => conversion(node, Type::Text),
                (false, _) => "change one of the two".to_owned(),
            };
            Err(QueryError::new(left.at.start..right.at.end, format!("{what}: this is {} and {}", a.words(), b.words()), next))
        }
    }
}
