"""A server that writes more than its client will ever take; the client leaves.

    unread.py ADDR PORT
"""
import socket
import sys
import threading
import time

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))


def serve():
    connection, _ = listener.accept()
    connection.recv(100)
    connection.setblocking(False)
    try:
        while True:
            connection.send(b"x" * 65536)
    except BlockingIOError:
        pass
    time.sleep(0.5)
    connection.close()


server = threading.Thread(target=serve)
server.start()
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
client.connect((sys.argv[1], int(sys.argv[2])))
client.send(b"GET / HTTP/1.1\r\n\r\n")
time.sleep(0.3)
client.recv(100)
client.close()
server.join()
