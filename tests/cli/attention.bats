# weft attention: the numbers of each layer and head, the maps in HDF5, the same on any number of
# ranks; bad input refused with a sentence.
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  mkdir bert
  printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' good bad film book the a was so very ok \
    '##ay' ',' >bert/vocab.txt
  echo '{"tokenizer_class": "BertTokenizer", "do_lower_case": true}' >bert/tokenizer_config.json
}
setup() {
  in_folder
  BERT=(attention --model "$DATA/families/bert_base" --tokenizer "$S/bert")
  GEMMA=(attention --model "$DATA/families/gemma2" --tokenizer "$S/bert")
}

@test "a row for each layer and head; a JSON line a text" {
  ok 1 "${BERT[@]}" --text 'the book was good' --text 'so bad'
  [ "$(grep -c 'tokens$' out)" = 2 ]
  [ "$(grep -Ec '^ +[01] +[0-4] +[0-9.]+ +[0-9.]+ +[0-9.]+$' out)" = 20 ]
  ok 1 "${BERT[@]}" --text 'the book was good' --text 'so bad' --layers 1 --heads 0,2-3 --json
  json out 'len(lines) == 2' 'lines[0]["id"] == "0"' 'lines[0]["layers"] == [1]' \
    'lines[1]["heads"] == [0, 2, 3]' \
    'lines[0]["tokens"] == ["[CLS]", "the", "book", "was", "good", "[SEP]"]' \
    'all(len(l[k]) == 1 and len(l[k][0]) == 3 for l in lines for k in ("entropy", "distance"))' \
    'all(len(l["first_share"][0]) == 3 for l in lines)' \
    'all(0 < e < 1.8 for e in lines[0]["entropy"][0])'
}

