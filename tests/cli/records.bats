# One record at a time: what files hold keeps its number, its id and its bytes; one bad record never
# costs the results of the others.
load weft

setup_file() { make_model; }
setup() { in_folder; }

@test "a bad record is told with its line; the others are served, and the exit code is 2" {
  printf '%s\n' '{"text":"The cat","id":7}' broken '{"text":5}' \
    '{"text":"of the","id":123456789012345678901234567890}' '{"other":"x"}' >in.jsonl
  for command in 'score --model run/model' 'embed --model run/model' \
    'generate --max-new-tokens 2 --model run/model' 'tokenize --tokenizer tok'
  do
    local words=($command)
    local args=("${words[@]:0:${#words[@]}-1}" "$S/${words[-1]}" --in in.jsonl)
    for n in 1 2; do
      [ "$n" = 1 ] || [ "${words[0]}" != tokenize ] || continue
      weft $n "${args[@]}" --out out.jsonl
      [ "$status" = 2 ]
      [ "$(grep -c '^weft: ' err)" = 1 ]
      grep -q '3 of 5 texts were rejected' err
      json out.jsonl 'len(lines) == 2'
      [ "${words[0]}" = tokenize ] ||
        json out.jsonl '[line["id"] for line in lines] == [7, 123456789012345678901234567890]'
      json out.jsonl.rejects.jsonl '[line["line"] for line in lines] == [2, 3, 5]' \
        '"line 2 is not a JSON object" in lines[0]["reason"]' \
        '"field '"'text'"' is number, not text" in lines[1]["reason"]' \
        '"it has: other" in lines[2]["reason"]'
    done
  done
  grep -q '123456789012345678901234567890' out.jsonl || ok 1 score --model "$S/run/model" --text a
  printf 'broken\n' >none.jsonl
  refused 2 'none.jsonl: line 1 is not a JSON object' score --model "$S/run/model" --in none.jsonl
}

@test "rows keep their numbers, whatever is empty" {
  printf 'text,label\nThe,1\n,0\n\nof,1\n' >in.csv
  ok 1 score --model "$S/run/model" --in in.csv --json
  json out '[line["id"] for line in lines] == ["0", "1", "2"]' \
    'lines[1]["n_tokens"] == 0 and lines[1]["loss"] is None'
  printf 'The\n\nof\n' >in.txt
  ok 1 score --model "$S/run/model" --text a --in in.txt --json
  json out '[line["id"] for line in lines] == ["0", "1", "3"]'
}

@test "ids and texts that are not UTF-8 become U+FFFD, in every command and on every rank" {
  printf '>q\xe91 x\nTHE\n>ok\nof\n' >in.fasta
  printf 'id,text\nM\xe9l,The\nx,caf\xe9\n' >in.csv
  for n in 1 2; do
    for command in score embed "generate --max-new-tokens 1"; do
      ok $n $command --model "$S/run/model" --in in.fasta --json
      json out '[line["id"] for line in lines] == ["q\ufffd1", "ok"]'
      ok $n $command --model "$S/run/model" --in in.csv --json
      json out '[line["id"] for line in lines] == ["M\ufffdl", "x"]'
    done
  done
  ok 1 tokenize --tokenizer "$S/tok" --in in.csv --json
  json out 'lines[1]["text"] == "caf\ufffd"'
  ok 1 train --data "$S/tokens.h5" --layers 1 --width 8 --heads 2 --context 16 --batch-size 2 \
    --steps 1 --out $'run\xe9'
  [ -s $'run\xe9/recipe.toml' ]
  python3 -c 'import sys; open(sys.argv[1], encoding="utf-8").read()' $'run\xe9/recipe.toml'
}

@test "messages that quote bytes stay one printable line" {
  weft 1 score --model "$S/run/model" --in $'a\xe9\nb.txt'
  [ "$status" = 2 ]
  [ "$(wc -l <err)" = 1 ]
  grep -q 'a�\\nb.txt: no such file' err
}

@test "stdin and pipes are a text a line, unless a format is named" {
  printf '> The cat\n{x} of\n' >mail
  ok 1 score --model "$S/run/model" --in - --json <mail
  json out 'len(lines) == 2'
  cp out lines
  for stream in /dev/stdin /dev/fd/0; do
    ok 1 score --model "$S/run/model" --in $stream --json <mail
    cmp out lines
  done
  printf 'id,text\nk,The\n' >table
  ok 1 score --model "$S/run/model" --in - --format csv --json <table
  json out '[line["id"] for line in lines] == ["k"]'
  ok 1 score --model "$S/run/model" --in table --format csv --json
  json out '[line["id"] for line in lines] == ["k"]'
  refused 1 "--format is 'xml'; allowed: txt, jsonl, json, csv, tsv, fasta, smi" \
    score --model "$S/run/model" --in table --format xml
  refused 2 '/dev/stdin can be read by one rank only' \
    data /dev/stdin --tokenizer "$S/tok" --out t.h5
}

