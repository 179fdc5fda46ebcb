//! What the parts of an expression come to, and their types.
//!
//! What is not there is [`Value::Null`], which knows why: it goes through all
//! that is worked out of it, so that in the end it is known whether the capture
//! or the transaction is to blame.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Why there is no value. Of two the one that is further down is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// What it belongs to is not there: any field of gRPC in a plain HTTP
    /// request. Whether such a field is null is no question either.
    Outside,
    /// The transaction does not have it: a comment, an HTTP/2 stream.
    NotThere,
    /// Of a condition: it is false or [`Why::NotThere`], and certainly not true.
    NeverTrue,
    /// Of a condition: it is true or [`Why::NotThere`], and certainly not false.
    NeverFalse,
    /// Nobody knows whether what it belongs to is there: whether it is a gRPC
    /// call. Whether it is null is not known then, either.
    Unclear,
    /// It cannot be worked out: division by zero, a text that is no number, or
    /// a limit was reached.
    Failed,
    /// The capture does not show it.
    NotSeen,
}

impl Why {
    /// Why something has no value that is no condition itself: what a condition
    /// is not matters only where conditions are put together.
    pub fn of_value(self) -> Self {
        match self {
            Self::NeverTrue | Self::NeverFalse => Self::NotSeen,
            why => why,
        }
    }
}

/// A value. Numbers are wider than any field, so that sums of them fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    Null(Why),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction.
    Double(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Nanoseconds since 1970.
    Time(i128),
    /// Nanoseconds.
    Duration(i128),
    /// A list that was made for this transaction.
    List(Vec<Value<'a>>),
    /// A list of the expression.
    Slice(&'a [Value<'a>]),
}

impl<'a> Value<'a> {
    /// The same, borrowed.
    pub fn reborrow(&'a self) -> Self {
        match self {
            Self::Text(text) => Self::Text(Cow::Borrowed(text)),
            Self::List(list) => Self::Slice(list),
            Self::Slice(list) => Self::Slice(list),
            Self::Null(why) => Self::Null(*why),
            Self::Bool(value) => Self::Bool(*value),
            Self::Int(value) => Self::Int(*value),
            Self::Double(value) => Self::Double(*value),
            Self::Time(value) => Self::Time(*value),
            Self::Duration(value) => Self::Duration(*value),
        }
    }

    /// Text of the wire: bytes that are no UTF-8 become the Latin-1 characters
    /// of their values, as in jsonl.
    pub fn wire(bytes: Option<&'a [u8]>, otherwise: Why) -> Self {
        let Some(bytes) = bytes else { return Self::Null(otherwise) };
        Self::Text(match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(crate::analyze::report::text_of(bytes)),
        })
    }

    /// Text that may not be there.
    pub fn text(text: Option<&'a str>, otherwise: Why) -> Self {
        text.map_or(Self::Null(otherwise), |text| Self::Text(Cow::Borrowed(text)))
    }

    /// A number that may not be there.
    pub fn int(value: Option<u64>, otherwise: Why) -> Self {
        value.map_or(Self::Null(otherwise), |value| Self::Int(i128::from(value)))
    }

    /// A duration that may not be there.
    pub fn nanos(value: Option<u64>, otherwise: Why) -> Self {
        value.map_or(Self::Null(otherwise), |value| Self::Duration(i128::from(value)))
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Value<'a>] {
        match self {
            Self::List(list) => list,
            Self::Slice(list) => list,
            _ => &[],
        }
    }

    /// The opposite of a condition.
    pub fn opposite(self) -> Self {
        match self {
            Self::Bool(value) => Self::Bool(!value),
            Self::Null(Why::NeverTrue) => Self::Null(Why::NeverFalse),
            Self::Null(Why::NeverFalse) => Self::Null(Why::NeverTrue),
            other => other,
        }
    }

    /// Both of two conditions, of which one that is false decides, whatever
    /// the other is (Kleene's logic, and CEL's). Of what is not there nothing
    /// is true, so then the other can only make it false.
    pub fn and(self, other: Self) -> Self {
        use Why::{NeverFalse, NeverTrue, NotThere, Outside};
        let no = Self::Bool(false);
        if self == no || other == no {
            return no;
        }
        let there = |why: &Why| !matches!(why, NotThere | Outside);
        match (self.why(), other.why()) {
            (None, None) => Self::Bool(true),
            (Some(why), None) | (None, Some(why)) => Self::Null(why),
            (Some(a), Some(b)) if !there(&a) || !there(&b) => {
                let never_false = |why| !there(why) || *why == NeverFalse;
                let why = if never_false(&a) && never_false(&b) { NotThere } else { NeverTrue };
                Self::Null(why)
            }
            (Some(NeverTrue), _) | (_, Some(NeverTrue)) => Self::Null(NeverTrue),
            (Some(a), Some(b)) => Self::Null(a.max(b)),
        }
    }

    /// Either of two conditions: see [`Value::and`].
    pub fn or(self, other: Self) -> Self {
        self.opposite().and(other.opposite()).opposite()
    }

    /// Why there is no value, where there is none.
    pub fn why(&self) -> Option<Why> {
        match self {
            Self::Null(why) => Some(*why),
            _ => None,
        }
    }

    /// The order of two values of one kind. Values of different kinds, of which
    /// only attributes can be, and NaN have none.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Double(b)) => exact_order(*a, *b),
            (Self::Double(a), Self::Int(b)) => exact_order(*b, *a).map(Ordering::reverse),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// The order of a whole number and another one, without rounding either.
