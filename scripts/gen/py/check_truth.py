"""Compares each truth.json with what tshark makes of the capture.

    check_truth.py TESTDATA [case...]

Prints the differences: the multisets of (method, path) and of statuses, and the
sum of the body sizes. Not every difference is an error; where tshark is wrong or
sees less, the case's README says so.
"""
import collections
import json
import os
import subprocess
import sys

H2_PORTS = "8081 8082 8083 8090 8092".split()


def tshark(cap, h2, fields):
    cmd = ["tshark", "-r", cap, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=\x1f", "-o", "tcp.reassemble_out_of_order:TRUE",
           "-Y", "http || http2 || websocket"]
    for p in (H2_PORTS if h2 else []):
        cmd += ["-d", f"tcp.port=={p},http2"]
    for p in (["8888", "8088", "8089", "8091", "8094", "8080", "8079"] + ([] if h2 else H2_PORTS)):
        cmd += ["-d", f"tcp.port=={p},http"]
    for f in fields:
        cmd += ["-e", f]
    out = subprocess.run(cmd, capture_output=True, text=True, check=False).stdout
    for line in out.splitlines():
        yield [[x for x in v.split("\x1f") if x] for v in line.split("\t")]


def seen(cap, h2):
    reqs, stats, n = collections.Counter(), collections.Counter(), 0
    fields = ["http.request.method", "http.request.uri", "http.response.code",
              "http2.headers.method", "http2.headers.path", "http2.headers.status", "http2.type", "http2.length",
              "http2.data.padding", "grpc.message_length"]
    grpc = 0
    for m, u, c, m2, p2, s2, types, lengths, pad, g in tshark(cap, h2, fields):
        for a, b in zip(m, u):
            reqs[a, b] += 1
        for a, b in zip(m2, p2 if len(p2) == len(m2) else p2 + [""] * 9):
            reqs[a, b] += 1
        stats.update(int(x) for x in c + s2)
        # The magic has a type of its own and no length: align from the end.
        n += sum(int(length) for t, length in zip(types[::-1], lengths[::-1]) if t == "0")
        n -= sum(len(x.replace(":", "")) // 2 + 1 for x in pad)
        grpc += len(g)
    return reqs, stats, n, grpc


def main():
    root = sys.argv[1]
    cases = sys.argv[2:] or sorted(os.path.relpath(d, root) for d, _, f in os.walk(root) if "truth.json" in f)
    for case in cases:
        d = os.path.join(root, case)
        cap = next(os.path.join(d, f) for f in os.listdir(d) if f.startswith("cap."))
        with open(os.path.join(d, "truth.json"), encoding="utf-8") as f:
            truth = json.load(f)
        h2 = any(t["protocol"] == "h2" for t in truth) and "upgrade" not in case
        reqs, stats, n, grpc = seen(cap, h2)
        want = collections.Counter((t["method"], t["path"]) for t in truth)
        wstats = collections.Counter(t["status"] for t in truth if t["status"] is not None)
        bad = []
        if reqs != want:
            bad.append(f"requests: only truth {dict(want - reqs)}, only tshark {dict(reqs - want)}")
        if stats != wstats:
            bad.append(f"statuses: only truth {dict(wstats - stats)}, only tshark {dict(stats - wstats)}")
        if h2:
            sizes = [x for t in truth for x in (t["request_body_bytes"], t["response_body_bytes"])]
            total = sum(x or 0 for x in sizes)
            if total != n:
                bad.append(f"h2 body bytes: truth {total}{' (some null)' if None in sizes else ''}, tshark {n}")
            msgs = sum(t["grpc"]["request_messages"] + t["grpc"]["response_messages"] for t in truth if t["grpc"])
            if case.startswith("grpc") and msgs != grpc:
                bad.append(f"grpc messages: truth {msgs}, tshark {grpc}")
        print(("OK   " if not bad else "DIFF ") + case)
        for b in bad:
            print("       " + b)


main()
