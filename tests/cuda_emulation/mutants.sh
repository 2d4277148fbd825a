#!/usr/bin/env bash
# Plants one fault after another in a copy of a kernel's source, builds kernels_test with it and
# expects its tests to fail:
#   tests/cuda_emulation/mutants.sh BUILD_FOLDER [FIRST LAST]
# (lines of mutants.txt that hold one, from 1)
# A line of mutants.txt:  source of kernels/cuda, or source:header where the fault goes into a
# header @ sed -E expression @ gtest filter @ what it is
set -euo pipefail
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
first=${2:-1} last=${3:-1000}
cd "$build"
link=$(ninja -t commands tests/kernels_test | tail -1 | sed 's/^: && //; s/ && :$//')

number=0 bad=0
complain() {
  echo "mutant $number ($what): $1" >&2
  bad=$((bad + 1))
}

while IFS='@' read -r file expression filter what; do
  file=${file// /} expression=${expression% } filter=${filter// /} what=${what# }
  [[ -n $file && $file != \#* ]] || continue
  number=$((number + 1))
  ((number >= first && number <= last)) || continue
  source=${file%%:*} edited=${file##*:} folder=$build/mutants/$number
  mkdir -p "$folder/kernels/cuda"
  cp "$root/kernels/cuda/$source" "$folder/kernels/cuda/$source"
  sed -E "$expression" "$root/kernels/cuda/$edited" >"$folder/kernels/cuda/$edited"
  if cmp -s "$folder/kernels/cuda/$edited" "$root/kernels/cuda/$edited"; then
    complain "the expression changes nothing in $edited"
    continue
  fi
  # The build's own command, for the copy; the mutant's folder is looked into first.
  compile=$(ninja -t commands weft_kernels_cuda | grep -F -- "-c $root/kernels/cuda/$source" |
    tail -1 | sed -E "s| -MD -MT [^ ]+ -MF [^ ]+||; s| -o [^ ]+| -o $folder/mutant.o|
      s| -c .*| -c $folder/kernels/cuda/$source|; s| -I| -I$folder -I|")
  if ! bash -c "$compile" >"$folder/log" 2>&1; then
    complain "does not compile: $(grep -m1 error "$folder/log")"
    continue
  fi
  # The object comes before the library, whose own is then not taken.
  if ! bash -c "${link/ -o tests\/kernels_test/ $folder/mutant.o -o $folder/kernels_test}" \
    >"$folder/log" 2>&1
  then
    complain "does not link: $(tail -1 "$folder/log")"
    continue
  fi
  status=0
  timeout 300 "$folder/kernels_test" --gtest_filter="$filter" --gtest_brief=1 >"$folder/log" 2>&1 ||
    status=$?
  rm -f "$folder/kernels_test" "$folder/mutant.o"
  if [ "$status" -eq 0 ]; then
    complain "survives $filter"
  elif [ "$status" -eq 124 ]; then
    complain "the tests hang"
  else
    echo "mutant $number ($what) is caught by $(grep -E \
      -m1 'Failure$|AddressSanitizer|runtime error' "$folder/log" | tail -c 120)"
  fi
done <"$root/tests/cuda_emulation/mutants.txt"
echo "$bad not caught"
[ "$bad" -eq 0 ]
