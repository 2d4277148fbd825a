#!/usr/bin/env bats
# weft generate and weft score as a user meets them, at 1 to 4 ranks.
bats_require_minimum_version 1.5.0

setup() {
  local data=$WEFT_SOURCE_DIR/tests/data
  model="--model $data/gpt2_h5 --tokenizer $data/tokenizer"
  cd "$BATS_TEST_TMPDIR"
}

weft() { "$WEFT" "$@" 2>stderr.txt; }
ranks() { local n=$1; shift; $WEFT_MPIEXEC "$n" "$WEFT" "$@" 2>stderr.txt; }
field() { sed -E "s/.*\"$1\":(\"([^\"]*)\"|\[[^]]*\]|[^,}]*).*/\1/"; }  # of each JSON line

@test "the same text on every grid, from stdin too" {
  printf 'the water\nmay be over there, down only\n' > two.txt
  weft generate $model --in two.txt --do-sample --seed 7 --json > one.jsonl
  [ "$(wc -l < one.jsonl)" = 2 ]
  for grid in "2 --tp 2" "2 --pp 2" "2 --dp 2" "3 --tp 3" "4 --tp 2 --pp 2" "4 --tp 2 --dp 2"; do
    set -- $grid
    n=$1; shift
    ranks "$n" generate $model "$@" --in two.txt --do-sample --seed 7 --json > many.jsonl
    cmp one.jsonl many.jsonl
  done
  ranks 2 generate $model --tp 2 --in - --do-sample --seed 7 --json < two.txt > stdin.jsonl
  cmp one.jsonl stdin.jsonl
}

@test "other prompts, their order and copies do not change a text" {
  weft generate $model --prompt "the water" --do-sample --json > alone.jsonl
  weft generate $model --prompt "over there" --prompt "the water" --prompt "the water" --do-sample \
    --json > three.jsonl
  [ "$(sed -n 1p alone.jsonl | field ids)" = "$(sed -n 2p three.jsonl | field ids)" ]
  [ "$(sed -n 2p three.jsonl | field ids)" != "$(sed -n 3p three.jsonl | field ids)" ]
  weft generate $model --prompt "the water" --do-sample --num-return-sequences 2 \
    --json > copies.jsonl
  [ "$(sed -n 2p copies.jsonl | field ids)" = "$(sed -n 3p three.jsonl | field ids)" ]
  [ "$(field sample < copies.jsonl | paste -sd ' ')" = "0 1" ]
}

@test "a JSONL line's options win, its own seed gives its text by itself" {
  local sampled='"do_sample": true, "seed": 5, "max_new_tokens": 4'
  cat > lines.jsonl <<END
{"text": "the water", "id": "a", $sampled}
{"prompt": "the water", "id": "b", $sampled, "return_full_text": false}
{"text": "the water", "id": "c", "stop": ["e4"], "logprobs": true}
{"text": "the water", "id": "d", "num_beams": 3, "num_return_sequences": 2, "early_stopping": true}
END
  weft generate $model --in lines.jsonl --max-new-tokens 6 --seed 9 --json > out.jsonl
  [ "$(field id < out.jsonl | paste -sd ' ')" = '"a" "b" "c" "d" "d"' ]
  [ "$(sed -n 1p out.jsonl | field ids)" = "$(sed -n 2p out.jsonl | field ids)" ]
  [ "$(field n_new < out.jsonl | paste -sd ' ')" = "4 4 2 6 6" ]
  [ "$(sed -n 3p out.jsonl | field finish)" = '"stop"' ]
  [ "$(sed -n 2p out.jsonl | field generated_text)" = "$(sed -n 2p out.jsonl | field new_text)" ]
  grep -q '"logprobs":\[-' out.jsonl
  weft generate $model --prompt "the water" --do-sample --seed 5 --max-new-tokens 4 \
    --json > flag.jsonl
  [ "$(field ids < flag.jsonl)" = "$(sed -n 1p out.jsonl | field ids)" ]
  ranks 3 generate $model --dp 3 --in lines.jsonl --max-new-tokens 6 --seed 9 --json > three.jsonl
  cmp out.jsonl three.jsonl
}

@test "--kv-cache-dtype: a narrower cache, the same bits on every grid under --deterministic" {
  printf 'the water\nmay be over there, down only\n' > two.txt
  weft generate $model --in two.txt --logprobs --json > wide.jsonl
  weft generate $model --in two.txt --logprobs --json --kv-cache-dtype fp32 > fp32.jsonl
  cmp wide.jsonl fp32.jsonl
  for kv in bf16 int8; do
    weft generate $model --in two.txt --logprobs --json --kv-cache-dtype $kv --deterministic \
      > one.jsonl
    run ! cmp -s wide.jsonl one.jsonl
    ranks 4 generate $model --tp 2 --pp 2 --in two.txt --logprobs --json --kv-cache-dtype $kv \
      --deterministic > four.jsonl
    cmp one.jsonl four.jsonl
  done
  run ! weft generate $model --prompt a --kv-cache-dtype int4
  [ "$status" = 2 ]
  grep -q -- "--kv-cache-dtype is 'int4'; allowed: auto, fp32, bf16, int8" stderr.txt
}

@test "bad words are not written" {
  weft generate $model --prompt "the water" --json > free.jsonl
  grep -q '"new_text":"are45' free.jsonl
  weft generate $model --prompt "the water" --bad-words 45 --bad-words are --json > without.jsonl
  run ! grep -qE '"new_text":"[^"]*(are|45)' without.jsonl
}

