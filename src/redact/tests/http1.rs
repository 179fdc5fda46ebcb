//! HTTP/1, and what is none.

use proptest::prelude::*;

use super::*;

const REQUEST: &str = "POST /a?x=1&token=s3cr3t-VALUE&page=2 HTTP/1.1\r\n\
    Host: h\r\nAuthorization: Bearer s3cr3t-VALUE\r\ncookie:s3cr3t-VALUE=1; b\r\n\
    Cookie:\r\n\ts3cr3t-VALUE\r\n s3cr3t-VALUE\r\nX-API-Key : s3cr3t-VALUE\r\n\
    Referer: http://h/?q=1&api_key=s3cr3t-VALUE#f\r\nTransfer-Encoding: chunked\r\n\r\n\
    5;x=y\r\nhello\r\n0\r\nX-Auth-Token: s3cr3t-VALUE\r\nDigest: d\r\n\r\n\
    GET /b HTTP/1.1\nCookie: s3cr3t-VALUE\n\nHEAD /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n";

const REDACTED_REQUEST: &str = "POST /a?x=1&token=************&page=2 HTTP/1.1\r\n\
    Host: h\r\nAuthorization: *******************\r\ncookie:*****************\r\n\
    Cookie:\r\n\t************\r\n ************\r\nX-API-Key : ************\r\n\
    Referer: http://h/?q=1&api_key=************#f\r\nTransfer-Encoding: chunked\r\n\r\n\
    5;x=y\r\nhello\r\n0\r\nX-Auth-Token: ************\r\nDigest: d\r\n\r\n\
    GET /b HTTP/1.1\nCookie: ************\n\nHEAD /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\
    Set-Cookie: id=s3cr3t-VALUE; Path=/\r\nLocation: /x?sig=s3cr3t-VALUE\r\n\
    Content-Length: 21\r\n\r\nSet-Cookie: not a one\
    HTTP/1.0 304 Not Modified\r\nContent-Length: 9\r\nSet-Cookie: s3cr3t-VALUE\r\n\r\n\
    HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: s3cr3t-VALUE\r\n\r\n\
    HTTP/1.1 200 OK\r\nSet-Cookie: s3cr3t-VALUE\r\n\r\nSet-Cookie: body";

const REDACTED_RESPONSE: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\
    Set-Cookie: ***********************\r\nLocation: /x?sig=************\r\n\
    Content-Length: 21\r\n\r\nSet-Cookie: not a one\
    HTTP/1.0 304 Not Modified\r\nContent-Length: 9\r\nSet-Cookie: ************\r\n\r\n\
    HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: ************\r\n\r\n\
    HTTP/1.1 200 OK\r\nSet-Cookie: ************\r\n\r\nSet-Cookie: body";

fn both(mut talk: Talk, sizes: &[usize]) -> (String, String, u64) {
    let request = shown(talk.say(0, REQUEST.as_bytes(), sizes));
    let response = shown(talk.say(1, RESPONSE.as_bytes(), sizes));
    (request, response, talk.values())
}

#[test]
fn heads_trailers_and_targets() {
    for talk in [Talk::keep(), Talk::drop()] {
        let (request, response, values) = both(talk, &[]);
        assert_eq!(request, REDACTED_REQUEST);
        assert_eq!(response, REDACTED_RESPONSE);
        assert_eq!(values, 8 + 5);
    }
}

#[test]
fn split_at_every_byte() {
    for talk in [Talk::keep(), Talk::drop()] {
        let (request, response, _) = both(talk, &[1]);
        assert_eq!((request.as_str(), response.as_str()), (REDACTED_REQUEST, REDACTED_RESPONSE));
    }
}

