#!/usr/bin/env bats
# Whole jobs of launch/polaris on two hosts of the stub PBS server (tests/launch/pbs): stopped by
# their walltime, preempted, chained, swept. Whatever happened to a run, its losses are those of the
# run that nothing happened to, bit by bit. The hosts are namespaces with their own network, so root
# alone can run this.

load jobs

setup_file() {
  begin polaris --pals "$(built_mpiexec)"
  run_calm 600 40 -- "${two[@]}"
}
teardown_file() { [ ! -e "${PBS_STUB:-/none}" ] || pbs_server stop "$PBS_STUB"; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }
two=(-l select=2:system=polaris)

@test "two hosts: every rank on its own, and the ranks talk over the wire" {
  grep '"event":"start"' "$S/calm/run.jsonl" | grep -q 'x3001c0s1b0n0.*x3001c0s2b0n0'
  # shellcheck disable=SC2046
  bytes=$(nsenter -t $(cat "$PBS_STUB/hosts/x3001c0s2b0n0") -n \
    awk '$1 == "hsn0:" {print $10}' /proc/net/dev)
  echo "$bytes bytes left the second host"
  [ "$bytes" -gt 10000000 ]
  python3 -S - "$PBS_STUB/mpiexec.log" <<'PY'
import json, sys
words = [json.loads(line) for line in open(sys.argv[1])][-1]
assert words[:8] == ["-n", "4", "--ppn", "2", "--depth", "1", "--cpu-bind", "depth"], words
PY
}

@test "a walltime that ends mid-run: weft stops before it, and the next job goes on" {
  id=$(submit run train -- "${two[@]}" -l walltime=$(($(cat "$S/took") * 4 / 10)))
  ended "$id"
  in_time "$id"
  [ "$(ends run)" = walltime ]
  [ "$(steps run)" -gt 20 ] && [ "$(steps run)" -lt 600 ]
  id=$(submit run train -- "${two[@]}")
  ended "$id"
  [ "$(status "$id")" = 0 ]
  [ "$(steps run)" = 600 ] # none was lost
  is_calm run
}

@test "a walltime that nobody told weft of: SIGTERM, a save, the next job goes on" {
  touch "$PBS_STUB/down"
  id=$(submit run train -- "${two[@]}" -l walltime=$(($(cat "$S/took") * 4 / 10)))
  ended "$id"
  rm "$PBS_STUB/down"
  cat weft-train.o*
  [ "$(status "$id")" = -29 ]
  grep -q "^=>> PBS: job killed: walltime" weft-train.o*
  [ "$(ends run)" = signal ]
  id=$(submit run train -- "${two[@]}")
  ended "$id"
  [ "$(status "$id")" = 0 ]
  is_calm run
}

@test "preemption: with SIGTERM nothing is lost, without a warning the log says what" {
  id=$(submit run train -- "${two[@]}" -q preemptable)
  until_steps run 50
  preempt "$id"
  until_steps run 250
  preempt --at-once "$id"
  ended "$id"
  [ "$(status "$id")" = 0 ]
  [ "$(field "$id" run_count)" = 3 ]
  [ "$(ends run)" = $'signal\ndone' ]
  is_calm run
}

@test "a chain of three jobs" {
  # shellcheck disable=SC2046
  ids=$("$WEFT_SOURCE_DIR/launch/chain.sh" 3 "$M/train.pbs" -A project "${two[@]}" \
    -v "$(settings run)" -l walltime=$(($(cat "$S/took") * 6 / 10)))
  # shellcheck disable=SC2086
  ended $ids
  read -ra ids <<<"${ids//$'\n'/ }"
  [ ${#ids[@]} = 3 ]
  in_time "${ids[0]}"
  [ "$(status "${ids[2]}")" = 0 ]
  [ "$(ends run | head -1)" = walltime ]
  [ "$(ends run | tail -1)" = done ]
  is_calm run
}

@test "a sweep as an array, one subjob of it preempted" {
  printf 'lr\tweight-decay\n3e-3\t0.1\n1e-3\t0.1\n3e-3\t0\n' >sweep.tsv
  for out in calm swept; do
    id=$(submit $out sweep "WEFT_SWEEP=$PWD/sweep.tsv" "WEFT_TRAIN_OPTIONS=--steps 200" \
      -- -J 0-2%2)
    if [ $out = swept ]; then
      until_steps swept/point-001 120
      preempt --at-once "${id/\[\]/[1]}"
    fi
    ended "$id"
    [ "$(status "$id")" = 0 ]
  done
  [ "$(field "${id/\[\]/[1]}" run_count)" = 2 ]
  for point in 0 1 2; do
    [ "$(curve "calm/point-00$point" | wc -l)" = 200 ]
    diff <(curve "calm/point-00$point") <(curve "swept/point-00$point")
  done
  [ "$(cat calm/*/run.jsonl | grep -c '"event":"start"')" = 3 ]
}

@test "the fabric's figures" {
  id=$(submit fabric fabric "WEFT_BENCH_OPTIONS=--repeats 2 --max-bytes 65536" -- "${two[@]}")
  ended "$id"
  [ "$(status "$id")" = 0 ]
  grep -q all_reduce fabric/*.jsonl
}

@test "generation: a text a prompt; the same job again has nothing to do" {
  printf '{"id": %d, "prompt": "the little people"}\n' 1 2 3 4 5 >prompts.jsonl
  for _ in 1 2; do
    id=$(submit texts generate "WEFT_MODEL=$S/calm/model" "WEFT_PROMPTS=$PWD/prompts.jsonl" \
      "WEFT_GENERATE_OPTIONS=--max-new-tokens 8" -- "${two[@]}")
    ended "$id"
    [ "$(status "$id")" = 0 ]
    [ "$(wc -l <texts/generated.jsonl)" = 5 ]
  done
  grep -q "is finished: nothing is left to do" ./weft-generate.o*
}

@test "a scaling study" {
  id=$(submit scaling scaling "WEFT_GRIDS=2x1x1 2x1x2" \
    "WEFT_SCALING_OPTIONS=--steps 5 --repeats 1 --prompts 2 --new-tokens 4" -- "${two[@]}")
  ended "$id"
  [ "$(status "$id")" = 0 ]
  [ "$(find scaling -name run.jsonl | wc -l)" -ge 4 ]
}
