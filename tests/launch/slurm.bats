#!/usr/bin/env bats
# Jobs under a real Slurm on this host (tests/launch/slurm_cluster): a #PBS script by qsub
# (slurm-wlm-torque) and by sbatch, and the Slurm variant. Slurm says nothing of PBS's variables.

load jobs

setup_file() {
  [ "$(id -u)" = 0 ] || skip "a cluster of one's own needs root"
  cd "$BATS_FILE_TMPDIR"
  export WEFT=$WEFT_BUILD_DIR/weft S=$BATS_FILE_TMPDIR SLURM_CONF=$BATS_FILE_TMPDIR/slurm/slurm.conf
  mkdir slurm
  code=0
  said=$("$WEFT_SOURCE_DIR/tests/launch/slurm_cluster" start "$S/slurm") || code=$?
  [ "$code" != 77 ] || skip "$said"
  [ "$code" = 0 ] || { echo "$said" && return 1; }
  make_data
  run_calm
}
teardown_file() { "$WEFT_SOURCE_DIR/tests/launch/slurm_cluster" stop "$S/slurm"; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

# settings OUT NAME=VALUE…: two ranks a node, by the mpiexec of weft's MPI.
settings() {
  printf '%s,' "WEFT=$WEFT" "WEFT_HOME=$WEFT_SOURCE_DIR" "WEFT_DATA=$S/data.h5" WEFT_TP=2 \
    "WEFT_OUT=$PWD/$1" "WEFT_RECIPE=$S/recipe.toml" WEFT_RANKS_PER_NODE=2 WEFT_THREADS=1 \
    WEFT_MODULES=none WEFT_DEVICE=cpu WEFT_DIALECT=local WEFT_SCRATCH= "${@:2}" | sed 's/,$//'
}
state() { scontrol -o show job "$1" | grep -o "$2=[^ ]*" | cut -d= -f2; }
ended() {
  local left=3000
  until [[ "$(state "$1" JobState)" =~ ^(COMPLETED|FAILED|TIMEOUT|CANCELLED|NODE_FAIL) ]]; do
    ((left-- > 0)) || { scontrol show job "$1" && return 1; }
    sleep 0.2
  done
  cat ./*.o* ./*.log 2>/dev/null || true
}
status() { state "$1" ExitCode | cut -d: -f1; }
run_calm() {
  local began
  began=$(date +%s)
  id=$(qsub -v "$(settings calm)" -l select=1 "$WEFT_SOURCE_DIR/launch/polaris/train.pbs")
  ended "$id"
  [ "$(status "$id")" = 0 ]
  echo $(($(date +%s) - began)) >took
  curve calm >calm.curve
  [ "$(wc -l <calm.curve)" = 600 ]
}

@test "a #PBS script by qsub ran to its end" {
  grep '"event":"end"' "$S/calm/run.jsonl" | grep -q '"reason":"done"'
  grep '"event":"start"' "$S/calm/run.jsonl" | grep -q '"scheduler":"slurm"'
}

# SIGTERM at the requeue goes to the script alone, which passes it on.
@test "the same script by sbatch, requeued" {
  id=$(sbatch --parsable --nodes=1 --export="$(settings run)" \
    "$WEFT_SOURCE_DIR/launch/polaris/train.pbs")
  until_steps run 150
  scontrol requeue "$id"
  until [ "$(state "$id" Restarts)" = 1 ]; do sleep 0.1; done
  ended "$id"
  [ "$(status "$id")" = 0 ]
  [ "$(state "$id" Restarts)" = 1 ]
  [ "$(grep -c '"event":"start"' run/run.jsonl)" = 2 ]
  is_calm run
}

@test "the Slurm variant: it stops before the time limit" {
  id=$(sbatch --parsable --nodes=1 --time=1 \
    --export="$(settings run "WEFT_TRAIN_OPTIONS=--steps 100000")" \
    "$WEFT_SOURCE_DIR/launch/perlmutter/train.sbatch")
  ended "$id"
  [ "$(status "$id")" = 3 ]
  [ "$(state "$id" JobState)" = FAILED ] # not TIMEOUT
  [ "$(ends run)" = walltime ]
}

@test "two nodes by srun" {
  [[ "$("$WEFT" --version)" == *MPICH* ]] || skip "srun of this Slurm speaks MPICH's PMI alone"
  id=$(sbatch --parsable --export="$(settings run WEFT_DIALECT=srun WEFT_LAUNCHER=srun \
    "WEFT_LAUNCH_OPTIONS=--mpi=pmi2" WEFT_BIND=none "WEFT_TRAIN_OPTIONS=--steps 50")" \
    --nodes=2 "$WEFT_SOURCE_DIR/launch/perlmutter/train.sbatch")
  ended "$id"
  [ "$(status "$id")" = 0 ]
  grep '"event":"start"' run/run.jsonl | grep -q 'node1.*node2'
}
