# A real model, SmolLM2-135M-Instruct as its GGUF file and as a directory converted from it, against
# transformers on the same dequantised weights (tests/data/make_smollm2.py). Skipped where the file
# (98 MB) is not at hand: $WEFT_SMOLLM2, or where launch/quickstart.sh puts it.
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  local model=${WEFT_SMOLLM2:-}
  [ -n "$model" ] ||
    model=$(find "$WEFT_SOURCE_DIR/runs/quickstart/smollm2" -name '*.gguf' 2>/dev/null | head -n 1)
  [ -r "$model" ] || return 0
  ln -s "$(realpath "$model")" model.gguf
  export OMP_NUM_THREADS=1
  "$WEFT" convert model.gguf directory 2>/dev/null
}
setup() {
  in_folder
  LIMIT=600 # three ranks share two cores
  [ -e "$S/model.gguf" ] ||
    skip "SmolLM2 is not here (launch/quickstart.sh fetches it; WEFT_SMOLLM2=FILE.gguf)"
  cp "$DATA/smollm2.json" golden
}

@test "SmolLM2: the file is the one that the golden values are of" {
  [ "$(sha256sum <"$S/model.gguf" | cut -d ' ' -f 1)" \
    = "$(python3 -c 'import json; print(json.load(open("golden"))["sha256"])')" ]
}

@test "SmolLM2: ids and 200 greedy tokens equal the reference's, from both files, on 1 to 3 ranks" {
  python3 -c 'import json; [print(json.dumps({"prompt": g["prompt"]}))
    for g in json.load(open("golden"))["greedy"]]' >prompts.jsonl
  for model in model.gguf directory; do
    for grid in 1 '2 --tp 2' '3 --tp 3' '3 --pp 3'; do
      # shellcheck disable=SC2086
      set -- $grid
      local n=$1
      shift
      ok "$n" generate --model "$S/$model" --in prompts.jsonl --min-new-tokens 200 \
        --max-new-tokens 200 --json "$@"
      json out '[line["ids"] for line in lines] == [g["tokens"]
        for g in json.load(open("golden"))["greedy"]]' \
        '[line["n_prompt"] for line in lines] == [len(g["prompt_tokens"])
          for g in json.load(open("golden"))["greedy"]]'
    done
  done
}

@test "SmolLM2: the log-probability of every token of a text is the reference's within 1e-3" {
  python3 -c 'import json; print(json.load(open("golden"))["score"]["text"], end="")' >text
  for grid in 1 '2 --tp 2' '3 --tp 3'; do
    # shellcheck disable=SC2086
    set -- $grid
    local n=$1
    shift
    ok "$n" score --model "$S/model.gguf" --text "$(cat text)" --token-logprobs --json "$@"
    json out 'lines[0]["n_tokens"] == len(json.load(open("golden"))["score"]["tokens"])' \
      'max(abs(a - b) for a, b in zip(lines[0]["token_logprobs"][1:],
        json.load(open("golden"))["score"]["logprobs"])) < 1e-3'
  done
}
