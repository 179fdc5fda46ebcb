//! Inputs to begin with: hand-made ones, and pieces of captures.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;
use std::{fs, io};

use perisco::analyze::decode::{
    Chunk, Content, Decoder, Direction, End, Late, Output, Sink, Wants,
};
use perisco::analyze::flow::key::FlowKey;
use perisco::analyze::flow::{Context, Flow, SegmentRef};
use perisco::analyze::limits::Limits;
use perisco::analyze::packet::{Dissected, Dissector, Segment};
use perisco::analyze::reassembly::half::PayloadRef;
use perisco::pcap::{Batch, Capture};
use perisco::time::Timestamp;

use crate::steps::{self, What};

/// Bytes of a seed; a fuzzer makes little of larger ones.
const MOST: usize = 32 << 10;
/// Packets and connections taken of one capture.
const PACKETS: usize = 24;
const FLOWS: usize = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Choices as in `run`: log and byte by byte, conformance too, small limits
/// with detection, joined late.
const CHOICES: [u8; 4] = [0x84, 0x8c, 0x30, 0x03];

type Steps = Vec<(Direction, What)>;

/// Where seeds go: a folder for each target.
struct Corpus<'a>(&'a Path);

impl Corpus<'_> {
    /// Keeps an input, under a name by its content.
    fn add(&self, target: &str, input: &[u8]) -> io::Result<()> {
        if input.is_empty() || input.len() > MOST {
            return Ok(());
        }
        let folder = self.0.join(target);
        fs::create_dir_all(&folder)?;
        let name = BuildHasherDefault::<DefaultHasher>::default().hash_one(input);
        fs::write(folder.join(format!("seed-{name:016x}")), input)
    }

    fn steps(&self, target: &str, flow: &Steps) -> io::Result<()> {
        let mut body = Vec::new();
        flow.iter().for_each(|(direction, what)| steps::write(*direction, what, &mut body));
        for choice in CHOICES {
            self.add(target, &[&[choice], &body[..]].concat())?;
        }
        Ok(())
    }
}

/// Writes the corpora by the command line, and ends the program.
pub fn main() {
    let mut args = std::env::args_os().skip(1);
    let result = match args.next() {
        Some(folder) => write(folder.as_ref(), args),
        None => Err(io::Error::other("usage: seeds FOLDER [CAPTURE …]")),
    };
    if let Err(error) = &result {
        eprintln!("seeds: {error}");
    }
    std::process::exit(i32::from(result.is_err()));
}

/// Writes the corpora under `folder`.
fn write(folder: &Path, captures: impl Iterator<Item = OsString>) -> io::Result<()> {
    let corpus = Corpus(folder);
    made_up(&corpus)?;
    for path in captures {
        let bytes = fs::read(&path)?;
        corpus.add("pcap", &bytes)?;
        corpus.add("redact", &[&[0], &bytes[..]].concat())?;
        for format in 0..5 {
            corpus.add("analyze", &[&[format], &bytes[..]].concat())?;
        }
        if let Ok(capture) = Capture::from_bytes("seed", bytes) {
            take_apart(&corpus, capture)?;
        }
    }
    Ok(())
}

fn data(direction: Direction, bytes: &[u8]) -> (Direction, What) {
    (direction, What::Data(bytes.to_vec()))
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0];
    frame.push(stream);
    frame.extend_from_slice(payload);
    frame
}

