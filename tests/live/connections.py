"""Plain TCP peers for the live tests.

    connections.py echo ADDR PORT               answers each connection's lines with HTTP; prints `ready`
    connections.py short ADDR PORT COUNT        that many connections, a request each
    connections.py hold ADDR PORT               one connection: a request now, another when a line comes on stdin
    connections.py open ADDR PORT COUNT         opens that many at once, a request each, closes them all
"""
import asyncio
import resource
import sys

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


def request(number):
    return f"GET /n/{number} HTTP/1.1\r\nHost: live.test\r\n\r\n".encode()


async def answer(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(RESPONSE)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def echo(address, port):
    server = await asyncio.start_server(answer, address, port, backlog=20000)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


async def ask(reader, writer, number):
    writer.write(request(number))
    assert await reader.readexactly(len(RESPONSE)) == RESPONSE


async def short(address, port, count):
    for number in range(count):
        reader, writer = await asyncio.open_connection(address, port)
        await ask(reader, writer, number)
        writer.close()
        await writer.wait_closed()


async def hold(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    await ask(reader, writer, 0)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await ask(reader, writer, 1)
    writer.close()


async def open_many(address, port, count):
    pairs = []
    for begin in range(0, count, 500):
        pairs += await asyncio.gather(*(asyncio.open_connection(address, port) for _ in range(min(500, count - begin))))
    for number, (reader, writer) in enumerate(pairs):
        await ask(reader, writer, number)
    for _, writer in pairs:
        writer.close()


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    kind, address, port, *count = sys.argv[1:]
    what = {"echo": echo, "short": short, "hold": hold, "open": open_many}[kind]
    try:
        asyncio.run(what(address, int(port), *map(int, count)))
    except KeyboardInterrupt:
        pass


main()
