# weft data and train for masked and labelled texts: the same on any number of ranks, learned,
# exported, refused with a sentence.
load weft

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return 1
  export OMP_NUM_THREADS=1
  mkdir bert esm
  printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' good bad film book the a was so very \
    >bert/vocab.txt
  echo '{"tokenizer_class": "BertTokenizer", "do_lower_case": true}' >bert/tokenizer_config.json
  printf '%s\n' '<cls>' '<pad>' '<eos>' '<unk>' L A G V S E R T I D P K Q N F Y M H W C X B U Z O \
    . - '<null_1>' '<mask>' >esm/vocab.txt
  echo '{"tokenizer_class": "EsmTokenizer"}' >esm/tokenizer_config.json
  python3 - <<'PY'
import json, random

random.seed(1)
words = "film book the a was so very".split()
some = lambda n: [random.choice(words) for _ in range(n)]
with (open("c.csv", "w") as csv, open("r.jsonl", "w") as lines, open("m.csv", "w") as sets,
      open("p.fasta", "w") as fasta):
    csv.write("text,second,label\n"), sets.write("text,label\n")
    for i in range(60):
        good = random.random() < 0.5
        text = some(random.randrange(2, 9)) + ["good" if good else "bad"]
        random.shuffle(text)
        csv.write(f"{' '.join(text)},{' '.join(some(2))},{'pos' if good else 'neg'}\n")
        labels = {"x" if good else "y"} | ({"z"} if "so" in text else set())
        sets.write(f"{' '.join(text)},{';'.join(sorted(labels))}\n")
        line = {"text": " ".join(text), "label": [good - 0.5, len(text) / 10]}
        lines.write(json.dumps(line) + "\n")
        protein = "".join(random.choice("LAGV") * 2 for _ in range(random.randrange(5, 40)))
        fasta.write(f">p{i}\n{protein}\n")
PY
  "$WEFT" data c.csv --tokenizer bert --task classify --pair-field second --val-fraction 0.2 \
    --out c.h5 2>/dev/null
  "$WEFT" data m.csv --tokenizer bert --task classify --label-separator ';' --val-fraction 0.2 \
    --out m.h5 2>/dev/null
  "$WEFT" data r.jsonl --tokenizer bert --task regress --val-fraction 0.2 --out r.h5 2>/dev/null
  "$WEFT" data p.fasta --tokenizer esm --task mlm --val-fraction 0.2 --out p.h5 2>/dev/null
}
setup() { in_folder; }

SIZES=(--layers 2 --width 24 --heads 3 --context 32 --batch-size 8 --lr 5e-3)

# same_runs A B: the same losses and metrics.
same_runs() {
  python3 - "$1/run.jsonl" "$2/run.jsonl" <<'PY'
import json, sys

a, b = (
    [l for l in map(json.loads, open(f)) if l["event"] in ("step", "eval")] for f in sys.argv[1:])
keys = ("loss", "accuracy", "f1", "mcc", "f1_micro", "f1_macro", "mse", "pearson", "spearman")
assert len(a) == len(b) > 10
for x, y in zip(a, b):
    for k in keys:
        one, other = x.get(k, 0), y.get(k, 0)
        assert (k in x) == (k in y), (k, x, y)
        assert abs(one - other) < 1e-3 * max(1, abs(one)), (k, x, y)
PY
}

