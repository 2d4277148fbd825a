# Every command that runs a model, on a GPU and on the CPU: the same results, and a run that changes
# from one to the other. With an emulated GPU whose ops are the CPU's, equal to the bit.
load ../weft
load losses

setup_file() {
  export WEFT_DEVICE_DATA=$WEFT_SOURCE_DIR/tests/data
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1
  "$WEFT" tokenizer "$CORPUS" --vocab-size 300 --out tok 2>/dev/null
  "$WEFT" data "$CORPUS" --tokenizer tok --val-fraction 0.1 --out tokens.h5 2>/dev/null
  "$WEFT" train --device cpu --data tokens.h5 --layers 3 --width 24 --heads 3 --context 48 \
    --batch-size 4 --steps 4 --save-every 2 --out run 2>/dev/null
}
setup() { in_folder; }

# same COMMAND ARGS…: what it prints on a GPU is what it prints on the CPU. In the fixed order: that
# is the one of a CPU's matrices in panels, which a GPU has not.
same() {
  ok 1 "$@" --deterministic --device cpu || return 1
  mv out cpu
  ok 1 "$@" --deterministic --device cuda || return 1
  cmp cpu out || { echo "weft $*: another result on a GPU"; diff cpu out | head; return 1; }
}

# events FILE: what the log says and of which step, in its order.
events() {
  python3 - "$1" <<'PY'
import json, sys
for line in map(json.loads, open(sys.argv[1])):
    print(line["event"], line.get("step"), line.get("tokens"), line.get("lr"))
    if line["event"] == "step":
        assert line["step_s"] > 0 and abs(sum(line["shares"].values()) - 1) < 1e-6, line
PY
}

# What a device's matmuls round otherwise: on some CPUs those behind the stand-in for cuBLASLt sum
# in another order than the CPU's own. Losses, and weights on the whole: a step of Adam moves a
# weight whose gradient is next to nothing by as much as any.
close_losses() { cmp -s "$1" "$2" || near 1e-4 "$1" "$2"; }
close_models() {
  python3 - "$1/model/model.safetensors" "$2/model/model.safetensors" <<'PY'
import array, json, struct, sys
def read(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), array.array("f", data[8 + size:])
(heads, ours), (other_heads, theirs) = map(read, sys.argv[1:])
assert heads == other_heads
mean = sum(abs(a - b) for a, b in zip(ours, theirs)) / len(ours)
assert mean < 1e-4, f"weights differ by {mean} on average"
PY
}

@test "train: 20 steps, evaluations and the exported model" {
  options=(--data "$S/tokens.h5" --layers 3 --width 24 --heads 3 --context 48 --batch-size 6
    --micro-batch-size 2 --steps 20 --eval-every 5 --dropout 0.1 --seed 5)
  for device in cpu cuda; do
    ok 1 train "${options[@]}" --device "$device" --out "$device"
    losses "$device/run.jsonl" >"$device.losses"
    events "$device/run.jsonl" >"$device.events"
    json "$device/run.jsonl" "lines[0]['device'] == '$device'"
  done
  json cuda/run.jsonl 'lines[0]["peaks"]["matmul_library"] == "cuBLASLt"'
  close_losses cpu.losses cuda.losses
  cmp cpu.events cuda.events
  close_models cpu cuda
  ok 1 train "${options[@]}" --device cuda --recompute block --out again
  losses again/run.jsonl >again.losses
  close_losses again.losses cpu.losses
}

