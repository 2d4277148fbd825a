#!/usr/bin/env bats
# A save that finds no room is tried again after the next step, and ends the run, with exit code 1,
# only where no step is left. The older checkpoints stay whole, nothing half-written is left.

load helper

setup_file() { make_data; }
teardown() { if [ -d "$BATS_TEST_TMPDIR/full" ]; then umount "$BATS_TEST_TMPDIR/full" || true; fi; }

refused() {
  ends "$launched"
  cat "$1.log"
  [ "$code" = 1 ]
  [ "$(grep -c '^weft: ' "$1.log")" = 1 ]
  grep -i "disk.* full" "$1.log"
  [ -z "$(find "$1" -name '*.tmp*')" ]
  checkpoints_are_whole "$1"
}

@test "no room is seen before a checkpoint is begun" {
  [ "$(id -u)" = 0 ] || skip "mounting a small disk takes root"
  cd "$BATS_TEST_TMPDIR"
  mkdir full
  mount -t tmpfs -o size=7m tmpfs full || skip "no mounts here"
  for n in 0 2; do
    rm -rf full/*
    launch $n full/run --steps 200 --save-every 5 --keep 0
    refused full/run
    [ "$(find full/run -name 'step-*.h5' | wc -l)" -ge 2 ]
    grep "no room for its .* bytes" full/run.log
  done
}

@test "room that comes back is used: nothing is lost, nor of the log" {
  [ "$(id -u)" = 0 ] || skip "mounting a small disk takes root"
  cd "$BATS_TEST_TMPDIR"
  mkdir full
  mount -t tmpfs -o size=8m tmpfs full || skip "no mounts here"
  launch 2 full --tp 2 --steps 100000 --save-every 20 --keep 1
  until_ran 60 has_more full save 1
  head -c 16M /dev/zero >full/rest || true
  until_ran 60 grep -q "it is tried again after every step" full.log
  until_ran 60 grep -q "its lines wait in memory" full.log
  is_gone "$launched" && return 1
  rm full/rest
  saved=$(count full save)
  until_ran 60 has_more full save "$saved"
  # shellcheck disable=SC2046
  kill -TERM $(ranks "$launched")
  ends "$launched"
  [ "$code" = 3 ]
  steps=$(sed -nE 's/^\{"event":"step","step":([0-9]+),.*/\1/p' full/run.jsonl)
  [ "$steps" = "$(seq "$(echo "$steps" | wc -l)")" ]
  checkpoints_are_whole full
}

@test "a signal on a full disk says what is lost" {
  [ "$(id -u)" = 0 ] || skip "mounting a small disk takes root"
  cd "$BATS_TEST_TMPDIR"
  mkdir full
  mount -t tmpfs -o size=8m tmpfs full || skip "no mounts here"
  launch 0 full --steps 100000 --save-every 20 --keep 1
  until_ran 60 has_more full save 0
  head -c 16M /dev/zero >full/rest || true
  until_ran 60 grep -q "it is tried again after every step" full.log
  kill -TERM "$launched"
  refused full
  grep "no room for its .* bytes.*step [0-9]* is lost" full.log
}

@test "a folder that cannot be written is said before the first step" {
  [ "$(id -u)" = 0 ] || skip "mounting takes root"
  cd "$BATS_TEST_TMPDIR"
  mkdir full
  mount -t tmpfs -o size=8m tmpfs full || skip "no mounts here"
  launch 0 full/run --steps 2
  ends "$launched"
  [ "$code" = 0 ]
  mount -o remount,ro full
  for out in full/run full/new; do
    "$WEFT" train --data "$BATS_FILE_TMPDIR/data.h5" --out "$out" "${model[@]}" \
      --steps 3 >run.log 2>&1 3>&- &
    ends $!
    cat run.log
    [ "$code" = 1 ]
    grep "^weft: --out $out: .*(Read-only file system)" run.log
  done
}

# A limit on file sizes is to a program what a quota is: the disk has room, but not for this file.
@test "a limit on file sizes is a full disk" {
  cd "$BATS_TEST_TMPDIR"
  for n in 0 2; do
    rm -rf run
    launch $n run --width 512 --steps 2 --save-every 2  # some 40 MB
    ends "$launched"
    cat run.log
    [ "$code" = 0 ]
    (
      ulimit -f 20480
      launch $n run --width 512 --steps 4 --save-every 2
      ends "$launched"
      cat run.log
      [ "$code" = 1 ]
      grep "no room for its .* bytes" run.log
    )
    [ -z "$(find run -name '*.tmp*')" ]
    [ "$(find run/checkpoints -type f | wc -l)" = 1 ]
    checkpoints_are_whole run
  done
}
