//! Runs a decoder over steps.

use perisco::analyze::decode::detect::Detector;
use perisco::analyze::decode::{Content, Decoder, Direction, Late, Output, Protocol, Sink, Wants};
use perisco::analyze::limits::Limits;

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
            wants: Wants { headers: true, log: has(2), conformance: has(3) },
            limits,
            small: has(4),
            detect: has(5),
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
    let whole = once(protocol, &choice, &steps);
    let intact = !choice.late.any()
        && !choice.small
        && !steps.iter().any(|step| matches!(step.what, What::Gap(..)));
    if first & 0x80 != 0 && intact {
        let bytes = once(protocol, &choice, &split(&steps));
        assert_eq!(whole, bytes, "byte by byte gives other transactions");
    }
}

fn prepend(preface: &[u8], steps: &mut [Step]) {
    let first = steps.iter_mut().find(|step| step.direction == Direction::ToServer);
    if let Some(Step { what: What::Data(data), .. }) = first {
        data.splice(0..0, preface.iter().copied());
    }
}

/// The same bytes, one a chunk.
fn split(steps: &[Step]) -> Vec<Step> {
    let mut out = Vec::new();
    for step in steps {
        match &step.what {
            What::Data(data) => out.extend(
                data.iter().map(|&byte| Step { what: What::Data(vec![byte]), ..step.clone() }),
            ),
            _ => out.push(step.clone()),
        }
    }
    out
}

/// One run; returns the transactions as jsonl.
fn once(protocol: &Protocol, choice: &Choice, steps: &[Step]) -> Vec<String> {
    let mut decoder: Box<dyn Decoder> =
        if choice.detect { Detector::boxed(choice.late) } else { (protocol.decoder)(choice.late) };
    let mut output = Output::default();
    let mut bytes = [0_u64; 2];
    for step in steps {
        let chunk = step.chunk();
        match chunk.content {
            Content::Data(data) => bytes[step.direction.index()] += data.len() as u64,
            Content::Gap(len, _) => bytes[step.direction.index()] += len,
            Content::End(_) => {}
        }
        decoder.push(step.direction, chunk, &mut Sink::new(choice.wants, &choice.limits, &mut output));
        let bound = choice.limits.state_bytes_per_flow + choice.limits.head_bytes * 2 + SLACK;
        let memory = decoder.memory();
        assert!(memory <= bound, "decoder holds {memory} bytes of {bound}");
        if output.opaque {
            break;
        }
    }
    if !output.opaque {
        assert_eq!(decoder.oldest_open(), None, "open after the end");
    }
    for (event, _) in &output.events {
        check::terminal(&event.text);
        assert!(!event.text.contains('\n'), "an event of two lines: {:?}", event.text);
    }
    for (.., text) in &output.findings {
        check::terminal(text);
    }
    bodies(&output, bytes);
    check::transactions(&output.transactions)
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
