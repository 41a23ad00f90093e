#!/usr/bin/env bash
# The bundle is small and its program starts from there, with LibTorch named by the environment.
# usage: bundle_test.sh BUILD LIBTORCH
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
WHYREC_BUILD=$1 LibTorch_ROOT=$2 "$source_dir/launch/bundle.sh" "$tmp/bundle"
size=$(du -sm "$tmp/bundle" | cut -f1)
[[ $size -lt 50 ]] || { echo "the bundle takes $size MB; the limit is 50" >&2; exit 1; }
LibTorch_ROOT=$2 "$tmp/bundle/whyrec" systems | grep -q '^markov '
rc=0
LibTorch_ROOT=$tmp/nowhere "$tmp/bundle/whyrec" systems 2>"$tmp/said" || rc=$?
[[ $rc = 71 ]] && grep -q 'set LibTorch_ROOT' "$tmp/said" || { cat "$tmp/said" >&2; exit 1; }
