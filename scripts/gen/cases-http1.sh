# HTTP/1.x cases; see lib.sh.

case:http1/go-net-http() {
  purpose "Go net/http on both sides: a redirect that is followed, a POST of 20 KB, a static JPEG of 96 KB, HEAD, 404; one kept-alive connection."
  peers go
  capture 'tcp port 8081'
  gopeer basic 127.0.0.1:8081
  finish pcap
}

case:http1/go-trailers() {
  purpose "Chunked bodies with trailers both ways: a request trailer, and a declared and an undeclared response trailer."
  peers go
  capture 'tcp port 8081'
  gopeer trailers 127.0.0.1:8081
  finish pcap
}

case:http1/go-early-hints() {
  purpose "Two 103 Early Hints before the 200, then an ordinary request on the same connection."
  peers go
  capture 'tcp port 8081'
  gopeer hints 127.0.0.1:8081
  finish pcap
}

case:http1/go-events() {
  purpose "Server-sent events to their end, and a chunked stream that the client leaves in the middle."
  peers go
  capture 'tcp port 8081'
  gopeer events 127.0.0.1:8081
  note "The second answer is cut off by the client: its chunked body has no end. The server may have sent more than the client read, so the capture can hold more than the 320 bytes of truth.json."
  finish pcap
}

case:http1/go-abort() {
  purpose "Handlers that panic with http.ErrAbortHandler: a chunked body without its end, and a connection closed without an answer."
  peers go
  capture 'tcp port 8081'
  gopeer abort 127.0.0.1:8081
  note "tshark 4.0 waits for the end of the chunked body and lists no answer to /abort-late; the client saw a 200."
  finish pcap
}

case:http1/go-early-413() {
  purpose "A 413 (Connection: close) in answer to a chunked POST that has not ended yet; the client stops, the next request uses a new connection."
  peers go
  capture 'tcp port 8081'
  gopeer refuse 127.0.0.1:8081
  note "request_body_bytes is what the client had passed on to its transport when it stopped; the chunked body has no end, so tshark 4.0 lists no request."
  finish pcapng
}

case:http1/go-client-timeout() {
  purpose "The client gives up a slow request and closes; the answer is never read."
  peers go
  capture 'tcp port 8081'
  gopeer cancel 127.0.0.1:8081
  note "The server writes its answer (200, 13 bytes) after the client has closed; it may be in the capture although the client never saw it (truth.json says null)."
  finish pcap
}

case:http1/go-methods() {
  purpose "PUT, PATCH, DELETE, OPTIONS with bodies, a method of its own (PURGE), and a 500."
  peers go
  capture 'tcp port 8081'
  gopeer methods 127.0.0.1:8081
  note "tshark 4.0 does not know PURGE: it lists neither this request nor the GET /fail after it."
  finish pcap
}

case:http1/nginx-keepalive() {
  purpose "Several requests of different kinds on one kept-alive connection, HEAD among them, and an answer of no bytes."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl http://127.0.0.1:8080/ http://127.0.0.1:8080/style.css 'http://127.0.0.1:8080/small.txt?a=1&b=two%20words' \
    --next -I http://127.0.0.1:8080/lines.txt --next http://127.0.0.1:8080/empty.txt http://127.0.0.1:8080/moved \
    --next -d 'q=1' http://127.0.0.1:8080/upload
  finish pcap
}

case:http1/nginx-chunked() {
  purpose "Chunked answers (nginx's SSI) and a chunked upload."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl http://127.0.0.1:8080/chunked/lines.txt http://127.0.0.1:8080/chunked/small.txt \
    --next -H 'Transfer-Encoding: chunked' -H 'Expect:' -T "$WORK/www/data.json" http://127.0.0.1:8080/upload
  # curl counts the chunk framing as uploaded.
  sed -i '$s/"up":[0-9]*/"up":'"$(size data.json)"'/' "$WORK/truth.jsonl"
  finish pcap
}

