# Files of requests: what a line asks for, and what becomes of lines that cannot be served.
bats_require_minimum_version 1.5.0
load weft

setup() {
  in_folder
  model=(--model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer")
}

# rejected N ARGS…: exit 2 and one message that counts.
rejected() {
  local n=$1
  shift
  weft "$n" "$@" || return 1
  [ "$status" = 2 ] || { echo "weft $* on $n ranks: exit $status, not 2"; cat out err; return 1; }
  [ "$(grep -c '^weft: ' err)" = 1 ] || {
    echo "weft $* on $n ranks: not one message"
    cat err
    return 1
  }
}

@test "one bad line costs no other: it stands in OUT.rejects.jsonl with its reason" {
  local long
  long=$(yes " water" | head -120 | tr -d '\n')
  cat >lines.jsonl <<END
{"text": "the water", "id": "good 1"}
{"text": "the water", "id": "warm", "temperature": "warm"}
{"text": "$long", "id": "long"}
{"text": "the water", "id": "beams", "num_beams": 0}
{"text": "the water", "id": "near", "temprature": 0.5}
{"text": "the water", "id": "dashes", "max-new-tokens": 5}
{"text": "the water", "id": "lacking", "penalty_alpha": 0.6}
{"text": "the water", "id": "group", "num_beam_groups": 2}
{"text":"the water","id":"good 2","label":3,"tokens":7,"penalty_alpha":null,"num_beam_groups":1}
{"text": "the water", "id": "type", "max_new_tokens": 2.5}
{"text": "over", "id": "good 3", "do_sample": true, "temperature": 0, "num_return_sequences": 1}
END
  local rejected='^weft: 8 of 11 texts were rejected (all stand in o.jsonl.rejects.jsonl): '
  rejected+='the first: '
  for grid in "1" "3 --dp 3" "2 --tp 2"; do
    set -- $grid
    local n=$1
    shift
    rm -f o.jsonl*
    rejected "$n" generate "${model[@]}" "$@" --in lines.jsonl --max-new-tokens 3 --out o.jsonl
    grep -q "$rejected"'lines.jsonl: line 2: temperature is "warm"' err
    grep -q 'line 11: a temperature of 0 is greedy' err
    json o.jsonl '[l["id"] for l in lines] == ["good 1", "good 2", "good 3"]'
    json o.jsonl.rejects.jsonl '[l["line"] for l in lines] == [2, 3, 4, 5, 6, 7, 8, 10]' \
      'list(lines[0]) == ["line", "id", "reason"]' \
      '"line 3 has 120 tokens" in lines[1]["reason"]' \
      '"line 4: num_beams is 0; allowed: 1 to 1000" in lines[2]["reason"]' \
      '"unknown key" in lines[3]["reason"] and lines[3]["reason"].endswith("(did you mean "
        + chr(39) + "temperature" + chr(39) + "?)")' \
      '"(did you mean " in lines[4]["reason"] and "max_new_tokens" in lines[4]["reason"]' \
      '"penalty_alpha is 0.6, which Weft does not have" in lines[5]["reason"]' \
      '"group beam search" in lines[6]["reason"]' '"line 10: max_new_tokens" in lines[7]["reason"]'
  done
  grep good lines.jsonl >good.jsonl
  ok 1 generate "${model[@]}" --in good.jsonl --max-new-tokens 3 --out o.jsonl
  [ ! -e o.jsonl.rejects.jsonl ]
}

@test "rejected lines are warnings where results go to stdout; where none is left nothing runs" {
  printf '{"text": "a", "seed": "x"}\n{"text": "the water"}\n{"text": "a", "top_p": 2}\n' \
    >lines.jsonl
  for n in 1 2; do
    rejected $n generate "${model[@]}" --in lines.jsonl --max-new-tokens 3 --json
    json out 'len(lines) == 1' 'lines[0]["prompt"] == "the water"'
    [ "$(grep -c '^warning: lines.jsonl: line [13]: ' err)" = 2 ]
    grep -q '^weft: 2 of 3 texts were rejected: the first: lines.jsonl: line 1: seed is "x"' err
  done
  sed -n 1p lines.jsonl >one.jsonl
  refused 2 '^weft: one.jsonl: line 1: seed is' generate "${model[@]}" --in one.jsonl
  sed -n '1p;3p' lines.jsonl >two.jsonl
  rejected 1 generate --model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer" --in two.jsonl \
    --out o.jsonl
  [ ! -e o.jsonl ]
  json o.jsonl.rejects.jsonl 'len(lines) == 2'
  rm o.jsonl.rejects.jsonl
  # What is wrong with the flags is said of the flags.
  sed -n 2p lines.jsonl >good.jsonl
  sed -n 2p lines.jsonl >>good.jsonl
  refused 1 '^weft: --top-p is 2' generate "${model[@]}" --in good.jsonl --top-p 2
}

