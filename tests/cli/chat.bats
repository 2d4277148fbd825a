# weft chat: conversations from flags and stdin, on one rank and more.
load weft

setup_file() {
  make_model
  cat >chatml.jinja <<'END'
{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}
END
  "$WEFT" tokenizer "$CORPUS" --vocab-size 300 --special-tokens '<|endoftext|>' \
    --special-tokens '<|im_start|>' --special-tokens '<|im_end|>' --out chat_tok 2>/dev/null
  "$WEFT" data "$CORPUS" --tokenizer chat_tok --out chat.h5 2>/dev/null
  "$WEFT" train --data chat.h5 --layers 3 --width 24 --heads 3 --context 160 --batch-size 4 \
    --steps 3 --out chat_run 2>/dev/null
  "$WEFT" train --data chat.h5 --layers 2 --width 24 --heads 2 --context 4096 --batch-size 1 \
    --steps 1 --out long_run 2>/dev/null
}
setup() {
  in_folder
  chat=(chat --model "$S/chat_run/model" --chat-template "$S/chatml.jinja" --ignore-eos \
    --max-new-tokens 6)
  long=(chat --model "$S/long_run/model" --chat-template "$S/chatml.jinja" --ignore-eos)
}

@test "chat: a JSON line an answer, the history before it, the same on every grid" {
  ok 1 "${chat[@]}" --prompt 'The cat' --prompt 'And then?' --system 'Be brief.' --json
  json out 'len(lines) == 2' \
    'list(lines[0]) == ["role", "content", "ids", "finish", "n_prompt", "n_new"]' \
    'lines[0]["role"] == "assistant"' \
    'lines[0]["n_new"] == len(lines[0]["ids"]) == 6' 'lines[0]["finish"] == "length"' \
    'lines[1]["n_prompt"] > lines[0]["n_prompt"] + 6'
  cp out one
  for grid in "2 --pp 2" "3 --tp 3" "2 --dp 2"; do
    set -- $grid
    local n=$1
    shift
    ok "$n" "${chat[@]}" "$@" --prompt 'The cat' --prompt 'And then?' --system 'Be brief.' --json
    cmp out one
  done
}

@test "chat: stdin is a message a line; /reset forgets, /quit ends, the answers alone are shown" {
  printf 'The cat\n\n/reset\nThe cat\n' >lines
  for n in 1 2; do
    ok "$n" "${chat[@]}" --json <lines
    json out 'len(lines) == 2' 'lines[0] == lines[1]'
  done
  printf 'The cat\n/quit\nThe cat\n' >lines
  ok 1 "${chat[@]}" --json <lines
  json out 'len(lines) == 1'
  ok 1 "${chat[@]}" <lines
  [ ! -s err ]
  ok 1 "${chat[@]}" </dev/null
  [ ! -s out ]
}

@test "chat: the text streamed is the text told in JSON" {
  ok 1 "${chat[@]}" --prompt 'The cat' --json
  python3 -c 'import json; print(json.loads(open("out").readline())["content"])' >told
  ok 1 "${chat[@]}" --prompt 'The cat'
  cmp out told
}

@test "chat: what it refuses" {
  for n in 1 2; do
    refused $n 'its tokenizer has no chat template.*--chat-template FILE' \
      chat --model "$S/chat_run/model" --prompt a
    refused $n 'the conversation has [0-9]+ tokens, but .* context holds 160' "${chat[@]}" \
      --prompt "$(head -c 2000 "$CORPUS" | tr '\n' ' ')"
    refused $n 'allowed: 1, since a conversation' "${chat[@]}" --prompt a --num-return-sequences 2 \
      --do-sample
    refused $n 'nowhere.jinja: ' chat --model "$S/chat_run/model" --chat-template nowhere.jinja \
      --prompt a
    refused $n 'is a masked language model; chat needs a causal' \
      chat --model "$DATA/families/bert_mlm" --prompt a
  done
  printf '{%% for %%}' >bad.jinja
  refused 2 'chat template, line 1' chat --model "$S/chat_run/model" --chat-template bad.jinja \
    --prompt a
}

