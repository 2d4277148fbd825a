# What every command with --walltime does when its time is over before its first pass: exit code 3,
# and what was rejected is told all the same.
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1
  for model in bert_base bert_classify bert_mlm; do
    mkdir $model
    cp "$DATA/families/$model/config.json" "$DATA/families/$model/model.safetensors" \
      "$DATA/words/vocab.txt" $model
  done
  printf '%s\n' '{"text": "the [MASK] sat"}' 'the cat' '{"text": "a blue [MASK]"}' >texts.jsonl
  sed 2d texts.jsonl >good.jsonl
  "$WEFT" embed --model bert_base --in good.jsonl --out index.h5
  echo '{% for m in messages %}{{ m.content }}{% endfor %}' >turns.jinja
}
setup() {
  in_folder
  gpt2=(--model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer")
}

# over N 'words' ARGS…: at its time's end, it says so in one sentence, which ends with the words.
over() {
  local n=$1 words=$2
  shift 2
  # It was over long ago.
  SLURM_JOB_ID=4 SLURM_JOB_END_TIME=1600 weft "$n" "$@" || return 1
  [ "$status" = 3 ] || { echo "weft $* on $n ranks: exit $status, not 3"; cat out err; return 1; }
  [ "$(grep -c '^weft: ' err)" = 1 ] || { echo "weft $* on $n ranks"; cat err; return 1; }
  grep -Eq "^weft: stopped by the walltime, 0.0 s before its end \(Slurm job 4 .*$words\$" err ||
    { echo "weft $*: no '$words' in:"; cat err; return 1; }
}
anew='the same command makes all of them anew'
# A job, of a file into a file, goes on.
none="0 (of 2 results are done and written; $anew|"
none+='results of [23] texts are done and written; the same command goes on with the rest)'

# of_texts COMMAND…: the commands of texts with --out.
of_texts() {
  "$@" score --model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer"
  "$@" generate --model "$DATA/gpt2_h5" --tokenizer "$DATA/tokenizer" --max-new-tokens 3
  "$@" embed --model "$S/bert_base"
  "$@" search --model "$S/bert_base" --index "$S/index.h5"
  "$@" classify --model "$S/bert_classify"
  "$@" fill --model "$S/bert_mlm"
}

@test "what was rejected stands in OUT.rejects.jsonl though the job was stopped" {
  rejects_are_told() {
    local n rejected='1 of 3 texts was rejected \(all stand'
    for n in 1 2; do
      rm -f o.jsonl*
      over $n ": $none; $rejected in o.jsonl.rejects.jsonl\)" \
        "$@" --in "$S/texts.jsonl" --out o.jsonl
      [ ! -s o.jsonl ]
      json o.jsonl.rejects.jsonl '[line["line"] for line in lines] == [2]' \
        '"line 2" in lines[0]["reason"]'
    done
    # That of the job before is not this one's.
    over 1 ": $none" "$@" --in "$S/good.jsonl" --out o.jsonl
    only o.jsonl
  }
  of_texts rejects_are_told
  rm o.jsonl
  over 2 "; 1 of 3 texts was rejected \(all stand in o.h5.rejects.jsonl\)" embed \
    --model "$S/bert_base" --in "$S/texts.jsonl" --out o.h5
  json o.h5.rejects.jsonl 'len(lines) == 1'
}

@test "without --out what was rejected is a warning" {
  warns() {
    over 1 "; $anew; 1 of 3 texts was rejected" "$@" --in "$S/texts.jsonl"
    [ ! -s out ]
    [ "$(grep -c 'texts.jsonl: line 2' err)" = 1 ]
    only
  }
  of_texts warns
  over 1 "; 1 of 3 texts was rejected" attention --model "$S/bert_base" --in "$S/texts.jsonl"
  grep -q 'texts.jsonl: line 2' err
  over 1 "; --h5 m.h5 is not made; 1 of 3 texts was rejected" attention --model "$S/bert_base" \
    --in "$S/texts.jsonl" --h5 m.h5
  only
}

@test "neighbors and chat end too" {
  for n in 1 2; do
    rm -f n.log
    over $n ": 0 of 2 results are done and written; $anew" neighbors '#97' '#120' "${gpt2[@]}" \
      --log n.log --plot n.html
    [ ! -s out ]
    [ ! -e n.html ]
    json n.log 'lines[-1]["event"] == "end"' 'lines[-1]["reason"] == "walltime"' \
      'lines[-1]["items"] == 0'
    rm n.log
    over $n "" chat "${gpt2[@]}" --chat-template "$S/turns.jinja" --prompt a --log n.log
    json n.log 'lines[-1]["event"] == "end"' 'lines[-1]["reason"] == "walltime"'
  done
}

@test "no command takes --walltime and is not looked at" {
  local taken=
  for command in $("$WEFT" --help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
    "$WEFT" "$command" --help | grep -q -- '--walltime' && taken+=" $command"
  done
  # serve: serve.bats; train: tests/faults/walltime.bats
  [ "$(tr ' ' '\n' <<<"$taken" | sort | xargs)" = \
    "attention chat classify embed fill generate neighbors score search serve train" ]
}
