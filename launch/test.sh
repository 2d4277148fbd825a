#!/usr/bin/env bash
# Sets up, builds and tests Weft:
#   launch/test.sh [ctest arguments]   without any: all but what launch/test_all.sh is for
#   launch/test.sh -L quick            in four minutes: each room's own tests and the short ones of
#                                      the commands, and nothing of what follows
# Then readers and commands under AddressSanitizer and UBSan: some of the suites, and mutated inputs
# for every command. Where a CUDA toolkit is found, also the GPU back end: its kernels emulated
# under AddressSanitizer and UBSan, again under a race detector, and compiled for A100 and H100,
# where a spilled register is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh
weft_install_packages "${WEFT_TEST_PACKAGES[@]}"
if [ "$*" = "-L quick" ]; then
  weft_build release "${WEFT_QUICK_TARGETS[@]}"
  cd build
  exec ctest --output-on-failure -j 2 -L quick
fi
[ $# -gt 0 ] || set -- -LE rare
weft_build release
status=0
(cd build && ctest --output-on-failure -j 2 "$@") || status=1

# What Open MPI and hwloc still hold at the end is not ours.
export ASAN_OPTIONS=detect_leaks=0:max_allocation_size_mb=4096 UBSAN_OPTIONS=print_stacktrace=1
weft_build asan weft core_test comm_test io_test text_test formats_test model_test machine_test \
  inspect_test infer_test fuzz_test plan_test report_test
suites='(core|text|inspect|fuzz|machine|plan|report)_test|(comm|io|formats|model|infer)_test_1'
(cd build-asan && WEFT_FUZZ_MUTANTS=50 ctest --output-on-failure -j 2 -R "^($suites)\$") || status=1
python3 -B tests/fuzz/commands.py build-asan/weft || status=1
unset ASAN_OPTIONS UBSAN_OPTIONS

if nvcc=$(weft_find_nvcc); then
  export CUDACXX=$nvcc
  weft_build emulated kernels_test cuda_emulation_test weft_gpu_bench
  (cd build-emulated && ctest --output-on-failure -j 2 -L emulated) || status=1
  weft_build races kernels_test cuda_emulation_test
  (cd build-races && ctest --output-on-failure -j 2 -L emulated -E benchmarks) || status=1
  weft_build cuda weft_kernels_cuda
else
  echo "No CUDA toolkit (12.2 or later) here: the GPU kernels were neither emulated nor compiled."
fi
exit $status