fn exact_order(whole: i128, other: f64) -> Option<Ordering> {
    if other.is_nan() {
        return None;
    }
    // What is too large for it becomes the largest there is: no field has that.
    let floor = other.floor();
    let order = whole.cmp(&(floor as i128));
    Some(if order == Ordering::Equal && other > floor { Ordering::Less } else { order })
}

/// The type of a part of an expression, known before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A number, whole or not.
    Number,
    /// Text.
    Text,
    /// A point in time.
    Time,
    /// A length of time.
    Duration,
    /// A list of these.
    List(Scalar),
    /// A list of names and values.
    Pairs,
    /// An object: only whether it is there can be asked.
    Record,
    /// The word `null`.
    Null,
    /// A number or text, which only each transaction tells: an attribute.
    Any,
}

/// What lists hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// See [`Type::Bool`].
    Bool,
    /// See [`Type::Number`].
    Number,
    /// See [`Type::Text`].
    Text,
    /// See [`Type::Time`].
    Time,
    /// See [`Type::Duration`].
    Duration,
    /// See [`Type::Any`].
    Any,
}

impl Type {
    /// As it is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Time => "a time",
            Self::Duration => "a duration",
            Self::List(_) | Self::Pairs => "a list",
            Self::Record => "an object",
            Self::Null => "null",
            Self::Any => "an attribute",
        }
    }

    /// A list of values of this type.
    pub const fn list(self) -> Option<Self> {
        Some(match self {
            Self::Bool => Self::List(Scalar::Bool),
            Self::Number => Self::List(Scalar::Number),
            Self::Text => Self::List(Scalar::Text),
            Self::Time => Self::List(Scalar::Time),
            Self::Duration => Self::List(Scalar::Duration),
            Self::Any => Self::List(Scalar::Any),
            Self::List(Scalar::Text) => Self::Pairs,
            _ => return None,
        })
    }

    /// What is in a list of this type.
    pub const fn item(self) -> Option<Self> {
        Some(match self {
            Self::List(Scalar::Bool) => Self::Bool,
            Self::List(Scalar::Number) => Self::Number,
            Self::List(Scalar::Text) => Self::Text,
            Self::List(Scalar::Time) => Self::Time,
            Self::List(Scalar::Duration) => Self::Duration,
            Self::List(Scalar::Any) => Self::Any,
            Self::Pairs => Self::List(Scalar::Text),
            _ => return None,
        })
    }

    /// Whether values of both types can be compared.
    pub fn fits(self, other: Self) -> bool {
        let any = |a: Self, b: Self| a == Self::Any && matches!(b, Self::Number | Self::Text);
        // `[]` is a list of anything.
        let list = |a: Self, b: Self| {
            a == Self::List(Scalar::Any) && matches!(b, Self::List(_) | Self::Pairs)
        };
        self == other
            || [(self, other), (other, self)].iter().any(|(a, b)| any(*a, *b) || list(*a, *b))
    }

    /// Whether one is less than another.
    pub const fn has_order(self) -> bool {
        matches!(self, Self::Number | Self::Text | Self::Time | Self::Duration | Self::Any)
    }
}
