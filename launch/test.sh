#!/usr/bin/env bash
# Sets up, builds and tests Weft:
#   launch/test.sh [ctest arguments]   without any: all but what launch/test_all.sh is for
#   launch/test.sh -L quick            in four minutes: each room's own tests and the short ones of
#                                      the commands, and nothing of what follows
# Then mutated inputs for every command. Where a CUDA toolkit is found, also the GPU back end: its
# kernels emulated under AddressSanitizer and UBSan, alone and in a few whole runs; more of those on
# an emulated GPU, the CPU's ops in the kernels' place; and the program for A100 and H100, where a
# spilled register is an error, started without a driver. The rest of the program under sanitizers:
# launch/test_sanitized.sh.
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

python3 -B tests/fuzz/commands.py build/weft || status=1

if nvcc=$(weft_find_nvcc); then
  export CUDACXX=$nvcc
  weft_build emulated weft kernels_test cuda_emulation_test train_test weft_gpu_bench \
    weft_step_launches
  (cd build-emulated && ctest --output-on-failure -j 2 -L emulated) || status=1
  weft_build runtime weft comm_test train_test parity_test cuda_emulation_test infer_test
  (cd build-runtime && ctest --output-on-failure -j 2 -L runtime) || status=1
  weft_build cuda weft
  WEFT=$PWD/build-cuda/weft WEFT_SOURCE_DIR=$PWD bats tests/cli/device/no_driver.bats || status=1
else
  echo "No CUDA toolkit (12.2 or later) here: the GPU kernels were neither emulated nor compiled."
fi
exit $status
