# Cases made from the packets of others, as bad captures are; see lib.sh.

change() { show "$(quoted "$@")"; "$@" >>"$WORK/clients.log" 2>&1 || { cat "$WORK/clients.log" >&2; die "$1 failed"; }; }
mangle() { change "$TOOLS/venv/bin/python" "$GEN/py/mangle.py" "$1" "$WORK/from.cap" "$WORK/cap.raw"; }

case:broken/late-start() {
  purpose "The capture starts in the middle of a kept-alive connection, with an answer whose request nobody saw."
  peers nginx curl
  derived http1/nginx-keepalive
  change editcap "$WORK/from.cap" "$WORK/cap.raw" 1-8
  note "The packets of http1/nginx-keepalive without the first eight: the handshake, the first exchange and the second request."
  finish pcap
}

case:broken/h2-late-start() {
  purpose "An h2 connection of which the preface, the SETTINGS and the first HEADERS are missing: HPACK entries that nobody saw being added."
  peers go x/net
  derived h2/go-h2c
  change editcap "$WORK/from.cap" "$WORK/cap.raw" 1-14
  note "The packets of h2/go-h2c without the first fourteen."
  finish pcap
}

case:broken/loss() {
  purpose "Segments in the middle of bodies were not captured (the peers did get them): gaps in a POST and in a JPEG."
  peers go
  derived http1/go-net-http
  change editcap "$WORK/from.cap" "$WORK/cap.raw" 17 60 61 62 90
  note "The packets of http1/go-net-http without numbers 17, 60, 61, 62 and 90."
  finish pcap
}

case:broken/h2-loss() {
  purpose "An h2 connection with gaps in its DATA frames: frame boundaries are lost after them."
  peers nghttp nghttpd
  derived h2/nghttp-window
  change editcap "$WORK/from.cap" "$WORK/cap.raw" 20 21 40
  note "The packets of h2/nghttp-window without numbers 20, 21 and 40."
  finish pcap
}

case:broken/snaplen() {
  purpose "Packets cut to 400 bytes: headers are there, most of the bodies are not."
  peers go
  derived http1/go-net-http
  change editcap -s 400 "$WORK/from.cap" "$WORK/cap.raw"
  finish pcap
}

case:broken/cut-file() {
  purpose "The file ends in the middle of a packet (a capture that was killed)."
  peers go
  derived http1/go-net-http
  change dd "if=$WORK/from.cap" "of=$WORK/cap.raw" bs=1 count=60007
  finish pcap
}

case:broken/reordered() {
  purpose "Segments out of order."
  peers go x/net
  derived h2/go-h2c
  mangle reorder
  finish pcap
}

case:broken/retransmitted() {
  purpose "Segments that come again three packets later."
  peers go
  derived http1/go-net-http
  mangle retransmit
  finish pcap
}

case:broken/duplicated() {
  purpose "Every packet twice, as from two mirror ports."
  peers nginx curl
  derived http1/nginx-errors
  mangle duplicate
  finish pcap
}
