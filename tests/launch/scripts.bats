#!/usr/bin/env bats
# The launch kit without the machines it is for: launchers, queues and file systems are played by
# scripts that note how they were called.

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  kit=$WEFT_SOURCE_DIR/launch
  for name in $(compgen -e | grep -E '^(WEFT|PBS|SLURM|NCCL|FI|OMP|MPICH)_|^TMPDIR$'); do
    [[ $name == WEFT_SOURCE_DIR || $name == WEFT_BUILD_DIR ]] || unset "$name"
  done
  export PATH=$PWD/tools:$PATH WEFT=$PWD/tools/weft WEFT_HOME=$WEFT_SOURCE_DIR
  mkdir tools site
  play weft 'echo "weft $*"'
  play launcher 'printf "%s\n" "$*" >>calls
while [ "$1" != "$WEFT" ]; do shift; done
exec "$@"'
  cat >site/machine.toml <<'TOML'
name = "site"   # the first table has no name
[node]
cores = 32
gpus = 4  # of a node
local_scratch = ""
[[queues]]
gpus = 9
[launcher]
dialect = "pals"
command = "launcher"
[scheduler]
kill_delay_s = 10
TOML
  export WEFT_MACHINE=$PWD/site/machine.toml
}

# play NAME 'commands': a program of that name.
play() {
  printf '#!/bin/bash\n%s\n' "$2" >"tools/$1"
  chmod +x "tools/$1"
}

# job 'commands': in a script that has sourced job.sh.
job() { bash -c 'set -euo pipefail; . "$1/job.sh"; eval "$2"' job "$kit" "$1"; }

@test "every script passes shellcheck" {
  cd "$WEFT_SOURCE_DIR"
  shellcheck -x launch/*.sh launch/*/*.sh launch/*/*.pbs launch/*/*.sbatch
}

# What is left to say is what a user sets.
@test "every job script passes weft lint for its machine" {
  found=$PWD/found
  cd "$WEFT_SOURCE_DIR"
  for script in launch/*/*.pbs launch/*/*.sbatch; do
    "$WEFT_BUILD_DIR/weft" lint "$script" --machine "${script%/*}/machine.toml" >"$found" 2>&1 &&
      ! grep -E ': (error|warning|note): ' "$found" |
        grep -vE '\[(placeholder|missing-file|memory)\]$' || { cat "$found"; return 1; }
  done
}

@test "every job script says that it has never run on its machine" {
  for script in "$kit"/*/*.pbs "$kit"/*/*.sbatch; do
    tr -s '\n# ' ' ' <"$script" | grep -Eq "It has never run on [A-Z][a-z]+\b" ||
      { echo "$script"; return 1; }
  done
}

@test "the machine's values: tables, comments, strings, what is not there" {
  [ "$(job 'weft_value .name')" = site ]
  [ "$(job 'weft_value node.gpus')" = 4 ]
  [ "$(job 'weft_value launcher.command')" = launcher ]
  [ "$(job 'weft_value node.local_scratch none')" = none ]
  [ "$(job 'weft_value node.cpu unknown')" = unknown ]
  [ "$(job 'echo $WEFT_RANKS_PER_NODE $WEFT_THREADS')" = "4 8" ]
}

@test "a machine that is not there is refused" {
  WEFT_MACHINE=pluto run job true
  [ "$status" = 2 ]
  [[ $output == *"WEFT_MACHINE is 'pluto'"* ]]
}

@test "ids fit file names, nodes are counted once" {
  [ "$(PBS_JOBID=1879859.polaris-pbs-01.hsn job weft_job_id)" = 1879859 ]
  [ "$(PBS_JOBID='123[4].server' job weft_job_id)" = 123-4 ]
  [ "$(SLURM_JOB_ID=7 job weft_job_id)" = 7 ]
  [ "$(SLURM_JOB_ID=9 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=3 job weft_job_id)" = 7-3 ]
  printf 'b\na\nb\nb\n' >nodes
  [ "$(PBS_NODEFILE=$PWD/nodes job weft_nodes)" = 2 ]
  [ "$(PBS_NODEFILE=$PWD/nodes job 'weft_hosts | tr "\n" " "')" = "a b " ]
  [ "$(SLURM_NNODES=3 job weft_nodes)" = 3 ]
  [ "$(job weft_nodes)" = 1 ]
}

