# The pages that commands write: attention, generations, maps, tokens; the same on any grid.
# tests/inspect/page looks at them in a browser.
load weft

setup_file() { make_model; }
setup() { in_folder; }

# header PAGE: what it shows, without the command that wrote it.
header() {
  python3 -B - "$1" <<'PY'
import json, re, sys

page = open(sys.argv[1]).read()
assert not re.search(r'(src|href)="?(https?:)?//|@import|url\((?!#)', page)
head = json.loads(re.search(r'<script id="weft" type="application/json">(.*?)</script>', page,
                            re.S).group(1))
head["command"] = ""
print(json.dumps(head))
for name, blob in re.findall(r'<script id="(b\d+)" type="application/octet-stream">(.*?)</script>',
                             page, re.S):
    print(json.dumps([name, blob.strip()]))
PY
}

@test "attention --out: every text and layer, the same on pipelines and replicas" {
  ok 1 attention --model "$S/run/model" --text 'the cat' --text 'a dog that was' --out one.html
  [ ! -s out ]
  header one.html >one
  json one 'len(lines[0]["texts"]) == 2' 'lines[0]["texts"][1]["text"] == "a dog that was"' \
    'lines[0]["texts"][0]["views"][0]["tokens"] == ["t", "he", " ca", "t"]' || return 1
  ok 2 attention --model "$S/run/model" --text 'the cat' --text 'a dog that was' --out two.html \
    --pp 2
  header two.html | cmp - one
  ok 2 attention --model "$S/run/model" --text 'the cat' --text 'a dog that was' --out dp.html \
    --json
  header dp.html | cmp - one
  [ "$(wc -l <out)" = 2 ]
}

@test "attention --compare: both models, or a sentence" {
  ok 1 attention --model "$S/run/model" --compare "$S/run/model" --text 'the cat' --out c.html
  header c.html >c
  json c 'len(lines[0]["models"]) == 2' 'len(lines[0]["texts"][0]["views"]) == 2'
  refused 1 '--compare .* --out is not given' attention --model "$S/run/model" --text a \
    --compare "$S/run/model"
  refused 1 'stdin can be read once' attention --model "$S/run/model" --in - --out c.html \
    --compare "$S/run/model"
  refused 2 'no such file or folder' attention --model "$S/run/model" --text a --out d.html \
    --compare nowhere
  [ ! -e d.html ]
  refused 1 'there is no folder|no such' attention --model "$S/run/model" --text a --out no/d.html
}

@test "a rejected text costs the others no page" {
  long=$(printf 'a dog %.0s' {1..60})
  for compare in '' "$S/run/model"; do
    refused 1 'rejected' attention --model "$S/run/model" --text "$long" --text 'the cat' \
      --out r.html ${compare:+--compare "$compare"}
    header r.html >r
    json r '[t["text"] for t in lines[0]["texts"]] == ["the cat"]' || return 1
    rm r.html
  done
}

@test "generate --attention: prompt and new tokens of each sample, on any grid" {
  options=(generate --model "$S/run/model" --prompt 'the cat' --prompt 'a' --max-new-tokens 5
    --do-sample --num-return-sequences 2 --seed 3)
  ok 1 "${options[@]}" --attention one.html
  header one.html >one
  json one 'len(lines[0]["texts"]) == 4' \
    'all(t["views"][0]["prompt_tokens"] < len(t["views"][0]["ids"]) for t in lines[0]["texts"])'
  ok 2 "${options[@]}" --attention two.html --dp 2
  header two.html | cmp - one
}

@test "neighbors and embed --plot, tokenize --html" {
  ok 2 neighbors --model "$S/run/model" --tp 2 '#97' '#120' --top-k 3 --plot n.html
  header n.html >n
  json n 'lines[0]["what"] == "tokens"' 'sum(p["asked"] for p in lines[0]["points"]) == 2' \
    '3 <= len(lines[0]["points"]) <= 8' '0 < lines[0]["explained"][0] <= 1'
  printf '%s\n' 'the cat' 'a dog' 'some cats' 'it was' 'they are' >texts.txt
  ok 1 embed --model "$S/run/model" --in texts.txt --plot e.html --out e.h5
  ok 2 embed --model "$S/run/model" --in texts.txt --plot e2.html --out e2.jsonl
  header e.html >e
  header e2.html >e2
  json e2 '[p["label"] for p in lines[0]["points"]] == ["the cat", "a dog", "some cats", "it was",
    "they are"]' || return 1
  [ "$(wc -l <e2.jsonl)" = "$(grep -c . texts.txt)" ]
  ok 1 embed --model "$S/run/model" --in texts.txt --out plain.jsonl
  ok 1 embed --model "$S/run/model" --in texts.txt --out e1.jsonl --plot e.html
  cmp plain.jsonl e1.jsonl
  refused 1 '--pooling none gives one a token' embed --model "$S/run/model" --text a --plot e.html \
    --pooling none
  ok 1 tokenize --model "$S/run/model" --text 'the <b>cat</b>' --html t.html
  grep -q 'title="0: id ' t.html
  ! grep -q '<b>' t.html
  grep -q '^some entries\|  some entries$' out
}
