#!/usr/bin/env bash
# All tests, before an issue ends:   launch/test_all.sh
# launch/test.sh, then what is long and rarely breaks (ctest's label `rare`): launchers of other
# MPIs and schedulers, and real models, where they are at hand (launch/quickstart.sh fetches
# SmolLM2).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
status=0
launch/test.sh || status=1
(cd build && ctest --output-on-failure -j 2 -L rare) || status=1
exit $status
