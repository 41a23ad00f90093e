#!/usr/bin/env bash
# The scripts of launch/, tried in a copy whose lists name tiny wheels made here. No network, no
# root, no LibTorch. Programs that would change the machine are stubs that record their arguments.
set -uo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp -r "$source_dir/launch" "$tmp/launch"
mkdir "$tmp/bin" "$tmp/wheels" "$tmp/build"
export PATH=$tmp/bin:$PATH WHYREC_CACHE=$tmp/cache WHYREC_WHEELS=$tmp/wheels
unset LibTorch_ROOT CMAKE_BUILD_PARALLEL_LEVEL
lib=$tmp/cache/libtorch-2.11.0
passed=0 failed=0

# expect SENTENCE COMMAND...: counts whether the command succeeds.
expect() {
  if "${@:2}"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n  exit %s, said:\n' "$1" "$rc"
    sed 's/^/  | /' "$tmp/out"
  fi
}
# try SCRIPT ARGUMENT...: leaves rc and $tmp/out.
try() {
  rc=0
  "$tmp/launch/$1" "${@:2}" >"$tmp/out" 2>&1 </dev/null || rc=$?
}
says() { grep -qF -- "$1" "$tmp/out"; }
silent_on() { ! says "$1"; }
absent() { [[ ! -e $1 ]]; }
stub() {
  printf '#!/bin/bash\n%s\n' "$2" >"$tmp/bin/$1"
  chmod +x "$tmp/bin/$1"
}
unstub() { (cd "$tmp/bin" && rm -f "$@"); }
# wheel NAME FOLDER FILE...: files that hold their own names, and the line of wheels.txt.
wheel() {
  local name=$1 dir=$tmp/make/$1 file=$tmp/wheels/$1-1.0-py3-none-any.whl
  mkdir -p "$dir/$name-1.0.dist-info"
  printf 'Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n' "$name" >"$dir/$name-1.0.dist-info/METADATA"
  printf 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n' \
    >"$dir/$name-1.0.dist-info/WHEEL"
  for f in "${@:3}"; do
    mkdir -p "$dir/${f%/*}"
    echo "$f" >"$dir/$f"
  done
  (cd "$dir" && python3 -m zipfile -c "$file" ./*)
  echo "${2%%:*} $name==1.0 ${2#*:} $(sha256sum "$file" | cut -d ' ' -f 1)" >>"$tmp/launch/wheels.txt"
}

echo "bash  # always there" >"$tmp/launch/packages.txt"
: >"$tmp/launch/wheels.txt"
wheel alpha "always:torch libtorch-2.11.0/torch" torch/lib/libtorch_cpu.so torch/nn/module.py
wheel beta "always:nvidia libtorch-2.11.0/nvidia" nvidia/cu13/lib/libcudart.so.13 nvidia/beta
wheel gamma "always:nvidia libtorch-2.11.0/nvidia" nvidia/cu13/lib/libcupti.so.13 nvidia/gamma
wheel delta "cuda:nvidia libtorch-2.11.0/nvidia" nvidia/nccl/lib/libnccl.so.2
complete() {
  [[ $rc = 0 && $(cat "$lib/torch/lib/libtorch_cpu.so") = torch/lib/libtorch_cpu.so ]] &&
    [[ -e $lib/nvidia/cu13/lib/libcudart.so.13 && -e $lib/nvidia/cu13/lib/libcupti.so.13 ]] &&
    [[ ! -e $tmp/cache/tmp && ! -e $tmp/cache/wheels ]]
}

# --- set-up: whole, repeated, interrupted at each step, wrong, absent ---------------------------
try setup
expect "a first set-up is complete" complete
expect "Python's files stay out" absent "$lib/torch/nn"
expect "CUDA wheels come on request only" absent "$lib/nvidia/nccl"
stub python3 'exit 1'
stub unzip 'exit 1'
start=$SECONDS
try setup
expect "a second one does nothing" says "all is there"
expect "a second one takes less than 5 s" [ $((SECONDS - start)) -lt 5 ]
unstub python3 unzip
try setup --cuda
expect "--cuda adds to what is there" [ -e "$lib/nvidia/nccl/lib/libnccl.so.2" ]
expect "--cuda keeps what is there" complete

# What each of these leaves behind is half of its work; the set-up is killed at that moment.
interrupted() {
  rm -rf "$tmp/cache"
  stub "$1" "$2; kill -9 \$PPID"
  try setup
  unstub "$1"
  expect "killed in $1: exit 137" [ "$rc" = 137 ]
}
interrupted unzip "mkdir -p $tmp/cache/tmp/new/torch/lib; echo half | tee $tmp/cache/tmp/new/torch/lib/{libtorch_cpu,stale}.so"
expect "killed while unpacking: nothing half-done in place" absent "$lib/torch"
try setup
expect "killed while unpacking: the next one completes" complete
expect "killed while unpacking: what it left is gone" absent "$lib/torch/lib/stale.so"
interrupted cp "mkdir -p $lib/nvidia/cu13/lib; echo half >$lib/nvidia/cu13/lib/libcupti.so.13"
try setup
expect "killed while merging: the next one completes" complete
expect "killed while merging: the half file is replaced" grep -q nvidia "$lib/nvidia/cu13/lib/libcupti.so.13"
expect "killed while merging: finished parts are kept" silent_on alpha

rm -rf "$tmp/cache"
cp "$tmp/wheels/beta-1.0-py3-none-any.whl" "$tmp/beta"
echo x >>"$tmp/wheels/beta-1.0-py3-none-any.whl"
try setup
expect "a wrong hash stops" [ "$rc" = 1 ]
expect "a wrong hash names the wheel" says "downloading beta==1.0 failed"
expect "a wrong hash says so" says "not the file whyrec was tested with"
expect "a wrong hash puts nothing in place" absent "$lib/nvidia"
rm "$tmp/wheels/beta-1.0-py3-none-any.whl"
try setup
expect "an absent wheel stops" [ "$rc" = 1 ]
expect "an absent wheel is named" says "downloading beta==1.0 failed"
expect "an absent wheel: what to do" says "what to do: check the network"
mv "$tmp/beta" "$tmp/wheels/beta-1.0-py3-none-any.whl"
try setup
expect "after the cause is gone it continues" complete
expect "after the cause is gone finished parts are kept" silent_on alpha

# --- set-up: your own LibTorch, arguments, Debian packages ---------------------------------------
rm -rf "$tmp/cache"
LibTorch_ROOT=$tmp/make/alpha/torch try setup
expect "your own LibTorch is taken" says "all is there"
LibTorch_ROOT=$tmp/nowhere try setup
expect "a wrong LibTorch_ROOT stops" [ "$rc" = 2 ]
expect "a wrong LibTorch_ROOT is named" says "$tmp/nowhere"
try setup --gpu
expect "an unknown argument stops" [ "$rc" = 2 ]

if command -v dpkg-query >/dev/null; then
  echo "whyrec-no-such-package" >>"$tmp/launch/packages.txt"
  record="echo \"\${0##*/} \$*\" >>$tmp/calls"
  stub apt-get "$record"
  stub dpkg "$record"
  stub sudo 'exit 1'
  stub id 'echo 1000'
  try setup
  expect "without root: exit 2" [ "$rc" = 2 ]
  expect "without root: the command is printed" says \
    "apt-get update && apt-get install -y --no-install-recommends whyrec-no-such-package"
  expect "without root: nothing is installed" absent "$tmp/calls"
  stub id 'echo 0'
  try setup
  expect "as root: complete" complete
  expect "as root: what is missing is installed" grep -q \
    "apt-get .*install -y --no-install-recommends whyrec-no-such-package$" "$tmp/calls"
  stub apt-get 'echo "E: mirror is away"; exit 100'
  try setup
  expect "apt fails: exit 1" [ "$rc" = 1 ]
  expect "apt fails: why" says "mirror is away"
  unstub apt-get dpkg sudo id
fi

# --- build ---------------------------------------------------------------------------------------
rc=0
expect "both lists agree on LibTorch's folder" grep -q "torch==.* libtorch-2.11.0/torch " \
  "$source_dir/launch/wheels.txt"
stub cmake 'echo "cmake $* slack: $CCACHE_SLOPPINESS"'
stub nproc 'echo 100000'
try build -DX=1
expect "several sources are one unit" says "-DWHYREC_UNITY=ON"
expect "arguments go to cmake, behind ours" says "-DX=1 slack: "
expect "ccache may cache what uses a precompiled header" says "slack: pch_defines"
expect "memory limits the jobs" silent_on "with 100000 jobs"
LibTorch_ROOT=$tmp/nowhere try build
expect "no LibTorch: exit 2" [ "$rc" = 2 ]

# --- run.sh --------------------------------------------------------------------------------------
try run.sh -n 2 c.txtpb
expect "no program: exit 71" [ "$rc" = 71 ]
# A program whose next kinds of stage stand in a file, one a line; each run takes one away and leaves
# with the code in `codes`. mpirun runs the command once.
cat >"$tmp/build/whyrec" <<'STUB'
#!/bin/bash
dir=${0%/*}
if [[ $1 = plan ]]; then
  head -n 1 "$dir/kinds" | grep . || echo nothing
  exit
fi
[[ $1 = work ]] || echo "whyrec $*"
code=$(head -n 1 "$dir/codes")
[[ $1 = run ]] && sed -i 1d "$dir/codes"
[[ ${code:-0} != 0 || $1 = work ]] || sed -i 1d "$dir/kinds"
[[ ${code:-0} -lt 128 ]] || kill -9 $$
exit "${code:-0}"
STUB
chmod +x "$tmp/build/whyrec"
stub mpirun 'echo "mpirun $*"; while [[ $1 != */whyrec && $1 != bash ]]; do shift; done; "$@"'
stub srun 'echo "srun $*"; while [[ $1 != */whyrec && $1 != bash ]]; do shift; done; "$@"'
stub nproc 'echo 8'
stub id 'echo 0'
stub lscpu 'echo "# node"; echo 0; echo 0'
# chain KIND... / CODE...: what is to be done, and how the runs end.
chain() {
  printf '%s\n' ${1:-} >"$tmp/build/kinds"
  printf '%s\n' ${2:-} >"$tmp/build/codes"
}
chain "" 75
try run.sh -n 1 c.txtpb --set a=b
expect "one rank: the program itself" says "whyrec run c.txtpb --set a=b"
expect "one rank: its exit code" [ "$rc" = 75 ]
chain "solo leased collective leased"
try run.sh -n 3 c.txtpb --set a=b --progress none --fresh
expect "three ranks: exit 0" [ "$rc" = 0 ]
expect "three ranks: choice is printed" says "3 ranks, 2 threads each (8 cores), not bound"
set="--set a=b --set execution.threads=2"
expect "--fresh alone, first" says "whyrec run c.txtpb $set --progress none --stages solo --fresh"
expect "leased: rank 0 coordinates" says \
  "whyrec run c.txtpb $set --progress none --stages leased --listen 127.0.0.1"
