//! The fields of a transaction that an expression can name: those of jsonl,
//! under the same names, and durations and times as what they are.

use std::borrow::Cow;

use super::value::{Type, Value, Why};
use crate::analyze::fields::Fields;
use crate::analyze::owner::place::{Basis, Qualified};
use crate::analyze::owner::{End, Process};
use crate::analyze::report::{Item, address_text};
use crate::analyze::transaction::{Grpc, Message, Value as Attribute};
use crate::time::Timestamp;

/// Takes a field out of a transaction.
type Get = for<'a> fn(&Item<'a>) -> Value<'a>;

/// A field.
#[derive(Debug)]
pub struct Field {
    /// Its name, with dots.
    pub name: &'static str,
    /// Its type.
    pub of: Type,
    /// Whether it is there only where headers are kept.
    pub headers: bool,
    /// Takes it out of a transaction.
    pub get: Get,
}

const fn field(name: &'static str, of: Type, get: Get) -> Field {
    Field { name, of, headers: false, get }
}

const fn pairs(name: &'static str, get: Get) -> Field {
    Field { name, of: Type::Pairs, headers: true, get }
}

/// All of them, in the order of jsonl.
pub static FIELDS: &[Field] = &[
    field("protocol", Type::Text, |i| Value::text(Some(i.transaction.protocol), Why::NotSeen)),
    field("client", Type::Text, |i| Value::Text(Cow::Owned(address_text(i.client)))),
    field("server", Type::Text, |i| Value::Text(Cow::Owned(address_text(i.server)))),
    field("connection", Type::Number, |i| Value::Int(i128::from(i.connection))),
    // Where there is none, it is no HTTP/2.
    field("stream", Type::Number, |i| {
        Value::int(i.transaction.stream.map(u64::from), Why::NotThere)
    }),
    field("method", Type::Text, |i| {
        Value::wire(i.transaction.request_text(|m| m.method), Why::NotSeen)
    }),
    field("scheme", Type::Text, |i| {
        Value::wire(i.transaction.request_text(|m| m.scheme), unless_head(i))
    }),
    field("authority", Type::Text, |i| {
        Value::wire(i.transaction.request_text(|m| m.authority), unless_head(i))
    }),
    field("path", Type::Text, |i| {
        Value::wire(i.transaction.request_text(|m| m.path), unless_head(i))
    }),
    field("status", Type::Number, |i| {
        Value::int(i.transaction.status().map(u64::from), Why::NotSeen)
    }),
    field("grpc", Type::Record, |i| match i.transaction.grpc {
        Some(_) => Value::Bool(true),
        None if may_be_call(i) => Value::Null(Why::Unclear),
        None => Value::Null(Why::NotThere),
    }),
    field("grpc.service", Type::Text, |i| {
        grpc(i, |_| Value::wire(i.transaction.service(), Why::NotSeen))
    }),
    field("grpc.method", Type::Text, |i| {
        grpc(i, |_| Value::wire(i.transaction.rpc_method(), Why::NotSeen))
    }),
    field("grpc.status", Type::Number, |i| {
        grpc(i, |grpc| Value::int(grpc.status.map(u64::from), Why::NotSeen))
    }),
    field("grpc.status_name", Type::Text, |i| {
        grpc(i, |grpc| Value::Text(Cow::Owned(grpc.status_name())))
    }),
    field("grpc.message", Type::Text, |i| {
        grpc(i, |grpc| {
            let why = if grpc.status.is_none() { Why::NotSeen } else { Why::NotThere };
            Value::text(grpc.message.as_deref(), why)
        })
    }),
    field("grpc.kind", Type::Text, |i| grpc(i, |grpc| Value::text(grpc.kind, Why::NotSeen))),
    field("grpc.request_messages", Type::Number, |i| {
        grpc(i, |grpc| Value::Int(i128::from(grpc.request_messages)))
    }),
    field("grpc.response_messages", Type::Number, |i| {
        grpc(i, |grpc| Value::Int(i128::from(grpc.response_messages)))
    }),
    field("grpc.timeout_ns", Type::Number, |i| {
        grpc(i, |grpc| Value::int(grpc.timeout_ns, unless_head(i)))
    }),
    field("grpc.timeout", Type::Duration, |i| {
        grpc(i, |grpc| Value::nanos(grpc.timeout_ns, unless_head(i)))
    }),
    field("start", Type::Time, |i| time(i.transaction.start())),
    field("request_end", Type::Time, |i| time(request(i).and_then(|m| m.end))),
    field("response_start", Type::Time, |i| time(response(i).and_then(|m| m.start))),
    field("response_end", Type::Time, |i| time(response(i).and_then(|m| m.end))),
    field("latency_ns", Type::Number, |i| Value::int(i.transaction.latency_ns(), Why::NotSeen)),
    field("latency", Type::Duration, |i| Value::nanos(i.transaction.latency_ns(), Why::NotSeen)),
    field("duration_ns", Type::Number, |i| Value::int(i.transaction.duration_ns(), Why::NotSeen)),
    field("duration", Type::Duration, |i| Value::nanos(i.transaction.duration_ns(), Why::NotSeen)),
    field("request_body_bytes", Type::Number, |i| {
        Value::int(request(i).map(|m| m.body_bytes), Why::NotSeen)
    }),
    field("response_body_bytes", Type::Number, |i| {
        Value::int(response(i).map(|m| m.body_bytes), Why::NotSeen)
    }),
    pairs("request_headers", |i| Part::REQUEST.pairs(i)),
    pairs("response_headers", |i| Part::RESPONSE.pairs(i)),
    pairs("request_trailers", |i| Part { trailers: true, ..Part::REQUEST }.pairs(i)),
    pairs("response_trailers", |i| Part { trailers: true, ..Part::RESPONSE }.pairs(i)),
    field("outcome", Type::Text, |i| Value::text(Some(i.transaction.outcome.name()), Why::NotSeen)),
    field("completeness", Type::Text, |i| {
        Value::text(Some(i.transaction.completeness.name()), Why::NotSeen)
    }),
    field("anomalies", Type::List(super::value::Scalar::Text), |i| {
        let names = i.transaction.anomalies.iter();
        Value::List(names.map(|name| Value::Text(Cow::Borrowed(*name))).collect())
    }),
    field("interface", Type::Text, |i| Value::text(i.interface, Why::NotSeen)),
    field("comment", Type::Text, |i| Value::text(i.comment, Why::NotThere)),
    field("process", Type::Record, |i| {
        let known = |process: Option<&Process>| process.is_some_and(Process::is_known);
        record(known(i.client_end.process) || known(i.server_end.process))
    }),
    field("process.client", Type::Record, |i| {
        record(i.client_end.process.is_some_and(Process::is_known))
    }),
    field("process.client.pid", Type::Number, |i| pid(i.client_end.process)),
    field("process.client.comm", Type::Text, |i| comm(i.client_end.process)),
    field("process.client.exe", Type::Text, |i| exe(i.client_end.process)),
    field("process.client.uid", Type::Number, |i| uid(i.client_end.process)),
    field("process.server", Type::Record, |i| {
        record(i.server_end.process.is_some_and(Process::is_known))
    }),
    field("process.server.pid", Type::Number, |i| pid(i.server_end.process)),
    field("process.server.comm", Type::Text, |i| comm(i.server_end.process)),
    field("process.server.exe", Type::Text, |i| exe(i.server_end.process)),
    field("process.server.uid", Type::Number, |i| uid(i.server_end.process)),
    field("container", Type::Record, |i| {
        let has =
            |process: Option<&Process>| process.is_some_and(|process| process.container.is_some());
        record(has(i.client_end.process) || has(i.server_end.process))
    }),
    field("container.client", Type::Text, |i| container(i.client_end.process)),
    field("container.server", Type::Text, |i| container(i.server_end.process)),
    field("client.namespace", Type::Text, |i| text_of(i.client_end.namespace())),
    field("client.workload", Type::Text, |i| workload(i.client_end)),
    field("client.kind", Type::Text, |i| text_of(i.client_end.workload().map(|w| w.kind.as_str()))),
    field("client.pod", Type::Text, |i| qualified(i.client_end.pod())),
    field("client.container", Type::Text, |i| text_of(i.client_end.container())),
    field("client.service", Type::Text, |i| qualified(i.client_end.service())),
    field("client.node", Type::Text, |i| text_of(i.client_end.node())),
    field("client.address", Type::Text, |i| address(i.client_end)),
    field("client.by", Type::Text, |i| text_of(i.client_end.basis().map(Basis::name))),
    field("server.namespace", Type::Text, |i| text_of(i.server_end.namespace())),
    field("server.workload", Type::Text, |i| workload(i.server_end)),
    field("server.kind", Type::Text, |i| text_of(i.server_end.workload().map(|w| w.kind.as_str()))),
    field("server.pod", Type::Text, |i| qualified(i.server_end.pod())),
    field("server.container", Type::Text, |i| text_of(i.server_end.container())),
    field("server.service", Type::Text, |i| qualified(i.server_end.service())),
    field("server.node", Type::Text, |i| text_of(i.server_end.node())),
    field("server.address", Type::Text, |i| address(i.server_end)),
    field("server.by", Type::Text, |i| text_of(i.server_end.basis().map(Basis::name))),
];

