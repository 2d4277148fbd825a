# weft train, generate, score and info as their users meet them.
load weft

setup_file() { make_model; }
setup() { in_folder; }

@test "train: the output folder, the recipe and the fields of the run log" {
  cd "$S"
  for file in recipe.toml run.jsonl checkpoints/step-00000002.h5 checkpoints/step-00000004.h5 \
    model/config.json model/model.safetensors model/tokenizer.json \
    model/generation_config.json; do
    [ -s "run/$file" ]
  done
  [ "$(ls run | tr '\n' ' ')" = 'checkpoints model recipe.toml run.jsonl ' ]
  [ -z "$(find run -name '*.tmp')" ]
  json run/run.jsonl \
    '[line["event"] for line in lines] == ["start", "step", "step", "save", "step", "step", "save",
      "eval", "end"]' \
    '{"version", "commit", "hosts", "grid", "model", "parameters", "threads",
      "peaks"} < set(lines[0])' 'lines[0]["grid"] == {"tp": 1, "pp": 1, "dp": 1}' \
    'set(lines[1]) == {"event", "step", "loss", "grad_norm", "lr", "tokens", "step_s",
      "tokens_per_s", "mfu", "peak_share", "comm_bytes", "shares", "elapsed_s"}' \
    'lines[1]["tokens"] == 4 * 48' \
    'all(abs(sum(line["shares"].values()) - 1) < 1e-6
      for line in lines if line["event"] == "step")' \
    'set(lines[1]["shares"]) == {"forward", "backward", "comm", "optimizer", "bubble", "data",
      "other"}' \
    '{"step", "loss", "perplexity"} < set(lines[7])' 'lines[-1]["reason"] == "done"'
}

@test "train: recipe.toml repeats the run, and a flag wins over it" {
  cp "$S/tokens.h5" .
  ok 1 train --config "$S/run/recipe.toml" --out again
  [ ! -s out ]
  python3 - "$S/run/run.jsonl" again/run.jsonl <<'PY'
import json, sys

a, b = ([[l["loss"], l["grad_norm"], l["lr"]]
         for l in map(json.loads, open(f))
         if l["event"] == "step"]
        for f in sys.argv[1:])
assert a == b and len(a) == 4, (a, b)
PY
  cmp "$S/run/model/model.safetensors" again/model/model.safetensors
  diff "$S/run/recipe.toml" again/recipe.toml >difference || true
  [ "$(grep -c '^>' difference)" = 1 ]
  grep -q '> out = "again"' difference
}

@test "train: a fresh model takes nothing from the folder that the run is started in" {
  cp -r "$S/run/model" here
  cd here
  sed -i '1s/{/{"eos_token_id": 7,/' generation_config.json
  ok 1 train --data "$S/tokens.h5" --layers 1 --width 24 --heads 3 --context 48 --batch-size 4 \
    --steps 1 --out run
  [ "$(grep -c '"eos_token_id": 7' run/model/generation_config.json)" = 0 ]
}

@test "train: goes on where it stopped, and leaves a run alone that it may not continue" {
  cp -r "$S/run" "$S/tokens.h5" .
  local options=(--data tokens.h5 --layers 3 --width 24 --heads 3 --context 48 --batch-size 4 \
    --save-every 2 --out run)
  ok 1 train "${options[@]}" --steps 6
  grep -q 'resuming from run/checkpoints/step-00000004.h5 at step 4' err
  json run/run.jsonl \
    '[line["step"] for line in lines if line["event"] == "step"] == [1, 2, 3, 4, 5, 6]'
  find run -type f -exec md5sum {} + | sort >before
  for n in 1 2; do
    refused $n 'step-00000006.h5: is a checkpoint of another model: width is 24, not 48' \
      train "${options[@]}" --steps 8 --width 48
    refused $n 'was started with --seed 0, not 3' train "${options[@]}" --steps 8 --seed 3
    refused $n "run/checkpoints/step-00000006.h5: is a checkpoint of another model" \
      train "${options[@]}" --steps 8 --layers 4 --resume run/checkpoints/step-00000006.h5
  done
  find run -type f -exec md5sum {} + | sort >after
  diff before after
}

@test "train: a signal stops it after a step, saved, with exit code 3" {
  "$WEFT" train --data "$S/tokens.h5" --layers 2 --width 24 --heads 3 --context 48 --batch-size 4 \
    --steps 1000000 --log-every 1 --out long 2>err &
  local process=$! status=0
  for _ in $(seq 300); do
    grep -q '"event":"step"' long/run.jsonl 2>/dev/null && break
    sleep 0.1
  done
  kill -TERM $process
  wait $process || status=$?
  [ "$status" = 3 ]
  local saved='saved .*; run the same command again'
  grep -Eq "weft: stopped by a signal after step [0-9]+ of 1000000; $saved" err
  json long/run.jsonl 'lines[-1]["event"] == "end" and lines[-1]["reason"] == "signal"'
  [ "$(ls long/checkpoints | grep -vc '^step-[0-9]*\.h5$')" = 0 ]
}

