# Debian's kernels, from the mirror this machine's apt already uses; source it.
# Nothing is installed: a private package list, `apt-get download`, `dpkg -x`.
# What was fetched stays under $kernel_cache and is used again without asking
# the mirror; `scripts/kernels --refresh` asks.

kernel_cache=${XDG_CACHE_HOME:-$HOME/.cache}/perisco/kernels

# Where each line of kernels is to be had: archive and suite. The newest kernel
# is the newest of its suites.
suites_of() {
  case $1 in
    5.10) echo "debian-security bullseye-security" ;;
    6.1) echo "debian bookworm" ;;
    6.12) echo "debian trixie" ;;
    newest) printf '%s\n' "debian trixie-backports" "debian sid" "debian experimental" ;;
    *) printf '%s\n' "debian bookworm-backports" "debian trixie-backports" "debian sid" ;;
  esac
}

# mirror_of ARCHIVE: the address of Debian's `debian` or `debian-security`, as
# apt here is told to reach it; Debian's public one where apt knows none.
mirror_of() {
  local uris
  # shellcheck disable=SC2016 # the variables are apt's
  uris=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed 's|/*$||' | sort -u)
  grep -E "^(https?|mirror).*/$1$" <<<"$uris" | head -1 | grep . && return
  # A mirror of the one archive usually carries the other beside it.
  grep -E '^(https?|mirror).*/debian(-security)?$' <<<"$uris" | head -1 |
    sed -E "s|/debian(-security)?$|/$1|" | grep . && return
  echo "http://deb.debian.org/$1"
}

# private_apt COMMAND ARGUMENT ... : apt with a package list and state of its own in $apt_root.
private_apt() {
  local command=$1
  shift
  "$command" -qq \
    -o Dir::Etc::SourceList="$apt_root/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$apt_root/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$apt_root/cache" \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Languages=none \
    -o Acquire::http::Timeout=20 -o Acquire::Retries=2 -o APT::Sandbox::User=root \
    -o APT::Architecture=amd64 -o APT::Architectures::=amd64 "$@"
}

# fetch_kernel LINE: makes $kernel_cache/LINE/{vmlinuz,package}; 1 if it cannot.
fetch_kernel() {
  local line=$1 home=$kernel_cache/$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  if [ -s "$home/vmlinuz" ] && [ -z "${refresh:-}" ]; then
    say "kernel $line: $(cat "$home/package") (cached in $home)"
    return
  fi
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "kernel $line: no apt-get or dpkg here" >&2; return 1; }
  [ -e "$keyring" ] || install_packages debian-archive-keyring || return 1
  local apt_root
  apt_root=$(mktemp -d)
  mkdir -p "$apt_root"/{lists/partial,cache/archives/partial,debs,tree}
  while read -r archive suite; do
    echo "deb [arch=amd64 signed-by=$keyring] $(mirror_of "$archive") $suite main"
  done < <(suites_of "$line") >"$apt_root/sources.list"
  fetch_from_lists "$line" "$home" && say "kernel $line: $(cat "$home/package")"
  local result=$?
  rm -rf "$apt_root"
  return $result
}

fetch_from_lists() {
  local line=$1 home=$2 pattern
  say "kernel $line: looking it up at $(awk '{print $(NF-2)}' "$apt_root/sources.list" | sort -u | tr '\n' ' ')"
  if ! private_apt apt-get update || [ -z "$(find "$apt_root/lists" -name '*Packages*' -print -quit)" ]; then
    echo "kernel $line: the mirror cannot be reached" >&2
    return 1
  fi
  [ "$line" = newest ] && pattern='[0-9][^-]*' || pattern=${line//./\\.}'[.-][^ ]*'
  # From 7.x on the image is in linux-binary-*, and linux-image-* only needs it.
  local image binary
  image=$(private_apt apt-cache search --names-only "^linux-image-${pattern}cloud-amd64\$|^linux-image-$pattern-cloud-amd64\$" |
    awk '{print $1}' | sort -V | tail -1)
  [ -n "$image" ] || { echo "kernel $line: not in the archive" >&2; return 1; }
  binary=${image/linux-image-/linux-binary-}
  private_apt apt-cache show "$binary" >/dev/null 2>&1 || binary=$image
  (cd "$apt_root/debs" && private_apt apt-get download "$binary") || { echo "kernel $line: $binary cannot be fetched" >&2; return 1; }
  dpkg -x "$apt_root"/debs/*.deb "$apt_root/tree"
  mkdir -p "$home"
  cp "$(find "$apt_root/tree" -name 'vmlinuz*' -type f | head -1)" "$home/vmlinuz.new" &&
    mv "$home/vmlinuz.new" "$home/vmlinuz" && echo "$binary" >"$home/package"
}
