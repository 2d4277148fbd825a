#!/usr/bin/env bats
# gpu_check.sh without a GPU, and on a machine whose GPU, tests and tools are played by scripts.

setup() {
  export PATH=$BATS_TEST_TMPDIR/tools:$PATH OUT=$BATS_TEST_TMPDIR/out \
    CUDA_HOME=$BATS_TEST_TMPDIR/cuda
  pack=$BATS_TEST_TMPDIR/gpu_check
  mkdir -p "$BATS_TEST_TMPDIR/tools" "$CUDA_HOME/lib64" "$pack/bin"
  touch "$CUDA_HOME/lib64/libcublas.so.13"
  cp "$WEFT_SOURCE_DIR"/launch/gpu_check.sh "$WEFT_SOURCE_DIR"/benchmarks/gpu/result_table.py \
    "$pack"
  echo libcublas.so.13 >"$pack/cublas"
  echo v1 >"$pack/built.txt"
  play nvidia-smi 'echo "NVIDIA A100-SXM4-40GB, 580.1"'
  play python3 'if [ "$1" = -c ]; then exit 1; fi
exec /usr/bin/env -S PATH="${PATH#*:}" python3 "$@"'
  play compute-sanitizer 'echo "$*"; echo "[  PASSED  ] 3 tests."'
  play ../gpu_check/bin/kernels_test 'echo "[  PASSED  ] 9 tests."'
  play ../gpu_check/bin/weft_gpu_bench 'cat <<LINES
{"case":"copy bandwidth","gb_per_s":1400}
{"case":"rope","ms":0.5,"share":0.87,"bound":"copy bandwidth"}
LINES'
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

@test "it runs tests, times and sanitizer and prints the table last" {
  run "$pack/gpu_check.sh"
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == \
    *"memcheck: no error"*"racecheck: no error"*"copy bandwidth: 1400 GB/s"*rope*0.500*"87 %"* ]]
  grep -q 'PASSED' "$OUT/tests.txt"
  grep -q -- '--tool racecheck' "$OUT/sanitizer.txt"
  [ "$(wc -l <"$OUT/kernels.jsonl")" = 2 ]
}

@test "a failing test, a sanitizer's error and a sample without a test fail it, and all is run" {
  play ../gpu_check/bin/kernels_test 'echo "[  FAILED  ] 1 test."; exit 1'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"kernels_test: FAILED"*"rope"* ]]
  play ../gpu_check/bin/kernels_test 'echo "[  PASSED  ] 9 tests."'
  play compute-sanitizer 'echo "[  PASSED  ] 3 tests."; [[ $* != *racecheck* ]] || exit 9'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
  [[ $output == *"memcheck: no error"*"racecheck: FAILED (exit code 9)"* ]]
  play compute-sanitizer 'echo "[  PASSED  ] 0 tests."'
  run "$pack/gpu_check.sh"
  [ "$status" = 1 ]
}

@test "without cuBLAS it says which is missing" {
  rm "$CUDA_HOME/lib64/libcublas.so.13"
  echo libcublas.so.99 >"$pack/cublas"
  run "$pack/gpu_check.sh"
  [ "$status" = 2 ]
  [[ $output == *"libcublas.so.99 is neither"* ]]
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
