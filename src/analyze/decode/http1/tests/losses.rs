//! Transcripts of which something is missing.

use super::*;

#[test]
fn gaps_in_bodies() {
    check(
        &[
            c(GET),
            s("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab"),
            Step::GapS(990),
            s("12345678"),
            c(GET),
            s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc"),
            Step::GapS(0x100 - 3),
            s("\r\n0\r\n\r\n"),
            c(GET),
            s(OK5),
        ],
        &[
            "GET h /a 0 -> 200 1000 | ok gap",
            "GET h /a 0 -> 200 256 | ok gap",
            "GET h /a 0 -> 200 5 | ok complete",
        ],
    );
    // The end of a chunked body is lost: unknown, and the next pair is certain.
    check(
        &[
            c(GET),
            s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc"),
            Step::GapS(5000),
            s("rest\r\n0\r\n\r\n"),
            get("/b"),
            ok(404),
        ],
        &["GET h /a 0 -> 200 3 | unknown gap", "GET h /b 0 -> 404 2 | client_error complete"],
    );
}

#[test]
fn gaps_in_heads() {
    check(
        &with_end(
            vec![
                c("GET /a HTTP/1.1\r\nHost: h\r\nCookie: abc"),
                Step::GapC(50),
                c("rest\r\n\r\n"),
                ok(201),
                get("/b"),
                ok(202),
                get("/c"),
                ok(203),
            ],
            End::Fin,
        ),
        &[
            "GET h /a 0 -> 201 2 | ok gap",
            "GET h /b 0 -> 202 2 | ok gap",
            "GET h /c 0 -> 203 2 | ok gap",
        ],
    );
    check(
        &[c("GET /a HT"), Step::GapC(50), ok(201), get("/b"), c("x")],
        &["? ? ? 0 -> 201 2 | ok gap"],
    );
    check(
        &[c(GET), s("HTTP/1.1 404 Not Found\r\nServer: x"), Step::GapS(70), get("/b"), ok(202)],
        &["GET h /a 0 -> 404 0 | client_error gap", "GET h /b 0 -> 202 2 | ok complete"],
    );
}

#[test]
fn lost_messages_never_shift_the_pairs() {
    // A lost request: its response belongs to none.
    check(
        &[get("/a"), ok(201), Step::GapC(40), ok(202), get("/c"), ok(203), get("/d"), ok(206)],
        &[
            "GET h /a 0 -> 201 2 | ok complete",
            "- -> 202 2 | ok gap",
            "GET h /c 0 -> 203 2 | ok gap",
            "GET h /d 0 -> 206 2 | ok complete",
        ],
    );
    check(
        &with_end(vec![get("/a"), ok(201), ok(202), Step::GapC(40), get("/c"), ok(203)], End::Fin),
        &[
            "GET h /a 0 -> 201 2 | ok complete",
            "- -> 202 2 | ok unpaired",
            "GET h /c 0 -> 203 2 | ok gap",
        ],
    );
    // A lost response.
    check(
        &with_end(
            vec![get("/a"), Step::GapS(60), get("/b"), ok(202), get("/c"), ok(203)],
            End::Fin,
        ),
        &[
            "- -> 202 2 | ok gap",
            "GET h /a 0 -> - | unknown gap",
            "GET h /b 0 -> - | unknown gap",
            "GET h /c 0 -> 203 2 | ok gap",
        ],
    );
    // Only one request can have been answered by what follows the hole.
    check(&[get("/a"), Step::GapS(60), ok(202)], &["GET h /a 0 -> 202 2 | ok gap"]);
    // A pipelining client, one request lost: nothing is guessed.
    let pair = c("GET /b HTTP/1.1\r\nHost: h\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n");
    check(
        &with_end(vec![Step::GapC(28), pair, ok(201), ok(202), ok(203)], End::Fin),
        &[
            "- -> 201 2 | ok gap",
            "- -> 202 2 | ok gap",
            "- -> 203 2 | ok gap",
            "GET h /b 0 -> - | unknown gap",
            "GET h /c 0 -> - | unknown gap",
        ],
    );
    // A tentative pair is taken back when there is one response too many.
    check(
        &with_end(vec![Step::GapC(28), get("/b"), ok(201), ok(202)], End::Fin),
        &["- -> 201 2 | ok gap", "GET h /b 0 -> - | unknown gap", "- -> 202 2 | ok gap"],
    );
}

#[test]
fn ends_without_an_answer() {
    for (end, verdict) in [
        (End::Fin, "unanswered unpaired"),
        (End::Reset(ToClient), "reset unpaired"),
        (End::CaptureEnd, "unknown truncated"),
        (End::Idle, "unknown truncated"),
        (End::Limit, "unknown truncated"),
        (End::Replaced, "unknown truncated"),
    ] {
        let expected = format!("GET h /a 0 -> - | {verdict}");
        check(&with_end(vec![c(GET)], end), &[&expected]);
    }
    check(
        &with_end(vec![c("GET /a HTTP/1.1\r\nHo")], End::Fin),
        &["GET ? /a 0 -> - | unknown truncated"],
    );
}

#[test]
fn ends_inside_a_response() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    for (response, end, verdict) in [
        (head, End::Fin, "200 3 | unknown truncated !short-body"),
        (head, End::Reset(ToClient), "200 3 | reset truncated"),
        (head, End::CaptureEnd, "200 3 | unknown truncated"),
        (
            "HTTP/1.1 500 X\r\nContent-Length: 10\r\n\r\n",
            End::Fin,
            "500 3 | server_error truncated !short-body",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", End::Fin, "200 3 | ok complete"),
        ("HTTP/1.1 200 OK\r\n\r\n", End::Reset(ToServer), "200 3 | reset truncated"),
        ("HTTP/1.1 200 OK\r\n\r\n", End::CaptureEnd, "200 3 | unknown truncated"),
    ] {
        let expected = format!("GET h /a 0 -> {verdict}");
        check(&with_end(vec![c(GET), s(response), s("abc")], end), &[&expected]);
    }
    check(
        &with_end(vec![c(GET), s("HTTP/1.1 200 OK\r\nServ")], End::Fin),
        &["GET h /a 0 -> 200 0 | unknown truncated"],
    );
}
