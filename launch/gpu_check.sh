#!/usr/bin/env bash
# All that only a real GPU can tell, in less than 9 minutes: tests of kernels, models and engine,
# times of kernels and of whole runs beside PyTorch, compute-sanitizer; and where there are several
# GPUs, on up to four ranks: tests of collectives and models over NCCL, and its bandwidths.
#   launch/gpu_check.sh --pack [FILE]   here: builds for sm_80 and sm_90 and packs what the GPU
#                                       machine needs (gpu_check.tar.xz)
#   gpu_check.sh                        there, in the unpacked folder or with the pack beside it
#                                       (or in the folder above)
# It leaves kernels.jsonl, runs.jsonl, comm.jsonl of several GPUs, and what each test and tool said
# (NAME.txt) in $OUT, or in ./gpu_check_results, and prints a table last. Exit code 1: a test or a
# run failed, or the sanitizer found something; 2: it could not begin. The pack holds no glibc and
# no libstdc++: those there must be as new as the ones here, and newer ones serve. No cuBLAS, which
# alone exceeds its size: the toolkit there has it, or PyTorch's wheels; so with NCCL. Of an MPI it
# holds what the ranks of one host need.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
most_bytes=60000000
most_s=540
work=
folder=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

stop() {
  echo "gpu_check.sh: $*" >&2
  exit 2
}

# ---------------------------------------------------------------------------------- here: the pack

programs=(kernels_test comm_test parity_test infer_test weft_gpu_bench weft)
# Of tests/data, what the tests of models read.
data=(families gpt2_h3 gpt2_h5 generation.json tokenizer)

# Paths of the shared libraries of programs that are packed with them, one a line.
libraries_of() {
  local theirs='c|m|mvec|pthread|dl|rt|resolv|util|anl|stdc\+\+|gcc_s'
  theirs+='|cuda|nvidia-[a-z]+|cublas|cublasLt'
  ldd "$@" |
    awk '$2 == "=>" && $3 == "not" { print "not found: " $1 > "/dev/stderr"; exit 1 }
      $2 == "=>" { print $3 }' |
    sort -u | grep -vE "/(ld-linux[^/]*|lib($theirs)\.so[^/]*)$"
}

# Open MPI's launcher, its plugins and messages, which it looks for at fixed places: of the plugins
# those that need no library beyond the pack's and the launcher's, so none of a network.
pack_open_mpi() {
  local folder=$1 plugins messages plugin
  plugins=$(ompi_info --parseable --path pkglibdir | sed -n 's/^path:pkglibdir://p')
  messages=$(ompi_info --parseable --path pkgdatadir | sed -n 's/^path:pkgdatadir://p')
  mkdir -p "$folder/mpi/plugins" "$folder/mpi/share" "$folder/mpi/bin"
  cp -r "$messages" "$folder/mpi/share/openmpi"
  strip -o "$folder/mpi/bin/mpiexec" "$(command -v orterun)"
  libraries_of "$folder/mpi/bin/mpiexec" "$plugins"/mca_pmix_ext*.so >"$work/theirs"
  xargs -a "$work/theirs" cp -L -t "$folder/lib"
  for plugin in "$plugins"/mca_*.so; do
    libraries_of "$plugin" >"$work/theirs" 2>/dev/null || true
    grep '/libmca_common_[^/]*$' "$work/theirs" >"$work/shared" || true
    { ls "$folder/lib"; sed 's|.*/||' "$work/shared"; } >"$work/known"
    if sed 's|.*/||' "$work/theirs" | grep -vxF -f "$work/known" >/dev/null; then continue; fi
    cp -L "$plugin" "$folder/mpi/plugins"
    xargs -r -a "$work/shared" cp -L -t "$folder/lib"
  done
}