@test "train: --dtype bf16, labels and masked tokens" {
  python3 - <<'PY'
import random
random.seed(1)
words = "film book the a was so very".split()
with open("c.csv", "w") as csv, open("m.csv", "w") as sets:
    csv.write("text,label\n"), sets.write("text,label\n")
    for i in range(40):
        good = random.random() < 0.5
        text = " ".join(random.choice(words) for _ in range(5)) + (" good" if good else " bad")
        csv.write(f"{text},{'pos' if good else 'neg'}\n")
        sets.write(f"{text},{'x' if good else 'y'};z\n")
PY
  mkdir bert
  printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' good bad film book the a was so very \
    >bert/vocab.txt
  echo '{"tokenizer_class": "BertTokenizer"}' >bert/tokenizer_config.json
  ok 1 data c.csv --tokenizer bert --task classify --val-fraction 0.2 --out c.h5
  ok 1 data m.csv --tokenizer bert --task classify --label-separator ';' --val-fraction 0.2 \
    --out m.h5
  ok 1 data c.csv --tokenizer bert --task mlm --val-fraction 0.2 --out w.h5
  shape=(--family bert --layers 2 --width 16 --heads 2 --context 16 --batch-size 4 --steps 6)
  for run in "c classify" "m classify" "w mlm"; do
    set -- $run
    for device in cpu cuda; do
      ok 1 train "${shape[@]}" --data "$1.h5" --task "$2" --device "$device" --out "$device-$1-$2"
      losses "$device-$1-$2/run.jsonl" >"$device.losses"
    done
    close_losses cpu.losses cuda.losses
  done
  same classify --model cpu-c-classify/model --text 'good film' --text 'a bad book' --json
  same classify --model cpu-m-classify/model --text 'good film' --json
  same fill --model cpu-w-mlm/model --text 'the [MASK] was good' --top-k 3 --json
  for device in cpu cuda; do
    ok 1 train --data "$S/tokens.h5" --layers 2 --width 16 --heads 2 --context 32 --batch-size 4 \
      --steps 4 --dtype bf16 --device "$device" --out "$device-bf16"
    losses "$device-bf16/run.jsonl" >"$device.losses"
  done
  near 0.02 cpu.losses cuda.losses
}

# On a GPU a step's result is known when the next one is under way.
@test "train: what diverges is not saved, what a signal stops is" {
  options=(--data "$S/tokens.h5" --layers 2 --width 24 --heads 3 --context 48 --batch-size 4
    --lr-schedule constant --warmup-steps 0)
  for device in cpu cuda; do
    failed 1 'step [0-9]+: the loss is .*training has diverged' train "${options[@]}" --lr 1000 \
      --beta1 0 --weight-decay 900 --clip-grad-norm 0 --steps 50 --save-every 2 --keep 0 \
      --device "$device" --out "lost-$device"
    (grep -o '^weft: step [0-9]*' err; ls "lost-$device/checkpoints") >"$device.kept"
    events "lost-$device/run.jsonl" >"$device.events"
  done
  cmp cpu.kept cuda.kept
  cmp cpu.events cuda.events

  "$WEFT" train "${options[@]}" --steps 1000000 --log-every 1 --device cuda --out long 2>err &
  local process=$! status=0
  for _ in $(seq 300); do
    grep -q '"step":3,' long/run.jsonl 2>/dev/null && break
    sleep 0.1
  done
  kill -TERM $process
  wait $process || status=$?
  [ "$status" = 3 ]
  json long/run.jsonl 'lines[-2]["event"] == "save"' 'lines[-3]["event"] == "step"' \
    '[l["step"] for l in lines[-3:]] == [lines[-1]["step"]] * 3'
  local stopped
  stopped=$(json long/run.jsonl 'print(lines[-1]["step"]) or 1')
  ok 1 train "${options[@]}" --steps $((stopped + 2)) --log-every 1 --device cuda --out long
  ok 1 train "${options[@]}" --steps $((stopped + 2)) --log-every 1 --device cpu --out whole
  losses long/run.jsonl >long.losses
  losses whole/run.jsonl >whole.losses
  close_losses long.losses whole.losses
  close_models long whole
}

@test "train goes on from one device on the other" {
  options=(--data "$S/tokens.h5" --layers 3 --width 24 --heads 3 --context 48 --batch-size 4
    --save-every 2)
  ok 1 train "${options[@]}" --steps 8 --device cpu --out whole
  losses whole/run.jsonl | grep step >expected
  ok 1 train "${options[@]}" --steps 4 --lr-schedule constant --device cuda --out parts
  ok 1 train "${options[@]}" --steps 4 --lr-schedule constant --device cpu --out other
  losses parts/run.jsonl >parts.losses
  losses other/run.jsonl >other.losses
  close_losses parts.losses other.losses
  ok 1 train "${options[@]}" --steps 8 --lr-schedule constant --device cpu --out parts
  ok 1 train "${options[@]}" --steps 8 --lr-schedule constant --device cuda --out other
  losses parts/run.jsonl | tail -5 >parts.losses
  losses other/run.jsonl | tail -5 >other.losses
  close_losses parts.losses other.losses
  close_models parts other
  # From the CPU to the GPU and back; the vocabulary's padding there is in no file.
  ok 1 train "${options[@]}" --steps 12 --lr-schedule constant --device cpu --out other
  ok 1 train "${options[@]}" --steps 12 --lr-schedule constant --device cpu --out parts
  close_models parts other
}

