#!/usr/bin/env bats
# `weft report` on logs that weft itself wrote, and on damaged ones.

bats_require_minimum_version 1.5.0
load weft.bash

setup_file() {
  make_model
  local n
  for n in 1 2; do
    # shellcheck disable=SC2086
    $WEFT_MPIEXEC "$n" "$WEFT" train --data tokens.h5 --layers 3 --width 24 --heads 3 \
      --context 48 --batch-size 4 --steps 6 --save-every 3 --threads 1 --tp "$n" \
      --out "study/tp$n" 2>/dev/null
  done
}
setup() { in_folder; }

@test "report tells of a run, compares two, and finds the scaling of a folder of runs" {
  ok 1 report "$S/study/tp1"
  grep -q '^Runs$' out
  grep -Eq '^tp1 +6 ' out
  ok 1 report "$S/study"
  for words in '^Comparison$' '^Strong scaling$' '^tp 2 × pp 1 × dp 1 ' '^Where the time goes$' \
    '^tp +1 +2$' 'Of 6 common steps|all 6 common steps'; do
    grep -Eq "$words" out || { echo "no '$words' in:"; cat out; return 1; }
  done
  LC_ALL=C.UTF-8 run ! grep -E '^.{101,}' out
}

@test "report: a row a run as CSV and JSON, in the order given, with the contract's columns" {
  ok 1 report "$S/study/tp2" "$S/study/tp1/run.jsonl" --json
  json out '[line["run"] for line in lines] == ["tp2", "tp1"]' 'lines[0]["ranks"] == 2' \
    'abs(sum(lines[0][k] for k in "forward backward comm optimizer bubble data other".split())
      - 1) < 1e-9' 'lines[1]["tokens_per_s"] == lines[1]["tokens_per_s_device"] > 0' \
    'lines[0]["steps"] == 6 and lines[0]["batch_size"] == 4 and 0 < lines[0]["mfu"] < 2'
  cp out rows
  ok 1 report "$S/study/tp2" "$S/study/tp1/run.jsonl" --format csv
  python3 - <<'PY'
import csv, json
rows = list(csv.DictReader(open("out", newline="", encoding="utf-8")))
lines = [json.loads(line) for line in open("rows", encoding="utf-8")]
assert len(rows) == 2 and list(rows[0]) == list(lines[0]), rows
for row, line in zip(rows, lines):
    for key, value in line.items():
        shown = row[key] if isinstance(value, str) or value is None else json.loads(row[key])
        assert shown == ("" if value is None else value), (key, row[key], value)
PY
}

@test "report --out: the form by its ending, whole or not there" {
  ok 1 report "$S/study" --out r.html
  [ ! -s out ]
  grep -q '^<!DOCTYPE html>' r.html
  grep -q '<svg' r.html
  ok 1 report "$S/study" --out r.md
  grep -q '^## Strong scaling$' r.md
  ok 1 report "$S/study" --out r.txt --format csv
  head -1 r.txt | grep -q '^run,site,machine,'
  only r.html r.md r.txt
  refused 1 'nowhere/r.html' report "$S/study" --out nowhere/r.html
  only r.html r.md r.txt
}

@test "report goes on beside a damaged log, and says so in its row" {
  mkdir -p runs/bad runs/empty
  cp -r "$S/study/tp1" runs/
  echo '{"event":"start", oh' >runs/bad/run.jsonl
  printf '{"event":"torn' >>runs/tp1/run.jsonl
  : >runs/empty/run.jsonl
  ok 1 report runs
  grep -Eq '^bad +damaged: line 1 is not JSON$' out
  grep -Eq '^empty +damaged: it has no start line$' out
  grep -Eq '^tp1 +6 ' out
  [ "$(grep -c '^warning: ' err)" = 2 ]
  ok 1 report runs --json
  json out 'len(lines) == 3' '"damaged" in lines[0] and "damaged" not in lines[2]'
}

@test "report refuses what is no run, in one sentence" {
  mkdir none
  refused 1 'none: holds no run.jsonl, and no folder in it does' report none
  refused 2 'nothing: no such run folder or log' report nothing
  refused 1 'name run folders' report
  echo '{"event":"start","log_version":2}' >later.jsonl
  refused 1 'later.jsonl: is a run log of version 2; this program reads version 1' \
    report "$S/study/tp1" later.jsonl
  echo 'no JSON' >text.jsonl
  refused 1 'text.jsonl: is damaged: line 1 is not JSON' report text.jsonl
  refused 1 "--format is 'pdf'; allowed: text, md, csv, html" report "$S/study" --format pdf
  refused 1 '--json is a form of its own' report "$S/study" --format md --json
}

@test "report on three ranks says it once" {
  ok 3 report "$S/study/tp1"
  [ "$(grep -c '^Runs$' out)" = 1 ]
}
