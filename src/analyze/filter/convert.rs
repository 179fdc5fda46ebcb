//! Functions of one value.

use std::borrow::Cow;

use super::value::{Type, Value, Why};
use crate::time::Timestamp;

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    /// `-x`
    Negate,
    /// `size(x)`, `x.size()`: characters of a text, items of a list.
    Size,
    /// `x.lowerAscii()`
    Lower,
    /// `x.upperAscii()`
    Upper,
    /// `int(x)`
    Int,
    /// `double(x)`
    Double,
    /// `string(x)`
    Text,
    /// `timestamp(x)`
    Time,
    /// `duration(x)`
    Duration,
}

impl Convert {
    /// What it makes of a value of this type; None where it takes no such.
    pub fn of(self, from: Type) -> Option<Type> {
        use Type::{Any, Bool, Duration, List, Number, Pairs, Text, Time};
        Some(match (self, from) {
            (Self::Negate, Number | Duration) => from,
            (Self::Size, Text | List(_) | Pairs) => Number,
            (Self::Lower | Self::Upper, Text | Any) => Text,
            (Self::Int, Number | Text | Time | Any) => Number,
            (Self::Double, Number | Text | Any) => Number,
            (Self::Text, Bool | Number | Text | Time | Duration | Any) => Text,
            (Self::Time, Text | Time) => Time,
            (Self::Duration, Text | Duration) => Duration,
            _ => return None,
        })
    }
}

/// Applies a function.
pub fn convert<'a>(what: Convert, value: Value<'a>) -> Value<'a> {
    const FAILED: Value<'static> = Value::Null(Why::Failed);
    match (what, value) {
        (_, Value::Null(why)) => Value::Null(why),
        (Convert::Negate, Value::Int(value)) => value.checked_neg().map_or(FAILED, Value::Int),
        (Convert::Negate, Value::Double(value)) => Value::Double(-value),
        (Convert::Negate, Value::Duration(value)) => {
            value.checked_neg().map_or(FAILED, Value::Duration)
        }
        (Convert::Size, Value::Text(text)) => Value::Int(text.chars().count() as i128),
        (Convert::Size, list) => match list.items().last() {
            // Nobody knows how many more there are.
            Some(Value::Null(why)) => Value::Null(why.of_value()),
            _ => Value::Int(list.items().len() as i128),
        },
        (Convert::Lower, Value::Text(text)) => Value::Text(text.to_ascii_lowercase().into()),
        (Convert::Upper, Value::Text(text)) => Value::Text(text.to_ascii_uppercase().into()),
        // An attribute that is a number.
        (Convert::Lower | Convert::Upper, _) => Value::Null(Why::NotThere),
        (Convert::Int, value) => int(&value).map_or(FAILED, Value::Int),
        (Convert::Double, Value::Int(value)) => Value::Double(value as f64),
        (Convert::Double, Value::Double(value)) => Value::Double(value),
        (Convert::Double, Value::Text(text)) => text.parse().map_or(FAILED, Value::Double),
        (Convert::Text, value) => text(value).map_or(FAILED, Value::Text),
        (Convert::Time, Value::Text(text)) => {
            let time = Timestamp::parse(&text);
            time.map_or(FAILED, |time| Value::Time(i128::from(time.nanos())))
        }
        (Convert::Duration, Value::Text(text)) => {
            duration(&text).map_or(FAILED, |nanos| Value::Duration(i128::from(nanos)))
        }
        (Convert::Time | Convert::Duration, value @ (Value::Time(_) | Value::Duration(_))) => value,
        _ => FAILED,
    }
}

fn int(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(*value),
        // Within these the conversion is exact but for the fraction.
        Value::Double(value) if value.abs() < 1e18 => Some(*value as i128),
        Value::Text(text) => text.parse().ok(),
        Value::Time(nanos) => Some(nanos.div_euclid(1_000_000_000)),
        _ => None,
    }
}

fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Double(value) => value.to_string().into(),
        Value::Text(text) => text,
        Value::Time(nanos) => Timestamp::from_nanos(i64::try_from(nanos).ok()?).to_string().into(),
        Value::Duration(nanos) => {
            let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
            let text = format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            format!("{}s", text.trim_end_matches('0').trim_end_matches('.')).into()
        }
        Value::Null(_) | Value::List(_) | Value::Slice(_) => return None,
    })
}

/// Nanoseconds of `1h30m`, `1.5s`, `-100ms`: numbers with a unit of `h`, `m`,
/// `s`, `ms`, `us`, `µs` or `ns` each, as Go and CEL write them.
pub fn duration(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix('-').or(text.strip_prefix('+')).unwrap_or(text);
    let mut rest = unsigned;
    let mut nanos = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanos = nanos.checked_add(times(number, unit)?)?;
        rest = after;
    }
    let nanos = i64::try_from(nanos).ok().filter(|_| !unsigned.is_empty())?;
    Some(if text.starts_with('-') { -nanos } else { nanos })
}

/// A decimal number times `unit`, without its digits past the ninth.
fn times(number: &str, unit: i128) -> Option<i128> {
    const BILLION: i128 = 1_000_000_000;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = fraction.get(..9).unwrap_or(fraction);
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: i128 = format!("{kept:0<9}").parse().ok()?;
    whole.checked_mul(unit)?.checked_add(fraction * unit / BILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_cel_writes_them() {
        for (text, nanos) in [
            ("1s", Some(1_000_000_000)),
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5ms", Some(500_000)),
            ("-100ms", Some(-100_000_000)),
            ("3µs", Some(3_000)),
            ("7ns", Some(7)),
            ("", None),
            ("-", None),
            ("5", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("1 s", None),
            ("1d", None),
            ("99999999999999999999999999999999999999999999h", None),
            ("9999999999h", None),
        ] {
            assert_eq!(duration(text), nanos, "{text:?}");
        }
    }
}
