//! A node of Kubernetes, recorded: pods with cgroups of their own, Services by
//! NAT, another node, and an API server and a container runtime that know them
//! (`tests/live/fake_node.py`). Who was who is said by the peers themselves:
//! the client's name is in the path, the server's number is the status.
#![cfg(feature = "kube")]

mod common;

use std::collections::HashMap;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::live::{Running, run, wait_for};
use common::pods::{Cluster, Pod};
use serde_json::{Value, json};

/// Time in which a recorder sees a pod's end in the folders and at the runtime, and the
/// address's next holder is proven.
const PROVEN: Duration = Duration::from_secs(4);

/// What a transaction says of an end.
fn said<'a>(transaction: &'a Value, end: &str, what: &str) -> Option<&'a str> {
    transaction["names"][end][what].as_str()
}

fn path(transaction: &Value) -> &str {
    transaction["path"].as_str().expect("a path")
}

fn stop(recorder: Running) -> String {
    let (status, said) = recorder.stop();
    assert!(status.success(), "{said}");
    said
}

/// The frames that a filter of Wireshark shows.
fn shown(cluster: &Cluster, file: &str, filter: &str) -> usize {
    let mut command = Command::new("tshark");
    command.args(["-r"]).arg(cluster.here.file(file)).args(["-Y", filter]);
    run(&mut command).lines().count()
}

#[test]
fn both_ends_have_names_whatever_is_between() {
    let Some(mut cluster) = Cluster::new() else { return };
    let frontend = cluster.pod("frontend-7d9f8b6c5d-aaaaa", "10.1.0.7");
    let checkout = cluster.pod("checkout-7d9f8b6c5d-bbbbb", "10.1.0.8");
    let cart = cluster.pod("cart-7d9f8b6c5d-ccccc", "10.2.0.7");
    cluster.service("checkout", "10.96.0.10", &checkout.address);
    cluster.service("cart", "10.96.0.11", &cart.address);
    let _servers = [cluster.serve(&checkout, 201), cluster.serve(&cart, 202)];
    let recorder = cluster.record("cap.pcapng", &[]);
    cluster.known();
    // That an endpoint is the only one is proven by a later word.
    sleep(PROVEN);
    for (to, path, status) in [
        (("10.96.0.10", 80), "/service/here", "201\n"),
        (("10.96.0.11", 80), "/service/there", "202\n"),
        (("10.1.0.8", 8080), "/pod/here", "201\n"),
        (("10.2.0.7", 8080), "/pod/there", "202\n"),
    ] {
        assert_eq!(cluster.call(&frontend, to, path, 1), status);
    }
    assert_eq!(cluster.call(&cart, ("10.1.0.8", 8080), "/from/there", 1), "201\n");
    stop(recorder);
    let transactions = cluster.transactions(&["cap.pcapng"]);
    let of = |wanted: &str| {
        let found: Vec<_> =
            transactions.iter().filter(|one| path(one).starts_with(wanted)).collect();
        assert_eq!(found.len(), 1, "{wanted}: {transactions:#?}");
        assert_eq!(found[0]["completeness"], "complete");
        found[0].clone()
    };
    let name = |pod: &Pod| format!("shop/{}", pod.name);
    for (wanted, client, server, service, rests_on) in [
        ("/service/here", &frontend, &checkout, Some("shop/checkout"), ["cgroup", "sequence"]),
        ("/service/there", &frontend, &cart, Some("shop/cart"), ["cgroup", "endpoint"]),
        ("/pod/here", &frontend, &checkout, None, ["cgroup", "cgroup"]),
        ("/pod/there", &frontend, &cart, None, ["cgroup", "address"]),
        ("/from/there", &cart, &checkout, None, ["address", "cgroup"]),
    ] {
        let one = of(wanted);
        let ends =
            [("client", client, None, rests_on[0]), ("server", server, service, rests_on[1])];
        for (end, pod, service, by) in ends {
            let found =
                ["pod", "workload", "kind", "service", "by"].map(|what| said(&one, end, what));
            let workload = format!("shop/{}", pod.name.split('-').next().expect("a name"));
            let pod = name(pod);
            let wanted = [Some(&*pod), Some(&*workload), Some("Deployment"), service, Some(by)];
            assert_eq!(found, wanted, "{end} of {one:#}");
        }
    }
    assert_eq!(said(&of("/service/here"), "server", "address"), Some("10.1.0.8:8080"));
    // As Wireshark asks.
    for (role, pod) in [("server", &checkout), ("server", &cart), ("client", &frontend)] {
        let filter = format!("frame.comment == \"{role}.pod={}\"", name(pod));
        assert!(shown(&cluster, "cap.pcapng", &filter) >= 1, "{filter}");
    }
    assert!(shown(&cluster, "cap.pcapng", "frame.comment == \"server.service=shop/cart\"") >= 1);
    let host = format!("ip.host == \"{}.shop\"", cart.name);
    let resolved = ["-o", "nameres.network_name:TRUE", "-Y", &host];
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(cluster.here.file("cap.pcapng")).args(resolved);
    assert!(run(&mut tshark).lines().count() >= 1, "{host}");
    // As a person reads it.
    let mut report = Command::new(env!("CARGO_BIN_EXE_perisco"));
    let report = run(report.arg("analyze").arg(cluster.here.file("cap.pcapng")));
    for line in ["shop/frontend → shop/checkout (Service checkout)", "shop/cart → shop/checkout"]
    {
        assert!(report.contains(line), "no {line} in\n{report}");
    }
}

