# weft tokenizer, tokenize and data: text in all its forms, into ids and token files and back.
load weft

setup_file() { make_model; }
setup() { in_folder; }

@test "tokenizer: a folder that data, tokenize and transformers read" {
  ok 1 tokenizer "$CORPUS" --vocab-size 280 --out tk --json
  json out 'lines == [{"vocab_size": 280}]'
  [ -s tk/tokenizer.json ] && [ -s tk/tokenizer_config.json ] && [ -s tk/vocab.json ] &&
    [ -s tk/merges.txt ]
  ok 1 tokenizer "$CORPUS" --kind char --special-tokens '<end>' --special-tokens '<pad>' --out chars
  [ ! -s out ]
  grep -q 'chars: ' err
  ok 1 tokenize --tokenizer chars --text 'a<pad>' --json
  json out 'lines[0]["ids"][-1] == 1'
  ok 3 tokenizer "$CORPUS" --vocab-size 280 --out tk3 --json
  [ "$(wc -l <out)" = 1 ]
  cmp tk/tokenizer.json tk3/tokenizer.json
}

@test "tokenizer: every kind, with the special tokens that it needs" {
  printf '>s\nACGTACGGT\n' >dna.fasta
  printf 'CCO\nc1ccccc1Br\n' >smiles.txt
  for kind in wordpiece unigram word char codon smiles; do
    local input=$CORPUS
    [ $kind != codon ] || input=dna.fasta
    [ $kind != smiles ] || input=smiles.txt
    ok 1 tokenizer "$input" --kind $kind --vocab-size 600 --out $kind --json
    json out 'lines[0]["vocab_size"] > 4'
    ok 1 tokenize --tokenizer $kind --text 'CCO' --json
    json out 'len(lines[0]["ids"]) > 0'
  done
  ok 1 tokenizer --help
  grep -q codon out
}

@test "tokenizer: the roles of special tokens, for fill, mlm and transformers" {
  printf 'the cat sat on the mat\nthe dog ran in the sun\nthe old cat saw the sea\n' >c.txt
  ok 1 tokenizer c.txt --kind word --special-tokens '</s>' --unk-token '<?>' --mask-token '<hole>' \
    --pad-token '<p>' --cls-token '<c>' --sep-token '<|>' --out tok
  python3 - <<'PY'
import json

want = {
    "eos_token": "</s>", "unk_token": "<?>", "mask_token": "<hole>", "pad_token": "<p>",
    "cls_token": "<c>", "sep_token": "<|>"
}
assert json.load(open("tok/special_tokens_map.json")) == want
config = json.load(open("tok/tokenizer_config.json"))
assert {key: config[key] for key in want} == want
assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
PY
  ok 1 data c.txt --tokenizer tok --task mlm --out c.h5
  ok 1 train --data c.h5 --task mlm --family bert --layers 1 --width 8 --heads 1 --batch-size 2 \
    --steps 2 --out r
  ok 1 fill --model r/model --text 'the <hole> sat' --json
  json out 'lines[0]["candidates"][0]["position"] == 1'
  refused 1 '--unk-token names none; kind word needs one' \
    tokenizer c.txt --kind word --special-tokens '</s>' --out t2
  ok 1 tokenizer c.txt --kind wordpiece --vocab-size 80 --special-tokens '[SEP]' \
    --special-tokens '[UNK]' --special-tokens '[MASK]' --out named
  ok 1 data c.txt --tokenizer named --task mlm --out n.h5
  ok 1 train --data n.h5 --task mlm --family bert --layers 1 --width 8 --heads 1 --batch-size 2 \
    --steps 1 --out r2
}

@test "a special token past the model's vocabulary: the model runs until the token is needed" {
  cp -r "$S/run/model" m
  python3 - <<'PY'
import json
file = "m/tokenizer_config.json"
config = json.load(open(file))
config["pad_token"] = "[PAD]"
del config["added_tokens_decoder"]
json.dump(config, open(file, "w"))
PY
  rm -f m/special_tokens_map.json
  ok 1 tokenize --tokenizer m --text '[PAD]' --json
  json out 'lines[0]["ids"] == [300]'
  ok 1 score --model "$S/run/model" --text 'The cat' --json
  cp out good
  ok 1 score --model m --text 'The cat' --json
  cmp good out
  ok 1 generate --model m --prompt 'The cat' --max-new-tokens 2 --json
  refused 1 "'\[PAD\]' with id 300, but the model's vocabulary holds 0 to 299" \
    score --model m --text 'The [PAD]' --json
  refused 2 "'\[PAD\]' with id 300" generate --model m --prompt 'The [PAD]' --json
}

