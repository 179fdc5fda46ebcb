//! Names of ends instead of addresses: pods, workloads, Services and nodes as a recording
//! says them, in every format and for any number of threads.

mod common;

use common::recording::{Recording, Way};
use common::shop::{self, append, conversation, hostile};
use common::{analyze, in_memory, lines, options};
use perisco::analyze::filter::Filter;
use perisco::analyze::options::Options;
use perisco::analyze::report::{By, Format};
use proptest::prelude::*;
use serde_json::{Value, json};

fn run(capture: &[u8], options: &Options) -> String {
    let input = in_memory("shop", capture.to_vec());
    String::from_utf8(analyze(vec![input], options).bytes).expect("UTF-8")
}

fn written(capture: &[u8], format: Format) -> String {
    run(capture, &options(format, 2))
}

fn transactions(capture: &[u8]) -> Vec<Value> {
    lines(written(capture, Format::Jsonl).as_bytes())
}

fn report(capture: &[u8], options: Options) -> Value {
    serde_json::from_str(&run(capture, &options)).expect("JSON")
}

/// `UPDATE_EXPECT=1` writes the file anew.
#[test]
fn the_shop_in_testdata_is_the_one_that_is_made_here() {
    let file = common::testdata().join("recorded/shop/cap.pcapng");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return std::fs::write(file, shop::capture()).expect("written");
    }
    assert!(std::fs::read(file).expect("a file") == shop::capture(), "it is another");
}

#[test]
fn each_transaction_says_where_its_ends_run() {
    let all = transactions(&shop::capture());
    let of = |path: &str| &all.iter().find(|one| one["path"] == path).expect("one")["names"];
    assert_eq!(
        of("/cart/1"),
        &json!({
            "client": {
                "namespace": "shop", "workload": "shop/frontend", "kind": "Deployment",
                "pod": "shop/frontend-5c9d-abcde",
                "pod_uid": "0f7e0a64-0001-4b7c-9a51-000000000001", "container": "app",
                "service": null, "node": null, "address": null, "by": "cgroup",
                "labels": {"app": "frontend", "tier": "web"},
            },
            "server": {
                "namespace": "shop", "workload": "shop/checkout", "kind": "Deployment",
                "pod": "shop/checkout-7d9f-1",
                "pod_uid": "0f7e0a64-0001-4b7c-9a51-000000000002", "container": "server",
                "service": "shop/checkout", "node": null, "address": null, "by": "cgroup",
                "labels": {"app": "checkout"},
            },
        })
    );
    let remote = &of("/cart/4")["server"];
    assert_eq!(remote["pod"], "shop/checkout-7d9f-2");
    assert_eq!((&remote["address"], &remote["by"]), (&json!("10.1.1.7:8080"), &json!("sequence")));
    assert_eq!((&remote["labels"], &remote["pod_uid"]), (&json!(null), &json!(null)));
    let payments = &of("/bank.Payments/Pay")["server"];
    assert_eq!((&payments["kind"], &payments["by"]), (&json!("StatefulSet"), &json!("address")));
    // What nobody said is null, and never a guess.
    assert_eq!((&of("/")["client"], &of("/rates")["server"]), (&json!(null), &json!(null)));
    let node = &of("/healthz")["client"];
    assert_eq!((&node["node"], &node["workload"]), (&json!("worker-1"), &json!(null)));
    assert!(all.iter().all(|one| one["comment"].is_null()), "names are no remarks");
}

