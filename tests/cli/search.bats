# weft embed --chunk and weft search as their users meet them: the retrieval half of a lesson.
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1
  mkdir bert
  cp "$DATA/families/bert_base/config.json" "$DATA/families/bert_base/model.safetensors" \
    "$DATA/words/vocab.txt" bert
  python3 - >texts.jsonl <<'PY'
import json
words = "the cat sat on a mat and dog ran blue".split()
for i in range(40):
    text = " ".join(words[(i * 7 + k * k * (1 + i % 3)) % len(words)] for k in range(2 + i % 5))
    print(json.dumps({"id": f"t{i}", "text": text}))
PY
  "$WEFT" embed --model bert --in texts.jsonl --out mean.h5 --deterministic 2>err ||
    { cat err; return 1; }
  "$WEFT" embed --model bert --in texts.jsonl --out mean.jsonl --deterministic
  "$WEFT" embed --model bert --in texts.jsonl --out cls.h5 --pooling cls --layer 1 --normalize
}
setup() {
  in_folder
  ln -s "$S/bert" bert
}

@test "search: what a plain loop finds, by each metric; the same bytes on 1, 2 and 3 ranks" {
  printf '{"id":7,"text":"the cat sat"}\n{"text":"a blue dog"}\n' >queries.jsonl
  "$WEFT" embed --model bert --in queries.jsonl --out q.jsonl --deterministic
  for metric in cosine dot l2; do
    local args=(search --model bert --index "$S/mean.h5" --in queries.jsonl --metric $metric
      --top-k 4 --json --deterministic)
    ok 1 "${args[@]}"
    [ ! -s err ] || { cat err; return 1; }
    cp out one
    for n in 2 3; do
      ok $n "${args[@]}"
      cmp out one
    done
    python3 - out q.jsonl "$S/mean.jsonl" "$S/texts.jsonl" $metric <<'PY'
import json, math, sys
found, queries, rows, texts = ([json.loads(line) for line in open(f)] for f in sys.argv[1:5])
texts = {t["id"]: t["text"] for t in texts}
dot = lambda a, b: sum(x * y for x, y in zip(a, b))
length = lambda a: math.sqrt(dot(a, a))
score = {"dot": dot, "cosine": lambda a, b: dot(a, b) / length(a) / length(b),
         "l2": lambda a, b: length([x - y for x, y in zip(a, b)])}[sys.argv[5]]
sign = 1 if sys.argv[5] == "l2" else -1
assert [line["id"] for line in found] == [7, "1"], found
for line, query in zip(found, queries):
    assert list(line) == ["id", "neighbors"] and len(line["neighbors"]) == 4, line
    scores = {r["id"]: score(query["embedding"], r["embedding"]) for r in rows}
    best = sorted(sign * round(s, 9) for s in scores.values())[:4]
    for n, expected in zip(line["neighbors"], best):
        assert list(n) == ["id", "score", "text"] and n["text"] == texts[n["id"]], n
        assert abs(n["score"] - scores[n["id"]]) < 1e-9, (n, scores[n["id"]])
        assert abs(sign * n["score"] - expected) < 1e-8, (n, expected)
PY
  done
  ok 2 search --model bert --index "$S/mean.h5" --in queries.jsonl --out found.jsonl --tp 2
  [ ! -s out ]
  json found.jsonl 'len(lines) == 2 and all(len(line["neighbors"]) == 10 for line in lines)'
}