@test "the numbers are the same on any grid, texts in their order" {
  printf '%s\n' 'the book was good' 'so bad' 'a film' 'very very okay' 'the film' >texts.txt
  for model in GEMMA BERT; do
    declare -n command=$model
    ok 1 "${command[@]}" --in texts.txt --json
    mv out alone
    for grid in '2 --tp 2' '2 --pp 2' '4 --tp 2 --pp 2' '3 --dp 3'; do
      # shellcheck disable=SC2086
      ok ${grid%% *} "${command[@]}" --in texts.txt --json ${grid#* }
      python3 - alone out <<'PY'
import json, sys

one, other = ([json.loads(l) for l in open(f)] for f in sys.argv[1:])
assert len(one) == len(other) == 5
for a, b in zip(one, other):
    for key in ("id", "layers", "heads", "tokens"):
        assert a[key] == b[key], (a, b)
    for key in ("entropy", "first_share", "distance"):
        for x, y in zip(sum(a[key], []), sum(b[key], [])):
            assert abs(x - y) < 1e-5, (key, x, y)
PY
    done
  done
}

@test "pairs go through the template, with their types" {
  ok 1 "${BERT[@]}" --text 'a film' --text-pair 'so bad' --json
  json out 'lines[0]["tokens"] == ["[CLS]", "a", "film", "[SEP]", "so", "bad", "[SEP]"]'
  cp out typed
  ok 1 "${BERT[@]}" --text 'a film [SEP] so bad' --json
  json out 'lines[0]["tokens"] == ["[CLS]", "a", "film", "[SEP]", "so", "bad", "[SEP]"]'
  [ "$(cat out)" != "$(cat typed)" ]
  printf '%s\n' '{"text": "a film", "text_pair": "so bad"}' >pairs.jsonl
  ok 1 "${BERT[@]}" --in pairs.jsonl --json
  sed 's/"id":"[^"]*"//' out >file
  sed 's/"id":"[^"]*"//' typed | cmp - file
}

@test "maps, hidden states and logits in HDF5, the same from any grid" {
  local one=(--text 'the book was good, okay' --layers '0,2-3' --heads '1,3'
    --export 'hidden,logits')
  ok 1 "${GEMMA[@]}" "${one[@]}" --h5 one.h5
  [ ! -s out ]
  [ "$(h5ls one.h5 | awk '{print $1}' | tr '\n' ' ')" = "hidden_00 hidden_01 hidden_02 hidden_03 \
hidden_04 layer_00 layer_02 layer_03 logits tokens " ]
  h5ls one.h5/layer_02 | grep -q '{2, 9, 9}'
  h5ls one.h5/hidden_04 | grep -q '{9, 28}'
  h5ls one.h5/logits | grep -q '{9, 83}'
  h5dump -a /heads one.h5 | grep -q '(0): 1, 3'
  h5dump -a /layers one.h5 | grep -q '(0): 0, 2, 3'
  h5dump -a /text one.h5 | grep -q 'the book was good, okay'
  h5dump -d /tokens one.h5 | grep -q '"ok", "##ay", "\[SEP\]"'
  for grid in '2 --tp 2' '2 --pp 2' '4 --tp 2 --pp 2' '3 --dp 3'; do
    # shellcheck disable=SC2086
    ok ${grid%% *} "${GEMMA[@]}" "${one[@]}" --h5 other.h5 ${grid#* }
    h5diff -d 1e-5 one.h5 other.h5
  done
  only one.h5 other.h5
}

@test "several texts, dealt to replicas, stand in groups of one file" {
  printf '%s\n' 'the book was good' 'so bad' 'a film' >texts.txt
  ok 1 "${BERT[@]}" --in texts.txt --heads 0 --h5 one.h5 --export hidden --json
  json out 'len(lines) == 3'
  [ "$(h5ls one.h5 | awk '{print $1}' | tr '\n' ' ')" = 'text_000 text_001 text_002 ' ]
  h5ls one.h5/text_001/layer_01 | grep -q '{1, 4, 4}'
  h5dump -a /text_002/text one.h5 | grep -q 'a film'
  for grid in '2 --dp 2' '4 --tp 2 --dp 2'; do
    # shellcheck disable=SC2086
    ok ${grid%% *} "${BERT[@]}" --in texts.txt --heads 0 --h5 other.h5 --export hidden ${grid#* }
    h5diff -d 1e-5 one.h5 other.h5
  done
}

@test "a weight is seen where the causal mask and the window let it through" {
  ok 1 "${GEMMA[@]}" --text 'the book was good the book was good' --layers 0,1 --heads 0 --h5 m.h5
  for layer in 0 1; do h5dump -d /layer_0$layer -m '%.9g' -y -w 0 m.h5 >layer$layer; done
  python3 - layer0 layer1 <<'PY'
import re, sys

T, windows = 10, set()
for file in sys.argv[1:]:
    data = open(file).read().split("DATA {")[1]
    numbers = [float(x) for x in re.findall(r"-?\d[\d.e+-]*", data)]
    assert len(numbers) == T * T
    seen = [[numbers[i * T + j] > 0 for j in range(T)] for i in range(T)]
    assert not any(seen[i][j] for i in range(T) for j in range(i + 1, T))
    assert all(abs(sum(numbers[i * T:i * T + T]) - 1) < 1e-5 for i in range(T))
    windows.add(sum(seen[-1]))
assert windows == {5, 10}, windows  # gemma2's window, and all
PY
}

@test "bad lists, texts and exports are refused, on one rank and on two" {
  for n in 1 2; do
    refused $n "--layers is '5', but the model has 4; allowed: 0 to 3" "${GEMMA[@]}" --text a \
      --layers 5
    refused $n "--heads is '1,9', but the model has 4" "${GEMMA[@]}" --text a --heads 1,9
    for list in x 1- -1 '1,,2' ',' 3-1 1--2 '1 2' 99999999999999999999; do
      refused $n "--layers is '$list'.*allowed: a list like 0,3-5" "${GEMMA[@]}" --text a \
        --layers="$list"
    done
    refused $n "--export is 'hidden', but --h5 is not given" "${GEMMA[@]}" --text a --export hidden
    refused $n "--export is 'maps'; allowed: hidden, logits, attention" "${GEMMA[@]}" --text a \
      --h5 m.h5 --export hidden,maps
    refused $n 'text 0 is empty' "${GEMMA[@]}" --text ''
    refused $n 'there is no text: give --text or --in FILE' "${GEMMA[@]}"
    refused $n '--text-pair is given 2 times for 1 texts' "${BERT[@]}" --text a --text-pair b \
      --text-pair c
    refused $n 'has [0-9]+ tokens, but the model.s context holds 48; --truncation cuts it' \
      "${BERT[@]}" --text "$(printf 'the book %.0s' {1..30})"
    refused $n 'there is no folder nowhere' "${GEMMA[@]}" --text a --h5 nowhere/m.h5
    refused $n 'is a folder, not a file' "${GEMMA[@]}" --text a --h5 .
    refused $n 'was it saved as a masked language model' "${BERT[@]}" --text a --h5 m.h5 \
      --export logits
  done
  only
}

@test "memory that lacks is told before anything is computed, and leaves no file" {
  python3 -c "print('the book ' * 150000)" >long.txt
  for n in 1 2; do
    failed $n 'text 0 of 30000[0-9] tokens needs [0-9.]+ GB .*choose fewer' "${GEMMA[@]}" \
      --in long.txt --layers 0 --heads 0
  done
  # 360 GB of file: which of the two lacks first is the machine's matter
  failed 1 '(text 0 of|m.h5: the disk is full)' "${GEMMA[@]}" --in long.txt --layers 0 --heads 0 \
    --h5 m.h5
  only long.txt
}

@test "a text that cannot be shown costs no other its place" {
  printf '%s\n' '{"text": "a film"}' '{"text": ""}' '{"text": "so bad"}' >some.jsonl
  weft 1 "${BERT[@]}" --in some.jsonl --heads 0 --h5 m.h5 --json
  [ "$status" = 2 ]
  json out 'len(lines) == 2'
  grep -q '1 of 3 texts was rejected' err
  [ "$(h5ls m.h5 | wc -l)" = 2 ]
}

@test "a job that is stopped, or has no room, leaves no half file" {
  for _ in {1..400}; do printf 'the book was so good %.0s' {1..40}; echo; done >many.txt
  for n in 1 2; do
    weft $n "${GEMMA[@]}" --in many.txt --h5 m.h5 --walltime 2
    [ "$status" = 3 ]
    grep -q '^weft: stopped by the walltime.*; --h5 m.h5 is not made$' err
    only many.txt
  done
  status=0
  (ulimit -f 2000 && "$WEFT" "${GEMMA[@]}" --in many.txt --h5 m.h5 >out 2>err) || status=$?
  [ "$status" = 1 ]
  grep -q '^weft: m.h5: the disk is full' err
  only many.txt
}

@test "the log of a job" {
  ok 2 "${BERT[@]}" --text 'a film' --text 'so bad' --log run.jsonl --h5 m.h5
  json run.jsonl 'lines[0]["what"] == "attention"' 'lines[-1]["event"] == "end"' \
    'lines[-1]["reason"] == "done"' 'lines[-1]["items"] == 2'
}
