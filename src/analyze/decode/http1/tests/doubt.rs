//! What may be said where the beginning, or an answer's request, is missing.

use super::*;

const LATE: Late = Late([true, true]);

#[test]
fn a_client_that_closes_in_order_had_all_its_answers() {
    let pairs = ["GET h /b 0 -> 202 2 | ok late-join", "GET h /c 0 -> 203 2 | ok late-join"];
    let tail = vec![s("tail of a body"), get("/b"), ok(202), get("/c"), ok(203)];
    check_late(LATE, &with_end(tail, End::Fin), &pairs);
    let answer = vec![ok(201), get("/b"), ok(202), get("/c"), ok(203)];
    let expected = ["- -> 201 2 | ok late-join", pairs[0], pairs[1]];
    check_late(LATE, &with_end(answer, End::Fin), &expected);
    // Its request may have been HEAD.
    let head = s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    let steps = with_end(vec![head, get("/b"), ok(202), get("/c"), ok(203)], End::Fin);
    check_late(LATE, &steps, &["- -> 200 0 | ok late-join", pairs[0], pairs[1]]);
}

#[test]
fn turns_alone_pair_nothing_after_a_late_join() {
    // With two requests in flight, each answer brings the next request.
    let steps = [get("/b"), ok(201), get("/c"), ok(202), ok(203)];
    check_late(
        LATE,
        &steps,
        &[
            "- -> 201 2 | ok late-join",
            "GET h /b 0 -> - | unknown late-join",
            "- -> 202 2 | ok late-join",
            "GET h /c 0 -> - | unknown late-join",
            "- -> 203 2 | ok late-join",
        ],
    );
    // The same where the answer that would show it is not in the capture.
    for end in [End::CaptureEnd, End::Reset(ToServer)] {
        check_late(
            LATE,
            &with_end(vec![get("/b"), ok(201)], end),
            &["- -> 201 2 | ok late-join", "GET h /b 0 -> - | unknown late-join"],
        );
    }
}

#[test]
fn a_pause_shows_that_no_answer_is_due() {
    let mut run = Run::new(LATE);
    for step in [get("/b"), ok(202), get("/c"), ok(203)] {
        run.push(&step);
    }
    assert_eq!(shown(&run.output), [""; 0]);
    for (step, packet) in
        [(get("/d"), 1_500), (ok(206), 1_501), (get("/e"), 1_502), (ok(205), 1_503)]
    {
        run.push_at(&step, packet);
    }
    assert_eq!(
        shown(&run.output),
        [
            "GET h /b 0 -> 202 2 | ok late-join",
            "GET h /c 0 -> 203 2 | ok late-join",
            "GET h /d 0 -> 206 2 | ok complete",
            "GET h /e 0 -> 205 2 | ok complete",
        ]
    );
}

#[test]
fn many_turns_show_a_client_that_waits() {
    let mut run = Run::new(LATE);
    for _ in 0..20 {
        run.push(&get("/b"));
        run.push(&ok(202));
    }
    let shown = shown(&run.output);
    assert_eq!(shown.len(), 20);
    assert!(shown[..16].iter().all(|line| line.ends_with("late-join")), "{shown:?}");
    assert!(shown[16..].iter().all(|line| line.ends_with("complete")), "{shown:?}");
}

#[test]
fn a_body_without_its_request_may_be_none() {
    let head = "HTTP/1.1 200 Connection established\r\n\r\n";
    check_late(
        LATE,
        &with_end(vec![s(head), s(b"\x16\x03\x03\x00\x05hello")], End::Fin),
        &["- -> 200 0 | unknown late-join"],
    );
    // An inner answer, and the body of an outer one that is not a tunnel's.
    check_late(
        LATE,
        &[s(head), ok(201)],
        &["- -> 200 0 | ok late-join", "- -> 201 2 | ok late-join"],
    );
    check_late(
        LATE,
        &with_end(vec![s("HTTP/1.1 404 Not Found\r\n\r\n"), s("hello")], End::Fin),
        &["- -> 404 5 | client_error late-join"],
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_late(
        LATE,
        &[s(chunked), s("2\r\nok\r\n0\r\n\r\n"), s(chunked), ok(201)],
        &["- -> 200 2 | ok late-join", "- -> 200 0 | ok late-join", "- -> 201 2 | ok late-join"],
    );
}

#[test]
fn a_reset_after_a_hole_proves_nothing() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    let reset = End::Reset(ToServer);
    check(
        &with_end(vec![get("/b"), s(head), Step::GapS(9)], reset),
        &["GET h /b 0 -> 200 3 | unknown gap"],
    );
    check(&with_end(vec![get("/b"), s(head)], reset), &["GET h /b 0 -> 200 3 | reset truncated"]);
    // No packet of the server is in the capture.
    check_late(
        Late([false, true]),
        &with_end(vec![get("/b")], reset),
        &["GET h /b 0 -> - | unknown late-join"],
    );
}