fn made_up(corpus: &Corpus<'_>) -> io::Result<()> {
    use Direction::{ToClient, ToServer};
    let heads: [(&[u8], &[u8]); 5] = [
        (
            b"GET /a?b=1 HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\nuntil close",
        ),
        (
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x83\0\0\0\0abc\x88\x80\0\0\0\0",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x03abc\x82\x7e\0\x04abcd\x88\0",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88",
        ),
        (
            b"POST /p.S/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\nContent-Length: 6\r\n\r\n\0\0\0\0\x01a",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nConnection: close\r\n\r\n\0\0\0\0\x01b\x80\0\0\0\x0fgrpc-status:0\r\n",
        ),
    ];
    for (request, response) in heads {
        corpus.steps("http1", &vec![data(ToServer, request), data(ToClient, response)])?;
        let end = (ToServer, What::End(End::Fin));
        let gap = (ToClient, What::Gap(7, perisco::analyze::decode::GapCause::Lost));
        let cut = [data(ToServer, request), end, data(ToClient, response), gap];
        corpus.steps("http1", &cut.into_iter().chain([data(ToClient, response)]).collect())?;
    }
    // :method POST, :scheme http, :path /p.S/M, content-type application/grpc, te trailers.
    let mut block =
        b"\x83\x86\x44\x06/p.S/M\x5f\x10application/grpc\x40\x02te\x08trailers".to_vec();
    block.extend_from_slice(b"\x40\x0cgrpc-timeout\x021S");
    let trailers = b"\x40\x0bgrpc-status\x010";
    let answer = b"\x88\x5f\x10application/grpc";
    let client: [&[u8]; 4] = [
        PREFACE,
        &frame(4, 0, 0, b"\0\x01\0\0\x10\0"),
        &frame(1, 4, 1, &block),
        &frame(0, 1, 1, b"\0\0\0\0\x01a"),
    ];
    let server: [&[u8]; 7] = [
        &frame(4, 0, 0, b""),
        &frame(1, 0, 1, answer),
        &frame(9, 4, 1, b"\x20"),
        &frame(0, 8, 1, b"\x02\0\0\0\0\x01b\0\0"),
        &frame(1, 5, 1, trailers),
        &frame(3, 0, 3, b"\0\0\0\x08"),
        &frame(7, 0, 0, b"\0\0\0\x01\0\0\0\0"),
    ];
    let flow = vec![data(ToServer, &client.concat()), data(ToClient, &server.concat())];
    corpus.steps("http2", &flow)?;
    let framed = |block: &[u8]| [&[0, block.len() as u8, 0], block].concat();
    for join in 0..3 {
        let blocks = [framed(&block), framed(answer), framed(&block), framed(b"\xbe\xbf\xc0")];
        corpus.add("hpack", &[&[join], &blocks.concat()[..]].concat())?;
    }
    let mut call = b"\x10application/grpc\x010\x021S\x06/p.S/M\x04gzip".to_vec();
    call.extend_from_slice(b"\0\x06\0\0\0\0\0\x01a\x01\x07\0\0\0\0\0\x02bc\x02\x05\0");
    corpus.add("grpc", &call)?;
    for expression in [
        "status >= 500 || latency > duration(\"1s\")",
        "!request_headers.exists(h, h[0] == \"b\") && grpc.status_name in [\"OK\", \"CANCELLED\"]",
        "path.matches(\"^/[a-z]+$\") ? size(anomalies) == 0 : start + latency < response_end",
        "response.headers(\"b\").map(v, v.lowerAscii()).filter(v, v != \"\")[0] + 'x' == r\"\\x\"",
    ] {
        corpus.add("filter", &[b"\0", expression.as_bytes()].concat())?;
    }
    for time in ["2026-11-22T15:17:26.5+01:00", "15:17", "+1h30m", "-1.5s"] {
        corpus.add("filter", &[b"\x01", time.as_bytes()].concat())?;
    }
    corpus.add("report", b"\0http://h/users/42/0191e0e2-5b3a-7c44-8e0a-1b2c3d4e5f60/x?q=1")?;
    corpus.add("report", b"\x01\x01\0\x05\x10\x02\x20\x03\x0e\x04\x41\x02\x10\x01")?;
    corpus.add(
        "report",
        b"\x02\x03GET\x01h\x02/p\x01\x01a\x01\x01b\0\0\0\0\0\0\0\0\x01a\x01b\x01c",
    )?;
    redaction(corpus)?;
    bodies(corpus)?;
    for isn in [[0; 8], [0xff; 8], [0xf0, 0xff, 0xff, 0x7f, 0, 0, 0, 0]] {
        for segments in segments() {
            corpus.add("reassembly", &[&[0], &isn[..], &segments.concat()].concat())?;
        }
    }
    corpus.add("pcap", &pcap_file())?;
    corpus.add("analyze", &[&[0], &pcap_file()[..]].concat())
}

