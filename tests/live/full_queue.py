"""A listener that answers no more SYNs: its queue is full, and it does not accept.

    full_queue.py ADDR PORT      prints `ready`; when its standard input ends, it answers all with HTTP
"""
import socket
import sys

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen(0)
waiting = []
while True:
    client = socket.socket()
    client.settimeout(0.5)
    try:
        client.connect((sys.argv[1], int(sys.argv[2])))
        waiting.append(client)
    except TimeoutError:
        client.close()
        break
print("ready", flush=True)
sys.stdin.read()
for client in waiting:
    client.close()
while True:
    connection, _ = listener.accept()
    if connection.recv(1000):
        connection.sendall(RESPONSE)
    connection.close()
