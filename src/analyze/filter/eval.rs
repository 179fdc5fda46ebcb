//! A checked expression, ready to be asked about transactions.
//!
//! Nothing here fails: what cannot be worked out is null (see [`Value`]), and
//! how much one transaction may cost is bounded.

use std::cmp::Ordering;

use regex::Regex;

use super::convert::{Convert, convert};
use super::field::{Field, Part, attribute, label};
use super::value::{Value, Why};
use crate::analyze::report::Item;

/// Steps that an expression may take over one transaction. Loops within loops
/// over headers multiply: what nobody means to ask must not hang the run.
const STEPS: u32 = 100_000;
/// So many bytes of text count as one step, as do each item of a list.
const TEXT_STEP: usize = 64;
/// The same of text that a regular expression is matched with, which takes longer.
const REGEX_STEP: usize = 4;

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What is calculated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Math {
    /// `+`, of texts too
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

/// What is looked for in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// `contains`
    Within,
    /// `startsWith`
    AtStart,
    /// `endsWith`
    AtEnd,
}

/// What a loop over a list comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// `all`
    All,
    /// `exists`
    Exists,
    /// `exists_one`
    ExistsOne,
    /// `filter`
    Filter,
    /// `map`
    Map,
}

/// Two parts of an expression.
pub type Two = Box<[Node; 2]>;

/// A part of an expression.
#[derive(Debug)]
pub enum Node {
    /// A value that does not depend on the transaction.
    Constant(Value<'static>),
    /// A field.
    Field(&'static Field),
    /// The variable of a loop, counted from the outermost.
    Variable(usize),
    /// `!`
    Not(Box<Node>),
    /// `&&`
    And(Two),
    /// `||`
    Or(Two),
    /// `? :`
    If(Box<[Node; 3]>),
    /// A comparison.
    Compare(Compare, Two),
    /// `== null`, and the other way if `false`.
    IsNull(bool, Box<Node>),
    /// `in` a list.
    In(Two),
    /// Numbers, times, durations, and texts.
    Math(Math, Two),
    /// `contains` and the like.
    Find(Find, Two),
    /// `matches`
    Matches(Box<Node>, Box<Regex>),
    /// A function of one value.
    Convert(Convert, Box<Node>),
    /// `request.header("name")`, or all of that name.
    Header { part: Part, all: bool, name: String },
    /// `client.label("name")`, or that of the server.
    Label { server: bool, name: String },
    /// `attributes["name"]`
    Attribute(Box<Node>),
    /// `list[number]`
    Index(Two),
    /// `[…, …]`
    List(Vec<Node>),
    /// `list.exists(variable, condition)` and the like.
    Loop(Loop, Two),
}

/// What an expression is asked about.
pub struct Frame<'a> {
    item: Option<&'a Item<'a>>,
    variables: Vec<Value<'a>>,
    steps: u32,
}

impl<'a> Frame<'a> {
    /// A transaction; none for what does not depend on one.
    pub fn new(item: Option<&'a Item<'a>>) -> Self {
        Self { item, variables: Vec::new(), steps: STEPS }
    }

    /// Pays for some steps; false where they have run out.
    fn pay(&mut self, steps: usize) -> bool {
        let left = u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps));
        self.steps = left.unwrap_or(0);
        left.is_some()
    }

    /// Takes something out of the transaction, and pays for its size.
    fn take(&mut self, get: impl FnOnce(&'a Item<'a>) -> Value<'a>) -> Value<'a> {
        let value = self.item.map_or(FAILED, get);
        self.paid(value)
    }

    /// A value, where its size can be paid for.
    fn paid(&mut self, value: Value<'a>) -> Value<'a> {
        let size = size(&value);
        if size == 0 || self.pay(size) { value } else { FAILED }
    }
}

const FAILED: Value<'static> = Value::Null(Why::Failed);

/// Steps that it costs to copy a value.
fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len() / TEXT_STEP,
        Value::List(items) => items.len() + items.iter().map(size).sum::<usize>(),
        // Of the expression itself: it is never copied.
        _ => 0,
    }
}

