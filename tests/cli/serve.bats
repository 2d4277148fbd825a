# weft serve: a model behind HTTP, on one rank and on two.
bats_require_minimum_version 1.5.0
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  cat >turns.jinja <<'END'
{% for m in messages %}{{ m.role }}: {{ m.content }}
{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}
END
}
setup() {
  in_folder
  model=(--model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer")
}
teardown() {
  [ -z "$server" ] || ! kill -0 "$server" 2>/dev/null || kill -KILL "$server"
}

# serve N ARGS…: a server of the test's own, at $(cat url).
serve() {
  local n=$1 i launcher=()
  shift
  # shellcheck disable=SC2206
  [ "$n" = 1 ] || launcher=($WEFT_MPIEXEC "$n")
  timeout -k 5 "${LIMIT:-120}" "${launcher[@]}" "$WEFT" serve "${model[@]}" --port 0 \
    --served-model-name tiny --chat-template "$S/turns.jinja" "$@" >url 2>log &
  server=$!
  for i in $(seq 600); do
    [ ! -s url ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  cat log
  return 1
}

# ranks PID: the processes of weft at and below it.
ranks() {
  local child
  [ "$(cat "/proc/$1/comm" 2>/dev/null)" = weft ] && echo "$1"
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do ranks "$child"; done
}

# stops [SIGNAL] [all|last]: its ranks, or the last one, are told to stop; it ends with 3 and one
# sentence.
stops() {
  local code=0 pids
  # shellcheck disable=SC2207
  pids=($(ranks "$server"))
  [ "${2:-all}" = all ] || pids=("${pids[-1]}")
  kill -"${1:-TERM}" "${pids[@]}"
  wait "$server" || code=$?
  [ "$code" = 3 ] || { echo "exit $code"; cat log; return 1; }
  [ "$(grep -c '^weft: stopped by a signal$' log)" = 1 ] || { cat log; return 1; }
}

# ask PATH [BODY]: the status, and the answer in the file `answer`.
ask() {
  python3 - "$(cat url)$1" "${2-}" "${KEY-}" <<'PY'
import sys, urllib.request, urllib.error
url, body, key = sys.argv[1:]
r = urllib.request.Request(url, data=body.encode() if body else None)
r.add_header("Content-Type", "application/json")
if key:
    r.add_header("Authorization", "Bearer " + key)
try:
    answer = urllib.request.urlopen(r, timeout=60)
except urllib.error.HTTPError as error:
    answer = error
open("answer", "wb").write(answer.read())
print(answer.status)
PY
}

@test "serve: the texts of weft generate, on one rank, tp 2 and pp 2" {
  printf '%s\n' '{"text": "the water", "do_sample": false}' \
    '{"text": "a house", "do_sample": true, "top_k": 0, "temperature": 0.7, "top_p": 0.9,
      "num_return_sequences": 3, "seed": 5}' | tr -d '\n' | sed 's/}{/}\n{/' >lines.jsonl
  ok 1 generate "${model[@]}" --in lines.jsonl --max-new-tokens 20 --logprobs --json
  mv out expected
  for grid in "1" "2 --tp 2" "2 --pp 2"; do
    set -- $grid
    rm -f url
    serve "$@"
    [ "$(ask /health)" = 200 ]
    [ "$(ask /v1/completions '{"model": "tiny", "prompt": "the water", "max_tokens": 20,
      "temperature": 0, "logprobs": 2}')" = 200 ]
    mv answer greedy
    [ "$(ask /v1/completions '{"prompt": ["a house"], "max_tokens": 20, "temperature": 0.7,
      "top_p": 0.9, "n": 3, "seed": 5, "echo": true}')" = 200 ]
    mv answer drawn
    stops
    python3 - <<'PY'
import json
expected = [json.loads(line) for line in open("expected")]
greedy, drawn = json.load(open("greedy")), json.load(open("drawn"))
choice = greedy["choices"][0]
assert choice["text"] == expected[0]["new_text"], (choice, expected[0])
assert choice["finish_reason"] == {"eos": "stop"}.get(expected[0]["finish"], expected[0]["finish"])
assert greedy["usage"] == {"prompt_tokens": expected[0]["n_prompt"],
  "completion_tokens": expected[0]["n_new"],
  "total_tokens": expected[0]["n_prompt"] + expected[0]["n_new"]}
logprobs = choice["logprobs"]
for ours, theirs in zip(logprobs["token_logprobs"], expected[0]["logprobs"], strict=True):
    assert abs(ours - theirs) < 1e-5
for own, top in zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True):
    assert own == max(top.values()) and 1 <= len(top) <= 2
assert [c["index"] for c in drawn["choices"]] == [0, 1, 2]
assert [c["text"] for c in drawn["choices"]] == [e["generated_text"] for e in expected[1:]]
PY
  done
}

