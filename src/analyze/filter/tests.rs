use proptest::prelude::*;

use super::*;
use crate::analyze::report::fixture::{EPOCH, Placed, at, everything, http1, placed};

fn filter(expression: &str) -> Filter {
    Filter::new(Some(expression), None).unwrap_or_else(|problem| panic!("{problem}"))
}

fn problem(expression: &str) -> String {
    match Filter::new(Some(expression), None) {
        Ok(_) => panic!("{expression} is taken for right"),
        Err(problem) => problem.to_string(),
    }
}

/// The places in [`everything`] of what is taken, and of what is undecided.
fn decided(filter: &Filter, all: &[Placed]) -> (Vec<usize>, Vec<usize>) {
    let of = |wanted: Decision| {
        let decides = |(_, placed): &(usize, &Placed)| filter.decide(&placed.item()) == wanted;
        all.iter().enumerate().filter(decides).map(|(index, _)| index).collect()
    };
    (of(Decision::Take), of(Decision::Undecided))
}

/// Of the transactions of [`everything`] 4 to 7 are gRPC calls, 6 has no status,
/// 8 has hostile bytes, 9 is a response (302) without request and times, so that
/// nobody knows whether it is one of a call, and 3 took over a second.
const CASES: &[(&str, &[usize], &[usize])] = &[
    ("true", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &[]),
    ("status >= 500", &[3], &[]),
    ("status >= 500 || latency > duration(\"1s\")", &[3], &[9]),
    ("status == 302 || latency > duration(\"1s\")", &[3, 9], &[]),
    ("latency_ns > 1000 * 1000 * 1000", &[3], &[9]),
    ("!(latency_ns > 1000000000)", &[0, 1, 2, 4, 5, 6, 7, 8, 10, 11], &[9]),
    ("latency_ns == null", &[9], &[]),
    ("latency_ns != null && status == 404", &[2], &[]),
    ("has(latency_ns) && status == 404", &[2], &[]),
    ("(latency > duration(\"1s\")) == null", &[9], &[]),
    ("path.startsWith(\"/users\")", &[0, 1, 2], &[9]),
    ("path.startsWith(\"/users\") && status != 404", &[0, 1], &[9]),
    ("path.startsWith(\"/users\") && status != 302", &[0, 1, 2], &[]),
    ("path == \"/users/7\"", &[1], &[9]),
    ("path != \"/users/7\" && status < 300", &[0, 4, 5, 6, 7, 8, 10, 11], &[]),
    ("path.contains(\"orders\") ? status == 503 : false", &[3], &[9]),
    ("path.endsWith(\".js\")", &[10], &[9]),
    ("path.matches(\"^/users/[0-9]$\")", &[1, 2], &[9]),
    ("matches(method, \"^P\")", &[3, 4, 5, 6, 7], &[9]),
    ("path.size() > 100 && size(path) < 200", &[8], &[9]),
    ("authority == \"H\u{f6}st\\x00\"", &[8], &[9]),
    ("method in [\"POST\", \"PUT\"]", &[3, 4, 5, 6, 7], &[9]),
    ("status in [302, 404, 5]", &[2, 9], &[]),
    ("grpc != null && grpc.status != 0", &[5, 7], &[6, 9]),
    ("grpc.status == 14", &[5], &[6, 9]),
    ("!(grpc.status == 14)", &[4, 7], &[6, 9]),
    ("grpc.status == null", &[6], &[9]),
    ("grpc == null", &[0, 1, 2, 3, 8, 10, 11], &[9]),
    ("grpc.status_name == \"UNAVAILABLE\"", &[5], &[9]),
    ("grpc.status_name == \"unknown\"", &[6], &[9]),
    ("grpc.status_name != \"OK\"", &[5, 6, 7], &[9]),
    ("grpc.message.contains(\"bad\")", &[5, 7], &[6, 9]),
    ("grpc.method == \"Watch\" || grpc.service.startsWith(\"shop\")", &[4, 5, 6, 7], &[9]),
    ("grpc.timeout == duration(\"1500ms\") && grpc.kind == \"unary\"", &[4, 5, 7], &[6, 9]),
    ("grpc.request_messages + grpc.response_messages == 2", &[4], &[9]),
    ("outcome == \"ok\" && completeness != \"complete\"", &[10], &[]),
    ("outcome != \"ok\" && outcome != \"unknown\"", &[2, 3, 5, 7, 11], &[]),
    ("anomalies.exists(a, a == \"body_gap\")", &[10], &[]),
    ("anomalies.size() > 0", &[8, 10], &[]),
    ("\"body_gap\" in anomalies", &[10], &[]),
    ("anomalies.exists_one(a, a.contains(\"head\"))", &[8], &[]),
    ("anomalies.filter(a, a.contains(\"gap\")).size() == 1", &[10], &[]),
    ("anomalies.map(a, a.size()) == [8]", &[10], &[]),
    ("!anomalies.all(a, a == \"body_gap\")", &[8], &[]),
    ("request.header(\"user-agent\").contains(\"curl\") && status == 404", &[2], &[]),
    ("request.header(\"User-Agent\") == \"curl/7.88.1\" && status == 404", &[2], &[]),
    ("response.header(\"content-type\") == \"application/json\" && status > 400", &[2, 3], &[]),
    // A field that is not there is known not to be, unless HPACK hides names.
    ("request.header(\"accept\") == \"\" && status == 200 && grpc == null", &[0, 1, 10, 11], &[8]),
    ("request.header(\"accept\") == null && status == 200", &[8], &[]),
    ("response.headers(\"set-cookie\").exists(c, c.contains(\"a=\")) && status == 404", &[2], &[]),
    ("request_headers.exists(h, h[0] == \"X-Bad\")", &[8], &[9]),
    ("request_headers.exists(h, h[1] == \"nothing\")", &[], &[8, 9]),
    ("response.trailer(\"grpc-status\") == \"14\"", &[5], &[9, 11]),
    ("attributes[\"websocket.client.text.frames\"] > 2", &[10], &[]),
    ("attributes[\"http2.reset.code\"] == \"CANCEL\"", &[10], &[]),
    ("attributes[\"http2.reset.code\"] > 2", &[], &[]),
    ("process.client.comm.startsWith(\"cu\") && grpc.status == 0", &[4], &[6, 9]),
    ("process.server.comm == \"nginx\" && status == 503", &[3], &[]),
    ("process.client.uid == 1000 && process.client.pid == 812 && grpc.status == 0", &[4], &[6, 9]),
    ("container.server.size() == 64 && status == 503", &[3], &[]),
    ("process.server == null && grpc.status == 0", &[4], &[6, 9]),
    // Of what is no call nobody knows the process, but it is not taken anyway.
    ("process.server.pid == 1 && grpc.status == 0", &[], &[4, 6, 9]),
    ("!(process.server.pid == 1 && grpc.status == 0)", &[5, 7], &[0, 1, 2, 3, 4, 6, 8, 9, 10, 11]),
    ("process.server.pid == 1 || grpc.status == 0", &[4], &[0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]),
    ("!(process.server.pid == 1 || grpc.status == 0)", &[], &[5, 6, 7, 9]),
    ("client.startsWith(\"10.0.0.7:\")", &[8, 9, 10, 11], &[]),
    ("server == \"[2001:db8::2]:50051\"", &[4, 5, 6, 7], &[]),
    ("connection == 3 && stream == null", &[8, 9, 10, 11], &[]),
    ("stream == 3", &[4, 5, 6, 7], &[]),
    ("scheme == \"http\"", &[4, 5, 6, 7], &[9]),
    ("interface == \"eth0\" && status == 200", &[0, 1], &[4, 5, 6, 7, 8, 10, 11]),
    ("start > timestamp(\"2023-11-14T22:13:20.030Z\")", &[11], &[9]),
    ("start - timestamp(\"2023-11-14T22:13:20Z\") < duration(\"2ms\")", &[0], &[9]),
    ("response_end - start == duration && status == 503", &[3], &[]),
    ("response_start + duration(\"50us\") == response_end && status == 404", &[2], &[]),
    ("response_body_bytes == 1234 && protocol == \"http/1.1\" && status > 499", &[3], &[]),
    ("request_body_bytes / 0 == 1 && grpc.status == 0", &[], &[4, 6, 9]),
    ("double(status) / 2.0 > 251.0 && int(\"5\") == 5", &[3], &[]),
    ("string(status).startsWith(\"40\") && -status < 0", &[2], &[]),
    ("method.lowerAscii() == \"post\" && grpc == null", &[3], &[9]),
    ("status % 100 == 4 && 1.5 < status", &[2], &[]),
    ("double(\"NaN\") != status && !(double(\"NaN\") < status) && status == 404", &[2], &[]),
    ("9007199254740993 > 9007199254740992.0 && status == 404", &[2], &[]),
];

