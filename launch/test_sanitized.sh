#!/usr/bin/env bash
# Readers and commands under AddressSanitizer and UBSan: some of the suites, and mutated inputs for
# every command. Where a CUDA toolkit is found, also the emulated kernels under a race detector.
# A part of launch/test_all.sh, half an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh
weft_install_packages "${WEFT_TEST_PACKAGES[@]}"
status=0

# What Open MPI and hwloc still hold at the end is not ours.
export ASAN_OPTIONS=detect_leaks=0:max_allocation_size_mb=4096 UBSAN_OPTIONS=print_stacktrace=1
weft_build asan weft core_test comm_test io_test ledger_test text_test formats_test model_test \
  machine_test inspect_test infer_test fuzz_test plan_test report_test
suites='(core|ledger|text|fuzz|machine|plan|report)_test'
suites+='|(comm|io|formats|model|infer|inspect)_test_1'
(cd build-asan && WEFT_FUZZ_MUTANTS=50 ctest --output-on-failure -j 2 -R "^($suites)\$") || status=1
python3 -B tests/fuzz/commands.py build-asan/weft || status=1
unset ASAN_OPTIONS UBSAN_OPTIONS

if nvcc=$(weft_find_nvcc); then
  export CUDACXX=$nvcc
  weft_build races kernels_test cuda_emulation_test
  (cd build-races && ctest --output-on-failure -j 2 -L emulated -E benchmarks) || status=1
else
  echo "No CUDA toolkit (12.2 or later) here: the kernels were not watched for races."
fi
exit $status
