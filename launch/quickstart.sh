#!/usr/bin/env bash
# Sets up and builds Weft, teaches a small GPT-2 real English on two MPI ranks (about three minutes), and lets it write.
#   launch/quickstart.sh [TEXT]      TEXT: a .txt, .jsonl or .csv of your own instead of the dictionary
# A second run reuses what exists. Everything lands in runs/quickstart (WEFT_RUN=FOLDER chooses another, WEFT_STEPS=N trains N steps).
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
step() { printf '\n== %s\n' "$*" >&2; }

step "1/5 packages and build"
weft_install_packages
weft_build build weft
weft=build/weft
"$weft" --version >&2

step "2/5 text"
mkdir -p "$run"
if [ -z "$text" ]; then
  text=$run/dictionary.jsonl
  if [ ! -s "$text" ]; then
    dictionary=/usr/share/dictd/gcide.dict.dz
    [ -r "$dictionary" ] || { echo "$dictionary is missing (Debian: dict-gcide); give a text: launch/quickstart.sh FILE" >&2; exit 1; }
    zcat -f "$dictionary" | { iconv -f utf-8 -t utf-8 -c || true; } 2>/dev/null | LC_ALL=C awk -f launch/dictionary.awk >"$text.part" # -c: a few bytes are not UTF-8
    mv "$text.part" "$text"
  fi
fi
ls -lh "$text" >&2
if [ "$(cat "$run/source" 2>/dev/null || true)" != "$text" ]; then # another text than last time: start again
  rm -rf "$run/tokenizer" "$run/tokens.h5" "$run/checkpoints" "$run/model" "$run/run.jsonl"
  echo "$text" >"$run/source"
fi

step "3/5 tokenizer (byte-level BPE, 4,096 tokens) and token file"
[ -e "$run/tokenizer/tokenizer.json" ] || "$weft" tokenizer "$text" --documents paragraph --vocab-size 4096 --out "$run/tokenizer"
[ -e "$run/tokens.h5" ] || "$weft" data "$text" --documents paragraph --tokenizer "$run/tokenizer" --val-fraction 0.01 --out "$run/tokens.h5"

step "4/5 training on two ranks, tensor parallel: mpiexec -n 2 weft train --config launch/recipes/quickstart.toml"
launch/local.sh 2 train --config launch/recipes/quickstart.toml --data "$run/tokens.h5" --tp 2 --out "$run" ${WEFT_STEPS:+--steps "$WEFT_STEPS" --warmup-steps 0}

step "5/5 text from three prompts at two temperatures"
for temperature in 0.5 0.9; do
  printf '\n-- temperature %s\n' "$temperature"
  launch/local.sh 2 generate --model "$run/model" --tp 2 --prompt "Ocean" --prompt "Music, n. The" --prompt "To walk" \
    --max-new-tokens 60 --do-sample --temperature "$temperature" --seed 7
done

cat >&2 <<TEXT

== Done. In $run:
   model/             a Hugging Face directory: AutoModelForCausalLM.from_pretrained("$run/model") loads it
   checkpoints/       resumable on any grid of ranks        run.jsonl      loss, speed and where the time went, a line a step
   tokens.h5          the tokenised text                    recipe.toml    every option of the run
Next:
   launch/local.sh 2 train --config launch/recipes/quickstart.toml --data $run/tokens.h5 --out $run --dp 2 --steps 2000    # go on, on another grid
   $weft generate --model $run/model --prompt "Winter" --do-sample --temperature 0.8 --num-return-sequences 3
   $weft score    --model $run/model --text "A small bird." --token-logprobs
   $weft tokenize --model $run/model --text "A small bird."
   $weft info     $run/model
TEXT
