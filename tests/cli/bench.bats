#!/usr/bin/env bats
# `weft bench` on sizes that take no time: every line has its unit and its share of a named peak.
# How fast is for benchmarks/.

load weft.bash

sizes=(--layers 2 --width 32 --heads 2 --vocab 96 --context 64 --batch-size 2 --repeats 3 \
  --prompt-tokens 3 --new-tokens 50)

# measures RANKS ARGS…: `weft ARGS…`; every line names the command as it was given, and the commit
# that `weft --version` names.
measures() {
  ok "$@"
  shift
  "$WEFT" --version --json >version
  json version 'len(lines) == 1 and lines[0]["commit"]'
  json out 'len(lines) >= 1' "all(line['command'] == 'weft $*' for line in lines)" \
    'all(line["commit"] == json.load(open("version"))["commit"] for line in lines)'
}

@test "bench machine, kernels, step, generate: values with units, and shares of named peaks" {
  for what in machine kernels step generate; do
    measures 1 bench "$what" "${sizes[@]}" --threads 1 --json
    json out \
      'all(line["bench"] == "'"$what"'" and line["value"] > 0 and line["unit"] for line in lines)' \
      'all(0 < line["share"] <= 1 and line["peak_rate"] > 0 for line in lines if line["of"])'
  done
}

@test "bench step and comm on a grid: the shares of a step sum to 1, a pipeline knows its bubble" {
  measures 2 bench step "${sizes[@]}" --pp 2 --micro-batch-size 1 --threads 1 --json
  json out 'abs(sum(lines[0]["shares"].values()) - 1) < 1e-9' 'lines[0]["micro_batches"] == 2' \
    '0 < lines[0]["computed_bubble"] < 1' 'lines[0]["pp"] == 2'
  measures 3 bench comm --repeats 1 --threads 1 --json
  json out 'all(line["ranks"] == 3 and 0 < line["share"] <= 1 for line in lines)'
}

@test "bench refuses what it does not know" {
  refused 1 "bench has no 'stepp' .did you mean 'step'" bench stepp
  refused 1 'weft bench generate: also fp16' bench step --dtype fp16
  refused 1 '--tp is 4294967297; allowed: 1 to' bench machine --tp 4294967297
  refused 2 '--dtype is .int3.' bench step "${sizes[@]}" --dtype int3
  refused 1 '--repeats is 0; allowed: 1 or more' bench step --repeats 0
}
