# The run logs that reports are made from: --log of every command that runs texts through a model,
# and what train's run.jsonl says of the run.
load weft

setup_file() { make_model; }
setup() { in_folder; }

# A model of tests/data/families as a folder with a tokenizer.
model() {
  mkdir "$1"
  cp "$DATA/families/$1/config.json" "$DATA/families/$1/model.safetensors" "$DATA/words/vocab.txt" \
    "$1"
}

# What every log of texts holds: FILE WHAT RANKS ITEMS.
check_log() {
  json "$1" "lines[0]['event'] == 'start' and lines[0]['what'] == '$2'" \
    "lines[0]['ranks'] == $3 and lines[0]['items'] == $4 == lines[-1]['items']" \
    'lines[0]["log_version"] == 1 and lines[0]["device"] == "cpu" and lines[0]["nodes"] == 1' \
    '{"time", "command", "version", "commit", "hosts", "cpu", "grid", "model", "parameters",
      "threads", "dtype", "options"} < set(lines[0])' \
    '__import__("re").fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0]["time"])' \
    "lines[0]['command'].startswith('weft $2 --model ')" \
    'lines[0]["options"]["threads"] == lines[0]["threads"] > 0' \
    'lines[0]["options"]["dp"] == lines[0]["grid"]["dp"] > 0' \
    'all(line["event"] == "progress" and {"elapsed_s", "items", "prompt_tokens", "new_tokens"}
      < set(line) for line in lines[1:-1])' \
    'lines[-1]["event"] == "end" and lines[-1]["reason"] == "done"' \
    'abs(sum(lines[-1]["shares"].values()) - 1) < 1e-9' \
    'list(lines[-1]["shares"]) == ["forward", "backward", "comm", "optimizer", "bubble", "data",
      "other"]' \
    'lines[-1]["shares"]["forward"] > 0 and lines[-1]["shares"]["backward"] == 0' \
    'lines[-1]["comm_share"] == lines[-1]["shares"]["comm"]' \
    'lines[-1]["elapsed_s"] > lines[-1]["job_s"] > 0 and lines[-1]["tokens_per_s"] > 0'
}

@test "generate --log: the same texts with and without, and every field, on any grid" {
  printf '{"prompt": "%s"}\n' 'The cat' 'A' 'the cat sat' 'The' >p.jsonl
  local args=(--model "$S/run/model" --in p.jsonl --max-new-tokens 12 --ignore-eos)
  ok 1 generate "${args[@]}" --out plain.jsonl
  for grid in '1 --tp 1' '2 --tp 2' '2 --pp 2' '3 --dp 3'; do
    local n=${grid%% *} flags=${grid#* }
    rm -f run.log
    # shellcheck disable=SC2086
    ok "$n" generate "${args[@]}" --out logged.jsonl --log run.log $flags
    cmp plain.jsonl logged.jsonl
    check_log run.log generate "$n" 4
    json run.log 'lines[-1]["new_tokens"] == 4 * 12' \
      "lines[-1]['prompt_tokens'] == $(json_sum plain.jsonl n_prompt)" \
      'set(lines[-1]["ttft_s"]) == set(lines[-1]["inter_token_s"]) == {"p50", "p95", "p99"}' \
      '0 < lines[-1]["ttft_s"]["p50"] <= lines[-1]["ttft_s"]["p95"] <= lines[-1]["ttft_s"]["p99"]' \
      '0 < lines[-1]["inter_token_s"]["p50"] <= lines[-1]["inter_token_s"]["p99"]' \
      'lines[-1]["preemptions"] == 0 and 0 <= lines[-1]["cache_shared"] < 1' \
      '0 < lines[-1]["queue_s"]["p50"] <= lines[-1]["queue_s"]["p99"]' \
      '0 < lines[-1]["batch_occupancy"] <= 1 and 0 < lines[-1]["cache_use"] <= 1' \
      '0 < lines[-1]["peak_share"] <= 1 and lines[-1]["read_peak_bytes_per_s"] > 1e8' \
      'all(abs(lines[-1][what] / lines[-1]["job_s"] / lines[-1][what + "_per_s"] - 1) < 1e-9
        for what in ("streamed_bytes", "new_tokens", "prompt_tokens"))' \
      'lines[-1]["tokens_per_s"] > lines[-1]["new_tokens_per_s"] > 0' \
      "(lines[-1]['comm_bytes'] > 0) == (lines[0]['grid']['dp'] < $n)"
  done
}

# json_sum FILE KEY: the sum over its lines.
json_sum() {
  python3 -c 'import json, sys; print(sum(json.loads(l)[sys.argv[2]] for l in open(sys.argv[1])))' \
    "$@"
}

