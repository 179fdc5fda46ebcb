//! One transcript per rule; `losses` has those of which something is missing.

use super::*;

#[test]
fn keep_alive_and_times() {
    let output = check(
        &[
            c(&GET[..9]),
            c(&GET[9..]),
            s(&OK5[..20]),
            s(&OK5[20..40]),
            s(&OK5[40..]),
            c(GET),
            s(OK5),
        ],
        &["GET h /a 0 -> 200 5 | ok complete", "GET h /a 0 -> 200 5 | ok complete"],
    );
    let first = &output.transactions[0].transaction;
    assert_eq!(times(&first.request), (Some(1), Some(2), 1));
    assert_eq!(times(&first.response), (Some(3), Some(5), 3));
    assert_eq!(first.latency_ns(), Some(2_000_000));
    assert_eq!(first.request_text(|m| m.scheme), Some(&b"http"[..]));
    let fields: Vec<_> = first.response.iter().flat_map(|m| m.head.iter()).collect();
    assert_eq!(fields[0].value, Some(&b"5"[..]));
}

#[test]
fn pipelined_in_one_packet() {
    let output = check(
        &[c(format!("{GET}{GET}")), s(format!("{OK5}{OK5}"))],
        &["GET h /a 0 -> 200 5 | ok complete", "GET h /a 0 -> 200 5 | ok complete"],
    );
    for finished in &output.transactions {
        assert_eq!(times(&finished.transaction.request), (Some(1), Some(1), 1));
        assert_eq!(times(&finished.transaction.response), (Some(2), Some(2), 2));
    }
}