@test "a request whose every token is forbidden is rejected as it runs" {
  python3 - "$DATA/gpt2_h5/config.json" <<'END'
import json, sys
vocab = json.load(open(sys.argv[1]))["vocab_size"]
never = {"eos_token_id": list(range(vocab)), "min_new_tokens": 2}
lines = [{"text": "the water", "id": "a"}, {"text": "the water", "id": "b", **never},
         {"text": "over", "id": "c"}]
open("lines.jsonl", "w").write("".join(json.dumps(l) + "\n" for l in lines))
END
  local rejected='^weft: 1 of 3 texts was rejected: lines.jsonl: line 2: '
  for grid in "1" "2 --dp 2" "2 --pp 2"; do
    set -- $grid
    local n=$1
    shift
    for how in "" --do-sample "--num-beams 2"; do
      rejected "$n" generate "${model[@]}" "$@" --in lines.jsonl --max-new-tokens 3 --json $how
      json out '[l["id"] for l in lines] == ["a", "c"]'
      grep -q "$rejected"'no token is left to continue with' err
    done
  done
}

@test "a temperature of 0 is greedy; with --do-sample it is a flag's mistake" {
  ok 1 generate "${model[@]}" --prompt 'the water' --json
  cp out greedy
  ok 1 generate "${model[@]}" --prompt 'the water' --temperature 0 --json
  cmp out greedy
  [ ! -s err ]
  for n in 1 2; do
    refused $n '--temperature is 0 and --do-sample is given' \
      generate "${model[@]}" --prompt 'the water' --temperature 0 --do-sample
  done
  refused 1 '--temperature is 0 and --do-sample is given' \
    chat "${model[@]}" --prompt 'the water' --temperature 0.0 --do-sample
  printf 'temperature = 0\ndo_sample = true\n' >recipe.toml
  ok 1 generate "${model[@]}" --prompt 'the water' --config recipe.toml --json
  cmp out greedy
  grep -q 'warning: a temperature of 0 is greedy: do_sample has no effect' err
  ok 1 generate "${model[@]}" --prompt 'the water' --config recipe.toml --temperature 0.7 --json
  run ! grep -q greedy err
}

@test "a bad word without a token is named, in a flag and in a line" {
  "$WEFT" tokenizer "$CORPUS" --kind word --vocab-size 300 --out words 2>/dev/null
  local words=(--model "$DATA/gpt2_h5" --tokenizer words --max-new-tokens 3)
  printf '{"text": "the", "bad_words": ["\\n"]}\n{"text": "the"}\n' >lines.jsonl
  for text in $'\n' ' ' $'\t'; do
    refused 1 '--bad-words is "(\\n| |\\t)", which the tokenizer makes no token of' \
      generate "${words[@]}" --prompt the --bad-words "$text"
  done
  rejected 1 generate "${words[@]}" --in lines.jsonl --json
  json out 'len(lines) == 1'
  grep -q 'line 1: --bad-words is "\\n"' err
}

@test "a line's seed is a whole number of 64 bits" {
  for seed in '"x"' 2.5 18446744073709551615 1e30 true '[1]'; do
    echo "{\"text\": \"a\", \"seed\": $seed}" >seed.jsonl
    refused 1 '^weft: seed.jsonl: line 1: seed is ' generate "${model[@]}" --in seed.jsonl
  done
}

@test "a request that memory cannot hold costs no other" {
  cp -r "$DATA/families/qwen2" far
  python3 - <<'END'
import json
config = json.load(open("far/config.json"))
config["max_position_embeddings"] = 1 << 26
json.dump(config, open("far/config.json", "w"))
END
  "$WEFT" tokenizer "$CORPUS" --kind word --vocab-size 83 --out words 2>/dev/null
  printf '%s\n' '{"text": "the"}' \
    '{"text": "the", "max_new_tokens": 60000000, "num_beams": 1000}' \
    '{"text": "a", "max_new_tokens": 60000000, "num_beams": 900}' '{"text": "a"}' >lines.jsonl
  for grid in "1" "2 --dp 2" "2 --tp 2"; do
    set -- $grid
    local n=$1
    shift
    rejected "$n" generate --model far --tokenizer words "$@" --in lines.jsonl --max-new-tokens 3 \
      --out o.jsonl
    json o.jsonl '[l["id"] for l in lines] == ["0", "3"]'
    json o.jsonl.rejects.jsonl '[l["line"] for l in lines] == [2, 3]' \
      'all("more than is free on its host" in l["reason"] for l in lines)'
  done
}

# Weights that are no numbers would be refused as they are read.
@test "a context whose cache does not fit is refused before the weights are loaded" {
  cp -r "$DATA/families/qwen2" far
  python3 - <<'END'
import json
config = json.load(open("far/config.json"))
config["max_position_embeddings"] = 1 << 26
json.dump(config, open("far/config.json", "w"))
with open("far/model.safetensors", "r+b") as weights:
    header = int.from_bytes(weights.read(8), "little")
    weights.seek(8 + header)
    data = weights.read()
    weights.seek(8 + header)
    weights.write(b"\xff" * len(data))
END
  "$WEFT" tokenizer "$CORPUS" --kind word --vocab-size 83 --out words 2>/dev/null
  local far=(--model far --tokenizer words --prompt the --max-new-tokens)
  for grid in "1" "2 --tp 2"; do
    set -- $grid
    local n=$1
    shift
    refused "$n" \
      '900 beams of up to 60000001 tokens need [0-9]{12,} bytes .* on its host \([0-9]+\)' \
      generate "${far[@]}" 60000000 --num-beams 900 "$@"
    weft "$n" generate "${far[@]}" 2 "$@"
    [ "$status" != 0 ]
    run ! grep -q 'bytes of keys' err
  done
}
