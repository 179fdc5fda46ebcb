//! `perisco redact` as a user sees it: a thousand planted secrets, the test captures, and the
//! command itself.

mod common;
#[path = "../src/redact/tests/encoder.rs"]
mod encoder;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::command::{path, run, run_bytes};
use common::secrets::{Shifts, base64, complaints, masked};
use common::transactions_of;
use encoder::{Encoder, How, frame, headers};
use etherparse::PacketBuilder;
use perisco::analyze::decode::http2::hpack::huffman::encode;
use perisco::analyze::decode::http2::hpack::static_table::ENTRIES;

/// Secrets that are planted.
const SECRETS: usize = 1000;

/// Names of fields that may differ.
const NAMES: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
    "x-token",
    "x-internal",
];

/// A secret that is no other, of characters whose codes have 5 to 8 bits, and longer ones.
fn secret(nth: usize) -> String {
    let mut state = (nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~";
    let mut text = format!("S{nth}Z");
    for _ in 0..8 + nth % 23 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(letters[(state >> 33) as usize % letters.len()]));
    }
    text
}

/// What both sides of a connection say, side and bytes in turn.
type Said = Vec<(usize, Vec<u8>)>;

fn http1(next: &mut dyn FnMut() -> String) -> Said {
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|_| next());
    let request = format!(
        "POST /p?x=1&token={a}&y=2 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {b}\r\n\
         Cookie: id={c}\r\nreferer: http://h/?api_key={d}#x\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Auth-Token: {e}\r\n\r\n\
         GET /q?password={h} HTTP/1.1\r\nHost: h\r\n\r\n"
    );
    let response = format!(
        "HTTP/1.1 200 OK\r\nSet-Cookie: s={f}; Path=/\r\nLocation: /x?sig={g}\r\n\
         Content-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\nx-internal: {g}\r\n\r\n"
    );
    vec![(0, request.into_bytes()), (1, response.into_bytes())]
}

/// Each representation that there is, with references to what it put into the table.
fn http2(next: &mut dyn FnMut() -> String, kind: usize) -> Said {
    let mut encoders = [Encoder::default(), Encoder::default()];
    let mut client = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut server = Vec::new();
    frame(4, 0, 0, &[], &mut client);
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100], &mut server);
    frame(4, 1, 0, &[], &mut server);
    for nth in 0..4 {
        let stream = nth * 2 + 1;
        let how = |bits: usize| How::of((kind * 7 + bits * 11 + nth as usize * 29) as u8);
        let mut block = Vec::new();
        let token = next();
        let path = format!("/svc/Do?a=1&token={token}&b=2");
        let plain = How::of(0b10_0100);
        for (name, value) in [(":method", "POST"), (":scheme", "http"), (":authority", "h")] {
            encoders[0].field(name.as_bytes(), value.as_bytes(), plain, &mut block);
        }
        encoders[0].field(b":path", path.as_bytes(), how(1), &mut block);
        let [a, b, c, d] = std::array::from_fn(|_| next());
        for (bits, (name, value)) in [
            ("authorization", format!("Bearer {a}")),
            ("cookie", b.clone()),
            ("x-api-key", c),
            ("x-token-bin", base64(d.as_bytes())),
            ("cookie", b),
            ("content-type", "application/grpc".to_owned()),
            ("te", "trailers".to_owned()),
        ]
        .into_iter()
        .enumerate()
        {
            encoders[0].field(name.as_bytes(), value.as_bytes(), how(bits), &mut block);
        }
        headers(&block, stream, (kind * 5 + nth as usize * 3) as u8, &mut client);
        frame(0, 1, stream, &[0, 0, 0, 0, 1, b'x'], &mut client);
        let mut block = Vec::new();
        encoders[1].field(b":status", b"200", plain, &mut block);
        encoders[1].field(b"content-type", b"application/grpc", plain, &mut block);
        encoders[1].field(b"set-cookie", next().as_bytes(), how(3), &mut block);
        frame(1, 4, stream, &block, &mut server);
        frame(0, 0, stream, &[0, 0, 0, 0, 1, b'y'], &mut server);
        let mut block = Vec::new();
        encoders[1].field(b"grpc-status", b"0", How::of(1), &mut block);
        encoders[1].field(b"x-auth-token", next().as_bytes(), how(5), &mut block);
        frame(1, 5, stream, &block, &mut server);
    }
    vec![(0, client), (1, server)]
}

/// A packet of a connection.
struct Packet {
    side: usize,
    at: u32,
    flags: &'static str,
    ack: u32,
    bytes: Vec<u8>,
}