# launched DIALECT: how two nodes of four ranks are asked for.
launched() {
  rm -f calls
  printf 'a\nb\n' >nodes
  WEFT_DIALECT=$1 PBS_JOBID=5.s PBS_NODEFILE=$PWD/nodes WEFT_LAUNCHER=launcher \
    job 'weft_launch -n 8 --ppn 4 --depth 8 "$WEFT" train --tp 4' >out
  [ "$(cat out)" = "weft train --tp 4" ]
}

@test "the launch in each launcher's words" {
  launched pals
  grep -q '^-n 8 --ppn 4 --depth 8 --cpu-bind depth --env ' calls
  grep -q -- '--env OMP_NUM_THREADS=8 ' calls
  grep -q -- '--env MPICH_GPU_SUPPORT_ENABLED=0 ' calls
  grep -q -- '--env TMPDIR=/tmp ' calls
  mkdir own
  TMPDIR=$PWD/own launched open_mpi
  grep -q "^-n 8 --hostfile $PWD/own/weft-hosts-5 --map-by ppr:4:node:PE=8 --bind-to core " calls
  grep -q -- '-x OMP_NUM_THREADS ' calls
  grep -q -- '-x TMPDIR ' calls
  [ "$(cat own/weft-hosts-5)" = $'a slots=32\nb slots=32' ]
  launched hydra
  grep -q "^-n 8 -ppn 4 -f $PWD/nodes -bind-to core:8 $WEFT train" calls
  launched srun
  grep -q '^-n 8 -N 2 --ntasks-per-node=4 --cpus-per-task=8 --kill-on-bad-exit=1 --cpu-bind=cores' \
    calls
  WEFT_BIND=none WEFT_LAUNCH_OPTIONS='--quiet -v' launched hydra
  grep -q "^-n 8 -ppn 4 -f $PWD/nodes --quiet -v $WEFT train" calls
  run env WEFT_DIALECT=aprun bash -c '. "$0/job.sh"; weft_launch "$WEFT"' "$kit"
  [ "$status" = 2 ]
  [[ $output == *"'aprun'; allowed: pals, open_mpi, hydra, srun, local"* ]]
}

# Two servers may give one number each, and the machine's /tmp is the same.
@test "two servers' jobs of one number have a hosts file each, also below another script" {
  mkdir first second
  printf 'a\nb\n' >nodes_first
  printf 'c\n' >nodes_second
  for server in first second; do
    rm -f calls
    WEFT_DIALECT=open_mpi PBS_JOBID=5.s PBS_NODEFILE=$PWD/nodes_$server WEFT_LAUNCHER=launcher \
      TMPDIR=$PWD/$server job 'weft_launch -n 2 --ppn 1 --depth 8 "$WEFT" info
bash -c ". \"$1/job.sh\"; weft_launch -n 1 --ppn 1 --depth 8 \"$WEFT\" info" job "$1"'
    [ "$(grep -c -- "--hostfile $PWD/$server/weft-hosts-5 " calls)" = 2 ]
  done
  [ "$(cat first/weft-hosts-5)" = $'a slots=32\nb slots=32' ]
  [ "$(cat second/weft-hosts-5)" = 'c slots=32' ]
  # The folder of a job before this one, as qsub -V hands it on, is not this one's.
  WEFT_DIALECT=open_mpi PBS_JOBID=6.s PBS_NODEFILE=$PWD/nodes_first WEFT_LAUNCHER=launcher \
    TMPDIR=$PWD/second WEFT_JOB_FOLDER=$PWD/first job 'weft_launch -n 2 --ppn 1 "$WEFT" info'
  [ -e second/weft-hosts-6 ]
}

@test "fewer ranks than a node takes, and an option that is none" {
  job 'weft_launch -n 1 --ppn 4 --depth 8 "$WEFT" info'
  grep -q '^-n 1 --ppn 1 ' calls
  run job 'weft_launch --hosts x "$WEFT" info'
  [ "$status" = 2 ]
  [[ $output == *"weft_launch has no --hosts"* ]]
}