/// Connections with secrets for `redact`, and records for `event`.
fn redaction(corpus: &Corpus<'_>) -> io::Result<()> {
    let said: [&[u8]; 4] = [
        b"GET /?token=abc&x=1 HTTP/1.1\r\nAuthorization: Bearer x\r\nCookie: a=b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        // :path /?sig=abc Huffman-coded, authorization into the table, and both again by name.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x11\x01\x05\0\0\0\x01\x82\x84\x57\x05abcde\x7e\x02xy\x1f\x08\x01z",
        b"\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x04\0\0\0\x01\x88\x77\x03abc",
    ];
    for choice in 0..16 {
        for (nth, bytes) in said.iter().enumerate() {
            let piece = [&[nth as u8 & 1, 0, bytes.len() as u8], *bytes].concat();
            corpus.add("redact", &[&[1 | choice << 1], &piece[..]].concat())?;
        }
    }
    let mut event = [0; 120];
    (event[52], event[64], event[66]) = (8, 1, 4);
    corpus.add("event", &event)?;
    (event[64], event[66]) = (5, 6);
    corpus.add("event", &event)
}

/// Bodies of each sort: coding, content type, choices, bytes.
fn bodies(corpus: &Corpus<'_>) -> io::Result<()> {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\xac\x02\0\x58\x97\xd8\x08\x02\0\0\0";
    let parts = b"--x\r\nContent-Type: application/json\r\n\r\n[1]\r\n--x--\r\n";
    let message = b"\x0a\x0a\x0a\x01a\x12\x05hello\x1a\x03\x08\x96\x01\x25\xdb\x0f\x49\x40";
    let status = b"CAUSDW5vIHN1Y2ggb3JkZXI";
    let samples: [(&str, &str, u8, &[u8]); 14] = [
        ("", "application/json", 0, b"{\"a\": [1, -2.5e+3, \"\\u00e9\", {}, null]}"),
        ("", "application/json", 1, b"[{\"a\": tru"),
        ("", "application/x-ndjson", 0, b"{\"a\": 1}\n[]\n"),
        ("", "application/x-www-form-urlencoded", 0, b"a=1&b=%20+&c"),
        ("", "multipart/form-data; boundary=x", 0, parts),
        ("", "text/html; charset=iso-8859-1", 0, b"<p>caf\xe9\t</p>\r\n"),
        ("gzip", "text/plain", 0, gzip),
        ("deflate", "", 0, b"\x78\x9c\x4b\xac\x02\0\x01\x27\0\xdb"),
        ("br", "", 0, b"\x8b\x02\x80hello\x03"),
        ("zstd", "", 0, b"\x28\xb5\x2f\xfd\x04\x58\x29\0\0hello\x88\xa2\xa6\x58"),
        ("gzip, deflate", "", 1, gzip),
        ("", "application/grpc", 4, message),
        ("gzip", "application/grpc", 2, b"\0\0\0\0\x02\x08\x01\x01\0\0\0\x09\x1f\x8b"),
        ("", "", 8, status),
    ];
    for (coding, content_type, choices, body) in samples {
        let mut input = Vec::new();
        for text in [coding, content_type] {
            input.push(text.len() as u8);
            input.extend_from_slice(text.as_bytes());
        }
        input.push(choices);
        corpus.add("body", &[&input, body].concat())?;
    }
    Ok(())
}

