#!/usr/bin/env bash
# stray.sh refuses what is planted in a checkout of its own, and nothing else of it.
set -euo pipefail
stray=$(cd "$(dirname "$0")" && pwd)/stray.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
git init -q .

# check STATUS LINES PATH…: of a checkout that tracks just these
check() {
  local wanted=$1 lines=$2 got=0 said
  shift 2
  rm -f .git/index
  local path
  for path; do
    mkdir -p "$(dirname "./$path")"
    : >"./$path"
    git add -f -- "./$path"
  done
  said=$("$stray" "$work") || got=$?
  if [ "$got" != "$wanted" ] || [ "$(grep -c . <<<"$said")" != "$lines" ]; then
    printf 'exit code %s for: %s\n%s\n' "$got" "$*" "$said" >&2
    exit 1
  fi
}

good=(.gitignore .ci/run CMakeLists.txt README.md src/core/log.cpp src/logs.txt
  tests/data/core_test.cpp launch/polaris/train.pbs benchmarks/results/m/cpu.jsonl)
check 0 0 "${good[@]}"
for path in rt.log notes.txt build/x.cpp shared/a.md src/a.log tests/data/run.log src/a.cpp.orig \
  src/a.cpp.rej 'src/a.cpp~' src/.a.cpp.swp 'src/#a.cpp#' 'src/.#a.cpp' src/core.1234 tests/core \
  launch/train.o123 launch/slurm-7.out src/a.o 'a name.txt' .rt.log; do
  check 1 1 "${good[@]}" "$path"
done
# What is only there, and not tracked, is nobody's.
check 0 0 "${good[@]}"
[ -e rt.log ]
