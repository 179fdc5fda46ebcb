//! From CEL to [`Node`]s: every name and every type is looked at before the
//! capture is, so that a slip is told at once and where it is.
//!
//! The crate `cel` parses. It does not know types, evaluates without a bound,
//! compiles the regex of `matches` again each time and takes null for a value
//! like others, which would select what was not seen; so the rest is done here.

use cel::common::ast::SourceInfo;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::call;
use super::eval::{Compare, Frame, Math, Node};
use super::field::{self, FIELDS};
use super::problem::{Problem, nearest};
use super::value::{Scalar, Type, Value, Why};

/// Characters of an expression. Nobody types more, and what an expression
/// costs grows with it.
pub const MOST_CHARS: usize = 4096;
/// How deep an expression may nest: chains of operators nest to the left.
const DEPTH: usize = 128;

/// A part of an expression and its type.
pub type Typed = (Node, Type);

/// An expression being checked.
pub struct Checker<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    /// Variables of the loops around, and their types.
    pub variables: Vec<(String, Type)>,
    /// How many regular expressions there are so far.
    pub regexes: usize,
    /// Whether something needs headers to be kept.
    pub headers: bool,
    depth: usize,
}

/// Checks an expression: the condition, and whether it needs headers.
pub fn check(source: &str) -> Result<(Node, bool), Problem> {
    let chars = source.chars().count();
    if chars > MOST_CHARS {
        let what = format!("the expression has {chars} characters, {MOST_CHARS} are the most");
        return Err(Problem::new(source, (MOST_CHARS, 1), what));
    }
    // Without the standard macros: `exists` and the like come as calls.
    let program = cel::Env::default().compile(source).map_err(|e| syntax(source, &e))?;
    let mut checker = Checker {
        source,
        info: program.source_info(),
        variables: Vec::new(),
        regexes: 0,
        headers: false,
        depth: 0,
    };
    let expression = program.expression();
    let (node, of) = checker.node(expression)?;
    if of != Type::Bool {
        let what = format!("a filter has to be true or false, and this is {}", of.name());
        return Err(checker.problem(expression, what));
    }
    Ok((node, checker.headers))
}

/// The first thing that the parser complains about, in plain words.
fn syntax(source: &str, errors: &cel::ParseErrors) -> Problem {
    let error = errors.errors.first();
    let (line, column) = error.map_or((1, 1), |error| error.pos);
    let message = error.map_or("", |error| error.msg.as_str());
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let before = usize::try_from(line.max(1) - 1).unwrap_or(0);
    let before =
        source.split('\n').take(before).map(|line| line.chars().count() + 1).sum::<usize>();
    let at = before + usize::try_from(column.max(1) - 1).unwrap_or(0);
    let quoted = || {
        let from = message.split_once('\'').map_or("", |(_, rest)| rest);
        let until = |rest: &str| rest.split_once("' expecting").map(|(quoted, _)| quoted.len());
        let quoted = until(from).and_then(|end| from.get(..end));
        quoted.or(from.strip_suffix('\'')).unwrap_or(from).trim_end()
    };
    let what = if message.contains("Recursion limit") || message.contains("recovery attempt") {
        return Problem::new(source, (0, 1), "the expression is nested too deep or is no CEL");
    } else if message.contains("'<EOF>'") {
        "the expression ends too early".to_owned()
    } else if message.starts_with("token recognition error") {
        let unended = quoted().starts_with(['"', '\'']);
        if unended { "this text has no end" } else { "this is no part of CEL" }.to_owned()
    } else if message.contains(" expecting ") && !quoted().is_empty() {
        "this was not expected here".to_owned()
    } else {
        format!("this is no CEL: {}", message.split(" expecting ").next().unwrap_or_default())
    };
    let len = if message.contains("'<EOF>'") { 1 } else { quoted().chars().count() };
    unit(source, at).unwrap_or_else(|| Problem::new(source, (at, len), what))
}

