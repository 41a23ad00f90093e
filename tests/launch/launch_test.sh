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
stub cmake 'echo "cmake $*"'
stub nproc 'echo 100000'
stub ninja "printf 'a.o: #deps 1, deps mtime 1 (VALID)\n    x/ATen/core/Tensor.h\n\nb.o: #deps 1, deps mtime 1 (VALID)\n    c.h\n'"
try build -DX=1
expect "arguments go to cmake" says "-DX=1"
expect "memory limits the jobs" silent_on "with 100000 jobs"
expect "units that see torch are counted" [ "$(cat "$tmp/build/torch-units.txt")" = a.o ]
LibTorch_ROOT=$tmp/nowhere try build
expect "no LibTorch: exit 2" [ "$rc" = 2 ]

# --- run.sh --------------------------------------------------------------------------------------
try run.sh -n 2 c.txtpb
expect "no program: exit 71" [ "$rc" = 71 ]
printf '#!/bin/bash\necho "whyrec $*"; exit 75\n' >"$tmp/build/whyrec"
chmod +x "$tmp/build/whyrec"
stub mpirun 'echo "mpirun $*"; exit 65'
stub nproc 'echo 8'
stub id 'echo 0'
try run.sh -n 1 c.txtpb --set a=b
expect "one rank: the program itself" says "whyrec run c.txtpb --set a=b"
expect "one rank: its exit code" [ "$rc" = 75 ]
try run.sh -n 3 c.txtpb --set a=b
expect "three ranks: command" says "mpirun -n 3 --bind-to none --oversubscribe --allow-run-as-root \
$tmp/build/whyrec run c.txtpb --set a=b --set execution.threads=2"
expect "three ranks: choice is printed" says "3 ranks, 2 threads each (8 cores, not bound)"
expect "three ranks: mpirun's exit code" [ "$rc" = 65 ]
stub id 'echo 1000'
try run.sh -n 16 c.txtpb
expect "never less than one thread" says "execution.threads=1"
expect "no root flag for others" silent_on "allow-run-as-root"
try run.sh -n 3 c.txtpb --set execution.threads=5
expect "given threads stay" silent_on "execution.threads=2"
for n in 0 x; do
  try run.sh -n $n c.txtpb
  expect "-n $n: exit 2" [ "$rc" = 2 ]
done

echo "$passed passed, $failed failed"
[[ $failed = 0 ]]