/// The field of this name.
pub fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

fn request<'a>(item: &Item<'a>) -> Option<&'a Message> {
    item.transaction.request.as_ref()
}

fn response<'a>(item: &Item<'a>) -> Option<&'a Message> {
    item.transaction.response.as_ref()
}

fn record(there: bool) -> Value<'static> {
    if there { Value::Bool(true) } else { Value::Null(Why::NotSeen) }
}

/// Why something of the request's head is missing: where the head was seen, it
/// has no such thing.
fn unless_head(item: &Item<'_>) -> Why {
    let seen = request(item).is_some_and(|m| head_was_seen(m) && !m.head.is_cut());
    if seen { Why::NotThere } else { Why::NotSeen }
}

/// Whether the head of a message was seen: it has a method or a status then.
fn head_was_seen(message: &Message) -> bool {
    message.method.is_some() || message.status.is_some()
}

fn grpc<'a>(item: &Item<'a>, get: impl FnOnce(&'a Grpc) -> Value<'a>) -> Value<'a> {
    let otherwise = || Value::Null(if may_be_call(item) { Why::Unclear } else { Why::Outside });
    item.transaction.grpc.as_ref().map_or_else(otherwise, get)
}

/// Whether what is not told to be a gRPC call may be one: calls say so in the
/// header fields of the request, and in those of a response with the status 200
/// (gRPC over HTTP2, "Requests" and "Responses").
fn may_be_call(item: &Item<'_>) -> bool {
    let says = |message: &Message| {
        let name = message.head.iter().any(|field| is_placeholder(field.name));
        let untold = message.head.get("content-type").is_some_and(|field| field.value.is_none());
        head_was_seen(message) && !message.head.is_cut() && !name && !untold
    };
    let answered = response(item).filter(|message| message.status == Some(200));
    !(request(item).is_some_and(says) || answered.is_some_and(says))
}