# The second answer, from a fresh engine too that reads the whole conversation as one message.
@test "chat: what a turn begins with is read once, and the texts are those of reading it again" {
  local first
  first=$(head -c 300 "$CORPUS" | tr '\n' ' ')
  ok 1 "${long[@]}" --max-new-tokens 6 --prompt "$first" --prompt 'And then?' --json --log c.log
  cp out one
  json out 'lines[0]["n_prompt"] > 128'
  json c.log 'lines[-1]["shared_tokens"] >= 128' 'lines[-1]["shared_tokens"] % 64 == 0' \
    'lines[-1]["queue_s"]["p99"] < lines[-1]["job_s"]'
  echo '{{ messages[0].content }}' >raw.jinja
  python3 - "$first" <<'PY' >whole
import json, sys
answer = json.loads(open("one").readline())["content"]
turn = "<|im_start|>{}\n{}<|im_end|>\n"
print(turn.format("user", sys.argv[1]) + turn.format("assistant", answer)
      + turn.format("user", "And then?") + "<|im_start|>assistant", end="\n.")
PY
  local whole
  whole=$(cat whole)
  ok 1 "${long[@]}" --max-new-tokens 6 --chat-template raw.jinja --prompt "${whole%.}" --json
  cat one out >both
  json both 'lines[1] == lines[2]'
  for grid in "--tp 2" "--pp 2" "--dp 2"; do
    # shellcheck disable=SC2086
    ok 2 "${long[@]}" $grid --max-new-tokens 6 --prompt "$first" --prompt 'And then?' --json \
      --log g.log
    cmp out one
    json g.log 'lines[-1]["shared_tokens"] >= 128'
    rm g.log
  done
}

# The third turn does not fit where the first two did: it shares nothing, the fourth what it read.
@test "chat: a conversation outgrows its cache and goes on" {
  local first
  first=$(head -c 900 "$CORPUS" | tr '\n' ' ')
  printf '%s\n' "$first" 'And then?' "$first" 'Why?' >lines
  ok 1 "${long[@]}" --max-new-tokens 6 --json --log c.log <lines
  json out 'len(lines) == 4' \
    'lines[1]["n_prompt"] + 6 < 2 * (lines[0]["n_prompt"] + 6) < lines[2]["n_prompt"] + 6'
  tail -n 1 c.log >>out
  json out 'sum(lines[i]["n_prompt"] // 64 * 64 for i in (0, 2)) <= lines[4]["shared_tokens"]' \
    'lines[4]["shared_tokens"] <= sum((lines[i]["n_prompt"] + 6) // 64 * 64 for i in (0, 2))'
}