@test "an option without effect is a warning" {
  weft generate $model --prompt "the water" --temperature 0.5 --length-penalty 2
  grep -q -- '--temperature (needs --do-sample), --length-penalty (needs --num-beams)' stderr.txt
  weft generate $model --prompt "the water" --do-sample --temperature 0.5
  run ! grep -q warning stderr.txt
}

@test "what cannot be is one sentence and exit 2 before anything runs" {
  long=$(yes " water" | head -120 | tr -d '\n')
  printf '{"text": "%s"}\n' "$long" > long.jsonl
  run ! weft generate $model --in long.jsonl --json
  [ "$status" = 2 ]
  [ -z "$output" ]
  grep -q 'long.jsonl: line 1 has 120 tokens' stderr.txt
  [ "$(wc -l < stderr.txt)" = 1 ]
  : > empty.txt
  for n in 1 2; do
    run ! ranks "$n" generate $model --in empty.txt
    [ "$status" = 2 ]
    grep -q 'there is no text' stderr.txt
  done
  echo '{"text": "a", "seed": "x"}' > seed.jsonl
  run ! weft generate $model --in seed.jsonl
  [ "$status" = 2 ]
  grep -q 'line 1: seed is' stderr.txt
  run ! weft generate $model --prompt a --num-beams 2 --num-return-sequences 3
  [ "$status" = 2 ]
}

@test "an empty prompt, and one of any bytes, which are made UTF-8" {
  weft generate $model --prompt "" --json > empty.jsonl
  [ "$(field n_prompt < empty.jsonl)" = 1 ]
  weft generate $model --prompt $'\xff\xfe\x01 a' --max-new-tokens 1 > written
  [ "$(head -c 9 written | od -An -tx1 | tr -d ' \n')" = efbfbdefbfbd012061 ]
  printf '\xfd\xfe\n\x80 over\n' > bytes.txt
  weft generate $model --in bytes.txt --json > one.jsonl
  ranks 2 generate $model --tp 2 --in bytes.txt --json > two.jsonl
  cmp one.jsonl two.jsonl
}

@test "many prompts come in order, and a reader that leaves ends it quietly" {
  for i in $(seq 400); do echo "$i the water" ; done > many.txt
  weft generate $model --in many.txt --max-new-tokens 3 --json > all.jsonl
  [ "$(field id < all.jsonl | tr -d '"' | paste -sd ' ')" = "$(seq -s ' ' 0 399)" ]
  grep -q '32 continuations of up to' stderr.txt
  ranks 4 generate $model --dp 4 --in many.txt --max-new-tokens 3 --json > four.jsonl
  cmp all.jsonl four.jsonl
  first=$(weft generate $model --in many.txt --max-new-tokens 3 --json | head -1)
  [ "$first" = "$(head -1 all.jsonl)" ]
  run ! grep -qi 'signal\|abort\|weft:' stderr.txt
}

@test "score: lines, sums and every grid" {
  printf '{"id": "x", "text": "the water may be over there"}\n{"text": ""}\n{"text": "a"}\n' \
    > texts.jsonl
  for i in $(seq 200); do
    printf '{"text": "%s"}\n' "$(yes "over $i" | head -$((i % 20 + 1)) | tr '\n' ' ')"
  done >> texts.jsonl
  weft score $model --in texts.jsonl --json --token-logprobs > one.jsonl
  [ "$(wc -l < one.jsonl)" = 203 ]
  sed -n 1p one.jsonl | grep -q '"id":"x".*"token_logprobs":\[null,-'
  local none='"loss":null,"logprob":0.0,"perplexity":null'
  [ "$(sed -n 2p one.jsonl)" = '{"id":"1","n_tokens":0,'"$none"',"token_logprobs":[]}' ]
  [ "$(sed -n 3p one.jsonl)" = '{"id":"2","n_tokens":1,'"$none"',"token_logprobs":[null]}' ]
  # loss is the mean of the predicted tokens, perplexity its exponential
  sed -n 1p one.jsonl | tr '[]{}:,' ' ' |
    awk '{
      n = 0
      for (i = 1; i <= NF; ++i) {
        if ($i == "\"loss\"") loss = $(i + 1)
        if ($i == "\"perplexity\"") p = $(i + 1)
        if ($i == "\"token_logprobs\"") for (j = i + 2; j <= NF; ++j) { sum += $j; ++n }
      }
      d = loss + sum / n; e = p / exp(loss) - 1
      exit !(n > 3 && d * d < 1e-10 && e * e < 1e-10)
    }'
  ranks 4 score $model --tp 2 --dp 2 --in texts.jsonl --json > many.jsonl
  [ "$(field n_tokens < many.jsonl)" = "$(field n_tokens < one.jsonl)" ]
  paste <(field loss < one.jsonl) <(field loss < many.jsonl) |
    awk '$1 != $2 { d = $1 - $2; if (d * d > 1e-10) exit 1 }'
}

@test "half-precision weights give nearly the same score" {
  for dtype in fp32 bf16 fp16; do
    weft score $model --text "the water may be over there" --dtype $dtype --json | field loss
  done > losses.txt
  [ "$(sort -u losses.txt | wc -l)" = 3 ]
  awk 'NR == 1 { fp32 = $1 } { d = $1 - fp32; if (d * d > 1e-4) exit 1 }' losses.txt
  weft generate $model --prompt "the water" --dtype bf16 --json > one.jsonl
  ranks 2 generate $model --tp 2 --prompt "the water" --dtype bf16 --json > two.jsonl
  cmp one.jsonl two.jsonl
}