@test "generate: the JSON fields and defaults" {
  ok 1 generate --model "$S/run/model" --prompt 'The cat' --json
  json out 'list(lines[0]) == ["id", "prompt", "sample", "generated_text", "new_text", "ids",
    "n_prompt", "n_new", "finish"]' 'len(lines) == 1' \
    'lines[0]["generated_text"] == "The cat" + lines[0]["new_text"]' 'lines[0]["sample"] == 0' \
    'lines[0]["id"] == "0"' \
    'lines[0]["n_new"] == len(lines[0]["ids"])' \
    'lines[0]["n_new"] == 20 and lines[0]["finish"] == "length" or lines[0]["finish"] == "eos"'
  cp out one
  [ ! -s err ]
  ok 1 generate --model "$S/run/model" --text 'The cat' --json
  cmp out one
  ok 1 generate --model "$S/run/checkpoints/step-00000004.h5" --prompt 'The cat' --json
  cmp out one
  ok 1 generate --model "$S/run/model" --prompt 'The cat' --json --logprobs \
    --return-full-text false --max-new-tokens 3 --ignore-eos
  json out 'lines[0]["generated_text"] == lines[0]["new_text"]' \
    'len(lines[0]["logprobs"]) == 3 == lines[0]["n_new"]' 'max(lines[0]["logprobs"]) < 0'
  ok 1 generate --model "$S/run/model" --prompt 'The cat' --max-new-tokens 3
  grep -q '^The cat' out
}

@test "generate: prompts from every kind of input, on rank 0 alone, the same on 1 and 3 ranks" {
  printf 'a quiet\nThe\n' >p.txt
  printf '%s\n' '{"id":"x","prompt":"The","max_new_tokens":2}' \
    '{"text":"A","do_sample":true,"num_return_sequences":2,"seed":5}' >p.jsonl
  printf 'text,id\nThe,k\n' >p.csv
  printf '>s\nTHE\n' >p.fasta
  for file in txt jsonl csv fasta; do
    ok 1 generate --model "$S/run/model" --in p.$file --json --ignore-eos
    cp out one
    ok 3 generate --model "$S/run/model" --in p.$file --json --ignore-eos --tp 3
    cmp out one
    ok 3 generate --model "$S/run/model" --in p.$file --json --ignore-eos --dp 3
    cmp out one
    for n in 1 3; do
      [ $file = csv ] || ok $n generate --model "$S/run/model" --in - --format $file --json \
        --ignore-eos --pp $n <p.$file
      cmp out one
    done
  done
  ok 1 generate --model "$S/run/model" --in p.jsonl --json --ignore-eos --max-new-tokens 4
  json out '[line["n_new"] for line in lines] == [2, 4, 4]' \
    '[line["id"] for line in lines] == ["x", "1", "1"]' \
    '[line["sample"] for line in lines] == [0, 0, 1]'
  printf '{"prompt":"The","temperature":"hot"}\n' >p.jsonl
  refused 3 'p.jsonl: line 1: temperature is "hot"; it must be a number' \
    generate --model "$S/run/model" --in p.jsonl
  printf '{"prompt":"The"}\n{"prompt":"The","top_p":7}\n' >p.jsonl
  weft 1 generate --model "$S/run/model" --in p.jsonl
  [ "$status" = 2 ]
  [ -s out ]
  grep -q 'p.jsonl: line 2: top_p is 7; allowed: 0 to 1' err
}

@test "generate and score --out: a file that appears when whole" {
  ok 3 generate --model "$S/run/model" --prompt a --prompt b --out g.jsonl --dp 3
  [ ! -s out ]
  json g.jsonl '[line["prompt"] for line in lines] == ["a", "b"]'
  ok 1 score --model "$S/run/model" --text 'ab' --out s.jsonl
  json s.jsonl 'lines[0]["n_tokens"] >= 1'
  mkdir folder.jsonl
  for n in 1 2; do
    refused $n 'folder.jsonl: is a folder' generate --model "$S/run/model" --prompt a \
      --out folder.jsonl
    refused $n 'nowhere/g.jsonl: there is no folder nowhere' \
      score --model "$S/run/model" --text a --out nowhere/g.jsonl
    refused $n "allowed: a .jsonl file" generate --model "$S/run/model" --prompt a --out g.txt
  done
  only folder.jsonl g.jsonl s.jsonl
}

