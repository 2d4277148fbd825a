# Lists among the options of weft generate: every combination, and their comparison.
bats_require_minimum_version 1.5.0
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  cp -r "$DATA/gpt2_h5" one
  cp -r "$DATA/tokenizer" tokenizer
  cp -r one two
  echo '{"forced_eos_token_id": 9}' >two/generation_config.json
}

setup() {
  in_folder
  cp -r "$S/one" "$S/two" "$S/tokenizer" .
  generate=(generate --tokenizer tokenizer --prompt 'the water' --prompt over --do-sample)
}

@test "each combination is what it is alone, and the table counts it" {
  ok 1 "${generate[@]}" --model one,two --temperature 0.2,1.0 --max-new-tokens=3,6 --logprobs \
    --json --table t.csv
  cp out all.jsonl
  json all.jsonl 'len(lines) == 16' \
    'list(lines[0])[:4] == ["model", "temperature", "max_new_tokens", "id"]' \
    '[(l["model"], l["temperature"], l["max_new_tokens"]) for l in lines[::2]] == (
       [(m, t, n) for m in ("one", "two") for t in (0.2, 1.0) for n in (3, 6)])'
  for model in one two; do
    for temperature in 0.2 1.0; do
      for n in 3 6; do
        ok 1 "${generate[@]}" --model $model --temperature $temperature --max-new-tokens $n \
          --logprobs --json
        cat out >>alone.jsonl
      done
    done
  done
  python3 - <<'END'
import csv, json, math
lines = [json.loads(l) for l in open("all.jsonl")]
alone = [json.loads(l) for l in open("alone.jsonl")]
settings = ["model", "temperature", "max_new_tokens"]
assert [{k: v for k, v in l.items() if k not in settings} for l in lines] == alone
rows = list(csv.DictReader(open("t.csv")))
assert len(rows) == 16
for row, line in zip(rows, lines):
    assert [row[s] for s in settings] == [str(line[s]) for s in settings]
    assert row["prompt"] == line["prompt"]
    ids = line["ids"]
    assert int(row["new tokens"]) == len(ids)
    for name, n in (("distinct-1", 1), ("distinct-2", 2), ("repeated 4-grams", 4)):
        grams = [tuple(ids[i:i + n]) for i in range(len(ids) - n + 1)]
        if not grams:
            assert row[name] == ""
            continue
        share = len(set(grams)) / len(grams)
        assert abs(float(row[name]) - (1 - share if n == 4 else share)) < 6e-4, (name, row)
    perplexity = math.exp(-sum(line["logprobs"]) / len(ids))
    assert abs(float(row["perplexity"]) / perplexity - 1) < 1e-4 + 6e-3 / perplexity
    assert float(row["seconds"]) >= 0
END
}

@test "the comparison on the terminal, in Markdown and as a page" {
  ok 1 "${generate[@]}" --model one --max-new-tokens 3,6
  grep -Eq '^Combinations' out
  grep -Eq '^max_new_tokens +texts +new tokens +distinct-1' out
  grep -Eq '^6 +2 +6\.0 ' out
  grep -Eq '^max_new_tokens +prompt +continuation' out
  grep -Eq '^3 +the water +' out
  [ "$(wc -L <out)" -le 100 ]
  ok 1 "${generate[@]}" --model one --max-new-tokens 3,6 --table t.md
  [ ! -s out ]
  grep -q '^| max_new_tokens | texts | new tokens | distinct-1 |' t.md
  grep -q '^| 6 | 2 | 6.0 |' t.md
  grep -q '^| 3 | over | ' t.md
  ok 1 "${generate[@]}" --model one --max-new-tokens 3,6 --table t.html
  grep -q '<table' t.html
  # Without a list too.
  ok 1 "${generate[@]}" --model one --max-new-tokens 3 --table t.md
  grep -q '^| prompt | continuation | new tokens |' t.md
}

@test "a sweep is the same on every grid" {
  local lists=(--model one,two --temperature 0.5,1.0 --max-new-tokens 4 --table t.csv)
  ok 1 "${generate[@]}" "${lists[@]}" --out one.jsonl
  [ ! -s out ]
  cut -d, -f1-7 t.csv >one.csv
  for grid in "2 --tp 2" "2 --pp 2" "3 --dp 3"; do
    # shellcheck disable=SC2086
    ok ${grid%% *} "${generate[@]}" "${lists[@]}" --out many.jsonl ${grid#* }
    cmp one.jsonl many.jsonl
    cut -d, -f1-7 t.csv | cmp - one.csv
  done
}

@test "a text that one combination rejects goes on in the others" {
  printf '{"text": "over"}\n{"text": "%s"}\n' "$(yes water | head -40 | tr '\n' ' ')" >in.jsonl
  weft 1 generate --tokenizer tokenizer --model one --in in.jsonl --max-new-tokens 3,80 --json
  [ "$status" = 2 ]
  json out '[(l["max_new_tokens"], l["id"]) for l in lines] == [(3, "0"), (3, "1"), (80, "0")]'
  grep -q '^weft: 1 of 2 texts was rejected' err
}

@test "what cannot be is said before anything runs" {
  refused 1 "^weft: --temperature is '0.2,', a list with an empty value" \
    "${generate[@]}" --model one --temperature 0.2,
  refused 2 "^weft: --temperature is 'warm'; it must be a finite number" \
    "${generate[@]}" --model one --temperature 0.2,warm
  refused 1 '^weft: --top-p is 2; allowed' "${generate[@]}" --model one --top-p 0.5,2
  refused 1 "^weft: --table is 't.txt'; allowed: a file that ends in .md, .csv or .html" \
    "${generate[@]}" --model one --table t.txt
  refused 1 '^weft: --log is given beside --table or a list' \
    "${generate[@]}" --model one --top-p 0.5,0.6 --log run.jsonl
  refused 1 '^weft: --top-k is given twice, as lists' \
    "${generate[@]}" --model one --top-k 1,2 --top-k 3,4
  refused 1 'three' "${generate[@]}" --model one,three --max-new-tokens 1
}