#[test]
fn an_upgrade_before_the_end_of_the_request() {
    let post = |length| {
        c(format!("POST /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n{length}\r\n\r\n"))
    };
    let accept = s("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n");
    let frames = " websocket.frames=1 websocket.client.text.frames=1 websocket.client.text.bytes=2 \
                  websocket.client.masked.frames=1";
    let expected = format!("POST h /ws 0 -> 101 0 | ok truncated{frames}");
    let masked = b"\x81\x82\x01\x02\x03\x04XX";
    for (length, rest) in [
        ("Content-Length: 5", &b"hello"[..]),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut last = rest.to_vec();
        last.extend_from_slice(masked);
        check(&with_end(vec![post(length), accept.clone(), c(last)], End::Fin), &[&expected]);
    }
}

#[test]
fn targets_in_absolute_form() {
    let output = check(
        &[
            c("GET https://o:8443/p?q HTTP/1.1\r\nHost: other\r\n\r\n"),
            ok(200),
            c("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
            ok(200),
        ],
        &[
            "GET o:8443 https://o:8443/p?q 0 -> 200 2 | ok complete",
            "OPTIONS h * 0 -> 200 2 | ok complete",
        ],
    );
    let scheme = |index: usize| output.transactions[index].transaction.request_text(|m| m.scheme);
    assert_eq!((scheme(0), scheme(1)), (Some(&b"https"[..]), Some(&b"http"[..])));
}

#[test]
fn versions_that_clients_read_all_the_same() {
    check(
        &[get("/b"), s("HTTP/1.01 200 ok\r\nContent-Length: 2\r\n\r\nok")],
        &["GET h /b 0 -> 200 2 | ok complete !malformed-head"],
    );
}

#[test]
fn a_client_that_resets_after_it_closed_had_bytes_that_are_not_here() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let closed = Step::End(ToServer, End::Fin);
    let reset = Step::End(ToClient, End::Reset(ToServer));
    let unknown = "GET h /b 0 -> - | unknown gap";
    check(&[get("/b"), closed.clone(), reset.clone()], &[unknown]);
    let unknown = "GET h /b 0 -> 200 0 | unknown gap";
    check(&[get("/b"), s(head), closed.clone(), reset.clone()], &[unknown]);
    let cut = "GET h /b 0 -> 200 3 | reset truncated";
    check(&[get("/b"), s(head), closed, s("abc"), reset], &[cut]);
}

#[test]
fn a_lost_answer_and_a_lost_request_shift_nothing() {
    let steps = [
        get("/a"),
        ok(201),
        get("/b"),
        Step::GapS(40),
        Step::GapC(40),
        ok(203),
        get("/d"),
        ok(206),
    ];
    check(
        &with_end(steps.to_vec(), End::Fin),
        &[
            "GET h /a 0 -> 201 2 | ok complete",
            "- -> 203 2 | ok gap",
            "GET h /b 0 -> - | unknown gap",
            "GET h /d 0 -> 206 2 | ok gap",
        ],
    );
}

#[test]
fn a_cut_status_line_may_be_an_interim_one() {
    let output = check(
        &[get("/b"), s("HTTP/1.1 103 Ear"), Step::GapS(20), ok(200)],
        &["GET h /b 0 -> 200 2 | ok gap"],
    );
    assert_eq!(times(&output.transactions[0].transaction.response).0, Some(4));
    let output = check(
        &with_end(vec![get("/b"), s("HTTP/1.1 10"), Step::GapS(20)], End::Fin),
        &["GET h /b 0 -> ? 0 | unknown gap"],
    );
    assert_eq!(times(&output.transactions[0].transaction.response).0, None);
}

/// A response whose request is not certain is a gRPC-Web call's all the same: not OK because
/// HTTP says 200.
#[test]
fn a_call_without_its_request_keeps_its_status() {
    let request = "POST /p.S/M HTTP/1.1\r\nContent-Type: application/grpc-web\r\n\
                   Content-Length: 6\r\n\r\n\0\0\0\0\x01a";
    let response = |kind: &str| {
        let head = format!("HTTP/1.1 200 X\r\nContent-Type: {kind}\r\nContent-Length: 21\r\n\r\n");
        s([head.as_bytes(), b"\x80\0\0\0\x10grpc-status: 5\r\n"].concat())
    };
    let shown = |kind| {
        let steps = with_end(vec![c(request), response(kind)], End::CaptureEnd);
        shown(&run(LATE, &steps)).remove(0)
    };
    let web = shown("application/grpc-web");
    assert!(web.starts_with("grpc - -> 200 21 | client_error late-join"), "{web}");
    // What does not say so may answer another request.
    assert_eq!(shown("text/plain"), "- -> 200 21 | ok late-join");
}