fn time(at: Option<Timestamp>) -> Value<'static> {
    at.map_or(Value::Null(Why::NotSeen), |at| Value::Time(i128::from(at.nanos())))
}

fn pid<'a>(process: Option<&'a Process>) -> Value<'a> {
    Value::int(process.and_then(|process| process.pid).map(u64::from), Why::NotSeen)
}

fn uid<'a>(process: Option<&'a Process>) -> Value<'a> {
    Value::int(process.and_then(|process| process.uid).map(u64::from), Why::NotSeen)
}

fn comm(process: Option<&Process>) -> Value<'_> {
    Value::text(process.and_then(|process| process.comm.as_deref()), Why::NotSeen)
}

fn exe(process: Option<&Process>) -> Value<'_> {
    Value::text(process.and_then(|process| process.exe.as_deref()), Why::NotSeen)
}

fn container(process: Option<&Process>) -> Value<'_> {
    Value::text(process.and_then(|process| process.container.as_deref()), Why::NotSeen)
}

/// Something of where an end runs: nobody knows whether it is not known or not there.
fn text_of(text: Option<&str>) -> Value<'_> {
    Value::text(text, Why::NotSeen)
}

fn qualified(name: Option<&Qualified>) -> Value<'_> {
    name.map_or(Value::Null(Why::NotSeen), |name| Value::Text(Cow::Owned(name.to_string())))
}