#[test]
fn under_churn_each_transaction_has_its_own_pods_names() {
    let Some(mut cluster) = Cluster::new() else { return };
    let recorder = cluster.record("cap.pcapng", &[]);
    cluster.known();
    let mut truth = HashMap::new();
    // Pods of this node and of the other come and go; all of a kind have the same address.
    for round in 0..3_u16 {
        let far = cluster.pod(&format!("cart{round}-7d9f8b6c5d-ccccc"), "10.2.0.7");
        let near = cluster.pod(&format!("checkout{round}-7d9f8b6c5d-bbbbb"), "10.1.0.8");
        let caller = cluster.pod(&format!("frontend{round}-7d9f8b6c5d-aaaaa"), "10.1.0.7");
        let statuses = [210 + round, 220 + round];
        truth.insert(u64::from(statuses[0]), format!("shop/{}", far.name));
        truth.insert(u64::from(statuses[1]), format!("shop/{}", near.name));
        let servers = [cluster.serve(&far, statuses[0]), cluster.serve(&near, statuses[1])];
        // At once, before anybody can have proven whose the addresses are, and later.
        for pause in [Duration::ZERO, PROVEN] {
            sleep(pause);
            let name = &caller.name;
            for (pod, status) in [(&far, statuses[0]), (&near, statuses[1])] {
                let path = format!("/{name}/{}", pause.as_secs());
                let answers = cluster.call(&caller, (&pod.address, 8080), &path, 20);
                assert_eq!(answers, format!("{status}\n").repeat(20));
            }
            let path = format!("/{}/{}", far.name, pause.as_secs());
            let answers = cluster.call(&far, (&near.address, 8080), &path, 20);
            assert_eq!(answers, format!("{}\n", statuses[1]).repeat(20));
        }
        drop(servers);
        for pod in [far, near, caller] {
            cluster.node.tell(json!({"do": "delete", "name": pod.name}));
        }
    }
    stop(recorder);
    let transactions = cluster.transactions(&["cap.pcapng"]);
    assert_eq!(transactions.len(), 3 * 2 * 3 * 20);
    let mut early = 0;
    for one in &transactions {
        let mut parts = path(one).split('/').skip(1);
        let (client, late) = (parts.next().expect("a name"), parts.next() == Some("4"));
        let server = &truth[&one["status"].as_u64().expect("a status")];
        for (end, wanted) in [("client", &format!("shop/{client}")), ("server", server)] {
            match said(one, end, "pod") {
                Some(found) => assert_eq!(found, wanted, "{end} of {one:#}"),
                // The node's own pods are known by their cgroups, at once and for certain.
                None => {
                    assert!(!late && wanted.starts_with("shop/cart"), "no {end} of {one:#}");
                    early += 1;
                }
            }
        }
    }
    eprintln!("{early} ends of {} had no name: not proven", 2 * transactions.len());
}