#[test]
fn a_response_before_its_request() {
    let mut talk = Talk::keep();
    assert_eq!(shown(talk.say(1, RESPONSE.as_bytes(), &[])), REDACTED_RESPONSE);
    assert_eq!(shown(talk.say(0, REQUEST.as_bytes(), &[])), REDACTED_REQUEST);
    // The next response answers the next request.
    talk.say(0, b"HEAD / HTTP/1.1\r\n\r\n", &[]);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 200 OK\r\nCookie: ab\r\n\r\n";
    let mut talk = Talk::keep();
    talk.say(0, b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", &[]);
    assert_eq!(shown(talk.say(1, head.as_bytes(), &[])), head.replace("ab", "**"));
}

#[test]
fn responses_to_requests_that_were_not_seen() {
    // Perhaps to a HEAD: what looks like a response is one.
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: ab\r\n\r\nHTTX";
    for sizes in [&[][..], &[1]] {
        let mut talk = Talk::new(&Settings::new(Unparsed::Keep), true);
        talk.gap(1, 1);
        assert_eq!(shown(talk.say(1, said.as_bytes(), sizes)), said.replace("ab", "**"));
    }
}

#[test]
fn tunnels_and_upgrades() {
    let mut talk = Talk::drop();
    let connect = "CONNECT h:80 HTTP/1.1\r\nProxy-Authorization: ab\r\n\r\n";
    assert_eq!(shown(talk.say(0, connect.as_bytes(), &[])), connect.replace("ab", "**"));
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(shown(talk.say(1, said.as_bytes(), &[])), said);
    assert_eq!(
        shown(talk.say(0, b"GET / HTTP/1.1\r\nCookie: ab\r\n\r\n", &[1])),
        "GET / HTTP/1.1\r\nCookie: **\r\n\r\n"
    );
    let tls = "\x16\x03\x01\x02secret";
    let mut talk = Talk::drop();
    talk.say(0, connect.as_bytes(), &[]);
    talk.say(1, said.as_bytes(), &[]);
    assert_eq!(shown(talk.say(0, tls.as_bytes(), &[])), tls, "what is encrypted stays");
    // What follows an upgrade to something else cannot be read.
    let mut talk = Talk::drop();
    talk.say(0, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", &[]);
    talk.say(1, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &[]);
    assert_eq!(shown(talk.say(1, b"\x81\x05hello", &[])), "_______");
}

#[test]
fn what_is_no_http() {
    let said = "USER joe\r\nPASS secret\r\nAuthorization: s3cr3t\r\nblah\r\n\r\nGET / HTTP/1.1\r\nCookie: ab\r\n\r\n";
    let kept = "USER joe\r\nPASS secret\r\nAuthorization: ******\r\nblah\r\n\r\nGET / HTTP/1.1\r\nCookie: **\r\n\r\n";
    assert_eq!(shown(Talk::keep().say(0, said.as_bytes(), &[])), kept);
    let dropped = shown(Talk::drop().say(0, said.as_bytes(), &[]));
    assert_eq!(dropped.trim_start_matches('_'), "GET / HTTP/1.1\r\nCookie: **\r\n\r\n");
    assert_eq!(dropped.len(), said.len());
}

#[test]
fn behind_a_gap() {
    let head = "GET / HTTP/1.1\r\nAuthoriz";
    let rest = "er s3cr3t-VALUE\r\nCookie: ab\r\nHost: h\r\n\r\nGET /?key=ab HTTP/1.1\r\n\r\n";
    let mut talk = Talk::keep();
    talk.say(0, head.as_bytes(), &[]);
    assert_eq!(talk.gap(0, 10), Late::Drop);
    assert_eq!(
        shown(talk.say(0, rest.as_bytes(), &[])),
        "***************\r\nCookie: **\r\nHost: h\r\n\r\nGET /?key=** HTTP/1.1\r\n\r\n"
    );
    let mut talk = Talk::drop();
    talk.say(0, head.as_bytes(), &[]);
    talk.gap(0, 10);
    let dropped = shown(talk.say(0, rest.as_bytes(), &[]));
    assert_eq!(dropped.trim_start_matches('_'), "GET /?key=** HTTP/1.1\r\n\r\n");
    // In a body nothing is lost.
    let mut talk = Talk::drop();
    talk.say(0, b"PUT / HTTP/1.1\r\nContent-Length: 20\r\n\r\nabc", &[]);
    assert_eq!(talk.gap(0, 10), Late::Keep);
    assert_eq!(
        shown(talk.say(0, b"1234567GET /?key=ab HTTP/1.1\r\n\r\n", &[])),
        "1234567GET /?key=** HTTP/1.1\r\n\r\n"
    );
}

#[test]
fn heads_only() {
    let settings = Settings { headers_only: true, ..Settings::new(Unparsed::Keep) };
    for sizes in [&[][..], &[1], &[7, 3]] {
        let mut talk = Talk::new(&settings, false);
        let (request, response, _) = {
            let request = shown(talk.say(0, REQUEST.as_bytes(), sizes));
            let response = shown(talk.say(1, RESPONSE.as_bytes(), sizes));
            (request, response, 0)
        };
        assert_eq!(request, REDACTED_REQUEST.replace("hello", "_____"));
        let bodies = REDACTED_RESPONSE.replace("Set-Cookie: not a one", &"_".repeat(21));
        assert_eq!(response, bodies.replace("Set-Cookie: body", &"_".repeat(16)));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        sizes in proptest::collection::vec(1usize..60, 1..40), keep: bool, headers_only: bool,
    ) {
        let unparsed = if keep { Unparsed::Keep } else { Unparsed::Drop };
        let settings = Settings { headers_only, ..Settings::new(unparsed) };
        let whole = both(Talk::new(&settings, false), &[]);
        prop_assert_eq!(both(Talk::new(&settings, false), &sizes), whole);
    }

    /// Nothing panics, nothing is longer or shorter, and bytes only become stars.
    #[test]
    fn hostile_bytes(
        pieces in proptest::collection::vec(
            (0usize..2, prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..40),
                "(GET /a\\?token=b HTTP/1.1\r\n|HTTP/1.1 200 OK\r\n|Cookie: a\r\n|\r\n|Content-Length: 5\r\n|Transfer-Encoding: chunked\r\n|5\r\n|0\r\n|x)"
                    .prop_map(String::into_bytes),
            ], proptest::option::weighted(0.1, 1u64..50)), 0..60),
        late: bool, keep: bool,
    ) {
        let unparsed = if keep { Unparsed::Keep } else { Unparsed::Drop };
        let mut talk = Talk::new(&Settings::new(unparsed), late);
        for (side, bytes, gap) in pieces {
            if let Some(gap) = gap {
                talk.gap(side, gap);
            }
            let (out, _) = talk.piece(side, &bytes);
            prop_assert_eq!(out.len(), bytes.len());
        }
    }
}