@test "tokenizer: what it refuses" {
  refused 1 'name one or more input files' tokenizer --out tk
  refused 1 '--out is missing' tokenizer "$CORPUS"
  refused 2 "--kind is 'bep'; allowed: bpe, wordpiece, unigram, word, char, codon, smiles" \
    tokenizer "$CORPUS" --kind bep --out tk
  refused 1 '--vocab-size is 10; allowed: 257 ' tokenizer "$CORPUS" --vocab-size 10 --out tk
  refused 1 '--vocab-size is 99999999999999' tokenizer "$CORPUS" --vocab-size 99999999999999 \
    --out tk
  refused 2 'nowhere.txt: no such file' tokenizer nowhere.txt --out tk
  : >empty.txt
  refused 2 'empty.txt: holds no documents' tokenizer empty.txt --out tk
  refused 2 'empty.txt: the folder cannot be made' tokenizer "$CORPUS" --out empty.txt
  refused 1 'empty.txt/tk: the folder cannot be made' tokenizer "$CORPUS" --out empty.txt/tk
  only empty.txt
}

@test "tokenize: the JSON fields, the table, and ids back to text" {
  ok 1 tokenize --tokenizer "$S/tok" --text 'The cat' --json
  json out 'list(lines[0]) == ["text", "tokens", "ids", "type_ids", "offsets", "decoded"]' \
    'lines[0]["decoded"] == lines[0]["text"] == "The cat"' \
    'len({len(lines[0][key]) for key in ("tokens", "ids", "type_ids", "offsets")}) == 1' \
    'set(lines[0]["type_ids"]) == {0}' \
    '"".join(lines[0]["text"][a:b] for a, b in lines[0]["offsets"]) == "The cat"'
  ids=$(python3 -c 'import json; print(*json.loads(open("out").readline())["ids"])')
  ok 1 tokenize --tokenizer "$S/tok" --decode "$ids"
  [ "$(cat out)" = 'The cat' ]
  ok 1 tokenize --tokenizer "$S/tok" --decode "$ids" --json
  json out 'lines[0]["decoded"] == "The cat"' 'list(lines[0]) == ["ids", "decoded"]'
  ok 1 tokenize --model "$S/run/model" --text 'The cat'
  grep -q 'place' out
  grep -q 'decoded  "The cat"' out
  # Ids past the table, as a padded head writes them, have no text: as in transformers.
  ok 1 tokenize --tokenizer "$S/tok" --decode "999 $ids 300"
  [ "$(cat out)" = 'The cat' ]
  grep -q 'warning: --decode: id 999 has no text; the tokenizer has 0 to 299' err
  refused 1 "'99999999999' is no token id; allowed: whole numbers from 0 to 2147483647" \
    tokenize --tokenizer "$S/tok" --decode '1 99999999999'
  refused 1 "'-1' is no token id" tokenize --tokenizer "$S/tok" --decode='-1'
  refused 1 "is no token id" tokenize --tokenizer "$S/tok" --decode '1 x'
  refused 1 '--tokenizer is missing' tokenize --text a
  refused 2 'nowhere: no such file' tokenize --tokenizer nowhere --text a
}

@test "tokenize: any bytes survive, from every kind of file" {
  printf 'caf\xc3\xa9 \xf0\x9f\x90\x88\nplain\n' >a.txt
  printf '{"id":"x","text":"caf\\u00e9"}\n{"prompt":"b"}\n' >a.jsonl
  printf 'id,text\n1,"two\nlines, quoted ""here"""\n' >a.csv
  printf 'body\tid\nline\t7\n' >a.tsv
  printf '>s1 first\nACGT\nAC\n>s2\nTT\n' >a.fasta
  ok 1 tokenize --tokenizer "$S/tok" --in a.txt --json
  json out '[line["decoded"] for line in lines] == ["café 🐈", "plain"]'
  ok 1 tokenize --tokenizer "$S/tok" --in a.jsonl --json
  json out '[line["text"] for line in lines] == ["café", "b"]'
  ok 1 tokenize --tokenizer "$S/tok" --in a.csv --json
  json out 'lines[0]["decoded"] == "two\nlines, quoted \"here\""'
  ok 1 tokenize --tokenizer "$S/tok" --in a.tsv --field body --json
  json out 'lines[0]["text"] == "line"'
  ok 1 tokenize --tokenizer "$S/tok" --in a.fasta --json
  json out '[line["text"] for line in lines] == ["ACGTAC", "TT"]'
  for n in 1 3; do
    ok $n tokenize --tokenizer "$S/tok" --in - --format jsonl --json <a.jsonl
    json out '[line["text"] for line in lines] == ["café", "b"]'
  done
  refused 1 "a.tsv: has no column 'text' .*its columns: body, id" \
    tokenize --tokenizer "$S/tok" --in a.tsv
  refused 1 'x.docx: files end in .txt' tokenize --tokenizer "$S/tok" --in x.docx
}

