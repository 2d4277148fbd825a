#!/usr/bin/env bats
# SIGKILLs (twenty, or WEFT_KILLS) at seeded random moments of a run that saves after every step:
# nothing is lost, nothing under its own name is damaged.

load helper

setup_file() { make_data; }

steps=600
n=2
grid=(--tp 2)

@test "kills at random moments, of all ranks and of one, lose nothing" {
  cd "$BATS_TEST_TMPDIR"
  launch $n calm "${grid[@]}" --steps $steps
  ends "$launched"
  [ "$code" = 0 ]
  curve calm >calm.curve
  [ "$(wc -l <calm.curve)" = $steps ]

  RANDOM=20261124
  local kills=0 resumed=0 strays=0 before
  while [ $kills -lt "${WEFT_KILLS:-20}" ]; do
    before=$(count run start)
    launch $n run "${grid[@]}" --steps $steps --save-every 1
    until_ran 60 has_more run start "${before:-0}"
    sleep "0.$(printf '%03d' $((RANDOM % 300)))"
    # shellcheck disable=SC2207
    local all=($(ranks "$launched"))
    if [ ${#all[@]} -lt $n ]; then  # a machine so quick that the run has ended: again
      ends "$launched"
      [ "$code" = 0 ]
      diff <(curve run) calm.curve
      rm -rf run
      continue
    fi
    if [ $((kills % 2)) = 0 ]; then kill -KILL "${all[@]}"; else kill -KILL "${all[RANDOM % n]}"; fi
    ends "$launched"
    [ "$code" != 0 ]
    [ "$(grep -c "skipped" run.log)" = 0 ]
    kills=$((kills + 1))
    if grep -q "resuming from" run.log; then resumed=$((resumed + 1)); fi
    if compgen -G "run/checkpoints/*.tmp" >/dev/null; then strays=$((strays + 1)); fi
  done
  launch $n run "${grid[@]}" --steps $steps
  ends "$launched"
  [ "$code" = 0 ]
  grep "resuming from" run.log
  [ "$(grep -c "skipped" run.log)" = 0 ]
  diff <(curve run) calm.curve
  cmp run/model/model.safetensors calm/model/model.safetensors
  checkpoints_are_whole run
  [ -z "$(find run -name '*.tmp*')" ]
  echo "# $kills kills, $resumed resumes, $strays left an unfinished file, $(grep \
    -c '"event":"step"' run/run.jsonl) steps for $steps" >&3
}

@test "when one of several ranks dies, none hangs" {
  cd "$BATS_TEST_TMPDIR"
  local shape
  for shape in "2 --dp 2" "3 --pp 2 --layers 3 --pp 3" "4 --tp 2 --pp 2"; do
    # shellcheck disable=SC2086
    set -- $shape
    rm -rf run
    local ranks_of_run=$1
    shift
    launch "$ranks_of_run" run "$@" --steps 1000000
    until_ran 60 has_more run step 3
    # shellcheck disable=SC2207
    local all=($(ranks "$launched"))
    [ ${#all[@]} = "$ranks_of_run" ]
    kill -KILL "${all[-1]}"
    ends "$launched"
    [ "$code" != 0 ]
    until_ran 10 is_gone "${all[0]}"
  done
}
