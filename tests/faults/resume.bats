#!/usr/bin/env bats
# What a resumed run takes for its own: whole checkpoints of the same run. What cannot be read is
# neither skipped nor renamed.

load helper

setup_file() {
  make_data
  cd "$BATS_FILE_TMPDIR"
  source=$WEFT_SOURCE_DIR/tests/data/tokenizer
  tail -c 9000 "$source/corpus.txt" >other.txt
  "$WEFT" data other.txt --tokenizer "$source" --out other.h5 --val-fraction 0.05
  "$WEFT" tokenizer "$source/corpus.txt" --vocab-size 300 --out tok 2>/dev/null
  "$WEFT" tokenizer other.txt --vocab-size 300 --out tok2 2>/dev/null
  "$WEFT" data "$source/corpus.txt" --tokenizer tok --out tok.h5 --val-fraction 0.05
  "$WEFT" data "$source/corpus.txt" --tokenizer tok2 --out tok2.h5 --val-fraction 0.05
  launch 0 run --steps 6 --save-every 2
  ends "$launched"
  [ "$code" = 0 ]
}

setup() {
  cd "$BATS_TEST_TMPDIR"
  cp -r "$BATS_FILE_TMPDIR/run" run
  before=$(cd run && find . -type f -exec md5sum {} + | sort)
}
untouched() { [ "$(cd run && find . -type f -exec md5sum {} + | sort)" = "$before" ]; }

# stops CODE WORDS: one sentence with the words, nothing touched.
stops() {
  ends "$launched"
  cat run.log
  [ "$code" = "$1" ]
  [ "$(grep -c '^weft: ' run.log)" = 1 ]
  grep '^weft: ' run.log | grep -E -- "$2"
  untouched
}

@test "a lock on the newest checkpoint, and on all" {
  for n in 0 2; do
    flock -x --no-fork run/checkpoints/step-00000006.h5 sleep 600 3>&- &
    locker=$!
    sleep 0.5
    launch $n run --steps 8
    stops 1 'step-00000006.h5: cannot be locked.*Resource temporarily unavailable'
    kill "$locker"
    wait "$locker" || true
  done
  launch 0 run --steps 8
  ends "$launched"
  [ "$code" = 0 ]
  grep "at step 6" run.log
}

@test "no right to read" {
  [ "$(id -u)" = 0 ] || as_user=1
  chmod 000 run/checkpoints/step-00000006.h5
  if [ -n "${as_user:-}" ]; then launch 0 run --steps 8; else
    command -v setpriv >/dev/null || skip "no setpriv"
    chmod -R a+rwX run . && chmod 000 run/checkpoints/step-00000006.h5
    chmod a+rX "$BATS_FILE_TMPDIR" "$BATS_FILE_TMPDIR/data.h5"
    before=
    setpriv --reuid 65534 --clear-groups --inh-caps=-all "$WEFT" \
      train --data "$BATS_FILE_TMPDIR/data.h5" --out run "${model[@]}" \
      --steps 8 >run.log 2>&1 3>&- &
    launched=$!
  fi
  ends "$launched"
  cat run.log
  grep -q "Permission denied" run.log
  [ "$code" = 1 ]
  [ ! -e run/checkpoints/step-00000006.h5.aside ]
}

@test "cut, flipped and emptied files are damaged, and the one before is taken" {
  truncate -s 10000 run/checkpoints/step-00000006.h5
  printf 'X' | dd of=run/checkpoints/step-00000004.h5 bs=1 seek=100000 conv=notrunc 2>/dev/null
  launch 0 run --steps 8
  ends "$launched"
  [ "$code" = 0 ]
  [ "$(grep -c "skipped a checkpoint" run.log)" = 2 ]
  grep "at step 2" run.log
  [ -e run/checkpoints/step-00000006.h5.aside ]
}

@test "where none is whole the run does not begin anew" {
  for file in run/checkpoints/*.h5; do truncate -s 10000 "$file"; done
  : >run/checkpoints/step-00000006.h5
  before=$(cd run && find . -type f -exec md5sum {} + | sort)
  for n in 0 2; do
    launch $n run --steps 8
    stops 1 'none of the 3 checkpoints is whole.*--resume none'
  done
  launch 0 run --steps 2 --resume none
  ends "$launched"
  [ "$code" = 0 ]
  [ "$(find run/checkpoints -name '*.aside' | wc -l)" = 3 ]
}

@test "a step of nine digits is found" {
  mv run/checkpoints/step-00000006.h5 run/checkpoints/step-123456789.h5
  launch 0 run --steps 8
  ends "$launched"
  grep "resuming from .*step-123456789.h5 at step 6" run.log
}

@test "another dataset, tokenizer and task are another run" {
  resume() {
    "$WEFT" train --out run "${model[@]}" --steps 8 "$@" >run.log 2>&1 3>&- & launched=$!
  }
  resume --data "$BATS_FILE_TMPDIR/other.h5"
  stops 2 'another run: tokens was [0-9]+, is [0-9]+.*--resume none.*--model'
  resume --data "$BATS_FILE_TMPDIR/tok.h5" --resume none
  ends "$launched"
  [ "$code" = 0 ]
  before=$(cd run && find . -type f -exec md5sum {} + | sort)
  resume --data "$BATS_FILE_TMPDIR/tok2.h5"
  stops 2 'another run: tokenizer was [0-9a-f]{8}, is [0-9a-f]{8}'
  "$WEFT" train --out other --data "$BATS_FILE_TMPDIR/tok.h5" "${model[@]}" --steps 2 \
    --model run/checkpoints/step-00000008.h5 >other.log 2>&1
}

@test "other settings are listed, more steps are not" {
  launch 0 run --steps 7
  ends "$launched"
  [ "$code" = 0 ]
  [ "$(grep -ci 'warning' run.log)" = 0 ]
  launch 0 run --steps 8 --lr 1e-3 --batch-size 4 --dropout 0 --beta2 0.5
  ends "$launched"
  [ "$code" = 0 ]
  [ "$(grep -ci 'warning' run.log)" = 1 ]
  for words in "lr was 0.003, is 0.001" "batch_size was 8, is 4" "beta2 was 0.95, is 0.5" \
    "dropout was"
  do
    grep -i warning run.log | grep "$words"
  done
}
