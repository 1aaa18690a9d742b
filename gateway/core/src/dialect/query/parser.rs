//! From tokens to a tree, by precedence (reference §6.3), tightest first:
//! sign, `NOT`, `* / %`, `+ - ||`, `< <= > >=`, `= != <>`, `AND`, `OR`, `??`. Operators of one rank group from the left.

use std::ops::Range;

use super::{
    MAX_DEPTH, QueryError,
    function::Function,
    lexer::{Kind, Token, lex},
    path::{self, Path},
};

/// A part of the query, with its place in the text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Range<usize>,
    pub(super) expr: Expr,
}

/// What a part is.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// Nothing at all: undefined.
    Empty,
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// An application property.
    Property(String),
    /// `$name`; forced with braces, else an application property of that name stands in when there is no such system property.
    System {
        name: String,
        forced: bool,
    },
    Body(Path),
    Twin(Path),
    /// `$body` or `$twin` alone: never a value.
    Whole,
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    /// `twin_change_includes`, which takes a bare path.
    TwinChange(Path),
}

/// What stands between two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Coalesce,
    Equal,
    Differ,
    Less,
    AtMost,
    More,
    AtLeast,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Join,
}

impl Binary {
    /// As written, and how tightly it binds.
    fn of(kind: &Kind) -> Option<(Self, u8)> {
        Some(match kind {
            Kind::Operator("??") => (Binary::Coalesce, 1),
            Kind::Or => (Binary::Or, 2),
            Kind::And => (Binary::And, 3),
            Kind::Operator("=") => (Binary::Equal, 4),
            Kind::Operator("!=" | "<>") => (Binary::Differ, 4),
            Kind::Operator("<") => (Binary::Less, 5),
            Kind::Operator("<=") => (Binary::AtMost, 5),
            Kind::Operator(">") => (Binary::More, 5),
            Kind::Operator(">=") => (Binary::AtLeast, 5),
            Kind::Operator("+") => (Binary::Add, 6),
            Kind::Operator("-") => (Binary::Subtract, 6),
            Kind::Operator("||") => (Binary::Join, 6),
            Kind::Operator("*") => (Binary::Multiply, 7),
            Kind::Operator("/") => (Binary::Divide, 7),
            Kind::Operator("%") => (Binary::Remainder, 7),
            _ => return None,
        })
    }
}

impl Node {
    pub(super) fn is_body(&self) -> bool {
        matches!(self.expr, Expr::Body(_) | Expr::TwinChange(_))
    }

    pub(super) fn is_twin(&self) -> bool {
        matches!(self.expr, Expr::Twin(_))
    }

    /// A chain like `a OR b OR c` nests on the left, as deep as a query is long: its first part, and then each operator with what stands
    /// left and right of it. Whoever walks the tree walks chains with this, and so needs little stack.
    pub(super) fn chain(&self) -> (&Node, impl Iterator<Item = (Binary, &Node, &Node)>) {
        let (mut first, mut links) = (self, Vec::new());
        while let Expr::Binary(binary, left, right) = &first.expr {
            links.push((*binary, &**left, &**right));
            first = left;
        }
        (first, links.into_iter().rev())
    }

    /// Whether this part, or one inside it, is such a one.
    pub(super) fn any(&self, such: &dyn Fn(&Node) -> bool) -> bool {
        let (first, mut links) = self.chain();
        let inside = match &first.expr {
            Expr::Negate(inner) | Expr::Not(inner) => inner.any(such),
            Expr::Call(_, arguments) => arguments.iter().any(|argument| argument.any(such)),
            _ => such(first),
        };
        inside || links.any(|(_, _, right)| right.any(such))
    }
}

