# What every option may be is part of its description: words that are not known and numbers out of
# range are refused by every command, before anything else is looked at, wherever they come from.
load weft

setup() { in_folder; }

COMMANDS=(train data tokenizer tokenize generate chat score classify fill embed attention \
  neighbors search convert info bench)

# words COMMAND: its options whose help ends in the words they take, each as "--flag word, word,
# word".
words() {
  "$WEFT" "$1" --help | python3 -c '
import re, sys
options = re.split(r"\n(?=  -)", sys.stdin.read())
for option in options:
    option = re.sub(r"\s+", " ", option.split("\n\n")[0])
    words = r"((?:[a-z0-9_-]+, )+[a-z0-9_-]+)"
    found = re.match(r" ?(?:-\w,)?(--[a-z0-9-]+) TEXT(?:=\S+)? .*: " + words + "$", option.rstrip())
    if found:
        print(found[1], found[2])'
}

@test "an unknown word of an option is refused by every command that takes it" {
  local n=0
  for command in "${COMMANDS[@]}"; do
    while read -r flag allowed; do
      refused 1 "^weft: $flag is 'banana'; allowed: $allowed\$" "$command" "$flag" banana
      printf '%s = "banana"\n' "$(tr - _ <<<"${flag#--}")" >o.toml
      refused 1 "^weft: o.toml: .* is 'banana'; allowed: $allowed\$" "$command" --config o.toml
      n=$((n + 1))
    done < <(words "$command")
  done
  [ "$n" -ge 30 ] || { echo "only $n options with words"; return 1; }
}

@test "the options that have words are among those that were found" {
  for pair in train/--task train/--family train/--lr-schedule train/--dtype train/--device \
    train/--recompute train/--pipeline-schedule \
    data/--task data/--documents tokenizer/--kind tokenizer/--documents generate/--dtype \
    generate/--device generate/--early-stopping \
    embed/--pooling embed/--documents neighbors/--metric search/--metric convert/--dtype \
    info/--dtype info/--device bench/--dtype bench/--recompute bench/--pipeline-schedule; do
    words "${pair%%/*}" | grep -q -- "^${pair#*/} " || { echo "$pair"; return 1; }
  done
}

@test "what is reserved says that it is to come" {
  refused 1 "--dtype is 'int8', which is to come; allowed: fp32, bf16, fp16" generate --dtype int8
  refused 1 "--pipeline-schedule is 'interleaved', which is to come; allowed: gpipe, 1f1b" \
    train --pipeline-schedule interleaved
}

@test "2^32 + 1 is not 1: grids and threads are checked before they are narrowed, everywhere" {
  local n=0
  for command in "${COMMANDS[@]}"; do
    for flag in --tp --pp --dp --threads; do
      "$WEFT" "$command" --help | grep -Eq -- "^ +$flag N" || continue
      refused 1 "^weft: $flag is 4294967297; allowed: [01]" "$command" "$flag" 4294967297
      refused 1 "^weft: $flag is -1; allowed: [01]" "$command" "$flag" -1
      n=$((n + 1))
    done
  done
  [ "$n" -ge 30 ] || { echo "only $n such options"; return 1; }
}

@test "info takes what it does something with" {
  refused 1 "no option '--seed'" info "$DATA/gpt2_h3" --seed 1
  refused 1 "no option '--deterministic'" info "$DATA/gpt2_h3" --deterministic
  refused 1 'are about a model; name one' info --dtype bf16
  refused 1 'built without CUDA.*allowed here: cpu' info "$DATA/gpt2_h3" --device cuda
  ok 1 info "$DATA/gpt2_h3" --dtype bf16 --json
  cp out half
  ok 1 info "$DATA/gpt2_h3" --json
  python3 -c 'import json; h, w = (json.loads(open(f).read())["bytes_per_rank"]
    for f in ("half", "out")); assert h < 0.6 * w, (h, w)'
}