@test "generate, score, embed, neighbors, attention: the same text and numbers" {
  model=(--model "$S/run/model")
  same generate "${model[@]}" --prompt 'the cat' --prompt a --max-new-tokens 9 --json
  same generate "${model[@]}" --prompt 'the cat' --do-sample --top-p 0.9 --seed 3 \
    --num-return-sequences 3 --max-new-tokens 9 --json
  same generate "${model[@]}" --prompt 'the cat' --num-beams 3 --max-new-tokens 9 --json
  same generate "${model[@]}" --prompt 'the cat' --deterministic --max-new-tokens 5
  for device in cpu cuda; do
    ok 1 score "${model[@]}" --text 'the cat was here' --dtype bf16 --json --device "$device"
    grep -o '"logprob": *[-0-9.e]*' out | head -1 | tr : " " >"$device.bf16"
  done
  near 0.05 cpu.bf16 cuda.bf16
  ok 1 generate "${model[@]}" --prompt 'the cat' --prompt a --dtype bf16 --max-new-tokens 5 \
    --device cuda
  same score "${model[@]}" --text 'the cat was here' --text 'a dog' --json
  same embed "${model[@]}" --text 'the cat was here' --text 'a dog' --json
  same embed "${model[@]}" --text 'the cat was here' --layer 1 --pooling max --json
  same neighbors "${model[@]}" '#97' --top-k 4 --json
  same attention "${model[@]}" --text 'the cat was here' --json
  for device in cpu cuda; do
    ok 1 attention "${model[@]}" --text 'the cat was here' --h5 "$device.h5" --device "$device" \
      --export hidden,logits,attention
    h5dump "$device.h5" | grep -v HDF5 >"$device.dump"
  done
  cmp cpu.dump cuda.dump
  same generate --model "$WEFT_DEVICE_DATA/gpt2_h5" --tokenizer "$WEFT_DEVICE_DATA/tokenizer" \
    --prompt 'the water' --max-new-tokens 12 --json
}

@test "bench measures a step and decoding on a GPU" {
  sizes=(--layers 1 --width 16 --heads 2 --vocab 50 --context 16 --repeats 1 --json)
  for dtype in fp32 bf16; do
    ok 1 bench step "${sizes[@]}" --dtype "$dtype" --device cuda
    json out 'lines[0]["value"] > 0 and lines[0]["device"] == "cuda"' \
      "lines[0]['of'] == '$dtype matmul'"
    grep -q 'matmuls by cuBLASLt' err
    ok 1 bench generate "${sizes[@]}" --dtype "$dtype" --new-tokens 4 --device cuda
    json out 'len(lines) == 2 and lines[1]["value"] > 0' "lines[0]['of'] == '$dtype matmul'" \
      "lines[1]['of'] in ('sustained memory reads', '$dtype matmul')"
    # The CPU multiplies held bf16 in fp32.
    ok 1 bench generate "${sizes[@]}" --dtype "$dtype" --new-tokens 4 --device cpu
    json out 'lines[0]["of"] == "fp32 matmul"' 'lines[0]["flops_counted"] > 0'
  done
  refused 1 'measures the CPU and its ranks' bench machine --device cuda
}

@test "a GPU is taken unasked, and named, by each rank where there are enough" {
  ok 1 generate --model "$S/run/model" --prompt a --max-new-tokens 2 --log job.jsonl
  json job.jsonl 'lines[0]["device"] == "cuda"'
  ok 2 generate --model "$S/run/model" --prompt a --max-new-tokens 2 --tp 2 --log two.jsonl
  json two.jsonl 'lines[0]["device"] == "cuda"'
  WEFT_EMULATED_GPUS=1 ok 2 generate --model "$S/run/model" --prompt a --max-new-tokens 2
  grep -q 'this runs on the CPU' err
  refused 1 '--gpu-map' generate --model "$S/run/model" --prompt a --gpu-map x
}

