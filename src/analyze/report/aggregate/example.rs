//! Transactions picked out for a page, with all their times and header fields.

use super::samples::{sample, text_up_to};
use crate::analyze::fields::Fields;
use crate::analyze::owner::Process;
use crate::analyze::report::Item;
use crate::analyze::report::detail::{Example, FieldText};
use crate::analyze::report::model::Time;
use crate::analyze::report::named;
use crate::analyze::report::write::text_of;
use crate::analyze::transaction::Message;

/// Bytes of a field's value that are kept: tokens and cookies are longer, and
/// nobody reads them.
const VALUE_BYTES: usize = 300;
/// Bytes of a field's name that are kept.
const NAME_BYTES: usize = 80;
/// Fields of a message that are kept. Browsers send 20, proxies add as many.
const FIELDS: usize = 40;
/// Bytes of a gRPC message that are kept.
const MESSAGE_BYTES: usize = 1000;
/// Fields whose values are secrets: a page is sent to others, and who only
/// reads it has no use for them.
const SECRET: [&str; 7] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
];

/// A transaction as a page shows it, with its fields or without.
#[cold]
pub fn example(item: &Item<'_>, fields: bool) -> Example {
    let transaction = item.transaction;
    let (request, response) = (transaction.request.as_ref(), transaction.response.as_ref());
    let grpc = transaction.grpc.as_ref();
    let kept = [request, response].map(|message| match message {
        Some(message) if fields => fields_of(message),
        _ => (Vec::new(), 0),
    });
    let left_out = [kept[0].1, kept[1].1];
    let label = |process: Option<&Process>| process.and_then(Process::label);
    Example {
        sample: sample(item),
        request_end: request.and_then(|m| m.end).map(Time),
        response_start: response.and_then(|m| m.start).map(Time),
        response_end: response.and_then(|m| m.end).map(Time),
        request_body_bytes: request.map(|m| m.body_bytes),
        response_body_bytes: response.map(|m| m.body_bytes),
        pauses: [request, response].map(|message| message.and_then(|m| m.pauses.as_ref()?.longest)),
        anomalies: transaction.anomalies.clone(),
        grpc_message: grpc
            .and_then(|grpc| grpc.message.as_deref())
            .map(|text| text_up_to(text.as_bytes(), MESSAGE_BYTES)),
        timeout_ns: grpc.and_then(|grpc| grpc.timeout_ns),
        messages: grpc.map(|grpc| [grpc.request_messages, grpc.response_messages]),
        processes: [label(item.client_end.process), label(item.server_end.process)],
        runs: [named::described(item.client_end), named::described(item.server_end)],
        interface: item.interface.map(str::to_owned),
        fields: kept.map(|(fields, _)| fields),
        fields_left_out: left_out,
    }
}

/// The fields of a message, and how many more there are.
fn fields_of(message: &Message) -> (Vec<FieldText>, u64) {
    let head = texts(&message.head, false);
    let mut all = head.chain(texts(&message.trailers, true));
    let kept = all.by_ref().take(FIELDS).collect();
    (kept, all.count() as u64)
}

fn texts(fields: &Fields, trailer: bool) -> impl Iterator<Item = FieldText> {
    fields.iter().map(move |field| FieldText {
        name: text_up_to(field.name, NAME_BYTES),
        value: field.value.map(|value| shown(field.name, value)),
        trailer,
    })
}

/// A value as it is shown: of a secret nothing but how long it is, and of
/// credentials their scheme (RFC 9110 section 11.4).
fn shown(name: &[u8], value: &[u8]) -> String {
    if !SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes())) {
        return text_up_to(value, VALUE_BYTES);
    }
    let scheme = value.split(|byte| *byte == b' ').next().filter(|scheme| {
        name.to_ascii_lowercase().ends_with(b"authorization") && scheme.len() < value.len()
    });
    let scheme = scheme.map_or(String::new(), |scheme| text_of(scheme) + " ");
    format!("{scheme}(hidden, {} bytes)", value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown(b"Authorization", b"Bearer abc"), "Bearer (hidden, 10 bytes)");
        assert_eq!(shown(b"authorization", b"abc"), "(hidden, 3 bytes)");
        assert_eq!(shown(b"SET-COOKIE", b"a=1; Path=/"), "(hidden, 11 bytes)");
        assert_eq!(shown(b"x-request-id", b"abc"), "abc");
    }
}
