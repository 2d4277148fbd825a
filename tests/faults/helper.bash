# What the fault tests share: a small corpus, runs in the background, their ranks, their curves.
# shellcheck shell=bash

# Once a file: the data, in BATS_FILE_TMPDIR.
make_data() {
  local source=$WEFT_SOURCE_DIR/tests/data/tokenizer
  "$WEFT" data "$source/corpus.txt" --tokenizer "$source" --out "$BATS_FILE_TMPDIR/data.h5" \
    --val-fraction 0.05
}

model=(--layers 2 --width 64 --heads 4 --context 32 --batch-size 8 --lr 3e-3 --warmup-steps 10 \
  --dropout 0.1 --threads 1)

# launch N OUT OPTIONS…: a run of N ranks in the background, `launched` its process, its output in
# OUT.log. N = 0: without mpiexec.
launch() {
  local n=$1 out=$2
  shift 2
  local with=()
  # shellcheck disable=SC2206
  [ "$n" = 0 ] || with=($WEFT_MPIEXEC "$n")
  # Open MPI's mpiexec puts its own folder before PATH, where the machine's qstat may be.
  "${with[@]}" env PATH="$PATH" "$WEFT" train --data "$BATS_FILE_TMPDIR/data.h5" \
    --out "$out" "${model[@]}" "$@" >"$out.log" 2>&1 3>&- &
  launched=$!
}

# ranks PROCESS: the weft processes at or below it.
ranks() {
  local child
  [ "$(cat "/proc/$1/comm" 2>/dev/null)" = weft ] && echo "$1"
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do ranks "$child"; done
}

# The number of lines of an event in a run's log; a line that a kill has cut is none.
count() { grep -c "^{\"event\":\"$2\".*}\$" "$1/run.jsonl" 2>/dev/null || true; }

# until_ran SECONDS COMMAND…: waits until it is true.
until_ran() {
  local left=$(($1 * 50))
  shift
  until "$@"; do
    ((left-- > 0)) || return 1
    sleep 0.02
  done
}
has_more() { [ "$(count "$1" "$2")" -gt "$3" ]; }
is_gone() { [ ! -e "/proc/$1" ] || [ "$(awk '{print $3}' "/proc/$1/stat" 2>/dev/null)" = Z ]; }

# ends PROCESS: its exit code in `code`; fails where it hangs.
ends() {
  if ! until_ran 60 is_gone "$1"; then
    # shellcheck disable=SC2046
    kill -KILL $(ranks "$1") "$1" 2>/dev/null
    echo "hangs"
    return 1
  fi
  code=0
  wait "$1" || code=$?
}

# "step loss" of every step, the last line of a step counting.
curve() {
  sed -nE 's/^\{"event":"step","step":([0-9]+),"loss":([^,]+),.*\}$/\1 \2/p' "$1/run.jsonl" |
    awk '{loss[$1] = $2} END {for (s in loss) print s, loss[s]}' | sort -n
}

# All of a run's checkpoints load, every checksum right, and nothing else lies beside them.
checkpoints_are_whole() {
  local file
  for file in "$1"/checkpoints/*; do
    case ${file##*/} in
      step-????????.h5) "$WEFT" score --model "$file" --text "the little people" \
        --threads 1 >/dev/null || return 1 ;;
      *) echo "unexpected: $file"; return 1 ;;
    esac
  done
}