# same_tensors A B PREFIX: those of B whose names begin with the prefix are A's, bit for bit.
same_tensors() {
  python3 - "$@" <<'PY'
import json, struct, sys

def tensors(folder):
    data = open(folder + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return {
        name: (t["shape"], data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
        for name, t in json.loads(data[8:8 + n]).items()
        if name[0] != "_"
    }

a, b = map(tensors, sys.argv[1:3])
names = [name for name in b if name.startswith(sys.argv[3])]
assert names and all(a[name] == b[name] for name in names), names
PY
}

@test "data: the same labelled file on 1 and 3 ranks" {
  ok 3 data "$S/c.csv" --tokenizer "$S/bert" --task classify --pair-field second \
    --val-fraction 0.2 --out c.h5
  h5diff "$S/c.h5" c.h5
  ok 3 data "$S/m.csv" --tokenizer "$S/bert" --task classify --label-separator ';' \
    --val-fraction 0.2 --out m.h5
  h5diff "$S/m.h5" m.h5
}

@test "classify: pairs are learned, alike on any grid; the model is a start for another run" {
  ok 1 train --task classify --data "$S/c.h5" --family bert "${SIZES[@]}" --steps 150 --out one
  json one/run.jsonl '[l for l in lines if l["event"] == "eval"][-1]["accuracy"] == 1.0' \
    'lines[0]["task"] == "classify"'
  json_file one/model/config.json 'whole["id2label"] == {"0": "neg", "1": "pos"}' \
    'whole["architectures"] == ["BertForSequenceClassification"]'
  ok 2 train --task classify --data "$S/c.h5" --family bert "${SIZES[@]}" --steps 150 --pp 2 \
    --out two
  same_runs one two
  ok 3 train --task classify --data "$S/c.h5" --family bert "${SIZES[@]}" --steps 150 --out three
  same_runs one three
  ok 1 train --task mlm --data "$S/p.h5" --family esm "${SIZES[@]}" --steps 2 --out lm
  ok 2 train --config one/recipe.toml --out one --steps 152
  grep -q 'resuming from one/checkpoints/step-00000150.h5' err
}

@test "tasks: a run that goes on without its first folder says what the export lacks" {
  ok 1 train --task mlm --data "$S/p.h5" --family esm "${SIZES[@]}" --steps 1 --out first
  ok 1 train --task mlm --data "$S/p.h5" --model first/model --steps 1 --out tuned
  mv first/model away
  ok 1 train --task mlm --data "$S/p.h5" --model first/model --steps 2 --out tuned
  grep -q 'goes without what only its first folder held: first/model: no such file' err
}

@test "classify: several labels; regress: several numbers" {
  for n in 1 3; do
    ok $n train --task classify --data "$S/m.h5" --family gpt2 "${SIZES[@]}" --steps 20 --out sets$n
    ok $n train --task regress --data "$S/r.h5" --family bert "${SIZES[@]}" --steps 20 \
      --out numbers$n
  done
  same_runs sets1 sets3
  same_runs numbers1 numbers3
}

@test "mlm: proteins are learned, alike on any grid; its model takes a new head" {
  ok 1 train --task mlm --data "$S/p.h5" --family esm "${SIZES[@]}" --steps 60 --out one
  json one/run.jsonl '[l for l in lines if l["event"] == "eval"][-1]["perplexity"] < 8'
  for n in 2 3; do
    ok $n train --task mlm --data "$S/p.h5" --family esm "${SIZES[@]}" --steps 60 --tp $n \
      --out run$n
    same_runs one run$n
  done
  printf 'text,label\nLLAA,1\nGGVV,2\nLLGG,1\nVVAA,2\n' >four.csv
  ok 1 data four.csv --tokenizer "$S/esm" --task classify --val-fraction 0.25 --out four.h5
  ok 2 train --task classify --model one/model --data four.h5 --batch-size 2 --steps 2 --pp 2 \
    --out tuned
  grep -q 'initialised anew: classifier.dense.bias' err
  # What transformers' classes hold beside the parameters goes along: a contact head that the start
  # has, and the rotary frequencies.
  python3 - <<'PY'
import json, struct

data = open("one/model/model.safetensors", "rb").read()
n = struct.unpack("<Q", data[:8])[0]
header, body = json.loads(data[8:8 + n]), data[8 + n:]
assert header["esm.encoder.layer.1.attention.self.rotary_embeddings.inv_freq"]["shape"] == [4]
for name, shape in (("weight", [1, 6]), ("bias", [1])):
    values = struct.pack(f"<{shape[-1]}f", *[0.25 * i - 1 for i in range(shape[-1])])
    header["esm.contact_head.regression." + name] = {
        "dtype": "F32", "shape": shape,
        "data_offsets": [len(body), len(body) + len(values)]
    }
    body += values
text = json.dumps(header).encode()
open("one/model/model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body)
PY
  for n in 1 2; do
    ok $n train --task mlm --data "$S/p.h5" --model one/model --batch-size 4 --steps 1 --tp $n \
      --out contacts$n
    same_tensors one/model contacts$n/model esm.contact_head.regression.
    same_tensors one/model contacts$n/model \
      esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq
  done
}

@test "classify: a classifier of other labels keeps its body and is given new labels on any grid" {
  ok 1 train --task classify --data "$S/c.h5" --family bert "${SIZES[@]}" --steps 2 --out two
  python3 - two/model/config.json <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
config["num_labels"] = 2
json.dump(config, open(sys.argv[1], "w"))
PY
  local shapes='classifier.bias ((2) there, (3) here), '
  shapes+='classifier.weight ((2, 24) there, (3, 24) here)'
  for n in 1 2 3; do
    ok $n train --task classify --data "$S/m.h5" --model two/model --batch-size 8 --steps 20 \
      --lr 5e-3 --tp $n --out three$n
    grep -q "initialised anew: $shapes" err
    [ "$(grep -c 'initialised anew' err)" = 1 ]
  done
  same_runs three1 three2
  same_runs three1 three3
  python3 - <<'PY'
import json

c = json.load(open("three1/model/config.json"))
assert c["id2label"] == {"0": "x", "1": "y", "2": "z"}, c
assert c["label2id"] == {"x": 0, "y": 1, "z": 2}, c
assert c["num_labels"] == 3 and c["problem_type"] == "multi_label_classification", c
PY
  ok 1 train --task classify --data "$S/m.h5" --model two/model --batch-size 8 --steps 1 --lr 0 \
    --out still
  same_tensors two/model still/model bert.
  ok 1 train --task regress --data "$S/r.h5" --model three1/model --batch-size 8 --steps 2 \
    --out numbers
  grep -q 'initialised anew: classifier.bias' err
  # two numbers: as many as labels
  ok 1 train --task classify --data "$S/c.h5" --model numbers/model --batch-size 8 --steps 2 \
    --out same
  [ "$(grep -c 'initialised anew' err)" = 0 ]
  # Only training may draw labels: elsewhere, and where another tensor differs, the files are wrong.
  cp -r two/model bad
  python3 - <<'PY'
import json
c = json.load(open("bad/config.json"))
c["id2label"], c["label2id"] = {str(i): f"L{i}" for i in range(3)}, {f"L{i}": i for i in range(3)}
json.dump(c, open("bad/config.json", "w"))
PY
  refused 2 'tensor classifier.(weight|bias) is .*, but config.json makes it' \
    classify --model bad --text good
  sed -i 's/"num_labels": [0-9]*/"hidden_size": 36/; s/"hidden_size": 24/"hidden_size": 36/' \
    bad/config.json
  refused 2 'is .*24.*, but config.json makes it .*36' \
    train --task classify --data "$S/c.h5" --model bad --batch-size 8 --steps 1 --out run
  refused 1 'is a checkpoint of another model: .*labels' \
    train --task classify --data "$S/m.h5" --model two/checkpoints/step-00000002.h5 --batch-size 8 \
    --steps 1 --out run
}

@test "classify: the dropout of a head counts in training, not in validation, alike on any grid" {
  ok 1 train --task classify --data "$S/c.h5" --family bert "${SIZES[@]}" --steps 2 --out base
  for p in 0 0.5; do
    cp -r base/model with$p
    python3 - with$p/config.json $p <<'PY'
import json, sys
c = json.load(open(sys.argv[1]))
c["classifier_dropout"] = float(sys.argv[2])
assert c["hidden_dropout_prob"] == c["attention_probs_dropout_prob"] == 0
json.dump(c, open(sys.argv[1], "w"))
PY
    # At a rate of 0 the weights stay, so that only what is dropped makes a difference.
    ok 1 train --task classify --data "$S/c.h5" --model with$p --batch-size 8 --lr 0 \
      --eval-every 4 --steps 12 --out run$p
    json_file run$p/model/config.json "whole['classifier_dropout'] == $p"
  done
  for n in 2 3; do
    ok $n train --task classify --data "$S/c.h5" --model with0.5 --batch-size 8 --lr 0 \
      --eval-every 4 --steps 12 --tp $n --out tp$n
    ok $n train --task classify --data "$S/c.h5" --model with0.5 --batch-size 8 --lr 0 \
      --eval-every 4 --steps 12 --out dp$n
    same_runs run0.5 tp$n
    same_runs run0.5 dp$n
  done
  ok 2 train --task classify --data "$S/c.h5" --model with0.5 --batch-size 8 --lr 0 --eval-every 4 \
    --steps 12 --pp 2 --out pp2
  same_runs run0.5 pp2
  python3 - <<'PY'
import json

def losses(run, event):
    return [l["loss"] for l in map(json.loads, open(run + "/run.jsonl")) if l["event"] == event]

plain, dropped = losses("run0", "step"), losses("run0.5", "step")
assert len(plain) == len(dropped) == 12, (plain, dropped)
assert all(abs(a - b) > 1e-6 for a, b in zip(plain, dropped)), (plain, dropped)
assert all(abs(a - b) < 1e-6 for a, b in zip(losses("run0", "eval"), losses("run0.5", "eval")))
PY
}

@test "data: a .smi file is its molecules, a line's first word each, on any number of ranks" {
  printf '%s\n' 'CCO ethanol' $'c1ccccc1Br\tbromobenzene' '' 'C[C@H](N)C(=O)O L-alanine' \
    'CC(=O)Oc1ccccc1C(=O)O' >mols.smi
  printf 'CCO\nc1ccccc1Br\nC[C@H](N)C(=O)O\nCC(=O)Oc1ccccc1C(=O)O\n' >mols.txt
  ok 1 tokenizer mols.smi --kind smiles --out smiles
  ok 1 tokenizer mols.txt --kind smiles --out again
  cmp smiles/tokenizer.json again/tokenizer.json
  ok 1 data mols.txt --tokenizer smiles --out text.h5 --json
  json out 'lines[0]["documents"] == 4 and lines[0]["tokens"] == 3 + 9 + 11 + 21 + 4'
  for n in 1 2 3; do
    ok $n data mols.smi --tokenizer smiles --out mols$n.h5 --json
    json out 'lines[0]["documents"] == 4 and lines[0]["tokens"] == 3 + 9 + 11 + 21 + 4'
    "$WEFT_SAME_TOKENS" mols$n.h5 text.h5
  done
  ok 1 tokenize --tokenizer smiles --in mols.smi --json
  json out '[line["text"] for line in lines] == ["CCO", "c1ccccc1Br", "C[C@H](N)C(=O)O",
    "CC(=O)Oc1ccccc1C(=O)O"]' \
    'lines[2]["tokens"][1] == "[C@H]" and lines[1]["tokens"][-1] == "Br"'
  refused 2 "mols.smi: has no fields, so no 'label'" \
    data mols.smi --tokenizer smiles --task classify --out t.h5
}

@test "what tasks refuse" {
  printf 'text,label\na,x\nthe,\n' >empty.csv
  refused 2 'empty.csv: line 3: the label is empty' \
    data empty.csv --tokenizer "$S/bert" --task classify --out t.h5
  refused 1 "line 2: the label is 'pos'|line 2: the label is 'neg'" \
    data "$S/c.csv" --tokenizer "$S/bert" --task regress --out t.h5
  refused 2 "c.csv: has no column 'class' \(choose one with --label-field\)" \
    data "$S/c.csv" --tokenizer "$S/bert" --task classify --label-field class --out t.h5
  refused 1 "p.fasta: has no fields, so no 'label'" \
    data "$S/p.fasta" --tokenizer "$S/esm" --task classify --out t.h5
  refused 1 '--pair-field is .second., but --task is mlm' \
    data "$S/c.csv" --tokenizer "$S/bert" --task mlm --pair-field second --out t.h5
  refused 2 'was made for --task classify, not clm' \
    train --data "$S/c.h5" "${SIZES[@]}" --steps 1 --out run
  refused 2 'family|reads from left to right' train --task mlm --data "$S/p.h5" \
    --family gpt2 "${SIZES[@]}" --steps 1 --out run
  refused 1 '--context is 2; allowed: 4 or more' \
    train --task classify --data "$S/c.h5" --family bert --layers 1 --width 8 --heads 2 \
    --context 2 --steps 1 --out run
  refused 1 '--mlm-probability is 2' train --task mlm --data "$S/p.h5" --family esm "${SIZES[@]}" \
    --steps 1 --mlm-probability 2 --out run
  refused 1 '--kv-heads is 2; allowed: a divisor' \
    train --task classify --data "$S/c.h5" --family llama "${SIZES[@]}" --kv-heads 2 --steps 1 \
    --out run
  [ ! -e run ] && [ ! -e t.h5 ]
}
