#!/usr/bin/env bash
# Runs weft on N ranks of this machine, its cores shared among them:   launch/local.sh N COMMAND [options]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
  echo "usage: launch/local.sh N COMMAND [options]    (N: ranks; for example launch/local.sh 2 train --help)" >&2
  exit 2
fi
n=$1
shift
weft=${WEFT:-$root/build/weft}
[ -x "$weft" ] || { echo "$weft is not there: build it with launch/quickstart.sh or launch/test.sh" >&2; exit 2; }
# The mpiexec of the MPI that weft was built with; MPIEXEC chooses another.
found=$(sed -n 's/^MPIEXEC_EXECUTABLE:[A-Z]*=//p' "$(dirname "$weft")/CMakeCache.txt" 2>/dev/null || true)
exec "$root/tests/mpiexec.sh" "${MPIEXEC:-${found:-mpiexec}}" "$n" "$weft" "$@"
