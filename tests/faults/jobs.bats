#!/usr/bin/env bats
# Jobs of texts (a file in, a file out): killed at any moment, stopped, shared by several runs, the
# same command goes on, and every line stands in --out once. WEFT_KILLS: how often (10).

load helper

setup_file() {
  cd "$BATS_FILE_TMPDIR" || exit
  python3 - <<'PY'
import json
with open("texts.jsonl", "w") as f:
    for i in range(1, 1201):
        f.write(json.dumps({"text": "the little people %d" % (i % 400), "id": i}) + "\n"
                if i != 77 else '{"text": 5}\n')
PY
}

setup() {
  cd "$BATS_TEST_TMPDIR" || exit
  texts=$BATS_FILE_TMPDIR/texts.jsonl
  model=(--model "$WEFT_SOURCE_DIR/tests/data/gpt2_h5"
    --tokenizer "$WEFT_SOURCE_DIR/tests/data/tokenizer" --threads 1)
  job=(generate "${model[@]}" --in "$texts" --max-new-tokens 24 --min-new-tokens 24 --do-sample
    --num-return-sequences 2 --deterministic)
}

# Until it ends by itself, as a queue starts a job again.
until_done() {
  local code=137
  until [ "$code" = 0 ] || [ "$code" = 2 ]; do
    code=0
    "$@" >>runs.log 2>&1 3>&- || code=$?
  done
  echo "$code" >>codes
}
# Processes of this test's job.
workers() { pgrep -f -- "$WEFT generate .*--out $PWD/o.jsonl" || true; }
progress() {
  stat -c %s o.jsonl o.jsonl.job/*/* 2>/dev/null | awk '{n += $1} END {print n + 0}'
}

@test "killed again and again over two job scripts, every line is there once" {
  "$WEFT" "${job[@]}" --json >all.jsonl 2>/dev/null || [ $? = 2 ]
  until_done "$WEFT" "${job[@]}" --out "$PWD/o.jsonl" &
  # shellcheck disable=SC2086
  until_done $WEFT_MPIEXEC 2 "$WEFT" "${job[@]}" --out "$PWD/o.jsonl" &
  local kills=0 before pids
  while [ $kills -lt "${WEFT_KILLS:-10}" ] && [ ! -e codes ]; do
    before=$(progress)
    sleep "0.$((RANDOM % 9 + 1))"
    mapfile -t pids < <(workers)
    # What never comes to anything is no test.
    [ ${#pids[@]} -gt 0 ] && [ "$(progress)" != "$before" ] || continue
    if [ $((RANDOM % 4)) = 0 ]; then
      kill -9 "${pids[@]}" || true
    else
      kill -9 "${pids[RANDOM % ${#pids[@]}]}" || true
    fi
    kills=$((kills + 1))
  done
  wait
  cat codes
  echo "$kills kills"
  [ "$(sort -u codes)" = 2 ]
  cmp all.jsonl o.jsonl
  [ "$(wc -l <o.jsonl.rejects.jsonl)" = 1 ]
  [ ! -e o.jsonl.job ]
  python3 - <<'PY'
import json
m = json.load(open("o.jsonl.manifest.json"))
assert m["texts"] == 1200 and m["results"] == 2398 and m["rejected"] == 1, m
assert m["new_tokens"] == 2398 * 24, m["new_tokens"]
assert m["command"].startswith("weft generate") and m["commit"] and m["seed"] == 0
assert all(run["hosts"] and run["grid"]["tp"] == 1 for run in m["runs"]), m["runs"]
PY
}

@test "stopped by a signal, the same command goes on, on another grid" {
  local signal n
  "$WEFT" "${job[@]}" --json >all.jsonl 2>/dev/null || [ $? = 2 ]
  for n in 0 2; do
    "$WEFT" "${job[@]}" --out o.jsonl >job.log 2>&1 3>&- &
    launched=$!
    until_ran 60 [ -s o.jsonl ]
    kill -TERM $launched
    ends $launched
    cat job.log
    [ "$code" = 3 ]
    grep -q 'the same command goes on with the rest' job.log
    python3 - <<'PY'
whole = open("all.jsonl").read().splitlines()
got = open("o.jsonl").read().splitlines()
assert 0 < len(got) < len(whole)
left = iter(whole)
assert all(line in left for line in got), "a result that is none, or in another order"
PY
    code=0
    # shellcheck disable=SC2086
    if [ $n = 0 ]; then
      "$WEFT" "${job[@]}" --out o.jsonl >job.log 2>&1 || code=$?
    else
      $WEFT_MPIEXEC $n "$WEFT" "${job[@]}" --out o.jsonl --tp $n >job.log 2>&1 || code=$?
    fi
    cat job.log
    [ "$code" = 2 ]
    cmp all.jsonl o.jsonl
    grep -q '"results": 2398' o.jsonl.manifest.json
    rm -r o.jsonl*
  done
}

@test "another command is told that a job is under way" {
  "$WEFT" "${job[@]}" --out o.jsonl >job.log 2>&1 3>&- &
  launched=$!
  until_ran 60 [ -s o.jsonl ]
  code=0
  "$WEFT" "${job[@]}" --out o.jsonl --temperature 0.5 >other.log 2>&1 || code=$?
  cat other.log
  [ "$code" = 2 ]
  grep -q 'another process works on it, but --temperature was unset, now it is 0.5' other.log
  kill -TERM $launched
  ends $launched
  code=0
  "$WEFT" "${job[@]}" --out o.jsonl --temperature 0.5 >other.log 2>&1 || code=$?
  cat other.log
  [ "$code" = 2 ]
  grep -q 'o.jsonl.job holds results of another job, which is not finished: --temperature' other.log
}

@test "what another batch job has finished is not made anew" {
  head -20 "$texts" >few.jsonl
  job=("${job[@]/$texts/few.jsonl}")
  PBS_JOBID=7.pbs "$WEFT" "${job[@]}" --out o.jsonl
  cp o.jsonl first.jsonl
  touch -d 2020-01-01 o.jsonl
  PBS_JOBID=8.pbs "$WEFT" "${job[@]}" --out o.jsonl 2>again.log
  grep -q 'is whole already' again.log
  [ "$(stat -c %Y o.jsonl)" = "$(date -d 2020-01-01 +%s)" ]
  PBS_JOBID=8.pbs "$WEFT" "${job[@]}" --out o.jsonl --seed 2
  ! cmp -s o.jsonl first.jsonl
  "$WEFT" "${job[@]}" --out o.jsonl
  cmp o.jsonl first.jsonl
}

@test "two runs share the texts of every other command too" {
  local command
  for command in score embed; do
    # shellcheck disable=SC2206
    local args=($command "${model[@]}" --in "$texts" --deterministic)
    "$WEFT" "${args[@]}" --json >all.jsonl 2>/dev/null || [ $? = 2 ]
    "$WEFT" "${args[@]}" --out o.jsonl >a.log 2>&1 3>&- &
    local first=$!
    code=0
    # shellcheck disable=SC2086
    $WEFT_MPIEXEC 2 "$WEFT" "${args[@]}" --out o.jsonl >b.log 2>&1 || code=$?
    [ "$code" = 2 ]
    ends $first
    [ "$code" = 2 ]
    cmp all.jsonl o.jsonl
    rm -r o.jsonl*
  done
}

# Between a block's last record and its end nothing is left of it to serve.
@test "a block whose worker died at its very end is ended by another" {
  python3 - >few.jsonl <<'PY'
import json
for i in range(40):
    n = 300 if i == 0 else 1
    print(json.dumps({"text": "the water %d" % i, "num_return_sequences": n}))
PY
  job=("${job[@]/$texts/few.jsonl}")
  "$WEFT" "${job[@]}" --out o.jsonl >job.log 2>&1 3>&- &
  launched=$!
  until_ran 60 [ -s o.jsonl ]
  kill -TERM $launched
  ends $launched
  [ "$code" = 3 ]
  printf '%d\t0\tx\t0\t0\t{"line":%d,"id":"","reason":"so"}\n' 0 3 1 4 \
    >o.jsonl.job/parts/00000001.gone
  code=0
  timeout 60 "$WEFT" "${job[@]}" --out o.jsonl >job.log 2>&1 || code=$?
  cat job.log
  [ "$code" = 2 ]
  [ "$(grep -c '"reason":"so"' o.jsonl.rejects.jsonl)" = 2 ]
}
