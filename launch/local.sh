#!/usr/bin/env bash
# Runs weft on N ranks of this machine, its cores shared among them:
#   launch/local.sh N COMMAND [options]
# MPIEXEC chooses another mpiexec than that of the MPI weft was built with, WEFT another weft. A
# SIGTERM or SIGUSR1, as a queue sends them, is passed on: training saves and exits with 3.
set -euo pipefail
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
  echo "usage: launch/local.sh N COMMAND [options]" \
    "   (N: ranks; for example launch/local.sh 2 train --help)" >&2
  exit 2
fi
n=$1
shift
WEFT_DIALECT=local WEFT_RANKS_PER_NODE=$n WEFT_THREADS=${OMP_NUM_THREADS:-1}
# shellcheck source=launch/job.sh
. "$(cd "$(dirname "$0")" && pwd)/job.sh"
[ -x "$WEFT" ] || {
  echo "$WEFT is not there: build it with launch/quickstart.sh or launch/test.sh" >&2
  exit 2
}
weft_launch -n "$n" "$WEFT" "$@"
