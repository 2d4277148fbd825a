#!/usr/bin/env bats
# A save that finds no room: exit code 2 with one sentence, the older checkpoints whole, nothing half-written left.

load helper

setup_file() { make_data; }
teardown() { if [ -d "$BATS_TEST_TMPDIR/full" ]; then umount "$BATS_TEST_TMPDIR/full" || true; fi; }

refused() {
  ends "$launched"
  [ "$code" = 2 ]
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

@test "a full disk stops the log too" {
  [ "$(id -u)" = 0 ] || skip "mounting a small disk takes root"
  cd "$BATS_TEST_TMPDIR"
  mkdir full
  mount -t tmpfs -o size=4m tmpfs full || skip "no mounts here"
  mkdir full/run
  launch 2 full/run --tp 2 --steps 100000 --save-every 20
  until_ran 60 has_more full/run save 0
  head -c 8M /dev/zero >full/rest || true
  refused full/run
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
      [ "$code" = 2 ]
      grep "no room for its .* bytes" run.log
    )
    [ -z "$(find run -name '*.tmp*')" ]
    [ "$(find run/checkpoints -type f | wc -l)" = 1 ]
    checkpoints_are_whole run
  done
}
