#!/usr/bin/env bash
# Everything about the kernels that only a real GPU can tell, in less than 9 minutes:
#   launch/gpu_check.sh --pack [FILE]   here: builds for sm_80 and sm_90 and packs what the GPU
#                                       machine needs (gpu_check.tar.xz)
#   gpu_check.sh                        there, in the unpacked folder or with the pack beside it
#                                       (or in the folder above)
# It leaves kernels.jsonl, tests.txt and sanitizer.txt in $OUT, or in ./gpu_check_results, and
# prints a table last. Exit code 1: a test failed, or the sanitizer found something; 2: it could not
# begin. The pack holds no glibc and no libstdc++: those there must be as new as the ones here, and
# newer ones serve. It holds no cuBLAS either, which alone exceeds its size: the toolkit there has
# it, or PyTorch's wheels.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
most_bytes=60000000
most_s=540
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

stop() {
  echo "gpu_check.sh: $*" >&2
  exit 2
}

# ---------------------------------------------------------------------------------- here: the pack

# Paths of the shared libraries of programs that are packed with them, one a line.
libraries_of() {
  local theirs='c|m|mvec|pthread|dl|rt|resolv|util|anl|stdc\+\+|gcc_s'
  theirs+='|cuda|nvidia-[a-z]+|cublas|cublasLt'
  ldd "$@" |
    awk '$2 == "=>" && $3 == "not" { print "not found: " $1 > "/dev/stderr"; exit 1 }
      $2 == "=>" { print $3 }' |
    sort -u | grep -vE "/(ld-linux[^/]*|lib($theirs)\.so[^/]*)$"
}

