#!/usr/bin/env bash
# Puts the program, its modules, the GPU tests and the few Debian libraries they need into one folder
# (below 50 MB) that runs on another Linux machine with a LibTorch of the same version, for example
# the one inside a Python environment with torch 2.11.
# usage: launch/bundle.sh FOLDER        there: FOLDER/whyrec ..., FOLDER/gpu-tests
set -euo pipefail
source "$(dirname "$0")/common.sh"
[[ $# = 1 ]] || die 2 "usage: launch/bundle.sh FOLDER"
folder=$1
build=${WHYREC_BUILD:-$root/build}
[[ -x $build/whyrec ]] || die 71 "no program in $build; run launch/build first"
[[ ! -e $folder ]] || die 2 "$folder exists; remove it or name another folder"
mkdir -p "$folder"/{bin,examples,lib,tests/golden}

cp "$build/whyrec" "$folder/bin/"
for test in gpu_test nccl_ranks; do
  [[ ! -x $build/$test ]] || cp "$build/$test" "$folder/bin/"
done
for module in "$build"/libwhyrec_*.so; do
  [[ ! -e $module ]] || cp "$module" "$folder/bin/"  # modules are looked for beside the program
done
strip "$folder"/bin/*
cp -r "$root"/tests/golden/. "$folder/tests/golden/"
cp -r "$root"/examples/{t5,phi}-tokenizer "$folder/examples/"

# All libraries that ldd finds, except LibTorch, CUDA, MPI and those that every Linux has.
own='libtorch|libc10|libcu|libnv|libnccl|libmpi|libopen-|linux-vdso|ld-linux|libc\.|libm\.|libdl\.|libpthread|librt|libresolv|libutil\.|libgcc_s|libstdc\+\+|libgomp'
for binary in "$folder"/bin/*; do
  [[ $binary != *libwhyrec_mpi.so ]] || continue  # uses the MPI that is installed there
  LD_LIBRARY_PATH=$libtorch/lib ldd "$binary"
done | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | grep -Ev "/($own)[^/]*$" | grep -v "^$libtorch" |
  sort -u | xargs -r cp -L -t "$folder/lib"
# Opened at run time, so ldd does not see it.
cp -L "$(ldconfig -p | awk '/libonig\.so\.5 .*x86-64/ {print $NF; exit}')" "$folder/lib/"

start() {  # start NAME PROGRAM: a script that finds LibTorch and runs PROGRAM
  cat >"$folder/$1" <<SCRIPT
#!/usr/bin/env bash
# LibTorch_ROOT: the folder with lib/libtorch_cpu.so; by default that of python3's torch.
set -euo pipefail
here=\$(cd "\$(dirname "\${BASH_SOURCE[0]}")" && pwd)
root=\${LibTorch_ROOT:-\$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null || true)}
if [[ ! -e \$root/lib/libtorch_cpu.so ]]; then
  echo "$1: no LibTorch: set LibTorch_ROOT to the folder with lib/libtorch_cpu.so" >&2
  exit 71
fi
nvidia=\$(find "\$(dirname "\$root")/nvidia" -maxdepth 3 -name lib -type d 2>/dev/null | tr '\n' ':' || true)
export LD_LIBRARY_PATH=\$root/lib:\$nvidia\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export WHYREC_SOURCE_DIR=\$here
exec "\$here/bin/$2" "\$@"
SCRIPT
  chmod +x "$folder/$1"
}
start whyrec whyrec
[[ ! -e $folder/bin/gpu_test ]] || start gpu-tests gpu_test
[[ ! -e $folder/bin/nccl_ranks ]] || start nccl-tests nccl_ranks
cp "$root/README.md" "$folder/"
say "$(du -sh "$folder" | cut -f1) in $folder: $(cd "$folder/lib" && ls | tr '\n' ' ')"