impl Node {
    /// What it comes to.
    pub fn value<'a>(&'a self, frame: &mut Frame<'a>) -> Value<'a> {
        if !frame.pay(1) {
            return FAILED;
        }
        match self {
            Self::Constant(value) => value.reborrow(),
            Self::Field(field) => frame.take(field.get),
            Self::Variable(index) => {
                let value = frame.variables.get(*index).cloned().unwrap_or(FAILED);
                frame.paid(value)
            }
            Self::Not(inner) => inner.value(frame).opposite(),
            Self::And(two) => decided(false, two, frame),
            Self::Or(two) => decided(true, two, frame),
            Self::If(three) => {
                let [condition, yes, no] = &**three;
                match condition.value(frame) {
                    Value::Bool(true) => yes.value(frame),
                    Value::Bool(false) => no.value(frame),
                    value => Value::Null(value.why().map_or(Why::Failed, Why::of_value)),
                }
            }
            Self::Compare(how, two) => compared(*how, two, frame),
            Self::IsNull(is, inner) => match inner.value(frame).why() {
                Some(why @ (Why::Outside | Why::Unclear)) => Value::Null(why),
                why => Value::Bool(why.is_some() == *is),
            },
            Self::In(two) => contained(two, frame),
            Self::Math(what, two) => both(two, frame, |a, b, frame| math(*what, a, b, frame)),
            Self::Find(how, two) => both(two, frame, |a, b, _| find(*how, &a, &b)),
            Self::Matches(inner, regex) => match inner.value(frame) {
                Value::Text(text) if frame.pay(text.len() / REGEX_STEP) => {
                    Value::Bool(regex.is_match(&text))
                }
                Value::Text(_) => FAILED,
                value => Value::Null(value.why().unwrap_or(Why::NotThere)),
            },
            Self::Convert(what, inner) => convert(*what, inner.value(frame)),
            Self::Header { part, all: false, name } => frame.take(|item| part.value(item, name)),
            Self::Header { part, all: true, name } => frame.take(|item| part.values(item, name)),
            Self::Label { server, name } => frame.take(|item| label(item, *server, name)),
            Self::Attribute(name) => match name.value(frame) {
                Value::Text(name) => frame.take(|item| attribute(item, &name)),
                value => value,
            },
            Self::Index(two) => both(two, frame, |list, index, _| indexed(&list, &index)),
            Self::List(nodes) => Value::List(nodes.iter().map(|node| node.value(frame)).collect()),
            Self::Loop(what, two) => looped(*what, two, frame),
        }
    }
}

/// Works out both and then `f`, unless one is null: then it is that too.
fn both<'a>(
    two: &'a [Node; 2],
    frame: &mut Frame<'a>,
    f: impl FnOnce(Value<'a>, Value<'a>, &mut Frame<'a>) -> Value<'a>,
) -> Value<'a> {
    let [a, b] = two;
    let (a, b) = (a.value(frame), b.value(frame));
    match a.why().max(b.why()) {
        Some(why) => Value::Null(why.of_value()),
        None => f(a, b, frame),
    }
}

/// `||` (`by` true) or `&&` (`by` false): one side that is so decides.
fn decided<'a>(by: bool, two: &'a [Node; 2], frame: &mut Frame<'a>) -> Value<'a> {
    let [a, b] = two;
    let a = a.value(frame);
    if a == Value::Bool(by) {
        return a;
    }
    let b = b.value(frame);
    match by {
        false => a.and(b),
        true => a.or(b),
    }
}

fn compared<'a>(how: Compare, two: &'a [Node; 2], frame: &mut Frame<'a>) -> Value<'a> {
    both(two, frame, |a, b, _| compare(how, &a, &b))
}