/// The whole query as a tree.
pub(super) fn parse(text: &str) -> Result<Node, QueryError> {
    let tokens = lex(text)?;
    if tokens.is_empty() {
        return Ok(Node { at: 0..0, expr: Expr::Empty });
    }
    let mut parser = Parser { tokens: &tokens, next: 0, end: text.len(), depth: 0 };
    let node = parser.expression(1)?;
    match parser.peek() {
        None => Ok(node),
        Some(token) if token.kind == Kind::Operator("=") => {
            Err(QueryError::new(token.at.clone(), "== is not an operator", "write a single ="))
        }
        Some(token) => {
            let next = "put AND, OR or another operator between the two, with blanks around it";
            Err(QueryError::new(token.at.clone(), "the query should have ended here", next))
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    end: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.next)?;
        self.next += 1;
        Some(token)
    }

    fn take_mark(&mut self, mark: char) -> bool {
        let there = self.peek().is_some_and(|token| token.kind == Kind::Mark(mark));
        self.next += usize::from(there);
        there
    }

    fn expect(&mut self, mark: char, what: &str) -> Result<(), QueryError> {
        if self.take_mark(mark) {
            return Ok(());
        }
        let at = self.peek().map_or(self.end..self.end, |token| token.at.clone());
        Err(QueryError::new(at, what, format!("put {mark} here")))
    }

    /// Everything that binds at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Node, QueryError> {
        let mut left = self.operand()?;
        while let Some((binary, rank)) = self.peek().and_then(|token| Binary::of(&token.kind)).filter(|(_, rank)| *rank >= least) {
            self.next += 1;
            let right = self.expression(rank + 1)?;
            left = Node { at: left.at.start..right.at.end, expr: Expr::Binary(binary, Box::new(left), Box::new(right)) };
        }
        Ok(left)
    }

    fn deeper(&mut self) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        let at = self.peek().map_or(self.end..self.end, |token| token.at.clone());
        Err(QueryError::new(at, format!("more than {MAX_DEPTH} levels of nesting"), "split the query into several routes"))
    }

    fn operand(&mut self) -> Result<Node, QueryError> {
        self.deeper()?;
        let node = self.operand_inside();
        self.depth -= 1;
        node
    }

    fn operand_inside(&mut self) -> Result<Node, QueryError> {
        let Some(token) = self.take() else {
            return Err(QueryError::new(self.end..self.end, "the query ends too early", "complete it"));
        };
        let at = token.at.clone();
        let expr = match &token.kind {
            Kind::Text(text) => Expr::Text(text.clone()),
            Kind::Number(number) => Expr::Number(*number),
            Kind::True => Expr::Bool(true),
            Kind::False => Expr::Bool(false),
            Kind::Null => Expr::Null,
            Kind::Undefined => Expr::Undefined,
            Kind::System(name) => return system(name, at),
            Kind::Name(name) if self.take_mark('(') => return self.call(name, at),
            Kind::Name(name) => Expr::Property(name.clone()),
            Kind::Not => {
                let inner = self.operand()?;
                return Ok(Node { at: at.start..inner.at.end, expr: Expr::Not(Box::new(inner)) });
            }
            Kind::Operator("-") => {
                let inner = self.operand()?;
                return Ok(Node { at: at.start..inner.at.end, expr: Expr::Negate(Box::new(inner)) });
            }
            Kind::Mark('(') => {
                let inner = self.expression(1)?;
                self.expect(')', "a bracket is not closed")?;
                return Ok(inner);
            }
            Kind::Mark('{') => return self.forced(at),
            _ => {
                let next = "put a property, a value, a function or an opening bracket here";
                return Err(QueryError::new(at, "something to compare or to compute with is missing before this", next));
            }
        };
        Ok(Node { at, expr })
    }

    /// `{$name}`
    fn forced(&mut self, at: Range<usize>) -> Result<Node, QueryError> {
        let Some(Token { kind: Kind::System(name), at: inside }) = self.take() else {
            return Err(QueryError::new(at, "braces hold a system property", "write {$contentType}, or remove the braces"));
        };
        self.expect('}', "a brace is not closed")?;
        Ok(Node { at: at.start..inside.end + 1, expr: Expr::System { name: name[1..].to_owned(), forced: true } })
    }

    fn call(&mut self, name: &str, at: Range<usize>) -> Result<Node, QueryError> {
        if name.eq_ignore_ascii_case("twin_change_includes") {
            return self.twin_change(at);
        }
        let function = Function::named(name).ok_or_else(|| Function::unknown(name, at.clone()))?;
        let mut arguments = Vec::new();
        if !self.take_mark(')') {
            arguments.push(self.expression(1)?);
            while self.take_mark(',') {
                arguments.push(self.expression(1)?);
            }
            self.expect(')', "the arguments are not closed")?;
        }
        let end = self.tokens[self.next - 1].at.end;
        let at = at.start..end;
        function.check_count(arguments.len(), at.clone())?;
        Ok(Node { at, expr: Expr::Call(function, arguments) })
    }

    fn twin_change(&mut self, at: Range<usize>) -> Result<Node, QueryError> {
        let next = "write twin_change_includes(properties.reported.battery)";
        let Some(Token { kind: Kind::Name(written), at: inside }) = self.take() else {
            return Err(QueryError::new(at, "twin_change_includes takes one path", next));
        };
        let path = path::parse(written, inside.start)?;
        if !path.is_in_a_twin() || path.has_index() {
            let what = "the path begins with properties.reported, properties.desired or tags, and has no [n]";
            return Err(QueryError::new(inside.clone(), what, next));
        }
        self.expect(')', "the arguments are not closed")?;
        Ok(Node { at: at.start..inside.end + 1, expr: Expr::TwinChange(path) })
    }
}

/// `$body.…`, `$twin.…` or a system property.
fn system(name: &str, at: Range<usize>) -> Result<Node, QueryError> {
    let bare = &name[1..];
    let (head, rest) = bare.split_at(bare.find(['.', '[']).unwrap_or(bare.len()));
    let of = |make: fn(Path) -> Expr| -> Result<Expr, QueryError> {
        match rest.strip_prefix('.') {
            Some(path) => path::parse(path, at.start + 1 + head.len() + 1).map(make),
            None if rest.is_empty() => Ok(Expr::Whole),
            None => Err(QueryError::new(at.clone(), format!("${head} has no entries of its own"), format!("write ${head}.name[0]"))),
        }
    };
    let expr = match () {
        () if head.eq_ignore_ascii_case("body") => of(Expr::Body)?,
        () if head.eq_ignore_ascii_case("twin") => match of(Expr::Twin)? {
            Expr::Twin(path) if !path.is_in_a_twin() => {
                let what = "a twin has tags, properties.desired and properties.reported";
                return Err(QueryError::new(at, what, "write $twin.tags.name or $twin.properties.reported.name"));
            }
            expr => expr,
        },
        () if bare.is_empty() || bare.contains(['[', ']']) => {
            return Err(QueryError::new(
                at,
                format!("{name} is no system property"),
                "write its name after the $, such as $connectionDeviceId",
            ));
        }
        () => Expr::System { name: bare.to_owned(), forced: false },
    };
    Ok(Node { at, expr })
}
