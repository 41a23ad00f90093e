#!/usr/bin/env bash
# The numeric tests under the instruction sets and thread counts of other machines, one variable at a
# time: ATen's kernels, MKL's, oneDNN's, OpenMP's threads. What this CPU cannot do is skipped and says
# so. Ends with a table; fails if a test failed.
# usage: machines.sh BUILD [arguments of ctest, such as -R lm]
set -euo pipefail
build=$1
shift

# setting, the CPU flag that it needs ("any": none)
settings=(
  "as it is|any"
  "ATEN_CPU_CAPABILITY=default|any" "ATEN_CPU_CAPABILITY=avx2|avx2"
  "ATEN_CPU_CAPABILITY=avx512|avx512bw"
  "MKL_CBWR=COMPATIBLE|any" "MKL_CBWR=AVX2|avx2" "MKL_CBWR=AVX512|avx512bw"
  "ONEDNN_MAX_CPU_ISA=AVX2|avx2" "ONEDNN_MAX_CPU_ISA=AVX512_CORE|avx512bw"
  "OMP_NUM_THREADS=1|any" "OMP_NUM_THREADS=2|any" "OMP_NUM_THREADS=4|any"
)
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# attribute NAME: a number of ctest's report of the last run.
attribute() { grep -oEm 1 "\b$1=\"[0-9]+\"" "$report" | tr -dc 0-9; }

rows=()
failed_any=0
for entry in "${settings[@]}"; do
  setting=${entry%|*} flag=${entry#*|}
  if [[ $flag != any ]] && ! grep -qw "$flag" /proc/cpuinfo; then
    rows+=("$(printf '%-34s %8s %8s %8s   this CPU has no %s' "$setting" - - - "$flag")")
    continue
  fi
  printf '\n== %s\n' "$setting"
  variables=()
  [[ $setting = *=* ]] && variables=("$setting")
  env "${variables[@]}" ctest --test-dir "$build" -L numeric --output-on-failure -j 2 \
    --output-junit "$report" "$@" || failed_any=1
  failed=$(attribute failures) skipped=$(attribute skipped)
  rows+=("$(printf '%-34s %8d %8d %8d' "$setting" \
    $(($(attribute tests) - failed - skipped)) "$failed" "$skipped")")
done
printf '\n%-34s %8s %8s %8s\n' setting passed failed skipped
printf '%s\n' "${rows[@]}"
exit "$failed_any"