#[test]
fn an_expression_takes_what_it_says_and_nothing_that_is_unknown() {
    let all = everything();
    let mut wrong = Vec::new();
    for (expression, taken, undecided) in CASES {
        let found = decided(&filter(expression), &all);
        if (found.0.as_slice(), found.1.as_slice()) != (*taken, *undecided) {
            wrong.push(format!("{expression}: {found:?} for {taken:?}, {undecided:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is asked about fields of the first, whose head was cut after two, of
/// the second, without a request, and of the third, which is whole.
#[test]
fn fields_that_may_be_missing_decide_nothing() {
    let mut cut = http1("GET", "/", 200, 1000, 50);
    cut.request.iter_mut().for_each(|request| request.head.mark_cut());
    let mut alone = http1("GET", "/", 200, 1000, 50);
    alone.request = None;
    let all = [cut, alone, http1("GET", "/", 200, 1000, 50)].map(|t| placed(t, 1, 0));
    let mut wrong = Vec::new();
    for (expression, taken, undecided) in [
        ("request.header(\"user-agent\") == \"curl/7.88.1\"", vec![0, 2], vec![1]),
        ("request.header(\"x\") == \"\"", vec![2], vec![0, 1]),
        ("!request_headers.exists(h, h[0] == \"x\")", vec![2], vec![0, 1]),
        ("request_headers.exists(h, h[0] == \"Host\")", vec![0, 2], vec![1]),
        ("request_headers.exists(h, true)", vec![0, 2], vec![1]),
        ("request_headers.all(h, h[0] != \"x\")", vec![2], vec![0, 1]),
        ("request_headers.exists_one(h, h[0] == \"Host\")", vec![2], vec![0, 1]),
        ("request_headers.size() == 2", vec![2], vec![0, 1]),
        ("request_headers.filter(h, true).size() == 2", vec![2], vec![0, 1]),
        ("request_headers.map(h, true) == [true, true]", vec![2], vec![0, 1]),
        ("request.headers(\"user-agent\").size() == 1", vec![2], vec![0, 1]),
        ("request.headers(\"x\") == []", vec![2], vec![0, 1]),
        ("request.headers(\"host\") != [\"a\"]", vec![2], vec![0, 1]),
        ("!(\"x\" in request.headers(\"x\"))", vec![2], vec![0, 1]),
        ("\"curl/7.88.1\" in request.headers(\"user-agent\")", vec![0, 2], vec![1]),
        ("request_headers[2] == [\"x\"] || status == 500", vec![], vec![0, 1, 2]),
        ("scheme == \"https\"", vec![], vec![0, 1]),
        ("response_headers.size() == 2", vec![0, 1, 2], vec![]),
    ] {
        let found = decided(&filter(expression), &all);
        if found != (taken.clone(), undecided.clone()) {
            wrong.push(format!("{expression}: {found:?} for {taken:?}, {undecided:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_slip_is_told_with_its_place_and_the_nearest_name() {
    let mut wrong = String::new();
    for (expression, told) in [
        (
            "status >= 500 && grpc.stats_name == \"x\"",
            "there is no field grpc.stats_name; did you mean grpc.status_name?\n  \
             status >= 500 && grpc.stats_name == \"x\"\n                   ^^^^^^^^^^^^^^^",
        ),
        (
            "latancy > duration(\"1s\")",
            "there is no field latancy; did you mean latency?\n  \
             latancy > duration(\"1s\")\n  ^^^^^^^",
        ),
        (
            "latency > 5",
            "a duration cannot be compared with a number like this; write duration(\"1s\"), or \
             use the field of nanoseconds, as latency_ns\n  latency > 5\n          ^",
        ),
        (
            "latency > 100ms",
            "a number has no unit; write duration(\"100ms\")\n  \
             latency > 100ms\n            ^^^^^",
        ),
        (
            "status >= 500 || latency > 1.5s && path == \"/\"",
            "a number has no unit; write duration(\"1.5s\")\n  \
             status >= 500 || latency > 1.5s && path == \"/\"\n                             ^^^^",
        ),
        (
            "start > \"2026-11-22\"",
            "a time cannot be compared with text like this; write \
             timestamp(\"2026-11-22T15:17:26Z\")\n  start > \"2026-11-22\"\n        ^",
        ),
        (
            "path.startWith(\"/\")",
            "there is no function startWith here; did you mean startsWith?\n  \
             path.startWith(\"/\")\n       ^^^^^^^^^",
        ),
        (
            "latency > duration(\"1 second\")",
            "this cannot be worked out; a duration is written \"1h30m\" or \"1.5s\"\n  \
             latency > duration(\"1 second\")\n            ^^^^^^^^",
        ),
        ("status =! 5", "this is no part of CEL\n  status =! 5\n         ^^"),
        ("status >=", "the expression ends too early\n  status >=\n           ^"),
        (
            "status ==\n  staus",
            "there is no field staus; did you mean status?\n    staus\n    ^^^^^",
        ),
        ("path == 'x", "this text has no end\n  path == 'x\n          ^^"),
        (
            "path == \"日本\" && x",
            "there is no field x; docs/filter.md lists them; names are those of jsonl\n  \
             path == \"日本\" && x\n                    ^",
        ),
        ("path", "a filter has to be true or false, and this is text\n  path\n  ^^^^"),
        (
            "path.matches(\"(\")",
            "this is no regular expression: unclosed group\n  path.matches(\"(\")\n               ^^^",
        ),
        ("\x1b[31m", "this is no part of CEL\n   [31m\n  ^"),
    ] {
        let found = problem(expression);
        if found != told {
            wrong += &format!("{found}\n-- for --\n{told}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_not_supported_is_refused() {
    for expression in [
        "",
        "   ",
        "1",
        "status",
        "{1: true}[1]",
        "a{b: 1} == 2",
        "b\"x\" == path",
        "path.?x == 1",
        "status[?1] == 1",
        "[?status] == [1]",
        "status == \"500\"",
        "status && true",
        "!status",
        "path < 5",
        "path - path == path",
        "grpc == grpc",
        "grpc < 5",
        "null == 5 && nul",
        "status in 500",
        "status in [\"a\"]",
        "status in [null]",
        "[1, \"a\"] == [1]",
        "[[1]] == [[1]]",
        "anomalies.exists(a)",
        "anomalies.exists(a.b, true)",
        "anomalies.exists(a, a)",
        "status.exists(a, true)",
        "a == \"x\" && anomalies.exists(a, true)",
        "true ? 1 : \"x\"",
        "request == null",
        "request.method == \"GET\"",
        "request.header(path) == \"x\"",
        "request.header() == \"x\"",
        "attributes == null",
        "path.matches(method)",
        "contains(path, \"x\")",
        "path.duration()",
        "duration(5) == latency",
        "timestamp(\"yesterday\") < start",
        "1 / 0 == 1",
        "int(\"x\") == 1",
        "[1][5] == 1",
        "type(status) == int",
        "dyn(status) == 5",
        "status.foo == 5",
        "99999999999999999999 == status",
        "path.size(1) == 1",
        "`status` == 5",
        "@in == 5",
    ] {
        assert!(problem(expression).contains('\n'), "{expression}");
    }
}

#[test]
fn hostile_expressions_are_refused_or_cheap() {
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for expression in [
        nested("(", "true", ")", 2000),
        nested("!(", "true", ")", 1300),
        nested("[", "1", "]", 2000),
        nested("request.header(", "1", ")", 200),
        "(".repeat(4000),
        "status".to_owned() + &" + status".repeat(400) + " > 0",
        "status".to_owned() + &".a".repeat(2000),
        "path.matches(\"".to_owned() + &"(a{1,100}){1,100}".repeat(10) + "\")",
        "path.matches(\"a\") && ".repeat(17) + "true",
        "\u{0}\u{1}@#$%^".repeat(500),
        "true && ".repeat(600) + "true",
    ] {
        assert!(!problem(&expression).is_empty());
    }
    let all = everything();
    // Loops in loops end: what they come to is not known then.
    let list = "[1,2,3,4,5,6,7,8,9,10]";
    let loops = "abcdefgh"
        .chars()
        .fold("false".to_owned(), |body, name| format!("{list}.exists({name}, {body})"));
    let many = format!("status == 404 || {loops}");
    assert_eq!(decided(&filter(&many), &all), (vec![2], vec![0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
    let copies = "request_headers.map(a, request_headers.map(b, request_headers.map(c, 1).size())\
                  .size()).size() > 1 && status == 404";
    assert_eq!(decided(&filter(copies), &all).0, [2]);
    let true_often = "true || ".repeat(100) + "false";
    assert_eq!(decided(&filter(&true_often), &all).0.len(), all.len());
}

#[test]
fn text_that_grows_is_bounded() {
    let mut all = everything();
    let long = "a".repeat(1 << 20);
    all.push(placed(http1("GET", &long, 200, 0, 1), 1, 9));
    let sum = "path".to_owned() + &" + path".repeat(100) + " != \"\"";
    let (taken, undecided) = decided(&filter(&sum), &all);
    assert!(taken.contains(&0) && undecided.contains(&12), "{taken:?} {undecided:?}");
    // Once it is looked at with ease.
    assert!(decided(&filter("path.endsWith(\"aaa\")"), &all).0.contains(&12));
}

fn window(since: Option<&str>, until: Option<&str>, end: Option<Timestamp>) -> Filter {
    let bound = |text: Option<&str>| text.map(|text| text.parse().expect("a bound"));
    let filter = Filter::new(None, Some(Window::new(bound(since), bound(until), end)));
    let filter = filter.expect("no expression");
    filter.begin(|| at(1000));
    filter
}

#[test]
fn a_window_takes_what_begins_within_it() {
    // They begin 1, 5, 9, 20, 2, 4, 6, 8, 12, ?, 30 and 40 ms after the epoch.
    let all = everything();
    let end = at(40_000);
    for (since, until, taken) in [
        (Some("+0s"), None, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]),
        (Some("+4ms"), Some("+11ms"), vec![1, 2, 6, 7, 8]),
        (Some("-20ms"), None, vec![3, 10, 11]),
        (None, Some("-35ms"), vec![0, 1, 4, 5]),
        (Some("2023-11-14T22:13:20.03Z"), None, vec![10, 11]),
        (Some("2023-11-14 23:13:20.030+01:00"), Some("22:13:20.039"), vec![10]),
        (Some("22:13:20.03"), None, vec![10, 11]),
        (Some("22:14"), None, vec![]),
        (Some("+10ms"), Some("+1ms"), vec![]),
    ] {
        let found = decided(&window(since, until, end), &all);
        assert_eq!(found, (taken, vec![9]), "{since:?} {until:?}");
    }
}

#[test]
fn a_bound_that_cannot_be_told_decides_nothing() {
    let all = everything();
    let (taken, undecided) = decided(&window(Some("-20ms"), None, None), &all);
    assert_eq!((taken.len(), undecided.len()), (0, all.len()));
    let never = Window::new(Some("+1s".parse().expect("a bound")), None, None);
    never.begin(|| None);
    assert_eq!(never.decide(at(0)), Decision::Undecided);
    for text in ["", "5", "+5", "-", "now", "25:00", "15:17:26:3", "+1d", "2026-11-22"] {
        assert!(text.parse::<Bound>().is_err(), "{text}");
    }
}

#[test]
fn a_window_and_an_expression_both_have_to_agree() {
    let window = Window::new(Some("+7ms".parse().expect("a bound")), None, None);
    let both = Filter::new(Some("latency < duration(\"1s\")"), Some(window)).expect("a filter");
    both.begin(|| at(1000));
    assert_eq!(decided(&both, &everything()), (vec![2, 7, 8, 10, 11], vec![9]));
    assert_eq!(at(1000).map(Timestamp::nanos), Some(EPOCH + 1_000_000));
}

proptest! {
    #[test]
    fn any_text_is_checked_without_harm(text in "[a-z0-9 .()\\[\\]!<>=&|?:\"'+*/%-]{0,80}|.{0,40}") {
        if let Ok(filter) = Filter::new(Some(&text), None) {
            for placed in everything() {
                filter.decide(&placed.item());
            }
        }
    }
}
