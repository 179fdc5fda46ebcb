"""One end of a TCP connection, for the live tests.

peer.py server HOST UP DOWN ROUNDS PORT   takes one connection after the other
peer.py client HOST UP DOWN ROUNDS PORT

Both print their port first (PORT 0 of a server: any).

In each round the client sends UP bytes and the server DOWN bytes. Between
rounds the client waits for a line on its standard input. A byte is its place
in the stream modulo 251, plus 3 for the server.
"""

import socket
import sys

ROLE, HOST = sys.argv[1:3]
UP, DOWN, ROUNDS, PORT = map(int, sys.argv[3:7])
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET


def stream(salt, length):
    turned = bytes((i + salt) % 251 for i in range(251))
    return turned * (length // 251) + turned[: length % 251]


def send(connection, salt, length, turn):
    connection.sendall(stream(salt, length * ROUNDS)[length * turn : length * (turn + 1)])


def receive(connection, length):
    while length:
        data = connection.recv(min(length, 1 << 20))
        if not data:
            sys.exit("the other end closed early")
        length -= len(data)


def serve(connection):
    for turn in range(ROUNDS):
        receive(connection, UP)
        send(connection, 3, DOWN, turn)


if ROLE == "server":
    listener = socket.create_server((HOST, PORT), family=FAMILY, dualstack_ipv6="ffff" in HOST)
    print(listener.getsockname()[1], flush=True)
    while True:
        with listener.accept()[0] as accepted:
            serve(accepted)
else:
    with socket.create_connection((HOST, PORT)) as connected:
        print(connected.getsockname()[1], flush=True)
        for turn in range(ROUNDS):
            if turn:
                sys.stdin.readline()
            send(connected, 0, UP, turn)
            receive(connected, DOWN)
            print("round", flush=True)
