use proptest::prelude::*;

use super::super::fixture::*;
use super::super::model::Report;
use super::*;

fn json(report: &Report) -> String {
    serde_json::to_string(report).unwrap()
}

fn whole(items: &[Placed], flows: &[FlowTotals]) -> Report {
    let mut aggregate = Aggregate::default();
    items.iter().for_each(|placed| aggregate.add(&placed.item()));
    flows.iter().for_each(|flow| aggregate.add_flow(flow));
    aggregate.finish(capture())
}

#[test]
fn counts_what_a_user_would_count() {
    let report = whole(&everything(), &flows());
    let all = &report.transactions.figures;
    assert_eq!((all.count, all.errors, all.unknown), (12, 5, 2));
    assert_eq!(all.rate_per_second, Some(6.0));
    let users = report.endpoints.iter().find(|e| e.path.as_deref() == Some("/users/{n}")).unwrap();
    assert_eq!((users.figures.count, users.figures.errors), (3, 1));
    assert_eq!(users.figures.latency.unwrap().p50_ns, 1_500_000);
    let cart = &report.endpoints[1];
    assert_eq!(cart.service.as_deref(), Some("shop.v1.Cart"));
    assert_eq!((cart.figures.count, cart.figures.errors, cart.figures.unknown), (3, 1, 1));
    let names: Vec<_> = report.errors.iter().map(|e| (e.name.as_str(), e.count)).collect();
    let expected = ["404 Not Found", "503 Service Unavailable", "UNAVAILABLE", "CODE_99", "reset"];
    assert_eq!(names, expected.map(|name| (name, 1)));
    assert_eq!(report.slowest[0].latency_ns, Some(1_250_000_000));
    assert_eq!(report.edges[0].server_name.as_deref(), Some("api"));
    assert_eq!(report.loss.gap_bytes, 1460 + 8192);
}

#[test]
fn a_reset_download_is_no_success_and_no_status() {
    let mut transaction = http1("GET", "/download", 200, 0, 10);
    transaction.outcome = Outcome::Reset;
    let report = whole(&[placed(transaction, 1, 0)], &[]);
    assert_eq!(report.errors[0].by, "outcome");
    assert_eq!(report.errors[0].name, "reset");
    assert_eq!(report.errors[0].code, None);
}

#[test]
fn an_absolute_target_names_its_host() {
    let proxied = http1("GET", "http://Other.example.com/users/1?x", 200, 0, 10);
    let connect = http1("CONNECT", "db12345.example.com:443", 200, 0, 10);
    let report = whole(&[placed(proxied, 1, 0), placed(connect, 1, 1)], &[]);
    let names: Vec<_> = report
        .endpoints
        .iter()
        .map(|e| (e.host.as_deref().unwrap(), e.path.as_deref().unwrap()))
        .collect();
    let expected =
        [("api.example.com", "db12345.example.com:443"), ("other.example.com", "/users/{n}")];
    assert_eq!(names, expected);
}

/// More names than there is room for: they are one, and endpoints that come
/// later have their rows.
#[test]
fn names_that_are_data_are_one_endpoint_and_leave_room() {
    let name =
        |n: usize| -> String { format!("{n:04}").bytes().map(|b| (b + 49) as char).collect() };
    let request =
        |path: String, n: usize| placed(http1("GET", &path, 200, n as i64, 10), 1, n as u64);
    let many = (0..3 * ENDPOINTS).map(|n| request(format!("/users/{}/cart", name(n)), n));
    let later = (0..50).map(|n| request(format!("/later/{}", name(n)), 10_000 + n));
    let items: Vec<_> = many.chain(later).collect();
    let report = whole(&items, &[]);
    assert!(report.endpoints_other.is_none() && report.endpoints.len() == 51);
    assert_eq!(report.endpoints[0].path.as_deref(), Some("/users/{*}/cart"));
    assert_eq!(report.endpoints[0].figures.count, 3 * ENDPOINTS as u64);
    // Divided among shards that have not seen enough of them.
    let mut parts: Vec<_> = (0..16).map(|_| Aggregate::default()).collect();
    items.iter().enumerate().for_each(|(n, placed)| parts[n % 16].add(&placed.item()));
    let mut all = Aggregate::default();
    parts.into_iter().for_each(|part| all.merge(part));
    assert_eq!(all.finish(capture()).endpoints, report.endpoints);
}