fn compare(how: Compare, a: &Value<'_>, b: &Value<'_>) -> Value<'static> {
    if matches!(a, Value::List(_) | Value::Slice(_)) {
        let same = same_lists(a.items(), b.items());
        return match same {
            Value::Bool(same) => Value::Bool(same == (how == Compare::Equal)),
            null => null,
        };
    }
    let order = a.order(b);
    let text = |value: &Value<'_>| matches!(value, Value::Text(_));
    if order.is_none() && text(a) != text(b) {
        // An attribute is of another kind than what it is compared with.
        return Value::Null(Why::NotThere);
    }
    Value::Bool(match how {
        Compare::Equal => order == Some(Ordering::Equal),
        Compare::NotEqual => order != Some(Ordering::Equal),
        Compare::Less => order == Some(Ordering::Less),
        Compare::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Compare::Greater => order == Some(Ordering::Greater),
        Compare::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn same_lists(a: &[Value<'_>], b: &[Value<'_>]) -> Value<'static> {
    if a.len() != b.len() {
        // There may be more items than are known.
        let why = a.last().and_then(Value::why).max(b.last().and_then(Value::why));
        return why.map_or(Value::Bool(false), |why| Value::Null(why.of_value()));
    }
    let mut unknown = None;
    for (a, b) in a.iter().zip(b) {
        match a.why().max(b.why()) {
            Some(why) => unknown = unknown.max(Some(why.of_value())),
            None => match compare(Compare::Equal, a, b) {
                Value::Bool(true) => {}
                other => return other,
            },
        }
    }
    unknown.map_or(Value::Bool(true), Value::Null)
}

fn contained<'a>(two: &'a [Node; 2], frame: &mut Frame<'a>) -> Value<'a> {
    both(two, frame, |value, list, frame| {
        if !frame.pay(list.items().len()) {
            return FAILED;
        }
        let mut unknown = None;
        for item in list.items() {
            match item.why() {
                Some(why) => unknown = unknown.max(Some(why.of_value())),
                None if compare(Compare::Equal, &value, item) == Value::Bool(true) => {
                    return Value::Bool(true);
                }
                None => {}
            }
        }
        unknown.map_or(Value::Bool(false), Value::Null)
    })
}

fn math<'a>(what: Math, a: Value<'a>, b: Value<'a>, frame: &mut Frame<'a>) -> Value<'a> {
    use Value::{Double, Duration, Int, Text, Time};
    let whole = |a: i128, b: i128| match what {
        Math::Add => a.checked_add(b),
        Math::Subtract => a.checked_sub(b),
        Math::Multiply => a.checked_mul(b),
        Math::Divide => a.checked_div(b),
        Math::Remainder => a.checked_rem(b),
    };
    let some = |value: Option<i128>, make: fn(i128) -> Value<'a>| value.map_or(FAILED, make);
    match (a, b) {
        (Int(a), Int(b)) => some(whole(a, b), Int),
        (Int(a), Double(b)) => Double(fraction(what, a as f64, b)),
        (Double(a), Int(b)) => Double(fraction(what, a, b as f64)),
        (Double(a), Double(b)) => Double(fraction(what, a, b)),
        (Duration(a), Duration(b)) => some(whole(a, b), Duration),
        (Time(a), Duration(b)) | (Duration(a), Time(b)) => some(whole(a, b), Time),
        (Time(a), Time(b)) => some(whole(a, b), Duration),
        (Text(a), Text(b)) if frame.pay((a.len() + b.len()) / TEXT_STEP) => {
            Text((a.into_owned() + &b).into())
        }
        _ => FAILED,
    }
}

fn fraction(what: Math, a: f64, b: f64) -> f64 {
    match what {
        Math::Add => a + b,
        Math::Subtract => a - b,
        Math::Multiply => a * b,
        Math::Divide => a / b,
        Math::Remainder => a % b,
    }
}

fn find<'a>(how: Find, text: &Value<'a>, part: &Value<'a>) -> Value<'a> {
    let (Value::Text(text), Value::Text(part)) = (text, part) else {
        return Value::Null(Why::NotThere);
    };
    Value::Bool(match how {
        Find::Within => memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some(),
        Find::AtStart => text.starts_with(&**part),
        Find::AtEnd => text.ends_with(&**part),
    })
}

fn indexed<'a>(list: &Value<'a>, index: &Value<'a>) -> Value<'a> {
    let Value::Int(index) = index else { return FAILED };
    let index = usize::try_from(*index).ok();
    index.and_then(|index| list.items().get(index)).cloned().unwrap_or(FAILED)
}

fn looped<'a>(what: Loop, two: &'a [Node; 2], frame: &mut Frame<'a>) -> Value<'a> {
    let [list, body] = two;
    let list = list.value(frame);
    if let Some(why) = list.why() {
        return Value::Null(why);
    }
    let items = match list {
        Value::List(items) => items,
        Value::Slice(items) => items.iter().map(Value::reborrow).collect(),
        _ => return FAILED,
    };
    let mut so_far = Value::Bool(what == Loop::All);
    let mut kept = Vec::new();
    let (mut yes, mut unknown) = (0_usize, None);
    for item in items {
        let missing = item.why();
        frame.variables.push(item);
        let value = body.value(frame);
        // Nobody knows whether there is such an item at all.
        let value = missing.map_or(value, Value::Null);
        let item = frame.variables.pop();
        yes += usize::from(value == Value::Bool(true));
        unknown = unknown.max(value.why().map(Why::of_value));
        match what {
            Loop::Map => kept.push(value),
            Loop::Filter if value == Value::Bool(true) => kept.extend(item),
            Loop::All => so_far = so_far.and(value),
            Loop::Exists => so_far = so_far.or(value),
            Loop::Filter | Loop::ExistsOne => {}
        }
        // One item decides these.
        if so_far == Value::Bool(what == Loop::Exists) && matches!(what, Loop::All | Loop::Exists) {
            break;
        }
    }
    match (what, unknown) {
        (Loop::All | Loop::Exists, _) => so_far,
        (Loop::Map, _) => Value::List(kept),
        (_, Some(why)) => Value::Null(why),
        (Loop::Filter, None) => Value::List(kept),
        (Loop::ExistsOne, None) => Value::Bool(yes == 1),
    }
}
