#!/usr/bin/env bats
# gpu_check.sh without a GPU, and on a machine whose GPU, tests and tools are played by scripts.

setup() {
  export PATH=$BATS_TEST_TMPDIR/tools:$PATH OUT=$BATS_TEST_TMPDIR/out \
    CUDA_HOME=$BATS_TEST_TMPDIR/cuda
  pack=$BATS_TEST_TMPDIR/gpu_check
  mkdir -p "$BATS_TEST_TMPDIR/tools" "$CUDA_HOME/lib64" "$pack/bin"
  touch "$CUDA_HOME/lib64/libcublas.so.13" "$CUDA_HOME/lib64/libcublasLt.so.13"
  gpu=$WEFT_SOURCE_DIR/benchmarks/gpu
  cp -r "$WEFT_SOURCE_DIR"/launch/gpu_check.sh "$gpu"/{result_table,step_peer}.py "$gpu/shapes" \
    "$pack"
  echo libcublas.so.13 >"$pack/cublas"
  echo v1 >"$pack/built.txt"
  play nvidia-smi 'echo "NVIDIA A100-SXM4-40GB, 580.1"'
  play python3 'if [ "$1" = -c ]; then exit 1; fi
exec /usr/bin/env -S PATH="${PATH#*:}" python3 "$@"'
  play ldd 'echo "	libc.so.6 => /lib/libc.so.6"; echo "	libcublas.so.13 => not found"'
  play compute-sanitizer 'echo "$*"; echo "[  PASSED  ] 3 tests."'
  for name in kernels comm parity infer; do
    play ../gpu_check/bin/${name}_test 'echo "$* on $WEFT_TEST_DEVICE with $WEFT_TEST_DATA"
echo "[  PASSED  ] 9 tests."'
  done
  play ../gpu_check/bin/weft_gpu_bench 'cat <<LINES
{"case":"copy bandwidth","gb_per_s":1400}
{"case":"cuBLAS bf16 8192x8192x8192","tflop_per_s":250}
{"case":"rope","ms":0.5,"share":0.87,"bound":"copy bandwidth"}
{"case":"attention","ms":2.0,"share":0.5,"bound":"bf16 matmul"}
LINES'
  play ../gpu_check/bin/weft "$(cat <<'SH'
if [ "$1" = --version ]; then echo "weft 1"; exit; fi
[ -e "${LD_LIBRARY_PATH##*:}/libcublasLt.so.13" ] || exit 9
all=$* what=$2
number() { sed -E "s/.*--$1 ([0-9]+).*/\1/" <<<"$all"; }
[ -e "$(sed -E 's/.*--model ([^ ]+).*/\1/' <<<"$all")/config.json" ] || exit 8
[[ $all == *"--device cuda --dtype bf16"*--json* ]] || exit 7
if [ "$what" = step ]; then
  tokens="$(number batch-size) x $(number context) tokens"
  echo "{\"name\":\"train step, $tokens, bf16\",\"value\":9e4,\"flops\":1e14}"
else
  cat <<LINES
{"name":"prefill, 1 x $(number prompt-tokens) tokens, bf16","value":5e4,"flops":5e13}
{"name":"decode, 1 sequences, bf16","value":800,"bytes_per_s":7e11,"flops":1e9}
LINES
fi
SH
)"
}

# python3 has a torch that sees the GPU; the peers say what they are told to measure.
play_torch() {
  play python3 "$(cat <<'SH'
real() { PATH=${PATH#*:} python3 "$@"; }
case $* in
  -c*) ;;
  *attention_peer.py) echo '{"case":"attention","peer":"P","attention":"flash","ms":1.0}' ;;
  *step_peer.py*)
    real "$1" "$2" --list | while read -r shape name; do
      for attention in flash cuDNN; do
        cat <<LINE
{"shape":"$shape","name":"$name","value":8e4,"peer":"P","attention":"$attention"}
LINE
      done
    done ;;
  *) real "$@" ;;
esac
SH
)"
}

play() {
  printf '#!/bin/bash\n%s\n' "$2" >"$BATS_TEST_TMPDIR/tools/$1"
  chmod +x "$BATS_TEST_TMPDIR/tools/$1"
}

@test "without a GPU it says so in one sentence" {
  play nvidia-smi 'echo "NVIDIA-SMI has failed"; exit 9'
  run "$WEFT_SOURCE_DIR/launch/gpu_check.sh"
  [ "$status" = 2 ]
  [ "${#lines[@]}" = 1 ]
  [[ $output == "gpu_check.sh: no NVIDIA GPU on this machine"* ]]
}

