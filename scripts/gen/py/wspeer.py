"""WebSocket peers (the `websockets` package): an echo server and a client.

    wspeer.py MODE HOST PORT TRUTH      MODE: plain | deflate
"""
import asyncio
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

import truth


async def echo(ws):
    async for m in ws:
        if m == "burst":
            for i in range(3):
                await ws.send(f"burst {i}")
            await ws.send(["frag", "men", "ted"])  # one message in several frames
        else:
            await ws.send(m)
    # the loop ends with the client's close frame


async def main():
    mode, host, port, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    compression = "deflate" if mode == "deflate" else None
    path = "/chat/17?room=blue"
    async with serve(echo, host, port, compression=compression, ping_interval=None):
        uri = f"ws://{host}:{port}{path}"
        sent = got = 0
        async with connect(uri, compression=compression, ping_interval=None,
                           subprotocols=None, additional_headers={"X-Client": "wspeer"}) as ws:
            for m in ("hello", b"\x00\x01\x02\xff", "x" * 300, "ünïcode ☃", "y" * 70000 if mode == "deflate" else "y" * 7000):
                await ws.send(m)
                sent += 1
                assert await ws.recv() == m
                got += 1
            await (await ws.ping(b"are you there"))
            await ws.send("burst")
            sent += 1
            for _ in range(4):
                await ws.recv()
                got += 1
            await ws.send(["one ", "message, ", "three frames"])
            sent += 1
            await ws.recv()
            got += 1
            await ws.close(1000, "done")
    truth.save(out, [truth.transaction(
        "http/1.1", "GET", f"{host}:{port}", path, 101, 0, 0,
        websocket=dict(client_messages=sent, server_messages=got, client_pings=1, server_pongs=1,
                       close_code=1000, close_reason="done", permessage_deflate=mode == "deflate"),
        note="the sizes are those of the HTTP bodies: there are none; the messages are in `websocket`")])
    print("websockets", websockets.__version__, sent, got)


asyncio.run(main())