@test "serve: echoed prompts have the log-probabilities of weft score, without new tokens too" {
  ok 1 score "${model[@]}" --text "the water and the house" --token-logprobs --json
  mv out expected
  for n in 1 2; do
    rm -f url
    serve $n --tp $n
    [ "$(ask /v1/completions '{"prompt": ["the water and the house", [5, 6, 7]], "max_tokens": 0,
      "echo": true, "logprobs": 1}')" = 200 ]
    mv answer none
    [ "$(ask /v1/completions '{"prompt": "the water and the house", "max_tokens": 1,
      "temperature": 0, "echo": true, "logprobs": 1}')" = 200 ]
    mv answer one
    stops
    python3 - <<'PY'
import json
expected = json.loads(open("expected").readline())["token_logprobs"]
none, one = json.load(open("none"))["choices"], json.load(open("one"))["choices"][0]
assert none[0]["text"] == "the water and the house"
own = none[0]["logprobs"]["token_logprobs"]
assert own[0] is None and none[0]["logprobs"]["top_logprobs"][0] is None
for ours, theirs in zip(own[1:], expected[1:], strict=True):
    assert abs(ours - theirs) < 1e-5
assert "".join(none[0]["logprobs"]["tokens"]) == none[0]["text"]
assert len(none[1]["logprobs"]["tokens"]) == 3
for o, top in zip(own[1:], none[0]["logprobs"]["top_logprobs"][1:]):
    assert o <= max(top.values()) and o in top.values()
assert len(one["logprobs"]["tokens"]) == len(own) + 1
for ours, theirs in zip(one["logprobs"]["token_logprobs"][1:-1], own[1:], strict=True):
    assert abs(ours - theirs) < 1e-5  # another pass
assert one["text"].startswith(none[0]["text"])
PY
  done
}

