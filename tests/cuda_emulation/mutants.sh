#!/usr/bin/env bash
# Plants one fault after another in a copy of a source, builds the tests with it and expects them to
# fail:
#   tests/cuda_emulation/mutants.sh BUILD_FOLDER [FIRST LAST]
# (lines of mutants.txt that hold one, from 1)
# A line of mutants.txt:  source of kernels/cuda, or source:header where the fault goes into a
# header, for kernels_test; or src/core/source, for cuda_emulation_test @ sed -E expression @ gtest
# filter @ what it is
set -euo pipefail
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
first=${2:-1} last=${3:-1000}
cd "$build"

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
  source=kernels/cuda/${file%%:*} edited=kernels/cuda/${file##*:} folder=$build/mutants/$number
  library=weft_kernels_cuda program=kernels_test
  if [[ $file == src/* ]]; then
    source=$file edited=$file library=weft_core program=cuda_emulation_test
  fi
  mkdir -p "$folder/$(dirname "$source")"
  cp "$root/$source" "$folder/$source"
  sed -E "$expression" "$root/$edited" >"$folder/$edited"
  if cmp -s "$folder/$edited" "$root/$edited"; then
    complain "the expression changes nothing in $edited"
    continue
  fi
  # The build's own command, for the copy; the mutant's folder is looked into first.
  compile=$(ninja -t commands "$library" | grep -F -- "-c $root/$source" |
    tail -1 | sed -E "s| -MD -MT [^ ]+ -MF [^ ]+||; s| -o [^ ]+| -o $folder/mutant.o|
      s| -c .*| -c $folder/$source|; s| -I| -I$folder -I|")
  if ! bash -c "$compile" >"$folder/log" 2>&1; then
    complain "does not compile: $(grep -m1 error "$folder/log")"
    continue
  fi
  # The object comes before the library, whose own is then not taken.
  link=$(ninja -t commands "tests/$program" | tail -1 | sed 's/^: && //; s/ && :$//')
  if ! bash -c "${link/ -o tests\/$program/ $folder/mutant.o -o $folder/$program}" \
    >"$folder/log" 2>&1
  then
    complain "does not link: $(tail -1 "$folder/log")"
    continue
  fi
  status=0
  timeout 300 "$folder/$program" --gtest_filter="$filter" --gtest_brief=1 >"$folder/log" 2>&1 ||
    status=$?
  rm -f "$folder/$program" "$folder/mutant.o"
  if [ "$status" -eq 0 ]; then
    complain "survives $filter"
  elif [ "$status" -eq 124 ]; then
    complain "the tests hang"
  else
    echo "mutant $number ($what) is caught by $(grep -v '^unknown file' "$folder/log" | grep -E \
      -m1 'Failure$|with description|AddressSanitizer|runtime error' | cut -c 1-200)"
  fi
done <"$root/tests/cuda_emulation/mutants.txt"
echo "$bad not caught"
[ "$bad" -eq 0 ]