/// A number with a unit, as in `latency > 100ms`: CEL has none, and people
/// write it all the same. `at` is the character that the parser stumbled over.
fn unit(source: &str, at: usize) -> Option<Problem> {
    let chars: Vec<char> = source.chars().collect();
    let (head, tail) = chars.split_at_checked(at)?;
    let unit: String = tail.iter().take_while(|c| c.is_alphanumeric()).collect();
    let digits = head.iter().rev().take_while(|c| c.is_ascii_digit() || **c == '.').count();
    let number: String = head.iter().skip(at - digits).collect();
    let written = format!("{number}{unit}");
    super::duration(&written).filter(|_| digits > 0)?;
    let len = written.chars().count();
    let problem = Problem::new(source, (at - digits, len), "a number has no unit");
    Some(problem.hint(format!("write duration(\"{written}\")")))
}

impl Checker<'_> {
    /// A problem with a part of the expression.
    pub fn problem(&self, part: &IdedExpr, what: impl Into<String>) -> Problem {
        let (from, len) = self.place(part);
        let chars = |to: usize| self.source.get(..to).map_or(to, |text| text.chars().count());
        Problem::new(self.source, (chars(from), chars(from + len) - chars(from)), what)
    }

    /// Where a part stands: the first byte and how many.
    fn place(&self, part: &IdedExpr) -> (usize, usize) {
        let own = self.info.offset_for(part.id).map_or((0, 0), |(from, to)| {
            (from as usize, (to as usize + 1).saturating_sub(from as usize))
        });
        match &part.expr {
            // Told by its dot: the name stands around it.
            Expr::Select(select) => {
                let from = self.place(&select.operand).0;
                (from, own.0 + 1 + select.field.len() - from.min(own.0))
            }
            // Told by its bracket: the name stands before it.
            Expr::Call(call) if is_name(&call.func_name) => {
                let len = call.func_name.len();
                (own.0.saturating_sub(len), len)
            }
            _ => own,
        }
    }

    /// Checks a part.
    pub fn node(&mut self, part: &IdedExpr) -> Result<Typed, Problem> {
        if self.depth >= DEPTH {
            return Err(self.problem(part, "the expression is nested too deep"));
        }
        self.depth += 1;
        let checked = self.any(part);
        self.depth -= 1;
        self.folded(part, checked?)
    }

    /// Works out what does not depend on the transaction.
    fn folded(&self, part: &IdedExpr, (node, of): Typed) -> Result<Typed, Problem> {
        if !is_constant(&node) || matches!(node, Node::Constant(_)) {
            return Ok((node, of));
        }
        match into_static(node.value(&mut Frame::new(None))) {
            Value::Null(Why::Failed) => {
                let problem = self.problem(part, "this cannot be worked out");
                Err(match of {
                    Type::Duration => problem.hint("a duration is written \"1h30m\" or \"1.5s\""),
                    Type::Time => {
                        problem.hint("a timestamp is written \"2026-11-22T15:17:26Z\" (RFC 3339)")
                    }
                    _ => problem,
                })
            }
            value => Ok((Node::Constant(value), of)),
        }
    }

    fn any(&mut self, part: &IdedExpr) -> Result<Typed, Problem> {
        match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(name) => self.name(part, name),
            Expr::Select(select) => self.select(part, select),
            Expr::List(list) => self.list(part, &list.elements, &list.optional_indices),
            Expr::Call(call) => self.call(part, call),
            Expr::Map(_) => Err(self.problem(part, "maps are not supported here")),
            Expr::Struct(_) => Err(self.problem(part, "objects are not supported here")),
            Expr::Comprehension(_) | Expr::Unspecified => {
                Err(self.problem(part, "this is not supported here"))
            }
        }
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Problem> {
        let (value, of) = match literal {
            LiteralValue::Boolean(value) => (Value::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Value::Int(i128::from(*value.inner())), Type::Number),
            LiteralValue::UInt(value) => (Value::Int(i128::from(*value.inner())), Type::Number),
            LiteralValue::Double(value) => (Value::Double(*value.inner()), Type::Number),
            LiteralValue::String(text) => (Value::Text(text.inner().to_owned().into()), Type::Text),
            LiteralValue::Null => (Value::Null(Why::NotThere), Type::Null),
            LiteralValue::Bytes(_) => {
                return Err(self.problem(part, "bytes are not supported: fields are text"));
            }
        };
        Ok((Node::Constant(value), of))
    }

    fn name(&mut self, part: &IdedExpr, name: &str) -> Result<Typed, Problem> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let known = self.variables.iter().enumerate().rev().find(|(_, (known, _))| known == name);
        match known {
            Some((index, (_, of))) => Ok((Node::Variable(index), *of)),
            None => self.field(part, name),
        }
    }

    /// A field by its whole name.
    fn field(&mut self, part: &IdedExpr, name: &str) -> Result<Typed, Problem> {
        if let Some(field) = field::find(name) {
            self.headers |= field.headers;
            return Ok((Node::Field(field), field.of));
        }
        let problem = self.problem(part, format!("there is no field {name}"));
        Err(match (name, nearest(name, FIELDS.iter().map(|field| field.name))) {
            ("request" | "response", _) => self
                .problem(part, format!("{name} alone is nothing"))
                .hint(format!("ask for {name}.header(\"name\") or {name}.trailer(\"name\")")),
            ("attributes", _) => self
                .problem(part, "attributes are asked for by name")
                .hint("as in attributes[\"http2.reset.code\"]"),
            (_, Some(near)) => problem.hint(format!("did you mean {near}?")),
            (_, None) => problem.hint("docs/filter.md lists them; names are those of jsonl"),
        })
    }

    fn select(&mut self, part: &IdedExpr, select: &SelectExpr) -> Result<Typed, Problem> {
        match dotted(part) {
            Some(name) if !self.is_variable(&name) => self.field(part, &name),
            _ => {
                let (_, of) = self.node(&select.operand)?;
                let what = format!("{} has no field {}", of.name(), select.field);
                Err(self.problem(part, what))
            }
        }
    }

    fn is_variable(&self, dotted: &str) -> bool {
        let first = dotted.split('.').next().unwrap_or_default();
        self.variables.iter().any(|(name, _)| name == first)
    }

    fn list(
        &mut self,
        part: &IdedExpr,
        items: &[IdedExpr],
        optional: &[usize],
    ) -> Result<Typed, Problem> {
        if !optional.is_empty() {
            return Err(self.problem(part, "optional values are not supported here"));
        }
        let mut nodes = Vec::with_capacity(items.len());
        let mut of: Option<Type> = None;
        for item in items {
            let (node, found) = self.node(item)?;
            if found == Type::Null {
                let problem = self.problem(item, "null is in no list");
                return Err(problem.hint("ask with == null"));
            }
            if let Some(of) = of.filter(|of| !of.fits(found)) {
                let what = format!("{} in a list of {}", found.name(), of.name());
                return Err(self.problem(item, what));
            }
            of = of.or(Some(found));
            nodes.push(node);
        }
        let list = of.map_or(Some(Type::List(Scalar::Any)), Type::list);
        let list = list.ok_or_else(|| self.problem(part, "lists of these are not supported"))?;
        Ok((Node::List(nodes), list))
    }

    fn call(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Typed, Problem> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => {
                Ok((Node::And(Box::new([self.condition(a)?, self.condition(b)?])), Type::Bool))
            }
            (operators::LOGICAL_OR, [a, b]) => {
                Ok((Node::Or(Box::new([self.condition(a)?, self.condition(b)?])), Type::Bool))
            }
            (operators::LOGICAL_NOT, [a]) => {
                Ok((Node::Not(Box::new(self.condition(a)?)), Type::Bool))
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.either(part, condition, yes, no),
            (operators::EQUALS, [a, b]) => self.compare(part, Compare::Equal, a, b),
            (operators::NOT_EQUALS, [a, b]) => self.compare(part, Compare::NotEqual, a, b),
            (operators::LESS, [a, b]) => self.compare(part, Compare::Less, a, b),
            (operators::LESS_EQUALS, [a, b]) => self.compare(part, Compare::LessOrEqual, a, b),
            (operators::GREATER, [a, b]) => self.compare(part, Compare::Greater, a, b),
            (operators::GREATER_EQUALS, [a, b]) => {
                self.compare(part, Compare::GreaterOrEqual, a, b)
            }
            (operators::ADD, [a, b]) => self.math(part, Math::Add, a, b),
            (operators::SUBSTRACT, [a, b]) => self.math(part, Math::Subtract, a, b),
            (operators::MULTIPLY, [a, b]) => self.math(part, Math::Multiply, a, b),
            (operators::DIVIDE, [a, b]) => self.math(part, Math::Divide, a, b),
            (operators::MODULO, [a, b]) => self.math(part, Math::Remainder, a, b),
            (operators::IN, [a, b]) => self.contained(part, a, b),
            (operators::INDEX, [a, b]) => self.index(part, a, b),
            _ => call::check(self, part, call),
        }
    }

    /// A part that has to be true or false.
    pub fn condition(&mut self, part: &IdedExpr) -> Result<Node, Problem> {
        self.of(part, Type::Bool)
    }

    /// A part that has to be of this type.
    pub fn of(&mut self, part: &IdedExpr, want: Type) -> Result<Node, Problem> {
        let (node, of) = self.node(part)?;
        if of.fits(want) {
            return Ok(node);
        }
        let what = format!("this is {} and has to be {}", of.name(), want.name());
        Err(self.problem(part, what))
    }

    fn either(
        &mut self,
        part: &IdedExpr,
        condition: &IdedExpr,
        yes: &IdedExpr,
        no: &IdedExpr,
    ) -> Result<Typed, Problem> {
        let condition = self.condition(condition)?;
        let (yes, of) = self.node(yes)?;
        let (no, other) = self.node(no)?;
        if of != other || of == Type::Null {
            let what = format!("this is {} or {}", of.name(), other.name());
            return Err(self.problem(part, what).hint("both have to be the same kind of value"));
        }
        Ok((Node::If(Box::new([condition, yes, no])), of))
    }

    fn compare(
        &mut self,
        part: &IdedExpr,
        how: Compare,
        a: &IdedExpr,
        b: &IdedExpr,
    ) -> Result<Typed, Problem> {
        let ((left, of), (right, other)) = (self.node(a)?, self.node(b)?);
        let equality = matches!(how, Compare::Equal | Compare::NotEqual);
        let null = match (of, other) {
            (Type::Null, _) => Some(right),
            (_, Type::Null) => Some(left),
            _ if of.fits(other) && of != Type::Record && (equality || of.has_order()) => {
                return Ok((Node::Compare(how, Box::new([left, right])), Type::Bool));
            }
            _ => None,
        };
        if let Some(node) = null.filter(|_| equality) {
            return Ok((Node::IsNull(how == Compare::Equal, Box::new(node)), Type::Bool));
        }
        let what = format!("{} cannot be compared with {} like this", of.name(), other.name());
        let problem = self.problem(part, what);
        Err(match (of, other) {
            (Type::Duration, Type::Number) | (Type::Number, Type::Duration) => problem
                .hint("write duration(\"1s\"), or use the field of nanoseconds, as latency_ns"),
            (Type::Duration, Type::Text) | (Type::Text, Type::Duration) => {
                problem.hint("write duration(\"1s\")")
            }
            (Type::Time, _) | (_, Type::Time) => {
                problem.hint("write timestamp(\"2026-11-22T15:17:26Z\")")
            }
            _ => problem,
        })
    }

    fn math(
        &mut self,
        part: &IdedExpr,
        what: Math,
        a: &IdedExpr,
        b: &IdedExpr,
    ) -> Result<Typed, Problem> {
        use Type::{Duration, Number, Text, Time};
        let ((left, of), (right, other)) = (self.node(a)?, self.node(b)?);
        let result = match (what, of, other) {
            (_, Number, Number) => Number,
            (Math::Add, Text, Text) => Text,
            (Math::Add | Math::Subtract, Duration, Duration) => Duration,
            (Math::Add | Math::Subtract, Time, Duration) | (Math::Add, Duration, Time) => Time,
            (Math::Subtract, Time, Time) => Duration,
            _ => {
                let what = format!("this does not go with {} and {}", of.name(), other.name());
                return Err(self.problem(part, what));
            }
        };
        Ok((Node::Math(what, Box::new([left, right])), result))
    }

    fn contained(&mut self, part: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Result<Typed, Problem> {
        let ((value, of), (list, in_list)) = (self.node(a)?, self.node(b)?);
        match in_list.item() {
            Some(item) if item.fits(of) => Ok((Node::In(Box::new([value, list])), Type::Bool)),
            Some(item) => {
                let what = format!("{} is never in a list of {}", of.name(), item.name());
                Err(self.problem(part, what))
            }
            None => {
                let what = format!("behind `in` comes a list, and this is {}", in_list.name());
                Err(self.problem(b, what))
            }
        }
    }

    fn index(&mut self, part: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Result<Typed, Problem> {
        if matches!(&a.expr, Expr::Ident(name) if name == "attributes") {
            let name = self.of(b, Type::Text)?;
            return Ok((Node::Attribute(Box::new(name)), Type::Any));
        }
        let (list, of) = self.node(a)?;
        let Some(item) = of.item() else {
            let what = format!("{} has no items", of.name());
            return Err(self.problem(part, what));
        };
        let index = self.of(b, Type::Number)?;
        Ok((Node::Index(Box::new([list, index])), item))
    }
}

/// Whether a function has a name, or is an operator.
fn is_name(function: &str) -> bool {
    function.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// The name that a chain of selections spells.
fn dotted(part: &IdedExpr) -> Option<String> {
    match &part.expr {
        Expr::Ident(name) => Some(name.strip_prefix('.').unwrap_or(name).to_owned()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", dotted(&select.operand)?, select.field))
        }
        _ => None,
    }
}

/// Whether a node comes to the same for all transactions, told by what is
/// directly in it: that is folded already.
fn is_constant(node: &Node) -> bool {
    let constant = |node: &Node| matches!(node, Node::Constant(_));
    match node {
        Node::Constant(_) => true,
        Node::Field(_)
        | Node::Variable(_)
        | Node::Header { .. }
        | Node::Label { .. }
        | Node::Attribute(_) => false,
        // A loop's body is not constant if it names its variable.
        Node::Loop(..) => false,
        Node::Not(inner)
        | Node::IsNull(_, inner)
        | Node::Matches(inner, _)
        | Node::Convert(_, inner) => constant(inner),
        Node::And(two)
        | Node::Or(two)
        | Node::Compare(_, two)
        | Node::In(two)
        | Node::Math(_, two)
        | Node::Find(_, two)
        | Node::Index(two) => two.iter().all(constant),
        Node::If(three) => three.iter().all(constant),
        Node::List(nodes) => nodes.iter().all(constant),
    }
}

/// A value that borrows nothing.
fn into_static(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::Text(text.into_owned().into()),
        Value::List(list) => Value::List(list.into_iter().map(into_static).collect()),
        Value::Slice(list) => Value::List(list.iter().cloned().map(into_static).collect()),
        Value::Null(why) => Value::Null(why),
        Value::Bool(value) => Value::Bool(value),
        Value::Int(value) => Value::Int(value),
        Value::Double(value) => Value::Double(value),
        Value::Time(value) => Value::Time(value),
        Value::Duration(value) => Value::Duration(value),
    }
}
