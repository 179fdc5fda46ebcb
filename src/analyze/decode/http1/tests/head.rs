//! Heads as real peers send them.

use super::super::scan;
use super::*;

fn request(input: &[u8]) -> (String, String, Version, bool, Vec<(String, String)>, usize) {
    let mut space = slots();
    match parse_request(input, &mut space) {
        Ok(Parsed::Complete(head, len)) => {
            let mut fields = Vec::new();
            head.fields.each(|n, v| fields.push((lossy(n), lossy(&unfold(v)))));
            let line = head.line;
            (lossy(line.method), lossy(line.target), line.version, head.malformed, fields, len)
        }
        other => panic!("{other:?}"),
    }
}

fn response(input: &[u8]) -> (u16, String, Version, bool) {
    let mut space = slots();
    match parse_response(input, &mut space) {
        Ok(Parsed::Complete(head, _)) => {
            (head.line.status, lossy(head.line.reason), head.line.version, head.malformed)
        }
        other => panic!("{other:?}"),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn well_formed() {
    let input = b"GET /a?b HTTP/1.1\r\nHost: h\r\nA:  b \r\n\r\nrest";
    let (method, target, version, malformed, fields, len) = request(input);
    assert_eq!((method.as_str(), target.as_str()), ("GET", "/a?b"));
    assert_eq!((version, malformed, len), (Version::Http11, false, input.len() - 4));
    assert_eq!(fields[1], ("A".to_owned(), "b".to_owned()));
    assert_eq!(response(b"HTTP/1.0 404 Not Found\r\n\r\n").0, 404);
}

#[test]
fn what_real_peers_send() {
    let cases: [(&[u8], &str, &str); 8] = [
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/\u{fffd}\u{fffd}"),
        (b"GET  /two   HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/two"),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/a b"),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", "GET", "/"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "GET", "/"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "GET", "/"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n", "GET", "/"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", "GET", "/"),
    ];
    for (input, method, target) in cases {
        let got = request(input);
        assert_eq!((got.0.as_str(), got.1.as_str(), got.3), (method, target, true));
        assert_eq!(got.4[0], ("Host".to_owned(), "h".to_owned()), "{target}");
        assert_eq!(got.5, input.len());
    }
    let (.., fields, _) = request(cases[5].0);
    assert_eq!(fields[1].1.split_whitespace().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(response(b"ICY 200 OK\r\n\r\n"), (200, "OK".into(), Version::Http10, true));
    assert_eq!(response(b"HTTP/1.1 204\r\n\r\n"), (204, String::new(), Version::Http11, false));
    assert_eq!(response(b"HTTP/1.1 200 OK\nA: b\n\n").0, 200);
    assert_eq!(response(b"HTTP/1.1  500  X\r\n\r\n").0, 500);
}

#[test]
fn many_fields_are_not_malformed() {
    let mut input = b"GET / HTTP/1.1\r\n".to_vec();
    (0..500).for_each(|i| input.extend_from_slice(format!("X-{i}: {i}\r\n").as_bytes()));
    input.extend_from_slice(b"\r\n");
    let (.., malformed, fields, len) = request(&input);
    assert_eq!((malformed, fields.len(), len), (false, 500, input.len()));
}

#[test]
fn what_is_no_head() {
    for input in
        [&b"\x16\x03\x01\x02"[..], b"GET\x00/", b"HELLO\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"]
    {
        assert!(matches!(parse_request(input, &mut slots()), Err(HeadError::NotRequest)));
    }
    for input in
        [&b"HTTP/2.0 200 OK\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 2000 x\r\n\r\n"]
    {
        assert!(matches!(parse_response(input, &mut slots()), Err(HeadError::NotResponse)));
    }
    assert!(matches!(parse_request(b"GET / HT", &mut slots()), Ok(Parsed::Incomplete)));
}

#[test]
fn a_status_below_100_is_none() {
    for line in ["HTTP/1.1 020 x", "HTTP/1.0 007", "HTTP/1.1 099 Almost"] {
        assert!(status_line(line.as_bytes()).is_none(), "{line}");
        let head = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert!(scan::status_line(head.as_bytes()).is_none(), "{line}");
        let mut slots = slots();
        assert!(parse_response(head.as_bytes(), &mut slots).is_err(), "{line}");
    }
    assert_eq!(status_line(b"HTTP/1.1 100").map(|line| line.status), Some(100));
}
