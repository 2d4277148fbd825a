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
  while read -r n grid; do
    # shellcheck disable=SC2086
    ok "$n" train "${options[@]}" --device cuda $grid --out "grid$grid"
    json "grid$grid/run.jsonl" "lines[0]['device'] == 'cuda'"
    losses "grid$grid/run.jsonl" >losses
    close one.losses losses || { echo "on $n ranks: $grid"; return 1; }
  done <<'GRIDS'
2 --tp 2
2 --pp 2
2 --dp 2
2 --pp 2 --pipeline-schedule zero-bubble
3 --tp 3
3 --pp 3
4 --tp 2 --pp 2
4 --pp 2 --dp 2
4 --tp 2 --dp 2
GRIDS
}

@test "train: from one grid and device to another" {
  options+=(--lr-schedule constant) # the same rates however many steps there are to be
  ok 1 train "${options[@]}" --device cpu --out one
  losses one/run.jsonl | grep ^step >one.losses
  [ "$(wc -l <one.losses)" = 20 ]
  ok 2 train "${options[@]}" --device cuda --tp 2 --steps 8 --save-every 4 --out run
  ok 2 train "${options[@]}" --device cuda --pp 2 --steps 14 --out run
  ok 2 train "${options[@]}" --device cpu --dp 2 --steps 17 --out run
  ok 1 train "${options[@]}" --device cuda --out run
  losses run/run.jsonl | grep ^step >losses
  close one.losses losses
  ok 1 score --model run/model --device cpu --text "A body of water."
  mv out one.score
  ok 2 score --model run/model --device cuda --tp 2 --text "A body of water."
  cmp one.score out
}

@test "generate: one rank's text" {
  prompts=(--prompt "the first" --prompt "A" --prompt "another one of them" --max-new-tokens 20)
  for more in "" "--do-sample --seed 3" "--num-beams 3"; do
    # shellcheck disable=SC2086
    ok 1 generate --model "$S/run/model" --device cpu "${prompts[@]}" $more
    mv out one
    while read -r n grid; do
      # shellcheck disable=SC2086
      ok "$n" generate --model "$S/run/model" --device cuda "${prompts[@]}" $more $grid
      cmp one out || { echo "on $n ranks: $grid $more"; diff one out; return 1; }
    done <<'GRIDS'
2 --tp 2
2 --pp 2
2 --dp 2
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

# ends_by_name SIGNAL 'words': rank 1 of a run gets it, and rank 0 ends with what it waited for, and
# the words.
ends_by_name() {
  # shellcheck disable=SC2086
  $WEFT_MPIEXEC 2 "$WEFT" train "${options[@]}" --device cuda --tp 2 --steps 100000 \
    --comm-timeout 4 --out run >out 2>err 3>&- &
  job=$!
  for ((i = 0; i < 300; ++i)); do
    ! grep -qs '"step":3' run/run.jsonl || break
    sleep 0.1
  done
  rank=$(pgrep -f -- "train .*--out run" | while read -r p; do
    tr '\0' '\n' <"/proc/$p/environ" | grep -q '^OMPI_COMM_WORLD_RANK=1$' && echo "$p"
  done | head -1)
  [ -n "$rank" ] || skip "this launcher does not name its ranks"
  kill "-$1" "$rank"
  code=0
  SECONDS=0
  wait "$job" || code=$?
  kill -CONT "$rank" 2>/dev/null || true
  cat err
  [ "$code" != 0 ] && [ "$SECONDS" -lt 40 ]
  grep -E "rank 0.*tensor-parallel group.*$2" err
}

@test "a rank that stops ends the run, by name" {
  ends_by_name STOP 'has not ended for'
}

@test "so does one that dies where no launcher ends the others" {
  OMPI_MCA_orte_enable_recovery=1 ends_by_name KILL 'remote process exited'
}
