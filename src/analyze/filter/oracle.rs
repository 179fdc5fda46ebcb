//! Our evaluation against that of the crate `cel`, whose parser we use, and
//! against itself where less was seen.
//!
//! Both are asked about the same transactions: cel about the lines of jsonl, so
//! that names and values are held against that format as well. Where cel has an
//! answer ours must be the same, and known; what was not seen (null is a value
//! like others to cel) and times (they need more of that crate) are left out.

use cel::{Context, Env, Value as CelValue};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Decision, Filter};
use crate::analyze::report::fixture::{Placed, everything};
use crate::analyze::report::{Parts, jsonl};

/// Values of which an expression is put together, by their types.
const NUMBERS: &[&str] = &[
    "status",
    "latency_ns",
    "duration_ns",
    "response_body_bytes",
    "connection",
    "0",
    "-1",
    "404",
    "1000000",
    "2.5",
    "9007199254740993",
];
const TEXTS: &[&str] =
    &["method", "path", "outcome", "protocol", "server", "\"/users/\"", "\"GET\"", "\"\"", "'o'"];
const LISTS: &[&str] = &["anomalies", "[\"ok\", \"GET\"]", "[path, outcome]", "request_headers[0]"];
const NUMBER_LISTS: &[&str] = &["[status, 404]", "[1, 2, 3]", "[latency_ns]"];
const ORDERS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];

/// Makes expressions out of choices, each of which takes a number.
struct Maker<'a> {
    choices: &'a [u16],
    depth: usize,
}

impl Maker<'_> {
    fn choose(&mut self, among: usize) -> usize {
        let Some((first, rest)) = self.choices.split_first() else { return 0 };
        self.choices = rest;
        usize::from(*first) % among
    }

    fn one(&mut self, of: &[&str]) -> String {
        let index = self.choose(of.len());
        of[index].to_owned()
    }

    /// What `deeper` makes; `plain` where there is enough of it.
    fn or_plain(&mut self, plain: &[&str], deeper: impl FnOnce(&mut Self) -> String) -> String {
        if self.depth == 0 || self.choices.is_empty() {
            return self.one(plain);
        }
        self.depth -= 1;
        let made = deeper(self);
        self.depth += 1;
        made
    }

    fn condition(&mut self) -> String {
        self.or_plain(&["true", "false", "status == 200", "outcome == \"ok\""], |make| {
            match make.choose(12) {
                0 => format!("({} && {})", make.condition(), make.condition()),
                1 => format!("({} || {})", make.condition(), make.condition()),
                2 => format!("!({})", make.condition()),
                3 => {
                    format!("({} ? {} : {})", make.condition(), make.condition(), make.condition())
                }
                4 => format!("{} {} {}", make.number(), make.one(ORDERS), make.number()),
                5 => format!("{} {} {}", make.text(), make.one(ORDERS), make.text()),
                6 => format!("{} in {}", make.number(), make.numbers()),
                7 => format!("{} in {}", make.text(), make.texts()),
                8 => {
                    let how = make.one(&["contains", "startsWith", "endsWith"]);
                    format!("{}.{how}({})", make.text(), make.text())
                }
                9 => {
                    let how = make.one(&["exists", "all", "exists_one"]);
                    format!("{}.{how}(t, t {} {})", make.texts(), make.one(ORDERS), make.text())
                }
                10 => {
                    let how = make.one(&["exists", "all", "exists_one"]);
                    let (order, number) = (make.one(ORDERS), make.number());
                    format!("{}.{how}(n, n {order} {number})", make.numbers())
                }
                _ => format!("{} {} {}", make.texts(), make.one(&["==", "!="]), make.texts()),
            }
        })
    }

    fn number(&mut self) -> String {
        self.or_plain(NUMBERS, |make| match make.choose(5) {
            0 | 1 => {
                let (a, b) = (make.number(), make.number());
                format!("({a} {} {b})", make.one(&["+", "-", "*", "/", "%"]))
            }
            2 => format!("size({})", make.text()),
            3 => format!("{}.size()", make.texts()),
            _ => format!("({} ? {} : {})", make.condition(), make.number(), make.number()),
        })
    }

    fn text(&mut self) -> String {
        self.or_plain(TEXTS, |make| match make.choose(4) {
            0 => format!("({} + {})", make.text(), make.text()),
            1 => format!("string({})", make.number()),
            2 => format!("{}[{}]", make.texts(), make.number()),
            _ => format!("({} ? {} : {})", make.condition(), make.text(), make.text()),
        })
    }

    fn texts(&mut self) -> String {
        self.or_plain(LISTS, |make| match make.choose(3) {
            0 => format!("{}.filter(f, f {} {})", make.texts(), make.one(ORDERS), make.text()),
            1 => format!("{}.map(m, m + {})", make.texts(), make.text()),
            _ => format!("[{}, {}]", make.text(), make.text()),
        })
    }

    fn numbers(&mut self) -> String {
        self.or_plain(NUMBER_LISTS, |make| match make.choose(2) {
            0 => format!("{}.map(k, k + {})", make.numbers(), make.number()),
            _ => format!("[{}, {}]", make.number(), make.number()),
        })
    }
}

