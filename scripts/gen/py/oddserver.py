"""Servers that end a connection in their own way.

    oddserver.py MODE HOST PORT

MODE   http10    Python's http.server as it comes: HTTP/1.0; the body of /until-close
                 has no length and ends with the connection
       rst       half of the announced body, then a TCP RST (SO_LINGER 0)
       short     half of the announced body, then a FIN
       silent    reads the request and closes without a word
       hang      reads the request and never answers (until it is stopped)
"""
import http.server
import socket
import struct
import sys
import threading
import time


class Http10(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"".join(b"line %d of a body without a length\n" % i for i in range(50))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        if self.path != "/until-close":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:900])
        self.wfile.flush()
        time.sleep(0.02)
        self.wfile.write(body[900:])

    def do_POST(self):
        n = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d\n" % n)

    def log_message(self, *a):
        pass


def raw(mode, c):
    data = b""
    while b"\r\n\r\n" not in data:
        got = c.recv(65536)
        if not got:
            break
        data += got
    path = data.split(b" ")[1] if data else b""
    if path == b"/fine":
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfine\n")
    elif mode in ("rst", "short"):
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10000\r\n\r\n" + b"z" * 5000)
        time.sleep(0.1)
        if mode == "rst":
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif mode == "hang":
        time.sleep(60)
    c.close()


def main():
    mode, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if mode == "http10":
        http.server.ThreadingHTTPServer((host, port), Http10).serve_forever()
    s = socket.create_server((host, port))
    while True:
        c, _ = s.accept()
        threading.Thread(target=raw, args=(mode, c), daemon=True).start()


main()