#[test]
fn pods_are_chosen_and_followed() {
    let Some(mut cluster) = Cluster::new() else { return };
    let frontend = cluster.pod("frontend-7d9f8b6c5d-aaaaa", "10.1.0.7");
    let other = cluster.pod("other-7d9f8b6c5d-bbbbb", "10.1.0.8");
    let far = cluster.pod("cart-7d9f8b6c5d-ccccc", "10.2.0.7");
    let _server = cluster.serve(&far, 200);
    let to = ("10.2.0.7", 8080);
    let mut recorders = Vec::new();
    for (file, choice) in [
        ("pod", vec!["--pod", "shop/frontend"]),
        ("label", vec!["--label", "app=late"]),
        ("both", vec!["--namespace", "shop", "--container", "app", "--label", "app=other"]),
        ("none", vec!["--namespace", "elsewhere"]),
    ] {
        recorders.push((file, cluster.record(file, &choice)));
    }
    for (file, choice) in
        [("pod.cgroup", ["--pod", "frontend*"]), ("label.cgroup", ["--label", "app=late"])]
    {
        recorders.push((file, cluster.record_by_cgroup(file, &choice)));
    }
    for pod in [&frontend, &other] {
        cluster.call(pod, to, &format!("/{}", pod.name), 2);
    }
    let late = cluster.pod("late-7d9f8b6c5d-ddddd", "10.1.0.9");
    // Until its labels are known, as they are by the time that a container has started.
    sleep(PROVEN);
    cluster.call(&late, to, &format!("/{}", late.name), 2);
    // Its last words are not lost with it.
    cluster.node.tell(json!({"do": "delete", "name": late.name}));
    let again = cluster.pod("frontend-7d9f8b6c5d-eeeee", "10.1.0.9");
    sleep(PROVEN);
    wait_for("the first words of a new pod", || {
        !cluster.call(&again, to, &format!("/{}", again.name), 1).is_empty()
    });
    for (file, recorder) in recorders {
        stop(recorder);
        let transactions = cluster.transactions(&[file]);
        let mut callers: Vec<_> =
            transactions.iter().map(|one| path(one).split('/').nth(1).expect("a name")).collect();
        assert!(transactions.iter().all(|one| one["completeness"] == "complete"), "{file}");
        callers.dedup();
        let wanted: &[&Pod] = match file {
            "pod" | "pod.cgroup" => &[&frontend, &again],
            "label" | "label.cgroup" => &[&late],
            "both" => &[&other],
            _ => &[],
        };
        let wanted: Vec<_> = wanted.iter().map(|pod| &*pod.name).collect();
        assert_eq!(callers, wanted, "{file}");
    }
}

#[test]
fn pods_of_a_node_with_a_nat_between_their_namespaces_are_one_connection() {
    let Some(mut cluster) = Cluster::new() else { return };
    let frontend = cluster.pod("frontend-7d9f8b6c5d-aaaaa", "10.1.0.7");
    let cart = cluster.pod_apart("cart", "10.2.0.7");
    cluster.service("cart", "10.96.0.11", &cart.address);
    let _server = cluster.serve(&cart, 202);
    let recorder = cluster.record("cap.pcapng", &["--netns", &cluster.apart()]);
    cluster.known();
    sleep(PROVEN);
    assert_eq!(cluster.call(&frontend, ("10.96.0.11", 80), "/through", 20), "202\n".repeat(20));
    stop(recorder);
    let transactions = cluster.transactions(&["cap.pcapng"]);
    assert_eq!(transactions.len(), 20, "each once");
    for one in &transactions {
        assert_eq!(one["server"], "10.96.0.11:80", "as the client sees it");
        let server = ["pod", "service", "address", "by"].map(|what| said(one, "server", what));
        let wanted = ["shop/cart", "shop/cart", "10.2.0.7:8080", "sequence"];
        assert_eq!(server, wanted.map(Some), "{one:#}");
        assert_eq!(said(one, "client", "pod"), Some(&*format!("shop/{}", frontend.name)));
        assert!(
            one["process"]["client"]["pid"].is_u64() && one["process"]["server"]["pid"].is_u64()
        );
    }
}

/// Nanoseconds from one time of a transaction to another, half a day at most.
fn between(from: &Value, to: &Value) -> i64 {
    let of_day = |time: &Value| {
        let text = time.as_str().expect("a time").trim_end_matches('Z');
        let (_, clock) = text.split_once('T').expect("of a day");
        let (whole, nanos) = clock.split_once('.').expect("a fraction");
        let seconds =
            whole.split(':').fold(0, |sum, part| 60 * sum + part.parse::<i64>().expect("digits"));
        seconds * SECOND + nanos.parse::<i64>().expect("nine digits")
    };
    (of_day(to) - of_day(from) + DAY / 2).rem_euclid(DAY) - DAY / 2
}

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The two agents take their clocks' distances each for itself.
const READING: i64 = 50_000;