case:http1/nginx-gzip() {
  purpose "Content-Encoding: gzip, chunked as it is compressed on the fly, and with a Content-Length from a precompressed file; large loopback segments."
  peers nginx curl
  mtu 65536
  nginx_server
  capture 'tcp port 8080'
  tcurl -H 'Accept-Encoding: gzip' http://127.0.0.1:8080/gz/data.json http://127.0.0.1:8080/gz/lines.txt http://127.0.0.1:8080/static/lines.txt \
    --next http://127.0.0.1:8080/gz/data.json
  note "curl got the Accept-Encoding as a plain header, not --compressed: it counts the encoded bytes, and so does truth.json."
  finish pcapng
}

case:http1/nginx-304() {
  purpose "Conditional requests: 304 by ETag and by date (no body, though there may be a Content-Length), 200 when they do not match, 412."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  local etag
  etag=$(printf '"%x-%x"' 1714564800 "$(size lines.txt)")
  tcurl -H "If-None-Match: $etag" http://127.0.0.1:8080/lines.txt \
    --next -H 'If-Modified-Since: Wed, 01 May 2024 12:00:00 GMT' http://127.0.0.1:8080/lines.txt \
    --next -H 'If-None-Match: "other"' http://127.0.0.1:8080/small.txt \
    --next -H 'If-Match: "other"' http://127.0.0.1:8080/small.txt \
    --next http://127.0.0.1:8080/small.txt
  finish pcap
}

case:http1/nginx-range() {
  purpose "206 for one range and for several (multipart/byteranges), an open range, and 416."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl -r 0-99 http://127.0.0.1:8080/blob.bin --next -r 59900- http://127.0.0.1:8080/blob.bin \
    --next -r 0-9,100-109 http://127.0.0.1:8080/blob.bin --next -r 70000-70001 http://127.0.0.1:8080/blob.bin
  finish pcap.gz
}

case:http1/nginx-upload-100() {
  purpose "An upload of 150 KB with Expect: 100-continue: an interim 100 before the body, then 201; and a second, small one without Expect."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl -H 'Expect: 100-continue' -T "$WORK/www/upload.bin" http://127.0.0.1:8080/upload --next -H 'Expect:' -T "$WORK/www/small.txt" http://127.0.0.1:8080/upload
  finish pcap
}

case:http1/nginx-expect-413() {
  purpose "Expect: 100-continue that is refused with 413: the announced body is never sent."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl -H 'Expect: 100-continue' -T "$WORK/www/upload.bin" http://127.0.0.1:8080/small-only
  note "The request has a Content-Length of 150000, and no byte of it follows. tshark 4.0 waits for it and lists no request."
  finish pcap
}

case:http1/nginx-early-413() {
  purpose "A 413 while the client is still sending its upload; the client stops in the middle, so the request never ends."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl -H 'Expect:' --limit-rate 200k -T "$WORK/www/upload.bin" http://127.0.0.1:8080/small-only
  note "request_body_bytes is what curl had sent when it saw the 413 (%{size_upload}); it depends on timing. tshark 4.0 waits for the rest and lists no request."
  finish pcap
}

case:http1/nginx-auth-form() {
  purpose "Things a recorder must be able to hide: Basic and Bearer authorization, cookies, a password in a form, a token in the query; also multipart/form-data."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl -u 'alice:s3cret' http://127.0.0.1:8080/small.txt \
    --next -H 'Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.' -b 'session=abc123; theme=dark' http://127.0.0.1:8080/small.txt?access_token=tok-42 \
    --next -d 'user=alice&password=s3cret' http://127.0.0.1:8080/upload \
    --next -H 'Expect:' -F 'note=a small file' -F "file=@$WORK/www/small.txt;type=text/plain" http://127.0.0.1:8080/upload
  finish pcap
}

case:http1/nginx-errors() {
  purpose "Two hosts on one server, paths with numeric ids, and a mix of 200, 404, 500, 502 and 503: for grouping and error rates."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  local c=(--connect-to ::127.0.0.1:8080)
  tcurl "${c[@]}" http://shop.example/users/1 http://shop.example/users/2 http://shop.example/users/2345 \
    http://shop.example/users/1/orders/77 http://shop.example/users/2/orders/78 http://shop.example/users/none http://shop.example/favicon.ico
  tcurl "${c[@]}" -X POST http://shop.example/orders/77/pay http://shop.example/orders/78/pay
  tcurl "${c[@]}" http://api.example/v1/items/10 http://api.example/v1/items/11 http://api.example/v1/items/12 \
    http://api.example/v1/stock/10 http://api.example/v1/stock/11 http://api.example/v1/slow http://api.example/v2/items/10
  tcurl "${c[@]}" http://shop.example/users/3 http://api.example/v1/items/13
  finish pcap
}