@test "weft's exit code is the launch's" {
  for code in 0 1 2 3; do
    play weft "exit $code"
    run job 'weft_launch "$WEFT"'
    [ "$status" = "$code" ]
  done
}

# A program that takes a second to save after a signal; the launcher is its parent's.
slow_to_save() {
  play weft 'trap "stop=1" USR1; trap "echo ended by TERM >&2; exit 1" TERM
touch begun
for ((i = 0; i < 300; ++i)); do
  sleep 0.1
  if [ -n "${stop:-}" ]; then sleep 1; echo saved; exit 3; fi
done'
}

@test "SIGTERM, SIGUSR1, SIGINT and a lost terminal reach the program as SIGUSR1, at once" {
  slow_to_save
  for signal in TERM USR1 INT HUP; do
    rm -f begun
    env --default-signal=INT bash -c '. "$0/job.sh"; weft_launch "$WEFT"' "$kit" >out 3>&- &
    script=$!
    for ((i = 0; i < 100; ++i)); do [ ! -e begun ] || break; sleep 0.1; done
    kill -"$signal" "$script"
    code=0
    wait "$script" || code=$?
    [ "$code" = 3 ] || { echo "$signal: exit code $code"; return 1; }
    [ "$(cat out)" = saved ]
  done
}

@test "a signal before the launch keeps it from beginning" {
  run job 'kill -TERM $$; weft_launch "$WEFT" train'
  [ "$status" = 3 ]
  [ ! -e calls ]
}

@test "the ladder of network settings, which is for GPUs" {
  for machine in polaris sophia; do
    cp "$kit/$machine/environment.sh" site/
    settings='echo "${NCCL_NET-none}/${NCCL_NET_GDR_LEVEL-none}"'
    for rung in full no-gdr sockets; do
      WEFT_DEVICE=cuda WEFT_NET=$rung WEFT_MODULES=none job "$settings"
    done >"$machine"
    [ "$(WEFT_NET=full WEFT_MODULES=none job "$settings")" = none/none ]
    WEFT_DEVICE=cuda WEFT_NET=fast WEFT_MODULES=none run job true
    [ "$status" = 2 ]
    [[ $output == *"WEFT_NET is 'fast'; allowed: full, no-gdr, sockets"* ]]
  done
  [ "$(cat polaris)" = $'AWS Libfabric/PHB\nAWS Libfabric/none\nSocket/none' ]
  [ "$(cat sophia)" = $'none/none\nnone/LOC\nSocket/none' ]
}

@test "modules that cannot be loaded are named, and end nothing" {
  cp "$kit/sophia/environment.sh" site/
  module() { echo "module $*"; [ "$1" = use ]; }
  export -f module
  run job 'echo "on we go"'
  [ "$status" = 0 ]
  [[ $output == *"module load compilers/openmpi hdf5 cmake"*"could be loaded"*"on we go" ]]
  WEFT_MODULES=none run job true
  [ "$output" = "" ]
}

@test "a new folder is striped before its first file, and only then" {
  job 'weft_stripe a/checkpoints'
  [ -d a/checkpoints ]
  play lfs 'echo "lfs $*" >>lfs.calls'
  job 'weft_stripe b/checkpoints'
  [ "$(cat lfs.calls)" = "lfs setstripe -c 8 -S 16M b/checkpoints" ]
  touch b/checkpoints/step-00000001.h5
  WEFT_STRIPES=2 job 'weft_stripe b/checkpoints'
  [ "$(wc -l <lfs.calls)" = 1 ]
  play lfs 'exit 1'
  run job 'weft_stripe c'
  [ "$status" = 0 ]
  [[ $output == *"lfs setstripe does not serve it"* ]]
}