pack() {
  local file=$1 build=build-cuda folder program
  cd "$here/.."
  cmake -S . -B "$build" -G Ninja -DWEFT_CUDA=ON -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON \
    -DWEFT_BENCHMARKS=ON >/dev/null
  cmake --build "$build" --target "${programs[@]}" --parallel 2
  work=$(mktemp -d)
  folder=$work/gpu_check
  mkdir -p "$folder/bin" "$folder/lib" "$folder/data"
  for program in "${programs[@]}"; do
    strip -o "$folder/bin/$program" "$(find "$build" "$build/tests" -maxdepth 1 -name "$program")"
  done
  cp -r "${data[@]/#/tests/data/}" "$folder/data"
  libraries_of "$folder"/bin/* >"$work/libraries"
  xargs -a "$work/libraries" cp -L -t "$folder/lib"
  if grep -q '/libopen-pal\.so' "$work/libraries"; then pack_open_mpi "$folder"; fi
  ldd "$folder/bin/weft_gpu_bench" | awk '/libcublas\.so/ { print $1 }' >"$folder/cublas"
  [ -s "$folder/cublas" ] || stop "weft_gpu_bench does not use cuBLAS"
  cp -r launch/gpu_check.sh benchmarks/gpu/{attention_peer,step_peer,peer_model,result_table}.py \
    benchmarks/gpu/shapes "$folder"
  {
    git describe --always --dirty 2>/dev/null || echo "no commit"
    nvcc --version | tail -2
  } >"$folder/built.txt"
  tar -C "$work" -c gpu_check | xz -9 -T2 >"$file"
  local bytes
  bytes=$(stat -c %s "$file")
  [ "$bytes" -lt "$most_bytes" ] ||
    stop "$file has $bytes bytes, more than the $most_bytes that may be carried"
  echo "$file: $bytes bytes, with $(find "$folder/lib" "$folder/mpi" -name '*.so*' | wc -l)" \
    "libraries;" \
    "cuBLAS ($(cat "$folder/cublas")), glibc and libstdc++ are those of the GPU machine"
}

# ------------------------------------------------------------------------------- there: the checks

find_gpu() {
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version \
    --format=csv,noheader 2>/dev/null | sed -n 1p | grep .
}

# The folder of the unpacked pack; fails where there is none.
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
  return 1
}

# How our programs are started; $1 is where cuBLAS lies, if that is known. One rank of Open MPI
# starts no daemon and asks for no network; several are this host's, and share its memory.
set_environment() {
  libraries=$folder/lib${1:+:$1}
  local common=(LD_LIBRARY_PATH="$libraries" WEFT_TEST_DEVICE=cuda WEFT_TEST_DATA="$folder/data")
  with=(env "${common[@]}")
  ranks=()
  [ -d "$folder/mpi" ] || return 0
  common+=(OPAL_PREFIX="$folder/mpi" OPAL_PKGLIBDIR="$folder/mpi/plugins" OMPI_MCA_pml=ob1)
  with=(env "${common[@]}" OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_btl=self
    OMPI_MCA_if=linux_ipv6)
  [ -x "$folder/mpi/bin/mpiexec" ] || return 0
  ranks=(env "${common[@]}" OMPI_MCA_btl="self,vader" OMPI_MCA_plm=isolated
    PMIX_MCA_pcompress_base_silence_warning=1
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    "$folder/mpi/bin/mpiexec" --oversubscribe --bind-to none)
}

# GPUs that this process may use.
count_gpus() {
  if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c . || true
  else
    nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | grep -c . || true
  fi
}

# Whether all programs find their libraries here, and weft starts.
look_at_pack() {
  local program missing
  set_environment ""
  for program in "$folder"/bin/*; do
    missing=$(LD_LIBRARY_PATH=$libraries ldd "$program" 2>&1 | grep 'not found' |
      grep -vE '^[[:space:]]*libcublas(Lt)?\.so' || true)
    [ -z "$missing" ] || stop "$(basename "$program") cannot start here: $missing"
  done
  "${with[@]}" "$folder/bin/weft" --version >"$work/version" 2>"$work/said" ||
    stop "weft cannot start here: $(tail -3 "$work/said")"
  echo "$(find "$folder/bin" -type f | wc -l) programs find their libraries;" \
    "$(head -1 "$work/version")"
}

# The folder that holds the cuBLAS that the programs were linked with, and cuBLASLt.
find_cublas() {
  local name=$1 also=${1/cublas/cublasLt} dir
  for dir in "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/cuda/lib64 \
    /usr/local/cuda/targets/x86_64-linux/lib \
    $(ldconfig -p 2>/dev/null |
      awk -v name="$name" '$1 == name { sub("/[^/]*$", "", $NF); print $NF }')
  do
    [ -e "$dir/$name" ] && [ -e "$dir/$also" ] && echo "$dir" && return
  done
  python3 - "$name" "$also" 2>/dev/null <<'PYTHON'
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("nvidia")  # the wheels that PyTorch depends on
places = spec.submodule_search_locations if spec else []
found = [p.parent for place in places for p in pathlib.Path(place).rglob(sys.argv[1])]
print([p for p in found if (p / sys.argv[2]).exists()][0])
PYTHON
}

# The folder of an NCCL: a toolkit's, or of the wheels that PyTorch depends on.
find_nccl() {
  local name=libnccl.so.2 dir
  for dir in ${NCCL_HOME:+"$NCCL_HOME/lib"} "${CUDA_HOME:-/usr/local/cuda}/lib64" \
    $(ldconfig -p 2>/dev/null |
      awk -v name="$name" '$1 == name { sub("/[^/]*$", "", $NF); print $NF }')
  do
    [ -e "$dir/$name" ] && echo "$dir" && return
  done
  python3 - "$name" 2>/dev/null <<'PYTHON'
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("nvidia")
places = spec.submodule_search_locations if spec else []
print([p.parent for place in places for p in pathlib.Path(place).rglob(sys.argv[1])][0])
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

# test_program NAME FILTER: its gtests, all that they say in NAME.txt. Fails where one does.
test_program() {
  local name=$1 filter=$2 code=0 log=$out/$1.txt
  step 130 "$name" "${with[@]}" "$folder/bin/$name" --gtest_filter="$filter" >"$log" 2>&1 ||
    code=$?
  echo "$name:"
  grep -E '^\[ *(PASSED|FAILED|SKIPPED) *\]|stopped after' "$log" | tail -15 || true
  if [ "$code" != 0 ] || ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
    tail -5 "$log"
    echo "$name: FAILED (exit code $code), see $name.txt"
    return 1
  fi
}

# One tool of the sanitizer over a sample of small tests. Fails where it finds an error.
sanitize() {
  local tool=$1 code=0 log=$out/$1.txt
  step 70 "$tool" "${with[@]}" "$sanitizer" --tool "$tool" --error-exitcode 9 \
    "$folder/bin/kernels_test" --gtest_filter="$sample" >"$log" 2>&1 || code=$?
  echo "exit code $code" >>"$log"
  if [ "$code" = 124 ]; then
    echo "$tool: no error in the time there was"
  elif grep -qE 'Device not supported|LibraryNotLoaded' "$log"; then
    echo "$tool: not run, this machine does not let it"
  elif [ "$code" != 0 ] || ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
    echo "$tool: FAILED (exit code $code), see $tool.txt"
    return 1
  else
    echo "$tool: no error"
  fi
}

# test_ranks N NAME FILTER LIMIT: its gtests on N ranks with a GPU each, likewise.
test_ranks() {
  local n=$1 name=$2 filter=$3 limit=$4 code=0 log=$out/$2.$1.txt
  step "$limit" "$name" "${ranks[@]}" -n "$n" "$folder/bin/$name" --gtest_filter="$filter" \
    >"$log" 2>&1 || code=$?
  echo "$name on $n ranks:"
  grep -E '^\[ *(PASSED|FAILED|SKIPPED) *\]|stopped after' "$log" | tail -15 || true
  if [ "$code" != 0 ] || ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
    tail -5 "$log"
    echo "$name on $n ranks: FAILED (exit code $code), see $name.$n.txt"
    return 1
  fi
}

# NCCL on up to four GPUs. Fails where a test or the measurement does.
check_several() {
  local n=$1 nccl code=0 failed=0
  if [ ${#ranks[@]} = 0 ]; then
    echo "several GPUs: not run, the pack has no launcher of ranks"
    return 0
  fi
  nccl=$(find_nccl) || nccl=
  if [ -z "$nccl" ]; then
    echo "several GPUs: not run, there is no NCCL here (NCCL_HOME)"
    return 0
  fi
  ranks+=(-x LD_LIBRARY_PATH="$libraries:$nccl")
  echo "$n ranks with a GPU each; NCCL of $nccl"
  test_ranks "$n" comm_test 'Devices/*' 45 || failed=1
  test_ranks "$n" parity_test 'Families.*-*Bf16*:Volume.*' 75 || failed=1
  step 40 "weft bench comm" "${ranks[@]}" -n "$n" "$folder/bin/weft" bench comm --device cuda \
    --max-bytes 268435456 --json >"$out/comm.jsonl" 2>"$out/comm.txt" || code=$?
  if [ "$code" != 0 ] && [ "$code" != 124 ]; then
    tail -5 "$out/comm.txt"
    echo "weft bench comm on $n ranks: FAILED (exit code $code), see comm.txt"
    failed=1
  fi
  best_bandwidths "$out/comm.jsonl"
  return "$failed"
}

# Of each collective of all ranks, by dtype, the largest size.
best_bandwidths() {
  sed -nE 's/.*"collective":"([^"]*)","group":"world".*"dtype":"([^"]*)","bytes":([0-9]*),.*'$(
  )'"busbw":([0-9.e+-]*).*/\3 \4 \2 \1/p' "$1" | awk '
    { name = $4; for (i = 5; i <= NF; ++i) name = name " " $i; name = name ", " $3 }
    $1 >= most[name] { most[name] = $1; rate[name] = $2 }
    END { for (name in most)
            printf "NCCL %s: %.4g GB/s of bus bandwidth at %d B\n", name, rate[name], most[name] }
  ' | sort
}

