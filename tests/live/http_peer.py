"""Python's own HTTP: http.server with threads, and http.client.

    http_peer.py serve ADDR PORT VERSION      VERSION is HTTP/1.0 or HTTP/1.1; prints `ready`
    http_peer.py call ADDR PORT VERSION       several clients at once; prints each `METHOD PATH STATUS BYTES`
"""
import hashlib
import http.client
import http.server
import sys
import threading

CLIENTS = 4


def noise(length):
    """The same bytes in every run, as text: they do not compress."""
    text = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(length // 64 + 1))
    return text[:length].encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/pieces":
            self.pieces()
        elif path.startswith("/bytes/"):
            self.answer(200, noise(int(path.rsplit("/", 1)[1])))
        else:
            self.answer(404, b"no such thing\n")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, hashlib.sha256(body).hexdigest().encode())

    def pieces(self):
        """Chunked, or in HTTP/1.0 until the connection ends."""
        chunked = self.protocol_version == "HTTP/1.1"
        self.send_response(200)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for n in range(1, 6):
            piece = noise(n * 700)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


def serve(address, port, version):
    Handler.protocol_version = version
    server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
    print("ready", flush=True)
    server.serve_forever()


def ask(connection, method, path, body=None):
    connection.request(method, path, body)
    response = connection.getresponse()
    got = response.read()
    return f"{method} {path} {response.status} {len(got)}"


def client(address, port, number, said):
    connection = http.client.HTTPConnection(address, int(port), timeout=30)
    for method, path, body in (
        ("GET", f"/bytes/3000?client={number}", None),
        ("HEAD", f"/bytes/3000?client={number}", None),
        ("POST", f"/store?client={number}", noise(200_000 + number)),
        ("GET", f"/pieces?client={number}", None),
        ("GET", f"/missing?client={number}", None),
        ("GET", f"/bytes/400000?client={number}", None),
    ):
        said.append(ask(connection, method, path, body))
    connection.close()


def call(address, port, version):
    http.client.HTTPConnection._http_vsn_str = version
    http.client.HTTPConnection._http_vsn = 10 if version == "HTTP/1.0" else 11
    said = []
    threads = [threading.Thread(target=client, args=(address, port, n, said)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(said))


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
