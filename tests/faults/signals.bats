#!/usr/bin/env bats
# SIGTERM (the queue's warning) and SIGUSR1: the step is finished and saved, exit code 3, and the
# same command goes on. More signals change nothing.

load helper

setup_file() {
  make_data
  cd "$BATS_FILE_TMPDIR"
  launch 0 calm --steps 600
  ends "$launched"
  [ "$code" = 0 ]
  curve calm >calm.curve
}

# stops N OPTIONS… -- SIGNALLING: the run stops by what SIGNALLING does to it ($pids: its ranks),
# then goes on to the calm run's end.
stops() {
  local n=$1 options=() step
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  cd "$BATS_TEST_TMPDIR"
  rm -rf run
  launch "$n" run "${options[@]}" --steps 600
  until_ran 60 has_more run step 2
  # shellcheck disable=SC2207
  pids=($(ranks "$launched"))
  [ ${#pids[@]} -ge 1 ]
  "$@"
  ends "$launched"
  [ "$code" = 3 ]
  [ "$(grep -c "weft: stopped by a signal" run.log)" = 1 ]
  [ "$(grep -ci "rank .*:.*error" run.log)" = 0 ]
  tail -n 1 run/run.jsonl | grep '"event":"end".*"reason":"signal"'
  step=$(tail -n 1 run/run.jsonl | sed -E 's/^\{"event":"end","step":([0-9]+),.*/\1/')
  [ -f "run/checkpoints/$(printf 'step-%08d.h5' "$step")" ]
  [ ! -e run/model ]
  checkpoints_are_whole run
  launch "$n" run "${options[@]}" --steps 600
  ends "$launched"
  [ "$code" = 0 ]
  grep "resuming from .* at step $step" run.log
  [ "$(curve run | wc -l)" = 600 ]
}

signal_all() { kill -"$1" "${pids[@]}"; }
signal_one() { kill -"$1" "${pids[-1]}"; }
signal_mpiexec() { kill -"$1" "$launched"; }
# A first one, and more at once, during the save, and on the way out.
storm() {
  local i
  for i in $(seq 400); do
    kill -TERM "${pids[@]}" 2>/dev/null || return 0
    ((i % 3)) || sleep 0.002
  done
}

@test "SIGTERM and SIGUSR1 to a single process" {
  stops 0 -- signal_all TERM
  diff <(curve run) "$BATS_FILE_TMPDIR/calm.curve"
  stops 0 -- signal_all USR1
  diff <(curve run) "$BATS_FILE_TMPDIR/calm.curve"
}

@test "SIGINT, as Ctrl-C sends it" { stops 0 -- signal_all INT; }

# Evaluations that would take minutes: the step is saved before one begins, and a signal does not
# wait for one that has begun.
@test "a signal saves first and evaluates never" {
  cd "$BATS_TEST_TMPDIR"
  "$WEFT" data "$WEFT_SOURCE_DIR"/tests/data/tokenizer/corpus.txt{,,,,,,,,,,,,,,,} \
    --tokenizer "$WEFT_SOURCE_DIR/tests/data/tokenizer" --out many.h5 --val-fraction 0.9
  for when in 0.05 1; do
    rm -rf run
    launch 0 run --data many.h5 --eval-every 1 --eval-samples 0 --steps 600 --context 4 \
      --batch-size 1
    until_ran 60 has_more run step 0
    sleep $when
    kill -TERM "$launched"
    ends "$launched"
    [ "$code" = 3 ]
    tail -n 1 run/run.jsonl | grep '"event":"end".*"reason":"signal"'
    checkpoints_are_whole run
  done
}

@test "SIGTERM to every rank" { stops 2 --tp 2 -- signal_all TERM; }
@test "SIGUSR1 to every rank" { stops 2 --pp 2 -- signal_all USR1; }
@test "SIGTERM to one rank" { stops 2 --dp 2 -- signal_one TERM; }
@test "SIGUSR1 to one rank of three" { stops 3 --dp 3 -- signal_one USR1; }
@test "SIGUSR1 to mpiexec, which passes it on" {
  [[ "$($WEFT_MPIEXEC 1 "$WEFT" --version)" == *"Open MPI"* ]] || skip "another MPI's mpiexec"
  stops 2 --tp 2 -- signal_mpiexec USR1
}

@test "SIGTERM to launch/local.sh, as a queue sends it" {
  [[ "$($WEFT_MPIEXEC 1 "$WEFT" --version)" == *"Open MPI"* ]] || skip "another MPI's mpiexec"
  cd "$BATS_TEST_TMPDIR"
  WEFT=$WEFT MPIEXEC=${WEFT_MPIEXEC##* } "$WEFT_SOURCE_DIR/launch/local.sh" 2 \
    train --data "$BATS_FILE_TMPDIR/data.h5" --out run "${model[@]}" --tp 2 \
    --steps 600 >run.log 2>&1 3>&- &
  launched=$!
  until_ran 60 has_more run step 2
  kill -TERM "$launched"
  ends "$launched"
  [ "$code" = 3 ]
  tail -n 1 run/run.jsonl | grep '"event":"end".*"reason":"signal"'
  checkpoints_are_whole run
}

@test "more SIGTERMs at once, during the save and after it change nothing" {
  for _ in 1 2; do stops 0 -- storm; done
  diff <(curve run) "$BATS_FILE_TMPDIR/calm.curve"
  for _ in 1 2; do stops 2 --tp 2 -- storm; done
}

# Whatever the run does then (its last step, the last evaluation, the export): it ends in order.
@test "a signal at any moment ends a run as done, or to be gone on with" {
  cd "$BATS_TEST_TMPDIR"
  launch 0 calm --steps 30 --eval-every 10
  ends "$launched"
  [ "$code" = 0 ]
  RANDOM=20261129
  local codes=
  for when in start step save eval end; do
    rm -rf run
    launch 0 run --steps 30 --eval-every 10 --save-every 29
    until_ran 60 has_more run $when 0
    sleep "0.0$((RANDOM % 50 + 10))"
    kill -TERM "$launched" 2>/dev/null || true
    ends "$launched"
    cat run.log
    [ "$code" = 0 ] || [ "$code" = 3 ]
    codes="$codes $when:$code"
    [ "$(tail -n 1 run/run.jsonl | grep -c '"event":"end".*"reason":"\(done\|signal\)"')" = 1 ]
    launch 0 run --steps 30 --eval-every 10 --save-every 29
    ends "$launched"
    [ "$code" = 0 ]
    diff <(curve run) <(curve calm)
    cmp run/model/model.safetensors calm/model/model.safetensors
  done
  echo "#$codes" >&3
}
