# Shared by scripts/gen-testdata; not run by itself.
#
# A case is a function called "case:<protocol>/<name>". It says what it is for
# (purpose, peers, note), starts its servers (server), starts tcpdump (capture),
# runs its clients (run, tcurl, peer), writes the transactions that its peers
# cannot write themselves (tx) and ends with `finish <format>`.

NS=perisco-gen-$$
SERVERS=()
DUMP=

say() { printf '%s\n' "$*" >&2; }
die() { say "gen-testdata: $*"; exit 1; }
in_ns() { ip netns exec "$NS" "$@"; }

# ---- what a case says about itself ----
purpose() { PURPOSE=$1; }
peers() { PEERS=("$@"); }
note() { NOTES+=("$1"); }
mtu() { in_ns ip link set lo mtu "$1"; }

show() { # a command as the README shows it: no temp paths
  local out="$*"
  out=${out//"$NS"/NS}
  out=${out//"$WORK"/'$WORK'}
  out=${out//"$GEN"/scripts/gen}
  out=${out//"$TOOLS"/'$TOOLS'}
  COMMANDS+=("$out")
}
quoted() { # arguments, quoted only where a shell needs it
  local a out=()
  for a in "$@"; do
    if [[ $a =~ ^[A-Za-z0-9_@%+=:,./?\&-]+$ && $a != *[\&?]* ]]; then out+=("$a"); else out+=("'$a'"); fi
  done
  printf '%s' "${out[*]}"
}

# ---- processes ----
# server PORT COMMAND...: starts it and waits until it listens.
server() {
  local port=$1; shift
  show "$(quoted "$@") &"
  ip netns exec "$NS" "$@" >>"$WORK/servers.log" 2>&1 &
  SERVERS+=($!)
  local i
  for ((i = 0; i < 100; i++)); do
    [[ -n $(in_ns ss -Hltn "sport = :$port") ]] && return
    sleep 0.1
  done
  cat "$WORK/servers.log" >&2
  die "nothing listens on $port: $*"
}

nginx_server() {
  sed "s#@WORK@#$WORK#g" "$GEN/nginx/nginx.conf" >"$WORK/nginx.conf"
  server 8080 nginx -p "$WORK" -c "$WORK/nginx.conf" -e "$WORK/nginx-error.log"
}

# run COMMAND...: a client; it may fail (some cases are about that).
run() {
  show "$(quoted "$@")"
  in_ns timeout 60 "$@" >>"$WORK/clients.log" 2>&1 || echo "exit $?" >>"$WORK/clients.log"
}

# peer PROGRAM ARGS...: a peer that holds client and server and writes truth.
peer() {
  show "$(quoted "$@")"
  in_ns timeout 60 "$@" "$WORK/truth.jsonl" >>"$WORK/clients.log" 2>&1 || { cat "$WORK/clients.log" >&2; die "$1 failed"; }
}
gopeer() { peer "$TOOLS/httppeer" "$@"; }
gogrpc() { peer "$TOOLS/grpcpeer" "$@"; }
py() { peer "$TOOLS/venv/bin/python" "$GEN/py/$1" "${@:2}"; }

# tcurl [--more JSON] ARGS...: curl that writes down each of its transfers.
tcurl() {
  local more='{}' w args=() a
  if [[ $1 == --more ]]; then more=$2; shift 2; fi
  show "curl $(quoted "$@")"
  w='%{stderr}{"curl":1,"http":"%{http_version}","method":"%{method}","url":"%{url_effective}","status":%{response_code},"up":%{size_upload},"down":%{size_download},"more":'"$more"'}\n'
  args=(-q -sS -w "$w")
  for a in "$@"; do
    args+=("$a")
    [[ $a == --next ]] && args+=(-sS -w "$w")
  done
  in_ns timeout 60 env -u http_proxy -u https_proxy -u all_proxy curl "${args[@]}" >/dev/null 2>"$WORK/curl.err" || echo "curl: exit $?" >>"$WORK/clients.log"
  # response_code has leading zeros where there was none: 000.
  sed -n 's/"status":0*\([0-9]\)/"status":\1/; /^{"curl"/p' "$WORK/curl.err" >>"$WORK/truth.jsonl"
  grep -v '^{"curl"' "$WORK/curl.err" >>"$WORK/clients.log" || true
}

# tx PROTOCOL METHOD AUTHORITY PATH STATUS REQ-BYTES RESP-BYTES [MORE-JSON]
tx() {
  local more=${8:+,$8}
  printf '{"protocol":"%s","method":"%s","authority":"%s","path":"%s","status":%s,"request_body_bytes":%s,"response_body_bytes":%s,"grpc":null%s}\n' \
    "${@:1:7}" "$more" >>"$WORK/truth.jsonl"
}
size() { stat -c %s "$WORK/www/$1"; }

# ---- the capture ----
# capture FILTER [TCPDUMP-OPTIONS...]
capture() {
  local filter=$1 i; shift
  local dev=(-i lo)
  [[ " $* " == *" -i "* ]] && dev=()
  show "tcpdump $(quoted --immediate-mode -U -B 16384 "${dev[@]}" "$@") -w \$WORK/cap.raw '$filter' &"
  ip netns exec "$NS" tcpdump -Z root --immediate-mode -U -B 16384 "${dev[@]}" "$@" -w "$WORK/cap.raw" "$filter" >/dev/null 2>"$WORK/tcpdump.log" &
  DUMP=$!
  for ((i = 0; i < 100; i++)); do
    grep -q 'listening on' "$WORK/tcpdump.log" && return
    sleep 0.05
  done
  die "tcpdump does not listen: $(cat "$WORK/tcpdump.log")"
}
stop_capture() {
  local a=-1 b=0
  sleep 0.3
  while [[ $a != "$b" ]]; do # until nothing more comes
    a=$b
    sleep 0.2
    b=$(stat -c %s "$WORK/cap.raw")
  done
  kill -TERM "$DUMP" # not INT: background jobs ignore it
  wait "$DUMP" || true
  DUMP=
  grep -q '^0 packets dropped by kernel' "$WORK/tcpdump.log" || die "packets lost: $(cat "$WORK/tcpdump.log")"
}
stop_servers() {
  local p
  for p in "${SERVERS[@]}"; do kill "$p" 2>/dev/null || true; done
  for p in "${SERVERS[@]}"; do wait "$p" 2>/dev/null || true; done
  SERVERS=()
}

# finish pcap|pcapng|pcapng.zst|pcap.gz
finish() {
  local format=$1 dir=$OUT/$CASE
  [[ -z $DUMP ]] || stop_capture
  stop_servers
  mkdir -p "$dir"
  rm -f "$dir"/cap.* "$dir/README.md" "$dir/truth.json"
  case $format in
    pcap) cp "$WORK/cap.raw" "$dir/cap.pcap" ;;
    pcapng) editcap -F pcapng "$WORK/cap.raw" "$dir/cap.pcapng" ;;
    pcap.gz) gzip -9n <"$WORK/cap.raw" >"$dir/cap.pcap.gz" ;;
    pcapng.zst) editcap -F pcapng "$WORK/cap.raw" "$WORK/cap.pcapng"; zstd -q -19 "$WORK/cap.pcapng" -o "$dir/cap.pcapng.zst" ;;
    *) die "unknown format $format" ;;
  esac
  "$TOOLS/venv/bin/python" "$GEN/py/truth.py" "$WORK/truth.jsonl" "$dir/truth.json"
  readme >"$dir/README.md"
  say "    $(find "$dir" -name 'cap.*' -printf '%f %s bytes'), $(capinfos -Mrc "$dir"/cap.* 2>/dev/null | awk '/Number of packets/{print $NF}') packets, $(grep -c '"protocol"' "$dir/truth.json") transactions"
}

