#!/usr/bin/env bash
# What git tracks of a checkout (this one, or FOLDER): in its root only what architecture.md's tree
# lists, and nowhere what programs leave behind (logs, rejected patches, editors' copies, cores).
#   tests/house/stray.sh [FOLDER]
# Exit code 1: names what is not so; 77: no checkout, so nothing is tracked.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

if ! [ -e .git ] || ! git ls-files >/dev/null 2>&1; then
  echo "no git checkout: what is tracked was not looked at" >&2
  exit 77
fi

# Of a path in the root.
in_tree() {
  case $1 in
  .* | CMakeLists.txt | CMakePresets.json | README.md | LICENSE) return 0 ;;
  cmake/* | launch/* | kernels/* | src/* | tests/* | benchmarks/*) return 0 ;;
  *) return 1 ;;
  esac
}

# Of a name.
left_behind() {
  case $1 in
  *.log | *.orig | *.rej | *.bak | *.tmp) return 0 ;;                    # logs, patches
  *~ | \#*\# | .\#* | .*.sw? | .DS_Store | Thumbs.db) return 0 ;;        # editors, desktops
  core | core.[0-9]* | *.core | vgcore.* | nohup.out | gmon.out) return 0 ;; # processes that ended
  *.o | *.a | *.so | *.gcda | *.gcno | *.pyc | a.out) return 0 ;;        # compilers
  slurm-[0-9]*.out | *.[oe][0-9]*) return 0 ;;                           # batch jobs
  *) return 1 ;;
  esac
}

status=0
while IFS= read -r -d '' path; do
  if ! in_tree "$path"; then
    echo "$path: not of architecture.md's tree: move it to the folder whose job it is"
    status=1
  elif left_behind "${path##*/}"; then
    echo "$path: left behind by a program: git rm it"
    status=1
  fi
done < <(git ls-files -z)
exit "$status"
