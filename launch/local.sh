#!/usr/bin/env bash
# Runs weft on N ranks of this machine, its cores shared among them:
#   launch/local.sh N COMMAND [options]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
  echo "usage: launch/local.sh N COMMAND [options]" \
    "   (N: ranks; for example launch/local.sh 2 train --help)" >&2
  exit 2
fi
n=$1
shift
weft=${WEFT:-$root/build/weft}
[ -x "$weft" ] || {
  echo "$weft is not there: build it with launch/quickstart.sh or launch/test.sh" >&2
  exit 2
}
# The mpiexec of the MPI that weft was built with; MPIEXEC chooses another.
cache=$(dirname "$weft")/CMakeCache.txt
found=$(sed -n 's/^MPIEXEC_EXECUTABLE:[A-Z]*=//p' "$cache" 2>/dev/null || true)
"$root/launch/mpiexec.sh" "${MPIEXEC:-${found:-mpiexec}}" "$n" "$weft" "$@" <&0 &
run=$!
# A queue warns with SIGTERM, at which mpiexec would end the ranks at once; SIGUSR1 it passes on,
# and they save and exit with 3.
trap 'kill -USR1 "$run" 2>/dev/null || true' TERM USR1
trap 'kill -INT "$run" 2>/dev/null || true' INT
status=0
while :; do # a signal ends `wait` early
  wait "$run" && status=0 || status=$?
  kill -0 "$run" 2>/dev/null || break
done
exit "$status"