expect "leased: a rank may die" says \
  "mpirun -n 3 --bind-to none --oversubscribe --allow-run-as-root --enable-recovery bash -c"
expect "collective: all ranks" says "mpirun -n 3 --bind-to none --oversubscribe --allow-run-as-root \
$tmp/build/whyrec run c.txtpb $set --progress none --stages collective"
for code in 137 75 65; do
  chain "collective" "$code"
  try run.sh -n 2 c.txtpb
  case $code in
    137)
      expect "a killed rank: again" says "a process died (exit code 137): restart 1 of 3"
      expect "a killed rank: exit 0" [ "$rc" = 0 ]
      ;;
    *) expect "exit $code is passed on" [ "$rc" = "$code" ] ;;
  esac
done
chain "collective" "137 137 137 137 137"
WHYREC_RESTARTS=2 try run.sh -n 2 c.txtpb
expect "restarts are bounded" says "given up after 2 restarts"
expect "restarts are bounded: exit code" [ "$rc" = 137 ]
chain "collective" "71 71"
try run.sh -n 2 c.txtpb
expect "what fails before it begins is not repeated" [ "$rc" = 71 ]
printf 'collective begun\n' >"$tmp/build/kinds"
printf '71\n' >"$tmp/build/codes"
try run.sh -n 2 c.txtpb
expect "what fails later is repeated" [ "$rc" = 0 ]
stub lscpu 'echo "# node"; echo 0; echo 1'
stub id 'echo 1000'
chain "collective"
try run.sh -n 16 c.txtpb
expect "never less than one thread" says "execution.threads=1"
expect "memory domains are kept" says "--map-by numa --bind-to numa"
expect "no root flag for others" silent_on "allow-run-as-root"
printf 'node1 slots=4\n# node3\nnode2 slots=4\n' >"$tmp/hosts"
chain "leased"
try run.sh -n 8 --hostfile "$tmp/hosts" c.txtpb
expect "host file: threads by the ranks of a host" says "execution.threads=2"
expect "host file: goes to mpirun" says "--hostfile $tmp/hosts --enable-recovery"
expect "host file: others may connect" says "--listen 0.0.0.0"
chain "leased collective"
SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_JOB_NUM_NODES=2 SLURM_CPUS_PER_TASK=3 try run.sh c.txtpb
expect "Slurm: collective" says "srun -n 4 -c 3 --mpi=pmix --kill-on-bad-exit=1 $tmp/build/whyrec run"
expect "Slurm: leased" says "srun -n 4 -c 3 --mpi=none --kill-on-bad-exit=0 --wait=0 bash -c"
expect "Slurm: threads are the task's cores" says "execution.threads=3"
try run.sh -n 3 c.txtpb --set execution.threads=5
expect "given threads stay" silent_on "execution.threads=2"
for n in 0 x; do
  try run.sh -n $n c.txtpb
  expect "-n $n: exit 2" [ "$rc" = 2 ]
done

# --- Slurm's batch scripts -----------------------------------------------------------------------
stub scontrol 'echo "scontrol $*"; kill $PPID; sleep 1'
cat >"$tmp/bin/job" <<'STUB'
#!/bin/bash
trap 'exit 75' USR1
[[ $1 = exit ]] && exit "$2"
kill -"$1" $PPID
sleep 5 & wait $!
STUB
chmod +x "$tmp/bin/job"
SLURM_JOB_ID=7 try slurm/attend.sh job USR1
expect "the warning: queued again" says "scontrol requeue 7"
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=19 try slurm/attend.sh job USR1
expect "the last life: not queued again" silent_on "scontrol"
expect "the last life: 75" [ "$rc" = 75 ]
SLURM_JOB_ID=7 try slurm/attend.sh job TERM
expect "cancelled: not queued again" silent_on "scontrol"
SLURM_JOB_ID=7 try slurm/attend.sh job exit 65
expect "other codes are passed on" [ "$rc" = 65 ]
for script in "$tmp"/launch/slurm/*.sbatch; do
  expect "${script##*/}: bash reads it" bash -n "$script"
  expect "${script##*/}: short" [ "$(wc -l <"$script")" -lt 40 ]
done

echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
