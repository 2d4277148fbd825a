#!/usr/bin/env bash
# Plants one fault after another in a copy of a kernel's source, builds kernels_test with it and expects its tests to fail:
#   tests/cuda_emulation/mutants.sh BUILD_FOLDER [FIRST LAST]     (lines of mutants.txt, from 1)
# mutants.txt, a line each:  file of kernels/cuda | sed expression that plants the fault | tests that must notice (a gtest filter) | what it is
set -euo pipefail
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
first=${2:-1} last=${3:-1000}
work=$(mktemp -d "${TMPDIR:-/tmp}/mutants.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$build"

# The build's own commands: of the source's compilation, and of the test's linking (without its ": &&" frame).
compile_command() { ninja -t commands weft_kernels_cuda | grep -F -- "-c $root/kernels/cuda/$1" | tail -1; }
link_command() { ninja -t commands tests/kernels_test | tail -1 | sed 's/^: && //; s/ && :$//'; }

survivors=0 number=0
while IFS='|' read -r file expression filter what; do
  file=${file// /} filter=${filter// /}
  [ -n "$file" ] && [ "${file:0:1}" != '#' ] || continue
  number=$((number + 1))
  [ "$number" -ge "$first" ] && [ "$number" -le "$last" ] || continue
  mutant=$work/$number/${file%%:*}
  mkdir -p "$work/$number"
  source=${file%%:*} edited=${file##*:}  # "attention.cu:attention_tile.h": the header is edited, the source compiled
  sed -E "$expression" "$root/kernels/cuda/$edited" >"$work/$number/edited"
  if cmp -s "$work/$number/edited" "$root/kernels/cuda/$edited"; then
    echo "mutant $number ($what): the expression changes nothing in $edited" >&2
    survivors=$((survivors + 1))
    continue
  fi
  # The edited file is found before the one in the tree.
  mkdir -p "$work/$number/kernels/cuda"
  cp "$work/$number/edited" "$work/$number/kernels/cuda/$edited"
  if [ "$source" = "$edited" ]; then cp "$work/$number/edited" "$mutant"; else cp "$root/kernels/cuda/$source" "$mutant"; fi
  compile=$(compile_command "$source")
  compile=${compile/ -o * -c / -I$work/$number -o $work/$number/mutant.o -c }
  compile=${compile/ -I/ -I$work/$number -I}
  compile=${compile/-c $root\/kernels\/cuda\/$source/-c $mutant}
  if ! bash -c "$compile" >"$work/$number/log" 2>&1; then
    echo "mutant $number ($what) does not compile:" >&2
    tail -5 "$work/$number/log" >&2
    survivors=$((survivors + 1))
    continue
  fi
  link=$(link_command)
  link=${link/ -o tests\/kernels_test/ $work/$number/mutant.o -o $work/$number/kernels_test}
  bash -c "$link"
  if timeout 300 "$work/$number/kernels_test" --gtest_filter="$filter" >"$work/$number/log" 2>&1; then
    echo "mutant $number survives: $what" >&2
    survivors=$((survivors + 1))
  else
    echo "mutant $number is caught: $what ($(grep -c 'Failure$' "$work/$number/log") failures)"
  fi
done <"$root/tests/cuda_emulation/mutants.txt"
[ "$survivors" -eq 0 ]
