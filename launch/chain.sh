#!/usr/bin/env bash
# Queues one job script K times, each to begin when the one before has ended, however it ended: a
# run that is longer than a queue's walltime. A finished run makes the later ones end at once.
#   launch/chain.sh K SCRIPT [qsub options]
# A SCRIPT in #SBATCH goes to sbatch. PBS does not start a job whose predecessor was deleted before
# it began; a queue that takes one job a user (debug-scaling on Polaris) takes no chain.
set -euo pipefail
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null || ! [ -r "$2" ]; then
  echo "usage: launch/chain.sh K SCRIPT [qsub options]" \
    "   (K: jobs; for example launch/chain.sh 3 launch/polaris/train.pbs)" >&2
  exit 2
fi
jobs=$1 script=$2
shift 2

# What a job would be refused or dropped for is said before the first is queued.
kit=$(cd "$(dirname "$0")" && pwd)
machine=$(cd "$(dirname "$script")" && pwd)/machine.toml
weft=${WEFT:-$kit/../build/weft}
[ -x "$weft" ] || weft=$kit/../../../bin/weft
if [ -r "$machine" ] && [ -x "$weft" ]; then
  "$weft" lint "$script" --machine "$machine" >&2
else
  echo "chain.sh: $script is not checked: it needs a built weft and machine.toml beside it" >&2
fi

before=
for ((i = 1; i <= jobs; ++i)); do
  if grep -q '^#SBATCH' "$script"; then
    id=$(sbatch --parsable ${before:+--dependency="afterany:$before"} "$@" "$script")
  else
    id=$(qsub ${before:+-W "depend=afterany:$before"} "$@" "$script")
  fi || {
    echo "chain.sh: job $i of $jobs was refused; $((i - 1)) are queued" >&2
    exit 1
  }
  echo "$id"
  before=$id
done