/// Eight bytes: operation, offset, length, acknowledged, time, rest.
fn segment(op: u8, at: u16, len: u8, ack: u16, time: u8) -> [u8; 8] {
    let [[a, b], [c, d]] = [at.to_le_bytes(), ack.to_le_bytes()];
    [op, a, b, len, c, d, time, 0]
}

fn segments() -> [Vec<[u8; 8]>; 4] {
    const SYN: u8 = 3 << 1;
    const ANSWER: u8 = 4 << 1 | 1;
    const FIN: u8 = 5 << 1;
    const RST: u8 = 6 << 1;
    let hello = [segment(SYN, 0, 0, 0, 0x20), segment(ANSWER, 0, 0, 0, 0x20)];
    let bytes = [segment(0, 0, 100, 0, 0x30), segment(1, 0, 200, 100, 0x30)];
    let more = [segment(0, 100, 50, 200, 0x30), segment(0, 200, 60, 200, 0x3f)];
    let bye = [segment(FIN, 260, 0, 200, 0x20), segment(FIN | 1, 200, 0, 261, 0x20)];
    let reset = [segment(0, 90, 30, 0, 0x20), segment(RST, 300, 0, 0, 0x20)];
    let cut = [segment(0x30, 0, 100, 0, 0x20), segment(0, 100, 100, 0, 0x20)];
    [
        [hello, bytes, more, bye].concat(),
        [more, bytes, hello, reset].concat(),
        [bytes, cut, bytes, bye].concat(),
        [hello, more, reset, bytes].concat(),
    ]
}