@test "an unknown argument is refused" {
  run "$WEFT_SOURCE_DIR/launch/gpu_check.sh" --pakc
  [ "$status" = 2 ]
  [[ $output == *"'--pakc'"* ]]
}

@test "without a GPU, where its pack lies, it says first whether all of that can start" {
  play nvidia-smi 'exit 9'
  run "$pack/gpu_check.sh"
  [ "$status" = 2 ]
  [ "${lines[0]}" = "6 programs find their libraries; weft 1" ]
  [[ ${lines[1]} == *"no NVIDIA GPU on this machine"* ]]
  play ldd 'echo "	libx.so.1 => not found"'
  run "$pack/gpu_check.sh"
  [ "$status" = 2 ]
  [[ $output == *" cannot start here: "*libx.so.1* ]]
}

@test "it runs tests, times, whole runs and sanitizer and prints the tables last" {
  run "$pack/gpu_check.sh"
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == \
    *"memcheck: no error"*"racecheck: no error"*"copy bandwidth: 1400 GB/s"*rope*0.500*"87 %"* ]]
  [[ $output == *"gpt2-124m train step, 16 x 1024 tokens, bf16"*90000*"40 %"*"bf16 matmul"* ]]
  [[ $output == *"decode, 1 sequences, bf16"*800*"50 %"*"copy bandwidth"* ]]
  for name in kernels parity infer; do
    grep -q " on cuda with $pack/data\$" "$OUT/${name}_test.txt"
    grep -q 'PASSED' "$OUT/${name}_test.txt"
  done
  grep -q -- '--tool racecheck' "$OUT/racecheck.txt"
  [ "$(wc -l <"$OUT/kernels.jsonl")" = 4 ]
  [ "$(grep -c '"shape":"[^"]*","gpu":"NVIDIA A100-SXM4-40GB"' "$OUT/runs.jsonl")" = 6 ]
}

@test "PyTorch's attention back ends stand beside ours, by the same names" {
  play_torch
  run "$pack/gpu_check.sh"
  echo "$output"
  [ "$status" = 0 ]
  grep -q 'attention .* 0.50 flash$' <<<"$output"
  [ "$(grep -c 'step, .* 1.12 flash, 1.12 cuDNN$' <<<"$output")" = 2 ]
  [ "$(grep -c 'prefill, .* 0.62 flash, 0.62 cuDNN$' <<<"$output")" = 2 ]
  [ "$(grep -c 'decode, .* 0.01 flash, 0.01 cuDNN$' <<<"$output")" = 2 ]
}

# The pack's launcher of ranks, played: it says how many, and runs the program once. A machine of $1
# GPUs, with an NCCL.
play_several() {
  mkdir -p "$pack/mpi/bin"
  play ../gpu_check/mpi/bin/mpiexec 'echo "mpiexec $*" >>"$OUT/mpiexec"
while [ "$1" != -n ]; do shift; done
shift 2
exec "$@"'
  play nvidia-smi "for i in \$(seq $1); do echo 'NVIDIA A100-SXM4-40GB, 580.1'; done"
  touch "$CUDA_HOME/lib64/libnccl.so.2"
  [ -e "$pack/weft_of_one" ] || mv "$pack/bin/weft" "$pack/weft_of_one"
  play ../gpu_check/bin/weft "$(cat <<'SH'
[ "$2" = comm ] || exec "${0%/bin/weft}/weft_of_one" "$@"
[[ $* == *"--device cuda"*--json* ]] || exit 7
line='{"bench":"comm","name":"x","value":1,"collective":"all_reduce","group":"world","ranks":4'
line+=',"hosts":1,"backend":"nccl","dtype":"bf16","bytes":'
echo "${line}64,\"seconds\":1,\"algbw\":1,\"busbw\":1.5,\"wrong\":0}"
echo "${line}512,\"seconds\":1,\"algbw\":1,\"busbw\":201.5,\"wrong\":0}"
echo "${line}8,\"seconds\":1,\"algbw\":1,\"busbw\":0.5,\"wrong\":0}"
SH
)"
}

