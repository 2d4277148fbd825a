#!/usr/bin/env bats
# weft tokenizer, tokenize and data as a user meets them, on one rank and on several.

setup() {
  cd "$BATS_TEST_TMPDIR" || return 1
  WORDS=$WEFT_SOURCE_DIR/tests/data/gpt2_words
  SENTENCE="Counselor, please adjust your Zoom filter to appear as a human, rather than as a cat"
}

ranks() { $WEFT_MPIEXEC "$@"; }

# Fails with exit code 2 and one sentence that holds the words after `--`.
refused() {
  local words=${!#}
  local command=("${@:1:$#-2}")
  run "${command[@]}"
  echo "$output"
  [ "$status" -eq 2 ]
  [[ "$output" == *"${words}"* ]]
  [ "$(grep -c '^weft: ' <<<"$output")" -eq 1 ]
}

@test "the lesson's sentence, as a table and as JSON" {
  run "$WEFT" tokenize --tokenizer "$WORDS" --text "$SENTENCE"
  [ "$status" -eq 0 ]
  [[ "$output" == *"40305  ĠZoom"*"20 5a 6f 6f 6d"* ]]
  [[ "$output" == *"decoded  \"$SENTENCE\""* ]]
  # all of it as the reference gives it
  run "$WEFT" tokenize --tokenizer "$WORDS" --text "naïve 漢字 cat<|endoftext|>" --json
  local json='{"text":"naïve 漢字 cat<|endoftext|>",'
  json+='"tokens":["na","Ã¯ve","Ġæ","¼","¢","åŃ","Ĺ","Ġcat","<|endoftext|>"],'
  json+='"ids":[2616,38776,10545,120,95,27764,245,3797,50256],"type_ids":[0,0,0,0,0,0,0,0,0],'
  json+='"offsets":[[0,2],[2,5],[5,7],[6,7],[6,7],[7,8],[7,8],[8,12],[12,25]],'
  json+='"decoded":"naïve 漢字 cat<|endoftext|>"}'
  [ "$output" = "$json" ]
}

@test "pairs, special tokens and ids back to text" {
  run "$WEFT" tokenize --tokenizer "$WORDS" --text cat --text-pair " cat" --json
  local json='{"text":"cat","text_pair":" cat","tokens":["cat","Ġcat"],"ids":[9246,3797],'
  json+='"type_ids":[0,1],"offsets":[[0,3],[0,4]],"decoded":"cat cat"}'
  [ "$output" = "$json" ]
  refused "$WEFT" tokenize --tokenizer "$WORDS" --text a --text b --text-pair c \
    -- "--text-pair is given 1 times, for 2 texts"
  [ "$("$WEFT" tokenize --tokenizer "$WORDS" --decode "31053 741,273")" = "Counselor" ]
  [ "$("$WEFT" tokenize --tokenizer "$WORDS" --decode "50256 64" --no-special-tokens)" = "a" ]
  [ "$("$WEFT" tokenize --tokenizer "$WORDS" --decode "50256 64" --json)" \
    = '{"ids":[50256,64],"decoded":"<|endoftext|>a"}' ]
  [ "$("$WEFT" tokenize --tokenizer "$WORDS" --decode "64 50257" 2>warning)" = "a" ]
  grep -q 'id 50257 has no text; the tokenizer has 0 to 50256' warning
}

@test "three ranks print once, and stdin reaches the one that prints" {
  [ "$(printf 'cat\n cat\n' | ranks 3 "$WEFT" tokenize --tokenizer "$WORDS" --in - --json |
    wc -l)" -eq 2 ]
  ranks 3 "$WEFT" tokenize --tokenizer "$WORDS" --text cat --out ids.jsonl
  [ "$(wc -l <ids.jsonl)" -eq 1 ]
  refused ranks 3 "$WEFT" tokenize --tokenizer nowhere --text a -- "nowhere: no such file"
}

@test "stdin reaches every rank of a model's commands" {
  "$WEFT" tokenizer "$WEFT_SOURCE_DIR/tests/data/tokenizer/corpus.txt" --vocab-size 500 --out tok
  for command in score generate; do
    printf 'the cat\nof the\n' | "$WEFT" $command --model "$WEFT_SOURCE_DIR/tests/data/gpt2_h5" \
      --tokenizer tok --in - --json >one.jsonl
    printf 'the cat\nof the\n' | ranks 2 "$WEFT" $command \
      --model "$WEFT_SOURCE_DIR/tests/data/gpt2_h5" --tokenizer tok --in - --json >two.jsonl
    [ "$(wc -l <one.jsonl)" -eq 2 ]
    [ "$(wc -l <two.jsonl)" -eq 2 ]
  done
  cmp one.jsonl two.jsonl
}

@test "the token file is the same on 1 to 4 ranks, whatever it is made from" {
  cp "$WEFT_SOURCE_DIR/tests/data/tokenizer/corpus.txt" lines.txt
  awk 'NR % 4 == 0 { print ""; print "" } { print }' lines.txt >paragraphs.txt
  awk 'BEGIN { print "id\ttext" } { gsub(/"/, "\"\""); print NR "\t\"" $0 "\n\"" }' lines.txt \
    >cells.tsv
  awk '{
    gsub(/[\\"]/, ""); gsub(/\t/, " ")
    print "{\"body\": \"" (NR % 5 ? $0 : "") "\", \"n\": " NR "}"
  }' lines.txt >lines.jsonl
  awk '{ print ">r" NR "\nACGTAC\n" (NR % 3 ? "GGCA" : "") }' lines.txt >genes.fa
  gzip -k lines.txt
  same() {  # documents, numbers of ranks, options of weft data
    local documents=$1 counts=$2 n
    shift 2
    "$WEFT" data "$@" --tokenizer "$WORDS" --out one.h5 --val-fraction 0.1
    for n in $counts; do
      ranks $n "$WEFT" data "$@" --tokenizer "$WORDS" --out many.h5 --val-fraction 0.1
      run "$WEFT_SAME_TOKENS" one.h5 many.h5
      echo "$n ranks, $*: $output"
      [ "$status" -eq 0 ]
      [[ "$output" == "$documents documents, "* ]]
    done
  }
  same 600 "2 3 4" lines.txt
  same 600 2 lines.txt.gz
  same 600 3 cells.tsv --quotes double
  same 480 3 lines.jsonl --field body
  same 600 4 genes.fa
  same 151 4 paragraphs.txt --documents paragraph
  same 2 3 paragraphs.txt lines.txt --documents file
  printf 'one\ntwo\n' >two.txt
  same 2 4 two.txt
}

@test "mistakes: one sentence, the same on three ranks, and no file" {
  printf 'one\n' >one.txt
  printf '{"text": "a"}\n{"text": }\n' >bad.jsonl
  printf 'id,body\n1,x\n' >table.csv
  : >empty.txt
  for n in 1 3; do
    refused ranks $n "$WEFT" data one.txt --tokenizer "$WORDS" --out x.h5 --documents page \
      -- "--documents is 'page'; allowed: line, paragraph, file"
    refused ranks $n "$WEFT" data bad.jsonl --tokenizer "$WORDS" --out x.h5 \
      -- "bad.jsonl: line 2 is not a JSON object"
    refused ranks $n "$WEFT" data table.csv --tokenizer "$WORDS" --out x.h5 \
      -- "table.csv: has no column 'text' (choose one with --field); its columns: id, body"
    refused ranks $n "$WEFT" data empty.txt --tokenizer "$WORDS" --out x.h5 \
      -- "empty.txt: holds no documents"
    refused ranks $n "$WEFT" data one.txt absent.txt --tokenizer "$WORDS" --out x.h5 \
      -- "absent.txt: no such file"
    refused ranks $n "$WEFT" data one.txt --tokenizer "$WORDS" --out x.bin \
      -- "allowed: a file that ends in .h5"
    refused ranks $n "$WEFT" tokenizer one.txt --vocab-size 300 --out t --documents page \
      -- "--documents is 'page'"
    refused ranks $n "$WEFT" tokenizer one.txt --vocab-size 300 --out t --special-tokens a \
      -- "choose a longer one"
  done
  [ -z "$(find . -name 'x.h5*')" ]
}

@test "a run that is killed leaves nothing under the final name" {
  for _ in $(seq 300); do cat "$WEFT_SOURCE_DIR/tests/data/tokenizer/corpus.txt"; done >long.txt
  for wait in 0.02 0.1 0.2 0.3 0.4; do
    "$WEFT" data long.txt --tokenizer "$WORDS" --out killed.h5 &
    sleep $wait
    kill -9 $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    if [ -e killed.h5 ]; then "$WEFT_SAME_TOKENS" killed.h5 killed.h5; rm killed.h5; fi
  done
  # what a killed run left is in nobody's way
  "$WEFT" data long.txt --tokenizer "$WORDS" --out killed.h5
  "$WEFT_SAME_TOKENS" killed.h5 killed.h5
}

@test "--documents is in the help of both commands" {
  for command in data tokenizer; do
    "$WEFT" $command --help | grep -q -- "--documents TEXT.*line.*"
  done
}
