"""A client that asks twice a second on one connection: port, seconds."""
import http.client
import sys
import time

port, seconds = int(sys.argv[1]), float(sys.argv[2])
connection = http.client.HTTPConnection("127.0.0.1", port)
end = time.monotonic() + seconds
while time.monotonic() < end:
    connection.request("GET", "/hello?keep")
    connection.getresponse().read()
    time.sleep(0.5)
print("ready", flush=True)
