# Several ranks with a GPU each, their memory joined by NCCL: the same losses, text and checkpoints
# as one rank's. Emulated GPUs and an emulated NCCL.
load ../weft
load losses

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1 S=$BATS_FILE_TMPDIR
  "$WEFT" tokenizer "$CORPUS" --vocab-size 300 --out tok 2>/dev/null
  "$WEFT" data "$CORPUS" --tokenizer tok --val-fraction 0.1 --out tokens.h5 2>/dev/null
  "$WEFT" train --device cpu --data tokens.h5 --layers 3 --width 24 --heads 3 --context 48 \
    --batch-size 4 --steps 4 --save-every 2 --out run 2>/dev/null
}
setup() {
  in_folder
  options=(--data "$S/tokens.h5" --layers 4 --width 24 --heads 3 --context 48 --batch-size 6
    --micro-batch-size 1 --steps 20 --eval-every 10 --dropout 0.1 --seed 5)
}

# close A B: the same words, and numbers that differ as sums in another order do.
close() {
  python3 - "$@" <<'PY'
import sys
a, b = (open(f).read().split() for f in sys.argv[1:])
assert a and len(a) == len(b), (a, b)
for p, q in zip(a, b):
    if p != q:
        assert abs(float(p) - float(q)) <= 2e-4 * abs(float(p)), (p, q)
PY
}

@test "train: 20 steps on grids of 2, 3 and 4 ranks" {
  ok 1 train "${options[@]}" --device cpu --out one
  losses one/run.jsonl >one.losses
  while read -r n grid <&9; do
    # shellcheck disable=SC2086
    ok "$n" train "${options[@]}" --device cuda $grid --out "grid$grid"
    json "grid$grid/run.jsonl" "lines[0]['device'] == 'cuda'"
    losses "grid$grid/run.jsonl" >losses
    close one.losses losses || { echo "on $n ranks: $grid"; return 1; }
  done 9<<'GRIDS' # mpiexec reads stdin
2 --dp 2
2 --pp 2 --pipeline-schedule gpipe
3 --tp 3
4 --tp 2 --pp 2
GRIDS
}

@test "train: from one grid and device to another" {
  options+=(--lr-schedule constant) # the same rates however many steps there are to be
  ok 1 train "${options[@]}" --device cpu --out one
  losses one/run.jsonl | grep ^step >one.losses
  [ "$(wc -l <one.losses)" = 20 ]
  local from=
  while read -r n grid <&9; do
    # shellcheck disable=SC2086
    ok "$n" train "${options[@]}" $grid --save-every 4 --out run
    [ -z "$from" ] || grep "resuming from .* at step $from" err
    from=$(sed -E 's/.*--steps ([0-9]+).*/\1/' <<<"$grid")
  done 9<<'GRIDS' # mpiexec reads stdin
2 --device cuda --tp 2 --steps 8
2 --device cuda --pp 2 --steps 14
2 --device cpu --dp 2 --steps 17
1 --device cuda --steps 20
GRIDS
  losses run/run.jsonl | grep ^step >losses
  close one.losses losses
  ok 1 score --model run/model --device cpu --text "A body of water."
  mv out one.score
  ok 2 score --model run/model --device cuda --tp 2 --text "A body of water."
  cmp one.score out
}

