# Sourced by the scripts of this folder: paths and messages.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${WHYREC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/whyrec}
libtorch=${LibTorch_ROOT:-$cache/libtorch-2.11.0/torch}  # the version is in wheels.txt too

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die CODE SENTENCE
die() {
  say "$2"
  exit "$1"
}
