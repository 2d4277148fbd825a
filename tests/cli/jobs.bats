# What jobs of prompts (--in FILE --out FILE) take besides: results as they are done, fields that
# are kept, the batch lines of hosted services. That they go on when killed: tests/faults/jobs.bats.
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  mkdir chat
  cp "$DATA/tokenizer/tokenizer.json" chat
  echo '{"chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"}' \
    >chat/tokenizer_config.json
}
setup() {
  in_folder
  export OMP_NUM_THREADS=1
  gpt2=(--model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer")
}

# rejected N ARGS…: exit 2 after what can be served was.
rejected() {
  weft "$@" || return 1
  [ "$status" = 2 ] || { echo "weft $*: exit $status, not 2"; cat err; return 1; }
}

@test "--unordered: the same lines, whatever their order" {
  for i in $(seq 60); do
    echo "{\"text\": \"the water $i\", \"max_new_tokens\": $((i % 7 * 9 + 1))}"
  done >p.jsonl
  ok 1 generate "${gpt2[@]}" --in p.jsonl --ignore-eos --out ordered.jsonl
  for n in 1 3; do
    ok $n generate "${gpt2[@]}" --in p.jsonl --ignore-eos --out any.jsonl --unordered
    cmp <(sort ordered.jsonl) <(sort any.jsonl)
  done
}

@test "--keep-fields: what a line has for others comes back" {
  printf '%s\n' '{"text": "the", "source": {"book": 3}, "temperature": 1.0, "finish": "mine"}' \
    '{"text": "a", "id": 7, "label": [1, null]}' >p.jsonl
  for how in --json '--out o.jsonl'; do
    # shellcheck disable=SC2086
    ok 1 generate "${gpt2[@]}" --in p.jsonl --max-new-tokens 3 --keep-fields $how
    [ -e o.jsonl ] || cp out o.jsonl
    json o.jsonl 'lines[0]["source"] == {"book": 3}' '"temperature" not in lines[0]' \
      'lines[0]["finish"] == "length"' '"text" not in lines[0]' 'lines[1]["label"] == [1, None]' \
      'lines[1]["id"] == 7'
    rm o.jsonl
  done
  ok 1 generate "${gpt2[@]}" --in p.jsonl --max-new-tokens 3 --json
  json out '"source" not in lines[0]'
}

@test "--out F.h5: the lines of F.jsonl as arrays, when they are whole" {
  printf '%s\n' '{"text": "the water"}' '{"text": "a", "max_new_tokens": 2}' '{"no": 1}' >p.jsonl
  for n in 1 2; do
    for again in 1 2 3; do  # the third time from the lines alone
      [ $again != 3 ] || rm o.h5
      rejected $n generate "${gpt2[@]}" --in p.jsonl --max-new-tokens 4 --out o.h5 --logprobs
      for name in ids ids_offsets n_new; do h5dump -y -w 0 -d "/$name" o.h5; done |
        sed -n '/DATA {/,/}/s/^ *\([-0-9].*\)/\1/p' >arrays
      printf '%s\n' "$(h5ls o.h5 | awk '{print $1}' | tr '\n' ' ')" >>arrays
      json o.jsonl 'len(lines) == 2' \
        '[l.strip() for l in open("arrays")] == [
          ", ".join(str(i) for l in lines for i in l["ids"]), "0, 4, 6", "4, 2",
          "finish generated_text id ids ids_offsets logprobs logprobs_offsets n_new n_prompt " +
          "new_text prompt sample"]'
    done
    rm o.*
  done
  printf 'the\n' >t.txt
  ok 2 score "${gpt2[@]}" --in t.txt --out s.h5
  h5ls s.h5 | grep -q '^logprob  *Dataset {1}'
  refused 1 "also an .h5 file" score "${gpt2[@]}" --text the --out s2.h5
  printf '{"text": "a"}\n' >i.jsonl
  refused 1 '--out i.jsonl: is the file that --in reads' score "${gpt2[@]}" --in i.jsonl --out i.h5
}

@test "--out is not the file that --in reads" {
  printf 'the water\nthe people\n' >t.txt
  ln -s t.txt o.jsonl
  for n in 1 2; do
    refused $n '--out o.jsonl: is the file that --in reads' score "${gpt2[@]}" --in t.txt \
      --out o.jsonl
  done
  [ "$(wc -l <t.txt)" = 2 ]
}

@test "texts that are all rejected: nothing runs, and the same again" {
  printf '{"text": 5}\n{"text": "a", "top_p": 2}\n{"no": 1}\n' >p.jsonl
  for n in 1 2; do
    for _ in 1 2; do
      rejected $n generate "${gpt2[@]}" --in p.jsonl --out o.jsonl
      [ ! -e o.jsonl ] && [ ! -e o.jsonl.job ]
      json o.jsonl.rejects.jsonl '[l["line"] for l in lines] == [1, 2, 3]'
    done
  done
}

@test "--format openai: vectors of inputs, and what the tokens of an echo are worth" {
  python3 - >batch.jsonl <<'PY'
import json
def line(name, url, **body):
    print(json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body}))
line("v", "/v1/embeddings", model="e", input=["the water", "a"])
line("s", "/v1/completions", prompt="the little people", max_tokens=0, echo=True, logprobs=0)
line("w", "/v1/completions", prompt="the little people", max_tokens=3, echo=True, logprobs=1,
     temperature=0)
