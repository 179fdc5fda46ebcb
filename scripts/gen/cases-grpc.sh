# gRPC cases; see lib.sh. The service is gen/proto/shop.proto.

G=127.0.0.1:8092

case:grpc/go-unary() {
  purpose "Unary calls between Go peers on one connection, with metadata (binary too), and a call of the health service."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc unary $G
  finish pcap
}

case:grpc/go-streams() {
  purpose "Server, client and bidirectional streams between Go peers."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc streams $G
  finish pcapng
}

case:grpc/go-errors() {
  purpose "Errors: trailers-only answers (5 with a percent-encoded message, 7 without one, 2, 12 for an unknown method and an unknown service) and one with its header first (8)."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc errors $G
  finish pcap
}

case:grpc/go-gzip() {
  purpose "Messages compressed with gzip, unary and streamed; the last call is not compressed."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc gzip $G
  finish pcap
}

case:grpc/go-cancel() {
  purpose "The client cancels a server stream and a unary call: RST_STREAM(CANCEL)."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc cancel $G
  note "The server may have sent more messages than the client read."
  finish pcap
}

case:grpc/go-deadline() {
  purpose "A deadline (grpc-timeout) that passes before the answer: RST_STREAM by the client, no status on the wire."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc deadline $G
  finish pcap
}

case:grpc/go-shutdown() {
  purpose "GracefulStop: GOAWAY while a call is in flight, which is still answered."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc shutdown $G
  finish pcap
}

case:grpc/go-broken() {
  purpose "The server stops hard: the connection closes while a call is in flight (UNAVAILABLE at the client, no status on the wire)."
  peers grpc-go
  capture 'tcp port 8092'
  gogrpc broken $G
  finish pcap
}

case:grpc/py-kinds() {
  purpose "grpcio: unary, server stream (also an empty one), client stream and bidirectional stream; large loopback segments."
  peers grpcio
  mtu 65536
  capture 'tcp port 8092'
  py grpcpeer.py kinds $G
  finish pcap
}

case:grpc/py-errors() {
  purpose "grpcio errors: NOT_FOUND with a message that must be percent-encoded, a handler that raises, an error after the initial metadata, an unknown method, an error after three streamed messages, an error in a client stream."
  peers grpcio
  capture 'tcp port 8092'
  py grpcpeer.py errors $G
  finish pcap
}

case:grpc/py-deadline() {
  purpose "grpcio: deadlines that pass before the answer and in the middle of a stream."
  peers grpcio
  capture 'tcp port 8092'
  py grpcpeer.py deadline $G
  note "The client ends these calls itself, at about the time at which the server's own timer ends them too: the server's grpc-status 4 can be on the wire (in the committed capture it is, for both calls; for the first with :status 200, trailers-only). truth.json has null, as the client does not tell whether it got it."
  finish pcap
}

case:grpc/py-cancel() {
  purpose "grpcio: a server stream cancelled after three messages, and a cancelled unary call."
  peers grpcio
  capture 'tcp port 8092'
  py grpcpeer.py cancel $G
  note "The server may have sent more messages than the client read."
  finish pcapng.zst
}

case:grpc/py-gzip() {
  purpose "grpcio with gzip on the channel, unary and streamed."
  peers grpcio
  capture 'tcp port 8092'
  py grpcpeer.py gzip $G
  note "The sizes are null: grpcio does not tell how many bytes a compressed message took."
  finish pcap
}

case:grpc/py-go() {
  purpose "A grpcio client and a grpc-go server: two implementations, two HPACK encoders."
  peers grpcio grpc-go
  server 8092 "$TOOLS/grpcpeer" serve $G
  capture 'tcp port 8092'
  py grpcpeer.py client $G
  finish pcap
}

case:grpc/nginx-proxy() {
  purpose "gRPC through nginx (grpc_pass), both legs captured."
  peers grpcio nginx grpc-go
  server 8092 "$TOOLS/grpcpeer" serve $G
  nginx_server
  capture 'tcp port 8083 or tcp port 8092'
  py grpcpeer.py client 127.0.0.1:8083
  # The other leg: the same calls with nginx's authority, each right after its own.
  sed -i 'h; s/"grpc": /"leg": "client-proxy", "grpc": /p; g; s/127\.0\.0\.1:8083/'$G'/; s/"grpc": /"leg": "proxy-origin", "grpc": /' "$WORK/truth.jsonl"
  note "The proxy-origin leg of truth.json is the client's list again, with the authority that nginx sends."
  finish pcap
}

case:grpc/nginx-502() {
  purpose "A gRPC call that gets a plain HTTP answer: nginx cannot reach its upstream and answers 502 with a text/html body and no grpc-status."
  peers grpcio nginx
  nginx_server
  capture 'tcp port 8083'
  py grpcpeer.py client-502 127.0.0.1:8083
  finish pcap
}

case:grpc/web() {
  purpose "gRPC-Web over HTTP/1.1: application/grpc-web+proto (unary, an error, a server stream whose body lasts until close) and application/grpc-web-text."
  peers sonora python
  capture 'tcp port 8094'
  py grpcweb.py 127.0.0.1 8094
  note "grpc.status comes from the trailer frame in the body (flag 0x80), not from HTTP trailers. The server (wsgiref) answers with HTTP/1.0."
  finish pcap
}
