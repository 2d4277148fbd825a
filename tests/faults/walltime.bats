#!/usr/bin/env bats
# A run that knows when its time ends (--walltime, PBS, Slurm) stops before by itself, saved, with
# exit code 3, and goes on where it was; what a killed one lost is told. Most of the suite's time is
# the walltimes: each is twice what a run takes to begin here and now, and two seconds.

load helper

setup_file() {
  make_data
  cd "$BATS_FILE_TMPDIR" || exit
  launch 2 begin --steps 1
  ends "$launched"
  [ "$code" = 0 ]
  tail -n 1 begin/run.jsonl | sed -E 's/.*"elapsed_s":([0-9]+)\..*/\1/' |
    awk '{print 2 * ($1 + 1) + 1}' >walltime
}
setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  walltime=$(cat "$BATS_FILE_TMPDIR/walltime")
}

# A schedule that does not depend on how many steps there are to be.
endless=(--steps 1000000 --lr-schedule constant)

# ends_in_time: the run that was launched ended by the walltime, its last step saved. A second more
# is for hosts whose steps are now and then far slower than all before.
ends_in_time() {
  ends "$launched"
  cat run.log
  [ "$code" = 3 ]
  [ "$(grep -c '^weft: stopped by the walltime' run.log)" = 1 ]
  tail -n 1 run/run.jsonl | grep '"event":"end".*"reason":"walltime"'
  step=$(tail -n 1 run/run.jsonl | sed -E 's/^\{"event":"end","step":([0-9]+),.*/\1/')
  [ -f "run/checkpoints/$(printf 'step-%08d.h5' "$step")" ]
  tail -n 1 run/run.jsonl | sed -E 's/.*"elapsed_s":([0-9.]+).*/\1/' |
    awk -v most="$walltime" '{exit !($1 < most + 1)}'
}