@test "texts longer than the context: rejected with the ways out, cut, or scored in windows" {
  python3 -c 'print("the cat of the house " * 30)' >in.txt
  echo 'The cat' >>in.txt
  local ways='--truncation cuts it, --stride N scores it'
  for n in 1 2; do
    weft $n score --model "$S/run/model" --in in.txt --json
    [ "$status" = 2 ]
    json out '[line["id"] for line in lines] == ["1"]'
    grep -q "text 0 has .* tokens, but the model.s context holds 48; $ways" err
    ok $n score --model "$S/run/model" --in in.txt --json --truncation
    json out 'lines[0]["n_tokens"] == 48'
    cp out right
    ok $n score --model "$S/run/model" --in in.txt --json --truncation=right
    cmp out right
    ok $n score --model "$S/run/model" --in in.txt --json --truncation left
    ! cmp -s out right
    ok $n score --model "$S/run/model" --in in.txt --json --stride 20 --token-logprobs
    json out 'lines[0]["n_tokens"] == len(lines[0]["token_logprobs"]) > 48' \
      'lines[0]["token_logprobs"].count(None) == 1' \
      'abs(sum(l for l in lines[0]["token_logprobs"] if l) - lines[0]["logprob"]) < 1e-3'
  done
  refused 1 "--truncation is 'middle'; allowed: right, left" \
    score --model "$S/run/model" --text a --truncation=middle
  refused 1 '--stride is 49; allowed: 1 to 48' score --model "$S/run/model" --text a --stride 49
  refused 1 '--stride and --truncation are both given' \
    score --model "$S/run/model" --text a --stride 4 --truncation
  printf 'truncation = "left"\n' >recipe.toml
  ok 1 score --config recipe.toml --model "$S/run/model" --in in.txt --json
}

@test "results stand under their own name as they grow, and survive a kill" {
  python3 -c 'for i in range(20000): print("the cat of the house", i)' >in.txt
  "$WEFT" score --model "$S/run/model" --in in.txt --out grows.jsonl --threads 1 2>/dev/null &
  local pid=$! i=0
  until [ -s grows.jsonl ] || [ $((i += 1)) -gt 600 ]; do sleep 0.1; done
  kill -9 $pid
  wait $pid || true
  [ -s grows.jsonl ]
  head -n -1 grows.jsonl >whole
  json whole 'all("loss" in line for line in lines)' \
    '[line["id"] for line in lines] == [str(i) for i in range(len(lines))]'
  weft 1 score --model "$S/run/model" --text a --text b --json
  ok 1 score --model "$S/run/model" --text a --out grows.jsonl
  json grows.jsonl 'len(lines) == 1'
}

@test "a full stdout ends the job at once with exit code 1" {
  for n in 1 2; do
    status=0
    if [ $n = 1 ]; then "$WEFT" score --model "$S/run/model" --text a --json >/dev/full 2>err ||
      status=$?; else
      $WEFT_MPIEXEC 2 "$WEFT" tokenize --tokenizer "$S/tok" --text a --json >/dev/full 2>err ||
        status=$?; fi
    [ $n = 2 ] || {
      [ "$status" = 1 ] && grep -q 'stdout cannot be written (No space left on device)' err
    }
  done
  "$WEFT" tokenize --tokenizer "$S/tok" --text a >/dev/full 2>err && false
  grep -q 'stdout cannot be written' err
}

@test "embed .h5: opened before anything is computed; ids, texts and what made them" {
  refused 1 '--out /nowhere/x.h5: there is no folder' \
    embed --model "$S/run/model" --text a --out /nowhere/x.h5
  printf '{"text":"The","id":"two\\nlines"}\n{"text":"of the","id":8}\n' >in.jsonl
  for n in 1 2; do
    ok $n embed --model "$S/run/model" --in in.jsonl --pooling cls --normalize --out x.h5
    h5dump -d /ids x.h5 | tr -d '\n ' | grep -q '"twolines","8"'
    h5dump -d /texts x.h5 | grep -q '"The", "of the"'
    for attribute in model pooling layer normalize rows; do
      h5dump -a /$attribute x.h5 >/dev/null
    done
    h5dump -H -d /embeddings x.h5 | grep -q '( 2, 24 )'
  done
  ok 1 embed --model "$S/run/model" --in in.jsonl --pooling none --out t.h5
  h5dump -d /offsets t.h5 | grep -q '(0): 0, '
}
