#!/usr/bin/env bash
# Runs a configuration on N ranks on this host, on the hosts of a host file, or in a Slurm job
# (docs/launching.md), and returns the program's exit code. When a rank dies, the run continues.
# usage: launch/run.sh [-n N] [--hostfile FILE] CONFIG [arguments of whyrec run]
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "$0")/common.sh"
usage="usage: launch/run.sh [-n N] [--hostfile FILE] CONFIG [arguments of whyrec run]"
ranks=${SLURM_NTASKS:-} hostfile=''
while [[ ${1:-} = -* ]]; do
  case $1 in
    -n) ranks=${2:-} ;;
    --hostfile) hostfile=${2:-} ;;
    *) die 2 "$usage" ;;
  esac
  shift $(($# > 1 ? 2 : 1))
done
[[ $# -ge 1 && $ranks =~ ^[1-9][0-9]*$ ]] || die 2 "$usage"
program=${WHYREC_BUILD:-$root/build}/whyrec  # another build folder, where one is named
[[ -x $program ]] || die 71 "no program $program; run launch/build first"
[[ $ranks != 1 ]] || exec "$program" run "$@"

# Sorts the arguments: for every process, for `run` only, for the first job only.
all=() run=() fresh=no listen='' threads=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --fresh) fresh=yes ;;
    --listen) listen=${2:-} && shift ;;
    --listen=*) listen=${1#*=} ;;
    --progress) run+=("$1" "${2:-}") && shift ;;
    --progress=*) run+=("$1") ;;
    *) all+=("$1") ;;
  esac
  shift
done
[[ ${all[*]} != *execution.threads=* ]] || threads=given

# --- who starts the ranks, on which cores --------------------------------------------------------
numa=$(lscpu -p=node 2>/dev/null | grep -v '^#' | sort -u | wc -l)
if [[ -n ${SLURM_JOB_ID:-} && -z $hostfile ]]; then
  cores=${SLURM_CPUS_PER_TASK:-1} host_ranks=1 binding="bound as the site's Slurm does"
  start=(srun -n "$ranks" -c "$cores")
  together=("${start[@]}" --mpi=pmix --kill-on-bad-exit=1)
  apart=("${start[@]}" --mpi=none --kill-on-bad-exit=0 --wait=0)
  [[ ${SLURM_JOB_NUM_NODES:-1} = 1 ]] || listen=${listen:-0.0.0.0}
else
  command -v mpirun >/dev/null || die 71 "no mpirun; run launch/setup, or start one rank with -n 1"
  cores=$(nproc) host_ranks=$ranks
  # Open MPI would bind each rank to one core, and LibTorch would then see one thread.
  bind=(--bind-to none) binding="not bound"
  if [[ $numa -gt 1 ]]; then
    bind=(--map-by numa --bind-to numa) binding="each bound to one of $numa memory domains"
  fi
  start=(mpirun -n "$ranks" "${bind[@]}" --oversubscribe)
  [[ $(id -u) != 0 ]] || start+=(--allow-run-as-root)
  if [[ -n $hostfile ]]; then
    [[ -r $hostfile ]] || die 2 "no host file $hostfile"
    start+=(--hostfile "$hostfile")
    listen=${listen:-0.0.0.0}
    hosts=$(grep -cv '^[[:space:]]*\(#\|$\)' "$hostfile")
    host_ranks=$(((ranks + hosts - 1) / hosts))
  fi
  together=("${start[@]}")
  apart=("${start[@]}" --enable-recovery)  # the others run on when one dies
fi
listen=${listen:-127.0.0.1}
if [[ $threads = given ]]; then
  say "$ranks ranks, threads as given, $binding"
else
  threads=$((cores > host_ranks ? cores / host_ranks : 1))
  say "$ranks ranks, $threads threads each ($cores cores), $binding"
  all+=(--set "execution.threads=$threads")
fi

# --- signals: a stop is passed on as USR1, which launchers forward and ranks answer with a save -----
children=() stopping=no
stop() {
  stopping=yes
  [[ ${#children[@]} = 0 ]] || kill -USR1 "${children[@]}" 2>/dev/null || true
}
trap stop TERM INT HUP USR1 USR2

# await PID: its exit code, also when signals come in between.
await() {
  local rc=0
  while :; do
    rc=0
    wait "$1" || rc=$?
    kill -0 "$1" 2>/dev/null || break
  done
  if [[ $rc -gt 128 ]]; then  # perhaps of a signal to this script
    local again=0
    wait "$1" 2>/dev/null || again=$?
    [[ $again = 127 ]] || rc=$again
  fi
  return "$rc"
}

# Each process gets its own session, so that Ctrl-C reaches this script only.
begin() {
  setsid "$@" &
  children+=($!)
  [[ $stopping = no ]] || stop
}

# --- one job per run of stages of a kind -------------------------------------------------------------
# alone KIND [ARGUMENT...]
alone() {
  begin "$program" run "${all[@]}" "${run[@]}" --stages "$1" "${@:2}"
  await "${children[-1]}"
}

# The coordinator is rank 0, without a launcher, which would end it when a worker dies.
leased() {
  # shellcheck disable=SC2016  # the ranks' variables
  local others='[[ ${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-0}} = 0 ]] || exec "$@"'
  if [[ ${#children[@]} = 0 ]]; then
    begin "${apart[@]}" bash -c "$others" worker "$program" work "${all[@]}" --quiet --patience 120
  fi
  local rc=0
  alone leased --listen "$listen" || rc=$?
  [[ $rc = 0 || $rc -gt 128 ]] || kill -USR1 "${children[0]}" 2>/dev/null || true
  return "$rc"
}

# Workers leave when there is no more work; those that wait for a coordinator have to be told.
dismiss() {
  [[ ${#children[@]} != 0 ]] || return 0
  kill -USR1 "${children[0]}" 2>/dev/null || true
  await "${children[0]}" || true
  children=()
}

collective() {
  begin "${together[@]}" "$program" run "${all[@]}" "${run[@]}" --stages collective
  await "${children[-1]}"
}

next() { "$program" plan "${all[@]}" --next; }

restarts=0 most=${WHYREC_RESTARTS:-3}
[[ $fresh = no ]] || alone solo --fresh
children=()
after=$(next) || exit 2
while read -r kind _ <<<"$after" && [[ $kind != nothing ]]; do
  rc=0
  case $kind in
    solo) alone solo || rc=$? ;;
    *) "$kind" || rc=$? ;;
  esac
  after=$(next) || exit 2
  # Launchers may report 0 although ranks died or never started, so the workspace decides.
  [[ $rc != 0 || $after != "$kind"* ]] || rc=71
  if [[ $rc = 0 ]]; then
    dismiss
    continue
  fi
  [[ $kind = leased && $rc -gt 128 ]] || dismiss  # workers wait for their coordinator
  [[ $stopping = no ]] || { dismiss; exit "$rc"; }
  # What fails before any work has begun will fail again.
  [[ $rc -gt 128 || ($rc = 71 && $after = *begun) ]] || exit "$rc"
  restarts=$((restarts + 1))
  [[ $restarts -le $most ]] || { dismiss; die "$rc" "given up after $most restarts (WHYREC_RESTARTS)"; }
  say "a process died (exit code $rc): restart $restarts of $most, from what is complete"
done
exec "$program" run "${all[@]}" "${run[@]}"