# side_by_side 'command' …: at once; what they said in order. Fails where one does.
side_by_side() {
  local i pids=() failed=0
  for i in $(seq $#); do
    eval "${!i}" >"$work/said.$i" 2>&1 &
    pids+=($!)
  done
  for i in $(seq $#); do
    wait "${pids[i - 1]}" || failed=1
    cat "$work/said.$i"
  done
  return "$failed"
}

# Each of the runs by weft, its lines with the shape's name and the GPU's. Fails where one does.
run_weft() {
  local run shape what arguments code failed=0
  for run in "${runs[@]}"; do
    read -r shape what arguments <<<"$run"
    code=0
    # shellcheck disable=SC2086
    step 20 "weft $run" "${with[@]}" "$folder/bin/weft" bench "$what" --device cuda --dtype bf16 \
      --model "$folder/shapes/$shape" --repeats 10 --json $arguments >"$work/lines" || code=$?
    sed "s|^{|{\"shape\":\"$shape\",\"gpu\":\"${gpu%%,*}\",|" "$work/lines" >>"$out/runs.jsonl"
    if [ "$code" != 0 ] && [ "$code" != 124 ]; then
      echo "weft bench $what, $shape: FAILED (exit code $code)"
      failed=1
    fi
  done
  return "$failed"
}

check() {
  local gpu code=0 failed=0 cublas n_gpus
  work=$(mktemp -d)
  gpu=$(find_gpu) || gpu=
  if find_pack; then look_at_pack; fi
  [ -n "$gpu" ] ||
    stop "no NVIDIA GPU on this machine (nvidia-smi finds none); make a pack with --pack and run" \
      "it where there is one"
  [ -n "$folder" ] ||
    stop "no gpu_check.tar.xz beside this script; make it with  launch/gpu_check.sh --pack"
  cublas=$(find_cublas "$(cat "$folder/cublas")") ||
    stop "$(cat "$folder/cublas"), and cuBLASLt beside it, is neither in a CUDA toolkit nor in" \
      "Python's nvidia wheels here"
  set_environment "$cublas"
  out=${OUT:-gpu_check_results}
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  : >"$out/kernels.jsonl"
  : >"$out/runs.jsonl"
  echo "$gpu; built from $(head -1 "$folder/built.txt"); cuBLAS of $cublas"

  side_by_side "test_program kernels_test '*cuda*'" "test_program parity_test '*'" \
    "test_program infer_test 'Pages.*:Engine.*:Beams.*:EngineStatistics.*'" || failed=1

  step 100 "weft_gpu_bench" "${with[@]}" "$folder/bin/weft_gpu_bench" \
    --seconds 85 >>"$out/kernels.jsonl" || code=$?
  if [ "$code" != 0 ] && [ "$code" != 124 ]; then
    echo "weft_gpu_bench: FAILED (exit code $code)"
    failed=1
  fi
  run_weft || failed=1
  n_gpus=$(count_gpus)
  if [ "$n_gpus" -gt 1 ]; then check_several "$((n_gpus < 4 ? n_gpus : 4))" || failed=1; fi
  if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    step 35 "attention_peer.py" python3 "$folder/attention_peer.py" >>"$out/kernels.jsonl" ||
      echo "attention_peer.py: not whole"
    printf '%s\n' "${runs[@]}" >"$work/runs"
    step 120 "step_peer.py" python3 "$folder/step_peer.py" "$folder/shapes" --seconds 100 \
      <"$work/runs" >>"$out/runs.jsonl" || echo "step_peer.py: not whole"
  else
    echo "attention_peer.py, step_peer.py: not run, python3 has no torch that sees the GPU"
  fi

  if sanitizer=$(find_tool compute-sanitizer); then
    side_by_side "sanitize memcheck" "sanitize racecheck" || failed=1
  else
    echo "compute-sanitizer: not run, there is none here"
  fi
  # A line that a time limit cut in two is left out by the table.
  python3 "$folder/result_table.py" "$out/kernels.jsonl" "$out/runs.jsonl" ||
    echo "no table (it needs python3); the numbers are in $out/*.jsonl"
  echo "$SECONDS s; results in $out"
  return "$failed"
}

# Whole runs, each  SHAPE WHAT ARGUMENTS  of weft bench: in training as many tokens as fit 40 GB.
# The second shape is an eighth of Llama 3 8B, 4 of its 32 layers and as large a part of its
# vocabulary, so that layers and head keep their parts of the time.
runs=(
  "gpt2-124m step --batch-size 16 --context 1024"
  "gpt2-124m generate --prompt-tokens 512 --new-tokens 256"
  "llama-3-8b-eighth step --batch-size 4 --context 2048"
  "llama-3-8b-eighth generate --prompt-tokens 512 --new-tokens 256"
)

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
