#!/usr/bin/env bats
# One run in a folder at a time, and the same files and options on every rank.

load helper

setup_file() {
  make_data
  cd "$BATS_FILE_TMPDIR"
  tail -c 9000 "$WEFT_SOURCE_DIR/tests/data/tokenizer/corpus.txt" >other.txt
  "$WEFT" data other.txt --tokenizer "$WEFT_SOURCE_DIR/tests/data/tokenizer" --out other.h5 \
    --val-fraction 0.3
  mkdir a b
  ln data.h5 a/x.h5
  ln other.h5 b/x.h5
}

@test "a second run in the same folder is refused, and the first does not notice" {
  cd "$BATS_TEST_TMPDIR"
  launch 0 run --steps 1000000 --save-every 1 --keep 2
  first=$launched
  until_ran 60 has_more run save 3
  "$WEFT" train --data "$BATS_FILE_TMPDIR/data.h5" --out run "${model[@]}" \
    --steps 5 >second.log 2>&1 3>&- &
  ends $!
  [ "$code" = 2 ]
  grep "^weft: --out run: is in use by process $first on host" second.log
  kill -TERM "$first"
  ends "$first"
  [ "$code" = 3 ]
  [ "$(count run start)" = 1 ]
  [ -z "$(sed -nE 's/^\{"event":"step","step":([0-9]+),.*/\1/p' run/run.jsonl | uniq -d)" ]
  [ ! -e run/run.lock ]
  checkpoints_are_whole run
}

@test "what a killed run locked is the next one's, which says so" {
  cd "$BATS_TEST_TMPDIR"
  launch 0 run --steps 1000000 --save-every 1
  until_ran 60 has_more run save 3
  kill -KILL "$launched"
  ends "$launched"
  [ -e run/run.lock ]
  launch 0 run --steps 5
  first=$launched
  ends "$launched"
  [ "$code" = 0 ]
  grep "run: was locked by process .*, which is gone" run.log
  [ ! -e run/run.lock ]
}

# differ N_A N_B GRID… -- OPTIONS OF B: ranks of a and of b in one job.
differ() {
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
  local grid=() mpiexec=${WEFT_MPIEXEC##* }
  while [ "$1" != -- ]; do grid+=("$1"); shift; done
  shift
  local all=(train --data x.h5 "${model[@]}" --steps 3 --out "$PWD/run" "${grid[@]}")
  code=0
  timeout -k 5 60 "$mpiexec" --oversubscribe --bind-to none -n 1 \
    --wdir "$BATS_FILE_TMPDIR/a" "$WEFT" "${all[@]}" \
    : -n 1 --wdir "${B:-$BATS_FILE_TMPDIR/b}" "$WEFT" "${all[@]}" "$@" >run.log 2>&1 3>&- || code=$?
  cat run.log
  [ "$code" = 2 ]
  [ "$(grep -c '^weft: ' run.log)" = 1 ]
  [ ! -e run ]
}

@test "ranks that read different files end before the first step" {
  [[ "$($WEFT_MPIEXEC 1 "$WEFT" --version)" == *"Open MPI"* ]] || skip "another MPI's mpiexec"
  cd "$BATS_TEST_TMPDIR"
  for grid in "--dp 2" "--tp 2" "--pp 2"; do
    # shellcheck disable=SC2086
    differ $grid --
    grep -- "--data (tokens) is .* for rank . on host .*, but .* for rank . on host" run.log
  done
  B=$BATS_FILE_TMPDIR/a
  differ --dp 2 -- --seed 5
  grep -- "--seed is 5 for rank 1 on host .*, but 0 for rank 0" run.log
  differ --tp 2 -- --lr 1
  grep -- "--lr is 1 for rank 1" run.log
}

@test "so do ranks that open different models" {
  [[ "$($WEFT_MPIEXEC 1 "$WEFT" --version)" == *"Open MPI"* ]] || skip "another MPI's mpiexec"
  cd "$BATS_TEST_TMPDIR"
  for side in a b; do
    mkdir $side
    seed=$([ $side = a ] && echo 1 || echo 2)
    "$WEFT" train --data "$BATS_FILE_TMPDIR/data.h5" "${model[@]}" --steps 1 --seed "$seed" \
      --out run$side 2>/dev/null
    mv run$side/model $side/m
  done
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
  for grid in "--dp 2" "--tp 2" "--pp 2"; do
    code=0
    # shellcheck disable=SC2086
    timeout -k 5 60 "${WEFT_MPIEXEC##* }" --oversubscribe --bind-to none -n 1 \
      --wdir "$PWD/a" "$WEFT" score --model m --text "a bird" $grid \
      : -n 1 --wdir "$PWD/b" "$WEFT" score --model m --text "a bird" $grid >out.log 2>&1 3>&- ||
      code=$?
    cat out.log
    [ "$code" = 2 ]
    grep -- "--model's weights .* for rank . on host" out.log
  done
}
