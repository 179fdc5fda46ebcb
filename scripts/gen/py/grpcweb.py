"""gRPC-Web peers over HTTP/1.1: sonora's WSGI server (under wsgiref, which
answers with HTTP/1.0) and sonora's client, which speaks
application/grpc-web+proto. The application/grpc-web-text call is sent with
http.client, which sonora's client cannot do.

    grpcweb.py HOST PORT TRUTH
"""
import base64
import http.client
import io
import sys
import threading
import wsgiref.simple_server

import grpc
import sonora.client
import sonora.wsgi
from sonora import protocol

import shop_pb2 as pb
import shop_pb2_grpc
import truth
from grpcpeer import SERVICE, Shop

SENT = []  # body bytes of each answer, as the server wrote them


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *a):
        pass


def counting(app):
    def run(environ, start_response):
        n = len(SENT)
        SENT.append(0)
        for b in app(environ, start_response):
            SENT[n] += len(b)
            yield b
    return run


def main():
    host, port, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    app = sonora.wsgi.grpcWSGI()
    shop_pb2_grpc.add_ShopServicer_to_server(Shop(), app)
    httpd = wsgiref.simple_server.make_server(host, port, counting(app), handler_class=Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    calls = []

    def line(method, size):
        t = truth.transaction("http/1.1", "POST", f"{host}:{port}", f"/{SERVICE}/{method}", 200, size, None,
                              dict(service=SERVICE, method=method, status=None, request_messages=1, response_messages=0))
        calls.append(t)
        return t["grpc"]

    with sonora.client.insecure_web_channel(f"http://{host}:{port}") as ch:
        # Not ShopStub: newer generated code passes an argument sonora lacks.
        get = ch.unary_unary(f"/{SERVICE}/GetItem", pb.GetItemRequest.SerializeToString, pb.Item.FromString)
        for i in (1, 42, 404):
            r = pb.GetItemRequest(id=i)
            g = line("GetItem", 5 + r.ByteSize())
            try:
                get(r)
                g["response_messages"] = 1
                g["status"] = 0
            except grpc.RpcError as e:
                g["status"] = e.code().value[0]
        ls = ch.unary_stream(f"/{SERVICE}/ListItems", pb.ListItemsRequest.SerializeToString, pb.Item.FromString)
        r = pb.ListItemsRequest(count=3)
        g = line("ListItems", 5 + r.ByteSize())
        for _ in ls(r):
            g["response_messages"] += 1
        g["status"] = 0

    c = http.client.HTTPConnection(host, port)
    body = base64.b64encode(protocol.wrap_message(False, False, pb.GetItemRequest(id=7).SerializeToString()))
    g = line("GetItem", len(body))
    kind = "application/grpc-web-text"
    c.request("POST", f"/{SERVICE}/GetItem", body, {"Content-Type": kind, "Accept": kind, "X-Grpc-Web": "1"})
    text = c.getresponse().read()
    c.close()
    # Every frame is base64 of its own, with its padding: decode by fours.
    frames = b"".join(base64.b64decode(text[i:i + 4]) for i in range(0, len(text), 4))
    for is_trailer, _, m in protocol.unwrap_message_stream(io.BytesIO(frames)):
        if is_trailer:
            g["status"] = int(dict(protocol.unpack_trailers(m))["grpc-status"])
        else:
            g["response_messages"] += 1
    httpd.shutdown()
    for t, n in zip(calls, SENT):
        t["response_body_bytes"] = n
    truth.save(out, calls)


main()
