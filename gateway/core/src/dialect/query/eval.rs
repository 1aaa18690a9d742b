//! What a query makes of one message. No errors: what cannot be answered is undefined (reference §6.5).

use std::cmp::Ordering;

use super::{
    Facts, Truth,
    function::join,
    parser::{Binary, Expr, Node},
    value::Value,
};

/// The whole query's answer: only true routes.
pub(super) fn truth(root: &Node, facts: &dyn Facts) -> Truth {
    match value(root, facts) {
        Value::Bool(true) => Truth::True,
        Value::Bool(false) => Truth::False,
        // The word null alone is false; a null that comes from the message is undefined.
        Value::Null if !matches!(root.expr, Expr::Body(_) | Expr::Twin(_) | Expr::Property(_) | Expr::System { .. }) => Truth::False,
        _ => Truth::Undefined,
    }
}

fn value<'m>(node: &'m Node, facts: &'m dyn Facts) -> Value<'m> {
    let (first, links) = node.chain();
    links.fold(single(first, facts), |so_far, (binary, left, right)| apply(binary, so_far, left, right, facts))
}

/// A part that is not a chain.
fn single<'m>(node: &'m Node, facts: &'m dyn Facts) -> Value<'m> {
    match &node.expr {
        Expr::Empty | Expr::Undefined | Expr::Whole => Value::Undefined,
        Expr::Null => Value::Null,
        Expr::Bool(bool) => Value::Bool(*bool),
        Expr::Number(number) => Value::Number(*number),
        Expr::Text(text) => Value::Text(text.as_str().into()),
        Expr::Property(name) => property(name, facts),
        Expr::System { name, forced } => match facts.system(name) {
            Some(text) => Value::Text(text),
            None if *forced => Value::Undefined,
            // Rare: the name with its $ again.
            None => property(&format!("${name}"), facts),
        },
        Expr::Body(path) => facts.body().map_or(Value::Undefined, |body| Value::of_json(path.find(body))),
        Expr::Twin(path) => facts.twin().map_or(Value::Undefined, |twin| Value::of_json(path.find(twin))),
        Expr::Negate(inner) => value(inner, facts).as_number().map_or(Value::Undefined, |number| Value::Number(-number)),
        Expr::Not(inner) => match value(inner, facts) {
            Value::Bool(bool) => Value::Bool(!bool),
            Value::Null if matches!(inner.expr, Expr::Null) => Value::Bool(true),
            _ => Value::Undefined,
        },
        // A chain begins with something else.
        Expr::Binary(..) => Value::Undefined,
        Expr::Call(function, arguments) => {
            let arguments: Vec<Value<'m>> = arguments.iter().map(|argument| value(argument, facts)).collect();
            function.apply(&arguments)
        }
        Expr::TwinChange(path) => facts.body().map_or(Value::Undefined, |change| Value::Bool(path.find(change).is_some())),
    }
}

fn property<'m>(name: &str, facts: &'m dyn Facts) -> Value<'m> {
    match facts.property(name) {
        None => Value::Undefined,
        Some(None) => Value::Null,
        Some(Some(text)) => Value::Text(text),
    }
}

/// `a` is what the left side is worth.
fn apply<'m>(binary: Binary, a: Value<'m>, left: &Node, right: &'m Node, facts: &'m dyn Facts) -> Value<'m> {
    match (binary, &a) {
        // What is decided by the left side alone.
        (Binary::And, Value::Bool(false)) | (Binary::Or, Value::Bool(true)) => return a,
        (Binary::Coalesce, Value::Undefined | Value::Missing) => return value(right, facts),
        (Binary::Coalesce, _) => return a,
        _ => {}
    }
    let b = value(right, facts);
    let dynamic = is_dynamic(left) || is_dynamic(right);
    match binary {
        Binary::And => and(a, b),
        Binary::Or => or(a, b),
        Binary::Equal => equal(&a, &b, dynamic).map_or(Value::Undefined, Value::Bool),
        Binary::Differ => equal(&a, &b, dynamic).map_or(Value::Undefined, |equal| Value::Bool(!equal)),
        Binary::Less => order(&a, &b, Ordering::is_lt),
        Binary::AtMost => order(&a, &b, Ordering::is_le),
        Binary::More => order(&a, &b, Ordering::is_gt),
        Binary::AtLeast => order(&a, &b, Ordering::is_ge),
        Binary::Join => join(&[a, b]),
        _ => compute(binary, &a, &b),
    }
}

/// Whether its value is of a kind that only the message knows, which makes null a value to compare with.
fn is_dynamic(node: &Node) -> bool {
    matches!(node.expr, Expr::Body(_) | Expr::Twin(_) | Expr::Null)
}

/// Three-valued; the word null lets the other side decide, and loses against it.
fn and<'m>(a: Value<'m>, b: Value<'m>) -> Value<'m> {
    match (a, b) {
        (Value::Bool(false), _) | (_, Value::Bool(false)) => Value::Bool(false),
        (Value::Bool(true), Value::Bool(true)) => Value::Bool(true),
        (Value::Null, Value::Bool(_) | Value::Null) | (Value::Bool(_), Value::Null) => Value::Null,
        _ => Value::Undefined,
    }
}

fn or<'m>(a: Value<'m>, b: Value<'m>) -> Value<'m> {
    match (a, b) {
        (Value::Bool(true), _) | (_, Value::Bool(true)) => Value::Bool(true),
        (Value::Bool(false), Value::Bool(false)) => Value::Bool(false),
        (Value::Null, other @ (Value::Bool(_) | Value::Null)) | (other @ Value::Bool(_), Value::Null) => other,
        _ => Value::Undefined,
    }
}

/// `None` for undefined. Values of different kinds differ; nulls are equal where one of the two may be of any kind.
fn equal(a: &Value<'_>, b: &Value<'_>, dynamic: bool) -> Option<bool> {
    match (a, b) {
        (Value::Undefined, _) | (_, Value::Undefined) => None,
        _ if a.is_null() || b.is_null() => dynamic.then(|| a.is_null() && b.is_null()),
        (Value::Number(a), Value::Number(b)) => Some(a == b),
        (Value::Text(a), Value::Text(b)) => Some(a == b),
        (Value::Bool(a), Value::Bool(b)) => Some(a == b),
        _ => Some(false),
    }
}

/// Values of different kinds have no order, and null has none at all.
fn order<'m>(a: &Value<'_>, b: &Value<'_>, judge: fn(Ordering) -> bool) -> Value<'m> {
    let ordering = match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    };
    ordering.map_or(Value::Undefined, |ordering| Value::Bool(judge(ordering)))
}

fn compute<'m>(binary: Binary, a: &Value<'_>, b: &Value<'_>) -> Value<'m> {
    let (Some(a), Some(b)) = (a.as_number(), b.as_number()) else { return Value::Undefined };
    Value::number(match binary {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        _ => a % b,
    })
}
