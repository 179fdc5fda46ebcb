"""A process that wants everything: `flood COUNT` sends so many small messages
over one connection, `churn COUNT` opens so many connections, each with a
message, and resets them. Says "ready", waits for a line, does it, says "done"
with the bytes that were sent, and waits for the end of its input."""

import socket
import struct
import sys
import threading

MESSAGE = b"x" * 100


def receive(listener):
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=drain, args=(accepted,), daemon=True).start()


def drain(accepted):
    try:
        while accepted.recv(65536):
            pass
    except OSError:
        pass
    accepted.close()


def flood(address, count):
    sender = socket.create_connection(address)
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(count):
        sender.sendall(MESSAGE)
    sender.shutdown(socket.SHUT_WR)
    while sender.recv(1):
        pass


def churn(address, count):
    # A reset leaves no TIME_WAIT: else the ports would be used up.
    reset = struct.pack("ii", 1, 0)
    for _ in range(count):
        sender = socket.create_connection(address)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        sender.sendall(MESSAGE)
        sender.close()


what, count = sys.argv[1], int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
threading.Thread(target=receive, args=(listener,), daemon=True).start()
if len(sys.argv) > 3:
    # A name that no terminal and no line should be given.
    with open("/proc/self/comm", "wb") as comm:
        comm.write(sys.argv[3].encode("latin-1").decode("unicode_escape").encode("latin-1"))
print("ready", flush=True)
sys.stdin.readline()
{"flood": flood, "churn": churn}[what](listener.getsockname(), count)
print("done", count * len(MESSAGE), flush=True)
sys.stdin.read()