case:http1/nginx-h2load-pipelined() {
  purpose "Pipelining: h2load keeps three HTTP/1.1 requests in flight on one connection."
  peers nginx h2load
  nginx_server
  capture 'tcp port 8080'
  run h2load --h1 -n 7 -c 1 -m 3 http://127.0.0.1:8080/small.txt http://127.0.0.1:8080/style.css http://127.0.0.1:8080/nothing.txt http://127.0.0.1:8080/lines.txt
  local i n=0 p
  for ((i = 0; i < 7; i++)); do
    p=(small.txt style.css nothing.txt lines.txt)
    p=${p[i % 4]}
    if [[ $p == nothing.txt ]]; then tx http/1.1 GET 127.0.0.1:8080 /$p 404 0 153; else tx http/1.1 GET 127.0.0.1:8080 /$p 200 0 "$(size $p)"; fi
  done
  note "h2load counts, but names no requests: the list is written from its command line (the URIs are used in turn). 153 bytes is the length of nginx's 404 page."
  finish pcap
}

case:http1/nginx-ipv6() {
  purpose "IPv6: client and server on [::1]."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl -g 'http://[::1]:8080/small.txt' 'http://[::1]:8080/lines.txt' 'http://[::1]:8080/nothing/7'
  finish pcapng
}

case:http1/nginx-any-sll2() {
  purpose "Captured with -i any: link type LINUX_SLL2. An IPv4 and an IPv6 connection."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080' -i any
  tcurl http://127.0.0.1:8080/small.txt http://127.0.0.1:8080/style.css
  tcurl -g 'http://[::1]:8080/small.txt'
  finish pcap
}

case:http1/nginx-any-sll() {
  purpose "Captured with -i any and the older link type LINUX_SLL, with nanosecond times."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080' -i any -y LINUX_SLL --time-stamp-precision nano
  tcurl http://127.0.0.1:8080/small.txt http://127.0.0.1:8080/style.css
  finish pcap
}

case:http1/nginx-silent() {
  purpose "A server that closes without an answer (nginx's 444), first on a kept-alive connection, then on a new one."
  peers nginx curl
  nginx_server
  capture 'tcp port 8080'
  tcurl http://127.0.0.1:8080/small.txt http://127.0.0.1:8080/gone
  tx http/1.1 GET 127.0.0.1:8080 /gone null 0 null '"note":"curl tries again by itself on a new connection"'
  note "curl sees the close on a reused connection and tries again on a new one by itself: three requests are on the wire, /gone twice. curl reports the two as one; truth.json has both (the second by hand)."
  finish pcap
}

case:http1/http10() {
  purpose "HTTP/1.0: a body that lasts until the connection closes, one with a length, a POST, and nginx answering an HTTP/1.0 client (gzip'd, so without a length)."
  peers python nginx curl
  server 8088 "$TOOLS/venv/bin/python" "$GEN/py/oddserver.py" http10 127.0.0.1 8088
  nginx_server
  capture 'tcp port 8088 or tcp port 8080'
  # curl names the version of the answer; truth.json wants the request's.
  tcurl --more '{"protocol":"http/1.0"}' -0 http://127.0.0.1:8088/until-close http://127.0.0.1:8088/with-length --next -0 -d 'abc=1' http://127.0.0.1:8088/form
  tcurl --more '{"protocol":"http/1.1"}' http://127.0.0.1:8088/until-close
  tcurl --more '{"protocol":"http/1.0"}' -0 -H 'Accept-Encoding: gzip' http://127.0.0.1:8080/chunked/small.txt
  note "The fourth request says HTTP/1.1 and gets an HTTP/1.0 answer; nginx answers the fifth, an HTTP/1.0 request, with HTTP/1.1."
  finish pcap
}

