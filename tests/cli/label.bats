# weft classify, fill, embed and score with encoders, as their users meet them. Expected numbers:
# transformers 5.24's pipelines (text-classification, fill-mask, token-classification) over the
# models of tests/data/families and BertTokenizerFast over tests/data/words/vocab.txt.
load weft

setup() { in_folder; }

# A model of tests/data/families as a folder with a tokenizer.
model() {
  mkdir "$1"
  cp "$DATA/families/$1/config.json" "$DATA/families/$1/model.safetensors" "$DATA/words/vocab.txt" \
    "$1"
}

@test "classify: label, score, logits and probabilities of texts and pairs, on any grid" {
  model bert_classify
  printf '%s\n' 'the cat sat on the mat.' 'a blue dog' 'xyz?' >texts.txt
  for n in 1 2 3; do
    for grid in "--tp $n" "--pp $(( n > 2 ? 1 : n ))" ''; do
      # shellcheck disable=SC2086
      ok "$n" classify --model bert_classify --in texts.txt --json $grid
      json out '[line["label"] for line in lines] == ["entails", "neutral", "contradicts"]' \
        'all(abs(line["score"] - score) < 1e-5
          for line, score in zip(lines, [0.4621763, 0.3656482, 0.3861880]))' \
        'all(list(line) == ["id", "label", "score", "logits", "probabilities"]
          and abs(sum(line["probabilities"]) - 1) < 1e-6 for line in lines)' \
        '[line["id"] for line in lines] == ["0", "1", "2"]'
    done
  done
  ok 1 classify --model bert_classify --text 'the cat sat on the mat.' --text-pair 'a blue dog' \
    --json --top-k 2
  json out 'lines[0]["label"] == "entails" and abs(lines[0]["score"] - 0.4746965) < 1e-5' \
    '[t["label"] for t in lines[0]["top"]] == ["entails", "neutral"]'
  echo '{"id": "p", "text": "the cat sat on the mat.", "text_pair": "a blue dog"}' >pairs.jsonl
  ok 1 classify --model bert_classify --in pairs.jsonl --out labels.jsonl
  [ ! -s out ]
  json labels.jsonl 'lines[0]["id"] == "p" and abs(lines[0]["score"] - 0.4746965) < 1e-5'
  ok 1 classify --model bert_classify --text 'a blue dog'
  grep -Eq '^0 +neutral +0\.3656$' out
}

@test "classify: a label for each token" {
  model bert_tokens
  ok 2 classify --model bert_tokens --text 'a blue dog' --json
  json out '[t["token"] for t in lines[0]["tokens"]] == ["a", "blue", "dog"]' \
    '{t["label"] for t in lines[0]["tokens"]} == {"I-PER"}' \
    'all(abs(t["score"] - score) < 1e-4
      for t, score in zip(lines[0]["tokens"], [0.6555, 0.3721, 0.3521]))'
}

@test "classify: says what it cannot do" {
  model bert_classify
  model bert_mlm
  refused 1 'is a masked language model, not a text or token classifier' \
    classify --model bert_mlm --text a
  refused 2 'text-pair is given 1 times for 2 texts' \
    classify --model bert_classify --text a --text b --text-pair c
  refused 1 'text 0 has [0-9]+ tokens, but the model.s context holds 48' \
    classify --model bert_classify --text "$(printf 'the cat %.0s' {1..40})"
  ok 1 classify --model bert_classify --truncation --text "$(printf 'the cat %.0s' {1..40})"
  refused 1 '--top-k is -1' classify --model bert_classify --text a --top-k -1
}

@test "fill: candidates for each mask, the likeliest first" {
  model bert_mlm
  for n in 1 2 3; do
    ok "$n" fill --model bert_mlm --text 'the [MASK] sat on' --top-k 3 --json --tp "$n"
    json out '[(c["token"], c["id"], c["position"])
      for c in lines[0]["candidates"]] == [("and", 74, 2), ("##a", 31, 2), ("##y", 55, 2)]' \
      'all(abs(c["score"] - score) < 1e-4
        for c, score in zip(lines[0]["candidates"], [0.0659, 0.054, 0.0311]))'
  done
  refused 1 'text 0 has no \[MASK\]' fill --model bert_mlm --text 'the cat'
  refused 1 '--top-k is 84; allowed: 1 to 83' fill --model bert_mlm --text '[MASK]' --top-k 84
  refused 1 'reads from left to right' fill --model "$DATA/gpt2_h3" --tokenizer "$DATA/words" \
    --text '[MASK]'
}

@test "embed: vectors to lines and to HDF5, by layer and pooling" {
  model bert_base
  ok 2 embed --model bert_base --text 'a blue dog' --json --tp 2
  json out 'len(lines[0]["embedding"]) == 30' \
    'all(abs(x - y) < 1e-4 for x, y in zip(lines[0]["embedding"], [0.6734, 0.9500, 0.1839]))'
  ok 1 embed --model bert_base --text 'a blue dog' --json --pooling none
  json out 'len(lines[0]["embedding"]) == 5 and all(len(v) == 30 for v in lines[0]["embedding"])'
  ok 1 embed --model bert_base --text a --json --normalize --layer 0 --pooling max
  json out 'abs(sum(x * x for x in lines[0]["embedding"]) - 1) < 1e-5'
  printf '%s\n' 'the cat sat on the mat.' 'a blue dog' 'xyz?' >texts.txt
  ok 1 embed --model bert_base --in texts.txt --out one.h5 --deterministic
  ok 3 embed --model bert_base --in texts.txt --out three.h5 --deterministic
  cmp one.h5 three.h5
  refused 1 '--layer is 3; allowed: -3 to 2' embed --model bert_base --text a --layer 3
  refused 1 "--pooling is 'sum'; allowed: mean, cls, last, max, none" \
    embed --model bert_base --text a --pooling sum
}

