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
}
setup() {
  in_folder
  chat=(chat --model "$S/chat_run/model" --chat-template "$S/chatml.jinja" --ignore-eos \
    --max-new-tokens 6)
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
