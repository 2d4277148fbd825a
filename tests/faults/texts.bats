#!/usr/bin/env bats
# Jobs that serve texts, stopped by a signal or before their time is over: what is done is written,
# the sentence says how much of how much, exit code 3.

load helper

setup_file() {
  make_data
  cd "$BATS_FILE_TMPDIR" || exit
  launch 0 run --steps 1
  ends "$launched"
  [ "$code" = 0 ]
  tail -n 1 run/run.jsonl | sed -E 's/.*"elapsed_s":([0-9]+)\..*/\1/' |
    awk '{print 3 * ($1 + 1) + 1}' >walltime
  seq -f 'the little people %g' 400 >texts.txt
}

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  walltime=$(cat "$BATS_FILE_TMPDIR/walltime")
}

# serve N COMMAND OPTIONS…: in the background, results in out.jsonl; of texts.txt without --in.
serve() {
  local n=$1 with=()
  shift
  # shellcheck disable=SC2206
  [ "$n" = 0 ] || with=($WEFT_MPIEXEC "$n")
  rm -rf out.jsonl*
  [[ " $* " == *" --in "* ]] || set -- "$@" --in "$BATS_FILE_TMPDIR/texts.txt"
  "${with[@]}" "$WEFT" "$@" --model "$BATS_FILE_TMPDIR/run/model" --out out.jsonl --threads 1 \
    >job.log 2>&1 3>&- &
  launched=$!
}

# stopped 'BY': the words, and as many lines as they say; `n_done`. The same command goes on.
stopped() {
  ends "$launched"
  cat job.log
  [ "$code" = 3 ]
  [ "$(grep -c '^weft: ' job.log)" = 1 ]
  grep -E "^weft: stopped by $1: [0-9]+ results? of [0-9]+ texts (is|are) done and written; the" \
    job.log
  n_done=$(sed -nE 's/^weft: .*: ([0-9]+) results? of [0-9]+ texts.*/\1/p' job.log)
  [ "$(wc -l <out.jsonl)" = "$n_done" ]
}

# Long enough that no machine is done with it before it is stopped.
long=(generate --max-new-tokens 20 --min-new-tokens 20 --do-sample --num-return-sequences 400)

has_lines() { [ -s out.jsonl ] && [ "$(wc -l <out.jsonl)" -ge "$1" ]; }

@test "generate ends before its time is over, with what is done" {
  for grid in "0" "2 --dp 2" "2 --tp 2"; do
    # shellcheck disable=SC2086
    set -- $grid
    serve "$1" "${long[@]}" "${@:2}" --walltime "$walltime"
    stopped "the walltime, .* before its end \(--walltime $walltime\)"
    [ "$n_done" -gt 0 ]
  done
}

@test "a signal ends generate with what is done" {
  for signal in TERM USR1 INT; do
    serve 0 "${long[@]}"
    until_ran 60 has_lines 5
    kill -$signal "$launched"
    stopped 'a signal'
    [ "$n_done" -ge 5 ]
  done
}

@test "a signal costs no reject: those so far stand in OUT.rejects.jsonl" {
  local good
  good=$(head -78 "$BATS_FILE_TMPDIR/texts.txt" | sed 's/.*/{"text": "&"}/')
  printf '%s\n' '{"text": "a"}' '{"text": "the", "max_new_tokens": -1}' '{"text": "b"}' \
    '{"text": ' "$good" >texts.jsonl
  for grid in "0" "2 --dp 2"; do
    # shellcheck disable=SC2086
    set -- $grid
    serve "$1" "${long[@]}" "${@:2}" --in texts.jsonl
    until_ran 60 has_lines 5
    # shellcheck disable=SC2046
    kill -USR1 $(ranks "$launched")
    stopped 'a signal'
    grep -q '; 2 of 82 texts were rejected (all stand in out.jsonl.rejects.jsonl)$' job.log
    [ "$(sed -E 's/.*"line":([0-9]+),.*/\1/' out.jsonl.rejects.jsonl | xargs)" = "2 4" ]
  done
}

@test "a signal ends the page of --attention, not the texts before it" {
  serve 0 generate --max-new-tokens 24 --min-new-tokens 24 --attention page.html
  until_ran 60 has_lines 400
  kill -TERM "$launched"
  ends "$launched"
  cat job.log
  [ "$code" = 3 ]
  grep -q '^weft: stopped by a signal; --attention page.html is not made$' job.log
  [ "$(wc -l <out.jsonl)" = 400 ]
  [ ! -e page.html ]
}

@test "a signal to one rank of two ends both" {
  serve 2 "${long[@]}" --tp 2
  until_ran 60 has_lines 5
  # shellcheck disable=SC2207
  pids=($(ranks "$launched"))
  kill -TERM "${pids[-1]}"
  stopped 'a signal'
}

@test "score and embed too; a time that is over leaves none" {
  export SLURM_JOB_ID=4 SLURM_JOB_END_TIME=1600
  for command in score embed; do
    for n in 0 2; do
      serve $n $command
      stopped 'the walltime, 0.0 s before its end \(Slurm job 4 \(SLURM_JOB_END_TIME\)\)'
      [ "$n_done" = 0 ]
    done
  done
  "$WEFT" embed --model "$BATS_FILE_TMPDIR/run/model" --in "$BATS_FILE_TMPDIR/texts.txt" \
    --out e.h5 >job.log 2>&1 || code=$?
  [ "$code" = 3 ]
  grep "0 of 400 results are done" job.log
}

@test "a time that never comes changes nothing" {
  serve 0 score --walltime 100:00:00
  ends "$launched"
  [ "$code" = 0 ]
  mv out.jsonl with.jsonl
  serve 0 score
  ends "$launched"
  cmp out.jsonl with.jsonl
  [ "$(wc -l <out.jsonl)" = 400 ]
}