@test "score: the pseudo-log-likelihood of a masked model" {
  model bert_mlm
  for n in 1 2 3; do
    ok "$n" score --model bert_mlm --text 'a blue dog' --json --token-logprobs
    json out 'lines[0]["n_tokens"] == 5' 'abs(lines[0]["logprob"] - (-14.125636100769043)) < 1e-3' \
      'len(lines[0]["token_logprobs"]) == 5' \
      'lines[0]["token_logprobs"][0] is None and lines[0]["token_logprobs"][4] is None'
  done
}

@test "generate: a BERT opened as a causal language model, with the reference's warning" {
  model bert_mlm
  ok 2 generate --model bert_mlm --prompt 'the cat' --max-new-tokens 4 --do-sample false --json
  grep -q 'add `is_decoder=True.`' err
  [ "$(grep -c 'is_decoder' err)" = 1 ]
  json out 'lines[0]["n_new"] == 4'
}

# transformers 5.24, generate(do_sample=False, eos_token_id=None, pad_token_id=1) over the ids of
# the prompt. It hands RoBERTa positions from 0, where its forward counts from padding_idx + 1;
# greedy over forward alone begins 19 10 77.
@test "generate: a RoBERTa opened as a causal model, token for token as the reference's generate" {
  model roberta_mlm
  cp -r roberta_mlm decoder
  sed -i 's/"is_decoder": false/"is_decoder": true/; s/RobertaForMaskedLM/RobertaForCausalLM/' \
    decoder/config.json
  for n in 1 2; do
    ok $n generate --model roberta_mlm --prompt 'the cat sat on' --max-new-tokens 30 --ignore-eos \
      --json --tp $n
    grep -q 'positions count from 0 here' err
    json out 'lines[0]["ids"] == [42, 71, 47, 56, 3, 9, 3, 77, 22, 10, 10, 10, 10, 10, 10, 10, 10,
      56, 3, 19, 10, 10, 77, 10, 10, 24, 23, 3, 3, 77]'
    ok $n generate --model decoder --prompt 'the cat sat on' --max-new-tokens 30 --ignore-eos \
      --json --pp $n
    json out 'lines[0]["ids"] == [42, 71, 47, 56, 77, 71, 60, 3, 77, 10, 14, 77, 10, 10, 10, 14,
      77, 77, 10, 14, 77, 77, 77, 10, 14, 77, 56, 3, 3, 77]'
  done
  sed 's/"model_type": "roberta"/"model_type": "xlm-roberta"/; s/RobertaFor/XLMRobertaFor/' \
    decoder/config.json >xlm.json
  cp -r decoder xlm
  mv xlm.json xlm/config.json
  cp out one
  ok 1 generate --model xlm --prompt 'the cat sat on' --max-new-tokens 30 --ignore-eos --json
  cmp out one
  ok 1 convert decoder decoder.h5
  ok 2 generate --model decoder.h5 --prompt 'the cat sat on' --max-new-tokens 30 --ignore-eos --json
  cmp out one
}

@test "a checkpoint is opened with the head that a command wants, as its folder is" {
  for name in bert_mlm gpt2_classify; do
    model $name
    cp "$DATA/words/vocab.txt" $name
    ok 1 convert $name $name.h5
    ok 1 embed --model $name --text 'a blue dog' --json
    cp out one
    for n in 1 2 3; do
      ok $n embed --model $name.h5 --text 'a blue dog' --json --pp $(( n > 2 ? 1 : n ))
      json out 'all(abs(x - y) < 1e-5 for x, y in zip(lines[0]["embedding"],
        json.loads(open("one").read())["embedding"]))'
    done
  done
  for command in 'score --text' 'generate --max-new-tokens 3 --prompt'; do
    for name in bert_mlm gpt2_classify; do
      ok 1 ${command%% *} --model $name ${command#* } 'a blue dog' --json
      cp out one
      ok 1 ${command%% *} --model $name.h5 ${command#* } 'a blue dog' --json
      cmp out one
    done
  done
  model bert_classify
  ok 1 convert bert_classify c.h5
  local words='is a checkpoint of a text classifier, which has no head\.(bias|dense\.weight|weight)'
  refused 2 "c.h5: $words" score --model c.h5 --text a
}

@test "help says what a token, a pair and a cut text are" {
  for line in 'neighbors #ID' 'classify as `top`' 'classify --truncation .=right.left.' \
    'embed --truncation .=right.left.' \
    'data --pair-field TEXT +tasks classify and regress' \
    'data --label-field TEXT=label +tasks classify and regress' \
    'train --mlm-probability N=0.15 +task mlm'; do
    ok 1 ${line%% *} --help
    grep -Eq -- "${line#* }" out
  done
}