/// A connection's packets: cut into `size` bytes, some in another order, again, overlapping.
fn packets(said: &Said, size: usize, mixed: usize) -> Vec<Packet> {
    let mut all = Vec::new();
    let control = |side, at, flags, ack| Packet { side, at, flags, ack, bytes: Vec::new() };
    all.extend([control(0, 0, "S", 0), control(1, 0, "SA", 0), control(0, 0, "", 0)]);
    let mut sent = [0usize; 2];
    for (side, bytes) in said {
        let mut pieces: Vec<(usize, &[u8])> =
            bytes.chunks(size).enumerate().map(|(nth, piece)| (nth * size, piece)).collect();
        match mixed {
            1 => pieces.chunks_mut(3).for_each(<[_]>::reverse),
            2 => {
                // Again, and once more with what came before it.
                let again: Vec<_> = (0..pieces.len())
                    .flat_map(|nth| {
                        let (at, piece) = pieces[nth];
                        let from = at.saturating_sub(size / 2 + 1);
                        [(at, piece), (from, &bytes[from..at + piece.len()])]
                    })
                    .collect();
                pieces = again;
            }
            _ => {}
        }
        let ack = sent[1 - side] as u32;
        for (at, piece) in pieces {
            let at = (sent[*side] + at) as u32;
            all.push(Packet { side: *side, at, flags: "P", ack, bytes: piece.to_vec() });
        }
        sent[*side] += bytes.len();
    }
    let [client, server] = sent.map(|n| n as u32);
    all.extend([control(0, client, "F", server), control(1, server, "F", client + 1)]);
    all.push(control(0, client + 1, "", server + 1));
    all
}

/// Appends a connection to a classic pcap, a tenth of a millisecond for each packet.
fn write(out: &mut Vec<u8>, connection: usize, packets: &[Packet], now: &mut u32) {
    for packet in packets {
        let ends = [([10, 1, 0, 1], 20_000 + connection as u16), ([10, 1, 0, 2], 8080)];
        let (from, to) = (ends[packet.side], ends[1 - packet.side]);
        let isn = [1_000_000u32, 4_294_967_000];
        let syn = packet.flags.starts_with('S');
        let seq = isn[packet.side].wrapping_add(packet.at + u32::from(!syn));
        let ack = isn[1 - packet.side].wrapping_add(packet.ack + 1);
        let mut tcp = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(from.0, to.0, 64)
            .tcp(from.1, to.1, seq, 65_000);
        match packet.flags {
            "S" => tcp = tcp.syn().options_raw(&[2, 4, 0xff, 0xd7]).expect("fits"),
            "SA" => tcp = tcp.syn().ack(ack).options_raw(&[2, 4, 0xff, 0xd7]).expect("fits"),
            "F" => tcp = tcp.fin().ack(ack),
            "P" => tcp = tcp.psh().ack(ack),
            _ => tcp = tcp.ack(ack),
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &packet.bytes).expect("a packet");
        *now += 100;
        let length = bytes.len() as u32;
        for word in [1_700_000_000 + *now / 1_000_000, *now % 1_000_000, length, length] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&bytes);
    }
}

/// A capture with secrets in it; how many.
fn planted(file: &Path) -> usize {
    let mut count = 0;
    let mut next = || {
        count += 1;
        secret(count - 1)
    };
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let mut now = 0;
    // Whole, by segments, by single bytes; in order, mixed up, again and overlapping.
    let shapes = [(60_000, 0), (1400, 0), (97, 1), (1, 0), (13, 2), (1, 1), (50, 2), (7, 1)];
    for connection in 0..64 {
        let said = match connection % 3 {
            0 => http1(&mut next),
            _ => http2(&mut next, connection),
        };
        let (size, mixed) = shapes[connection % shapes.len()];
        write(&mut out, connection, &packets(&said, size, mixed), &mut now);
    }
    std::fs::write(file, out).expect("written");
    count
}

/// Redacts a file; what is said.
fn redact(from: &Path, to: &Path, args: &[&str]) -> String {
    let ran = run(&[&["redact", path(from), "-o", path(to)], args].concat(), b"");
    // One of the test captures is cut in the middle of a packet, and that is told.
    let cut = from.to_string_lossy().contains("cut-file");
    assert_eq!(ran.code, Some(i32::from(cut)), "{}", ran.err);
    ran.err
}

/// A capture's bytes without compression.
fn plain(file: &Path) -> Vec<u8> {
    let (code, bytes, said) = run_bytes(&["cat", path(file)], b"");
    assert_eq!(code, Some(0), "{said}");
    bytes
}

fn masked_of(file: &Path) -> Vec<serde_json::Value> {
    transactions_of(file).iter().map(|line| masked(line, &NAMES)).collect()
}

/// The same; what differs first, if not.
fn assert_same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) {
    let differs = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert!(differs.is_none(), "{differs:#?}");
    assert_eq!(found.len(), expected.len());
}