case:http1/short-body() {
  purpose "The server closes (FIN) after half of the announced body."
  peers python curl
  server 8088 "$TOOLS/venv/bin/python" "$GEN/py/oddserver.py" short 127.0.0.1 8088
  capture 'tcp port 8088'
  tcurl http://127.0.0.1:8088/fine
  tcurl http://127.0.0.1:8088/half/1
  note "Content-Length is 10000, 5000 bytes come."
  note "tshark 4.0 waits for the whole body and lists no answer; the peers saw a 200."
  finish pcap
}

case:http1/rst() {
  purpose "A TCP RST from the server in the middle of the response."
  peers python curl
  server 8088 "$TOOLS/venv/bin/python" "$GEN/py/oddserver.py" rst 127.0.0.1 8088
  capture 'tcp port 8088'
  tcurl http://127.0.0.1:8088/fine
  tcurl http://127.0.0.1:8088/half/2
  note "Content-Length is 10000, 5000 bytes come, then the RST."
  note "tshark 4.0 waits for the whole body and lists no answer; the peers saw a 200."
  finish pcap
}

case:http1/no-answer() {
  purpose "A request that is never answered: one server closes after it, another keeps silent until the client gives up."
  peers python curl
  server 8088 "$TOOLS/venv/bin/python" "$GEN/py/oddserver.py" silent 127.0.0.1 8088
  server 8089 "$TOOLS/venv/bin/python" "$GEN/py/oddserver.py" hang 127.0.0.1 8089
  capture 'tcp port 8088 or tcp port 8089'
  tcurl -d 'x=1' http://127.0.0.1:8088/closes
  tcurl -m 0.5 http://127.0.0.1:8089/hangs
  tcurl http://127.0.0.1:8088/fine
  finish pcap
}

case:http1/connect-proxy() {
  purpose "A forward proxy, both legs captured: CONNECT and HTTP/1.1 inside the tunnel, two requests in it; then a request in absolute form."
  peers tinyproxy nginx curl
  nginx_server
  printf 'Port 8888\nListen 127.0.0.1\nTimeout 10\nAllow 127.0.0.1\nConnectPort 8080\nMaxClients 10\nLogLevel Error\n' >"$WORK/tinyproxy.conf"
  server 8888 tinyproxy -d -c "$WORK/tinyproxy.conf"
  capture 'tcp port 8888 or tcp port 8080'
  run curl -q -sS -p -x http://127.0.0.1:8888 http://127.0.0.1:8080/small.txt http://127.0.0.1:8080/style.css
  run curl -q -sS -x http://127.0.0.1:8888 http://127.0.0.1:8080/lines.txt
  local a='"leg":"client-proxy"' b='"leg":"proxy-origin"' p
  tx http/1.1 CONNECT 127.0.0.1:8080 '' 200 0 0 "$a"
  for p in small.txt style.css; do
    tx http/1.1 GET 127.0.0.1:8080 /$p 200 0 "$(size $p)" "$a"',"note":"inside the tunnel"'
    tx http/1.1 GET 127.0.0.1:8080 /$p 200 0 "$(size $p)" "$b"
  done
  tx http/1.1 GET 127.0.0.1:8080 http://127.0.0.1:8080/lines.txt 200 0 "$(size lines.txt)" "$a"',"note":"absolute form"'
  tx http/1.1 GET 127.0.0.1:8080 /lines.txt 200 0 "$(size lines.txt)" "$b"
  note "truth.json is written from the command line and the files' sizes; the path of CONNECT is empty, its target is the authority. tinyproxy answers CONNECT with HTTP/1.0."
  note "tshark 4.0 does not list the two requests inside the tunnel; the proxy-origin leg shows the same requests."
  finish pcap
}

case:http1/websocket() {
  purpose "WebSocket without compression: text, binary, UTF-8, 7 KB, fragmented messages both ways, ping and pong, close 1000."
  peers websockets
  capture 'tcp port 8091'
  py wspeer.py plain 127.0.0.1 8091
  finish pcap
}

case:http1/websocket-deflate() {
  purpose "WebSocket with permessage-deflate, with a message of 70 KB."
  peers websockets
  capture 'tcp port 8091'
  py wspeer.py deflate 127.0.0.1 8091
  finish pcapng
}