@test "a file is staged once, again when it changed, and left where it is without a disk" {
  play launcher 'shift 8; while [ "$1" != bash ]; do shift; done; exec "$@"'
  echo one >tokens.h5
  mkdir scratch
  export DATA=$PWD/tokens.h5 WEFT_SCRATCH=$PWD/scratch
  copy=$(job 'weft_stage DATA 2>/dev/null; echo $DATA')
  [ "$copy" = "$PWD/scratch/weft-$(id -un)/tokens.h5" ]
  cmp tokens.h5 "$copy"
  before=$(stat -c %i "$copy")
  job 'weft_stage DATA'
  [ "$(stat -c %i "$copy")" = "$before" ]
  echo two >tokens.h5 # as long, and older
  touch -d 2001-01-01 tokens.h5
  [ "$(job 'weft_stage DATA; echo $DATA')" = "$copy" ]
  cmp tokens.h5 "$copy"
  [ "$(ls scratch/*)" = tokens.h5 ]
  [ "$(WEFT_SCRATCH='' job 'weft_stage DATA; echo $DATA')" = "$PWD/tokens.h5" ]
  play launcher 'exit 1'
  [ "$(job 'weft_stage DATA; echo $DATA')" = "$PWD/tokens.h5" ]
}

@test "options of a sweep's line" {
  printf 'lr\tseed\n1e-3\t7\n2e-3\t8\n1\n' >sweep.tsv
  [ "$(job 'weft_sweep_options sweep.tsv 1; echo "${weft_swept[@]}"')" = "--lr 2e-3 --seed 8" ]
  run job 'weft_sweep_options sweep.tsv 3'
  [ "$status" = 2 ]
  [[ $output == *"sweep.tsv: has no line for point 3"* ]]
  run job 'weft_sweep_options sweep.tsv 2'
  [ "$status" = 2 ]
  [[ $output == *"point 2 has 1 cells, the first line 2"* ]]
}

@test "a training job: staged, launched on all ranks, and nothing to do when it is finished" {
  for machine in polaris sophia; do
    printf 'a\nb\n' >nodes
    export PBS_NODEFILE=$PWD/nodes PBS_JOBID=1.s WEFT_OUT=$PWD/$machine WEFT_DATA=$PWD/t.h5
    export WEFT_TRAIN_OPTIONS="--steps 5" WEFT_MODULES=none
    export WEFT_MACHINE=$machine WEFT_DIALECT=pals WEFT_LAUNCHER=launcher
    ranks=8
    [ $machine = polaris ] || ranks=16
    play weft 'echo "$*" >>trained; exit 3'
    rm -f calls
    run bash "$kit/$machine/train.pbs"
    [ "$status" = 3 ]
    grep -q "^-n $ranks --ppn $((ranks / 2)) " calls
    grep -q "^train .*--data $PWD/t.h5 --out $PWD/$machine --tp 4 --pp 1 .*--steps 5$" trained
    play weft 'echo "$*" >>trained; exit 0'
    run bash "$kit/$machine/train.pbs"
    [ "$status" = 0 ]
    [ "$(wc -l <trained)" = 2 ]
    run bash "$kit/$machine/train.pbs"
    [ "$status" = 0 ]
    [[ $output == *"is finished: nothing is left to do"* ]]
    [ "$(wc -l <trained)" = 2 ]
    WEFT_TRAIN_OPTIONS="--steps 9" run bash "$kit/$machine/train.pbs"
    [ "$(wc -l <trained)" = 3 ]
    rm trained
  done
}