# stub NAME LINES: a program on PATH that says them.
stub() {
  mkdir -p bin
  printf '#!/bin/bash\n%s\n' "$2" >"bin/$1"
  chmod +x "bin/$1"
  PATH=$PWD/bin:${PATH#"$PWD/bin:"}
}

# resumed KEY: of the last start line.
resumed() {
  grep '^{"event":"start"' run/run.jsonl | tail -n 1 |
    sed -E 's/.*"resumed":\{([^}]*)\}.*/\1/' | tr ',' '\n' |
    sed -nE "s/^\"$1\":\"?([^\"]*)\"?$/\1/p"
}

@test "--walltime ends a run in time, and the next goes on to the bit" {
  for ranks in 0 2; do
    rm -rf run calm
    launch $ranks run "${endless[@]}" --walltime "$walltime"
    ends_in_time
    first=$step
    launch $ranks run "${endless[@]}" --walltime "0:$((walltime / 60)):$((walltime % 60))"
    ends_in_time
    [ "$step" -gt "$first" ]
    grep "resuming from .* at step $first" run.log
    [ "$(resumed step)" = "$first" ]
    [ "$(resumed lost_tokens)" = 0 ]
    launch $ranks calm --steps "$step" --lr-schedule constant
    ends "$launched"
    [ "$code" = 0 ]
    diff <(curve run) <(curve calm)
    checkpoints_are_whole run
  done
}

@test "a time that never comes changes nothing" {
  launch 0 run --steps 60 --save-every 20 --eval-every 25 --walltime 100:00:00
  ends "$launched"
  [ "$code" = 0 ]
  launch 0 calm --steps 60 --save-every 20 --eval-every 25
  ends "$launched"
  diff <(curve run) <(curve calm)
  cmp run/model/model.safetensors calm/model/model.safetensors
  [ "$(count run save)" = 3 ] && [ "$(count run eval)" = "$(count calm eval)" ]
}

@test "a time that is over leaves one step a start" {
  export SLURM_JOB_ID=4 SLURM_JOB_PARTITION=debug SLURM_JOB_START_TIME=1000 SLURM_JOB_END_TIME=1600
  for step in 1 2; do
    for ranks in 0 2; do
      [ "$step" = 1 ] || mv "run$ranks" run
      launch $ranks run "${endless[@]}"
      ends "$launched"
      cat run.log
      [ "$code" = 3 ]
      grep "^weft: stopped by the walltime.*Slurm job 4 (SLURM_JOB_END_TIME).*after step $step of" \
        run.log
      mv run "run$ranks"
    done
  done
  head -n 1 run2/run.jsonl |
    grep '"job":{"scheduler":"slurm","id":"4","queue":"debug","walltime_s":600'
}

@test "in a PBS job qstat says when it ends; the earliest end counts" {
  export PBS_JOBID='12[3].server' PBS_QUEUE=debug PBS_ACCOUNT=project
  stub qstat '[ "$*" = "-f 12[3].server" ] || exit 9
    echo "Job Id: 12[3].server"
    echo "    Resource_List.walltime = 01:00:00"
    echo "    resources_used.walltime = 00:00:20"
    echo "    stime = $(date -d "$ago" "+%a %b %e %T %Y")"'
  export ago="$((walltime - 3600)) seconds"
  launch 2 run "${endless[@]}" --walltime 1:00:00
  ends_in_time
  [ "$(grep -c 'the time ends .* by PBS job 12\[3\].server (qstat), in ' run.log)" = 1 ]
  grep "^weft: stopped by the walltime, .* (PBS job 12\[3\].server (qstat))" run.log
  [ "$(grep -c "2 ranks on 1 host: $(hostname)" run.log)" = 1 ]
  grep '"job":{"scheduler":"pbs","id":"12\[3\].server","queue":"debug","account":"project"' \
    run/run.jsonl
  grep -E '"time":"20[0-9-]+T[0-9:]+Z","hosts":\["[^"]+"\],"nodes":1,"ranks":2,' run/run.jsonl
  rm -rf run
  export ago="-60 seconds"
  launch 0 run "${endless[@]}" --walltime "$walltime"
  ends_in_time
  grep "(--walltime $walltime)" run.log
}

@test "a scheduler that does not answer is said once, and the run goes on" {
  export PBS_JOBID=12.server
  stub qstat 'echo "qstat: cannot connect" >&2; exit 1'
  launch 2 run --steps 3
  ends "$launched"
  cat run.log
  [ "$code" = 0 ]
  [ "$(grep -c 'pbs job 12.server: when it ends is not known (qstat: ended with 1)' run.log)" = 1 ]
}

@test "no time for an evaluation: none is begun, or it is left" {
  "$WEFT" data "$WEFT_SOURCE_DIR"/tests/data/tokenizer/corpus.txt{,,,,,,,,,,,,,,,} \
    --tokenizer "$WEFT_SOURCE_DIR/tests/data/tokenizer" --out many.h5 --val-fraction 0.9
  launch 0 run --data many.h5 --eval-every 2 --eval-samples 0 "${endless[@]}" --context 4 \
    --batch-size 1 --walltime "$walltime"
  ends_in_time
  [ "$(count run eval)" = 0 ]
  [ "$(grep -c 'no time for an evaluation' run.log)" -le 1 ]
}

@test "what a killed run lost is told: steps, tokens, seconds" {
  launch 0 run "${endless[@]}" --save-every 40
  until_ran 60 has_more run save 0
  until_ran 60 has_more run step 60
  kill -KILL "$launched"
  ends "$launched"
  saved=$(find run/checkpoints -name '*.h5' -printf '%f\n' |
    sed -nE 's/^step-0*([0-9]+)\.h5$/\1/p' | sort -n | tail -n 1)
  tokens=$(sed -nE 's/^\{"event":"step","step":([0-9]+),.*"tokens":([0-9]+),.*\}$/\1 \2/p' \
    run/run.jsonl | awk -v from="$saved" '$1 > from {sum += $2; last = $1} END {print sum, last}')
  launch 0 run "${endless[@]}" --walltime "$walltime"
  ends_in_time
  [ "$(resumed from)" = "run/checkpoints/$(printf 'step-%08d.h5' "$saved")" ]
  [ "$(resumed step)" = "$saved" ]
  [ "$(resumed lost_tokens)" = "${tokens% *}" ]
  resumed lost_s | awk '{exit !($1 > 0 && $1 < 60)}'
  steps="steps $((saved + 1)) to ${tokens#* }"
  grep "$steps of the run before .*: ${tokens% *} tokens and .* lost" run.log
}

@test "a run killed before its first save lost all" {
  launch 0 run "${endless[@]}"
  until_ran 60 has_more run step 3
  kill -KILL "$launched"
  ends "$launched"
  done=$(count run step)
  launch 0 run --steps 2
  ends "$launched"
  grep "steps 1 to $done of the run before were not saved" run.log
  [ "$(resumed from)" = "" ]
  [ "$(resumed lost_tokens)" -gt 0 ]
}

# The scheduler that is asked before the first step is where the signal comes from.
@test "a signal before the first step: none is done" {
  export PBS_JOBID=12.server
  stub qstat "kill -TERM \$PPID"
  for ranks in 0 2; do
    rm -rf run
    launch $ranks run "${endless[@]}"
    ends "$launched"
    cat run.log
    [ "$code" = 3 ]
    [ "$(grep -c '^weft: stopped by a signal before step 1 of .* nothing is lost' run.log)" = 1 ]
    [ "$(count run step)" = 0 ]
    tail -n 1 run/run.jsonl | grep '"event":"end","step":0,"reason":"signal"'
  done
}

@test "a walltime that is none is the user's mistake" {
  for bad in 0 1h 1:75 -5 tomorrow; do
    launch 0 run --steps 2 "--walltime=$bad"
    ends "$launched"
    cat run.log
    [ "$code" = 2 ]
    grep "^weft: --walltime is '$bad'; allowed: .*HH:MM:SS" run.log
    [ ! -e run ]
  done
}