# HDF5 gives a file that ranks write together to one driver for all of them; opened by each for
# itself it loses what others wrote, now and then.
@test "train: every checkpoint of two GPUs is whole" {
  ok 2 train "${options[@]}" --device cuda --tp 2 --steps 8 --save-every 1 --keep 0 --out run
  [ "$(find run/checkpoints -name 'step-*.h5' | wc -l)" = 8 ]
  [ "$(grep -c 'could not be written' err)" = 0 ]
  for file in run/checkpoints/*; do
    ok 1 score --model "$file" --device cpu --text "A body of water."
  done
}

@test "generate: one rank's text" {
  prompts=(--prompt "the first" --prompt "A" --prompt "another one of them" --max-new-tokens 20)
  for more in "" "--do-sample --seed 3" "--num-beams 3"; do
    # shellcheck disable=SC2086
    ok 1 generate --model "$S/run/model" --device cpu "${prompts[@]}" $more
    mv out one
    while read -r n grid <&9; do
      # shellcheck disable=SC2086
      ok "$n" generate --model "$S/run/model" --device cuda "${prompts[@]}" $more $grid
      cmp one out || { echo "on $n ranks: $grid $more"; diff one out; return 1; }
    done 9<<'GRIDS' # mpiexec reads stdin
2 --pp 2
3 --tp 3
4 --tp 2 --pp 2
GRIDS
  done
}

@test "more ranks than GPUs: one sentence" {
  WEFT_EMULATED_GPUS=1 refused 2 '2 ranks run on this host, but 1 GPU can be used' \
    generate --model "$S/run/model" --device cuda --prompt A
  WEFT_EMULATED_GPUS=2 refused 3 '3 ranks run on this host, but 2 GPUs can be used' \
    generate --model "$S/run/model" --device cuda --prompt A
}

@test "two ranks that are shown one GPU: one sentence" {
  words='ranks 0 and 1 were shown the same GPU of .* \(0000:13:00\.0\): a rank needs its own'
  export CUDA_VISIBLE_DEVICES=3
  refused 2 "$words" generate --model "$S/run/model" --device cuda --prompt A
  refused 2 "$words" train "${options[@]}" --device cuda --out run
  refused 2 "$words" bench comm --device cuda
  refused 3 "$words" generate --model "$S/run/model" --device cuda --prompt A
  unset CUDA_VISIBLE_DEVICES
  refused 2 'ranks 0 and 1 were shown the same GPU' \
    generate --model "$S/run/model" --device cuda --gpu-map 2,2 --prompt A
  # One of its own each, whatever each calls it.
  cat >own.sh <<'SH'
CUDA_VISIBLE_DEVICES=$((5 - ${OMPI_COMM_WORLD_LOCAL_RANK:-$MPI_LOCALRANKID})) exec "$@"
SH
  # shellcheck disable=SC2086
  $WEFT_MPIEXEC 2 bash own.sh "$WEFT" generate --model "$S/run/model" --device cuda --tp 2 \
    --prompt A >out
  [ -s out ]
}

# ends_by_name SIGNAL RANKS 'group' 'words' FILE 'started' ARGS…: rank 1 of `weft ARGS…` gets it as
# soon as the file has such a line, and the others end in time with one message, the first rank's:
# what it waited for in the group, and the words.
ends_by_name() {
  local signal=$1 n=$2 group=$3 words=$4 file=$5 started=$6
  shift 6
  # shellcheck disable=SC2086
  $WEFT_MPIEXEC "$n" "$WEFT" "$@" --device cuda --comm-timeout 4 >out 2>err 3>&- &
  job=$!
  for ((i = 0; i < 300; ++i)); do
    ! grep -qs -- "$started" "$file" || break
    sleep 0.1
  done
  rank=$(pgrep -f -- "^$WEFT $1 .*--comm-timeout 4$" | while read -r p; do
    tr '\0' '\n' <"/proc/$p/environ" | grep -q '^OMPI_COMM_WORLD_RANK=1$' && echo "$p"
  done | head -1)
  [ -n "$rank" ] || skip "this launcher does not name its ranks"
  kill "-$signal" "$rank"
  code=0
  SECONDS=0
  wait "$job" || code=$?
  kill -CONT "$rank" 2>/dev/null || true
  cat err
  [ "$code" != 0 ] && [ "$SECONDS" -lt 20 ]
  [ "$(grep -c '^weft: rank' err)" = 1 ]
  call='[a-z_]+( of [0-9]+ [a-z0-9]+)? \(its call [0-9]+\)'
  grep -E "^weft: rank 0 on $(hostname): the ($group) .*\(rank 0 of $n\).*$call.*($words)" err
}
trains() {
  ends_by_name "$1" 2 'tensor-parallel group' "$2" run/run.jsonl '"step":3' \
    train "${options[@]}" --tp 2 --steps 100000 --out run
}
# Between collectives ranks meet by MPI, which says nothing of one that is gone.
measures() {
  ends_by_name "$1" "$2" "world's group|world, by MPI" "$3" out all_reduce \
    bench comm --max-bytes 4096 --repeats 300 --threads 1
}

@test "a rank that stops ends the run, by name" {
  trains STOP 'has not ended for'
  measures STOP 3 'has not ended for'
}

@test "so does one that dies where no launcher ends the others" {
  export OMPI_MCA_orte_enable_recovery=1
  trains KILL 'remote process exited'
  measures KILL 2 'remote process exited|has not ended for' # of more each one speaks there
}
