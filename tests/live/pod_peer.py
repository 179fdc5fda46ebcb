"""HTTP between pods, with the truth in what is said: the client's name is in the
path, the server's number is the status.

    pod_peer.py serve ADDRESS PORT STATUS           prints `ready`
    pod_peer.py call FROM ADDRESS PORT PATH COUNT PAUSE   a connection each; prints each status, `-` if there was none
"""
import http.client
import http.server
import socketserver
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        # Not HTTPServer's, which asks for the address's name, in vain and for long.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def serve(address, port, status):
    Handler.status = int(status)
    server = Server((address, int(port)), Handler)
    print("ready", flush=True)
    server.serve_forever()


def call(source, address, port, path, count, pause):
    for number in range(int(count)):
        connection = http.client.HTTPConnection(address, int(port), timeout=5, source_address=(source, 0))
        try:
            connection.request("GET", f"{path}/{number}")
            answer = connection.getresponse()
            answer.read()
            print(answer.status, flush=True)
        except OSError:
            print("-", flush=True)
        connection.close()
        time.sleep(float(pause))


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