@test "score, embed, classify, fill --log: items, tokens, shares" {
  model bert_classify
  model bert_mlm
  printf '%s\n' 'the cat sat on the mat.' 'a blue dog' 'xyz?' >texts.txt
  printf '%s\n' 'the [MASK] sat' 'a [MASK] [MASK]' >masks.txt
  for n in 1 2; do
    rm -f ./*.log
    ok "$n" score --model "$S/run/model" --in texts.txt --json --log s.log
    check_log s.log score "$n" 3
    json s.log "lines[-1]['prompt_tokens'] == $(json_sum out n_tokens)" \
      'lines[-1]["new_tokens"] == 0 and "ttft_s" not in lines[-1]'
    ok "$n" embed --model bert_mlm --in texts.txt --json --log e.log
    check_log e.log embed "$n" 3
    ok "$n" classify --model bert_classify --in texts.txt --json --log c.log --tp "$n"
    check_log c.log classify "$n" 3
    json c.log "(lines[-1]['comm_bytes'] > 0) == ($n > 1)"
    ok "$n" fill --model bert_mlm --in masks.txt --json --log f.log
    check_log f.log fill "$n" 2
  done
}

@test "chat and neighbors --log" {
  local template='{% for m in messages %}{{ m.content }} {% endfor %}'
  echo "$template" >template
  ok 2 chat --model "$S/run/model" --chat-template template --prompt 'The cat' --prompt A \
    --max-new-tokens 4 --log chat.log --tp 2
  check_log chat.log chat 2 2
  json chat.log '0 < lines[-1]["new_tokens"] <= 8 and lines[-1]["ttft_s"]["p99"] > 0'
  ok 1 neighbors A --model "$S/run/model" --log n.log
  json n.log 'lines[0]["what"] == "neighbors"' 'lines[-1]["event"] == "end"' \
    'lines[-1]["items"] == 1'
}

@test "--log: a second job is appended; a place that cannot be is refused before anything runs" {
  ok 1 score --model "$S/run/model" --text A --log s.log
  ok 1 score --model "$S/run/model" --text A --text B --log s.log
  grep -v '"event":"progress"' s.log >without.log
  json without.log '[line["event"] for line in lines] == ["start", "end"] * 2' \
    '[line["items"] for line in lines] == [1, 1, 2, 2]'
  for n in 1 2; do
    refused "$n" 'no/such/s.log' score --model "$S/run/model" --text A --log no/such/s.log
    refused "$n" 'run log' score --model "$S/run/model" --text A --log .
  done
}

@test "train: the start line says command, options and place; steps say what was sent" {
  for n in 1 2; do
    rm -rf run
    ok "$n" train --data "$S/tokens.h5" --layers 1 --width 24 --heads 3 --context 48 \
      --batch-size 4 --steps 3 --out run --lr 1e-3
    json run/run.jsonl 'lines[0]["log_version"] == 1 and lines[0]["what"] == "train"' \
      'lines[0]["command"].startswith("weft train --data ")' '"--lr 1e-3" in lines[0]["command"]' \
      "lines[0]['options']['lr'] == 1e-3 and lines[0]['options']['dp'] == $n" \
      'lines[0]["options"]["lr_schedule"] == "cosine" and lines[0]["batch_size"] == 4' \
      'lines[0]["device"] == "cpu" and lines[0]["cpu"]' \
      "all((line['comm_bytes'] > 0) == ($n > 1) for line in lines if line['event'] == 'step')"
  done
  # Twice two ranks' gradients around a ring, and a few numbers.
  json run/run.jsonl \
    'all(0 <= line["comm_bytes"] - 2 * 4 * lines[0]["parameters"] < 3000 for line in lines
      if line["event"] == "step")'
}

@test "train --metrics tensorboard: an event file a start, never a reason to end" {
  local args=(--data "$S/tokens.h5" --layers 1 --width 24 --heads 3 --context 48 --batch-size 4
    --metrics tensorboard)
  ok 1 train "${args[@]}" --steps 2 --out run
  ok 1 train "${args[@]}" --steps 4 --out run
  [ "$(find run/tensorboard -name 'events.out.tfevents.*' | wc -l)" = 2 ]
  grep -aq shares/forward run/tensorboard/events.out.tfevents.*
  grep -aq eval/loss run/tensorboard/events.out.tfevents.*
  mkdir other
  touch other/tensorboard
  ok 1 train "${args[@]}" --steps 2 --out other
  grep -q -- '--metrics tensorboard: .*the run goes on without' err
  json other/run.jsonl 'lines[-1]["reason"] == "done"'
  refused 1 "--metrics is 'wandb'; allowed: tensorboard" train "${args[@]}" --steps 2 --out x \
    --metrics wandb
}