#[test]
fn people_see_names_and_not_addresses() {
    let text = written(&shop::capture(), Format::Text);
    for line in [
        "shop/frontend → shop/checkout (Service checkout) (http/1.1)",
        "shop/checkout → bank/payments (grpc)",
        "203.0.113.9 → shop/frontend (http/1.1)",
        "node worker-1 → shop/frontend (http/1.1)",
        "shop/frontend → 198.51.100.7:80 (http/1.1)",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(!text.contains("10.1.0."), "an address that has a name:\n{text}");
    let log = written(&shop::capture(), Format::Log);
    let line = "server=checkout[33] server.workload=shop/checkout server.pod=shop/checkout-7d9f-1 \
                server.service=shop/checkout server.by=cgroup\n";
    assert!(log.contains(line), "{log}");
    let csv = written(&shop::capture(), Format::Csv);
    let ends = "\"shop/frontend\",\"shop/frontend-5c9d-abcde\",,\"shop/checkout\",\
                \"shop/checkout-7d9f-2\",\"shop/checkout\",";
    assert_eq!(csv.lines().filter(|line| line.ends_with(ends)).count(), 2, "{csv}");
    let page = written(&shop::capture(), Format::Html);
    assert!(page.contains("<bdi class=\"p\">bank/payments</bdi>"), "{page}");
}

#[test]
fn filters_take_by_name() {
    let taken = |expression: &str| {
        let filter = Filter::new(Some(expression), None).unwrap_or_else(|error| panic!("{error}"));
        let options = Options { filter, ..options(Format::Json, 1) };
        let filter = &report(&shop::capture(), options)["filter"];
        ["taken", "left_out", "undecided"].map(|name| filter[name].as_u64().expect("a number"))
    };
    for (expression, expected) in [
        ("server.workload == \"shop/checkout\"", [5, 5, 1]),
        ("server.pod == \"shop/checkout-7d9f-2\"", [2, 8, 1]),
        ("client.namespace != server.namespace", [2, 5, 4]),
        ("server.service == \"shop/checkout\" && server.by == \"sequence\"", [2, 8, 1]),
        ("client.node == \"worker-1\"", [1, 0, 10]),
        ("client.label(\"tier\") == \"web\"", [6, 2, 3]),
        ("client.label(\"none\") == \"\"", [8, 0, 3]),
        ("server.kind == \"StatefulSet\" && server.container == null", [2, 8, 1]),
        ("server.address.startsWith(\"10.1.1.7\")", [2, 0, 9]),
        ("client.pod == null", [3, 8, 0]),
    ] {
        assert_eq!(taken(expression), expected, "{expression}");
    }
    let error = Filter::new(Some("client.pdo == \"a\""), None).expect_err("no such field");
    assert!(error.to_string().contains("client.pod"), "{error}");
    let error = Filter::new(Some("client.label(path) == \"a\""), None).expect_err("no name");
    assert!(error.to_string().contains("written out"), "{error}");
}

#[test]
fn tables_are_by_name() {
    let rows = |by: By| {
        let report = report(&shop::capture(), Options { by, ..options(Format::Json, 1) });
        let rows = report["groups"]["rows"].as_array().expect("rows").clone();
        let row = |row: &Value| (row["name"].as_str().map(str::to_owned), row["count"].as_u64());
        rows.iter().map(row).collect::<Vec<_>>()
    };
    let has = |by: By, name: Option<&str>, count: u64| {
        let rows = rows(by);
        let row = (name.map(str::to_owned), Some(count));
        assert!(rows.contains(&row), "{row:?} is not in {rows:?}");
    };
    has(By::Workload, Some("shop/frontend → shop/checkout"), 5);
    has(By::Workload, Some("203.0.113.9 → shop/frontend"), 2);
    has(By::Pod, Some("shop/frontend-5c9d-abcde → shop/checkout-7d9f-2"), 2);
    has(By::Pod, Some("shop/checkout-7d9f-1 → bank/payments-0"), 2);
    has(By::Namespace, Some("shop → bank"), 2);
    has(By::Namespace, Some("? → shop"), 3);
    has(By::Service, Some("shop/checkout"), 5);
    has(By::Service, None, 6);
}

/// Two requests on a connection whose server says its names only with a second interface of
/// its container, which another connection is the first to use.
#[test]
fn names_of_a_container_that_are_learnt_late_hold_for_what_is_not_reported_yet() {
    const EARLY: [&str; 2] = ["cart/cart[5]", "pid=5 comm=cart container=cccc "];
    const LATE: [&str; 2] = [
        "shop/cart-1/cart[6]",
        "pid=6 comm=cart container=cccc pod=shop/cart-1 workload=Deployment/cart ",
    ];
    let first = conversation("10.0.0.1:40000", 0, 3);
    // After the second request of the first, and before its answer.
    let second = conversation("10.0.0.1:40001", 2_100_000, 1);
    let mut recording = Recording::new();
    recording.interface(EARLY[0], EARLY[1]).interface(LATE[0], LATE[1]);
    let says = [format!("server={}", EARLY[0]), format!("server={}", LATE[0])];
    append(&mut recording, &[(&first, 0, &says[..1]), (&second, 1, &says[1..])]);
    let all = transactions(&recording.bytes);
    let of = |client: &str| {
        let all = all.iter().filter(|one| one["client"] == client);
        all.map(|one| one["names"]["server"]["workload"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("10.0.0.1:40000"), [json!(null), json!("shop/cart"), json!("shop/cart")]);
    assert_eq!(of("10.0.0.1:40001"), [json!("shop/cart")]);
    the_same_for_any_number_of_threads(&recording.bytes);
}

#[test]
fn names_that_a_later_packet_says_hold_for_what_is_not_reported_yet() {
    let conversation = conversation("10.0.0.1:40000", 0, 3);
    let packets = shop::packets(&conversation);
    for said in 0..packets.len() {
        let mut recording = Recording::new();
        recording.interface(shop::FRONTEND[0], shop::FRONTEND[1]);
        let owner = format!("client={}", shop::FRONTEND[0]);
        for (index, (packet, way)) in packets.iter().enumerate() {
            let mut comments = Vec::new();
            if index == 0 {
                comments.push(owner.as_str());
            }
            if index == said {
                comments.extend(["server.pod=shop/cart-1", "server.by=address"]);
            }
            let way = if *way == 0 { Way::Outbound } else { Way::Inbound };
            recording.packet(0, packet, way, &comments);
        }
        let pods = transactions(&recording.bytes);
        let pods: Vec<_> = pods.iter().map(|one| one["names"]["server"]["pod"].clone()).collect();
        // The answers are in the fifth, seventh and ninth packet.
        let early = [4, 6, 8].iter().filter(|answer| **answer < said).count();
        let expected: Vec<_> =
            (0..3).map(|n| if n < early { json!(null) } else { json!("shop/cart-1") }).collect();
        assert_eq!(pods, expected, "said with packet {said}");
    }
}

#[test]
fn a_process_knows_its_own_pod_best() {
    let conversation = conversation("10.0.0.1:40000", 0, 1);
    let mut recording = Recording::new();
    recording.interface(shop::FRONTEND[0], shop::FRONTEND[1]);
    let says = [
        format!("client={}", shop::FRONTEND[0]),
        "client.pod=old/one".to_owned(),
        "client.workload=old/Deployment/one".to_owned(),
        "client.by=address".to_owned(),
        // Of a later version: neither a name nor a remark.
        "server.by=magic".to_owned(),
        "server.pod=a/b".to_owned(),
        "server.mood=good".to_owned(),
        // As it was before there were names.
        "client.pod=0f7e0a64-0001".to_owned(),
    ];
    append(&mut recording, &[(&conversation, 0, &says)]);
    let all = transactions(&recording.bytes);
    let client = &all[0]["names"]["client"];
    assert_eq!((&client["workload"], &client["by"]), (&json!("shop/frontend"), &json!("cgroup")));
    assert_eq!(client["pod"], "shop/frontend-5c9d-abcde");
    assert_eq!(all[0]["names"]["server"]["by"], json!(null));
    assert_eq!(all[0]["comment"], "server.mood=good\nclient.pod=0f7e0a64-0001");
}

#[test]
fn what_others_say_of_pods_is_a_comment() {
    let conversation = conversation("10.0.0.1:40000", 0, 1);
    let mut foreign = Recording::by("Dumpcap (Wireshark) 4.0.17");
    foreign.interface(shop::FRONTEND[0], shop::FRONTEND[1]);
    append(&mut foreign, &[(&conversation, 0, &["server.pod=shop/cart".to_owned()])]);
    let all = transactions(&foreign.bytes);
    assert_eq!(
        (&all[0]["names"], &all[0]["comment"]),
        (&json!(null), &json!("server.pod=shop/cart"))
    );
    let report = report(&foreign.bytes, options(Format::Json, 1));
    assert_eq!(report["workloads"], json!([]));
}

fn the_same_for_any_number_of_threads(capture: &[u8]) {
    for format in Format::ALL {
        let run = |threads| run(capture, &options(format, threads));
        let one = run(1);
        for threads in [2, 3, 4, 8] {
            let many = run(threads);
            let same = one == many;
            assert!(same, "{format:?}, {threads}: {}", common::difference(&one, &many));
        }
    }
}

/// A connection seen on two nodes, each of which names its own end and knows something of
/// the other.
#[test]
fn both_nodes_name_the_ends_of_what_they_have_seen_together() {
    let conversation = conversation("10.0.0.1:40000", 0, 2);
    let file = |node: &str, process: [&str; 2], says: &[&str], side: usize| {
        let mut recording = Recording::of_node(node, &format!("boot-of-{node}"));
        recording.interface(process[0], process[1]);
        for (index, (packet, way)) in shop::packets(&conversation).into_iter().enumerate() {
            let way = if way == side { Way::Outbound } else { Way::Inbound };
            recording.packet(0, &packet, way, if index == 0 { says } else { &[] });
        }
        recording.bytes
    };
    let client = [
        &format!("client={}", shop::FRONTEND[0]),
        "server.service=shop/checkout",
        "server.by=address",
    ];
    let server = [
        &format!("server={}", shop::CHECKOUT[0]),
        "client.pod=shop/frontend-5c9d-abcde",
        "client.by=address",
    ];
    let inputs = vec![
        in_memory("a", file("worker-1", shop::FRONTEND, &client, 0)),
        in_memory("b", file("worker-2", shop::CHECKOUT, &server, 1)),
    ];
    let bytes = analyze(inputs, &options(Format::Jsonl, 2)).bytes;
    let all = lines(&bytes);
    assert_eq!(all.len(), 2, "{all:?}");
    for one in &all {
        assert!(one["joined"].is_object(), "{one}");
        let [client, server] = ["client", "server"].map(|end| &one["names"][end]);
        let is = |end: &Value| ["workload", "node", "by"].map(|name| end[name].clone());
        assert_eq!(is(client), [json!("shop/frontend"), json!("worker-1"), json!("cgroup")]);
        assert_eq!(is(server), [json!("shop/checkout"), json!("worker-2"), json!("cgroup")]);
        assert_eq!(server["service"], "shop/checkout");
        assert_eq!(one["process"]["server"]["comm"], "checkout");
    }
}

/// Connections in all shards, and names that come while they are open: of the container of
/// all servers, and in comments.
#[test]
fn late_names_are_the_same_for_any_number_of_threads() {
    const EARLY: [&str; 2] = ["cart/cart[5]", "pid=5 comm=cart container=cccc "];
    let conversations: Vec<_> = (0..200u16)
        .map(|index| {
            let client = format!("10.0.{}.{}:{}", index % 7, index % 50 + 1, 40_000 + index);
            conversation(&client, i64::from(index) * 70_000, 40)
        })
        .collect();
    let mut all: Vec<_> = conversations
        .iter()
        .enumerate()
        .flat_map(|(of, conversation)| {
            let packets = shop::packets(conversation).into_iter().enumerate();
            packets.map(move |(index, (packet, way))| (packet, way, of, index))
        })
        .collect();
    all.sort_by_key(|(packet, _, of, _)| (packet.at, *of));
    assert!(all.len() > 10 * 1024, "too few rounds");
    let mut recording = Recording::new();
    recording.interface(EARLY[0], EARLY[1]);
    let mut news = 0;
    for (number, (packet, way, of, index)) in all.iter().enumerate() {
        let mut says = Vec::new();
        if *index == 0 {
            says.push("server=cart/cart[5]".to_owned());
        }
        if *index == of % 60 {
            says.push(format!("client.pod=shop/client-{of}"));
            says.push("client.by=address".to_owned());
        }
        let mut interface = 0;
        if number % 3_001 == 3_000 {
            news += 1;
            let names = format!("pid=5 comm=cart container=cccc pod=shop/cart labels=n={news} ");
            recording.interface(&format!("shop/cart/cart[{news}]"), &names);
            interface = news;
        }
        let way = if *way == 1 { Way::Outbound } else { Way::Inbound };
        let says: Vec<_> = says.iter().map(String::as_str).collect();
        recording.packet(interface, packet, way, &says);
    }
    assert!(news > 3);
    let all = transactions(&recording.bytes);
    let labels: std::collections::BTreeSet<_> =
        all.iter().map(|one| one["names"]["server"]["labels"].to_string()).collect();
    assert_eq!(labels.len(), news as usize + 1, "{labels:?}");
    the_same_for_any_number_of_threads(&recording.bytes);
    // However the packets come: a pipe gives a few at a time.
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let reader = Box::new(Trickle(std::io::Cursor::new(recording.bytes.clone())));
    let input = perisco::pcap::Input::Reader { name: "shop".to_owned(), reader };
    let bytes = analyze(vec![input], &options(Format::Jsonl, 2)).bytes;
    let piped = sorted(String::from_utf8(bytes).expect("UTF-8"));
    assert!(piped == sorted(written(&recording.bytes, Format::Jsonl)), "a pipe differs");
}

/// Gives some bytes at a time.
struct Trickle(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let some = buffer.len().min(5_003);
        self.0.read(&mut buffer[..some])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn hostile_names_stay_within_their_places(names in prop::collection::vec(hostile(), 8)) {
        let [namespace, name, kind, node, label, value, service, container] = &names[..] else {
            unreachable!("eight names")
        };
        let pod = format!("{namespace}/{name}");
        let description = format!(
            "pid=1 comm={name} container=abc pod={pod} workload={kind}/{name} labels={label}={value} \
             container_name={container} pod_uid={node} "
        );
        let says = [
            "client=x".to_owned(),
            format!("server.pod={pod}"),
            format!("server.workload={namespace}/{kind}/{name}"),
            format!("server.service={service}/{service}"),
            format!("server.node={node}"),
            format!("server.by={value}"),
            format!("server.address={value}"),
        ];
        let mut recording = Recording::new();
        recording.interface("x", &description);
        let conversation = conversation("10.0.0.1:40000", 0, 2);
        append(&mut recording, &[(&conversation, 0, &says)]);
        for format in Format::ALL {
            let text = written(&recording.bytes, format);
            let text = text.replace(['\n', '\r'], "");
            prop_assert!(!text.chars().any(char::is_control), "{format:?}: {text:?}");
        }
        prop_assert_eq!(transactions(&recording.bytes).len(), 2);
        let report: Value = serde_json::from_str(&written(&recording.bytes, Format::Json)).unwrap();
        prop_assert!(report["edges"].is_array());
        let map = written(&recording.bytes, Format::Dot);
        prop_assert_eq!(quotes(&map) % 2, 0, "{}", map);
    }
}

/// Quotes that no backslash stands before.
fn quotes(map: &str) -> usize {
    let mut escaped = false;
    let mut count = 0;
    for c in map.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => count += 1,
            _ => {}
        }
    }
    count
}

#[test]
fn the_shop_has_calls() {
    let all = transactions(&shop::capture());
    let calls: Vec<_> = all.iter().filter(|one| one["protocol"] == "grpc").collect();
    let statuses: Vec<_> = calls.iter().map(|one| one["grpc"]["status"].clone()).collect();
    assert_eq!(statuses, [json!(0), json!(14)]);
    assert!(all.iter().all(|one| one["completeness"] == "complete"), "{all:?}");
}
