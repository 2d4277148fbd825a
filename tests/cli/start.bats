# How the program starts and ends: alone without an MPI, under launchers, on terminals that are
# full.
bats_require_minimum_version 1.5.0
load weft

setup_file() { make_model; }
setup() { in_folder; }

# bare ARGS…: weft with nothing in its environment, and no program to be found.
bare() {
  status=0
  env -i "$(command -v timeout)" 60 "$WEFT" "$@" >out 2>err || status=$?
  [ "$status" = 0 ] || { echo "weft $*: exit $status"; cat err; return 1; }
}

@test "one rank needs no ssh, HOME or temporary folder" {
  bare --version
  grep -q '^weft ' out
  bare --help
  bare info
  bare info "$S/run/model"
  bare tokenize --tokenizer "$S/tok" --text hello --json
  grep -q '"tokens"' out
  bare generate --model "$S/run/model" --prompt a --max-new-tokens 2 --threads 1
  bare tokenizer "$CORPUS" --vocab-size 300 --out tok2
  bare data "$CORPUS" --tokenizer tok2 --out t.h5
  bare train --data t.h5 --layers 1 --width 8 --heads 1 --context 16 --batch-size 2 --steps 2 \
    --out run --threads 1
  bare generate --model run/checkpoints/step-00000002.h5 --prompt a --max-new-tokens 2 --threads 1
  bare convert run/model m.h5
  only m.h5 run t.h5 tok2
}

@test "one rank starts no MPI: no process beside it, no folder of a session" {
  mkdir tmp
  TMPDIR=$PWD/tmp ok 1 tokenize --tokenizer "$S/tok" --text hello
  [ -z "$(ls -A tmp)" ]
  if command -v strace >/dev/null; then
    strace -f -qq -e trace=fork,vfork,clone,clone3,execve -o trace "$WEFT" \
      tokenize --tokenizer "$S/tok" --text hello >/dev/null
    [ "$(grep -c execve trace)" = 1 ]
  fi
}

@test "what a batch script has is no launcher" {
  export SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_NNODES=1 PBS_NODEFILE=/nowhere \
    PBS_JOBID=7
  ok 1 tokenize --tokenizer "$S/tok" --text hello
  [ ! -s err ]
}

# other WORDS VARIABLE=VALUE…: processes 0 and 1 of another MPI's launcher, of which the first says
# WORDS; neither leaves anything.
other() {
  local words=$1 rank pids=() codes=""
  shift
  for rank in 0 1; do
    env "${@//@/$rank}" timeout 60 "$WEFT" train --data "$S/tokens.h5" --layers 1 --width 8 \
      --heads 1 --context 16 \
      --batch-size 2 --steps 2 --threads 1 --out two >"out$rank" 2>"err$rank" 3>&- &
    pids+=($!)
  done
  for rank in 0 1; do
    status=0
    wait "${pids[rank]}" || status=$?
    codes+="$status "
  done
  [ "$codes" = "2 2 " ] || { echo "exit $codes"; cat err0 err1; return 1; }
  [ "$(cat err0 err1 | grep -c '^weft: ')" = 1 ] || {
    echo "not one sentence"
    cat err0 err1
    return 1
  }
  grep '^weft: .*launcher of another MPI' err0 | grep -q "$words" || { cat err0; return 1; }
  [ ! -e two ] && [ ! -s out0 ] && [ ! -s out1 ]
}

@test "a launcher of another MPI is one sentence" {
  if [[ "$("$WEFT" --version)" == *"Open MPI"* ]]; then
    other 'process 0 of 2 by the' PMI_RANK=@ PMI_SIZE=2
    other 'PALS_RANKID' PALS_RANKID=@
    other 'process 0 of 2 by the' SLURM_STEP_ID=0 SLURM_PROCID=@ SLURM_STEP_NUM_TASKS=2 PMI_RANK=@ \
      PMI_SIZE=2
    other 'PMIX_RANK and' SLURM_STEP_ID=0 SLURM_PROCID=@ SLURM_STEP_NUM_TASKS=2 PMIX_RANK=@ \
      PMIX_NAMESPACE=slurm.pmix.7.0
  else
    other 'OMPI_COMM_WORLD_SIZE' OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=@
  fi
}