@test "tokenize --out writes JSON lines into a file" {
  ok 1 tokenize --tokenizer "$S/tok" --text a --text b --out t.jsonl
  [ ! -s out ]
  json t.jsonl '[line["decoded"] for line in lines] == ["a", "b"]'
  refused 1 "--out is 't.txt'; allowed: a .jsonl file" \
    tokenize --tokenizer "$S/tok" --text a --out t.txt
  refused 3 'nowhere/t.jsonl: there is no folder nowhere' \
    tokenize --tokenizer "$S/tok" --text a --out nowhere/t.jsonl
  only t.jsonl
}

@test "data: the same file on 1 and 3 ranks" {
  ok 1 data "$CORPUS" --tokenizer "$S/tok" --val-fraction 0.1 --out a/one.h5 --json
  json out 'list(lines[0]) == ["documents", "tokens"]' 'lines[0]["documents"] == 600' \
    'lines[0]["tokens"] > 10000' 'len(lines) == 1'
  cp out one.json
  ok 3 data "$CORPUS" --tokenizer "$S/tok" --val-fraction 0.1 --out three.h5 --json
  cmp out one.json
  for name in one three; do
    h5dump -d /tokens -d /document_offsets -y "$([ $name = one ] && echo a/one.h5 ||
      echo three.h5)" | tail -n +2 >$name.dump
  done
  cmp one.dump three.dump
  ok 1 data "$CORPUS" --tokenizer "$S/tok" --out plain.h5
  [ ! -s out ]
  grep -q 'plain.h5: 600 documents' err
}

@test "data: what it refuses, leaving nothing" {
  : >empty.txt
  mkdir folder.h5
  for n in 1 2; do
    refused $n 'empty.txt: holds no documents' data empty.txt --tokenizer "$S/tok" --out t.h5
    refused $n 'nowhere.txt: no such file' data nowhere.txt --tokenizer "$S/tok" --out t.h5
    refused $n 'folder.h5: is a folder' data "$CORPUS" --tokenizer "$S/tok" --out folder.h5
    refused $n 'empty.txt: the folder cannot be made' \
      data "$CORPUS" --tokenizer "$S/tok" --out empty.txt/t.h5
    refused $n '--tokenizer is missing' data "$CORPUS" --out t.h5
  done
  printf '{"text": "a"}\n{"text": 3}\n' >bad.jsonl
  refused 2 "bad.jsonl: line 2: field 'text' is number, not text" \
    data bad.jsonl --tokenizer "$S/tok" --out t.h5
  printf '{"text": "a"}\nnot json\n' >bad.jsonl
  refused 1 'bad.jsonl: line 2 is not a JSON object' data bad.jsonl --tokenizer "$S/tok" --out t.h5
  printf '{"body": "a"}\n' >bad.jsonl
  refused 1 "bad.jsonl: line 1 has no field 'text'; it has: body" \
    data bad.jsonl --tokenizer "$S/tok" --out t.h5
  refused 1 "allowed: a file that ends in .h5" data "$CORPUS" --tokenizer "$S/tok" --out t.txt
  refused 1 "--task is 'mlmm'; allowed: clm, mlm, classify, regress" \
    data "$CORPUS" --tokenizer "$S/tok" --out t.h5 --task mlmm
  refused 1 '--val-fraction is 1' data "$CORPUS" --tokenizer "$S/tok" --out t.h5 --val-fraction 1
  refused 2 'stdin can be read by one rank only' data - --tokenizer "$S/tok" --out t.h5
  only bad.jsonl empty.txt folder.h5
}

@test "data: a text that the tokenizer refuses is one sentence with its line, on any ranks" {
  mkdir wl
  cat >wl/tokenizer.json <<'JSON'
{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},
 "post_processor":null,"decoder":null,
 "model":{"type":"WordLevel","vocab":{"a":0,"b":1,"</s>":2},"unk_token":"<unk>"}}
