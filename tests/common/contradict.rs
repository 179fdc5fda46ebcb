//! What a run over a damaged capture may say, given what the run over the
//! intact one says: less, but nothing else.

use serde_json::Value;

use super::{ORIGIN, fields_that_differ, without};

/// One transaction of the damaged run and what is wrong with it.
#[derive(Debug)]
pub struct Lie {
    /// For people.
    pub what: String,
}

/// Compares a damaged run with the intact one.
pub fn lies(intact: &[Value], damaged: &[Value]) -> Vec<Lie> {
    let mut lies = Vec::new();
    // Each intact transaction may be found again once by its request and
    // once by its response (where the two could not be paired).
    let mut requests = vec![0usize; intact.len()];
    let mut responses = vec![0usize; intact.len()];
    for found in damaged {
        let reasons: Vec<_> = intact.iter().map(|whole| contradiction(whole, found)).collect();
        let mut matches = (0..intact.len()).filter(|index| reasons[*index].is_none());
        let Some(index) = matches.next() else {
            lies.push(Lie { what: explain(intact, found, &reasons) });
            continue;
        };
        if matches.next().is_some() {
            continue; // knows too little to tell which one it is
        }
        for (counts, seen) in [
            (&mut requests, !found["method"].is_null()),
            (&mut responses, !found["status"].is_null()),
        ] {
            // A 101 stands beside the answer of the stream that it opened.
            counts[index] += usize::from(seen && found["status"] != 101);
            if counts[index] > 1 {
                lies.push(Lie { what: format!("told twice: {found}") });
            }
        }
    }
    lies
}

fn explain(intact: &[Value], found: &Value, reasons: &[Option<String>]) -> String {
    let mut near: Vec<_> = intact
        .iter()
        .zip(reasons)
        .filter(|(whole, _)| same_place(whole, found))
        .filter_map(|(whole, reason)| Some((closeness(whole, found), whole, reason.as_ref()?)))
        .collect();
    near.sort_by_key(|(closeness, ..)| std::cmp::Reverse(*closeness));
    match near.first() {
        None => format!("nothing like it was said between these ends: {found}"),
        Some((_, whole, reason)) => {
            format!("{reason}\n  damaged: {found}\n  intact:  {whole}")
        }
    }
}

fn closeness(whole: &Value, found: &Value) -> usize {
    let fields = ["start", "path", "method", "status", "response_start", "response_end"];
    fields
        .iter()
        .filter(|field| !found[**field].is_null() && whole[**field] == found[**field])
        .count()
}

fn same_place(whole: &Value, found: &Value) -> bool {
    ["client", "server"].iter().all(|field| whole[*field] == found[*field])
        && (whole["stream"] == found["stream"] || found["stream"].is_null())
}

/// Why `found` cannot be what was seen of `whole`; None where it can.
fn contradiction(whole: &Value, found: &Value) -> Option<String> {
    for field in ["client", "server"] {
        if whole[field] != found[field] {
            return Some(format!("{field} differs"));
        }
    }
    if whole["stream"] != found["stream"] {
        return upgrade(whole, found);
    }
    if found["completeness"] == "complete" {
        let (a, b) = (without(whole, &ORIGIN), without(found, &ORIGIN));
        return (a != b).then(|| format!("complete, but\n{}", fields_that_differ(&a, &b)));
    }
    protocol(whole, found)
        .or_else(|| {
            ["method", "scheme", "authority", "path", "status"]
                .into_iter()
                .find_map(|field| unknown_or_same(whole, found, field))
        })
        .or_else(|| times(whole, found))
        .or_else(|| sizes(whole, found))
        .or_else(|| {
            ["request_headers", "response_headers", "request_trailers", "response_trailers"]
                .into_iter()
                .find_map(|field| headers(whole, found, field))
        })
        .or_else(|| outcome(whole, found))
        .or_else(|| grpc(&whole["grpc"], &found["grpc"]))
}

/// A request with `Upgrade: h2c` is stream 1 where its upgrade was seen, and
/// HTTP/1.1 where it was not; a 101 alone is an answer to it.
fn upgrade(whole: &Value, found: &Value) -> Option<String> {
    let offered = |list: &Value| {
        let fields = list.as_array().into_iter().flatten();
        fields.clone().any(|pair| {
            super::text_of_index(pair, 0).eq_ignore_ascii_case("upgrade")
                && super::text_of_index(pair, 1) == "h2c"
        })
    };
    if whole["stream"] != 1 || !found["stream"].is_null() || !offered(&whole["request_headers"]) {
        return Some("stream differs".into());
    }
    if found["status"] == 101 && found["method"].is_null() && offered(&found["response_headers"]) {
        return None;
    }
    let headless = found["request_headers"].as_array().is_some_and(Vec::is_empty);
    let told = headless || offered(&found["request_headers"]);
    if !told || found["completeness"] == "complete" {
        return Some("stream differs".into());
    }
    ["method", "authority", "path"]
        .into_iter()
        .find_map(|field| unknown_or_same(whole, found, field))
        .or_else(|| sizes(whole, found))
        .or_else(|| (found["outcome"] != "unknown").then(|| "an outcome of the upgrade".into()))
}

