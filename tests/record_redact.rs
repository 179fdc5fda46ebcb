//! Redaction while recording: real peers send secrets, and the file has none, beside a tcpdump
//! that has them all.
#![cfg(feature = "record")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::compared::{assert_nothing_odd, curl};
use common::live::{self, Place, run};
use common::secrets::{Shifts, base64, masked};
use common::streams::streams;
use common::transactions_of;
use serde_json::Value;

/// Names of fields in which peers send secrets here.
const NAMES: [&str; 6] =
    ["authorization", "cookie", "set-cookie", "x-api-key", "x-token", "x-internal"];

const SECRETS: [&str; 5] = [
    "Sup3r~s3cret.token_1",
    "c00kie-Sup3r_s3cret",
    "QUERY.Sup3r-s3cret",
    "key-Sup3r_s3cret",
    "1nternal-Sup3r",
];

/// A capture's bytes without compression.
fn plain(file: &Path) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perisco"));
    let output = command.arg("cat").arg(file).output().expect("it runs");
    assert!(output.status.success());
    output.stdout
}

/// Transactions but for times, origins and what is redacted, in an order of their own.
fn told(file: &Path) -> Vec<String> {
    let line = |line: &Value| {
        let line = masked(line, &NAMES);
        common::without(&common::without(&line, &common::TIMES), &common::ORIGIN).to_string()
    };
    let mut lines: Vec<String> = transactions_of(file).iter().map(line).collect();
    lines.sort();
    lines
}

/// Sizes of all streams.
fn sizes(file: &Path) -> Vec<(String, usize, u64)> {
    let all = streams(file);
    let mut sizes: Vec<_> = all
        .iter()
        .map(|(key, stream)| (format!("{key:?}"), stream.bytes.len(), stream.missing as u64))
        .collect();
    sizes.sort();
    sizes
}

/// Records `traffic` with tcpdump beside: the dump has secrets, the recording none, and they
/// are the same otherwise.
fn redacted(place: &Place, traffic: impl FnOnce(&Place)) -> (PathBuf, String) {
    let dump = place.tcpdump("dump.pcap");
    let recorder = place.record("cap.pcapng", &["--redact", "x-internal,x-token"]);
    traffic(place);
    let (status, said) = recorder.stop();
    dump.stop();
    assert!(status.success() && said.contains("nothing lost"), "{said}");
    let (recorded, dumped) = (place.file("cap.pcapng"), place.file("dump.pcap"));
    let there = Shifts::of(&plain(&dumped));
    assert!(SECRETS.iter().any(|secret| there.hold(secret).is_some()), "no secret was sent");
    let left = Shifts::of(&plain(&recorded));
    let left: Vec<_> = SECRETS.iter().filter_map(|secret| left.hold(secret)).collect();
    assert_eq!(left, [] as [String; 0]);
    assert_eq!(sizes(&recorded), sizes(&dumped));
    assert_eq!(told(&recorded), told(&dumped));
    (recorded, said)
}

fn headers() -> Vec<String> {
    let [token, cookie, _, key, internal] = SECRETS;
    vec![
        format!("Authorization: Bearer {token}"),
        format!("Cookie: id={cookie}; a=b"),
        format!("X-Api-Key: {key}"),
        format!("x-internal: {internal}"),
        format!("x-token-bin: {}", base64(token.as_bytes())),
    ]
}

