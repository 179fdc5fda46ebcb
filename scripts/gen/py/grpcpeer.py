"""The grpcio peers: server and client in one process, over plaintext h2c.

    grpcpeer.py MODE ADDR [TRUTH]      MODE client...: only the client

shop_pb2 is generated from ../proto/shop.proto by scripts/gen-testdata.
The client's (de)serializers count the messages and their bytes.
"""
import sys
import time
from concurrent import futures

import grpc

import shop_pb2 as pb
import shop_pb2_grpc
import truth

SERVICE = "shop.v1.Shop"
LIST = []


def item(i):
    return pb.Item(id=i, name=f"item {i}", price=i * 1.25, tags=["new", "blue"], labels={"shelf": str(i % 7)})


class Shop(shop_pb2_grpc.ShopServicer):
    def GetItem(self, request, context):
        i = request.id
        if i == 404:
            context.abort(grpc.StatusCode.NOT_FOUND, 'no item 404: naïve 100% "quoted"')
        if i == 409:
            context.send_initial_metadata((("x-early", "yes"),))
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "two of them")
        if i == 500:
            raise RuntimeError("the handler broke")
        if i >= 10000:
            time.sleep((i - 10000) / 1000)
        context.set_trailing_metadata((("x-cost", "3"), ("x-trace-bin", b"\x00\x01\xfe\xff")))
        return item(i)

    def ListItems(self, request, context):
        for i in range(1, request.count + 1):
            if i == 4 and request.count == 44:
                context.abort(grpc.StatusCode.DATA_LOSS, "lost after three")
            yield item(i)
            time.sleep(request.pause_ms / 1000)

    def PutItems(self, requests, context):
        n, total = 0, 0.0
        for r in requests:
            n, total = n + 1, total + r.price
            if r.id == 666:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "item 666")
        return pb.Summary(items=n, total=total)

    def Chat(self, requests, context):
        for r in requests:
            yield pb.ChatMessage(**{"from": "server"}, text="re: " + r.text)
            if r.text == "twice":
                yield pb.ChatMessage(**{"from": "server"}, blob=bytes(range(256)) * 4)


class Call:
    """One call, with its line of the truth."""

    def __init__(self, channel, kind, method, req, res, sizes=True, note=None):
        self.t = truth.transaction("h2", "POST", ADDR, f"/{SERVICE}/{method}", None, 0, 0,
                                   dict(service=SERVICE, method=method, status=None,
                                        request_messages=0, response_messages=0))
        if not sizes:  # compressed: the (de)serializers do not see the wire's sizes
            self.t["request_body_bytes"] = self.t["response_body_bytes"] = None
        if note:
            self.t["note"] = note
        LIST.append(self.t)

        def count(way, n):
            self.t["grpc"][way + "_messages"] += 1
            if sizes:
                self.t[way + "_body_bytes"] += 5 + n

        def out(m):
            b = m.SerializeToString()
            count("request", len(b))
            return b

        def got(b):
            count("response", len(b))
            return res.FromString(b)

        self.fn = getattr(channel, kind)(f"/{SERVICE}/{method}", request_serializer=out, response_deserializer=got)

    def end(self, code, received=True):
        if received:
            self.t["status"] = 200
            self.t["grpc"]["status"] = code.value[0]
        print(self.t["path"], code, flush=True)

    def run(self, request, **kw):
        """Runs the call to its end, whatever its kind."""
        try:
            r = self.fn(request, **kw)
            if hasattr(r, "__next__"):
                for m in r:
                    pass
                self.end(r.code())
            else:
                self.end(grpc.StatusCode.OK)
        except grpc.RpcError as e:
            self.end(e.code())