#[test]
fn bodies() {
    let post = "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n";
    let output = check(
        &[c(post), s("HTTP/1.1 204 No Content\r\n\r\n")],
        &["POST h /p 3 -> 204 0 | ok complete"],
    );
    let request = output.transactions[0].transaction.request.as_ref();
    assert_eq!(request.and_then(|m| m.trailers.value("t")), Some(&b"v"[..]));
    check(
        &with_end(
            vec![c("GET / HTTP/1.0\r\n\r\n"), s("HTTP/1.0 200 OK\r\n\r\nab"), s("cd")],
            End::Fin,
        ),
        &["http/1.0 GET ? / 0 -> 200 4 | ok complete"],
    );
    check(
        &[
            c("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"),
            s("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
            get("/n"),
            s("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
            get("/b"),
            ok(500),
        ],
        &[
            "HEAD h / 0 -> 200 0 | ok complete",
            "GET h /n 0 -> 304 0 | ok complete",
            "GET h /b 0 -> 500 2 | server_error complete",
        ],
    );
}

#[test]
fn odd_lengths() {
    let head = "HTTP/1.1 200 OK\r\n";
    let output = check(
        &[
            c(GET),
            s(format!("{head}Content-Length: 5, 5\r\n\r\nhello")),
            c(GET),
            s(format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\nab")),
            c(GET),
            s(format!(
                "{head}Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
            )),
            c(GET),
            s("HTTP/1.1 200\r\nBad header\r\nContent-Length: 0\r\n\r\n"),
        ],
        &[
            "GET h /a 0 -> 200 5 | ok complete",
            "GET h /a 0 -> 200 2 | ok complete !differing-content-length",
            "GET h /a 0 -> 200 1 | ok complete !length-and-chunked",
            "GET h /a 0 -> 200 0 | ok complete !malformed-head",
        ],
    );
    assert_eq!(output.anomalies, []);
}

#[test]
fn interim_and_early_responses() {
    let post = "POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let output = check(
        &[
            c(post),
            s("HTTP/1.1 100 Continue\r\n\r\n"),
            c("body"),
            s("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
            ok(201),
            c(post),
            ok(413),
            c("bo"),
            c("dy"),
            c(GET),
            s(OK5),
        ],
        &[
            "POST h /p 4 -> 201 2 | ok complete http.informational=2",
            "POST h /p 4 -> 413 2 | client_error complete",
            "GET h /a 0 -> 200 5 | ok complete",
        ],
    );
    assert_eq!(times(&output.transactions[0].transaction.response), (Some(5), Some(5), 5));
    assert_eq!(times(&output.transactions[1].transaction.request), (Some(6), Some(9), 6));
}

#[test]
fn connect_and_what_is_inside() {
    let connect = "CONNECT o:80 HTTP/1.1\r\nHost: o:80\r\n\r\n";
    let output = check(
        &with_end(
            vec![
                c(connect),
                s("HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n"),
                c(GET),
                s(OK5),
            ],
            End::Fin,
        ),
        &["CONNECT o:80 o:80 0 -> 200 0 | ok complete", "GET h /a 0 -> 200 5 | ok complete"],
    );
    assert_eq!(output.kind, Some("http/1"));
    // Bytes for the tunnel that are seen before its answer.
    check(
        &[c(connect), c(GET), s("HTTP/1.1 200 OK\r\n\r\n"), s(OK5)],
        &["CONNECT o:80 o:80 0 -> 200 0 | ok complete", "GET h /a 0 -> 200 5 | ok complete"],
    );
    check(
        &[
            c(connect),
            ok(407),
            c(connect),
            s("HTTP/1.1 200 OK\r\n\r\n"),
            c(b"\x16\x03\x01\x00\x05"),
        ],
        &[
            "CONNECT o:80 o:80 0 -> 407 2 | client_error complete",
            "CONNECT o:80 o:80 0 -> 200 0 | ok complete",
        ],
    );
}

#[test]
fn websocket_frames() {
    let upgrade =
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let accept = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n";
    let mut first = accept.to_vec();
    first.extend_from_slice(b"\x81\x02hi\x09\x00");
    let masked = b"\x81\x82\x01\x02\x03\x04XX";
    let close = b"\x88\x82\x01\x02\x03\x04\x02\xea";
    let output = check(
        &with_end(
            vec![
                c(upgrade),
                s(accept),
                s(b"\x82\x7e\x01\x00"),
                Step::GapS(256),
                s(b"\x00\x01z"),
                c(masked),
                c(close),
            ],
            End::Fin,
        ),
        &["GET h /ws 0 -> 101 0 | ok gap websocket.frames=4 \
           websocket.client.text.frames=1 websocket.client.text.bytes=2 \
           websocket.client.close.frames=1 websocket.client.close.bytes=2 \
           websocket.client.masked.frames=2 websocket.client.close.code=1000 \
           websocket.server.continuation.frames=1 websocket.server.continuation.bytes=1 \
           websocket.server.binary.frames=1 websocket.server.binary.bytes=256"],
    );
    assert_eq!(output.kind, Some("websocket"));
    let frames: Vec<_> =
        output.events.iter().skip(2).map(|(event, _)| event.text.as_str()).collect();
    assert_eq!(frames[0], "WebSocket binary length 256 fin");
    // Ping is no continuation of anything: its FIN bit must be set.
    check(
        &with_end(vec![c(upgrade), s(first)], End::Fin),
        &["GET h /ws 0 -> 101 0 | unknown truncated !bad-websocket-frame websocket.frames=1 \
           websocket.server.text.frames=1 websocket.server.text.bytes=2"],
    );
}

#[test]
fn other_upgrades_and_h2c() {
    let upgrade = |to| {
        format!("GET /u HTTP/1.1\r\nHost: h\r\nUpgrade: {to}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
    };
    let accept = |to| format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: {to}\r\n\r\n");
    check(
        &[c(upgrade("frob")), s(accept("frob")), s("FROB"), c("x")],
        &["GET h /u 0 -> 101 0 | ok complete"],
    );
    // The request goes on as stream 1 of HTTP/2: no second transaction here.
    let output = run(Late::default(), &[c(upgrade("h2c")), s(accept("h2c"))]);
    assert!(output.transactions.iter().all(|f| f.transaction.protocol != "http/1.1"));
    assert_eq!(output.kind, Some("http/2"));
    // Refused: HTTP/1.1 goes on, with requests that were sent meanwhile.
    check(
        &[c(upgrade("h2c")), c(GET), s(OK5), s(OK5)],
        &["GET h /u 0 -> 200 5 | ok complete", "GET h /a 0 -> 200 5 | ok complete"],
    );
}

/// What waits beside the request that the connection is switched for is told too.
#[test]
fn requests_beside_an_upgrade_are_not_forgotten() {
    let upgrade = "GET /u HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
    // SETTINGS, and HEADERS of `:status: 200` with END_STREAM.
    let answer = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88";
    let closed = |late, steps: &[Step], expected: &[&str]| {
        let mut run = Run::new(late);
        steps.iter().chain(&both(End::Fin)).for_each(|step| run.push(step));
        assert_eq!(shown(&run.output), expected);
        assert_eq!(run.decoder.oldest_open(), None);
    };
    closed(
        Late::default(),
        &[c(upgrade), s(accept), s(answer)],
        &["http/2 GET h /u 0 -> 200 0 | ok complete"],
    );
    closed(
        Late::default(),
        &[c(GET), c(upgrade), s(accept), s(answer)],
        &["GET h /u 0 -> - | unknown truncated", "http/2 GET h /a 0 -> 200 0 | ok complete"],
    );
    // Which one it answers is not known.
    closed(
        Late::default(),
        &[c(GET), c(GET), Step::GapS(9), s(accept)],
        &["GET h /a 0 -> - | unknown gap", "GET h /a 0 -> - | unknown gap", "- -> 101 0 | ok gap"],
    );
    closed(
        Late([true; 2]),
        &[c(upgrade), s(accept), s(answer)],
        &["http/2 GET h /u 0 -> 200 0 | ok late-join"],
    );
}

/// A client that has closed before it is told what its last bytes were.
#[test]
fn what_a_closed_client_had_begun_is_told() {
    let begun = "GET /u HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n";
    for (answer, expected) in [
        (OK5, "GET h /u 0 -> 200 5 | ok complete"),
        ("junk\r\n\r\n", "GET h /u 0 -> - | unknown gap"),
        ("H\0", "GET h /u 0 -> - | unknown gap"),
    ] {
        let fin = |way| Step::End(way, End::Fin);
        let mut run = Run::new(Late::default());
        let steps = [c(begun), fin(ToServer), s(answer), fin(ToClient)];
        steps.iter().for_each(|step| run.push(step));
        assert_eq!(shown(&run.output)[0], expected, "{answer:?}");
        assert!(shown(&run.output)[1].starts_with("GET h /b 0 -> - | unknown "), "{answer:?}");
        assert_eq!(run.decoder.oldest_open(), None, "{answer:?}");
    }
}

/// The pieces that a head comes in change nothing about what its first line is.
#[test]
fn bytes_that_begin_no_head_make_no_message() {
    for answer in ["HTTP/1.1 200\x04U\r\nX: y\r\n", "HTTP/2 200 OK", "HTTP/1.1 020 X\r\nX: y\r\n"] {
        let pieces = answer.as_bytes().chunks(1).map(s);
        for answer in [vec![s(answer)], pieces.collect()] {
            let steps = [vec![c(GET)], answer].concat();
            check(&with_end(steps, End::CaptureEnd), &["GET h /a 0 -> - | unknown gap"]);
        }
    }
}

#[test]
fn too_large_a_head() {
    let mut run = Run::new(Late::default());
    run.limits.head_bytes = 1000;
    run.push(&c("GET /big HTTP/1.1\r\nHost: h\r\nX: "));
    run.push(&c("x".repeat(2000)));
    run.push(&c("\r\n\r\n"));
    for step in with_end(vec![ok(201), get("/b"), ok(202), get("/c"), ok(203)], End::Fin) {
        run.push(&step);
    }
    assert_eq!(
        shown(&run.output),
        [
            "GET h /big 0 -> 201 2 | ok truncated !head-too-large",
            "GET h /b 0 -> 202 2 | ok gap",
            "GET h /c 0 -> 203 2 | ok gap",
        ]
    );
}

#[test]
fn pending_requests_are_bounded() {
    let mut run = Run::new(Late::default());
    run.limits.pending_per_flow = 2;
    (0..4).for_each(|_| run.push(&c(GET)));
    assert_eq!(shown(&run.output), ["GET h /a 0 -> - | unknown truncated !too-many-pending"; 2]);
}

#[test]
fn memory_and_oldest_open() {
    let mut run = Run::new(Late::default());
    let empty = run.decoder.memory();
    assert_eq!(run.decoder.oldest_open(), None);
    run.push(&c("GET /a HT"));
    assert_eq!(run.decoder.oldest_open(), Some(Timestamp::from_nanos(1_000_000)));
    run.push(&c("TP/1.1\r\nX: "));
    run.push(&c("y".repeat(100_000)));
    assert!(run.decoder.memory() > empty + 100_000);
    run.push(&c("\r\n\r\n"));
    run.push(&c(GET));
    assert!(run.decoder.memory() > empty + 200_000);
    run.push(&s(OK5));
    assert_eq!(run.decoder.oldest_open(), Some(Timestamp::from_nanos(5_000_000)));
    run.push(&s(OK5));
    assert_eq!(run.decoder.oldest_open(), None);
}

#[test]
fn logged_lines() {
    let output = run(
        Late::default(),
        &[
            c("GET /a\x1b HTTP/1.1\r\nHost: h\r\nA: b\x07\r\n\r\n"),
            s("HTTP/1.1 200 OK\r\nB: c\r\nD: \u{e9}\r\n\r\n"),
        ],
    );
    let lines: Vec<_> = output.events.iter().map(|(event, _)| event.text.as_str()).collect();
    assert_eq!(
        lines,
        ["HTTP/1.1 h GET /a\\u{1b} Host: h; A: b\\u{7}", "HTTP/1.1 200 OK B: c; D: \u{e9}"]
    );
}
