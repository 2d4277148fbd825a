#!/usr/bin/env bash
# Sets up, builds and tests Weft:   launch/test.sh [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh
weft_install_packages
weft_build build
cd build
exec ctest --output-on-failure -j 2 "$@"