pack() {
  local file=$1 build=build-cuda folder program
  cd "$here/.."
  cmake -S . -B "$build" -G Ninja -DWEFT_CUDA=ON -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON \
    -DWEFT_BENCHMARKS=OFF >/dev/null
  cmake --build "$build" --target kernels_test weft_gpu_bench --parallel 2
  work=$(mktemp -d)
  folder=$work/gpu_check
  mkdir -p "$folder/bin" "$folder/lib"
  for program in "$build/tests/kernels_test" "$build/weft_gpu_bench"; do
    strip -o "$folder/bin/$(basename "$program")" "$program"
  done
  libraries_of "$folder"/bin/* >"$work/libraries"
  xargs -a "$work/libraries" cp -L -t "$folder/lib"
  ldd "$folder/bin/weft_gpu_bench" | awk '/libcublas\.so/ { print $1 }' >"$folder/cublas"
  [ -s "$folder/cublas" ] || stop "weft_gpu_bench does not use cuBLAS"
  cp launch/gpu_check.sh benchmarks/gpu/attention_peer.py benchmarks/gpu/result_table.py "$folder"
  {
    git describe --always --dirty 2>/dev/null || echo "no commit"
    nvcc --version | tail -2
  } >"$folder/built.txt"
  tar -C "$work" -c gpu_check | xz -9 -T2 >"$file"
  local bytes
  bytes=$(stat -c %s "$file")
  [ "$bytes" -lt "$most_bytes" ] ||
    stop "$file has $bytes bytes, more than the $most_bytes that may be carried"
  echo "$file: $bytes bytes, with $(wc -l <"$work/libraries") libraries;" \
    "cuBLAS ($(cat "$folder/cublas")), glibc and libstdc++ are those of the GPU machine"
}

# ------------------------------------------------------------------------------- there: the checks

find_gpu() {
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version \
    --format=csv,noheader 2>/dev/null | head -1 | grep .
}

# The folder of the unpacked pack.
find_pack() {
  if [ -x "$here/bin/kernels_test" ]; then
    folder=$here
    return
  fi
  local file
  for file in "$here/gpu_check.tar.xz" "$here/../gpu_check.tar.xz" ./gpu_check.tar.xz; do
    [ -e "$file" ] || continue
    tar -C "$work" -xJf "$file" 2>/dev/null || python3 -m tarfile -e "$file" "$work" ||
      stop "$file cannot be unpacked: neither xz nor python3 does it"
    folder=$work/gpu_check
    return
  done
  stop "no gpu_check.tar.xz beside this script; make it with  launch/gpu_check.sh --pack"
}

# The folder that holds the cuBLAS that the programs were linked with.
find_cublas() {
  local name=$1 dir
  for dir in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda/lib64 \
    /usr/local/cuda/targets/x86_64-linux/lib
  do
    [ -e "$dir/$name" ] && echo "$dir" && return
  done
  ldconfig -p 2>/dev/null |
    awk -v name="$name" '$1 == name { sub("/[^/]*$", "", $NF); print $NF; found = 1; exit }
      END { exit !found }' && return
  python3 - "$name" 2>/dev/null <<'PYTHON'
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("nvidia")  # the wheels that PyTorch depends on
places = spec.submodule_search_locations if spec else []
found = [p for place in places for p in pathlib.Path(place).rglob(sys.argv[1])]
print(found[0].parent)
PYTHON
}

find_tool() {
  command -v "$1" && return
  local path
  for path in "${CUDA_HOME:-/usr/local/cuda}/bin/$1" /usr/local/cuda/bin/"$1" \
    /usr/local/cuda/compute-sanitizer/"$1"
  do
    [ -x "$path" ] && echo "$path" && return
  done
  return 1
}

# step LIMIT NAME command…: for LIMIT seconds at most, and no longer than the whole may take. Its
# exit code; 124: out of time.
step() {
  local limit=$1 name=$2 left=$((most_s - SECONDS)) code=0
  shift 2
  if [ "$left" -lt "$limit" ]; then limit=$left; fi
  if [ "$limit" -lt 1 ]; then
    echo "$name: not run, $most_s s have passed" >&2
    return 124
  fi
  timeout -k 5 "$limit" "$@" || code=$?
  if [ "$code" = 124 ] || [ "$code" = 137 ]; then
    echo "$name: stopped after $limit s" >&2
    return 124
  fi
  return "$code"
}

# One tool of the sanitizer over a sample of small tests. Fails where it finds an error.
sanitize() {
  local tool=$1 code=0 log=$work/$1.txt
  step 75 "$tool" env LD_LIBRARY_PATH="$libraries" "$sanitizer" --tool "$tool" \
    --error-exitcode 9 "$folder/bin/kernels_test" --gtest_filter="$sample" \
    >"$log" 2>&1 || code=$?
  { echo "== $tool, exit code $code"; cat "$log"; } >>"$out/sanitizer.txt"
  if [ "$code" = 124 ]; then
    echo "$tool: no error in the time there was"
  elif grep -qE 'Device not supported|LibraryNotLoaded' "$log"; then
    echo "$tool: not run, this machine does not let it"
  elif [ "$code" != 0 ] || ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
    echo "$tool: FAILED (exit code $code), see sanitizer.txt"
    return 1
  else
    echo "$tool: no error"
  fi
}

check() {
  local gpu code=0 failed=0 cublas
  gpu=$(find_gpu) ||
    stop "no NVIDIA GPU on this machine (nvidia-smi finds none); make a pack with --pack and run" \
      "it where there is one"
  work=$(mktemp -d)
  find_pack
  cublas=$(find_cublas "$(cat "$folder/cublas")") ||
    stop "$(cat "$folder/cublas") is neither in a CUDA toolkit nor in Python's nvidia wheels here"
  libraries=$folder/lib:$cublas
  out=${OUT:-gpu_check_results}
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  : >"$out/sanitizer.txt"
  : >"$out/kernels.jsonl"
  echo "$gpu; built from $(head -1 "$folder/built.txt"); cuBLAS of $cublas"

  step 150 "kernels_test" env LD_LIBRARY_PATH="$libraries" "$folder/bin/kernels_test" \
    --gtest_filter='*cuda*' >"$out/tests.txt" 2>&1 || code=$?
  grep -E '^\[ *(PASSED|FAILED|SKIPPED) *\]|stopped after' "$out/tests.txt" | tail -15 || true
  if [ "$code" != 0 ]; then
    tail -5 "$out/tests.txt"
    echo "kernels_test: FAILED (exit code $code), see tests.txt"
    failed=1
  fi

  code=0
  step 150 "weft_gpu_bench" env LD_LIBRARY_PATH="$libraries" "$folder/bin/weft_gpu_bench" \
    --seconds 130 >>"$out/kernels.jsonl" || code=$?
  if [ "$code" != 0 ] && [ "$code" != 124 ]; then
    echo "weft_gpu_bench: FAILED (exit code $code)"
    failed=1
  fi
  if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    step 60 "attention_peer.py" python3 "$folder/attention_peer.py" >>"$out/kernels.jsonl" ||
      echo "attention_peer.py: not whole"
  else
    echo "attention_peer.py: not run, python3 has no torch that sees the GPU"
  fi

  if sanitizer=$(find_tool compute-sanitizer); then
    sanitize memcheck || failed=1
    sanitize racecheck || failed=1
  else
    echo "compute-sanitizer: not run, there is none here"
  fi
  # A line that a time limit cut in two is left out by the table.
  python3 "$folder/result_table.py" "$out/kernels.jsonl" ||
    echo "no table (it needs python3); the numbers are in $out/kernels.jsonl"
  echo "$SECONDS s; results in $out"
  return "$failed"
}

# Small tests of each kind of kernel.
sample='Linear.*/cuda_bf16:Norm.*/cuda_bf16:ActivationOp.*/cuda_bf16:Rope.*/cuda_bf16'
sample+=':Elementwise.DropoutIs*/cuda_bf16:Embedding.*/cuda_bf16:CrossEntropy.*/cuda_bf16'
sample+=':SampleTies.*/cuda_bf16:Optimizer.*/cuda_fp32:AttentionCached.ServesSeveral*/cuda_bf16'
sample+=':Attention.OfPacked*/cuda_bf16'
sample+=':Attention.OfPacked*/cuda_fp32:Attention.OfEveryHeadDim/cuda_bf16'

case ${1:-} in
  --pack) pack "$(realpath -m "${2:-$here/../gpu_check.tar.xz}")" ;;
  '') check ;;
  *) stop "unknown argument '$1'; allowed: --pack [FILE], or none" ;;
esac
