# Shared by the scripts in this folder; sourced, never run.
# Owns headings, errors, the paths inside the repository, and the choice of a Go toolchain.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache

# Go modules built here: MinIO asks for 1.24, versitygw for 1.25.
go_needed=1.25
go_fetched=go1.25.10

# say TEXT: a heading with the seconds since the script began.
say() {
  if [ -t 1 ]; then printf '\n\033[1m[%4ds] %s\033[0m\n' "$SECONDS" "$*"; else printf '\n[%4ds] %s\n' "$SECONDS" "$*"; fi
}

# fail TEXT: end with one clear line.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND…: with sudo where we are somebody else.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif has sudo; then
    sudo "$@"
  else
    fail "this needs root, and there is no sudo here; as root, run: $*"
  fi
}

# A toolchain that rustup has just installed is often not on PATH yet.
find_cargo() {
  if ! has cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
  has cargo || fail "there is no Rust toolchain: install one with rustup, then run this again"
}

# at_least VERSION WANTED: both as 1.25 or 1.25.3.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Where a Go toolchain is kept that was fetched because the machine's own is too old.
fetched_go=$cache/go/$go_fetched

# find_go: puts a Go that is new enough on PATH; false where there is none yet.
find_go() {
  export GOTOOLCHAIN=local
  if [ -x "$fetched_go/bin/go" ]; then
    PATH=$fetched_go/bin:$PATH
    unset GOROOT
    return 0
  fi
  has go || return 1
  local version
  version=$(go env GOVERSION 2>/dev/null) || return 1
  at_least "${version#go}" "$go_needed"
}

# servers_built: true where nothing has to be compiled with Go any more.
servers_built() { [ -x "$cache/bin/minio" ] && [ -x "$cache/bin/versitygw" ]; }

# The queue server of the tests, as Maven names it.
elasticmq=org.elasticmq:elasticmq-server_2.13:1.7.1

# elasticmq_fetched: true where its jars are there.
elasticmq_fetched() { [ -e "$cache/elasticmq/elasticmq-server_2.13-${elasticmq##*:}.jar" ]; }