#[test]
fn routes_and_operations_name_endpoints() {
    let paths = [
        "/users/me",
        "/users/7",
        "/users/alice",
        "/graphql?operationName=GetUser",
        "/graphql?query=query+GetUser%7Bx%7D",
        "/graphql?operationName=Pay",
        "/graphql",
        "/users/8",
    ];
    let routes = ["/users/me", "/users/{id}"]
        .iter()
        .map(|text| text.parse::<super::super::route::Route>().unwrap());
    let mut aggregate = Aggregate::default().routed(&routes.collect());
    for (n, path) in paths.iter().enumerate() {
        aggregate.add(&placed(http1("GET", path, 200, n as i64, 10), 1, n as u64).item());
    }
    let report = aggregate.finish(capture());
    let rows: Vec<_> =
        report.endpoints.iter().map(|e| (e.path.as_deref().unwrap(), e.figures.count)).collect();
    let expected = [
        ("/users/{id}", 3),
        ("/graphql?operationName=GetUser", 2),
        ("/graphql", 1),
        ("/graphql?operationName=Pay", 1),
        ("/users/me", 1),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn what_goes_past_the_limits_is_counted_and_said() {
    let count = ENDPOINTS + 100;
    let items: Vec<_> = (0..count)
        .map(|n| {
            let name: String = format!("{n:04}").bytes().map(|b| (b + 49) as char).collect();
            placed(http1(&name, "/", 500, n as i64, 10), 1, n as u64)
        })
        .collect();
    let report = whole(&items, &[]);
    assert_eq!(report.endpoints.len(), ENDPOINTS);
    let other = report.endpoints_other.as_ref().unwrap();
    assert_eq!((other.count, other.errors), (100, 100));
    let limit = report.loss.limits.last().unwrap();
    assert_eq!((limit.name.as_str(), limit.count), ("endpoints in the report", 100));
    assert_eq!(report.transactions.figures.count, count as u64);
}

/// The cache must not show: requests that share a slot, or differ in where
/// their parts end only, stay apart.
#[test]
fn many_requests_in_any_order_find_their_own_endpoints() {
    let mut aggregate = Aggregate::default();
    let word = |n: u64| n.to_string().bytes().map(|b| (b + 49) as char).collect::<String>();
    for round in 0..3 {
        for n in 0..400 {
            let mut transaction = http1("GET", "/", 200, 0, 10);
            let long = if n % 50 == 0 { "x".repeat(170) } else { String::new() };
            let (host, path) = (format!("{}{long}", word(n % 20)), format!("/{}", word(n / 20)));
            transaction.request = Some(request(b"GET", host.as_bytes(), path.as_bytes(), 0));
            let times = if n == 77 { 2 } else { 1 };
            for _ in 0..times {
                aggregate.add(&placed(transaction.clone(), 1, n + round).item());
            }
        }
    }
    let report = aggregate.finish(CaptureTotals::default());
    assert_eq!(report.endpoints.len(), 400);
    let first = &report.endpoints[0];
    let names = (first.host.as_deref(), first.path.as_deref(), first.figures.count);
    assert_eq!(names, (Some(word(17).as_str()), Some("/d"), 6));
    assert!(report.endpoints[1..].iter().all(|e| e.figures.count == 3));
}

#[test]
fn idle_pairs_leave_room_for_busy_ones() {
    let mut aggregate = Aggregate::default();
    for n in 0..2 * EDGES {
        let mut scan = flow(1, None);
        scan.server.set_port(n as u16);
        aggregate.add_flow(&scan);
    }
    aggregate.add(&placed(http1("GET", "/", 200, 0, 1), 3, 0).item());
    let report = aggregate.finish(CaptureTotals::default());
    assert_eq!(report.edges[0].figures.transactions.count, 1);
    let other = report.edges_other.unwrap();
    assert_eq!(report.edges.len() - 1 + other.connections as usize, 2 * EDGES);
}

#[test]
fn parts_that_were_not_seen_are_their_own_endpoint() {
    let mut hidden = http1("GET", "/", 200, 0, 10);
    hidden.request.as_mut().unwrap().path = None;
    let mut empty = http1("GET", "/", 200, 0, 10);
    let request = empty.request.as_mut().unwrap();
    request.path = Some(request.head.store(b""));
    let items = [hidden, empty].map(|transaction| placed(transaction, 1, 0));
    let report = whole(&items, &[]);
    let paths: Vec<_> = report.endpoints.iter().map(|e| e.path.as_deref()).collect();
    assert_eq!(paths, [None, Some("")]);
}

#[test]
fn long_names_are_cut_and_still_one_endpoint() {
    let long = |n: usize| format!("/{}/{n}", "x".repeat(100_000));
    let mut items: Vec<_> =
        (0..3).map(|n| placed(http1("GET", &long(n), 200, n as i64, 10), 1, n as u64)).collect();
    for n in 0..3 {
        let mut call = grpc("AddItem", Some(0), 0);
        let service = call.request.as_mut().unwrap().head.store(long(n).as_bytes());
        call.grpc.as_mut().unwrap().service = Some(service);
        items.push(placed(call, 2, n as u64));
    }
    let report = whole(&items, &[]);
    assert_eq!(report.endpoints.len(), 2);
    assert!(json(&report).len() < 30_000);
}

fn any_item() -> impl Strategy<Value = Placed> {
    let http = (0..6_u8, 0..20_u32, prop::sample::select(vec![200, 204, 404, 500, 503]), 0..9_i64);
    let http = http.prop_map(|(kind, n, status, latency)| match kind {
        0 => grpc("Get", [None, Some(0), Some(14)][n as usize % 3], i64::from(n)),
        1 => http1("GET", "/health", status, i64::from(n), latency),
        2 => {
            let mut transaction = http1("GET", "/x", status, i64::from(n), -latency);
            transaction.response = None;
            transaction.outcome = Outcome::Unanswered;
            transaction.anomaly("no_answer");
            transaction
        }
        _ => http1("POST", &format!("/users/{n}/a{}", n % 4), status, i64::from(n), latency * 900),
    });
    (http, 1..5_u64).prop_map(|(transaction, connection)| placed(transaction, connection, 0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any distribution over shards, merged in any grouping, is one report.
    #[test]
    fn shards_do_not_show(
        items in prop::collection::vec((any_item(), 0..5_usize), 0..300),
        group in 1..5_usize,
    ) {
        let (mut items, shards): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        for (index, placed) in items.iter_mut().enumerate() {
            placed.index = index as u64;
        }
        let mut flows = flows();
        let text = |n: u64| format!("finding {n}");
        flows[0].findings = (0..80).map(|n| ("to server", 900 - n, text(n))).collect();
        flows[3].findings = (0..80).map(|n| ("to client", n * 3, text(n))).collect();
        let mut parts: Vec<_> = (0..5).map(|_| Aggregate::default()).collect();
        for (placed, shard) in items.iter().zip(&shards) {
            parts[*shard].add(&placed.item());
        }
        for (index, flow) in flows.iter().enumerate() {
            parts[index * group % 5].add_flow(flow);
        }
        // (0..group merged first) + the rest, one by one.
        let rest = parts.split_off(group);
        let merge = |mut a: Aggregate, b: Aggregate| { a.merge(b); a };
        let first = parts.into_iter().reduce(merge).unwrap();
        let merged = match rest.into_iter().reduce(merge) {
            Some(rest) => merge(first, rest),
            None => first,
        };
        let report = merged.finish(capture());
        prop_assert_eq!(json(&report), json(&whole(&items, &flows)));
    }
}
