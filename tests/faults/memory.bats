#!/usr/bin/env bats
# A rank's peak resident memory, from start to export, is what the arenas planned, within 10 %, and
# the bare process.

load helper

setup_file() { make_data; }

# measure OPTIONS…: a run's `planned` and `peak` bytes.
measure() {
  local now
  rm -rf run
  launch 0 run "$@" --steps 2
  peak=0
  while ! is_gone "$launched"; do
    now=$(awk '/VmHWM/ {print $2 * 1024}' "/proc/$launched/status" 2>/dev/null) && [ -n "$now" ] &&
      peak=$now
    sleep 0.005
  done
  ends "$launched"
  [ "$code" = 0 ]
  planned=$(head -n 1 run/run.jsonl | sed -E 's/.*"bytes_per_rank":([0-9]+).*/\1/')
}

@test "a model of 100 MB stays within its plan" {
  cd "$BATS_TEST_TMPDIR"
  # a tiny model: what is not its plan is the process: MPI, HDF5, oneDNN, the measured peak's
  # matrices
  measure
  base=$((peak - planned))
  measure --width 1024 --heads 8 --batch-size 2
  echo "# planned $planned, bare process $base, peak $peak: $(awk \
    "BEGIN {printf \"%.1f\", 100 * ($peak - $base - $planned) / $planned}") % over the plan" >&3
  [ $base -lt 100000000 ]
  awk -v planned="$planned" -v used=$((peak - base)) \
    'BEGIN {exit !(used > 0.9 * planned && used < 1.1 * planned)}'
}

# ended_with CODE 'words': the exit code and exactly one sentence, which holds the words.
ended_with() {
  [ "$code" = "$1" ] || { echo "exit $code"; cat err; return 1; }
  [ "$(grep -c '^weft: ' err)" = 1 ] && grep -Eq "^weft: .*($2)" err || { cat err; return 1; }
}

# limited KILOBYTES COMMAND…: weft with so much address space.
limited() {
  local most=$1
  shift
  code=0
  (ulimit -v "$most" -c 0 && exec timeout -k 5 120 "$WEFT" "$@") >out 2>err || code=$?
}

@test "what a limit on address space cannot hold is refused before it is touched" {
  cd "$BATS_TEST_TMPDIR"
  limited 4000000 train --data "$BATS_FILE_TMPDIR/data.h5" --out run "${model[@]}" --width 4096 \
    --heads 8 --layers 8 --steps 1
  ended_with 1 'ulimit -v|more than the system gives this process'
  [ ! -e run/run.jsonl ]
}

@test "however small the limit, a run is whole or ends with one sentence" {
  cd "$BATS_TEST_TMPDIR"
  "$WEFT" train --data "$BATS_FILE_TMPDIR/data.h5" --out run "${model[@]}" --steps 1
  limited 100000000 score --model run/model --text "the little people" --threads 1
  [ "$code" = 0 ]
  local before=0 refused=0 most
  for most in 150000 200000 250000 300000 350000 400000 500000 700000 1000000 2000000; do
    limited $most score --model run/model --text "the little people" --threads 1
    if [ "$code" = 0 ]; then before=1; continue; fi
    [ $before = 0 ] || { echo "less memory was enough"; return 1; }
    ! grep -Eq 'terminate called|what\(\)|std::' err || { cat err; return 1; }
    # Below some limit the libraries cannot be loaded, and no line of ours has run.
    [ "$code" = 127 ] && grep -q 'error while loading shared libraries' err && continue
    refused=1
    ended_with 1 'memory|ulimit|cannot' || { echo "limit $most"; return 1; }
  done
  [ $before = 1 ]
  echo "# a limit that started but did not serve was met: $refused" >&3
}
