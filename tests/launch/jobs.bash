# What the suites of whole jobs share: a server of the stub, one run that nothing happens to, and
# what has become of another.
# shellcheck shell=bash

# begin MACHINE LAUNCHER…: in setup_file: a server of two hosts, data, a recipe.
begin() {
  [ "$(id -u)" = 0 ] || skip "network namespaces need root"
  unshare -n -u -m -i true 2>/dev/null || skip "no namespaces here"
  # A program of MPI_Init and MPI_Finalize alone hangs there half of the time.
  [[ "$("$WEFT_BUILD_DIR/weft" --version)" != *"MPICH Version:"*" 4.0"* ]] ||
    skip "MPICH 4.0 over UCX and TCP hangs in MPI_Finalize; launch/test_all.sh has a newer one"
  cd "$BATS_FILE_TMPDIR" || return 1
  export S=$BATS_FILE_TMPDIR M=$WEFT_SOURCE_DIR/launch/$1 PBS_STUB=$BATS_FILE_TMPDIR/server
  export PATH=$WEFT_SOURCE_DIR/tests/launch/pbs:/usr/bin:$PATH WEFT=$WEFT_BUILD_DIR/weft
  pbs_server start "$PBS_STUB" --network --kill-delay 5 --machine "$M/machine.toml" "${@:2}"
  make_data
}
make_data() {
  local source=$WEFT_SOURCE_DIR/tests/data/tokenizer
  "$WEFT" data "$source/corpus.txt" --tokenizer "$source" --out data.h5 --val-fraction 0.05
  cat >recipe.toml <<TOML
layers = 2
width = 64
heads = 4
context = 32
batch_size = 8
lr = 3e-3
warmup_steps = 10
dropout = 0.1
steps = 600
save_every = 100
TOML
}
built_mpiexec() { sed -n 's/^MPIEXEC_EXECUTABLE:[A-Z]*=//p' "$WEFT_BUILD_DIR/CMakeCache.txt"; }

# settings OUT NAME=VALUE…: for qsub -v; two ranks a host.
settings() {
  local out=$1
  shift
  printf '%s,' "WEFT=$WEFT" "WEFT_HOME=$WEFT_SOURCE_DIR" "WEFT_DATA=$S/data.h5" WEFT_TP=2 \
    "WEFT_OUT=$PWD/$out" "WEFT_RECIPE=$S/recipe.toml" WEFT_RANKS_PER_NODE=2 WEFT_THREADS=1 \
    WEFT_MODULES=none WEFT_DEVICE=cpu "WEFT_SCRATCH=$PBS_STUB/scratch" \
    ${LD_LIBRARY_PATH:+"LD_LIBRARY_PATH=$LD_LIBRARY_PATH"} "$@" | sed 's/,$//'
}
# submit OUT SCRIPT [NAME=VALUE…] [-- qsub's options]
submit() {
  local out=$1 script=$2 values=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do values+=("$1") && shift; done
  [ $# = 0 ] || shift
  qsub -A project -v "$(settings "$out" "${values[@]}")" "$@" "$M/$script.pbs"
}

is_in() { grep -q "\"state\": \"$2\"" "$PBS_STUB/jobs/${1%%.*}/state.json"; }
ended() {
  local id left=3000 # 5 minutes
  for id; do
    until is_in "$id" F; do
      ((left-- > 0)) || { qstat -xf "$id" && return 1; }
      sleep 0.1
    done
  done
  cat ./weft-*.o*
}
field() { qstat -xf "$1" | sed -n "s/^    $2 = //p"; }
status() { field "$1" Exit_status; }
# Whether weft stopped by itself before the walltime. Open MPI's mpiexec lingers two seconds after
# ranks that exit with 3, longer than so small a run keeps in hand: PBS ends the job then.
in_time() { [[ "$(status "$1")" =~ ^(3|-29)$ ]]; }
steps() {
  [ -e "$1/run.jsonl" ] || echo 0
  grep -c '^{"event":"step"' "$1/run.jsonl" 2>/dev/null || true
}
until_steps() {
  local left=1200
  until [ "$(steps "$1")" -ge "$2" ]; do
    ((left-- > 0)) || return 1
    sleep 0.05
  done
}
# "step loss" of every step, the last line of a step counting.
curve() {
  sed -nE 's/^\{"event":"step","step":([0-9]+),"loss":([^,]+),.*/\1 \2/p' "$1/run.jsonl" |
    awk '{loss[$1] = $2} END {for (s in loss) print s, loss[s]}' | sort -n
}
is_calm() { diff <(curve "$1") "$S/calm.curve"; }
ends() { grep -o '"event":"end".*"reason":"[a-z]*"' "$1/run.jsonl" | sed 's/.*:"\(.*\)"/\1/'; }

# run_calm STEPS SECONDS [submit's words]: the run that nothing happens to, and how long it took.
# Its batches are so large that it takes about so long here: what is to happen in mid-run must find
# it there, and what weft keeps in hand before a walltime are its slowest steps.
run_calm() {
  local steps=$1 seconds=$2 id began
  shift 2
  id=$(submit pilot train "WEFT_TRAIN_OPTIONS=--steps 60" "$@")
  ended "$id"
  size=$(python3 - "$steps" "$seconds" pilot/run.jsonl <<'PY'
import json, statistics, sys
took = [l["step_s"] for l in map(json.loads, open(sys.argv[3])) if l["event"] == "step"]
print(min(64, max(1, round(float(sys.argv[2]) / float(sys.argv[1]) / statistics.median(took)))) * 8)
PY
)
  sed -i "s/^steps = .*/steps = $steps/; s/^batch_size = .*/batch_size = $size/" recipe.toml
  began=$(date +%s)
  id=$(submit calm train "$@")
  ended "$id"
  echo $(($(date +%s) - began)) >took
  [ "$(status "$id")" = 0 ]
  curve calm >calm.curve
  [ "$(wc -l <calm.curve)" = "$steps" ]
}
