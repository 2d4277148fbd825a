#!/usr/bin/env bats
# A rank's peak resident memory, from start to export, is what the arenas planned, within 10 %, and the bare process.

load helper

setup_file() { make_data; }

@test "a model of 100 MB stays within its plan" {
  cd "$BATS_TEST_TMPDIR"
  launch 0 run --width 1024 --heads 8 --batch-size 2 --steps 2
  peak=0
  while ! is_gone "$launched"; do
    now=$(awk '/VmHWM/ {print $2 * 1024}' "/proc/$launched/status" 2>/dev/null) && [ -n "$now" ] && peak=$now
    sleep 0.01
  done
  ends "$launched"
  [ "$code" = 0 ]
  planned=$(head -n 1 run/run.jsonl | sed -E 's/.*"bytes_per_rank":([0-9]+).*/\1/')
  echo "# planned $planned, peak $peak" >&3
  # The bare process (MPI, HDF5, oneDNN) holds some 30 MB.
  awk -v planned="$planned" -v peak="$peak" 'BEGIN {exit !(peak > 0.9 * planned && peak < 1.1 * planned + 32e6)}'
}
