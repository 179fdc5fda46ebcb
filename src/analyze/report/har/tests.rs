use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{SEPARATOR, push_milliseconds, write, write_begin, write_end};
use crate::analyze::report::fixture::*;
use crate::analyze::report::{Aggregate, CaptureTotals};
use crate::analyze::transaction::Transaction;

fn archive(items: &[Placed], capture: CaptureTotals) -> String {
    let mut out = Vec::new();
    write_begin(&mut out);
    let begin = out.len();
    let mut aggregate = Aggregate::default();
    for placed in items {
        aggregate.add(&placed.item());
        write(&placed.item(), false, &mut out);
    }
    if out.len() > begin {
        out.drain(begin..begin + SEPARATOR.len());
    }
    write_end(&aggregate.finish(capture), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn entries(items: &[Placed]) -> Vec<Json> {
    let archive: Json = serde_json::from_str(&archive(items, clean_capture())).unwrap();
    archive["log"]["entries"].as_array().unwrap().clone()
}

fn entry(transaction: Transaction) -> Json {
    entries(&[placed(transaction, 2, 0)]).remove(0)
}

#[test]
fn an_archive_of_everything() {
    let all = archive(&everything(), capture());
    // The version of the program is not what is tested.
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    insta::assert_snapshot!(all.replace(&version, "\"version\":\"VERSION\""));
}

#[test]
fn an_archive_of_nothing_is_one() {
    let empty: Json = serde_json::from_str(&archive(&[], clean_capture())).unwrap();
    assert_eq!(empty["log"]["entries"], json!([]));
    assert_eq!(empty["log"]["_loss"]["none_known"], true);
    assert_eq!(empty["log"].get("comment"), None);
}

#[test]
fn what_is_missing_of_the_capture_is_said() {
    let whole: Json = serde_json::from_str(&archive(&everything(), capture())).unwrap();
    let comment = whole["log"]["comment"].as_str().unwrap();
    assert!(comment.contains("THE CAPTURE IS DAMAGED"), "{comment}");
    let totals = CaptureTotals { interrupted: true, ..clean_capture() };
    let whole: Json = serde_json::from_str(&archive(&[], totals)).unwrap();
    assert!(whole["log"]["comment"].as_str().unwrap().starts_with("interrupted"));
    assert_eq!(whole["log"]["_interrupted"], true);
}

#[test]
fn phases_add_up() {
    let found = entry(http1("GET", "/", 200, 1000, 1500));
    assert_eq!(found["timings"]["send"], 0.01);
    assert_eq!(found["timings"]["wait"], 1.49);
    assert_eq!(found["timings"]["receive"], 0.05);
    assert_eq!(found["time"], 1.55);
    for phase in ["blocked", "dns", "connect", "ssl"] {
        assert_eq!(found["timings"][phase], -1, "{phase}");
    }
    assert_eq!(found["_latency_ns"], 1_500_000);
}

#[test]
fn an_answer_before_the_request_has_ended_is_not_waited_for() {
    let mut early = http1("POST", "/", 413, 1000, 4);
    early.request.as_mut().unwrap().end = at(9000);
    let found = entry(early);
    let timings = &found["timings"];
    assert_eq!([&timings["send"], &timings["wait"]], [&json!(0.004), &json!(0)]);
    assert_eq!(timings["receive"], 0.05);
}

#[test]
fn what_was_not_seen_is_said_to_be_unknown() {
    let mut lonely = http1("GET", "/", 200, 0, 1);
    lonely.response = None;
    let found = entry(lonely);
    let response = &found["response"];
    assert_eq!((&response["status"], &response["bodySize"]), (&json!(0), &json!(-1)));
    assert_eq!(response["content"]["size"], -1);
    assert_eq!(response["comment"], "no response was seen: the status is unknown");
    assert_eq!([&found["timings"]["wait"], &found["timings"]["receive"]], [-1, -1]);
    let found = &entries(&everything())[9];
    let request = &found["request"];
    assert_eq!((&request["method"], &request["bodySize"]), (&json!(""), &json!(-1)));
    assert_eq!(request["url"], "http://10.0.0.2:80");
    let comment = request["comment"].as_str().unwrap();
    for part in ["no byte of the request", "no host", "no path"] {
        assert!(comment.contains(part), "{comment}");
    }
    assert_eq!((&found["time"], &found["_start"]), (&json!(-1), &Json::Null));
    let comment = found["comment"].as_str().unwrap();
    assert!(comment.contains("made up") && comment.contains("only one of"), "{comment}");
    assert_eq!(found["_outcome"], "unknown");
}

#[test]
fn the_size_of_coded_content_is_unknown() {
    let mut coded = http1("GET", "/", 200, 0, 1);
    coded.response.as_mut().unwrap().head.push(b"content-encoding", b"gzip");
    let found = entry(coded);
    assert_eq!(found["response"]["content"]["size"], -1);
    assert_eq!(found["response"]["bodySize"], 1234);
}

#[test]
fn addresses_lose_brackets_and_ports() {
    let found = entry(grpc("AddItem", Some(0), 0));
    assert_eq!(found["serverIPAddress"], "2001:db8::2");
    assert_eq!(found["_server"], "[2001:db8::2]:50051");
    assert_eq!(found["connection"], "2");
    assert_eq!(found["request"]["httpVersion"], "HTTP/2");
    assert_eq!(found["_grpc"]["status_name"], "OK");
    assert_eq!(found["response"]["_trailers"], json!([{"name": "grpc-status", "value": "0"}]));
}

/// The URL of a request, and what is said about it.
fn url(host: &[u8], path: &[u8]) -> String {
    let mut transaction = http1("GET", "/", 200, 0, 1);
    transaction.request = Some(request(b"GET", host, path, 0));
    entry(transaction)["request"]["url"].as_str().unwrap().to_owned()
}

#[test]
fn urls_are_uris_whatever_was_sent() {
    for (host, path, expected) in [
        (&b"a.example"[..], &b"/x?y=1"[..], "http://a.example/x?y=1"),
        (b"[::1]:8080", b"/", "http://[::1]:8080/"),
        (b"a", b"*", "http://a"),
        (b"a:443", b"a:443", "http://a:443"),
        (b"proxy", b"HTTPS://b.example:8/p q?", "https://b.example:8/p%20q?"),
        (b"proxy", b"http://b", "http://b"),
        (b"a", b"no-slash", "http://a/no-slash"),
        (b"a", b"/%41%zz#x", "http://a/%41%25zz%23x"),
        (b"good@evil/<b>", b"/", "http://good%40evil%2F%3Cb%3E/"),
        (b"a:b:c", b"/", "http://a%3Ab%3Ac/"),
        (b"h\xf6st", "/ö\"\\\u{1b}".as_bytes(), "http://h%F6st/%C3%B6%22%5C%1B"),
        (b"", b"/", "http://[2001:db8::2]:50051/"),
        (b"a", b"javascript://x", "http://a/javascript://x"),
    ] {
        assert_eq!(url(host, path), expected, "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn schemes_of_other_worlds_are_not_followed() {
    let mut odd = http1("GET", "/x", 200, 0, 1);
    let message = odd.request.as_mut().unwrap();
    message.scheme = Some(message.head.store(b"javascript"));
    let request = &entry(odd)["request"];
    assert_eq!(request["url"], "http://api.example.com/x");
    assert_eq!(request["_scheme"], "javascript");
    assert!(request["comment"].as_str().unwrap().contains("scheme"));
}

#[test]
fn queries_and_cookies_are_taken_apart() {
    let mut transaction = http1("GET", "/x?a=1&b&&c=%20=d?", 200, 0, 1);
    let head = &mut transaction.request.as_mut().unwrap().head;
    head.push(b"Cookie", b"a=1; b=\"2\";; c");
    head.push(b"cookie", b"d=e=f");
    let head = &mut transaction.response.as_mut().unwrap().head;
    head.push(b"set-cookie", b"id=x; Path=/; DOMAIN=.a.example; Secure; HttpOnly; Max-Age=1");
    let found = entry(transaction);
    let pair = |name: &str, value: &str| json!({"name": name, "value": value});
    let query = [pair("a", "1"), pair("b", ""), pair("c", "%20=d?")];
    assert_eq!(found["request"]["queryString"], json!(query));
    let cookies = [pair("a", "1"), pair("b", "\"2\""), pair("c", ""), pair("d", "e=f")];
    assert_eq!(found["request"]["cookies"], json!(cookies));
    let set = json!([
        {"name": "a", "value": "\"1\"", "httpOnly": false, "secure": false},
        {"name": "id", "value": "x", "path": "/", "domain": ".a.example", "httpOnly": true,
         "secure": true},
    ]);
    assert_eq!(found["response"]["cookies"], set);
}

#[test]
fn milliseconds_are_exact() {
    for (nanos, expected) in [
        (None, "-1"),
        (Some(0), "0"),
        (Some(1), "0.000001"),
        (Some(1_500_000), "1.5"),
        (Some(1_000_000), "1"),
        (Some(u64::MAX), "18446744073709.551615"),
    ] {
        let mut out = Vec::new();
        push_milliseconds(&mut out, nanos);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

proptest! {
    /// Whatever was sent, the URL holds what a URI may hold, and the archive is JSON.
    #[test]
    fn any_target_is_a_uri(
        host in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        path in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        cookie in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut transaction = http1("GET", "/", 200, 0, 1);
        let message = transaction.request.as_mut().unwrap();
        message.authority = host.map(|host| message.head.store(&host));
        message.path = path.as_ref().map(|path| message.head.store(path));
        message.head.push(b"cookie", &cookie);
        transaction.response.as_mut().unwrap().head.push(b"set-cookie", &cookie);
        let found = entry(transaction);
        let url = found["request"]["url"].as_str().unwrap();
        let marks = "-._~!$&'()*+,;=:@/?%[]";
        prop_assert!(url.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c)), "{url}");
        prop_assert!(url.starts_with("http://") || url.starts_with("https://"));
        for (at, _) in url.match_indices('%') {
            let digits = &url[at + 1..at + 3];
            prop_assert!(digits.chars().all(|c| c.is_ascii_hexdigit()), "{url}");
        }
    }
}
