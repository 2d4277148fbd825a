# The parameters of transformers' generate(): the same by a flag, in a recipe, in a line and in the
# model's generation_config.json. What they do is compared with transformers in tests/infer.
bats_require_minimum_version 1.5.0
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  cp -r "$DATA/gpt2_h5" model
  cp -r "$DATA/tokenizer" tokenizer
}

setup() {
  in_folder
  rm -f "$S/model/generation_config.json"
  model=(--model "$S/model" --tokenizer "$S/tokenizer" --max-new-tokens 6 --json)
}

# as PROMPT JSON FLAGS…: a set of options, in both ways, for a prompt.
as() {
  local prompt=$1 json=$2
  shift 2
  [ "$prompt" = a ] || prompt="the water"
  echo "$*|$prompt|$json"
}

sets() {
  # What the model writes without any.
  ok 1 generate "${model[@]}" --prompt 'the water'
  cp out plain
  ids=$(python3 -c 'import json; print(*json.load(open("out"))["ids"])')
  set -- $ids
  as water '{"suppress_tokens": ['$1', '$2']}' --suppress-tokens $1,$2
  as water '{"suppress_tokens": ['$1', '$2']}' --suppress-tokens $1 --suppress-tokens $2
  as water '{"begin_suppress_tokens": ['$1']}' --begin-suppress-tokens $1
  as water '{"bad_words_ids": [['$1', '$2'], ['$1']]}' --bad-words-ids $1,$2 --bad-words-ids $1
  as water '{"sequence_bias": [[['$1'], -9.5]]}' --sequence-bias $1=-9.5
  as water '{"sequence_bias": [[[7, 9], 30.0], [[7], 30.0]]}' \
    --sequence-bias '[[[7,9],30.0],[[7],30.0]]'
  as a '{"forced_bos_token_id": 9}' --forced-bos-token-id 9
  as water '{"forced_eos_token_id": 9}' --forced-eos-token-id 9
  as water '{"forced_eos_token_id": [9, 11]}' --forced-eos-token-id 9,11
  as water '{"eos_token_id": ['$1', '$2'], "min_length": 7}' --eos-token-id $1,$2 --min-length 7
  as water '{"eos_token_id": 3, "exponential_decay_length_penalty": [1, 9.0]}' \
    --eos-token-id 3 --exponential-decay-length-penalty 1,9
  as water '{"encoder_repetition_penalty": 3.0}' --encoder-repetition-penalty 3
  as water '{"encoder_no_repeat_ngram_size": 2, "encoder_repetition_penalty": 30.0}' \
    --encoder-no-repeat-ngram-size 2 --encoder-repetition-penalty 30
  as water '{"guidance_scale": 3.0}' --guidance-scale 3
  as water '{"do_sample": true, "top_k": 0, "top_h": 0.2}' --do-sample --top-k 0 --top-h 0.2
  as water '{"do_sample": true, "top_k": 0, "epsilon_cutoff": 0.002}' \
    --do-sample --top-k 0 --epsilon-cutoff 0.002
  as water '{"do_sample": true, "top_k": 0, "eta_cutoff": 0.9}' \
    --do-sample --top-k 0 --eta-cutoff 0.9
  as water '{"num_beams": 3, "renormalize_logits": true, "repetition_penalty": 9.0}' \
    --num-beams 3 --renormalize-logits --repetition-penalty 9
  as water '{"remove_invalid_values": true, "suppress_tokens": ['$1']}' \
    --remove-invalid-values --suppress-tokens $1
  as water '{"stop_strings": ["e"]}' --stop-strings e
}

@test "a parameter is the same by a flag, in a recipe, in a line and in the model's file" {
  sets >sets
  [ "$(wc -l <sets)" = 20 ]
  while IFS='|' read -r flags prompt json; do
    echo "$flags"
    rm -f "$S/model/generation_config.json"
    # shellcheck disable=SC2086
    ok 1 generate "${model[@]}" --prompt "$prompt" $flags
    run ! grep -q warning err
    cp out flags
    run ! cmp -s flags plain
    python3 - "$prompt" "$json" <<'END'
import json, sys
options = json.loads(sys.argv[2])
with open("line.jsonl", "w") as f:
    f.write(json.dumps(dict(options, prompt=sys.argv[1], id="0")) + "\n")
with open("recipe.toml", "w") as f:
    for key, value in options.items():  # JSON's values are TOML's
        f.write(f"{key} = {json.dumps(value)}\n")
END
    ok 1 generate "${model[@]}" --in line.jsonl
    cmp out flags
    ok 1 generate "${model[@]}" --prompt "$prompt" --config recipe.toml
    cmp out flags
    printf '%s\n' "$json" >"$S/model/generation_config.json"
    ok 1 generate "${model[@]}" --prompt "$prompt"
    run ! grep -q warning err
    cmp out flags
  done <sets
}