@test "a launcher of one process, whose MPI does not matter" {
  local launcher
  for launcher in "PMI_RANK=0 PMI_SIZE=1" "OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0" \
    "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 PMIX_RANK=0 PMIX_NAMESPACE=x"; do
    # shellcheck disable=SC2086
    env $launcher "$WEFT" tokenize --tokenizer "$S/tok" --text hello >out 2>err
    [ ! -s err ]
  done
  $WEFT_MPIEXEC 1 "$WEFT" tokenize --tokenizer "$S/tok" --text hello >out 2>err
  grep -q hello out
}

@test "srun's tasks without a PMI are runs of their own, and the first one says so" {
  export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=3 SLURM_PROCID=0
  ok 1 tokenize --tokenizer "$S/tok" --text hello
  grep -q 'warning: srun started 3 tasks without a PMI' err
  SLURM_PROCID=1 ok 1 tokenize --tokenizer "$S/tok" --text hello
  [ ! -s err ]
}

@test "the launcher's ranks are told their version and help once" {
  ok 3 --version
  [ "$(grep -c '^weft ' out)" = 1 ]
  ok 3 --help
  [ "$(grep -c 'runs transformer language models' out)" = 1 ]
  refused 3 "no command 'trian'" trian
}

@test "a script under mpiexec may run weft more than once" {
  printf '#!/bin/sh\n"$WEFT" tokenize --tokenizer "$S/tok" --text one && "$WEFT" --version\n' \
    >job.sh
  chmod +x job.sh
  export WEFT
  $WEFT_MPIEXEC 2 ./job.sh >out 2>err
  [ "$(grep -c '^weft ' out)" = 1 ]
}

@test "where one rank fails alone, the run ends soon with its sentence" {
  [[ "$("$WEFT" --version)" == *"Open MPI"* ]] || skip "another MPI's mpiexec"
  local begin=$SECONDS status=0
  # shellcheck disable=SC2086
  OMP_NUM_THREADS=1 timeout 60 $WEFT_MPIEXEC 1 "$WEFT" \
    score --model "$S/run/model" --text a : -n 1 "$WEFT" score --model nowhere --text a >out 2>err \
    || status=$?
  [ "$status" = 2 ]
  [ "$(grep -c '^weft: ' err)" = 1 ]
  grep -q '^weft: rank 1 on [^ ]*: --model nowhere: no such file' err
  [ $((SECONDS - begin)) -lt 20 ]
}

@test "results that cannot be printed are the machine's failure, in every command" {
  [ -w /dev/full ] || skip "there is no /dev/full"
  full() {
    local status=0
    "$WEFT" "$@" >/dev/full 2>err || status=$?
    [ "$status" = 1 ] || { echo "weft $*: exit $status"; cat err; return 1; }
    [ "$(grep -c '^weft: ' err)" = 1 ] || { echo "weft $*: not one message"; cat err; return 1; }
    grep -q 'weft: stdout cannot be written (No space left on device)' err || {
      echo "weft $*:"
      cat err
      return 1
    }
  }
  full --version
  full --version --json
  full --help
  full train --help
  full tokenize --tokenizer "$S/tok" --text a
  full tokenize --tokenizer "$S/tok" --decode "1 2 3"
  full tokenizer "$CORPUS" --vocab-size 300 --out tok2 --json
  full data "$CORPUS" --tokenizer "$S/tok" --out t.h5 --json
  full info --json
  full info "$S/run/model"
  full convert "$S/run/model" m.h5 --json
  local command
  for command in generate score embed; do
    full "$command" --model "$S/run/model" --text a
    full "$command" --model "$S/run/model" --text a --json
  done
  full neighbors a --model "$S/run/model"
  echo '{% for m in messages %}{{ m.content }}{% endfor %}' >template.jinja
  full chat --model "$S/run/model" --chat-template template.jinja --prompt a
  local status=0
  # mpiexec reads what ranks print through a pipe: each opens it for itself
  # shellcheck disable=SC2016
  $WEFT_MPIEXEC 2 sh -c 'exec "$@" >/dev/full' sh "$WEFT" \
    score --model "$S/run/model" --text a --json 2>err || status=$?
  [ "$status" = 1 ]
  [ "$(grep -c '^weft: ' err)" = 1 ]
}