@test "a chain: each job after the one before, however that ended" {
  play qsub 'echo "$*" >>qsub.calls; echo "$(wc -l <qsub.calls).server"'
  cp "$kit/polaris/train.pbs" job.pbs
  run "$kit/chain.sh" 3 job.pbs -v A=1
  [ "$status" = 0 ]
  [[ $output == *$'1.server\n2.server\n3.server' ]]
  [ "$(cat qsub.calls)" = "-v A=1 job.pbs
-W depend=afterany:1.server -v A=1 job.pbs
-W depend=afterany:2.server -v A=1 job.pbs" ]
  play qsub 'exit 38'
  run "$kit/chain.sh" 2 job.pbs
  [ "$status" = 1 ]
  [[ $output == *"job 1 of 2 was refused; 0 are queued" ]]
  for wrong in "0 job.pbs" "x job.pbs" "2 none.pbs" "2"; do
    # shellcheck disable=SC2086
    run "$kit/chain.sh" $wrong
    [ "$status" = 2 ]
  done
  cp site/machine.toml .
  play weft 'echo "job.pbs:3: no such queue"; exit 2'
  play qsub 'touch queued'
  run "$kit/chain.sh" 2 job.pbs
  [ "$status" = 2 ]
  [ ! -e queued ]
}

# What scaling.sh refuses, it refuses before anything runs.
refuses() {
  local words=$1
  shift
  run "$kit/scaling.sh" "$@"
  [ "$status" = 2 ] || { echo "$*: exit code $status"; return 1; }
  [[ $output == *"$words"* ]] || { echo "$*: $output"; return 1; }
  [ ! -e calls ] && [ ! -e runs ] && [ ! -e out ]
}

@test "a scaling study: what is refused" {
  refuses "--grids is missing"
  refuses "--grids has '2x2'" --grids "1x1x1 2x2"
  refuses "the grid 2x2x2 has 8 ranks; allowed: 4 at most" --grids "1x1x1 2x2x2"
  refuses "--scaling has 'strange'" --grids 1x1x1 --scaling strong,strange
  refuses "--steps is '0'" --grids 1x1x1 --steps 0
  refuses "--what generate needs a --model" --grids 1x1x1 --what generate
  refuses "there is no option '--grid'" --grid 1x1x1
  refuses "--grids lacks its value" --grids
  refuses "--data none.h5: no such file" --grids 1x1x1 --data none.h5
}

@test "a scaling study: grids, work and repeats; begun again it keeps what is finished" {
  play weft 'echo "$*" >>weft.calls
case $1 in
  tokenizer | data) shift $(($# - 1)); touch "$1" ;;
  train | generate)
    [ ! -e fail ] || exit 1
    while [ "$1" != --out ]; do shift; done
    folder=${2%/generated.jsonl}
    mkdir -p "$folder/model"
    touch "$folder/run.jsonl"
    ;;
esac'
  study=("$kit/scaling.sh" --grids "1x1x1 2x1x2" --repeats 2 --out out)
  run "${study[@]}"
  [ "$status" = 0 ]
  [ "$(grep -c '^train ' weft.calls)" = 6 ]
  [ "$(grep -c '^generate ' weft.calls)" = 6 ]
  grep -q '^train .*--batch-size 32 .*--tp 2 --pp 1 --dp 2 ' weft.calls
  [ "$(wc -l <out/generate-2x1x2-of-32-1/prompts.jsonl)" = 32 ]
  [ "$(grep -c '^report out/train-1x1x1-of-8-1 .*--format html --out out/report.html$' \
    weft.calls)" = 1 ]
  [ -d out/model ] && [ ! -e out/train-1x1x1-of-8-2/model ]
  rm out/train-2x1x2-of-8-2/finished
  : >weft.calls
  run "${study[@]}"
  [ "$(grep -c '^train ' weft.calls)" = 1 ]
  [ "$(grep -c '^generate ' weft.calls)" = 0 ]
  run "${study[@]}" --steps 9
  [ "$status" = 2 ]
  [[ $output == *"of another study"* ]]
  rm out/train-2x1x2-of-8-2/finished
  touch fail
  run "${study[@]}"
  [ "$status" = 1 ]
  [[ $output == *"1 of 12 runs failed" ]]
}

@test "launch/local.sh: a Ctrl-C in training saves, exit code 3" {
  weft=$WEFT_BUILD_DIR/weft
  unset WEFT_MACHINE
  data=$WEFT_SOURCE_DIR/tests/data/tokenizer
  "$weft" data "$data/corpus.txt" --tokenizer "$data" --out data.h5 --val-fraction 0.05
  for signal in TERM INT; do
    WEFT=$weft setsid env --default-signal=INT "$kit/local.sh" 2 train --data data.h5 --out run \
      --layers 1 --width 32 --heads 2 --context 32 --batch-size 4 --tp 2 --threads 1 \
      --steps 100000 >log 2>&1 3>&- &
    script=$!
    for ((i = 0; i < 300; ++i)); do
      ! grep -qs '"event":"step"' run/run.jsonl || break
      sleep 0.1
    done
    seconds=$SECONDS
    kill -"$signal" -- -"$script" # as a terminal does: to the whole group
    code=0
    wait "$script" || code=$?
    [ "$code" = 3 ] || { echo "$signal: exit code $code"; cat log; return 1; }
    [ $((SECONDS - seconds)) -lt 20 ]
    tail -n 1 run/run.jsonl | grep '"event":"end".*"reason":"signal"'
    rm -r run
  done
}