@test "search: a text finds itself; queries are embedded as the index says" {
  for index in mean cls; do
    ok 1 search --model bert --index "$S/$index.h5" --text 'the cat and the' \
      --in "$S/texts.jsonl" --metric l2 --top-k 1 --json
    json out 'len(lines) == 41' \
      'all(line["neighbors"][0]["score"] < 1e-4 for line in lines[1:])' \
      'all(json.dumps(line["neighbors"][0]["text"]) in open("'"$S"'/texts.jsonl").read()
        for line in lines)'
  done
  ok 1 search --model bert --index "$S/cls.h5" --text 'the cat' --top-k 1000 --json
  json out 'len(lines[0]["neighbors"]) == 40' \
    'len({n["id"] for n in lines[0]["neighbors"]}) == 40' \
    'all(abs(n["score"]) < 1.000001 for n in lines[0]["neighbors"])' \
    'lines[0]["neighbors"] == sorted(lines[0]["neighbors"], key=lambda n: -n["score"])'
  ok 1 search --model bert --index "$S/mean.h5" --text "the cat" --top-k 2
  [ "$(wc -l <out)" = 3 ]
  head -1 out | grep -qP '^0\tthe cat$'
  [ "$(grep -cP '^  t\d+ +\t-?\d\.\d{4}\t[a-z ]+$' out)" = 2 ]
  "$WEFT" search --help | grep -A2 -- --metric | tr -s ' \n' ' ' | grep -q 'l2 is the distance'
}

@test "search: a run log, as every command of texts has" {
  ok 2 search --model bert --index "$S/mean.h5" --text a --text 'the cat' --log s.log
  json s.log 'lines[0]["event"] == "start" and lines[0]["items"] == 2' \
    'lines[-1]["event"] == "end" and lines[-1]["reason"] == "done" and lines[-1]["items"] == 2'
}

@test "search: an index that embed did not finish: what it has" {
  # The vectors of texts with a dog are not finite, and the first of them is not in the first pass.
  cp -r "$S/bert" hot
  python3 - hot/model.safetensors hot/vocab.txt <<'PY'
import json, struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
size = struct.unpack("<Q", data[:8])[0]
name, tensor = next(item for item in json.loads(data[8:8 + size]).items()
                    if item[0].endswith("word_embeddings.weight"))
row = open(sys.argv[2], encoding="utf-8").read().split("\n").index("dog")
width = tensor["shape"][1]
begin = 8 + size + tensor["data_offsets"][0] + 4 * width * row
data[begin:begin + 4 * width] = struct.pack("<f", 3e38) * width
open(sys.argv[1], "wb").write(data)
with open("texts.txt", "w") as f:
    f.write("the cat\n" * 70 + "the dog\n" + "a mat\n" * 9)
PY
  failed 1 'text 70: the model.s results are not finite' \
    embed --model hot --in texts.txt --out part.h5
  for n in 1 2; do
    ok $n search --model hot --index part.h5 --text 'the cat' --top-k 100 --json
    [ "$(grep -c 'embed did not finish it; its first 64 of 80 vectors are searched' err)" = 1 ]
    json out 'len(lines[0]["neighbors"]) == 64' \
      '{n["id"] for n in lines[0]["neighbors"]} == {str(i) for i in range(64)}'
  done
}

@test "search: another model; rows that are no numbers" {
  cp -r "$S/bert" other
  ok 2 search --model other --index "$S/mean.h5" --text a
  [ "$(grep -c 'was made with bert, not with --model other' err)" = 1 ]
  ok 1 search --model ./bert/ --index "$S/mean.h5" --text a
  [ ! -s err ]

  # A row of NaN, written where the vector of t23 lies.
  cp "$S/mean.h5" nan.h5
  python3 - nan.h5 "$S/mean.jsonl" <<'PY'
import json, struct, sys
row = next(r for r in map(json.loads, open(sys.argv[2])) if r["id"] == "t23")["embedding"]
data = bytearray(open(sys.argv[1], "rb").read())
at = data.index(struct.pack(f"<{len(row)}f", *row))
data[at + 4:at + 8] = struct.pack("<f", float("nan"))
open(sys.argv[1], "wb").write(data)
PY
  for n in 1 2 3; do
    refused $n 'nan.h5: /embeddings: row 23 \(from 0\) is not finite' \
      search --model bert --index nan.h5 --text a
  done
}