@test "serve: streams, chats and vectors" {
  ok 1 embed "${model[@]}" --text "the water" --json
  mv out vector
  ok 1 chat "${model[@]}" --chat-template "$S/turns.jinja" --prompt "the water" --max-new-tokens 9 \
    --json
  mv out said
  for n in 1 2; do
    rm -f url
    serve $n --tp $n
    [ "$(ask /v1/completions '{"prompt": "the water", "max_tokens": 20, "seed": 1, "stop": "e"}')" \
      = 200 ]
    mv answer whole
    [ "$(ask /v1/completions '{"prompt": "the water", "max_tokens": 20, "seed": 1, "stop": "e",
      "stream": true, "stream_options": {"include_usage": true}}')" = 200 ]
    mv answer streamed
    [ "$(ask /v1/chat/completions '{"messages": [{"role": "user", "content": "the water"}],
      "max_tokens": 9, "temperature": 0}')" = 200 ]
    mv answer chat
    [ "$(ask /v1/chat/completions '{"messages": [{"role": "user", "content": "the water"}],
      "max_tokens": 9, "temperature": 0, "stream": true}')" = 200 ]
    mv answer chats
    [ "$(ask /v1/embeddings '{"input": ["the water"]}')" = 200 ]
    mv answer vectors
    [ "$(ask /v1/embeddings '{"input": "the water", "encoding_format": "base64"}')" = 200 ]
    [ "$(ask /v1/models)" = 200 ]
    [ "$(ask /metrics)" = 200 ]
    grep -q '^weft_generation_tokens_total [1-9]' answer
    [ "$(tail -1 answer)" = '# EOF' ]
    stops
    python3 - <<'PY'
import json
def events(name):
    lines = [line[6:] for line in open(name).read().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]
whole, streamed = json.load(open("whole")), events("streamed")
text = "".join(c["text"] for e in streamed for c in e["choices"])
assert text == whole["choices"][0]["text"] and "e" not in text
assert streamed[-1]["usage"] == whole["usage"] and streamed[-1]["choices"] == []
assert streamed[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
said = json.loads(open("said").readline())["content"]
chat, chats = json.load(open("chat")), events("chats")
assert chat["choices"][0]["message"] == {"role": "assistant", "content": said}
assert "".join(e["choices"][0]["delta"].get("content", "") for e in chats) == said
assert chats[0]["choices"][0]["delta"]["role"] == "assistant"
ours, expected = json.load(open("vectors")), json.loads(open("vector").readline())
assert max(abs(a - b) for a, b in
           zip(ours["data"][0]["embedding"], expected["embedding"], strict=True)) < 1e-6
PY
  done
}

@test "serve: what is wrong is said by status and name" {
  echo secret >keys
  KEY=secret
  serve 1 --api-key-file keys
  [ "$(ask /v1/completions '{"prompt": "a", "n": 0}')" = 400 ]
  json_file answer 'whole["error"]["param"] == "n"' '"n is 0" in whole["error"]["message"]'
  [ "$(ask /v1/completions 'no json')" = 400 ]
  [ "$(ask /v1/completions '{"prompt": "a", "max_tokens": 500}')" = 400 ]
  json_file answer 'whole["error"]["code"] == "context_length_exceeded"'
  [ "$(ask /v1/completions '{"prompt": "a", "model": "gpt-4"}')" = 404 ]
  [ "$(ask /v1/nothing)" = 404 ]
  json_file answer '"/v1/completions" in whole["error"]["message"]'
  [ "$(ask /v1/completions)" = 405 ]
  head -c 17000000 /dev/zero | tr '\0' ' ' >large
  python3 - "$(cat url)" <<'PY'
import sys, urllib.request, urllib.error
r = urllib.request.Request(sys.argv[1] + "/v1/completions", data=open("large", "rb").read())
try:
    urllib.request.urlopen(r)
    sys.exit("taken")
except urllib.error.HTTPError as error:
    assert error.status == 413, error.status
except (BrokenPipeError, ConnectionResetError, urllib.error.URLError):
    pass  # the answer came while the body was sent
PY
  for KEY in '' wrong; do
    [ "$(ask /v1/completions '{"prompt": "a"}')" = 401 ]
    json_file answer 'whole["error"]["code"] == "invalid_api_key"'
  done
  KEY=secret
  [ "$(ask /v1/completions '{"prompt": "a", "max_tokens": 2}')" = 200 ]
  stops INT
  : >none
  refused 1 '--api-key-file none holds no key' serve "${model[@]}" --port 0 --api-key-file none
  refused 2 '--dp is 2; allowed: 1' serve "${model[@]}" --port 0
  refused 1 '--host 192.0.2.1 --port 0 cannot be had' serve "${model[@]}" --port 0 \
    --host 192.0.2.1
}

# Clients that hold on for as long as the server writes: one that goes away frees its place.
@test "serve: a client that dies, a full queue, a time that is over" {
  for n in 1 2; do
    rm -f url
    serve $n --tp $n --max-batch 1 --max-queue 1
    python3 - "$(cat url)" <<'PY'
import http.client, json, socket, sys, time, urllib.request, urllib.error
host = sys.argv[1].removeprefix("http://")
def send(body):
    c = http.client.HTTPConnection(host, timeout=60)
    c.request("POST", "/v1/completions", json.dumps(body))
    return c
def metric(name):
    text = urllib.request.urlopen(sys.argv[1] + "/metrics").read().decode()
    return float(next(l.split()[1] for l in text.splitlines() if l.startswith(name + " ")))
def until(test):
    end = time.time() + 30
    while not test():
        assert time.time() < end
        time.sleep(0.02)
endless = {"prompt": "the water", "max_tokens": 90, "ignore_eos": True, "n": 100, "seed": 1}
running = send(endless)
until(lambda: metric("weft_continuations_running") > 0)
waiting = send({"prompt": "a", "max_tokens": 2})
until(lambda: metric("weft_requests_waiting") == 1)
third = send({"prompt": "a", "max_tokens": 2})
answer = third.getresponse()
assert answer.status == 429, answer.status
assert json.load(answer)["error"]["code"] == "queue_full"
running.close()
assert waiting.getresponse().status == 200
until(lambda: metric("weft_requests_dropped_total") == 1)
# One that never ends its body keeps nobody waiting.
name, port = host.split(":")
slow = socket.create_connection((name, int(port)))
slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
assert send({"prompt": "a", "max_tokens": 2}).getresponse().status == 200
# Of a stream likewise.
stream = send({**endless, "stream": True})
assert stream.getresponse().readline().startswith(b"data: ")
stream.close()
last = send({"prompt": "a", "max_tokens": 2})
assert last.getresponse().status == 200
until(lambda: metric("weft_requests_dropped_total") == 2)
until(lambda: metric("weft_continuations_running") == 0)
PY
    stops
  done
  rm -f url
  serve 1 --max-batch 1 --request-timeout 0.2
  [ "$(ask /v1/completions '{"prompt": "the water", "max_tokens": 90, "n": 128}')" = 504 ]
  [ "$(ask /v1/completions '{"prompt": "the water", "max_tokens": 1}')" = 200 ]
  stops
}

@test "serve: the walltime ends it in time, with what waits told so" {
  serve 1 --walltime 6
  local code=0
  wait "$server" || code=$?
  [ "$code" = 3 ]
  grep -q '^weft: stopped by the walltime, .* before its end (--walltime 6' log
}

@test "serve: ranks that wait for clients leave their cores alone" {
  serve 2 --tp 2
  sleep 0.5
  local before after
  used() {
    # shellcheck disable=SC2046
    awk '{n += $14 + $15} END {print n}' $(ranks "$server" | sed 's|.*|/proc/&/stat|')
  }
  before=$(used)
  sleep 2
  after=$(used)
  [ $((after - before)) -lt 60 ] || { echo "$((after - before)) hundredths of a second"; false; }
  stops TERM last
}
