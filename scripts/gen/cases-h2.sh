# HTTP/2 cases, all without TLS; see lib.sh.

go_serve() { server 8081 "$TOOLS/httppeer" serve 127.0.0.1:8081; }
nghttpd_server() { server 8090 nghttpd --no-tls -a 127.0.0.1 -d "$WORK/www" "$@" 8090; }
ng() { run nghttp "$@"; }
NG=http://127.0.0.1:8090
# ngtx PATH [STATUS] [REQ] [RESP] [MORE]: a GET of a file from nghttpd
ngtx() { tx h2 GET 127.0.0.1:8090 "$1" "${2:-200}" "${3:-0}" "${4:-$(size "${1#/}")}" "${5:-}"; }

case:h2/go-h2c() {
  purpose "Go on both sides, prior knowledge: a redirect that is followed, a POST of 20 KB, a JPEG of 96 KB with flow control, HEAD, 404."
  peers go x/net
  capture 'tcp port 8081'
  gopeer basic-h2 127.0.0.1:8081
  finish pcap
}

case:h2/go-trailers() {
  purpose "Trailers both ways: a second HEADERS frame on the stream from the client and from the server."
  peers go x/net
  capture 'tcp port 8081'
  gopeer trailers-h2 127.0.0.1:8081
  finish pcap
}

case:h2/go-early-hints() {
  purpose "Two 103 Early Hints (HEADERS without END_STREAM) before the 200."
  peers go x/net
  capture 'tcp port 8081'
  gopeer hints-h2 127.0.0.1:8081
  finish pcap
}

case:h2/go-concurrent() {
  purpose "Six streams at once, their DATA frames interleaved."
  peers go x/net
  capture 'tcp port 8081'
  gopeer concurrent-h2 127.0.0.1:8081
  finish pcapng.zst
}

case:h2/go-abort() {
  purpose "RST_STREAM(INTERNAL_ERROR) by the server: in the middle of a body, and before any header (http.ErrAbortHandler)."
  peers go x/net
  capture 'tcp port 8081'
  gopeer abort-h2 127.0.0.1:8081
  finish pcap
}

case:h2/go-shutdown() {
  purpose "Graceful shutdown: GOAWAY while a request is in flight, which is still answered."
  peers go x/net
  capture 'tcp port 8081'
  gopeer shutdown-h2 127.0.0.1:8081
  finish pcap
}

case:h2/go-early-413() {
  purpose "A 413 with END_STREAM while the client is still sending, then RST_STREAM(NO_ERROR)."
  peers go x/net
  capture 'tcp port 8081'
  gopeer refuse-h2 127.0.0.1:8081
  note "request_body_bytes is what the client had sent when it stopped; it depends on timing."
  finish pcap
}

case:h2/go-cancel() {
  purpose "The client gives up a slow request: RST_STREAM(CANCEL); the connection lives on."
  peers go x/net
  capture 'tcp port 8081'
  gopeer cancel-h2 127.0.0.1:8081
  finish pcap
}

case:h2/go-events() {
  purpose "Server-sent events over h2, and a stream that the client leaves in the middle."
  peers go x/net
  capture 'tcp port 8081'
  gopeer events-h2 127.0.0.1:8081
  note "The server may have sent more of the second answer than the 320 bytes that the client read."
  finish pcap
}

case:h2/curl-upgrade() {
  purpose "h2c by Upgrade: an HTTP/1.1 request with Upgrade: h2c, 101, and its answer on stream 1; further requests as h2; and an Upgrade by a POST with a body."
  peers curl go x/net
  go_serve
  capture 'tcp port 8081'
  tcurl --http2 http://127.0.0.1:8081/ http://127.0.0.1:8081/new http://127.0.0.1:8081/missing/1
  tcurl --http2 -d '{"order":1}' http://127.0.0.1:8081/orders
  note "The upgraded request is h2 in truth.json: it is sent as HTTP/1.1 and answered on stream 1."
  finish pcap
}

case:h2/nghttp-upgrade() {
  purpose "h2c by Upgrade with nghttp -u, whose next requests are streams of their own."
  peers nghttp go x/net
  go_serve
  capture 'tcp port 8081'
  ng -n -u http://127.0.0.1:8081/ http://127.0.0.1:8081/new
  tx h2 GET 127.0.0.1:8081 / 200 0 14 '"note":"sent as HTTP/1.1 with Upgrade, answered on stream 1"'
  tx h2 GET 127.0.0.1:8081 /new 200 0 17
  finish pcap
}

case:h2/nghttp-push() {
  purpose "Server push: two PUSH_PROMISE with the page."
  peers nghttp nghttpd
  nghttpd_server --push=/index.html=/style.css,/app.js
  capture 'tcp port 8090'
  ng -n $NG/index.html
  ngtx /index.html
  ngtx /style.css 200 0 "$(size style.css)" '"pushed":true'
  ngtx /app.js 200 0 "$(size app.js)" '"pushed":true'
  finish pcap
}

case:h2/nghttp-priorities() {
  purpose "PRIORITY frames for idle streams, weights and dependencies in HEADERS; the page's assets are fetched too."
  peers nghttp nghttpd
  nghttpd_server
  capture 'tcp port 8090'
  ng -n -a -p 200 $NG/index.html
  ng -n -m 3 -p 8 $NG/lines.txt
  ngtx /index.html
  ngtx /style.css
  ngtx /app.js
  local i
  for i in 1 2 3; do ngtx /lines.txt; done
  finish pcap
}

case:h2/nghttp-padding() {
  purpose "Padded HEADERS and DATA both ways, with a POST."
  peers nghttp nghttpd
  nghttpd_server -b 100
  capture 'tcp port 8090'
  ng -n -b 80 $NG/lines.txt $NG/small.txt
  ng -n -b 80 -d "$WORK/www/data.json" $NG/small.txt
  ngtx /lines.txt
  ngtx /small.txt
  tx h2 POST 127.0.0.1:8090 /small.txt 200 "$(size data.json)" "$(size small.txt)"
  note "The padding does not count as body."
  finish pcap
}

case:h2/nghttp-continuation() {
  purpose "A header block in HEADERS and CONTINUATION frames."
  peers nghttp nghttpd
  nghttpd_server
  capture 'tcp port 8090'
  ng -n --continuation $NG/small.txt $NG/style.css
  ngtx /small.txt
  ngtx /style.css
  finish pcap
}

case:h2/nghttp-trailers() {
  purpose "Trailers and a POST with nghttp and nghttpd; an upload that is echoed; Expect: 100-continue over h2."
  peers nghttp nghttpd
  nghttpd_server --trailer 'x-sum: 123' --echo-upload
  capture 'tcp port 8090'
  ng -n --trailer 'x-client-sum: abc' -d "$WORK/www/style.css" $NG/echo
  ng -n --expect-continue -d "$WORK/www/small.txt" $NG/echo
  ng -n $NG/small.txt
  tx h2 POST 127.0.0.1:8090 /echo 200 "$(size style.css)" "$(size style.css)"
  tx h2 POST 127.0.0.1:8090 /echo 200 "$(size small.txt)" "$(size small.txt)"
  ngtx /small.txt
  finish pcap
}

case:h2/nghttp-window() {
  purpose "Flow control with small windows: 60 KB through 16 KB windows, two streams."
  peers nghttp nghttpd
  nghttpd_server
  capture 'tcp port 8090'
  ng -n -w 14 -W 14 $NG/blob.bin $NG/lines.txt
  ngtx /blob.bin
  ngtx /lines.txt
  finish pcap
}

case:h2/nghttp-header-table() {
  purpose "HPACK dynamic table size updates: the client's table goes to 0 and back to 4096 by SETTINGS; large and repeated header fields."
  peers nghttp nghttpd
  nghttpd_server
  capture 'tcp port 8090'
  local u=()
  for i in 1 2 3 4; do u+=("$NG/small.txt?n=$i"); done
  ng -n -c 0 -c 4096 --encoder-header-table-size 256 -H 'x-long: '"$(printf 'v%.0s' {1..200})" -H 'x-short: 1' "${u[@]}"
  for i in 1 2 3 4; do ngtx "/small.txt?n=$i" 200 0 "$(size small.txt)"; done
  finish pcap
}

case:h2/nghttpd-early-response() {
  purpose "A server that answers before the request has ended (nghttpd --early-response)."
  peers nghttp nghttpd
  nghttpd_server --early-response
  capture 'tcp port 8090'
  ng -n -d "$WORK/www/upload.bin" $NG/small.txt
  tx h2 POST 127.0.0.1:8090 /small.txt 200 null "$(size small.txt)" '"note":"answered before the request had ended; nghttp does not say how much of its 150000 bytes it sent"'
  finish pcap
}

case:h2/h2load-streams() {
  purpose "Two connections with four concurrent streams each (h2load), twelve requests."
  peers h2load nghttpd
  nghttpd_server
  capture 'tcp port 8090'
  run h2load -n 12 -c 2 -m 4 $NG/small.txt $NG/style.css $NG/missing.txt
  local i c p=(small.txt style.css missing.txt)
  for c in 1 2; do
    for ((i = 0; i < 6; i++)); do
      if ((i % 3 == 2)); then ngtx /missing.txt 404 0 null; else ngtx "/${p[i % 3]}"; fi
    done
  done
  note "h2load names no requests: the list is written from its command line, connection by connection; on the wire the two connections run at the same time."
  finish pcap
}

# The client is Go's: curl 7.88.1 cannot use an h2c connection of prior knowledge twice.

case:h2/nginx-goaway() {
  purpose "GOAWAY: nginx ends each connection after three requests (keepalive_requests), the client opens another one."
  peers nginx go x/net
  nginx_server
  capture 'tcp port 8082'
  gopeer client-users-h2 127.0.0.1:8082
  finish pcap
}

case:h2/nginx-mix() {
  purpose "nginx over h2: a file, HEAD, 304, a range, an upload, 404 and 500; over several connections (keepalive_requests 3)."
  peers nginx go x/net
  nginx_server
  capture 'tcp port 8082'
  gopeer client-mix-h2 127.0.0.1:8082
  finish pcap
}

case:h2/nginx-early-413() {
  purpose "nginx refuses an upload over h2 with 413 at once, by its Content-Length, and resets the stream; the client stops."
  peers nginx go x/net
  nginx_server
  capture 'tcp port 8082'
  gopeer client-refuse-h2 127.0.0.1:8082
  note "request_body_bytes is what the client had sent when it stopped; it depends on timing."
  finish pcap
}

case:h2/curl-prior-knowledge() {
  purpose "curl with prior knowledge: one request per connection, one of them an upload."
  peers nginx curl
  nginx_server
  capture 'tcp port 8082'
  tcurl --http2-prior-knowledge http://127.0.0.1:8082/lines.txt
  tcurl --http2-prior-knowledge -T "$WORK/www/data.json" http://127.0.0.1:8082/upload
  tcurl --http2-prior-knowledge -I http://127.0.0.1:8082/nothing/9
  finish pcap
}