@test "search: says what it cannot do" {
  model=(search --model bert)
  refused 1 '--index is missing: an .h5 file' "${model[@]}" --text a
  refused 2 'nowhere.h5: no such file' "${model[@]}" --index nowhere.h5 --text a
  refused 1 'there is no text: give --text or --in' "${model[@]}" --index "$S/mean.h5"
  refused 1 '--top-k is 0; allowed' "${model[@]}" --index "$S/mean.h5" --text a --top-k 0
  refused 1 "--metric is 'cos'; allowed: cosine, dot, l2" \
    "${model[@]}" --index "$S/mean.h5" --text a --metric cos
  "$WEFT" tokenizer "$CORPUS" --vocab-size 300 --out tok 2>/dev/null
  "$WEFT" data "$CORPUS" --tokenizer tok --out tokens.h5 2>/dev/null
  refused 3 'tokens.h5: has no /embeddings; it is no file that weft embed --out wrote' \
    "${model[@]}" --index tokens.h5 --text a
  echo text >text.h5
  refused 2 'text.h5: is not an HDF5 file' "${model[@]}" --index text.h5 --text a
  ok 1 embed --model bert --text a --pooling none --out none.h5
  refused 1 'none.h5: has a vector for each token' "${model[@]}" --index none.h5 --text a
  refused 2 'mean.h5: holds vectors of 30, but --model .*gpt2_h3 makes 48' \
    search --model "$DATA/gpt2_h3" --index "$S/mean.h5" --text a
  weft 1 "${model[@]}" --index "$S/mean.h5" --text a --text "$(printf 'the cat %.0s' {1..40})" \
    --json
  [ "$status" = 2 ] && grep -q 'text 1 has 8[0-9] tokens' err
  json out '[line["id"] for line in lines] == ["0"]'
  ok 1 "${model[@]}" --index "$S/mean.h5" --text "$(printf 'the cat %.0s' {1..40})" --truncation
}

@test "embed --chunk: pieces with ids of their own, which a search finds" {
  python3 - >book.jsonl <<'PY'
import json
print(json.dumps({"id": 5, "text": "the cat sat on the mat. a blue dog ran.\n\nthe mat sat."}))
print(json.dumps({"id": "x", "text": "a dog"}))
PY
  for n in 1 2 3; do
    ok $n embed --model bert --in book.jsonl --chunk 24 --overlap 8 --out book.h5 --deterministic
    cp book.h5 "$n.h5"
    cmp 1.h5 book.h5
  done
  h5dump -d /ids book.h5 | tr -d '\n ' | grep -q '"5.0","5.1","5.2","x.0"'
  h5dump -y -d /texts book.h5 | tr -d '\n' >dump
  grep -q '"the cat sat on the mat.",' dump
  grep -q '"a dog"' dump
  ok 1 search --model bert --index book.h5 --text 'the cat sat on the mat.' --top-k 4 --json
  json out 'lines[0]["neighbors"][0]["id"] == "5.0"' \
    'abs(lines[0]["neighbors"][0]["score"] - 1) < 1e-5' 'len(lines[0]["neighbors"]) == 4' \
    'all(len(n["text"]) <= 24 for n in lines[0]["neighbors"])'
  printf 'the cat sat\non the mat.\n\na blue dog ran\nand sat.\n' >book.txt
  ok 1 embed --model bert --in book.txt --chunk 24 --json
  json out '[line["id"] for line in lines] == ["0.0", "0.1"]'
  ok 1 embed --model bert --in book.txt --chunk 24 --documents line --json
  json out '[line["id"] for line in lines] == ["0.0", "1.0", "3.0", "4.0"]'
  ok 1 embed --model bert --in book.txt --documents paragraph --json
  json out '[line["id"] for line in lines] == ["0", "1"]'
}

@test "embed --chunk and --overlap: what they may be" {
  refused 1 '--overlap is 5 without --chunk' embed --model bert --text a --overlap 5
  refused 2 '--overlap is 9; allowed: 0 to 8, below --chunk' \
    embed --model bert --text a --chunk 9 --overlap 9
  refused 1 '--chunk is 0; allowed: ' embed --model bert --text a --chunk 0
  refused 1 '--overlap is -1; allowed: ' embed --model bert --text a --chunk 3 --overlap -1
  echo '{"text":"a","text_pair":"dog"}' >pair.jsonl
  refused 1 'text 0 is a pair, which --chunk does not cut' \
    embed --model bert --in pair.jsonl --chunk 9
}