JSON
  printf 'a b\nb a\na zebra\nb\n' >t.txt
  for n in 1 3; do
    refused $n "t.txt: line 3: .*'zebra'" data t.txt --tokenizer wl --out t.h5
  done
  only t.txt wl
}

@test "data: documents of task clm begin as prompts do, and the file says so" {
  printf 'the cat\nthe dog\n' >t.txt
  ok 1 data t.txt --tokenizer "$DATA/tokenizers/llama2" --out t.h5
  grep -q 'each document begins with <s>' err
  h5dump -a /begin_tokens t.h5 | grep -q '"1"'
  ids=$("$WEFT" tokenize --tokenizer "$DATA/tokenizers/llama2" --text 'the cat' --json |
    python3 -c 'import json,sys; print(", ".join(map(str, json.loads(sys.stdin.read())["ids"])))')
  h5dump -d /tokens t.h5 | tr -d '\n' | grep -q "(0): $ids, 2, 1, "
  ok 3 data t.txt --tokenizer "$DATA/tokenizers/llama2" --out three.h5
  h5diff t.h5 three.h5
  ok 1 data t.txt --tokenizer "$S/tok" --out plain.h5
  ! h5dump -a /begin_tokens plain.h5 2>/dev/null | grep -q "(0)"
}

@test "data: a corpus that its tokenizer does not know is warned of, with what would help" {
  printf '>p\nMKTAYIAK\n' >p.fasta
  mkdir words
  printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' M K T A Y I >words/vocab.txt
  echo '{"tokenizer_class": "BertTokenizer", "do_lower_case": false}' >words/tokenizer_config.json
  for n in 1 2; do
    ok $n data p.fasta --tokenizer words --task mlm --out p.h5
    local warning='warning: 100 % of the tokens are \[UNK\], the unknown one: '
    warning+="the first in 'MKTAYIAK' "
    warning+='(p.fasta: line 1); with spaces between its characters it would be 0 %'
    grep -q "$warning" err
  done
}

@test "data: one long document is split, and what selects nothing is warned of" {
  tr '\n' ' ' <"$CORPUS" >one.txt
  for n in 1 2; do
    ok $n data one.txt --tokenizer "$S/tok" --val-fraction 0.1 --out one.h5
    grep -q 'tokens validate; the cut is inside of a document' err
    h5dump -a /train_tokens one.h5 >dump
    python3 - <<'PY'
import re
n = int(re.search(r"\(0\): (\d+)", open("dump").read()).group(1))
assert 0 < n
PY
  done
  ok 1 train --data one.h5 --layers 1 --width 8 --heads 2 --context 16 --batch-size 2 --steps 1 \
    --out r
  json r/run.jsonl 'any(line["event"] == "eval" for line in lines)'
  printf 'text,label\na,x\n' >one.csv
  printf 'a b\n' >small.txt
  ok 1 data small.txt --tokenizer "$S/tok" --val-fraction 0.01 --out s.h5
  grep -q 'warning: --val-fraction is 0.01, which of .* tokens selects nothing' err
}

@test "data: labels are one a cell, numbers by value" {
  printf '{"text":"%s","label":"%s"}\n' a 'Arts; Crafts' b Sport c News >s.jsonl
  printf '{"text":"%s","label":%s}\n' a 1 b 1.0 c true d 2 >n.jsonl
  printf 'text,label\na,1\nb,1.0\nc,2\n' >n.csv
  printf 'text,label\na,x;y\nb,x\nc,x;y\n' >m.csv
  printf '{"text":"%s","label":%s}\n' a 123456789012345678901234567890 \
    b 123456789012345678901234567891 >long.jsonl
  local n
  for n in 1 2; do
    for file in 's.jsonl 3' 'n.jsonl 2' 'n.csv 2' 'm.csv 2' 'long.jsonl 2'; do
      ok $n data ${file% *} --tokenizer "$S/tok" --task classify --out l.h5
      grep -q "single_label_classification, ${file#* } labels" err
    done
    ok $n data m.csv --tokenizer "$S/tok" --task classify --out l.h5
    grep -q "warning: labels of the table hold a ';'.*--label-separator" err
    ok $n data m.csv --tokenizer "$S/tok" --task classify --label-separator ';' --out l.h5
    grep -q "multi_label_classification, 2 labels" err
  done
}
