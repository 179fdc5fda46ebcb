"""What the Python peers share: the list of transactions, written as JSON lines.

Called as a program it turns the JSON lines of a case into truth.json:

    truth.py LINES truth.json

A line is either a finished transaction or, with the key "curl", what
`curl -w` said about one transfer (see tcurl in scripts/gen-testdata).
"""
import json
import sys
from urllib.parse import urlsplit

KEYS = ("protocol", "method", "authority", "path", "status",
        "request_body_bytes", "response_body_bytes", "grpc")
HTTP = {"0": "http/1.1", "1.0": "http/1.0", "1": "http/1.0", "1.1": "http/1.1", "2": "h2"}


def transaction(protocol, method, authority, path, status=None, request_body_bytes=0,
                response_body_bytes=None, grpc=None, **more):
    return dict(protocol=protocol, method=method, authority=authority, path=path, status=status,
                request_body_bytes=request_body_bytes, response_body_bytes=response_body_bytes,
                grpc=grpc, **more)


def save(path, transactions):
    with open(path, "a", encoding="utf-8") as f:
        for t in transactions:
            f.write(json.dumps(t) + "\n")


def from_curl(line):
    u = urlsplit(line["url"])
    path = (u.path or "/") + ("?" + u.query if u.query else "")
    t = transaction(HTTP[line["http"]], line["method"], line.get("host") or u.netloc, path,
                    line["status"] or None, line["up"], line["down"] if line["status"] else None)
    t.update(line.get("more", {}))
    return t


def main():
    out = []
    with open(sys.argv[1], encoding="utf-8") as f:
        for line in f:
            line = json.loads(line)
            t = from_curl(line) if "curl" in line else line
            for k in KEYS:
                t.setdefault(k, None)
            out.append({k: t[k] for k in KEYS} | {k: v for k, v in t.items() if k not in KEYS})
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join("  " + json.dumps(t) for t in out) + "\n]\n")


if __name__ == "__main__":
    main()
