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

# The work that a share counts is the work that is done: what the formulas say beside what the ops
# have counted. Decoding is counted at half its length.
done='all(abs(line["flops"] - line["flops_counted"]) <=
  (0.01 if line["name"].startswith("decode") else 1e-9) * line["flops"]
  for line in lines if "flops_counted" in line)'

@test "bench machine, kernels, step, generate: values with units, and shares of named peaks" {
  for what in machine kernels step generate; do
    measures 1 bench "$what" "${sizes[@]}" --repeats 1 --threads 1 --json
    json out "$done" \
      'all(line["bench"] == "'"$what"'" and line["value"] > 0 and line["unit"] for line in lines)' \
      'all(0 < line["share"] <= 1 and line["peak_rate"] > 0 for line in lines if line["of"])'
  done
}

@test "bench step on a grid: the shares of a step sum to 1, a pipeline knows its bubble" {
  measures 2 bench step "${sizes[@]}" --pp 2 --micro-batch-size 1 --threads 1 --json
  json out 'abs(sum(lines[0]["shares"].values()) - 1) < 1e-9' 'lines[0]["micro_batches"] == 2' \
    '0 < lines[0]["computed_bubble"] < 1' 'lines[0]["pp"] == 2'
}

# What every row of a table of grids says.
row='all(set("ratio mfu share comm_share bubble_share ranks idle_ranks".split()) <= set(line)
  and line["bytes_a_rank"]["total"] ==
    sum(n for name, n in line["bytes_a_rank"].items() if name != "total") > 0
  and line["mfu"] > 0 and 0 <= line["comm_share"] < 1 for line in lines)'

@test "bench step: lists of an axis make one table, ranks that a grid does not need wait" {
  measures 3 bench step "${sizes[@]}" --tp 1,2 --dp 1 --recompute block --threads 1 --json
  json out "$row" "$done" '[(l["tp"], l["pp"], l["dp"]) for l in lines] == [(1, 1, 1), (2, 1, 1)]' \
    '[(l["ranks"], l["idle_ranks"]) for l in lines] == [(1, 2), (2, 1)]' \
    'lines[0]["ratio"] == 1 and lines[1]["ratio"] == lines[1]["value"] / lines[0]["value"]' \
    'lines[1]["bytes_a_rank"]["weights"] < lines[0]["bytes_a_rank"]["weights"]' \
    'lines[0]["bytes_a_rank"].keys() == {"weights", "gradients", "optimizer", "activations",
      "total"}'
  ok 2 bench step "${sizes[@]}" --tp 1,2,4 --threads 1
  [ "$(grep -c '^train step ' out)" = 2 ]
  grep -Eq '^ +tp +pp +dp +ranks +idle +tok/s +ratio +MFU +share of +comm +bubble' out
  grep -q '^MFU: the customary count .*6 N + 12 L H D T' out
  grep -q 'left out: tp 4 x pp 1 does not divide 2 ranks' err
}

@test "bench generate: lists make one table of prefill and of decode" {
  echo 'tp = [1, 2]' >grids.toml
  measures 2 bench generate "${sizes[@]}" --config grids.toml --dp 1 --threads 1 --json
  json out "$row" "$done" '[(l["name"].split(",")[0], l["tp"]) for l in lines] == [
      ("prefill", 1), ("decode", 1), ("prefill", 2), ("decode", 2)]' \
    'all(l["ratio"] == l["value"] / lines[i % 2]["value"] for i, l in enumerate(lines))'
}

@test "bench comm: nccl-tests' bus bandwidth of each collective by size and group, every pair" {
  measures 3 bench comm --max-bytes 1024 --repeats 1 --threads 1 --json
  json out 'all(l["busbw"] == l["value"] and l["ranks"] == 3 and 0 < l["share"] <= 1
        and l["dtype"] == "fp32" and l["backend"] == "mpi" and l["wrong"] == 0
      for l in lines if l.get("collective"))' \
    '{(l["collective"], l["bytes"]) for l in lines if l.get("collective")} >= {
       (c, b) for b in (8, 64, 512, 1024)
       for c in ("all_reduce", "start_all_reduce and wait", "broadcast", "send and recv")}' \
    'sum(l.get("pairs") == 3 for l in lines) == 2' 'lines[-1]["name"] == "slow ranks and pairs"'
  LIMIT=240 ok 4 bench comm --tp 2 --max-bytes 8 --repeats 1 --threads 1 --json
  json out '{(l["group"], l["ranks"]) for l in lines if l.get("collective")} == {
      ("world", 4), ("tp", 2), ("dp", 2)}'
}

@test "bench machine --out: this host as data, read again by --machine" {
  measures 2 bench machine --repeats 1 --threads 1 --out here.toml --json
  json out 'all(len(l["of_ranks"]) == 2 and l["rank_min"] <= l["rank_median"] <= l["rank_max"]
      for l in lines)'
  grep -q 'measured by weft bench machine' here.toml
  ! compgen -G '*.tmp'
  ok 1 bench machine --repeats 1 --machine ./here.toml --json
  json out 'all(l["described"] > 0 and l["of_described"] > 0 and l["described_by"] == "here"
      for l in lines)'
  WEFT_MACHINE=$PWD/here.toml ok 1 bench machine --repeats 1
  [ "$(grep -c "that 'here' describes" out)" = 3 ]
  refused 2 "there is no folder nowhere" bench machine --out nowhere/x.toml
}

@test "bench refuses what it does not know" {
  refused 1 "bench has no 'stepp' .did you mean 'step'" bench stepp
  refused 1 'weft bench generate and score: also fp16' bench step --dtype fp16
  refused 1 '--tp is 4294967297; allowed: 1 to' bench machine --tp 4294967297
  refused 2 '--dtype is .int3.' bench step "${sizes[@]}" --dtype int3
  refused 1 '--repeats is 0; allowed: 1 or more' bench step --repeats 0
  refused 2 'bench comm measures one grid; lists of --tp, --pp, --dp are for step and generate' \
    bench comm --tp 1,2
  refused 2 "--tp is '1,x'; it must be whole numbers" bench step --tp 1,x
  refused 2 'none of the grids fits 2 ranks: tp 3 x pp 1 does not divide 2 ranks' \
    bench step --tp 3,5
  refused 1 'one rank has nobody to talk to; allowed: 2 ranks or more' bench comm
  refused 1 '--machine is for weft bench machine and comm' bench step --machine polaris
  refused 2 '--max-bytes is 7; allowed: 8 or more, or 0' bench comm --max-bytes 7
  refused 1 '--comm-timeout is 0; allowed: 1 to' bench comm --comm-timeout 0
  refused 1 '--out is for weft bench machine alone' bench step --out x.toml
  refused 1 "--out is 'x'; allowed: a machine description" bench machine --out x
  refused 1 "it must be a whole number" generate --model x --prompt a --tp 1,2
}
