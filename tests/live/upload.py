"""A client sends much to a server, which answers when it has all.

    upload.py ADDR PORT BYTES
"""
import socket
import sys
import threading

address, length = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
listener = socket.create_server(address)


def serve():
    connection, _ = listener.accept()
    left = length + len(HEAD)
    while left:
        left -= len(connection.recv(min(left, 1 << 20)))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    connection.close()


HEAD = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length
server = threading.Thread(target=serve)
server.start()
client = socket.create_connection(address)
client.sendall(HEAD)
piece = bytes(1 << 20)
for _ in range(length >> 20):
    client.sendall(piece)
assert client.recv(1000).startswith(b"HTTP/1.1 200")
client.close()
server.join()