@test "chat: /system, /undo, /save, /help and //, the same on every grid" {
  cat >lines <<'END'
/system Be brief.
The cat
And then?
/undo
/save saved.json
And then?
/reset
The cat
/system
/help
//help
/save last.json
/quit
END
  for grid in "1" "2 --tp 2" "2 --pp 2" "2 --dp 2"; do
    # shellcheck disable=SC2086
    set -- $grid
    local n=$1
    shift
    rm -f ./*.json
    ok "$n" "${chat[@]}" "$@" --json <lines
    json out 'len(lines) == 5' 'lines[0] == lines[3]' 'lines[1] == lines[2]'
    json_file saved.json '[m["role"] for m in whole] == ["system", "user", "assistant"]' \
      'whole[0]["content"] == "Be brief."' 'whole[1]["content"] == "The cat"'
    json_file last.json '[m["content"] for m in whole][::2] == ["Be brief.", *[m["content"] for
      m in whole if m["role"] == "assistant"]]' 'whole[3]["content"] == "/help"'
    grep -qx 'Be brief.' err
    grep -Eq '^/save FILE +writes' err
    [ "$n" = 1 ] && cp out one
    cmp out one
  done
  ok 1 "${chat[@]}" --prompt 'The cat' --prompt 'And then?' --system 'Be brief.' --json
  cat out one >both
  json both 'lines[:2] == lines[2:4]'
}

@test "chat: what lines it refuses, where nobody sits at a terminal" {
  for n in 1 2; do
    printf '/sytem a\n' >lines
    refused $n "no command '/sytem' \(did you mean '/system'\?\)" "${chat[@]}" <lines
    printf '/save nowhere/file\n' >lines  # what rank 0 alone meets
    refused $n 'nowhere' "${chat[@]}" <lines
  done
  printf '/undo\n' >lines
  refused 1 'no question has been answered' "${chat[@]}" <lines
  printf '/save\n' >lines
  refused 1 '/save is followed by nothing; allowed: /save FILE' "${chat[@]}" <lines
  printf '/reset it\n' >lines
  refused 1 "/reset is followed by 'it'; allowed: nothing" "${chat[@]}" <lines
  printf '/system %s\n' "$(head -c 2000 "$CORPUS" | tr '\n' ' ')" >lines
  refused 1 'context holds 160' "${chat[@]}" <lines
}

# in_terminal N STEPS… -- ARGS…: on N ranks (terminal.py). Fills status, out and err.
in_terminal() {
  local n=$1 steps=() start=()
  shift
  while [ "$1" != -- ]; do
    steps+=("$1")
    shift
  done
  shift
  # shellcheck disable=SC2206
  [ "$n" = 1 ] || start=($WEFT_MPIEXEC "$n")
  status=0
  timeout -k 5 120 python3 "$BATS_TEST_DIRNAME/terminal.py" "${steps[@]}" -- "${start[@]}" "$WEFT" \
    "$@" 2>talk || status=$?
}

@test "chat: Ctrl-C ends an answer, which stays as far as it came" {
  for grid in "1" "2 --tp 2" "2 --pp 2" "2 --dp 2"; do
    # shellcheck disable=SC2086
    set -- $grid
    local n=$1
    shift
    in_terminal "$n" prompts:1 'say:The cat' more int prompts:2 'say:And then?' more int prompts:3 \
      'say:/save saved.json' prompts:4 say:/quit -- "${long[@]}" "$@" --max-new-tokens 3000 \
      --log c.log
    [ "$status" = 0 ] || { cat talk err; false; }
    json_file saved.json '[m["role"] for m in whole] == ["user", "assistant"] * 2' \
      'all(m["content"] for m in whole)'
    # What the model writes need not be UTF-8; what is saved is.
    python3 -c 'import json
answers = [m["content"] for m in json.load(open("saved.json"))][1::2]
shown = open("out", errors="replace").read()
assert shown.replace("\ufffd", "") == "".join(a + "\n" for a in answers).replace("\ufffd", "")'
    json c.log 'lines[-1]["reason"] == "done"' '0 < lines[-1]["new_tokens"] < 6000' \
      'lines[-1]["items"] == 2'
    rm c.log
  done
}

@test "chat: Ctrl-C at the prompt is answered, twice in a row it ends the conversation" {
  for n in 1 2; do
    in_terminal $n prompts:1 int "err:/quit ends" prompts:2 "say:The cat" prompts:3 int prompts:4 \
      int -- "${chat[@]}" --log c.log
    [ "$status" = 3 ] || { cat talk err; false; }
    grep -q '^weft: stopped by a signal$' err
    json c.log 'lines[-1]["reason"] == "signal"' 'lines[-1]["items"] == 1'
    rm c.log
  done
}

@test "chat: in a terminal a mistake is said, and the conversation is what it was" {
  local much
  much=$(head -c 2000 "$CORPUS" | tr '\n' ' ')
  for grid in "1" "2 --tp 2" "2 --dp 2"; do
    # shellcheck disable=SC2086
    set -- $grid
    local n=$1
    shift
    in_terminal "$n" prompts:1 'say:The cat' prompts:2 "say:$much" 'err:/reset begins anew' \
      prompts:3 say:/sytem 'err:did you mean' prompts:4 'say:/save nowhere/file' err:nowhere \
      prompts:5 'say:And then?' prompts:6 end -- "${chat[@]}" "$@" --json
    [ "$status" = 0 ] || { cat talk err; false; }
    json out 'len(lines) == 2'
    [ "$(grep -c 'weft: ' err)" = 3 ]
    cp out "talked$n"
  done
  ok 1 "${chat[@]}" --prompt 'The cat' --prompt 'And then?' --json
  cmp out talked1
  cmp out talked2
}

@test "chat: without a terminal Ctrl-C ends the command" {
  python3 - "$WEFT" "${chat[@]}" --json <<'PY'
import signal, subprocess, sys
chat = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
chat.stdin.write(b"The cat\n")
chat.stdin.flush()
assert chat.stdout.readline()
chat.send_signal(signal.SIGINT)
assert chat.wait(60) == -signal.SIGINT, chat.returncode
PY
}