@test "generate: what it refuses, before anything runs" {
  local g=(generate --model "$S/run/model" --prompt abc)
  refused 1 'prompt 0 has 3 tokens and 46 new ones are asked for, but .* context holds 48' \
    "${g[@]}" --max-new-tokens 46
  refused 3 'context holds 48' "${g[@]}" --max-new-tokens 9999999999999 --tp 3
  refused 1 '--max-length is 3, the prompt included' "${g[@]}" --max-length 3
  refused 1 '--temperature is 0 and --do-sample is given; allowed: a temperature above 0' \
    "${g[@]}" --do-sample --temperature 0
  refused 1 '--top-k is -1; allowed: 0 \(all\) or more' "${g[@]}" --do-sample --top-k -1
  refused 1 '--eos-token-id is .99999999999.; allowed' "${g[@]}" --eos-token-id 99999999999
  refused 1 '--eos-token-id is .-5.; allowed' "${g[@]}" --eos-token-id -5
  refused 1 'needs --do-sample' "${g[@]}" --num-return-sequences 2
  refused 1 "--dtype is 'int9'; allowed" "${g[@]}" --dtype int9
  refused 1 'there is no text: give --text or --in' generate --model "$S/run/model"
  refused 1 '--model is missing' generate --prompt a
  for n in 1 2; do
    refused $n 'no text: give --text or --in FILE that holds some' \
      generate --model "$S/run/model" --in - </dev/null
    refused $n 'comes without a tokenizer; name one with --tokenizer' \
      generate --model "$DATA/gpt2_h3" --prompt a
    refused $n 'the tokenizer has 300 tokens .*, but the model 211: it belongs to another model' \
      generate --model "$DATA/gpt2_h3" --tokenizer "$S/tok" --prompt a
  done
}

@test "score: the JSON fields, the same on 1 and 3 ranks" {
  ok 1 score --model "$S/run/model" --text 'The cat' --text A --json --token-logprobs
  json out 'list(lines[0]) == ["id", "n_tokens", "loss", "logprob", "perplexity",
    "token_logprobs"]' 'lines[0]["token_logprobs"][0] is None' \
    'len(lines[0]["token_logprobs"]) == lines[0]["n_tokens"]' \
    'abs(lines[0]["loss"] * (lines[0]["n_tokens"] - 1) + lines[0]["logprob"]) < 1e-6' \
    'lines[1] == {"id": "1", "n_tokens": 1, "loss": None, "logprob": 0, "perplexity": None,
      "token_logprobs": [None]}'
  cp out one
  ok 3 score --model "$S/run/model" --text 'The cat' --text A --json --token-logprobs --dp 3
  cmp out one
  ok 1 score --model "$S/run/model" --text 'The cat' --json
  json out '"token_logprobs" not in lines[0]'
  ok 1 score --model "$S/run/model" --text 'The cat'
  grep -Eq 'tokens  loss +[0-9.]+  perplexity [0-9.]+' out
  refused 2 "text 0 has [0-9]+ tokens, but the model's context holds 48" \
    score --model "$S/run/model" --text "$(head -c 2000 "$CORPUS" | tr '\n' ' ')"
}

@test "info: a model's fields and tree, a checkpoint's, a grid's, and this machine's" {
  ok 1 info "$DATA/gpt2_h3" --json
  json out 'list(lines[0]) == ["family", "parameters", "layers", "heads", "kv_heads", "width",
    "vocab", "context", "dtype", "bytes", "bytes_per_rank",
    "cache_bytes_per_page"]' \
    '[lines[0][k] for k in ("family", "layers", "heads", "width", "vocab", "context")] == ["gpt2",
      3, 3, 48, 211, 96]' 'lines[0]["bytes"] == 4 * lines[0]["parameters"]'
  ok 1 info "$DATA/gpt2_h3" --json --tp 3
  json out 'lines[0]["bytes_per_rank"] < lines[0]["bytes"]' \
    'lines[0]["cache_bytes_per_page"] == 2 * 3 * 64 * 16 * 4'
  ok 3 info "$DATA/gpt2_h5"
  [ "$(grep -c '^GPT2LMHeadModel(' out)" = 1 ]
  grep -q '(wte): Embedding(' out
  ok 1 info "$S/run/checkpoints/step-00000004.h5" --json
  json out 'lines[0]["vocab"] == 300'
  ok 1 info "$DATA/gguf/llama_quantised.gguf" --json
  json out 'lines[0]["dtype"].startswith("q")' 'lines[0]["bytes"] < 4 * lines[0]["parameters"]'
  for model in "$DATA"/families/*; do
    ok 1 info "$model"
    tail -n +2 "$DATA/module_trees/${model##*/}.txt" >tree
    head -n "$(wc -l <tree)" out | cmp - tree
  done
  ok 3 info --json
  json out 'len(lines) == 1' 'lines[0]["ranks"] == 3' 'len(lines[0]["bound_cpus"]) == 3' \
    'lines[0]["matmul_flops"] > 0'
  refused 1 'nowhere: no such file' info nowhere
  refused 1 '--tp is 9, but the model has 3 heads; allowed: 1 to 3' info "$DATA/gpt2_h3" --tp 9
  refused 1 'name one model' info a b
}