@test "a model that no kernel of a GPU takes runs on the CPU, unless a GPU was asked for" {
  local words='heads have 264 dims, and a GPU.s kernels take multiples of 8 from 16 to 256'
  shape=(--layers 1 --width 264 --heads 1 --context 32)
  fresh=("${shape[@]}" --data "$S/tokens.h5" --batch-size 2 --steps 1)
  # on_cpu N ARGS…: on N ranks, said in one line.
  on_cpu() {
    ok "$@" || return 1
    [ "$(grep -c "$words: this runs on the CPU" err)" = 1 ] || { cat err; return 1; }
  }
  on_cpu 1 train "${fresh[@]}" --out wide
  on_cpu 2 train "${fresh[@]}" --out two
  json wide/run.jsonl 'lines[0]["device"] == "cpu"'
  json two/run.jsonl 'lines[0]["device"] == "cpu"'
  model=(--model wide/model)
  for n in 1 2; do
    on_cpu $n generate "${model[@]}" --prompt a --max-new-tokens 2 --log "job$n.jsonl"
    json "job$n.jsonl" 'lines[0]["device"] == "cpu"'
  done
  on_cpu 1 score "${model[@]}" --text 'the cat'
  on_cpu 1 embed "${model[@]}" --text 'the cat'
  on_cpu 1 attention "${model[@]}" --text 'the cat' --json
  on_cpu 1 info wide/model
  on_cpu 1 bench step "${shape[@]}" --vocab 50 --repeats 1 --json
  json out 'lines[0]["device"] == "cpu"'
  for n in 1 2; do
    words="--device cuda: the model's heads have 264 dims, and .*; allowed here: cpu"
    refused $n "$words" train "${fresh[@]}" --out gpu --device cuda
    [ ! -e gpu ]
    refused $n "$words" generate "${model[@]}" --prompt a --device cuda
  done
  refused 1 "$words" info wide/model --device cuda
  refused 1 "$words" bench step "${shape[@]}" --vocab 50 --device cuda
  ok 1 generate "${model[@]}" --prompt a --max-new-tokens 2 --device cpu
  [ "$(grep -c 'runs on the CPU' err)" = 0 ]
}

@test "a plan is enough, and a byte less than it is refused before anything is taken" {
  options=(--data "$S/tokens.h5" --layers 3 --width 24 --heads 3 --context 48 --batch-size 4
    --micro-batch-size 2 --steps 3 --eval-every 2 --sample 'the cat' --device cuda)
  for dtype in fp32 bf16; do
    ok 1 train "${options[@]}" --dtype "$dtype" --out "free-$dtype"
    local planned
    planned=$(head -n 1 "free-$dtype/run.jsonl" | sed -E 's/.*"bytes_per_rank":([0-9]+).*/\1/')
    WEFT_EMULATED_GPU_BYTES=$planned ok 1 train "${options[@]}" --dtype "$dtype" --out "all-$dtype"
    cmp <(losses "free-$dtype/run.jsonl") <(losses "all-$dtype/run.jsonl")
    WEFT_EMULATED_GPU_BYTES=$((planned - 1)) failed 1 \
      'weights, .* and workspaces take .* on a rank, but .* is free on GPU 0' \
      train "${options[@]}" --dtype "$dtype" --out "less-$dtype"
    [ ! -e "less-$dtype/run.jsonl" ]
  done
  model=(--model "$S/run/model")
  ok 1 info "${model[@]}" --device cuda --json
  json out 'lines[0]["workspace_bytes"] >= 64 << 20'
  # With less and less the cache shrinks, until nothing fits: never is it found out in a pass.
  local refusals=0 runs=0 bytes
  for ((bytes = 91000000; bytes > 87000000; bytes -= 400000)); do
    WEFT_EMULATED_GPU_BYTES=$bytes weft 1 generate "${model[@]}" --prompt 'the cat' --prompt a \
      --prompt 'a dog' --num-return-sequences 4 --do-sample --max-new-tokens 30 --device cuda
    if [ "$status" = 0 ]; then
      runs=$((runs + 1))
      [ "$refusals" = 0 ]
    else
      grep -Eq 'bytes of keys, values and activations on a rank, more|workspaces take' err ||
        { cat err; return 1; }
      refusals=$((refusals + 1))
    fi
  done
  [ "$runs" -gt 3 ]
  [ "$refusals" -gt 0 ]
}

@test "where one rank has no GPU, all run on the CPU" {
  cat >one <<'SH'
#!/bin/sh
[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ] || export WEFT_EMULATED_GPUS=0
exec "$PROGRAM" "$@"
SH
  chmod +x one
  export PROGRAM=$WEFT WEFT=./one
  model=(--model "$S/run/model" --prompt a --max-new-tokens 2)
  ok 2 generate "${model[@]}" --log job.jsonl
  json job.jsonl 'lines[0]["device"] == "cpu"'
  [ "$(grep -c ': this runs on the CPU' err)" = 1 ]
  refused 2 '--device cuda: no GPU .*; allowed here: cpu' generate "${model[@]}" --device cuda
  fresh=(--data "$S/tokens.h5" --layers 1 --width 16 --heads 1 --context 32 --batch-size 2)
  ok 2 train "${fresh[@]}" --steps 1 --out two
  json two/run.jsonl 'lines[0]["device"] == "cpu"'
}