version() {
  case $1 in
    go) printf 'Go net/http (%s, Debian %s)' "$(go version | cut -d' ' -f3)" "$(deb golang-1.19-go)" ;;
    x/net) printf 'golang.org/x/net/http2 (Debian %s)' "$(deb golang-golang-x-net-dev)" ;;
    grpc-go) printf 'grpc-go (Debian %s, %s)' "$(deb golang-google-grpc-dev)" "$(go version | cut -d' ' -f3)" ;;
    nginx) printf 'nginx (Debian %s)' "$(deb nginx)" ;;
    curl) printf 'curl (Debian %s)' "$(deb curl)" ;;
    nghttp | h2load) printf '%s (Debian %s)' "$1" "$(deb nghttp2-client)" ;;
    nghttpd) printf 'nghttpd (Debian %s)' "$(deb nghttp2-server)" ;;
    tinyproxy) printf 'tinyproxy (Debian %s)' "$(deb tinyproxy-bin)" ;;
    python) printf 'Python %s standard library' "$("$TOOLS/venv/bin/python" -c 'import platform; print(platform.python_version())')" ;;
    *) printf '%s %s (PyPI)' "$1" "$("$TOOLS/venv/bin/python" -c "import importlib.metadata as m; print(m.version('$1'))")" ;;
  esac
}
deb() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo '?'; }

readme() {
  local p n
  printf '# %s\n\n%s\n\n## Origin\n\nPeers: ' "$CASE" "$PURPOSE"
  for p in "${!PEERS[@]}"; do
    ((p == 0)) || printf '; '
    version "${PEERS[p]}"
  done
  printf '.\nCaptured by %s in a private network namespace.\n' "$(tcpdump --version 2>&1 | sed -n 1p)"
  # shellcheck disable=SC2016
  printf 'Made by `scripts/gen-testdata %s`:\n\n' "$CASE"
  printf '    %s\n' "${COMMANDS[@]}"
  printf '\n(`$WORK` is the temp folder of the run, `$TOOLS` holds the peers built from `scripts/gen`.)\n'
  if ((${#NOTES[@]})); then
    printf '\n## Notes\n'
    for n in "${NOTES[@]}"; do printf '\n- %s' "$n"; done
    printf '\n'
  fi
}

# derived FROM: the packets and the truth of an already captured case.
derived() {
  local from=$OUT/$1
  [[ -d $from ]] || die "$CASE is derived from $1: make that first"
  note "Made from the packets of $1; truth.json is that of the whole conversation, not of what is left in the capture."
  zcat -f "$from"/cap.* >"$WORK/from.cap"
  sed -e '1d;$d' -e 's/,$//' "$from/truth.json" >"$WORK/truth.jsonl"
}