fn protocol(whole: &Value, found: &Value) -> Option<String> {
    let (a, b) = (whole["protocol"].as_str()?, found["protocol"].as_str()?);
    // A gRPC call whose content type was not seen is an HTTP/2 or HTTP/1
    // transaction, and an answer without its request has its own version.
    let less = a == "grpc" && whole["grpc"] != found["grpc"] && found["grpc"].is_null();
    let own_version = found["method"].is_null() && b.starts_with("http/1");
    (a != b && !less && !own_version).then(|| format!("protocol: {b} for {a}"))
}

fn unknown_or_same(whole: &Value, found: &Value, field: &str) -> Option<String> {
    let (a, b) = (&whole[field], &found[field]);
    (!b.is_null() && a != b).then(|| format!("{field}: {b} for {a}"))
}

/// Times of what was seen lie within the message that was seen.
fn times(whole: &Value, found: &Value) -> Option<String> {
    let time = |value: &Value, field: &str| value[field].as_str().map(str::to_owned);
    let has_request = !found["request_end"].is_null() || !found["method"].is_null();
    if has_request {
        let (from, to) = (time(whole, "start"), time(whole, "request_end"));
        if let Some(why) = outside("start", time(found, "start"), from, to) {
            return Some(why);
        }
    }
    // A head of unknown status may be an interim response's.
    let interim = whole["attributes"]["http.informational"].is_u64() && found["status"].is_null();
    let checks = [
        ("request_end", "start", "request_end"),
        ("response_start", if interim { "start" } else { "response_start" }, "response_end"),
        ("response_end", "response_start", "response_end"),
    ];
    for (field, from, to) in checks {
        if let Some(why) = outside(field, time(found, field), time(whole, from), time(whole, to)) {
            return Some(why);
        }
    }
    None
}

/// RFC 3339 with nine digits in UTC sorts as text.
fn outside(
    field: &str,
    at: Option<String>,
    from: Option<String>,
    to: Option<String>,
) -> Option<String> {
    let at = at?;
    let Some(from) = from else { return Some(format!("{field}: {at}, but nothing was sent")) };
    let late = to.as_ref().is_some_and(|to| at > *to);
    (at < from || late).then(|| format!("{field}: {at} is outside {from} to {to:?}"))
}

fn sizes(whole: &Value, found: &Value) -> Option<String> {
    let fields = [("request_body_bytes", "request_end"), ("response_body_bytes", "response_end")];
    for (field, end) in fields {
        let (a, b) = (whole[field].as_u64(), found[field].as_u64());
        // What a reset left without an end may have gone on unheeded.
        if b.unwrap_or(0) > a.unwrap_or(0) && !whole[end].is_null() {
            return Some(format!("{field}: {b:?}, more than {a:?}"));
        }
    }
    None
}

/// Pseudo-header fields that a request can have at most.
const PSEUDO_FIELDS: usize = 5;

/// Fields that are known stand where they stood. Pseudo-header fields are not
/// in the lists, but one whose name HPACK could not resolve stands before the
/// others.
fn headers(whole: &Value, found: &Value, field: &str) -> Option<String> {
    let (Some(a), Some(b)) = (whole[field].as_array(), found[field].as_array()) else {
        return None;
    };
    let unknown = |pair: &Value| super::text_of_index(pair, 0).starts_with("?n");
    let fits =
        |(a, b): (&Value, &Value)| (a[0] == b[0] || unknown(b)) && (b[1].is_null() || a[1] == b[1]);
    let leading = b.iter().take(PSEUDO_FIELDS).take_while(|pair| unknown(pair)).count();
    let aligned = |skipped: usize| {
        let rest = &b[skipped..];
        rest.len() <= a.len() && a.iter().zip(rest).all(fits)
    };
    let none = (0..=leading).all(|skipped| !aligned(skipped));
    none.then(|| format!("{field}: {}\n  for {}", found[field], whole[field]))
}

/// Unknown, or what it was; but some of what decides it may be unseen.
fn outcome(whole: &Value, found: &Value) -> Option<String> {
    let (a, b) = (super::text_of(whole, "outcome"), super::text_of(found, "outcome"));
    let fits = match b {
        "unknown" => true,
        // The status was seen, what came of it later was not.
        "client_error" | "server_error" if a == "reset" => !found["status"].is_null(),
        // No answer was sent. That the client gave up was not seen.
        "unanswered" => whole["response_start"].is_null(),
        // That a deadline had passed was not seen.
        "reset" => matches!(a, "reset" | "timeout"),
        _ => a == b,
    };
    (!fits).then(|| format!("outcome: {b} for {a}"))
}

fn grpc(whole: &Value, found: &Value) -> Option<String> {
    if found.is_null() {
        return None;
    }
    if whole.is_null() {
        return Some(format!("grpc: {found} for null"));
    }
    for field in ["service", "method", "status", "message", "kind", "timeout_ns"] {
        if let Some(why) = unknown_or_same(whole, found, field) {
            return Some(format!("grpc {why}"));
        }
    }
    let name = &found["status_name"];
    if name != "unknown" && *name != whole["status_name"] {
        return Some(format!("grpc status_name: {name} for {}", whole["status_name"]));
    }
    for field in ["request_messages", "response_messages"] {
        if found[field].as_u64() > whole[field].as_u64() {
            return Some(format!("grpc {field}: {} for {}", found[field], whole[field]));
        }
    }
    None
}
