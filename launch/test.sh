#!/usr/bin/env bash
# Sets up, builds and tests Weft:   launch/test.sh [ctest arguments]
# Where a CUDA toolkit is found, also the GPU back end: its kernels emulated under AddressSanitizer and
# UBSan, again under a race detector, and compiled for A100 and H100, where a spilled register is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh
weft_install_packages
weft_build build
status=0
(cd build && ctest --output-on-failure -j 2 "$@") || status=1

if nvcc=$(weft_find_nvcc); then
  export CUDACXX=$nvcc
  weft_build build-emulated kernels_test cuda_emulation_test weft_gpu_bench -DWEFT_CUDA=EMULATED -DWEFT_BENCHMARKS=OFF
  (cd build-emulated && ctest --output-on-failure -j 2 -L emulated) || status=1
  weft_build build-races kernels_test cuda_emulation_test -DWEFT_CUDA=EMULATED -DWEFT_EMULATION_CHECK=races -DWEFT_BENCHMARKS=OFF
  (cd build-races && ctest --output-on-failure -j 2 -L emulated -E benchmarks) || status=1
  weft_build build-cuda weft_kernels_cuda -DWEFT_CUDA=ON -DWEFT_TESTS=OFF -DWEFT_BENCHMARKS=OFF
else
  echo "No CUDA toolkit (12.2 or later) here: the GPU kernels were neither emulated nor compiled."
fi
exit $status
