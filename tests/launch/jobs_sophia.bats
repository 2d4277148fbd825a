#!/usr/bin/env bats
# Whole jobs of launch/sophia under the stub PBS server, with Open MPI's own mpiexec over two hosts:
# stopped by SIGTERM, killed, resumed.

load jobs

setup_file() {
  [[ "$("$(built_mpiexec)" --version)" == *"Open"* ]] || skip "weft is not built with Open MPI"
  begin sophia --open-mpi "$(built_mpiexec)"
  run_calm 200 20 WEFT_BIND=none -- -l select=2
}
teardown_file() { [ ! -e "${PBS_STUB:-/none}" ] || pbs_server stop "$PBS_STUB"; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

@test "two hosts, each with its ranks" {
  grep '"event":"start"' "$S/calm/run.jsonl" | grep -q 'x3001c0s1b0n0.*x3001c0s2b0n0'
  bytes=$(nsenter -t "$(cat "$PBS_STUB/hosts/x3001c0s2b0n0")" -n \
    awk '$1 == "hsn0:" {print $10}' /proc/net/dev)
  echo "$bytes bytes left the second host"
  [ "$bytes" -gt 3000000 ]
}

@test "a walltime that ends mid-run, one that nobody told weft of, a kill" {
  id=$(submit run train WEFT_BIND=none -- -l walltime=$(($(cat "$S/took") * 3 / 10 + 5)))
  ended "$id"
  in_time "$id"
  touch "$PBS_STUB/down"
  id=$(submit run train WEFT_BIND=none -- -l walltime=$(($(cat "$S/took") * 2 / 10 + 5)))
  ended "$id"
  rm "$PBS_STUB/down"
  [ "$(status "$id")" = -29 ]
  [ "$(ends run)" = $'walltime\nsignal' ]
  id=$(submit run train WEFT_BIND=none)
  ended "$id"
  [ "$(status "$id")" = 0 ]
  [ "$(steps run)" = 200 ]
  is_calm run
}

@test "by GPU: one host, named once a GPU; preempted" {
  id=$(submit alone train WEFT_BIND=none "WEFT_TRAIN_OPTIONS=--steps 200" -- -q by-gpu -l select=2)
  ended "$id"
  [ "$(status "$id")" = 0 ]
  [ "$(field "$id" exec_host)" = x3001c0s1b0n0/0 ]
  id=$(submit run train WEFT_BIND=none "WEFT_TRAIN_OPTIONS=--steps 200" -- -q by-gpu -l select=2)
  until_steps run 120
  preempt --at-once "$id"
  ended "$id"
  [ "$(status "$id")" = 0 ]
  diff <(curve alone) <(curve run)
}