#[test]
fn curl_and_nginx() {
    let Some(place) = live::place(&["curl", "nginx", "tshark"]) else { return };
    let _nginx = place.nginx();
    let (_, said) = redacted(&place, |place| {
        for path in ["hello?token=", "login?session=", "proxied/mid.bin?a=1&api_key="] {
            let url = format!("http://127.0.0.1:8080/{path}{}", SECRETS[2]);
            let headers = headers();
            let headers = headers.iter().flat_map(|header| ["-H", header]);
            let args: Vec<&str> = headers.chain(["-o", "/dev/null", &url, &url]).collect();
            curl(place, &args);
        }
    });
    assert_nothing_odd(&place);
    // Eight requests, two of them seen from both sides of the proxy.
    for told in ["authorization 8", "cookie 8", "x-api-key 8", "x-internal 8", "set-cookie 2"] {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn h2load_and_nghttp2() {
    let Some(place) = live::place(&["nghttpd", "h2load", "tshark"]) else { return };
    let folder = place.file("www");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("a.bin"), live::noise(5_000)).expect("written");
    let mut server = place.command("nghttpd");
    server.args(["-v", "--no-tls", "-d"]).arg(&folder).arg("8443");
    let _server = place.serve(&mut server, "listen");
    let (file, said) = redacted(&place, |place| {
        let url = format!("http://127.0.0.1:8443/a.bin?x=1&sig={}&y=2", SECRETS[2]);
        let headers = headers();
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        let args = ["-n", "400", "-c", "4", "-m", "8"].into_iter().chain(headers).chain([&*url]);
        run(place.command("h2load").args(args));
    });
    let found = transactions_of(&file);
    assert_eq!(found.len(), 400);
    assert!(found.iter().all(|line| line["status"] == 200 && line["completeness"] == "complete"));
    // What stands beside a secret parameter stays.
    assert!(
        found.iter().all(|line| {
            let path = line["path"].as_str().unwrap_or_default();
            path.starts_with("/a.bin?x=1&sig=") && path.ends_with("&y=2")
        }),
        "{:?}",
        found[0]["path"]
    );
    assert!(said.contains("redacted: "), "{said}");
}

#[test]
fn grpc_of_c_core() {
    let Some(place) = live::place(&["/usr/bin/python3", "tshark"]) else { return };
    let there = Command::new("/usr/bin/python3").args(["-c", "import grpc"]).status();
    if !there.is_ok_and(|status| status.success()) {
        return live::skip("python3-grpcio is not installed").unwrap_or(());
    }
    let peer = ["serve", "127.0.0.1:50051"];
    let _server = place.serve(&mut place.python("grpc_peer.py", &peer), "ready");
    let (file, _) = redacted(&place, |place| {
        let mut call = place.python("grpc_peer.py", &["call", "127.0.0.1:50051"]);
        run(call.env(
            "PERISCO_METADATA",
            format!("x-token={0},x-token-bin={0},authorization={0}", SECRETS[0]),
        ));
    });
    assert!(transactions_of(&file).iter().any(|line| line["grpc"]["status_name"] == "OK"));
}

#[test]
fn go_over_http2() {
    let Some(place) = live::place(&["go", "curl", "tshark"]) else { return };
    let Some(peer) = live::go_peer(&place) else { return };
    let mut server = place.command(peer.to_str().expect("UTF-8"));
    let _server = place.serve_http(server.args(["serve", "127.0.0.1:8090"]), "127.0.0.1:8090");
    redacted(&place, |place| {
        for version in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
            let url = format!("http://127.0.0.1:8090/new?access_token={}", SECRETS[2]);
            let headers = headers();
            let headers = headers.iter().flat_map(|header| ["-H", header]);
            let args: Vec<&str> = headers.chain([version, &url]).collect();
            // One after the other: curl 7.88 fails when it uses such a connection again.
            for _ in 0..2 {
                assert_eq!(curl(place, &args), "you have arrived\n", "{version}");
            }
        }
    });
    assert_nothing_odd(&place);
}

#[test]
fn bodies_and_all_else_as_asked() {
    let Some(place) = live::place(&["curl", "nginx"]) else { return };
    let _nginx = place.nginx();
    let recorder = place.record("cap.pcapng", &["--headers-only", "--redact-none"]);
    curl(&place, &["-H", &headers()[0], "-o", "/dev/null", "http://127.0.0.1:8080/mid.bin"]);
    let (_, said) = recorder.stop();
    assert!(said.contains("of bodies left as gaps") && said.contains("no value"), "{said}");
    let bytes = plain(&place.file("cap.pcapng"));
    assert!(bytes.len() < 10_000, "the body is not there: {}", bytes.len());
    assert!(Shifts::of(&bytes).hold(SECRETS[0]).is_some(), "nothing is redacted");
    let found = transactions_of(&place.file("cap.pcapng"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["status"], 200);
    assert_eq!(found[0]["response_body_bytes"], 20_000);
}
