# Shared by the scripts here; source it. Installs what is missing on Debian
# and Ubuntu and says what it does.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

# need COMMAND PACKAGE ... : pairs; installs the packages whose command is missing.
need() {
  local missing=()
  while [ $# -gt 1 ]; do
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
    shift 2
  done
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

install_packages() {
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing: $*; please install these packages (apt-get is not here)" >&2
    return 1
  fi
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "missing: $*; please install them as root" >&2; return 1; }
    sudo=(sudo)
  fi
  say "installing $* (apt-get)"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_rust() {
  command -v cargo >/dev/null 2>&1 || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH="$HOME/.cargo/bin:$PATH"
  command -v cargo >/dev/null 2>&1 || { echo "cargo is missing: install Rust first, https://rustup.rs" >&2; exit 1; }
  # zstd is built from C.
  need cc gcc
  [ -e /usr/include/stdlib.h ] || ! command -v apt-get >/dev/null 2>&1 || install_packages libc6-dev
}

# What building the recorder takes: clang compiles the BPF programs, libbpf is
# built from C and links libelf and zlib.
need_recorder() {
  need clang clang make make pkg-config pkg-config
  [ -e /usr/include/libelf.h ] || install_packages libelf-dev
}