#[test]
fn none_of_a_thousand_secrets_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("cap.pcap"), folder.path().join("safe.pcapng"));
    let count = planted(&from);
    assert!(count >= SECRETS, "{count}");
    let before = Shifts::of(&plain(&from));
    let there = (0..count).filter(|nth| before.hold(&secret(*nth)).is_some()).count();
    // Those that are split at every byte are found nowhere.
    assert!(there > count / 3, "the search finds {there} of {count}");
    let said = redact(&from, &to, &["--redact", "x-internal,x-token"]);
    let after = Shifts::of(&plain(&to));
    let left: Vec<_> = (0..count).filter_map(|nth| after.hold(&secret(nth))).collect();
    assert_eq!(left, [] as [String; 0]);
    assert!(!said.contains("could not be read"), "{said}");
    // Put together again, too: what a reader of streams sees.
    let found = masked_of(&to);
    let whole = Shifts::of(format!("{:?}", transactions_of(&to)).as_bytes());
    let left: Vec<_> = (0..count).filter_map(|nth| whole.hold(&secret(nth))).collect();
    assert_eq!(left, [] as [String; 0]);
    assert_same(&found, &masked_of(&from));
    assert!(found.len() > 200, "{}", found.len());
    if common_tool("tshark") {
        assert_eq!(complaints(&to), complaints(&from));
    }
}

/// Whether a program is there; where tests must run, it is.
fn common_tool(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&paths).any(|dir| dir.join(name).is_file());
    assert!(there || std::env::var_os("PERISCO_LIVE").is_none(), "{name} is not installed");
    if !there {
        eprintln!("skipped in part: {name} is not installed");
    }
    there
}

fn captures() -> Vec<PathBuf> {
    common::cases().into_iter().map(|case| case.capture).collect()
}

/// The test captures: with everything kept, reports are the same but for values.
#[test]
fn reports_of_the_test_captures_stay_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("safe.pcapng");
    let captures = captures();
    assert!(captures.len() > 60);
    let mut values = BTreeSet::new();
    for from in captures {
        let said = redact(&from, &to, &["--unparsed", "keep", "--force"]);
        println!("{}", from.display());
        assert_same(&masked_of(&to), &masked_of(&from));
        values.extend(said.lines().find(|line| line.contains("redacted:")).map(str::to_owned));
    }
    assert!(values.len() > 1, "some hold secrets: {values:?}");
}

/// With what cannot be read dropped, Wireshark has no more to complain of than before.
#[test]
fn tshark_sees_nothing_new() {
    if !common_tool("tshark") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("safe.pcapng");
    for name in [
        "http1/nginx-auth-form",
        "h2/nghttp-padding",
        "h2/nghttp-continuation",
        "grpc/py-kinds",
        "broken/loss",
    ] {
        let from = captures().into_iter().find(|file| file.to_string_lossy().contains(name));
        let from = from.expect("it is there");
        redact(&from, &to, &["--force"]);
        assert_eq!(complaints(&to), complaints(&from), "{name}");
    }
}

#[test]
fn heads_without_bodies() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("cap.pcap"), folder.path().join("safe.pcapng"));
    planted(&from);
    redact(&from, &to, &["--headers-only", "--redact", "x-internal,x-token"]);
    let heads = |file: &Path| -> Vec<_> {
        let keep = [
            "connection",
            "stream",
            "method",
            "path",
            "status",
            "request_headers",
            "response_headers",
        ];
        masked_of(file).iter().map(|line| keep.map(|key| line[key].clone())).collect()
    };
    assert_same(&heads(&to), &heads(&from));
    let found = transactions_of(&to);
    assert!(found.iter().any(|line| line["completeness"] == "gap"), "bodies are gaps");
}

/// A call that does nothing: its exit code, and what it says.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let ran = run(args, b"");
    (ran.code, ran.err)
}

#[test]
fn nothing_is_overwritten_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("cap.pcap"), folder.path().join("safe.pcapng"));
    planted(&from);
    redact(&from, &to, &["--compress", "none"]);
    let first = std::fs::read(&to).expect("written");
    assert!(memchr::memmem::find(&first, b"perisco.redacted=headers,parameters").is_some());
    assert!(memchr::memmem::find(&first, b"perisco.unparsed=drop").is_some());
    let (code, said) = refused(&["redact", path(&from), "-o", path(&to)]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--force"), "{said}");
    // Never an input, even then.
    let (code, said) = refused(&["redact", path(&from), "-o", path(&from), "--force"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("is an input"), "{said}");
    // From standard input to standard output.
    let bytes = std::fs::read(&from).expect("there");
    let (code, piped, said) = run_bytes(&["redact", "-", "-o", "-"], &bytes);
    assert_eq!((code, piped == first), (Some(0), true), "{said}");
    for args in [
        &["--redact", "a b"][..],
        &["--redact-none", "--redact", "x"],
        &["--redact-none", "--unparsed", "keep"],
    ] {
        let (code, said) = refused(&[&["redact", path(&from), "-o", "-"], args].concat());
        assert_eq!(code, Some(2), "{said}");
    }
}
