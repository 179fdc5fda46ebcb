//! Connections as a user would see them.

mod damage;
mod memo;
mod oracle;
mod probe;
mod scripted;

use crate::analyze::decode::{
    Chunk, Content, Direction, End, GapCause, Late, Output, Sink, Wants, http2,
};
use crate::analyze::limits::Limits;
use crate::analyze::transaction::{Grpc, Message, Transaction};
use crate::time::Timestamp;

pub const UP: Direction = Direction::ToServer;
pub const DOWN: Direction = Direction::ToClient;

/// What is fed to a decoder.
#[derive(Clone, Debug)]
pub enum Input {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, u64),
    End(Direction, End),
}

/// Decodes `inputs`, each captured a microsecond after the one before, and
/// ends both directions as the capture's end where they have not ended.
pub fn decode(inputs: &[Input], late: [bool; 2], limits: &Limits, wants: Wants) -> Output {
    let mut output = Output::default();
    let mut decoder = (http2::PROTOCOL.decoder)(Late(late));
    let mut ended = [false; 2];
    let mut push = |nth: usize, direction, content, output: &mut Output| {
        let at = Some(Timestamp::from_nanos(1000 * nth as i64));
        let chunk = Chunk { at, packet: nth as u64, seq: 0, content };
        decoder.push(direction, chunk, &mut Sink::new(wants, limits, output));
        decoder.memory()
    };
    let bound = limits.state_bytes_per_flow + 4 * limits.head_bytes + (4 << 20);
    for (nth, input) in inputs.iter().enumerate() {
        let memory = match input {
            Input::Bytes(_, bytes) if bytes.is_empty() => continue,
            Input::Bytes(way, bytes) => push(nth + 1, *way, Content::Data(bytes), &mut output),
            Input::Gap(way, missing) => {
                push(nth + 1, *way, Content::Gap(*missing, GapCause::Lost), &mut output)
            }
            Input::End(way, end) => {
                ended[way.index()] = true;
                push(nth + 1, *way, Content::End(*end), &mut output)
            }
        };
        assert!(memory < bound, "{memory} bytes held");
    }
    for way in [UP, DOWN] {
        if !ended[way.index()] {
            push(inputs.len() + 1, way, Content::End(End::CaptureEnd), &mut output);
        }
    }
    assert_eq!(decoder.oldest_open(), None, "everything was given out");
    output
}

/// As a report with headers would.
pub fn transactions(inputs: &[Input]) -> Vec<Transaction> {
    let wants = Wants { headers: true, ..Wants::default() };
    let output = decode(inputs, [false; 2], &Limits::default(), wants);
    output.transactions.into_iter().map(|finished| *finished.transaction).collect()
}

pub fn text(message: &Message, span: Option<crate::analyze::fields::Span>) -> Option<String> {
    message.text(span).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Fields in order; None for what is unknown.
pub fn fields(fields: &crate::analyze::fields::Fields) -> Vec<(String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| (text(field.name), field.value.map(text))).collect()
}

/// All of a message but its times.
pub fn show(message: &Option<Message>) -> String {
    let Some(m) = message else { return "none".to_owned() };
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} body {} ended {}",
        text(m, m.method),
        text(m, m.scheme),
        text(m, m.authority),
        text(m, m.path),
        m.status,
        fields(&m.head),
        fields(&m.trailers),
        m.body_bytes,
        m.end.is_some(),
    )
}

/// All of a transaction but its times.
pub fn show_all(t: &Transaction) -> String {
    let named = t.grpc.as_ref().map(|grpc| {
        let texts = [t.service(), t.rpc_method()].map(|text| text.map(<[u8]>::to_vec));
        // Where the texts lie is nobody's business.
        (texts, Grpc { service: None, method: None, ..grpc.clone() })
    });
    format!(
        "{} {:?} {:?} {:?} [{}] [{}] {:?} {:?} {:?}",
        t.protocol,
        t.stream,
        t.outcome,
        t.completeness,
        show(&t.request),
        show(&t.response),
        named,
        t.anomalies,
        t.attributes
    )
}