def main():
    global ADDR
    mode, ADDR = sys.argv[1], sys.argv[2]
    server = None
    if not mode.startswith("client"):
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        shop_pb2_grpc.add_ShopServicer_to_server(Shop(), server)
        if not server.add_insecure_port(ADDR):
            sys.exit("cannot listen on " + ADDR)
        server.start()
    options = {}
    if mode == "gzip":
        options["compression"] = grpc.Compression.Gzip
    ch = grpc.insecure_channel(ADDR, **options)
    grpc.channel_ready_future(ch).result(10)

    def get(i, **kw):
        more = {k: kw.pop(k) for k in ("sizes", "note") if k in kw}
        Call(ch, "unary_unary", "GetItem", pb.GetItemRequest, pb.Item, **more).run(pb.GetItemRequest(id=i), **kw)

    if mode == "kinds":
        get(1, metadata=(("x-request-id", "r-1"), ("x-token-bin", b"\x00\x01\xff")), timeout=10)
        get(0)  # an empty message each way but for the name
        Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item).run(pb.ListItemsRequest(count=5, pause_ms=5))
        Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item).run(pb.ListItemsRequest(count=0))

        def items():
            for i in range(1, 5):
                yield item(i)
                time.sleep(0.005)
        Call(ch, "stream_unary", "PutItems", pb.Item, pb.Summary).run(items())

        def chat():
            for text in ("hello", "twice", "bye"):
                yield pb.ChatMessage(**{"from": "client"}, text=text)
                time.sleep(0.02)
        Call(ch, "stream_stream", "Chat", pb.ChatMessage, pb.ChatMessage).run(chat())
    elif mode == "errors":
        get(404)
        get(500)
        get(409)
        Call(ch, "unary_unary", "NoSuchMethod", pb.GetItemRequest, pb.Item).run(pb.GetItemRequest(id=1))
        Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item).run(pb.ListItemsRequest(count=44))
        Call(ch, "stream_unary", "PutItems", pb.Item, pb.Summary).run(iter([item(1), item(666)]))
        get(7)
    elif mode == "deadline":
        c = Call(ch, "unary_unary", "GetItem", pb.GetItemRequest, pb.Item, note="the client's deadline (80 ms) passes first")
        try:
            c.fn(pb.GetItemRequest(id=10300), timeout=0.08)
        except grpc.RpcError as e:
            c.end(e.code(), received=False)
        c.t["response_body_bytes"] = None
        c = Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item, note="the client's deadline (100 ms) passes in mid-stream")
        r = c.fn(pb.ListItemsRequest(count=50, pause_ms=30), timeout=0.1)
        try:
            for m in r:
                pass
        except grpc.RpcError as e:
            c.end(e.code(), received=False)
        c.t["status"] = 200  # the header and some messages did come
        time.sleep(0.4)
        get(2)
    elif mode == "cancel":
        get(1)
        c = Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item, note="the client cancels after 3 messages")
        r = c.fn(pb.ListItemsRequest(count=50, pause_ms=20))
        for _ in range(3):
            next(r)
        r.cancel()
        c.t["status"] = 200
        print(c.t["path"], r.code(), flush=True)
        time.sleep(0.1)
        c = Call(ch, "unary_unary", "GetItem", pb.GetItemRequest, pb.Item, note="the client cancels after 60 ms")
        f = c.fn.future(pb.GetItemRequest(id=10300))
        time.sleep(0.06)
        f.cancel()
        c.t["response_body_bytes"] = None
        time.sleep(0.4)
        get(2)
    elif mode == "gzip":
        get(5, sizes=False)
        Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item, sizes=False).run(pb.ListItemsRequest(count=3))

        def items():
            for i in range(1, 4):
                it = item(i)
                it.name = "long name " * 50
                yield it
        Call(ch, "stream_unary", "PutItems", pb.Item, pb.Summary, sizes=False).run(items())
    elif mode == "client":
        get(1, metadata=(("x-request-id", "r-1"),), timeout=10)
        get(404)
        get(1000)
        Call(ch, "unary_stream", "ListItems", pb.ListItemsRequest, pb.Item).run(pb.ListItemsRequest(count=3, pause_ms=5))
        Call(ch, "stream_unary", "PutItems", pb.Item, pb.Summary).run(iter([item(1), item(2)]))
    elif mode == "client-502":
        for i in (1, 2):
            c = Call(ch, "unary_unary", "GetItem", pb.GetItemRequest, pb.Item, note="")
            try:
                c.fn(pb.GetItemRequest(id=i))
            except grpc.RpcError as e:
                c.t["status"] = 502
                c.t["response_body_bytes"] = None
                c.t["note"] = f"the client makes {e.code().name} of it: {e.details()}"
                print(c.t["note"])
    else:
        sys.exit("unknown mode " + mode)
    ch.close()
    time.sleep(0.1)
    if server:
        server.stop(0.2).wait()
    if len(sys.argv) > 3:
        truth.save(sys.argv[3], LIST)


if __name__ == "__main__":
    main()
