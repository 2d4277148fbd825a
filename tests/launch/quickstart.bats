#!/usr/bin/env bats
# launch/quickstart.sh takes nothing away that it did not make for this text.

@test "another text leaves the run on the first as it is" {
  cd "$BATS_TEST_TMPDIR"
  mkdir -p run/checkpoints run/model
  echo /first.txt >run/source
  touch run/checkpoints/step-00000001.h5 run/run.jsonl
  before=$(find run | sort)
  echo text >second.txt
  code=0
  WEFT_RUN=$PWD/run "$WEFT_SOURCE_DIR/launch/quickstart.sh" second.txt 2>err || code=$?
  [ "$code" = 2 ]
  grep "run holds a run on /first.txt" err
  [ "$(find run | sort)" = "$before" ]
  [ "$(cat run/source)" = /first.txt ]
}