/// Whole numbers are signed to cel, which does not calculate with both kinds.
fn cel_value(json: &Json) -> CelValue {
    match json {
        Json::Null => CelValue::Null,
        Json::Bool(value) => CelValue::Bool(*value),
        Json::Number(number) => CelValue::Int(number.as_i64().expect("a whole number")),
        Json::String(text) => CelValue::from(text.as_str()),
        Json::Array(items) => CelValue::from(items.iter().map(cel_value).collect::<Vec<_>>()),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), cel_value(value)));
            CelValue::from(fields.collect::<std::collections::HashMap<_, _>>())
        }
    }
}

/// Transactions of which all is known that expressions are made of, and their
/// fields as jsonl has them.
fn known() -> Vec<(Placed, serde_json::Map<String, Json>)> {
    let with_line = |placed: Placed| {
        let mut line = Vec::new();
        jsonl::write(&placed.item(), Parts { headers: true, bodies: false }, &mut line);
        let fields = serde_json::from_slice(&line).expect("a line of jsonl");
        (placed, fields)
    };
    // Not those with bytes that nobody can read, without a request, without an end.
    let hidden = [8, 9, 11];
    let plain = everything().into_iter().enumerate().filter(|(index, _)| !hidden.contains(index));
    plain.map(|(_, placed)| with_line(placed)).collect()
}

/// What cel answers about each; None where it cannot.
fn asked(source: &str, all: &[(Placed, serde_json::Map<String, Json>)]) -> Vec<Option<bool>> {
    let program = Env::stdlib().compile(source).unwrap_or_else(|e| panic!("{source}: {e}"));
    let answer = |fields: &serde_json::Map<String, Json>| {
        let mut context = Context::default();
        for (name, value) in fields {
            context.add_variable_from_value(name.as_str(), cel_value(value));
        }
        match program.execute(&context) {
            Ok(CelValue::Bool(answer)) => Some(answer),
            _ => None,
        }
    };
    all.iter().map(|(_, fields)| answer(fields)).collect()
}

/// How many answers both have given, which are the same.
fn agree(source: &str) -> Result<usize, TestCaseError> {
    // What depends on no transaction and cannot be worked out is refused.
    let Ok(filter) = Filter::new(Some(source), None) else { return Ok(0) };
    let all = known();
    let mut answers = 0;
    for ((placed, _), answer) in all.iter().zip(asked(source, &all)) {
        let Some(answer) = answer else { continue };
        let expected = if answer { Decision::Take } else { Decision::Leave };
        prop_assert_eq!(filter.decide(&placed.item()), expected, "{}", source);
        answers += 1;
    }
    Ok(answers)
}

#[test]
fn cel_answers_what_it_is_asked_here() {
    for source in [
        "status >= 500 || path.startsWith(\"/users\")",
        "grpc != null && grpc.status_name == \"OK\"",
        "request_headers.exists(h, h[0] == \"Host\" && h[1] == \"api.example.com\")",
        "latency_ns / 1000 > 2000 ? method == \"GET\" : size(path) % 2 == 0",
        "anomalies.filter(a, a != \"x\").size() == 1",
        "status > 404.5 && 404.5 < status",
    ] {
        let answers = agree(source).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answers, known().len(), "{source}");
    }
}

/// The same transaction of which less was seen.
fn hidden(what: usize, mut placed: Placed) -> Placed {
    let transaction = &mut placed.transaction;
    match what {
        0 => transaction.response = None,
        1 => {
            transaction.request = None;
            // Without it, the start is that of the response.
            if let Some(response) = &mut transaction.response {
                (response.start, response.end) = (None, None);
            }
        }
        2 => {
            let request = transaction.request.as_mut().expect("a request");
            (request.method, request.path) = (None, None);
            request.head.clear();
        }
        _ => {
            let request = transaction.request.as_mut().expect("a request");
            request.head.mark_cut();
        }
    }
    placed
}

proptest! {
    /// Unless it is asked whether something is null.
    #[test]
    fn what_was_not_seen_decides_nothing(
        choices in prop::collection::vec(any::<u16>(), 1..60), which in 0..4_usize, what in 0..4_usize,
    ) {
        let source = Maker { choices: &choices, depth: 4 }.condition();
        let Ok(filter) = Filter::new(Some(&source), None) else { return Ok(()) };
        let whole = filter.decide(&everything().swap_remove(which).item());
        let less = filter.decide(&hidden(what, everything().swap_remove(which)).item());
        let same = less == whole || [less, whole].contains(&Decision::Undecided);
        prop_assert!(same, "{}: {:?}, where less was seen {:?}", source, whole, less);
    }

    #[test]
    fn what_cel_answers_is_our_answer(choices in prop::collection::vec(any::<u16>(), 1..60)) {
        agree(&Maker { choices: &choices, depth: 4 }.condition())?;
    }
}