#[test]
fn two_nodes_with_a_nat_between_are_one() {
    let Some(mut cluster) = Cluster::of_two_nodes() else { return };
    let frontend = cluster.pod("frontend-7d9f8b6c5d-aaaaa", "10.1.0.7");
    let cart = cluster.pod("cart-7d9f8b6c5d-ccccc", "10.2.0.7");
    cluster.service("cart", "10.96.0.11", &cart.address);
    let _server = cluster.serve(&cart, 202);
    let fast = 3;
    let recorders = [cluster.record("here", &[]), cluster.record_there("there", fast)];
    cluster.known();
    sleep(PROVEN);
    cluster.call(&frontend, ("10.96.0.11", 80), "/through", 50);
    recorders.into_iter().map(stop).for_each(drop);
    let alone = [cluster.transactions(&["here"]), cluster.transactions(&["there"])];
    let joined = cluster.transactions(&["here", "there"]);
    assert_eq!([alone[0].len(), alone[1].len(), joined.len()], [50; 3]);
    let mut widest = 0;
    for one in &joined {
        for (end, pod) in [("client", &frontend), ("server", &cart)] {
            assert_eq!(said(one, end, "pod"), Some(&*format!("shop/{}", pod.name)), "{one:#}");
        }
        assert_eq!(said(one, "server", "service"), Some("shop/cart"));
        assert_eq!(one["server"], "10.2.0.7:8080");
        let of =
            |key: &str| one["joined"][key].as_i64().unwrap_or_else(|| panic!("{key}: {one:#}"));
        assert_eq!(one["joined"]["server_as_seen"], "10.96.0.11:80");
        let [here, there] = [0, 1]
            .map(|node| alone[node].iter().find(|other| path(other) == path(one)).expect("both"));
        // There is one kernel below: how far its clocks are apart is known.
        let skew = i64::from(fast) * SECOND;
        let error = of("error_ns") + READING;
        assert!((of("offset_ns") - skew).abs() <= error, "{one:#}");
        let request = between(&here["start"], &there["start"]) - skew;
        assert!((of("request_ns") - request).abs() <= error, "{request}: {one:#}");
        let response = between(&there["response_start"], &here["response_start"]) + skew;
        assert!((of("response_ns") - response).abs() <= error, "{response}: {one:#}");
        assert_eq!(of("server_ns"), between(&there["start"], &there["response_start"]));
        let parts = of("request_ns") + of("server_ns") + of("response_ns");
        assert_eq!(Some(parts), here["latency_ns"].as_i64());
        widest = widest.max(of("error_ns"));
    }
    // An estimate, not only what is possible.
    assert!(widest < 20_000_000, "{widest} ns");
    eprintln!("the widest error is {widest} ns");
}

#[test]
fn who_cannot_be_asked_is_said_once_and_counted() {
    let Some(mut cluster) = Cluster::new() else { return };
    cluster.pod("frontend-7d9f8b6c5d-aaaaa", "10.1.0.7");
    cluster.node.tell(json!({"do": "set", "forbidden": ["/api/v1/services"]}));
    let mut recorder = cluster.record("cap.pcapng", &["--metrics", "127.0.0.1:0"]);
    let wanted = "names: api services cannot be asked";
    wait_for("the recorder to say it", || recorder.said().contains(wanted));
    let said = recorder.said().to_owned();
    let (_, place) = said.split_once("metrics are at ").expect("served");
    let url = place.split_whitespace().next().expect("a place").to_owned();
    let has =
        |line: &str| run(Command::new("curl").args(["-s", &url])).lines().any(|of| of == line);
    for line in [
        "perisco_names_source_forbidden{source=\"api services\"} 1",
        "perisco_names_source_forbidden{source=\"api pods\"} 0",
        "perisco_names_source_fresh{source=\"api pods\"} 1",
        "perisco_names_local_pods 1",
    ] {
        wait_for(line, || has(line));
    }
    let said = stop(recorder);
    assert_eq!(said.matches("cannot be asked").count(), 1, "{said}");
    assert!(said.contains("403"), "{said}");
}