/// A request and its response, in a file of raw IP packets.
fn pcap_file() -> Vec<u8> {
    let mut file = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0".to_vec();
    let exchange: [(u8, &[u8]); 2] = [
        (0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (1, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ];
    for (side, payload) in exchange {
        let len = 40 + payload.len() as u8;
        file.extend([0, 0, 0, 0x65, side, 0, 0, 0, len, 0, 0, 0, len, 0, 0, 0]);
        let ports = if side == 0 { [0x9c, 0x40, 0, 80] } else { [0, 80, 0x9c, 0x40] };
        file.extend([0x45, 0, 0, len, 0, side, 0, 0, 64, 6, 0, 0]);
        file.extend([10, 0, 0, 1 + side, 10, 0, 0, 2 - side]);
        file.extend(ports);
        file.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        file.extend_from_slice(payload);
    }
    file
}

thread_local! {
    static CHUNKS: RefCell<Steps> = const { RefCell::new(Vec::new()) };
}

struct Recorder;

impl Decoder for Recorder {
    fn push(&mut self, direction: Direction, chunk: Chunk<'_>, _out: &mut Sink<'_>) {
        let what = match chunk.content {
            Content::Data(data) => What::Data(data.to_vec()),
            Content::Gap(len, cause) => What::Gap(len, cause),
            Content::End(end) => What::End(end),
        };
        CHUNKS.with_borrow_mut(|chunks| chunks.push((direction, what)));
    }

    fn oldest_open(&self) -> Option<Timestamp> {
        None
    }

    fn memory(&self) -> usize {
        0
    }
}

/// Packets and connections of a capture.
fn take_apart(corpus: &Corpus<'_>, mut capture: Capture) -> io::Result<()> {
    let mut dissector = Dissector::new();
    let mut batch = Batch::default();
    let mut links = Vec::new();
    let mut flows: HashMap<FlowKey, Vec<(SegmentRef, Vec<u8>)>> = HashMap::new();
    let mut number = 0;
    while let Ok(more) = capture.next_batch(&mut batch) {
        links.extend(batch.interfaces.iter().map(|interface| interface.link));
        for packet in &batch.packets {
            let Some(link) = links.get(packet.interface as usize) else { continue };
            let bytes = batch.bytes(packet);
            if number < PACKETS as u64 && bytes.len() < 4096 {
                let [low, high] = link.0.to_le_bytes();
                let [len, len_high] = (bytes.len() as u16).to_le_bytes();
                let input = [&[255, low, high, 0, len, len_high], bytes].concat();
                corpus.add("packet", &input)?;
            }
            number += 1;
            let dissected = dissector.dissect(*link, bytes, packet.original, packet.at);
            if let Dissected::Segment(segment) = dissected {
                let (segment, payload) = reference(&segment, packet.at, number);
                flows.entry(segment.key).or_default().push((segment, payload));
            }
        }
        if !more {
            break;
        }
    }
    let mut flows: Vec<_> = flows.into_values().collect();
    flows.sort_by_key(|segments| segments.first().map(|(segment, _)| segment.packet));
    flows.iter().take(FLOWS).try_for_each(|segments| connection(corpus, segments))
}

fn reference(segment: &Segment<'_>, at: Option<Timestamp>, packet: u64) -> (SegmentRef, Vec<u8>) {
    let (key, side) = FlowKey::new(
        (segment.source, segment.source_port),
        (segment.destination, segment.destination_port),
    );
    let payload = segment.payload.to_vec();
    let reference = SegmentRef {
        key,
        side,
        flags: segment.flags,
        seq: segment.seq,
        ack: segment.ack,
        window: segment.window,
        ip_id: segment.ip_id,
        wire_len: segment.wire_len,
        payload: PayloadRef { round: 1, chunk: 0, offset: 0, len: payload.len() as u32 },
        at,
        packet,
        interface: 0,
    };
    (reference, payload)
}

fn connection(corpus: &Corpus<'_>, segments: &[(SegmentRef, Vec<u8>)]) -> io::Result<()> {
    let Some((first, _)) = segments.first() else { return Ok(()) };
    let mut flow = Flow::new(first);
    let mut output = Output::default();
    let (limits, bytes) = (Limits::default(), |_| None);
    let mut context = Context {
        limits: &limits,
        wants: Wants::default(),
        new_decoder: |_: Late| Box::new(Recorder),
        output: &mut output,
        bytes: &bytes,
    };
    CHUNKS.take();
    for (segment, payload) in segments {
        flow.segment(segment, payload, &mut context);
    }
    flow.finish(End::CaptureEnd, &mut context);
    let chunks = CHUNKS.take();
    let first = chunks.iter().find_map(|(_, what)| match what {
        What::Data(data) => Some(data.clone()),
        _ => None,
    });
    match first {
        Some(data) if data.starts_with(&PREFACE[..data.len().min(PREFACE.len())]) => {
            blocks(corpus, &chunks)?;
            corpus.steps("http2", &chunks)
        }
        Some(_) => corpus.steps("http1", &chunks),
        None => Ok(()),
    }
}

/// The header blocks and gRPC messages of a connection.
fn blocks(corpus: &Corpus<'_>, chunks: &Steps) -> io::Result<()> {
    for way in [Direction::ToServer, Direction::ToClient] {
        let mut all = Vec::new();
        for (direction, what) in chunks {
            if let (true, What::Data(data)) = (*direction == way, what) {
                all.extend_from_slice(data);
            }
        }
        let mut rest = all.strip_prefix(PREFACE).unwrap_or(&all);
        let (mut headers, mut bodies) =
            (vec![0], b"\x10application/grpc\x010\0\x04/s/m\0".to_vec());
        while let Some((&[a, b, c, kind, ..], _)) = rest.split_first_chunk::<9>() {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some(payload) = rest.get(9..9 + len) else { break };
            let (op, out) = match kind {
                0 => (way.index() as u8, &mut bodies),
                _ => (0, &mut headers),
            };
            if kind <= 1 && len <= usize::from(u16::MAX) {
                out.extend([op, len as u8, (len >> 8) as u8]);
                out.extend_from_slice(payload);
            }
            rest = &rest[9 + len..];
        }
        corpus.add("hpack", &headers)?;
        corpus.add("grpc", &bodies)?;
    }
    Ok(())
}