@test "line over flag over recipe over the model's file" {
  force() { # ID…: of the last new token
    json out "[l['ids'][-1] for l in lines] == [$1]"
  }
  echo '{"forced_eos_token_id": 4}' >"$S/model/generation_config.json"
  ok 1 generate "${model[@]}" --prompt 'the water'
  force 4
  echo 'forced_eos_token_id = [5]' >recipe.toml
  ok 1 generate "${model[@]}" --prompt 'the water' --config recipe.toml
  force 5
  ok 1 generate "${model[@]}" --prompt 'the water' --config recipe.toml --forced-eos-token-id 6
  force 6
  printf '{"text": "the water", "forced_eos_token_id": 7}\n{"text": "the water"}\n' >lines.jsonl
  ok 1 generate "${model[@]}" --in lines.jsonl --config recipe.toml --forced-eos-token-id 6
  force 7,6
}

@test "guided texts are the same on every grid" {
  printf '{"text": "the water", "guidance_scale": 2}\n{"text": "over there"}\n' >lines.jsonl
  printf '{"text": "may be", "guidance_scale": 3, "negative_prompt_ids": [5, 9]}\n' >>lines.jsonl
  printf '{"text": "a", "guidance_scale": 1.5, "do_sample": true}\n' >>lines.jsonl
  ok 1 generate "${model[@]}" --in lines.jsonl
  cp out one
  json one 'len(lines) == 4'
  for grid in "2 --tp 2" "2 --pp 2" "3 --dp 3"; do
    # shellcheck disable=SC2086
    ok ${grid%% *} generate "${model[@]}" --in lines.jsonl ${grid#* }
    cmp out one
  done
}

@test "what cannot be is one sentence" {
  local g=(generate "${model[@]}" --prompt 'the water')
  for n in 1 2; do
    refused $n "--suppress-tokens is '99999'; allowed: 0 to " "${g[@]}" --suppress-tokens 3,99999
  done
  refused 1 '--suppress-tokens is "x"; it must be numbers' "${g[@]}" --suppress-tokens x
  refused 1 '--sequence-bias holds \[3\]; it must be token ids and a bias' \
    "${g[@]}" --sequence-bias 3
  refused 1 '--exponential-decay-length-penalty is \[3\]; it must be' \
    "${g[@]}" --exponential-decay-length-penalty 3
  refused 1 '--top-h is 0; allowed: above 0 to 1' "${g[@]}" --top-h 0
  refused 1 '--eta-cutoff is 1; allowed: 0 up to, not including, 1' "${g[@]}" --eta-cutoff 1
  refused 1 '--guidance-scale is 2, which needs --num-beams 1, not 2' \
    "${g[@]}" --guidance-scale 2 --num-beams 2
  refused 1 '--forced-eos-token-id is 4, but --suppress-tokens forbids it' \
    "${g[@]}" --forced-eos-token-id 4 --suppress-tokens 4
  # What transformers has and Weft has not.
  refused 1 "has no option '--diversity-penalty' \(transformers has moved group beam search" \
    "${g[@]}" --diversity-penalty 0.5
  refused 1 "weft chat has no option '--prompt-lookup-num-tokens' \(it guesses no tokens ahead\)" \
    chat "${model[@]}" --prompt-lookup-num-tokens 3
  refused 1 "has no option '--watermarking-config', which transformers has" \
    "${g[@]}" --watermarking-config x
  while IFS='|' read -r line words; do
    printf '{"text": "the water", %s}\n' "$line" >line.jsonl
    refused 1 "^weft: line.jsonl: line 1: $words" generate "${model[@]}" --in line.jsonl
  done <<'END'
"num_beam_groups": 2|num_beam_groups is 2, which Weft does not have \(transformers has moved
"prompt_lookup_num_tokens": 2|prompt_lookup_num_tokens is 2, which Weft does not have \(it guesses
"watermarking_config": {"bias": 2}|watermarking_config is .*, which Weft does not have$
"bad_words_ids": [3, 4]|bad_words_ids is \[3,4\]; it must be a list of lists of token ids
"sequence_bias": [[3, 4]]|--sequence-bias holds \[3,4\]; it must be token ids and a bias
"supress_tokens": [3]|unknown key 'supress_tokens' \(did you mean 'suppress_tokens'
END
}

@test "what has no effect is a warning" {
  ok 1 generate "${model[@]}" --prompt 'the water' --top-h 0.5 --renormalize-logits \
    --negative-prompt-ids 3 --ignore-eos --exponential-decay-length-penalty 3,1.1 \
    --forced-bos-token-id 3
  local words='--top-h \(needs --do-sample\), --renormalize-logits \(needs --num-beams\), '
  words+='--exponential-decay-length-penalty \(needs an end token\), '
  words+='--forced-bos-token-id \(needs a prompt of one token\), '
  words+='--negative-prompt-ids \(needs --guidance-scale\)'
  grep -Eq -- "without effect: $words\$" err
  printf '{"watermarking_config": {"bias": 2.0}, "prompt_lookup_num_tokens": 3, "top_k": 3}\n' \
    >"$S/model/generation_config.json"
  ok 1 generate "${model[@]}" --prompt 'the water'
  grep -q 'generation_config.json sets watermarking_config, which Weft does not have' err
}