fn workload(end: End<'_>) -> Value<'_> {
    let name = end.name().filter(|_| end.workload().is_some());
    name.map_or(Value::Null(Why::NotSeen), |name| Value::Text(Cow::Owned(name.to_string())))
}

fn address(end: End<'_>) -> Value<'_> {
    let text = end.address().map(address_text);
    text.map_or(Value::Null(Why::NotSeen), |text| Value::Text(Cow::Owned(text)))
}

/// A label of the pod at an end: an empty text where its labels are known and this is
/// none of them.
pub fn label<'a>(item: &Item<'a>, server: bool, name: &str) -> Value<'a> {
    let end = if server { item.server_end } else { item.client_end };
    let Some(labels) = end.labels() else { return Value::Null(Why::NotSeen) };
    let value = labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    Value::Text(Cow::Borrowed(value.unwrap_or_default()))
}

/// Whether a name stands for one that HPACK could not resolve: it could be any.
fn is_placeholder(name: &[u8]) -> bool {
    name.starts_with(b"?")
}

/// Which fields of which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of the response, or else of the request.
    pub response: bool,
    /// Trailers, or else headers.
    pub trailers: bool,
}

impl Part {
    const REQUEST: Self = Self { response: false, trailers: false };
    const RESPONSE: Self = Self { response: true, trailers: false };

    /// The message, where its fields were seen, or some of them. Trailers end a
    /// message: they are known once it has ended.
    fn message<'a>(self, item: &Item<'a>) -> Option<&'a Message> {
        let message = if self.response { response(item) } else { request(item) };
        let seen = |m: &&Message| match self.trailers {
            true => m.end.is_some() || !m.trailers.is_empty(),
            false => head_was_seen(m) || !m.head.is_empty(),
        };
        message.filter(seen)
    }

    fn fields(self, message: &Message) -> &Fields {
        if self.trailers { &message.trailers } else { &message.head }
    }

    /// Whether it is known what fields there are, so that one that is not among
    /// them is not there.
    fn is_whole(self, message: &Message) -> bool {
        let ended = if self.trailers { message.end.is_some() } else { head_was_seen(message) };
        ended && !self.fields(message).is_cut()
    }

    /// All names and values. Where some may be missing, something unknown comes
    /// last, so that nothing can be said of all of them.
    fn pairs<'a>(self, item: &Item<'a>) -> Value<'a> {
        let Some(message) = self.message(item) else { return Value::Null(Why::NotSeen) };
        let pairs = self.fields(message).iter().map(|field| {
            let name = (!is_placeholder(field.name)).then_some(field.name);
            let text = |text| Value::wire(text, Why::NotSeen);
            Value::List(vec![text(name), text(field.value)])
        });
        let missing = (!self.is_whole(message)).then_some(Value::Null(Why::NotSeen));
        Value::List(pairs.chain(missing).collect())
    }

    /// The value of the first field of this name: an empty text where there
    /// is no such field.
    pub fn value<'a>(self, item: &Item<'a>, name: &str) -> Value<'a> {
        let Some(message) = self.message(item) else { return Value::Null(Why::NotSeen) };
        let fields = self.fields(message);
        match fields.get(name) {
            Some(field) => Value::wire(field.value, Why::NotSeen),
            None if self.may_hide(message) => Value::Null(Why::NotSeen),
            None => Value::Text(Cow::Borrowed("")),
        }
    }

    /// The values of all fields of this name; something unknown comes last
    /// where there may be more.
    pub fn values<'a>(self, item: &Item<'a>, name: &str) -> Value<'a> {
        let Some(message) = self.message(item) else { return Value::Null(Why::NotSeen) };
        let fields = self.fields(message);
        let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        let values = named.map(|field| Value::wire(field.value, Why::NotSeen));
        let missing = self.may_hide(message).then_some(Value::Null(Why::NotSeen));
        Value::List(values.chain(missing).collect())
    }

    /// Whether there may be a field that is not told by its name.
    fn may_hide(self, message: &Message) -> bool {
        let placeholder = || self.fields(message).iter().any(|field| is_placeholder(field.name));
        !self.is_whole(message) || placeholder()
    }
}

/// An attribute by its dotted name.
pub fn attribute<'a>(item: &Item<'a>, name: &str) -> Value<'a> {
    let mut all = item.transaction.attributes.iter();
    match all.find(|(known, _)| *known == name) {
        Some((_, Attribute::Number(value))) => Value::Int(i128::from(*value)),
        Some((_, Attribute::Text(text))) => Value::Text(Cow::Borrowed(text)),
        None => Value::Null(Why::NotThere),
    }
}
