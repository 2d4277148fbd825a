# What a training run says of itself: that it cannot learn, and what its weights write meanwhile.
load weft

setup_file() {
  make_model
  printf '>a\nMKLVAAGLLKQWERTYIPASDFGHKLCVNM\n>b\nMMKLLVVAAGGWWYYTTSSPPDDEEFFHHIIKK\n' >p.fasta
  mkdir esm
  printf '%s\n' '<cls>' '<pad>' '<eos>' '<unk>' L A G V S E R T I D P K Q N F Y M H W C X B U Z O \
    . - '<null_1>' '<mask>' >esm/vocab.txt
  echo '{"tokenizer_class": "EsmTokenizer"}' >esm/tokenizer_config.json
  "$WEFT" data p.fasta --tokenizer esm --task mlm --out p.h5 2>/dev/null
}
setup() { in_folder; }

SIZES=(--layers 2 --width 16 --heads 2 --context 32 --batch-size 2)

@test "a learning rate that changes no weight ends the run, on any grid" {
  for n in 1 2; do
    failed $n 'step 1: the run cannot learn: no weight has changed .* rate of 9\.94e-21' \
      train --data "$S/tokens.h5" --family llama "${SIZES[@]}" --steps 20 --lr 1e-20 --out run$n
    grep -q 'look at --lr' err
    [ -z "$(ls run$n/checkpoints 2>/dev/null)" ]
  done
  failed 2 'step 1: the run cannot learn' train --data "$S/tokens.h5" --family llama "${SIZES[@]}" \
    --steps 20 --lr 1e-20 --tp 2 --out run3
  ok 1 train --data "$S/tokens.h5" --family llama "${SIZES[@]}" --steps 12 --lr 0 --out frozen
}

@test "ten steps without gradients end the run, with their reason" {
  failed 1 'step 10: the run cannot learn: all gradients have been 0 .* --mlm-probability' \
    train --task mlm --data "$S/p.h5" --family esm "${SIZES[@]}" --steps 20 \
    --mlm-probability 1e-6 --out none
  cp -r "$S/run/model" dead
  python3 - dead/model.safetensors <<'PY'
import json, sys
whole = bytearray(open(sys.argv[1], "rb").read())
head = 8 + int.from_bytes(whole[:8], "little")
whole[head:] = bytes(len(whole) - head)
open(sys.argv[1], "wb").write(whole)
PY
  failed 2 'step 10: the run cannot learn: all gradients have been 0 .* --model' \
    train --data "$S/tokens.h5" --model dead --batch-size 2 --steps 20 --out zeros
}

@test "a loss that stays where guessing is is warned of once" {
  ok 1 train --data "$S/tokens.h5" "${SIZES[@]}" --steps 130 --lr 1e-9 --warmup-steps 5 --out run
  [ "$(grep -c '^warning: step 105: for 100 steps the training loss' err)" = 1 ]
  json run/run.jsonl '[l["step"] for l in lines if l["event"] == "warning"] == [105]' \
    '"guessing among 300 classes" in [l for l in lines if l["event"] == "warning"][0]["text"]'
  ok 1 report run
}

# The losses of a run, to the bit.
losses() { grep -o '"event":"step".*"loss":[^,]*' "$1/run.jsonl" | sed 's/.*"step",//'; }

@test "--sample: a text at each evaluation, the same on any grid, and the same run" {
  local args=(--data "$S/tokens.h5" "${SIZES[@]}" --steps 8 --eval-every 4 --seed 3)
  local sample=(--sample "The" --sample "" --sample-tokens 9)
  ok 1 train "${args[@]}" --out plain
  ok 1 train "${args[@]}" "${sample[@]}" --out one
  [ "$(losses plain)" = "$(losses one)" ]
  [ -n "$(losses one)" ]
  [ "$(grep -c 'step 4: sample: The' err)" = 1 ]
  json one/run.jsonl \
    '[len(l["texts"]) for l in lines if l["event"] == "eval"] == [2, 2]' \
    '[[t["prompt"] for t in l["texts"]] for l in lines if l["event"] == "eval"][0] == ["The", ""]' \
    'all(t["text"] for l in lines if l["event"] == "eval" for t in l["texts"])' \
    'list([l for l in lines if l["event"] == "eval"][0])[-2:] == ["samples", "texts"]'
  json plain/run.jsonl 'all("texts" not in l for l in lines)'
  for axis in tp pp dp; do
    ok 2 train "${args[@]}" "${sample[@]}" --$axis 2 --out $axis
    python3 - one/run.jsonl $axis/run.jsonl <<'PY'
import json, sys
logs = [map(json.loads, open(file)) for file in sys.argv[1:]]
texts = [[l["texts"] for l in log if l["event"] == "eval"] for log in logs]
sys.exit(texts[0] != texts[1] and f"other texts: {texts}")
PY
  done
}

@test "--sample: what is refused" {
  local args=(--data "$S/tokens.h5" "${SIZES[@]}" --steps 2 --out run)
  refused 2 "--sample '.*' has [0-9]+ tokens; allowed: 1 to 31" train "${args[@]}" \
    --sample "$(printf 'many words %.0s' {1..60})"
  refused 1 '--sample continues a text.*--task mlm' train --task mlm --data "$S/p.h5" \
    --family esm "${SIZES[@]}" --steps 2 --out run --sample M
  "$WEFT" data "$CORPUS" --tokenizer "$S/tok" --out whole.h5 2>/dev/null
  refused 1 'nothing to evaluate on.*--val-fraction' train --data whole.h5 "${SIZES[@]}" \
    --steps 2 --out run --sample The
  refused 1 '--sample-tokens is 0' train "${args[@]}" --sample The --sample-tokens 0
  [ ! -e run ]
}
