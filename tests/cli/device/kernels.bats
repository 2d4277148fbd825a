# Whole runs through every kernel as it is, on the emulated GPU and under sanitizers: the CPU's
# losses within the dtype's bound, and its text.
load ../weft
load losses

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1
  "$WEFT" tokenizer "$CORPUS" --vocab-size 300 --out tok 2>/dev/null
  head -n 40 "$CORPUS" >few.txt  # an emulated pass takes its time
  "$WEFT" data few.txt --tokenizer tok --documents line --val-fraction 0.1 --out tokens.h5 \
    2>/dev/null
}
setup() {
  in_folder
  gpt2=(--family gpt2 --layers 2 --width 32 --heads 2 --dropout 0.1)
  llama=(--family llama --layers 2 --width 64 --heads 4 --kv-heads 2)
}

# trained BOUND BOUND_BF16 ARGS…: in both dtypes, near the CPU's losses and gradient norms; an
# activation in bf16 has 8 bits, in fp32 24.
trained() {
  local fp32=$1 bf16=$2 dtype device
  shift 2
  for dtype in fp32 bf16; do
    for device in cpu cuda; do
      ok 1 train "$@" --data "$S/tokens.h5" --context 24 --batch-size 2 --micro-batch-size 1 \
        --steps 2 --seed 5 --dtype "$dtype" --device "$device" --out "$device-$dtype" || return 1
      losses "$device-$dtype/run.jsonl" >"$device.losses"
    done
    near "${!dtype}" cpu.losses cuda.losses || return 1
  done
}

# same_text: of the model that the CPU trained.
same_text() {
  for device in cpu cuda; do
    ok 1 generate --model cpu-fp32/model --prompt 'the cat' --prompt a --max-new-tokens 4 --json \
      --dtype fp32 --device "$device" || return 1
    mv out "$device.text"
  done
  diff cpu.text cuda.text || return 1
  ok 1 generate --model cpu-fp32/model --prompt 'the cat' --max-new-tokens 3 --dtype bf16 \
    --device cuda
}

@test "GPT-2 with dropout, trained and generating" {
  trained 1e-5 0.02 "${gpt2[@]}"
  same_text
}

@test "Llama with shared keys, rotations and gates, trained and generating" {
  trained 1e-5 0.02 "${llama[@]}"
  same_text
}
