#!/usr/bin/env bash
# The batch scripts of launch/slurm on a real Slurm of four pretended nodes on this machine. Results
# are compared with a run of the same number of ranks without Slurm. About three minutes.
# usage: tests/slurm/slurm_test.sh       as root, with slurm-wlm and munge (launch/test --slurm)
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export WHYREC_BUILD=${WHYREC_BUILD:-$root/build} OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
if [[ $(id -u) != 0 ]] || ! command -v slurmctld munged >/dev/null; then
  echo "skipped: needs root, slurm-wlm and munge"
  exit 77
fi
tmp=$(mktemp -d)
slurm=$tmp/slurm daemons=() passed=0 failed=0
# shellcheck source=tests/slurm/cluster.sh
source "$here/cluster.sh"
trap 'stop_slurm; rm -rf "$tmp"' EXIT
mkdir "$tmp/home" && cd "$tmp/home" || exit 1
ln -s "$root/launch" launch  # jobs run in the folder where they were submitted
ln -s "$WHYREC_BUILD" build
cat >tiny.txtpb <<CONFIG
catalogue {
  dataset: "gift-cards" domain: "gift card"
  reviews: "$root/examples/gift-cards/reviews.jsonl.gz" items: "$root/examples/gift-cards/items.jsonl.gz"
  fields { user: "user" time: "time" rating: "rating" text: "text" }
}
split { direct_negatives: 19 }
rationales { unit_size: 2 } embeddings { max_tokens: 16 unit_size: 8 } graphs { neighbours: 5 }
isrf { task: SEQUENTIAL task: DIRECT
  backbone { tokenizer: "$root/examples/t5-tokenizer/spiece.model" d_model: 16 d_ff: 32 d_kv: 8 heads: 2 layers: 1 } }
train { steps: 60 epoch_steps: 20 global_batch: 8 validation_users: 16 checkpoint_steps: 1 dropout: 0.1 }
predict { users: 24 batch_users: 8 sequential_beams: 12 sequential_extra: 2 direct_beams: 4 }
metrics { bootstrap: 100 }
system { name: "isrf" }
CONFIG
same=(--set execution.threads=1)  # the last digits of the encoder depend on the threads

expect() {  # expect SENTENCE COMMAND...
  if "${@:2}"; then
    passed=$((passed + 1)) && echo "ok      $1 ($SECONDS s)"
  else
    failed=$((failed + 1)) && echo "FAILED  $1 ($SECONDS s)" && tail -n 30 "$(find . -name "*.log" -printf "%T@ %p\n" | sort -n | tail -n 1 | cut -d " " -f 2)"
  fi
}
contents() {  # of the artefacts, without times and scratch
  (cd "$1" && find . -type f ! -name manifest.txtpb ! -path './log/*' ! -name '.*' ! -path '*/.*/*' |
    sort | xargs sha256sum)
}
same() { diff <(contents "$1") <(contents "$2"); }
submit() { sbatch --parsable "$@"; }   # submit ARGUMENT...: the job's number
state() { scontrol -o show job "$1" | sed 's/.*JobState=\([A-Z]*\).*/\1/' | tail -n 1; }
becomes() {  # becomes JOB STATE [SECONDS]
  for _ in $(seq $((${3:-120} * 4))); do
    [[ $(state "$1") != "$2" ]] || return 0
    [[ $(state "$1") != @(FAILED|COMPLETED|CANCELLED|TIMEOUT) ]] || break
    sleep 0.25
  done
  echo "job $1 is $(state "$1"), not $2" >&2
  return 1
}
until_true() {  # until_true SECONDS COMMAND...
  for _ in $(seq $(($1 * 10))); do
    ! "${@:2}" || return 0
    sleep 0.1
  done
  return 1
}
# ours COMMAND [ARGUMENTS]: this test's processes that run it.
ours() { pgrep -f "^[^ ]*/whyrec $1 .*$tmp.*${2:-}" || true; }
working() { [[ -n $(ours work) ]]; }
idle() { [[ -z $(ours work) && -z $(ours run) ]]; }
trains() { compgen -G "$1/train.isrf.isrf_code.partial/.checkpoint/step-*" >/dev/null; }
says() { grep -sqF -- "$2" "$1"; }
leases() { compgen -G "$1/*.partial/.leases/journal" >/dev/null; }

