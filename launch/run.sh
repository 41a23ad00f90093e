#!/usr/bin/env bash
# Runs a configuration on N ranks of this host and leaves with their exit code.
# usage: launch/run.sh -n N CONFIG [arguments of whyrec run]
set -euo pipefail
source "$(dirname "$0")/common.sh"
[[ $# -ge 3 && $1 = -n && $2 =~ ^[1-9][0-9]*$ ]] ||
  die 2 "usage: launch/run.sh -n N CONFIG [arguments of whyrec run]"
ranks=$2
shift 2
program=${WHYREC_BUILD:-$root/build}/whyrec  # another build folder, where one is named
[[ -x $program ]] || die 71 "no program $program; run launch/build first"
[[ $ranks != 1 ]] || exec "$program" run "$@"
command -v mpirun >/dev/null || die 71 "no mpirun; run launch/setup, or start one rank with -n 1"

# Open MPI would bind each rank to one core, and LibTorch would then see one thread.
options=(-n "$ranks" --bind-to none --oversubscribe)
[[ $(id -u) != 0 ]] || options+=(--allow-run-as-root)
cores=$(nproc)
threads=$((cores > ranks ? cores / ranks : 1))
if [[ $* = *execution.threads=* ]]; then
  say "$ranks ranks, threads as given"
else
  say "$ranks ranks, $threads threads each ($cores cores, not bound)"
  set -- "$@" --set "execution.threads=$threads"
fi
exec mpirun "${options[@]}" "$program" run "$@"
