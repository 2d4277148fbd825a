#!/usr/bin/env bats
# A rank's peak resident memory, from start to export, is what the arenas planned, within 10 %, and the bare process.

load helper

setup_file() { make_data; }

# measure OPTIONS…: a run's `planned` and `peak` bytes.
measure() {
  local now
  rm -rf run
  launch 0 run "$@" --steps 2
  peak=0
  while ! is_gone "$launched"; do
    now=$(awk '/VmHWM/ {print $2 * 1024}' "/proc/$launched/status" 2>/dev/null) && [ -n "$now" ] && peak=$now
    sleep 0.005
  done
  ends "$launched"
  [ "$code" = 0 ]
  planned=$(head -n 1 run/run.jsonl | sed -E 's/.*"bytes_per_rank":([0-9]+).*/\1/')
}

@test "a model of 100 MB stays within its plan" {
  cd "$BATS_TEST_TMPDIR"
  measure  # a tiny model: what is not its plan is the process: MPI, HDF5, oneDNN, the measured peak's matrices
  base=$((peak - planned))
  measure --width 1024 --heads 8 --batch-size 2
  echo "# planned $planned, bare process $base, peak $peak: $(awk "BEGIN {printf \"%.1f\", 100 * ($peak - $base - $planned) / $planned}") % over the plan" >&3
  [ $base -lt 100000000 ]
  awk -v planned="$planned" -v used=$((peak - base)) 'BEGIN {exit !(used > 0.9 * planned && used < 1.1 * planned)}'
}
