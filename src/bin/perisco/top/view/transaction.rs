//! One transaction: all that was seen of it.

use perisco::analyze::fields::Fields;
use perisco::analyze::owner::Process;
use perisco::analyze::report::text::units::{count, duration, escape, wrap};
use perisco::analyze::report::text_of;
use perisco::analyze::report::{address_text, named};
use perisco::analyze::transaction::{Completeness, Message, Value};
use perisco::time::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{bold, dim, left, outcome_style, put, span, yellow};
use crate::top::app::App;
use crate::top::state::example::{Example, Headers};

/// Columns of the names on the left.
const NAMES: usize = 15;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let Some(page) = &mut app.transaction else { return };
    let lines = lines(&page.example, usize::from(area.width));
    let room = usize::from(area.height);
    app.room = room;
    app.scroll_end = lines.len().saturating_sub(room);
    page.scroll = page.scroll.min(app.scroll_end);
    put(frame, lines.into_iter().skip(page.scroll).take(room).collect(), area);
}

/// A page that grows line by line.
struct Page {
    lines: Vec<Line<'static>>,
    columns: usize,
}

impl Page {
    /// A value that may be longer than a line.
    fn value(&mut self, name: &str, value: &str, style: Style) {
        let room = self.columns.saturating_sub(NAMES).max(NAMES);
        for (index, part) in wrap(&escape(value), room).into_iter().enumerate() {
            let name = left(if index == 0 { name } else { "" }, NAMES);
            self.lines.push(Line::from(vec![span(name, dim()), span(part, style)]));
        }
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.value(name, value, Style::new());
    }

    fn head(&mut self, text: &str) {
        self.lines.push(Line::default());
        self.lines.push(Line::from(span(text.to_owned(), bold())));
    }
}

/// All lines.
fn lines(example: &Example, columns: usize) -> Vec<Line<'static>> {
    let mut page = Page { lines: Vec::new(), columns };
    what(&mut page, example);
    times(&mut page, example);
    let transaction = example.transaction();
    for (name, message) in [("Request", &transaction.request), ("Response", &transaction.response)]
    {
        match message {
            None => {
                page.head(name);
                page.value("", "not seen", yellow());
            }
            Some(message) => fields(&mut page, name, message, example.headers),
        }
    }
    page.lines
}

fn what(page: &mut Page, example: &Example) {
    let watched = &example.watched;
    let transaction = example.transaction();
    let part = |part: Option<&[u8]>| part.map_or("?".to_owned(), text_of);
    let request = [
        part(transaction.request_text(|request| request.method)),
        part(transaction.request_text(|request| request.authority)),
        part(transaction.request_text(|request| request.path)),
    ];
    page.value("request", &request.join(" "), bold());
    page.plain("protocol", transaction.protocol);
    let outcome = transaction.outcome;
    page.value("outcome", outcome.name(), outcome_style(outcome));
    let style = match transaction.completeness {
        Completeness::Complete => Style::new(),
        _ => yellow(),
    };
    page.value("seen", transaction.completeness.name(), style);
    page.plain("status", &transaction.status().map_or("?".to_owned(), |status| status.to_string()));
    if let Some(grpc) = &transaction.grpc {
        page.plain("grpc status", &grpc.status_name());
        page.plain("grpc kind", grpc.kind.unwrap_or("?"));
        let [sent, received] = [grpc.request_messages, grpc.response_messages].map(count);
        page.plain("grpc messages", &format!("{sent} sent, {received} received"));
        grpc.message.iter().for_each(|message| page.plain("grpc message", message));
        grpc.timeout_ns.into_iter().for_each(|nanos| page.plain("grpc timeout", &duration(nanos)));
    }
    if !transaction.anomalies.is_empty() {
        page.value("anomalies", &transaction.anomalies.join(", "), yellow());
    }
    let [client, server] = &watched.ends;
    for (name, address, of) in
        [("client", watched.client, client.end()), ("server", watched.server, server.end())]
    {
        page.plain(name, &end(address, of.process));
        let further = [named::described(of), named::labels(of)];
        further.into_iter().flatten().for_each(|text| page.plain("", &text));
    }
    let stream = transaction.stream.map_or(String::new(), |stream| format!(", stream {stream}"));
    page.plain("connection", &format!("#{}{stream}", watched.connection));
    watched.interface.iter().for_each(|interface| page.plain("interface", interface));
    watched.comment.iter().for_each(|comment| page.plain("comment", comment));
    for (name, value) in &transaction.attributes {
        match value {
            Value::Number(number) => {
                page.plain("attribute", &format!("{name} = {}", count(*number)))
            }
            Value::Text(text) => page.plain("attribute", &format!("{name} = {text}")),
        }
    }
}

fn end(address: std::net::SocketAddr, process: Option<&Process>) -> String {
    let label = process.and_then(Process::label).map_or(String::new(), |label| format!(" {label}"));
    let exe = process.and_then(|process| process.exe.clone());
    let exe = exe.map_or(String::new(), |exe| format!(" {exe}"));
    format!("{}{label}{exe}", address_text(address))
}

fn times(page: &mut Page, example: &Example) {
    let transaction = example.transaction();
    page.head("Times");
    let known = |nanos: Option<u64>| nanos.map_or("?".to_owned(), duration);
    page.plain("latency", &known(transaction.latency_ns()));
    page.plain("total", &known(transaction.duration_ns()));
    let first = transaction.request.as_ref().and_then(|request| request.start);
    let time = |at: Option<Timestamp>| match (at, first) {
        (None, _) => "?".to_owned(),
        (Some(at), Some(first)) if at != first => {
            let after = u64::try_from(at.since(first)).ok();
            format!(
                "{at}{}",
                after.map_or(String::new(), |after| format!("  +{}", duration(after)))
            )
        }
        (Some(at), _) => at.to_string(),
    };
    let of = |message: &Option<Message>, pick: fn(&Message) -> Option<Timestamp>| {
        time(message.as_ref().and_then(pick))
    };
    page.plain("request", &of(&transaction.request, |message| message.start));
    page.plain("  to", &of(&transaction.request, |message| message.end));
    page.plain("response", &of(&transaction.response, |message| message.start));
    page.plain("  to", &of(&transaction.response, |message| message.end));
}

fn fields(page: &mut Page, name: &str, message: &Message, headers: Headers) {
    page.head(&format!("{name}, {} bytes of body", count(message.body_bytes)));
    match headers {
        Headers::TooLarge => page.value("", "header fields not kept: they are too large", yellow()),
        Headers::NoRoom => {
            page.value("", "header fields not kept: too many are kept already", yellow());
        }
        Headers::Kept => {}
    }
    let mut list = |fields: &Fields| {
        for field in fields.iter() {
            let name = text_of(field.name);
            match field.value {
                Some(value) => page.plain("", &format!("{name}: {}", text_of(value))),
                None => page.value("", &format!("{name}: ? (not resolved)"), yellow()),
            }
        }
    };
    list(&message.head);
    list(&message.trailers);
    if message.head.is_cut() {
        page.value("", "more were cut off by a limit", yellow());
    }
}