line("n", "/v1/completions", prompt="the", max_tokens=0)
line("o", "/v1/embeddings", input=["the"], dimensions=3)
line("c", "/v1/completions", prompt="the little people", max_tokens=3, logprobs=1, temperature=0)
PY
  printf 'the water\na\n' >v.txt
  echo 'the little people' >s.txt
  ok 1 embed "${gpt2[@]}" --in v.txt --json && cp out v.json
  ok 1 score "${gpt2[@]}" --in s.txt --json && cp out s.json
  for n in 1 2; do
    rejected $n generate "${gpt2[@]}" --format openai --in batch.jsonl --out o.jsonl
    json o.jsonl.rejects.jsonl '[l["line"] for l in lines] == [5]' \
      '"dimensions is 3" in lines[0]["reason"]'
    json o.jsonl '[l["custom_id"] for l in lines] == ["v", "s", "w", "n", "c"]'
    python3 - <<'PY'
import json
read = lambda p: [json.loads(l) for l in open(p)]
b = [l["response"]["body"] for l in read("o.jsonl")]
near = lambda x, y: len(x) == len(y) and all(abs(p - q) < 1e-5 for p, q in zip(x, y))
assert b[0]["object"] == "list" and b[0]["model"] == "e", b[0]
for got, expected in zip(b[0]["data"], read("v.json"), strict=True):
    assert near(got["embedding"], expected["embedding"]), (got, expected)
score = read("s.json")[0]
s, w, n, c = [x["choices"][0] for x in b[1:]]
assert s["text"] == "the little people" and s["finish_reason"] == "length"
assert b[1]["usage"] == {"prompt_tokens": len(s["logprobs"]["tokens"]), "completion_tokens": 0,
                         "total_tokens": len(s["logprobs"]["tokens"])}, b[1]["usage"]
logprobs = s["logprobs"]["token_logprobs"]
assert logprobs[0] is None and abs(sum(logprobs[1:]) - score["logprob"]) < 1e-4, (s, score)
assert w["text"] == s["text"] + c["text"] and len(c["logprobs"]["tokens"]) == 3
assert near(w["logprobs"]["token_logprobs"][1:], logprobs[1:] + c["logprobs"]["token_logprobs"])
assert n["text"] == "" and b[3]["usage"]["completion_tokens"] == 0
PY
    rm -r o.jsonl*
  done
}

@test "--format openai: a file made for a hosted service runs here" {
  python3 - >batch.jsonl <<'PY'
import json
def line(name, url, **body):
    print(json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body}))
line("a", "/v1/chat/completions", model="gpt-4o", max_tokens=5, temperature=0,
     messages=[{"role": "user", "content": "the water"}])
line("b", "/v1/completions", model="x", prompt=["the", "a"], max_tokens=4, n=2, logprobs=2,
     stream=True)
line("c", "/v1/images")
line("d", "/v1/completions", prompt="the", max_tokens="many")
line("e", "/v1/completions", prompt="the", max_tokens=4, seed=3)
line("f", "/v1/completions", prompt="the", max_tokens=4, seed=3)
print('{"no": "id"}')
PY
  chat=(--model "$DATA/gpt2_h5" --tokenizer "$S/chat" --format openai)
  for n in 1 2; do
    rejected $n generate "${chat[@]}" --in batch.jsonl --out o.jsonl
    json o.jsonl '[l["custom_id"] for l in lines] == ["a", "b", "e", "f"]' \
      'all(l["error"] is None and l["response"]["status_code"] == 200 for l in lines)' \
      'len({l["id"] for l in lines}) == 4' \
      'lines[0]["response"]["body"]["object"] == "chat.completion"' \
      'lines[0]["response"]["body"]["model"] == "gpt-4o"' \
      'lines[0]["response"]["body"]["choices"][0]["message"]["role"] == "assistant"' \
      'lines[0]["response"]["body"]["usage"]["completion_tokens"] == 5' \
      '[c["index"] for c in lines[1]["response"]["body"]["choices"]] == [0, 1, 2, 3]' \
      'all(len(c["logprobs"]["tokens"]) == 4 and len(c["logprobs"]["top_logprobs"][0]) >= 2
        for c in lines[1]["response"]["body"]["choices"])' \
      'lines[2]["response"]["body"]["choices"] == lines[3]["response"]["body"]["choices"]'
    json o.jsonl.rejects.jsonl '[l["line"] for l in lines] == [3, 4, 7]' \
      '"url is" in lines[0]["reason"] and "max_tokens" in lines[1]["reason"]' \
      '"custom_id" in lines[2]["reason"]'
    cp o.jsonl first.jsonl
    rm -r o.jsonl*
  done
  # The conversation as its template writes it, continued.
  ok 1 generate --model "$DATA/gpt2_h5" --tokenizer "$S/chat" --max-new-tokens 5 --json \
    --prompt $'user: the water\n'
  head -1 first.jsonl >chat.jsonl
  json chat.jsonl "$(python3 -c 'import json
print("lines[0][\"response\"][\"body\"][\"choices\"][0][\"message\"][\"content\"] ==",
  repr(json.loads(open("out").readline())["new_text"]))')"
  refused 1 '--format openai is a job' generate "${chat[@]}" --in batch.jsonl --json
}