@test "on several GPUs: ranks over NCCL, four at most" {
  for gpus in 2 8; do
    rm -rf "$OUT"
    play_several "$gpus"
    run "$pack/gpu_check.sh"
    echo "$output"
    [ "$status" = 0 ]
    n=$((gpus < 4 ? gpus : 4))
    [[ $output == *"$n ranks with a GPU each; NCCL of $CUDA_HOME/lib64"* ]]
    [[ $output == *"comm_test on $n ranks:"*PASSED*"parity_test on $n ranks:"*PASSED* ]]
    [[ $output == *"NCCL all_reduce, bf16: 201.5 GB/s of bus bandwidth at 512 B"* ]]
    [ "$(grep -c -- "-n $n " "$OUT/mpiexec")" = 3 ]
    grep -q "comm_test --gtest_filter=Devices" "$OUT/mpiexec"
    grep -q "bench comm --device cuda .*--json" "$OUT/mpiexec"
    [ "$(wc -l <"$OUT/comm.jsonl")" = 3 ]
  done
}

@test "on several GPUs a failing test or measurement fails it; what is not there is said" {
  play_several 2
  play ../gpu_check/bin/comm_test 'echo "[  FAILED  ] 1 test."; exit 1'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"comm_test on 2 ranks: FAILED (exit code 1)"*"parity_test on 2 ranks:"* ]]
  play ../gpu_check/bin/comm_test 'echo "[  PASSED  ] 9 tests."'
  play ../gpu_check/bin/weft '[ "$2" = comm ] || exec "${0%/bin/weft}/weft_of_one" "$@"
echo no >&2
exit 1'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"weft bench comm on 2 ranks: FAILED (exit code 1)"* ]]
  rm "$CUDA_HOME/lib64/libnccl.so.2"
  play ldconfig 'exit 0'
  run "$pack/gpu_check.sh"
  [ "$status" = 0 ]
  [[ $output == *"several GPUs: not run, there is no NCCL here (NCCL_HOME)"* ]]
  rm "$pack/mpi/bin/mpiexec"
  run "$pack/gpu_check.sh"
  [ "$status" = 0 ]
  [[ $output == *"several GPUs: not run, the pack has no launcher of ranks"* ]]
}

@test "on one GPU, or where one is shown, nothing of it" {
  play_several 1
  run "$pack/gpu_check.sh"
  [ "$status" = 0 ]
  [[ $output != *"ranks"* ]]
  play nvidia-smi 'for i in 1 2 3; do echo "NVIDIA A100-SXM4-40GB, 580.1"; done'
  CUDA_VISIBLE_DEVICES=2 run "$pack/gpu_check.sh"
  [ "$status" = 0 ]
  [ ! -e "$OUT/mpiexec" ] && [ ! -e "$OUT/comm.jsonl" ]
}

@test "a failing test, run or sanitizer and a sample without a test fail it, and all is run" {
  play ../gpu_check/bin/parity_test 'echo "[  FAILED  ] 1 test."; exit 1'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"parity_test: FAILED"*"racecheck: no error"*"rope"* ]]
  play ../gpu_check/bin/parity_test 'echo "[  PASSED  ] 0 tests."'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  play ../gpu_check/bin/parity_test 'echo "[  PASSED  ] 9 tests."'
  mv "$pack/bin/weft" "$pack/weft"
  play ../gpu_check/bin/weft 'if [ "$1" = --version ]; then exit; fi; [ "$2" = step ]'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"weft bench generate, gpt2-124m: FAILED (exit code 1)"*"rope"* ]]
  mv "$pack/weft" "$pack/bin/weft"
  play compute-sanitizer 'echo "[  PASSED  ] 3 tests."; [[ $* != *racecheck* ]] || exit 9'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"memcheck: no error"*"racecheck: FAILED (exit code 9)"* ]]
  play compute-sanitizer 'echo "[  PASSED  ] 0 tests."'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
}

@test "without cuBLAS it says which is missing" {
  echo libcublas.so.99 >"$pack/cublas"
  touch "$CUDA_HOME/lib64/libcublas.so.99"  # and no cuBLASLt
  run "$pack/gpu_check.sh"
  [ "$status" = 2 ]
  [[ $output == *"libcublas.so.99, and cuBLASLt beside it, is neither"* ]]
}

@test "the pack beside the script serves as well" {
  mkdir "$BATS_TEST_TMPDIR/beside"
  mv "$pack/gpu_check.sh" "$BATS_TEST_TMPDIR/beside"
  cp "$BATS_TEST_TMPDIR/beside/gpu_check.sh" "$pack"
  tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/beside/gpu_check.tar.xz" gpu_check
  run "$BATS_TEST_TMPDIR/beside/gpu_check.sh"
  [ "$status" = 0 ]
  [[ $output == *"racecheck: no error"* ]]
}
