use std::collections::HashMap;

use super::*;
use crate::analyze::filter::Selection;
use crate::analyze::report::fixture::{
    Placed, capture, clean_capture, everything, flow, flows, http1, placed,
};
use crate::analyze::report::{Aggregate, By, CaptureTotals, FilterTotals, FlowTotals, Sort};

fn report_of(items: &[Placed], flows: &[FlowTotals], capture: CaptureTotals) -> Report {
    let mut aggregate = Aggregate::new(10).detailed(10, true);
    items.iter().for_each(|placed| aggregate.add(&placed.item()));
    flows.iter().for_each(|flow| aggregate.add_flow(flow));
    aggregate.finish(capture)
}

fn page() -> String {
    render(&report_of(&everything(), &flows(), capture()))
}

/// Elements that have no end tag.
const VOID: [&str; 5] = ["meta", "input", "wbr", "br", "link"];

/// Names of the elements of a page in their order and depth; panics where one
/// is not closed in its place. Contents of style and script are skipped.
fn elements(page: &str) -> Vec<(usize, String)> {
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag that ends");
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let name: String = tag.chars().take_while(|c| c.is_alphanumeric()).collect();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "before {:.80}", rest);
        } else if !(tag.starts_with('!') || tag.ends_with('/')) {
            found.push((open.len(), name.clone()));
            if name == "style" || name == "script" {
                let end = format!("</{name}>");
                rest = &rest[rest.find(&end).expect("its end")..];
            }
            if !VOID.contains(&name.as_str()) {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    found
}

/// The page without style and script, a line for each element.
fn outline(page: &str) -> String {
    let body = page.split("<body>").nth(1).unwrap();
    let body = body.split("<script>").next().unwrap();
    let body = body.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    body.replace("<section", "\n<section")
        .replace("<tr", "\n<tr")
        .replace("<h2", "\n<h2")
        .replace("<details", "\n<details")
        .replace("<path", "\n<path")
        .replace("<li", "\n<li")
        .replace("<dt", "\n<dt")
        .replace("<rect", "\n<rect")
        .replace("<svg", "\n<svg")
}

#[test]
fn structure() {
    insta::assert_snapshot!(outline(&page()));
}

#[test]
fn every_element_is_closed_in_its_place() {
    let found = elements(&page());
    let count = |name: &str| found.iter().filter(|(_, known)| known == name).count();
    assert_eq!(
        [count("main"), count("nav"), count("header"), count("h1"), count("script")],
        [1; 5]
    );
    elements(&render(&report_of(&[], &[], CaptureTotals::default())));
    elements(&render(&report_of(&[], &[flow(4, Some("tls"))], clean_capture())));
}

#[test]
fn ids_are_unique_and_what_is_referred_to_is_there() {
    let page = page();
    let mut ids = HashMap::new();
    for part in page.split(" id=\"").skip(1) {
        *ids.entry(part.split('"').next().unwrap()).or_insert(0) += 1;
    }
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
    let refer = ["href=\"#", "aria-labelledby=\"", "data-filter=\"", "data-open=\""];
    for name in refer {
        for part in page.split(name).skip(1) {
            for id in part.split('"').next().unwrap().split(' ') {
                assert!(ids.contains_key(id), "{id} of {name}");
            }
        }
    }
}

#[test]
fn nothing_is_loaded_and_the_policy_allows_the_two_constants_only() {
    let page = page();
    for word in
        ["http-equiv=\"refresh", "<img", "<link", "src=", "url(", "@import", "fetch(", "XMLHttp"]
    {
        assert!(!page.contains(word), "{word}");
    }
    assert!(!page.contains(" style=\""), "a style that the policy refuses");
    for part in page.split(" on").skip(1) {
        let after = part.trim_start_matches(|c: char| c.is_alphabetic());
        assert!(!after.starts_with('='), "a handler: on{part:.20}");
    }
}

#[test]
fn hostile_names_are_inert() {
    let page = page();
    for (inert, raw) in [("\\x1b[31m", "\x1b"), ("\\u{202e}", "\u{202e}"), ("&quot;x\\y", "\"x\\y")]
    {
        assert!(page.contains(inert), "{inert}");
        assert!(!page.contains(raw), "{raw:?}");
    }
}

#[test]
fn what_is_missing_comes_first_and_is_green_only_where_nothing_is() {
    let page = page();
    let banner = page.find("class=\"banner missing\"").unwrap();
    assert!(banner < page.find("class=\"tiles\"").unwrap());
    for said in [
        "12 packets lost by the capturer",
        "is damaged at byte 123,456",
        "3 packets cut by the snap length",
        "limit --reorder-bytes: reached 2 times",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let whole = [placed(http1("GET", "/", 200, 0, 5), 1, 0)];
    let green = |items: &[Placed], flows: &[FlowTotals], capture| {
        render(&report_of(items, flows, capture)).contains("class=\"banner whole\"")
    };
    assert!(green(&whole, &[flow(1, Some("http/1"))], clean_capture()));
    assert!(!green(&whole, &[flow(2, Some("http/1"))], clean_capture()), "began before");
    let interrupted = CaptureTotals { interrupted: true, ..clean_capture() };
    assert!(!green(&whole, &[flow(1, Some("http/1"))], interrupted));
    let mut unknown = http1("GET", "/", 200, 0, 5);
    unknown.outcome = crate::analyze::transaction::Outcome::Unknown;
    assert!(!green(&[placed(unknown, 1, 0)], &[], clean_capture()));
}

#[test]
fn a_filtered_page_says_what_was_left_out_and_groups_are_a_table() {
    let mut aggregate = Aggregate::new(10).grouped(By::Status, Sort::Errors).detailed(10, true);
    everything().iter().for_each(|placed| aggregate.add(&placed.item()));
    let expression = Some("path == \"<b>\"".to_owned());
    let since = Some(("+5m".to_owned(), None));
    let selection = Selection { taken: 7, left_out: 1_200, undecided: 3 };
    let filter = Some(FilterTotals { expression, since, until: None, selection });
    let page = render(&aggregate.finish(CaptureTotals { filter, ..clean_capture() }));
    for said in [
        "Filtered: 7 of 1,210 transactions",
        "where <code>path == &quot;&lt;b&gt;&quot;</code>",
        "begins since +5m (no packet has a time)",
        "3 transactions left out, since what decides was not seen",
        "<h2 id=\"h-groups\">By status</h2>",
        "aria-sort=\"descending\">errors</th>",
        "<bdi>200</bdi>",
        "? (not seen)",
    ] {
        assert!(page.contains(said), "{said}");
    }
    elements(&page);
    let selection = Selection { taken: 0, left_out: 9, undecided: 0 };
    let filter = Some(FilterTotals { expression: None, since: None, until: None, selection });
    let none = report_of(&[], &[flow(4, None)], CaptureTotals { filter, ..clean_capture() });
    let none = render(&none);
    assert!(none.contains("Filtered: 0 of 9") && !none.contains("No HTTP found"), "{none}");
}

#[test]
fn secrets_are_hidden() {
    let mut transaction = http1("GET", "/", 500, 0, 5);
    let head = &mut transaction.request.as_mut().unwrap().head;
    head.push(b"Authorization", b"Bearer top-secret");
    let page = render(&report_of(&[placed(transaction, 1, 0)], &[], clean_capture()));
    assert!(page.contains("Bearer (hidden, 17 bytes)"));
    assert!(!page.contains("top-secret"));
}

#[test]
fn a_transaction_shows_what_took_how_long_and_what_was_not_seen() {
    let page = page();
    assert!(
        page.contains(
            "request 0 ns to 10.0 µs; waiting 10.0 µs to 1.25 s; response 1.25 s to 1.25 s"
        )
    );
    assert!(page.contains("Not seen: end of the response."));
}

/// The shards of a run, merged in any order, give the same page.
#[test]
fn the_order_of_shards_changes_nothing() {
    let of = |items: &[Placed], flows: &[FlowTotals]| {
        let mut aggregate = Aggregate::new(10).detailed(10, true);
        items.iter().for_each(|placed| aggregate.add(&placed.item()));
        flows.iter().for_each(|flow| aggregate.add_flow(flow));
        aggregate
    };
    let (items, flows) = (everything(), flows());
    let whole = render(&of(&items, &flows).finish(capture()));
    for at in 0..items.len() {
        let ((a, b), (c, d)) = (items.split_at(at), flows.split_at(at.min(flows.len())));
        let mut back = of(b, c);
        back.merge(of(a, d));
        assert!(render(&back.finish(capture())) == whole, "split at {at}");
    }
}

/// A million transactions of 10,000 endpoints, of which many fail, with names
/// as long as there may be: the page stays below 2 MB.
#[test]
fn a_million_transactions_of_ten_thousand_endpoints_fit_two_megabytes() {
    let hosts = 10_000;
    let mut shards: Vec<_> = (0..16).map(|_| Aggregate::new(10).detailed(10, true)).collect();
    let mut items: Vec<_> = (0..hosts)
        .map(|host| {
            let long = "<\u{202e}>".repeat(60 * usize::from(host % 3 == 0));
            // No more names in one place than are told apart.
            let [group, name] = [host / 100, host % 100].map(letters);
            let path = format!("/some/api/{group}/method-{name}/{long}");
            let status = [200, 200, 404, 500 + (host % 90) as u16][host % 4];
            placed(http1("GET", &path, status, 0, 100 + host as i64), 1 + host as u64, 0)
        })
        .collect();
    for round in 0..100_u64 {
        for (host, placed) in items.iter_mut().enumerate() {
            let nanos = (round as i64 * 10_000 + host as i64) * 1_000_000;
            let shift = |at: &mut Option<crate::time::Timestamp>| {
                *at = at
                    .map(|_| crate::time::Timestamp::from_nanos(1_700_000_000_000_000_000 + nanos));
            };
            placed.transaction.request.iter_mut().for_each(|m| shift(&mut m.start));
            placed.transaction.response.iter_mut().for_each(|m| {
                shift(&mut m.start);
                m.start = m.start.map(|at| at.plus((host as i64 % 977 + 1) * 100_000));
            });
            placed.index = round;
            shards[host % 16].add(&placed.item());
        }
    }
    let all = shards
        .into_iter()
        .reduce(|mut a, b| {
            a.merge(b);
            a
        })
        .unwrap();
    let report = all.finish(clean_capture());
    assert_eq!(report.transactions.figures.count, 1_000_000);
    let page = render(&report);
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert!(page.contains("endpoints shown"), "it is not said that there are more");
    elements(&page);
}

/// A number as letters, which folding leaves alone.
fn letters(mut number: usize) -> String {
    let mut text = String::new();
    for _ in 0..4 {
        text.push(char::from(b'a' + (number % 11) as u8));
        number /= 11;
    }
    text
}
