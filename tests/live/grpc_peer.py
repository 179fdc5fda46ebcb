"""gRPC C-core peers for the live tests: all four kinds of call, an error, a
deadline and a cancel. No generated code: messages are bytes.

    grpc_peer.py serve ADDR      until SIGTERM; prints `ready`
    grpc_peer.py call ADDR       one of each; first one with what PERISCO_METADATA says
                                 (key=value, separated by commas)
"""
import os
import signal
import sys
import time
from concurrent import futures

import grpc

SERVICE = "live.Peer"


def unary(request, context):
    if request == b"fail":
        context.abort(grpc.StatusCode.UNAVAILABLE, "no such luck")
    if request == b"slow":
        time.sleep(2)
    return request * 3


def server_stream(request, context):
    for n in range(5):
        yield request + str(n).encode()


def client_stream(requests, context):
    return b"".join(requests)


def bidi(requests, context):
    for request in requests:
        yield request[::-1]


def serve(address):
    handlers = grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
            "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        },
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    server.stop(1).wait()


def call(address):
    with grpc.insecure_channel(address) as channel:
        path = f"/{SERVICE}/"
        one = channel.unary_unary(path + "Unary")
        pairs = filter(None, os.environ.get("PERISCO_METADATA", "").split(","))
        metadata = [tuple(pair.split("=", 1)) for pair in pairs]
        metadata = [(k, v.encode() if k.endswith("-bin") else v) for k, v in metadata]
        for _ in range(3):
            assert one(b"abc", metadata=metadata) == b"abcabcabc"
        assert one(b"x" * 100_000) == b"x" * 300_000
        assert len(list(channel.unary_stream(path + "ServerStream")(b"n"))) == 5
        assert channel.stream_unary(path + "ClientStream")(iter([b"a", b"b", b"c"])) == b"abc"
        assert list(channel.stream_stream(path + "Bidi")(iter([b"ab", b"cd"]))) == [b"ba", b"dc"]
        for request, timeout, expected in (
            (b"fail", None, grpc.StatusCode.UNAVAILABLE),
            (b"slow", 0.3, grpc.StatusCode.DEADLINE_EXCEEDED),
        ):
            try:
                one(request, timeout=timeout)
                raise SystemExit("a call that must fail did not")
            except grpc.RpcError as error:
                assert error.code() == expected, error.code()
        slow = one.future(b"slow")
        time.sleep(0.2)
        slow.cancel()
        time.sleep(0.2)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](sys.argv[2])
