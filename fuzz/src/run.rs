//! Runs a decoder over steps.

use perisco::analyze::decode::detect::Detector;
use perisco::analyze::decode::{
    Content, Decoder, Direction, Finished, Late, Output, Protocol, Sink, Wants,
};
use perisco::analyze::limits::Limits;
use perisco::analyze::transaction::Completeness;

use crate::check;
use crate::steps::{self, Step, What};

/// Memory that a decoder may take besides its limit: buffers that it keeps.
const SLACK: usize = 1 << 20;

/// What the first byte of an input chooses.
struct Choice {
    late: Late,
    wants: Wants,
    limits: Limits,
    small: bool,
    detect: bool,
}

impl Choice {
    fn new(byte: u8) -> Self {
        let has = |bit: u8| byte & 1 << bit != 0;
        let mut limits = Limits::default();
        if has(4) {
            limits.pending_per_flow = 4;
            limits.state_bytes_per_flow = 4096;
            limits.head_bytes = 512;
        }
        Self {
            late: Late([has(0), has(1)]),
            wants: Wants {
                headers: true,
                log: has(2),
                conformance: has(3),
                bodies: has(4),
                pauses: has(5),
            },
            limits,
            small: has(4),
            detect: has(5) || has(7),
        }
    }
}

/// Runs the decoder of `protocol` over an input: a byte of choices, then
/// steps. Checks what comes out, and that it does not depend on how the bytes
/// were cut into chunks.
pub fn decoder(protocol: &Protocol, preface: &[u8], input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let choice = Choice::new(first);
    let mut steps = steps::parse(rest);
    if first & 0x40 != 0 {
        prepend(preface, &mut steps);
    }
    let (whole, whole_probed) = once(protocol, &choice, &steps, false);
    let intact = !choice.late.any()
        && !choice.small
        && !steps.iter().any(|step| matches!(step.what, What::Gap(..)));
    if first & 0x80 != 0 && intact {
        let (bytes, bytes_probed) = once(protocol, &choice, &steps, true);
        // What is cut off before its first line is whole may be told as the
        // begin of a message or as bytes that are none.
        let told = |lines: Vec<String>| -> Vec<String> {
            let begun =
                |l: &String| !l.contains(r#""method":null"#) || !l.contains(r#""status":null"#);
            lines.into_iter().filter(begun).collect()
        };
        if !whole_probed && !bytes_probed {
            assert_eq!(told(whole), told(bytes), "byte by byte gives other transactions");
        }
    }
}

fn prepend(preface: &[u8], steps: &mut [Step]) {
    let first = steps.iter_mut().find(|step| step.direction == Direction::ToServer);
    if let Some(Step { what: What::Data(data), .. }) = first {
        data.splice(0..0, preface.iter().copied());
    }
}

/// The same bytes, one a chunk.
fn split(step: &Step) -> Vec<Step> {
    match &step.what {
        What::Data(data) => {
            data.iter().map(|&byte| Step { what: What::Data(vec![byte]), ..step.clone() }).collect()
        }
        _ => vec![step.clone()],
    }
}

/// Whether a run came to bytes that are probed chunk by chunk.
///
/// A decoder that lost its place in bytes that are not the protocol's finds it
/// again sooner or later; that labels transactions only where some were open.
/// What is inside CONNECT or an upgrade is unknown anew, but for WebSocket and
/// HTTP/2.
fn probed(output: &Output) -> bool {
    const LOST: [&str; 3] = ["unexpected-bytes", "bad-chunk", "head-too-large"];
    output.anomalies.iter().any(|(name, _)| LOST.contains(name))
        || output.transactions.iter().any(|Finished { transaction: t, .. }| {
            let connect = t.request_text(|m| m.method) == Some(b"CONNECT");
            t.completeness == Completeness::Gap
                || t.anomalies.iter().any(|name| LOST.contains(name))
                || (t.status() == Some(101) && output.kind != Some("websocket"))
                || (connect && t.status().is_some_and(|status| (200..300).contains(&status)))
        })
}

/// One run; returns the transactions as jsonl, and whether it [`probed`]. Byte
/// by byte begins where the protocol is known: unknown connections are probed
/// segment by segment, so that what is recognised later than from its first
/// bytes depends on segments too.
fn once(
    protocol: &Protocol,
    choice: &Choice,
    steps: &[Step],
    byte_by_byte: bool,
) -> (Vec<String>, bool) {
    let mut run = Run {
        decoder: if choice.detect {
            Detector::boxed(choice.late)
        } else {
            (protocol.decoder)(choice.late)
        },
        output: Output::default(),
        bytes: [0; 2],
    };
    let mut unknown = false;
    for step in steps {
        if byte_by_byte && run.output.kind.is_some() {
            split(step).iter().for_each(|step| run.push(step, choice));
        } else {
            run.push(step, choice);
        }
        unknown |= choice.detect && run.output.kind.is_none();
    }
    let Run { decoder, output, bytes } = run;
    if !output.opaque {
        assert_eq!(decoder.oldest_open(), None, "open after the end");
    }
    for (event, _) in &output.events {
        check::terminal(&event.text);
        assert!(!event.text.contains('\n'), "an event of two lines: {:?}", event.text);
    }
    output.findings.iter().for_each(|(.., text)| check::terminal(text));
    bodies(&output, bytes);
    (check::transactions(&output.transactions), unknown || probed(&output))
}

/// A decoder at work.
struct Run {
    decoder: Box<dyn Decoder>,
    output: Output,
    /// Bytes each way so far, missing ones too.
    bytes: [u64; 2],
}

impl Run {
    fn push(&mut self, step: &Step, choice: &Choice) {
        if self.output.opaque {
            return;
        }
        let chunk = step.chunk();
        self.bytes[step.direction.index()] += match chunk.content {
            Content::Data(data) => data.len() as u64,
            Content::Gap(len, _) => len,
            Content::End(_) => 0,
        };
        let mut sink = Sink::new(choice.wants, &choice.limits, &mut self.output);
        self.decoder.push(step.direction, chunk, &mut sink);
        let bound = choice.limits.state_bytes_per_flow + choice.limits.head_bytes * 2 + SLACK;
        let memory = self.decoder.memory();
        assert!(memory <= bound, "decoder holds {memory} bytes of {bound}");
    }
}

/// No more body bytes than bytes that went by.
fn bodies(output: &Output, bytes: [u64; 2]) {
    let mut bodies = [0_u64; 2];
    for finished in &output.transactions {
        let sides = [&finished.transaction.request, &finished.transaction.response];
        for (side, message) in sides.into_iter().enumerate() {
            let body = message.as_ref().map_or(0, |m| m.body_bytes);
            bodies[side ^ usize::from(finished.swapped)] += body;
        }
    }
    assert!(bodies[0] <= bytes[0] && bodies[1] <= bytes[1], "bodies {bodies:?} of {bytes:?}");
}