start_slurm || exit 1
echo "a Slurm of $nodes nodes runs"
launch/run.sh -n 4 tiny.txtpb --workspace "$tmp/local" "${same[@]}" >local.out 2>&1
expect "the local run is whole" [ -e "$tmp/local/report/report.md" ]

# --- several nodes; one worker killed, then one rank ------------------------------------------------
job=$(submit --output=nodes.log launch/slurm/nodes.sbatch tiny.txtpb --workspace "$tmp/nodes" \
  "${same[@]}")
if until_true 60 leases "$tmp/nodes" && until_true 20 working; then
  kill -9 "$(ours work | head -n 1)"
fi
until_true 60 trains "$tmp/nodes" && kill -9 "$(ours run "--stages collective" | tail -n 1)"
expect "four nodes, a killed worker and a killed rank: done" becomes "$job" COMPLETED
expect "the killed rank was noticed" says nodes.log "restart 1 of 3"
expect "four nodes: every byte of the local run" same "$tmp/nodes" "$tmp/local"

job=$(submit --output=one.log launch/slurm/one-node.sbatch tiny.txtpb --workspace "$tmp/one" \
  "${same[@]}")
expect "one node with four ranks: done" becomes "$job" COMPLETED
expect "one node: every byte of the local run" same "$tmp/one" "$tmp/local"

# --- cancelled in the training; the same command continues -------------------------------------------
long=(--set train.steps=2500 --set train.epoch_steps=1250 "${same[@]}")
job=$(submit --output=cancel.log launch/slurm/nodes.sbatch tiny.txtpb --workspace "$tmp/c" "${long[@]}")
expect "it trains" until_true 90 trains "$tmp/c"
scancel "$job"
expect "cancelled" becomes "$job" CANCELLED 60
expect "cancelled: no process is left" until_true 40 idle
expect "cancelled: not queued again" eval '! grep -q "queued again" cancel.log'
expect "cancelled: a checkpoint stands" trains "$tmp/c"

# --- the time limit: USR1, 75, queued again, continued -----------------------------------------------
job=$(submit --output=limit.log --time=1 --signal=B:USR1@30 launch/slurm/nodes.sbatch tiny.txtpb \
  --workspace "$tmp/c" "${long[@]}")
expect "the time limit: queued again" until_true 90 says limit.log "the job is queued again"
expect "the time limit: pending" becomes "$job" PENDING 60
expect "continued from the checkpoint" says limit.log "continues after step"
scontrol update JobId="$job" StartTime=now TimeLimit=60  # else Slurm waits two minutes
expect "second life: done" becomes "$job" COMPLETED 400
expect "second life: it was one" eval "scontrol show job $job | grep -q Restarts=1"
expect "second life: report" [ -e "$tmp/c/report/report.md" ]

# --- seeds ---------------------------------------------------------------------------------------
job=$(WHYREC_RUNS=$tmp/runs submit --array=1-2 --output=seed-%a.log launch/slurm/seeds.sbatch tiny.txtpb \
  --set 'system[0].name=markov')
expect "seeds: done" until_true 60 eval "[[ -e $tmp/runs/tiny-seed-1/report/report.md && -e $tmp/runs/tiny-seed-2/report/report.md ]]"

# --- a pool of workers joins a run that is not in Slurm ------------------------------------------------
build/whyrec run tiny.txtpb --workspace "$tmp/pool" --set rationales.unit_size=1 --listen 0.0.0.0 \
  --set execution.threads=1 --stages leased >pool.out 2>&1 &
run=$!
job=$(submit --output=pool.log launch/slurm/workers.sbatch tiny.txtpb --workspace "$tmp/pool" \
  --set rationales.unit_size=1)
expect "workers: the run ends well" wait $run
expect "workers: they leave" becomes "$job" COMPLETED 60
expect "workers: they had joined" says pool.log "joined the coordinator"

echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
